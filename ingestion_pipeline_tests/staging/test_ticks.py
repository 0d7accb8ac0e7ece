"""Signs of life of the sensors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ingestion_pipeline.staging import ticks

if TYPE_CHECKING:
    import sqlalchemy as sa

NOW = datetime(2026, 11, 20, 3, 4, 5, 678_000, tzinfo=UTC)


def test_a_sensor_that_never_ticked_is_not_there(engine: sa.Engine) -> None:
    assert ticks.last(engine) == {}


def test_each_sensor_has_its_last_tick(engine: sa.Engine) -> None:
    for seconds in (0, 5, 10):
        ticks.record(engine, ticks.TRIGGER_SENSOR, now=NOW + timedelta(seconds=seconds))
    ticks.record(engine, ticks.SWEEP_SENSOR, now=NOW)
    assert ticks.last(engine) == {
        ticks.TRIGGER_SENSOR: NOW + timedelta(seconds=10),
        ticks.SWEEP_SENSOR: NOW,
    }


def test_two_daemons_that_tick_at_once_do_not_stop_each_other(engine: sa.Engine) -> None:
    moments = [NOW + timedelta(seconds=number) for number in range(20)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda now: ticks.record(engine, ticks.SWEEP_SENSOR, now=now), moments))
    (at,) = ticks.last(engine).values()
    assert at in moments
