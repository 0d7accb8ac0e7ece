"""Records of a feed: what its file has, by the keys of the feed's table, column by column."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.config.feeds import GEOJSON_ID, POSITION_ID, SHEETS
from ingestion_pipeline.config.toml_tables import did_you_mean
from ingestion_pipeline.core.characters import are_storable
from ingestion_pipeline.core.json_paths import value_at
from ingestion_pipeline.lake.scratch import scratch_folder
from ingestion_pipeline.sources.feed.content import CHECK_KEYS, Content, unreadable
from ingestion_pipeline.sources.feed.documents import inner, read_document, read_xml
from ingestion_pipeline.sources.feed.errors import FeedUnreadable
from ingestion_pipeline.sources.feed.geodata import read_layers
from ingestion_pipeline.sources.feed.nested import paths_of
from ingestion_pipeline.sources.feed.positions import positions_of
from ingestion_pipeline.sources.feed.sniff import advice_on_format
from ingestion_pipeline.sources.feed.tables import advice_on_delimiter, decoded, read_csv
from ingestion_pipeline.sources.feed.texts import repair
from ingestion_pipeline.sources.feed.unpack import unpacked

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from ingestion_pipeline.config.feeds import Feed

FIELDS_IN_MESSAGE = 50
"""How many of a feed's fields a message lists."""

_PART_OF_ID = "|"
_ROWS_FOR_ADVICE = 30


@dataclass(frozen=True)
class Records:
    """N records, column by column, in the order of the file.

    Attributes:
        properties: The properties of each, as published; empty cells of tables are omitted.
        values: The values of each record's fields that the feed's table names: nested members by
            their path, and texts repaired. Read mapped fields here.
        ids: The id of each, or None if it lacks that field; all None for `@position`.
        geometry: (N,) shapely geometries in WGS 84, x then y, or None.
        document: The members of a JSON document beside its records; empty for other formats.
        problems: By the index of a record: why it has no geometry, if its fields say.
        malformed: By the index of a record: what is wrong with its row of a table.
        broken: For each record, a mapped field whose text has lost letters for good, or None.
    """

    properties: list[dict[str, Any]]
    values: list[dict[str, Any]]
    ids: list[str | None]
    geometry: npt.NDArray[np.object_]
    document: Mapping[str, Any]
    problems: Mapping[int, str]
    malformed: Mapping[int, str]
    broken: Sequence[str | None]

    def __len__(self) -> int:
        """Return N."""
        return len(self.properties)

    def have_invalid_text(self) -> list[bool]:
        """Return which records contain text that no database stores (`core/characters.py`)."""
        return [
            not are_storable(text for text in inner([properties, id_]) if isinstance(text, str))
            for properties, id_ in zip(self.properties, self.ids, strict=True)
        ]


def read_records(path: Path, feed: Feed) -> Records:
    """Read a feed's bytes.

    Raises:
        FeedUnreadable: They are not of the feed's format, lack its fields, or have an unknown
            coordinate system.
        FeedEncodingWrong: They do not have the feed's encoding.
        FeedTooBig: They unpack to more than the feed's `maximum_bytes`.
    """
    try:
        content = read_content(path, feed)
        values = _values(content, feed)
        _require_fields(feed, content, values)
    except FeedUnreadable as error:
        advice = advice_on_format(path, feed)
        if not advice or "format = " in str(error):
            raise
        raise FeedUnreadable(f"{str(error).removesuffix(CHECK_KEYS).strip()} {advice}") from None
    _require_texts(feed, values)
    broken = repair(values, feed)
    positions = positions_of(content, values, feed)
    return Records(
        properties=content.properties,
        values=values,
        ids=_ids(content, values, feed),
        geometry=positions.geometry,
        document=content.document,
        problems=positions.problems,
        malformed=content.malformed,
        broken=broken,
    )


def read_content(path: Path, feed: Feed) -> Content:
    """Return the content of a feed's bytes, before its table is applied to it.

    Raises:
        FeedUnreadable: They are not of the feed's format.
        FeedEncodingWrong: They do not have the feed's encoding.
        FeedTooBig: They unpack to more than the feed's `maximum_bytes`.
    """
    with scratch_folder() as folder:
        return content_of(unpacked(path, feed, folder), feed)


def content_of(file: Path, feed: Feed) -> Content:
    """Return the content of an unpacked file; see `read_content`."""
    if feed.format == "csv":
        return read_csv(decoded(file.read_bytes(), feed), feed)
    if feed.format in ("json", "geojson"):
        return read_document(decoded(file.read_bytes(), feed), feed)
    if feed.format == "xml":
        return read_xml(file, feed)
    return read_layers(file, feed)


def _values(content: Content, feed: Feed) -> list[dict[str, Any]]:
    """Return the values of each record's fields that the feed's table names."""
    own = set(content.names)
    named = feed.named_fields
    paths = named - own
    values = []
    for properties in content.properties:
        found = {name: properties[name] for name in named & properties.keys()}
        nested = {path: value_at(properties, path) for path in paths}
        values.append(found | {path: each for path, each in nested.items() if each is not None})
    return values


def _require_fields(feed: Feed, content: Content, values: Sequence[Mapping[str, Any]]) -> None:
    """Check that at least one record has each field that the cities file names."""
    there = set(content.names)
    found = there.union(*values)
    missing = sorted(feed.named_fields - found)
    # A table without records has its header, and nothing else has fields then.
    if missing and (content.properties or there):
        there = _paths_of_members(content)
        has = [repr(name[:80]) for name in sorted(there)[:FIELDS_IN_MESSAGE]]
        more = f" and {len(there) - len(has):,} more" if len(there) > len(has) else ""
        close = (_close_to(name, there) for name in missing)
        advice = " ".join(each for each in close if each)
        if feed.format == "csv" and len(there) == 1:
            advice = advice_on_delimiter(min(there), feed)
        if feed.format in ("csv", *SHEETS) and _are_in_a_row(missing, content):
            advice = (
                "One of the next rows has them: set skip_lines to the number of lines before it."
            )
        raise unreadable(
            feed,
            f"without the field {', '.join(map(repr, missing))}; it has "
            f"{', '.join(has) or 'none'}{more}",
            advice,
        )


def _paths_of_members(content: Content) -> set[str]:
    """Return the names of the fields; of nested data, the paths of its members."""
    first = content.properties[:_ROWS_FOR_ADVICE]
    return {path for name in content.names for path in paths_of(name, (r.get(name) for r in first))}


def _close_to(name: str, there: Collection[str]) -> str:
    """Return the question for a name that a field nearly has, or that a nested member has."""
    nested = sorted(path for path in there if path.endswith(f".{name}"))
    asked = f"; did you mean {nested[0]!r}?" if nested else did_you_mean(name, there)
    return f"{name!r}{asked}" if asked else ""


def _are_in_a_row(names: Sequence[str], content: Content) -> bool:
    """Return whether one of the first rows of a table has names of fields, as a header does."""
    rows = (set(map(str, each.values())) for each in content.properties[:_ROWS_FOR_ADVICE])
    return any(len(row.intersection(names)) * 2 > len(names) for row in rows)


def _require_texts(feed: Feed, values: Sequence[Mapping[str, Any]]) -> None:
    """Check that the fields of columns have texts or numbers, and not objects."""
    for target, given in feed.fields.items():
        for name in (given,) if isinstance(given, str) else given:
            there = [record[name] for record in values if name in record]
            inner = [path for path in map(_path_inside, there) if path]
            if inner and len(inner) * 2 > len(there):
                shown = json.dumps(there[0], ensure_ascii=False)[:80]
                raise unreadable(
                    feed,
                    f"without texts in {name!r}: it has objects, such as {shown}",
                    f"Name one of their members: {target} = {json.dumps(name + inner[0])}.",
                )


def _path_inside(value: object) -> str:
    """Return the path of the first text or number in an object or a list of objects."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[0]" + _path_inside(value[0])
    if not isinstance(value, dict):
        return ""
    texts = (name for name, each in value.items() if isinstance(each, str | int | float))
    return f".{next(texts, '')}".rstrip(".")


def _ids(content: Content, values: Sequence[Mapping[str, Any]], feed: Feed) -> list[str | None]:
    if feed.record_id == GEOJSON_ID:
        return [id_of(each) for each in content.own_ids]
    if feed.record_id == POSITION_ID:
        return [None] * len(values)
    names = feed.id_fields
    if len(names) == 1:
        return [id_of(record.get(names[0])) for record in values]
    return [_joined([id_of(record.get(name)) for name in names]) for record in values]


def _joined(parts: Sequence[str | None]) -> str | None:
    """Join the parts of an id, so that different parts give different ids."""
    if not any(parts):
        return None
    return _PART_OF_ID.join(
        (part or "").replace("\\", "\\\\").replace(_PART_OF_ID, "\\" + _PART_OF_ID)
        for part in parts
    )


def id_of(value: object) -> str | None:
    """Return a record's id as text; whole numbers are ids too, truth values are not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value).strip() or None
