"""Dagster's daemon for `poi-ingest dev`, without a line for each idle tick of a sensor.

Belongs here: what its console leaves out. Does not belong here: how it works, and what it logs in
production.
"""

import logging
import re

SENSORS = "dagster.daemon.SensorDaemon"

_IDLE = re.compile(
    r"Checking for new runs for sensor: |Sensor \S+ skipped: |No run requests returned for "
)
"""How the messages begin that say that a sensor had nothing to do."""


class IdleTickFilter(logging.Filter):
    """Leaves out what is said of ticks in which nothing happened."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is shown."""
        return _IDLE.match(record.getMessage()) is None


def main() -> None:
    """Run `dagster-daemon` with the arguments of this process."""
    from dagster._daemon.cli import main as run

    logging.getLogger(SENSORS).addFilter(IdleTickFilter())
    run()


if __name__ == "__main__":
    main()
