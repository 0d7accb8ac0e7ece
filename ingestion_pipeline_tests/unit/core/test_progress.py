"""How often a long step says how far it is, and that a short one says nothing."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from ingestion_pipeline.core import progress
from ingestion_pipeline.core.parallel import on_each
from ingestion_pipeline.core.progress import BARS, Progress, State, tracked

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """A clock that moves by a step at every look."""

    def __init__(self, step: float) -> None:
        self.now, self.step = -step, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.states: list[State] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.states.append(getattr(record, progress.ATTRIBUTE))


@contextmanager
def bars() -> Iterator[list[State]]:
    """What a progress bar is told."""
    kept = Kept()
    BARS.addHandler(kept)
    BARS.setLevel(logging.DEBUG)
    try:
        yield kept.states
    finally:
        BARS.setLevel(logging.INFO)
        BARS.removeHandler(kept)


def test_a_long_step_logs_a_line_every_five_seconds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Progress("rows written", 2_000, clock=Clock(1.0)) as step:
        for _ in range(12):
            step.advance(100)
    assert [record.getMessage() for record in caplog.records] == [
        "25 %: 500 of 2,000 rows written",
        "50 %: 1,000 of 2,000 rows written",
    ]


def test_a_short_step_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert list(tracked("abc", "letters", total=3)) == list("abc")
    assert caplog.records == []


@pytest.mark.parametrize("total", [None, 0])
def test_where_the_total_is_not_known_the_number_is_told(
    caplog: pytest.LogCaptureFixture, total: int | None
) -> None:
    caplog.set_level(logging.INFO)
    with Progress("bytes received", total, clock=Clock(6.0)) as step:
        step.advance(1_234)
    assert [record.getMessage() for record in caplog.records] == ["1,234 bytes received"]


def test_a_bar_is_told_ten_times_a_second_and_that_it_is_over() -> None:
    with bars() as states, Progress("rows", 100, clock=Clock(0.0625)) as step:
        for _ in range(100):
            step.advance()
    assert [state.done for state in states] == [*range(2, 101, 2), 100]
    assert [state.is_over for state in states[-2:]] == [False, True]


def test_what_a_bar_is_told_is_passed_on_to_no_other_handler() -> None:
    kept = Kept()
    logging.getLogger().addHandler(kept)
    with bars() as states, Progress("rows", 2, clock=Clock(0.5)) as step:
        step.advance()
    logging.getLogger().removeHandler(kept)
    assert len(states) == 2
    assert kept.states == []


def test_a_bar_ends_where_its_step_fails() -> None:
    with bars() as states, pytest.raises(ValueError, match="broken"), Progress("rows", 2):
        raise ValueError("broken")
    assert states == [State("rows", 0, 2, is_over=True)]


def _advance(_: int) -> list[str]:
    with bars() as states, Progress("rows", 2, clock=Clock(9.0)) as step:
        step.advance()
    return [str(state) for state in states]


@pytest.mark.process
def test_a_forked_process_tells_nothing() -> None:
    here, forked = on_each(_advance, [1, 2], processes=2)
    assert here == ["50 %: 1 of 2 rows", "50 %: 1 of 2 rows"]
    assert forked == []
