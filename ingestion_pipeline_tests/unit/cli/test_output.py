"""Lines and progress bars on a terminal."""

from __future__ import annotations

import io
import logging

import pytest

from ingestion_pipeline.cli.output import _bar_of, _WithProgressBar, print_table, print_wrapped
from ingestion_pipeline.core.progress import ATTRIBUTE, State


def record(text: str, state: State | None = None) -> logging.LogRecord:
    made = logging.LogRecord("x", logging.INFO, "", 0, text, (), None)
    if state is not None:
        setattr(made, ATTRIBUTE, state)
    return made


def shown(written: str) -> list[str]:
    """What is on the terminal's lines after carriage returns and deletions."""
    return [line.rpartition("\x1b[K")[2] for line in written.split("\n")]


@pytest.mark.parametrize(
    ("state", "bar"),
    [
        (State("blocks read", 0, 4), "[------------------------------]   0 % blocks read"),
        (State("blocks read", 1, 4), "[########----------------------]  25 % blocks read"),
        (State("blocks read", 4, 4), "[##############################] 100 % blocks read"),
        (State("blocks read", 9, 4), "[##############################] 100 % blocks read"),
        (State("bytes received", 12_345, None), "12,345 bytes received"),
    ],
)
def test_a_bar_is_one_line(state: State, bar: str) -> None:
    assert _bar_of(state, 79) == bar


def test_a_bar_is_no_wider_than_the_terminal() -> None:
    assert max(len(_bar_of(State("rows of a table" * 9, 1, 2), width)) for width in (20, 79)) <= 79


def test_a_line_takes_the_place_of_the_bar_and_the_bar_goes_where_its_step_ends() -> None:
    stream = io.StringIO()
    handler = _WithProgressBar(stream)
    handler.emit(record("", State("rows", 1, 2)))
    handler.emit(record("", State("rows", 2, 2)))
    assert shown(stream.getvalue()) == ["[##############################] 100 % rows"]
    handler.emit(record("a warning"))
    assert shown(stream.getvalue()) == ["a warning", ""]
    handler.emit(record("", State("rows", 2, 2)))
    handler.emit(record("", State("rows", 2, 2, is_over=True)))
    handler.emit(record("staged"))
    assert shown(stream.getvalue()) == ["a warning", "staged", ""]


def test_characters_that_a_terminal_obeys_are_shown_and_not_obeyed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "a\x1b[2J\x9b\u202eb\ud800\nc é 日本 \u200f"
    print_table(("name",), [(name,)])
    print_wrapped(name)
    shown = "a\\x1b[2J\\x9b\\u202eb\\ud800 c é 日本 \u200f"
    assert capsys.readouterr().out == f"name\n{shown}\n{shown}\n"
