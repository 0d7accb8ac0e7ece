"""The clock of the ledger: that of the server, whatever the machine's says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ingestion_pipeline.staging.clock import DatabaseClock
from ingestion_pipeline_tests.support.installation import ScriptedClock
from testbed.towns import NOON

if TYPE_CHECKING:
    import sqlalchemy as sa


def test_it_is_the_servers_and_of_a_geopackage_the_machines(engine: sa.Engine) -> None:
    now = DatabaseClock(engine, ScriptedClock(NOON)).now()
    assert now.tzinfo is UTC
    if engine.dialect.name == "sqlite":
        assert now == NOON
    else:  # the server of these tests runs on this machine
        assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)


def test_it_moves_within_what_one_caller_does(engine: sa.Engine) -> None:
    machine = ScriptedClock(NOON)
    clock = DatabaseClock(engine, machine)
    first = clock.now()
    clock.sleep(0.01)
    assert clock.now() > first
    assert machine.now() > NOON  # waiting is the machine's
