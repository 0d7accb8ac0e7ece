"""Exit codes, tables and log output of the commands."""

from __future__ import annotations

import logging
import shutil
import sys
import textwrap
from itertools import zip_longest
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FAILED, WRONG_USAGE, KEY_HELD, TRY_LATER, INTERRUPTED = 1, 2, 3, 75, 130

COLUMN_GAP = "  "


def print_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, notes: Sequence[str] = ()
) -> None:
    """Print columns, and wrap the widest column that has spaces to fit the terminal.

    Args:
        head: The names of the columns.
        rows: The cells.
        notes: A line below each row.
    """
    table = [head, *rows]
    columns = list(zip(*table, strict=True))
    widths = [max(map(len, column)) for column in columns]
    too_wide = sum(widths) + len(COLUMN_GAP) * (len(head) - 1) - _width()
    wordy = [place for place, column in enumerate(columns) if any(" " in cell for cell in column)]
    wrapped = max(wordy, key=widths.__getitem__, default=None) if too_wide > 0 else None
    if wrapped is not None:
        longest_word = max(len(word) for cell in columns[wrapped] for word in cell.split() or [""])
        widths[wrapped] = max(widths[wrapped] - too_wide, longest_word)
    for row, note in zip_longest(table, ["", *notes], fillvalue=""):
        cells = [
            _wrap(cell, widths[place]) if place == wrapped else [cell]
            for place, cell in enumerate(row)
        ]
        for line in zip_longest(*cells, fillvalue=""):
            padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            click.echo(COLUMN_GAP.join(padded).rstrip())
        for text in _wrap(f"  {note}" if note else "", _width(), indent=4):
            click.echo(text)


def log_to_stderr(*loggers: str) -> None:
    """Print log records of these loggers; Dagster's own events stay in its event log."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_WrappingFormatter("%(asctime)s %(message)s", "%H:%M:%S"))
    for name in loggers:
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


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


def _wrap(text: str, width: int, *, indent: int = 0) -> list[str]:
    """Break a text between words, and never inside a path or an address."""
    return textwrap.wrap(
        text,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
