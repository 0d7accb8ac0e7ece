"""Files of geodata formats and spreadsheets as content, read by GDAL.

GDAL chooses a driver by the content of a file, and some drivers open other files or URLs that the
content names (VRT, WFS, SQLite with virtual tables). So a file is passed to GDAL only if its
content is of the configured format and refers to nothing outside; the tests have such files.
"""

from __future__ import annotations

import logging
import sqlite3
import warnings
from contextlib import closing, contextmanager
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

import numpy as np

from ingestion_pipeline.config.feeds import SHEETS, WITH_LAYERS
from ingestion_pipeline.sources.feed.content import Content, names_in, unreadable
from ingestion_pipeline.sources.feed.errors import FeedEncodingWrong

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from ingestion_pipeline.config.feeds import Feed

log = logging.getLogger(__name__)

_BEGINNINGS: Mapping[str, bytes] = {
    "geopackage": b"SQLite format 3\0",
    "flatgeobuf": b"fgb\3",
    "shapefile": b"\0\0\x27\x0a",
    "xlsx": b"PK\3\4",
    "ods": b"PK\3\4",
}
_ROOTS: Mapping[str, tuple[str, ...]] = {
    "kml": ("kml", "Document", "Folder"),
    "gml": ("FeatureCollection",),
}
"""The name of the root element of the XML formats, without its namespace."""

_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "gml": {
        "DOWNLOAD_SCHEMA": "NO",
        "SKIP_RESOLVE_ELEMS": "ALL",
        "WRITE_GFS": "NO",
        "EXPOSE_GML_ID": "YES",
    },
    "xlsx": {"HEADERS": "FORCE"},
    "ods": {"HEADERS": "FORCE"},
}
"""The options with which GDAL opens a file."""

_NO_NETWORK = {"CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "{none}", "GML_DOWNLOAD_WFS_SCHEMA": "NO"}
MAX_DEPTH = 100
"""How many elements of XML may be inside of each other."""

ALL_LAYERS = "*"
"""The value of `layer` for all layers together."""

LAYER_FIELD = "@layer"
"""The field with the layer of a record, if several are read."""

_CHUNK_BYTES = 1 << 18
_HARMLESS_TABLES = ("rtree",)


def read_layers(path: Path, feed: Feed) -> Content:
    """Return the content of a layer or sheet, or of all.

    Raises:
        FeedUnreadable: The file is not of the feed's format, refers to other files, or does not
            have the layer.
    """
    _require_format(path, feed)
    layers = _layers(path, feed)
    contents = [_content(path, layer, feed) for layer in layers]
    if feed.layer != ALL_LAYERS:
        return contents[0]
    for layer, content in zip(layers, contents, strict=True):
        for record in content.properties:
            record[LAYER_FIELD] = layer
    systems = {content.crs for content in contents}
    if len(systems) > 1 and feed.crs is None:
        raise unreadable(feed, "a file whose layers have several coordinate systems", "Set crs.")
    geometries = [content.geometry for content in contents if content.geometry is not None]
    properties = [each for content in contents for each in content.properties]
    return Content(
        properties=properties,
        names=names_in(properties),
        geometry=np.concatenate(geometries) if geometries else None,
        crs=systems.pop(),
    )


def _content(path: Path, layer: str | int, feed: Feed) -> Content:
    import shapely

    meta, table = _by_gdal(path, layer, feed)
    geometry_name = meta["geometry_name"] or "wkb_geometry"
    names = [name for name in table.column_names if name != geometry_name]
    try:
        properties = _properties(table, names)
    except UnicodeDecodeError as error:
        raise FeedEncodingWrong(
            f"{feed.public_location}: feed {feed.slug} has texts that are not {feed.encoding} "
            f"({error.reason}). Set its encoding, such as cp1252."
        ) from None
    if feed.format in SHEETS:
        return _sheet(properties, names, feed)
    geometry = np.full(len(table), None, dtype=object)
    if geometry_name in table.column_names:
        wkb = table.column(geometry_name).to_numpy(zero_copy_only=False)
        geometry = np.asarray(shapely.from_wkb(wkb, on_invalid="ignore"), dtype=object)
    return Content(properties=properties, names=names, geometry=geometry, crs=meta["crs"])


def _by_gdal(path: Path, layer: str | int, feed: Feed) -> tuple[Mapping[str, Any], pa.Table]:
    """Return a layer's metadata, with its coordinate system, and its rows."""
    import pyogrio

    pyogrio.set_gdal_config_options(_NO_NETWORK)
    options = dict(_OPTIONS.get(feed.format, {}))
    if feed.skip_lines:
        options["HEADERS"] = "DISABLE"
    if feed.format == "shapefile" and feed.encoding != "utf-8":
        options["ENCODING"] = feed.encoding
    # The ids of a geopackage are a column of it, those of other formats row numbers.
    with_ids = feed.format == "geopackage"
    with _errors_of_gdal(feed):
        meta, table = pyogrio.read_arrow(path, layer=layer, return_fids=with_ids, **options)
    return meta, table


@contextmanager
def _errors_of_gdal(feed: Feed) -> Iterator[None]:
    """Log GDAL's warnings, and convert its errors."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            yield
        # DataSourceError and DataLayerError, and whatever Arrow makes of a damaged file.
        except (RuntimeError, ValueError, OSError) as error:
            what = f"not {feed.format} that GDAL reads ({type(error).__name__})"
            raise unreadable(feed, what) from None
    for each in heard:
        log.info("feed %s: GDAL: %s", feed.slug, each.message)


def _sheet(rows: list[dict[str, Any]], names: Sequence[str], feed: Feed) -> Content:
    """Return the content of a sheet; a row without any value is no record."""
    if feed.skip_lines:
        titles = _titles(rows, names, feed.skip_lines)
        rows = [
            {titles[name]: value for name, value in row.items()}
            for row in rows[feed.skip_lines + 1 :]
        ]
        names = list(titles.values())
    return Content(properties=[row for row in rows if row], names=names)


def _titles(rows: Sequence[Mapping[str, Any]], names: Sequence[str], line: int) -> dict[str, str]:
    """Return the title of each column: of the header, or else of the line before it.

    A column without a title, or with one that another has, keeps the name that GDAL gives it, such
    as `Field4`.
    """
    head, above = (rows[each] if each < len(rows) else {} for each in (line, line - 1))
    titles: dict[str, str] = {}
    for name in names:
        title = str(head.get(name) or above.get(name) or name)
        titles[name] = name if title in titles.values() else title
    return titles


def rows_of_sheet(path: Path, layer: str, feed: Feed, *, count: int = 30) -> list[list[str | None]]:
    """Return the cells of the first rows of a sheet, whether they are a header or not.

    Raises:
        FeedUnreadable: GDAL does not read it.
    """
    import pyogrio

    with _errors_of_gdal(feed):
        table = pyogrio.read_arrow(path, layer=layer, max_features=count, HEADERS="DISABLE")[1]
    return [
        [None if cell is None else str(cell) for cell in row.values()] for row in table.to_pylist()
    ]


def layers_of(path: Path, feed: Feed) -> list[str]:
    """Return the names of the layers or sheets of a file.

    Raises:
        FeedUnreadable: The file is not of the feed's format, or refers to other files.
    """
    import pyogrio

    _require_format(path, feed)
    pyogrio.set_gdal_config_options(_NO_NETWORK)
    with _errors_of_gdal(feed):
        return [str(name) for name, _ in pyogrio.list_layers(path)]


def _layers(path: Path, feed: Feed) -> Sequence[str | int]:
    """Return the layers to read."""
    if feed.format not in WITH_LAYERS:
        return [0]
    there = layers_of(path, feed)
    layers = there if feed.layer in (None, ALL_LAYERS) else [str(feed.layer)]
    if not set(layers) <= set(there) or (len(layers) != 1 and feed.layer != ALL_LAYERS):
        shown = ", ".join(repr(name[:80]) for name in there[:20])
        what = f"no layer {feed.layer!r}" if feed.layer else f"{len(there)} layers"
        to_do = f'Set its layer, or layer = "{ALL_LAYERS}" for all.'
        raise unreadable(feed, f"a file with {what}; it has {shown or 'none'}", to_do)
    if feed.format == "geopackage":
        tables = _plain_tables(path, feed)
        for layer in layers:
            if layer not in tables:
                raise unreadable(feed, f"a geopackage whose layer {layer!r} is a view, refused")
    return layers


def _properties(table: pa.Table, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the properties of each row as JSON values, without nulls."""
    columns = {name: [_json(value) for value in table.column(name).to_pylist()] for name in names}
    return [
        {name: column[row] for name, column in columns.items() if column[row] is not None}
        for row in range(len(table))
    ]


def _json(value: object) -> Any:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [_json(each) for each in value]
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - NaN
        return None
    return value if value != "" else None


def _require_format(path: Path, feed: Feed) -> None:
    """Check that a file is of the feed's format, and names no other file or URL to be opened."""
    if feed.format in _ROOTS:
        require_xml(path, feed)
        return
    with path.open("rb") as file:
        beginning = file.read(16)
    if not beginning.startswith(_BEGINNINGS[feed.format]):
        hint = "A shapefile is published as a zip archive. " if feed.format == "shapefile" else ""
        raise unreadable(
            feed, f"not {feed.format} by its first bytes", f"{hint}Correct its format."
        )
    if feed.format == "geopackage":
        _plain_tables(path, feed)


def _plain_tables(path: Path, feed: Feed) -> set[str]:
    """Return the tables of a geopackage; views and virtual tables could read other files."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
            found = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        raise unreadable(feed, f"not geopackage ({type(error).__name__})") from None
    tables = {name for kind, name, _ in found if kind == "table"}
    for _, name, sql in found:
        words = " ".join(str(sql or "").lower().split())
        is_virtual = words.startswith("create virtual table")
        if is_virtual and not any(f" using {each}" in words for each in _HARMLESS_TABLES):
            raise unreadable(
                feed, f"a geopackage with the virtual table {name!r}, which is refused"
            )
    if "gpkg_contents" not in tables:
        raise unreadable(feed, "an SQLite database that is not a geopackage")
    return tables


def require_xml(path: Path, feed: Feed) -> None:
    """Check that XML is well-formed, has the right root, and declares no document type.

    A document type can declare entities that are other files, or that grow exponentially.

    Raises:
        FeedUnreadable: It is not, or has elements inside of more than `MAX_DEPTH` others.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    roots: list[str] = []
    depth = 0

    def start(name: str, _: Mapping[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise unreadable(feed, f"XML with more than {MAX_DEPTH} elements inside of each other")
        if not roots:
            roots.append(name.rpartition(" ")[2])

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*_: object) -> None:
        raise unreadable(
            feed, "XML with a document type, refused", "Ask the publisher to remove it."
        )

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                parser.Parse(chunk, False)
            parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise unreadable(feed, f"not {feed.format}: {error}") from None
    if feed.format in _ROOTS and roots[0] not in _ROOTS[feed.format]:
        raise unreadable(feed, f"not {feed.format}: its root element is {roots[0][:80]!r}")
