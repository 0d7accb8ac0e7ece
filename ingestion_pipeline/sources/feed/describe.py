"""What a file has, before a feed's table exists: format, fields with samples, ways of position.

`describe` reads any file that a feed can have. It decides nothing: a person, or a command that
suggests a table, chooses among what it found.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.config.feeds import SHEETS, WITH_LAYERS, Feed
from ingestion_pipeline.core.json_paths import value_at
from ingestion_pipeline.lake.scratch import scratch_folder
from ingestion_pipeline.sources.feed.content import unreadable
from ingestion_pipeline.sources.feed.documents import document_of_xml, lists_of_records, parsed
from ingestion_pipeline.sources.feed.errors import FeedEncodingWrong
from ingestion_pipeline.sources.feed.geodata import layers_of, require_xml, rows_of_sheet
from ingestion_pipeline.sources.feed.nested import paths_in, paths_of
from ingestion_pipeline.sources.feed.positions import number_of, way_of_position
from ingestion_pipeline.sources.feed.records import content_of, id_of
from ingestion_pipeline.sources.feed.sniff import (
    LATIN,
    SNIFFED_BYTES,
    encodings_of,
    format_in,
    format_of,
    of_no_format,
)
from ingestion_pipeline.sources.feed.tables import DELIMITERS, LINE_END, decoded
from ingestion_pipeline.sources.feed.unpack import (
    members_of,
    named_as,
    unpacked,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ingestion_pipeline.sources.feed.content import Content
    from ingestion_pipeline.sources.feed.positions import Position

SAMPLES = 3
"""How many different values of a field are shown."""

_SHOWN = 80
_DEFAULTS = (",", "utf-8", "@", 0)
_SNIFFED_ROWS = 30
_FEWEST_COLUMNS = 2
_SHARE_OF_HEADER = 0.6


@dataclass(frozen=True)
class Field:
    """A field of a file.

    Attributes:
        name: Its name, or the path of a nested member, as the keys of a feed name it.
        filled: How many records have a value.
        distinct: How many different values they have.
        samples: Some of them, as texts.
        position: What way of position most of its values can be, or None.
    """

    name: str
    filled: int
    distinct: int
    samples: tuple[str, ...]
    position: Position | None = None

    def is_unique(self, records: int) -> bool:
        """Return whether every record has a value of its own."""
        return self.filled == self.distinct == records


@dataclass(frozen=True)
class Description:
    """What a file has.

    Attributes:
        keys: The keys of a feed's table that the file itself decides: `format`, and where needed
            `delimiter`, `encoding`, `skip_lines`, `records`, `member` and `layer`.
        records: The number of records.
        fields: The fields, in the order of the file.
        has_geometry: Whether records have a geometry of their own.
        crs: The coordinate system that the file names, or None.
        members: The paths of members beside the records of a JSON document, with their values.
        choices: Other layers, lists of records or files of an archive, by their key.
    """

    keys: Mapping[str, Any]
    records: int
    fields: tuple[Field, ...]
    has_geometry: bool
    crs: str | None
    members: Mapping[str, str]
    choices: Mapping[str, Sequence[str]]


def describe(path: Path, *, maximum_bytes: int = 50_000_000) -> Description:
    """Describe a file.

    Args:
        path: The file, as published: it may be compressed.
        maximum_bytes: The largest size of what it unpacks to.

    Raises:
        FeedUnreadable: It is of no format that a feed can have.
        FeedTooBig: It unpacks to more than `maximum_bytes`.
    """
    probe = partial(_probe, maximum_bytes)
    keys: dict[str, Any] = {}
    choices: dict[str, Sequence[str]] = {}
    with scratch_folder() as folder:
        form, member = format_in(path, probe())
        if member is not None:
            keys["member"] = member
            choices["member"] = members_of(path, probe())
        file = unpacked(path, probe(format=form or "csv", **keys), folder)
        with file.open("rb") as opened:
            beginning = opened.read(SNIFFED_BYTES)
        form = format_of(beginning) or form if form in (None, "gml") else form
        if form is None:
            raise of_no_format(file, probe())
        keys["format"] = form
        file = named_as(form, file, folder)
        more = _keys_of(form, file, probe(format=form), choices)
        keys |= {name: key for name, key in more.items() if key not in _DEFAULTS}
        try:
            content = content_of(file, probe(format=form, **more))
        except FeedEncodingWrong:  # the table of a shapefile, which names no encoding
            more |= {"encoding": LATIN[0]}
            keys |= more
            choices["encoding"] = LATIN
            content = content_of(file, probe(format=form, **more))
    return Description(
        keys=keys,
        records=len(content.properties),
        fields=tuple(fields_of(content)),
        has_geometry=content.geometry is not None,
        crs=content.crs,
        members={
            path: _text(value)
            for name, member in content.document.items()
            for path in paths_in(member, name)
            if "[" not in path
            and isinstance(value := value_at(content.document, path), str | int | float)
        },
        choices=choices,
    )


def _probe(maximum_bytes: int, **keys: Any) -> Feed:
    """Return a feed that has nothing but what reading a file needs."""
    needed: dict[str, Any] = {
        "slug": "file",
        "location": "file",
        "format": "csv",
        "record_id": "@position",
        "kind": "toilets",
        "licence": "CC0-1.0",
        "attribution": "-",
        "as_of": "fetched",
        "maximum_age_days": 1,
        "minimum": 1,
        "maximum_bytes": maximum_bytes,
    }
    return Feed(**{**needed, **keys})


def _keys_of(
    form: str, file: Path, feed: Feed, choices: dict[str, Sequence[str]]
) -> dict[str, Any]:
    """Return the keys that reading a format needs; add what else a key could be to `choices`."""
    if form == "csv":
        encodings = encodings_of(file.read_bytes())
        if len(encodings) > 1:
            choices["encoding"] = encodings
        return {
            "encoding": encodings[0],
            **_dialect(file.read_bytes().decode(encodings[0], "replace")),
        }
    if form in ("json", "xml"):
        if form == "xml":
            require_xml(file, feed)
            document = document_of_xml(file)
        else:
            document = parsed(decoded(file.read_bytes(), feed), feed)
        lists = lists_of_records(document)
        if not lists:
            raise unreadable(feed, f"{form.upper()} without a list of records")
        choices["records"] = tuple(lists)
        return {"records": max(lists, key=lambda name: lists[name])}
    keys: dict[str, Any] = {}
    if form in WITH_LAYERS and form != "shapefile":
        layers = layers_of(file, feed)
        if len(layers) > 1:
            choices["layer"] = layers
            keys["layer"] = layers[0]
    if form in SHEETS:
        keys["skip_lines"] = _lines_before_header(rows_of_sheet(file, layers[0], feed))
    return keys


def _dialect(text: str) -> dict[str, Any]:
    """Return the delimiter of a CSV, and the number of lines before its header."""
    text = text[:SNIFFED_BYTES].removeprefix("\N{BYTE ORDER MARK}")
    delimiter = max(DELIMITERS, key=lambda mark: _columns_of(text, mark))
    lines = LINE_END.split(text, maxsplit=_SNIFFED_ROWS)[:_SNIFFED_ROWS]
    rows = [next(csv.reader([line], delimiter=delimiter), []) for line in lines]
    return {"delimiter": delimiter, "skip_lines": _lines_before_header(rows)}


def _columns_of(text: str, delimiter: str) -> int:
    """Return how many columns a delimiter makes of a CSV; 0 if it does not divide it."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = []
    with suppress(csv.Error):
        rows = [row for row, _ in zip(reader, range(_SNIFFED_ROWS), strict=False) if row]
    widths = Counter(map(len, rows))
    width, count = widths.most_common(1)[0] if rows else (0, 0)
    head = next((row for row in rows if len(row) == width), [])
    # Where decimal commas divide the rows, they do not divide the header.
    is_divided = head is rows[0] or not any(map(_is_number, head)) if rows else False
    return width if is_divided and count * 2 > len(rows) else 0


def _lines_before_header(rows: Sequence[Sequence[str | None]]) -> int:
    """Return how many lines precede the header of a table: titles, notes, a header of groups.

    The header is the first row with about as many cells as the others, and without a number. If
    the next row has no number either, in a column of numbers, that one is the header.
    """
    filled = [[cell for cell in row if cell and cell.strip()] for row in rows]
    usual = median(len(row) for row in filled if row) if any(filled) else 0
    if usual < _FEWEST_COLUMNS:
        return 0
    for place, row in enumerate(filled):
        if len(row) >= _SHARE_OF_HEADER * usual and not any(map(_is_number, row)):
            below = [cell for cell in rows[place + 1] if cell] if place + 1 < len(rows) else []
            is_further = below and len(below) < len(row) and _are_titles(rows, place + 1)
            return place + 1 if is_further else place
    return 0


def _are_titles(rows: Sequence[Sequence[str | None]], place: int) -> bool:
    """Return whether a row has no number, and all rows below it have numbers in its columns."""
    columns = [number for number, cell in enumerate(rows[place]) if cell]
    below = [row for row in rows[place + 1 :] if any(row)]
    return (
        bool(below)
        and not any(_is_number(rows[place][column] or "") for column in columns)
        and all(
            any(column < len(row) and _is_number(row[column] or "") for column in columns)
            for row in below
        )
    )


def _is_number(text: str) -> bool:
    return any(number_of(text, mark) is not None for mark in ".,")


def fields_of(content: Content) -> Iterator[Field]:
    """Yield the fields of a file; of nested data, the members by their paths."""
    for name in content.names:
        values = [properties.get(name) for properties in content.properties]
        paths = paths_of(name, values)
        if paths == [name]:
            yield _field(name, values)
            continue
        for path in paths:
            yield _field(path, [value_at(each, path) for each in content.properties])


def _field(name: str, values: Sequence[object]) -> Field:
    given = [value for value in values if value not in (None, "", [], {})]
    texts = [_text(value) for value in given]
    different = dict.fromkeys(texts)
    return Field(
        name=name,
        filled=len(texts),
        distinct=len(different),
        samples=tuple(text[:_SHOWN] for text in list(different)[:SAMPLES]),
        position=_position_of(given[:_SNIFFED_ROWS]),
    )


def _position_of(values: Sequence[object]) -> Position | None:
    """Return the way of position that more than half of some values can be."""
    ways = Counter(way_of_position(value) for value in values)
    way, count = ways.most_common(1)[0] if ways else (None, 0)
    return way if count * 2 > len(values) else None


def _text(value: Any) -> str:
    return id_of(value) or json.dumps(value, ensure_ascii=False)
