"""Exit codes, tables and log output of the commands."""

from __future__ import annotations

import logging
import re
import shutil
import sys
import textwrap
from itertools import zip_longest
from typing import TYPE_CHECKING, TextIO

import click

from ingestion_pipeline.core import progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FAILED, WRONG_USAGE, KEY_HELD, TRY_LATER, INTERRUPTED = 1, 2, 3, 75, 130
SOME_FEEDS_FAILED, ALL_FEEDS_FAILED = 4, 5
"""The day is staged, but not with the day's data of all sources."""

COLUMN_GAP = "  "
MORE_INDENT = "    "

_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that change the direction of text, and halves of surrogate pairs."""


def print_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, notes: Sequence[str] = ()
) -> None:
    """Print columns that fit the terminal.

    Wraps cells of several words first. Where that is not enough, a row continues on a second line.
    Breaks a slug or another word only if it does not fit a line.

    Args:
        head: The names of the columns.
        rows: The cells.
        notes: A line below each row.
    """
    table = [head, *([visible(cell) for cell in row] for row in rows)]
    lines = _lines_of_row(list(zip(*table, strict=True)), _width())
    for row, note in zip_longest(table, ["", *notes], fillvalue=""):
        for number, widths in enumerate(lines):
            _print_cells([row[place] for place in widths], list(widths.values()), more=number > 0)
        if note:
            print_wrapped(f"  {note}")


def print_wrapped(line: str) -> None:
    """Print a line, wrapped and indented to fit the terminal."""
    for text in _wrap(visible(line), _width(), indent=4):
        click.echo(text)


def visible(text: str) -> str:
    r"""Return a text with `\x1b` in place of each character that a terminal obeys.

    Names and tags come from strangers: an escape sequence could hide or forge lines.
    """
    return _OBEYED.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    if found[0] in "\t\n\v\f\r":
        return " "
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def log_to_stderr(*loggers: str) -> None:
    """Print log records of these loggers; Dagster's own events stay in its event log.

    In a terminal, long steps have a progress bar; elsewhere a line every few seconds.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if sys.stderr.isatty():
        handler = _WithProgressBar(sys.stderr)
        progress.BARS.addHandler(handler)
        progress.BARS.setLevel(logging.DEBUG)
    handler.setFormatter(_WrappingFormatter("%(asctime)s %(message)s", "%H:%M:%S"))
    for name in loggers:
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


class _WithProgressBar(logging.StreamHandler[TextIO]):
    """Prints records as lines, and draws those of progress as a bar below them."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._drawn = False

    def emit(self, record: logging.LogRecord) -> None:
        state: progress.State | None = getattr(record, progress.ATTRIBUTE, None)
        if self._drawn:
            self.stream.write("\r\x1b[K")
            self._drawn = False
        if state is None:
            super().emit(record)
        elif not state.is_over:
            self.stream.write(_bar_of(state, _width() - 1))
            self._drawn = True
        self.stream.flush()


def _bar_of(state: progress.State, width: int) -> str:
    """Return a progress bar of one line, or a count where the total is not known."""
    if not state.total:
        return str(state)[:width]
    share = min(1.0, state.done / state.total)
    label = f" {100 * share:3.0f} % {state.what}"
    room = max(10, min(30, width - len(label) - 2))
    done = round(share * room)
    return f"[{'#' * done}{'-' * (room - done)}]{label}"[:width]


class _WrappingFormatter(logging.Formatter):
    """Wraps a record to the width of the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        lines = super().format(record).splitlines()
        return "\n".join(
            wrapped
            for line in lines
            for wrapped in _wrap(line, _width(), indent=len("00:00:00 ")) or [line]
        )


def _width() -> int:
    """Return the width of the terminal; 80 without one."""
    return shutil.get_terminal_size().columns


def _wrap(text: str, width: int, *, indent: int = 0, break_words: bool = False) -> list[str]:
    """Break a text between words, and inside a word only with `break_words`."""
    return textwrap.wrap(
        text,
        width,
        subsequent_indent=" " * indent,
        break_long_words=break_words,
        break_on_hyphens=False,
    )


def _print_cells(cells: Sequence[str], widths: Sequence[int], *, more: bool) -> None:
    """Print the cells of one line of a row."""
    wrapped = [
        [cell] if len(cell) <= width else _wrap(cell, width, break_words=True)
        for cell, width in zip(cells, widths, strict=True)
    ]
    for line in zip_longest(*wrapped, fillvalue=""):
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo((MORE_INDENT if more else "") + COLUMN_GAP.join(padded).rstrip())


def _lines_of_row(columns: Sequence[Sequence[str]], width: int) -> list[dict[int, int]]:
    """Return the columns of each line of a row, with their widths."""
    room = width - len(MORE_INDENT)
    widest = [min(max(map(len, column)), room) for column in columns]
    longest_words = [
        min(max(len(word) for cell in column for word in cell.split() or [""]), room)
        for column in columns
    ]
    lines: list[list[int]] = [[]]
    for place in range(len(columns)):
        line = [*lines[-1], place]
        if lines[-1] and _total(longest_words[each] for each in line) > (
            width if len(lines) == 1 else room
        ):
            lines.append([place])
        else:
            lines[-1] = line
    return [
        _narrowed(
            {place: widest[place] for place in line}, longest_words, room if number else width
        )
        for number, line in enumerate(lines)
    ]


def _narrowed(widths: dict[int, int], least: Sequence[int], width: int) -> dict[int, int]:
    """Narrow the widest columns that can be wrapped until the line fits."""
    widths = dict(widths)
    for place in sorted(widths, key=widths.__getitem__, reverse=True):
        too_much = max(0, _total(widths.values()) - width)
        widths[place] -= min(too_much, widths[place] - least[place])
    return widths


def _total(widths: Iterable[int]) -> int:
    """Return the width of columns and the gaps between them."""
    return sum(width + len(COLUMN_GAP) for width in widths) - len(COLUMN_GAP)
