"""Dagster's daemon for `poi-ingest dev`, without log lines for idle sensor ticks."""

import logging
import re

SENSORS = "dagster.daemon.SensorDaemon"

_IDLE = re.compile(
    r"Checking for new runs for sensor: |Sensor \S+ skipped: |No run requests returned for "
)
"""Matches the messages of a sensor that had nothing to do."""


class IdleTickFilter(logging.Filter):
    """Drops the messages of idle ticks."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record."""
        return _IDLE.match(record.getMessage()) is None


def main() -> None:
    """Run `dagster-daemon` with the arguments of this process."""
    from dagster._daemon.cli import main as run

    logging.getLogger(SENSORS).addFilter(IdleTickFilter())
    run()


if __name__ == "__main__":
    main()
