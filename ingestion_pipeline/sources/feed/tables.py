"""CSV files as content."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from ingestion_pipeline.sources.feed.content import Content, unreadable
from ingestion_pipeline.sources.feed.errors import FeedEncodingWrong
from ingestion_pipeline.sources.feed.sniff import encodings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingestion_pipeline.config.feeds import Feed

UNDECODED_SHARE = 0.1
"""The largest share of letters that may be bytes which cannot be decoded."""

MALFORMED_SHARE = 0.1
"""The largest share of rows with another number of cells than the header."""

DELIMITERS = ",;\t|"

_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_UNDECODED = re.compile("[\udc80-\udcff]")
"""Bytes that cannot be decoded (Python's `surrogateescape`)."""
_MARK = "\N{BYTE ORDER MARK}"
LINE_END = re.compile(r"\r\n|\r|\n")


def decoded(raw: bytes, feed: Feed) -> str:
    """Decode a feed; a few bytes that cannot be decoded reject only their records.

    Raises:
        FeedEncodingWrong: They are more than a few of the letters that are not ASCII, or they are
            UTF-8 and the table names another encoding.
    """
    if feed.encoding not in ("utf-8", "utf-8-sig") and _is_utf_8(raw):
        raise FeedEncodingWrong(
            f"{feed.public_location}: feed {feed.slug} is UTF-8, not {feed.encoding}. Remove its "
            'encoding, or set encoding = "utf-8".'
        )
    try:
        return raw.decode(feed.encoding).removeprefix(_MARK)
    except UnicodeDecodeError as error:
        with suppress(UnicodeDecodeError):
            text = raw.decode(feed.encoding, "surrogateescape")
            letters = len(_BEYOND_ASCII.findall(text))
            if len(_UNDECODED.findall(text)) < UNDECODED_SHARE * letters:
                return text.removeprefix(_MARK)
        line = raw.count(b"\n", 0, error.start) + 1
        raise FeedEncodingWrong(
            f"{feed.public_location}: feed {feed.slug} is not {feed.encoding}: byte "
            f"{error.start} (0x{raw[error.start]:02x}, line {line}) cannot be decoded. "
            + (
                "GeoJSON is always UTF-8. Ask the publisher to correct it."
                if feed.format == "geojson"
                else f"Set the feed's encoding: it may be {' or '.join(encodings_of(raw))}."
            )
        ) from None


def _is_utf_8(raw: bytes) -> bool:
    """Return whether bytes have letters that are not ASCII, all of them in UTF-8."""
    if raw.isascii():
        return False
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def read_csv(text: str, feed: Feed) -> Content:
    """Return the content of a CSV.

    Raises:
        FeedUnreadable: It is not CSV with this delimiter, it ends within a row, or a column that
            the feed's table names occurs twice.
    """
    if feed.skip_lines:
        text = LINE_END.split(text, maxsplit=feed.skip_lines)[-1]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=feed.delimiter, strict=True)
    try:
        # A row without any value, such as the last ones of a spreadsheet, is no record.
        rows = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise unreadable(feed, f"not CSV: line {reader.line_num}: {error}") from None
    if feed.columns is None:
        head, rows = (rows[0], rows[1:]) if rows else ([], [])
    else:
        head = list(feed.columns)
    rows = [_without_surplus(row, len(head)) for row in rows]
    malformed = {
        index: f"its row has {len(row)} cells, and the header {len(head)}"
        for index, row in enumerate(rows)
        if len(row) != len(head)
    }
    if malformed and (len(malformed) >= MALFORMED_SHARE * len(rows) or len(rows[-1]) < len(head)):
        first = min(malformed)
        raise unreadable(
            feed,
            f"a CSV of {len(head)} columns whose record {first + 1} has {len(rows[first])}, "
            f"truncated or with another delimiter than {feed.delimiter!r}",
            _advice(head, rows, feed),
        )
    names = _different(head, feed)
    return Content(
        properties=[
            {name: cell for name, cell in zip(names, row, strict=False) if cell.strip()}
            for row in rows
        ],
        names=names,
        malformed=malformed,
    )


def _without_surplus(row: list[str], count: int) -> list[str]:
    """Return a row without empty cells beyond the header's."""
    return row[:count] if len(row) > count and not any(map(str.strip, row[count:])) else row


def _different(head: Sequence[str], feed: Feed) -> list[str]:
    """Return the names of columns, with a number for names that repeat or are empty."""
    counts: Counter[str] = Counter()
    names = []
    for number, given in enumerate(head, start=1):
        name = given if given.strip() else f"column {number}"
        counts[name] += 1
        if counts[name] > 1 and name in feed.named_fields:
            raise unreadable(feed, f"a CSV with two columns of the same name, {name!r}")
        names.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return names


def _advice(head: Sequence[str], rows: Sequence[Sequence[str]], feed: Feed) -> str:
    """Return what to do about records with another number of cells than the header."""
    if feed.columns is not None:
        cells = len(rows[0])
        return f"Its first record has {cells} cells; name that many columns in its key columns."
    if len(head) == 1:
        return f"{advice_on_delimiter(head[0], feed)}If lines precede the header, set skip_lines."
    return "Check the feed, and correct its delimiter in the cities file."


def advice_on_delimiter(head: str, feed: Feed) -> str:
    """Return the sentence that names a delimiter which divides a header, or nothing."""
    counts = {mark: head.count(mark) for mark in DELIMITERS if mark != feed.delimiter}
    best = max(counts, key=lambda mark: counts[mark])
    shown = {"\t": r"\t"}.get(best, best)
    return f'Set delimiter = "{shown}". ' if counts[best] else ""
