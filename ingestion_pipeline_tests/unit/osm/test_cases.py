"""Every small file that failed, or held, in use: what is staged of it, or why it is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import osmium
import pytest
import shapely

from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.errors import (
    ExtractCorrupt,
    ExtractError,
    ExtractUnsupported,
    ExtractWithoutTime,
)
from ingestion_pipeline.osm.normalize import normalize
from ingestion_pipeline.osm.taxonomy import Taxonomy
from ingestion_pipeline.sources.pbf.extract import acquire, read

if TYPE_CHECKING:
    from pathlib import Path

WORLD = Bbox(-180, -90, 180, 90)
HEADER = datetime(2024, 2, 29, 12, tzinfo=UTC)
NEWEST = datetime(2024, 2, 1, tzinfo=UTC)

CAFE = {"node/1": "POINT (13.4 52.5)"}
SCHOOL = {"way/10": "POLYGON ((13.41 52.51, 13.42 52.52, 13.42 52.51, 13.41 52.51))"}


class Staged(NamedTuple):
    """The rows, by their geometry; the rejections, by their reason; and the file's moment."""

    rows: dict[str, str]
    rejected: dict[str, str] = {}  # noqa: RUF012 - of a tuple
    as_of: datetime = HEADER


class Refused(NamedTuple):
    """The error, and what it says."""

    error: type[ExtractError]
    said: str


def point(lon: float, lat: float = 52.5) -> str:
    return f"POINT ({lon:g} {lat:g})"


BROKEN_TEXT = Staged(CAFE, {"node/2": "invalid_text"})
TOWN = Staged(CAFE | SCHOOL)

CASES: dict[str, Staged | Refused] = {
    "c_badutf8": Staged(CAFE | {"node/3": point(13.42)}, {"node/2": "invalid_text"}),
    "c_badutf8_unselected": Staged(CAFE),
    "c_bboxonly": TOWN._replace(as_of=NEWEST),
    "c_ctl": Staged(CAFE | {"node/2": point(13.41)}),
    "c_dup": Staged(CAFE | {"node/7": point(13.44), "node/8": point(13.45)}),
    # of a key that is there twice the last value counts, as in a JSON object
    "c_dupkey": Staged(CAFE),
    "c_dupver": Refused(ExtractUnsupported, "node/1 more than once, with version 3 each"),
    "c_empty": Staged({}),
    "c_emptyblocks": Staged(CAFE | {"node/5": point(13.45)}),
    "c_gran": Staged(CAFE),
    "c_ids": Staged(
        CAFE
        | {"node/-5": point(13.39), "node/2147483653": point(13.41)}
        | {"node/9007199254740993": point(13.42), "node/4611686018427387904": point(13.43)}
    ),
    "c_low": TOWN,
    "c_lz4": TOWN,
    "c_lzma": TOWN,
    "c_mixed": TOWN,
    "c_nometa": Staged(CAFE | {"way/10": point(13.4)}),
    "c_nometa_nots": Refused(ExtractWithoutTime, "neither in its header nor of any object"),
    "c_norawsize": TOWN,
    "c_nozero": Staged(CAFE),
    "c_nul": BROKEN_TEXT,
    "c_off": Staged(CAFE),
    "c_off_earth": Staged(
        CAFE | {"node/4": point(0, 0)},
        {"node/2": "invalid_coordinates", "node/3": "invalid_coordinates"},
    ),
    "c_optfeatures": TOWN,
    "c_raw": TOWN,
    "c_trunc255": BROKEN_TEXT,
    "c_ts0": TOWN._replace(as_of=NEWEST),
    "c_tsms": Refused(ExtractWithoutTime, "1709208000000, which is not a time in seconds"),
    "c_twoheaders": Staged(CAFE | {"node/5": point(13.45)}),
    "c_unknownblob": Staged(CAFE),
    "c_unknownreq": Refused(ExtractUnsupported, "it requires the feature Foo-V2"),
    "c_unpacked": TOWN,
    "c_unsorted": TOWN,
    "c_visible": Refused(ExtractUnsupported, r"is deleted \(visible=false\)"),
    "c_zlib": TOWN,
    "c_zstd": TOWN,
    # osmium has written a deletion of a change file as an object; nothing in the file tells
    "osc": Staged(CAFE | {"node/2": point(13.41)}, as_of=datetime(2024, 2, 29, 2, tzinfo=UTC)),
}


class StoppedClock:
    """A clock that shows one moment."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody should wait {seconds} s for a file")


def acquired(path: Path, workdir: Path, as_of: datetime = HEADER) -> tuple[Path, datetime]:
    acquisition = acquire(
        str(path),
        day=as_of.date(),
        clock=StoppedClock(as_of),
        maximum_age=timedelta(hours=48),
        workdir=workdir,
    )
    (part,) = acquisition.parts
    return part.path, acquisition.evidence.as_of


@pytest.mark.real_data
def test_there_is_an_expectation_of_every_case(osm_test_data: Path) -> None:
    files = {path.name.removesuffix(".osm.pbf") for path in (osm_test_data / "cases").glob("*.pbf")}
    assert files == CASES.keys()


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "staged"), [case for case in CASES.items() if isinstance(case[1], Staged)]
)
def test_what_can_be_read_is_staged(
    name: str, staged: Staged, osm_test_data: Path, tmp_path: Path
) -> None:
    path, as_of = acquired(osm_test_data / "cases" / f"{name}.osm.pbf", tmp_path, staged.as_of)
    reading = read(path, area=Area(WORLD, None))
    pois = normalize(
        reading.features,
        boundary=BboxBoundary(WORLD),
        languages=["en"],
        local_language=None,
        country="DE",
        taxonomy=Taxonomy.load(),
        day=as_of.date(),
    )
    rows = pois.table.select(["source_ref", "geometry"]).to_pydict()

    assert as_of == staged.as_of
    shapes = [shapely.to_wkt(shapely.from_wkb(wkb)) for wkb in rows["geometry"]]
    assert dict(zip(rows["source_ref"], shapes, strict=True)) == staged.rows
    assert len(rows["source_ref"]) == len(staged.rows)
    rejected = {each.source_ref: each.reason for each in reading.rejections + pois.rejections}
    assert rejected == staged.rejected


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "refused"), [case for case in CASES.items() if isinstance(case[1], Refused)]
)
def test_what_cannot_be_read_is_refused_for_good(
    name: str, refused: Refused, osm_test_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(refused.error, match=refused.said) as caught:
        acquired(osm_test_data / "cases" / f"{name}.osm.pbf", tmp_path)
    assert not caught.value.should_retry
    assert refused.error is not ExtractCorrupt


EXTRACTS = ("monaco-2023-12-26", "liechtenstein-2022-07-24")


def located(path: Path, target: Path) -> Path:
    """Write a file as `osmium add-locations-to-ways --keep-member-nodes` does."""
    relations: Any = osmium.FileProcessor(str(path), osmium.osm.RELATION)
    members = {
        member.ref for relation in relations for member in relation.members if member.type == "n"
    }
    options = osmium.io.File(str(target), "pbf,locations_on_ways=true")
    with osmium.SimpleWriter(options, header=osmium.io.Reader(str(path)).header()) as writer:
        items: Any = osmium.FileProcessor(str(path)).with_locations()
        for item in items:
            if not item.is_node() or item.tags or item.id in members:
                writer.add(item)
    return target


def rows_of(path: Path) -> list[tuple[object, ...]]:
    reading = read(path, area=Area(WORLD, None))
    features = reading.features
    columns = (
        features.source_refs(),
        features.version.tolist(),
        [sorted(tags.items()) for tags in features.tags],
        shapely.to_wkb(features.geometry).tolist(),
        features.geom_quality.tolist(),
    )
    rejected = [(each.source_ref, each.reason) for each in reading.rejections]
    return [*zip(*columns, strict=True), *rejected]


@pytest.mark.real_data
@pytest.mark.parametrize("name", EXTRACTS)
def test_a_real_extract_with_locations_on_ways_is_read_as_the_one_without(
    name: str, osm_test_data: Path, tmp_path: Path
) -> None:
    path = osm_test_data / "extracts" / f"{name}.osm.pbf"
    with_locations = located(path, tmp_path / "located.osm.pbf")
    rows = rows_of(path)

    assert sum(str(ref).startswith("way/") for ref, *_ in rows) > 100
    assert rows_of(with_locations) == rows


@pytest.mark.real_data
@pytest.mark.parametrize("name", EXTRACTS)
def test_a_real_extract_put_together_with_itself_is_read_as_one(
    name: str, osm_test_data: Path, tmp_path: Path
) -> None:
    path = osm_test_data / "extracts" / f"{name}.osm.pbf"
    twice = tmp_path / "twice.osm.pbf"
    twice.write_bytes(path.read_bytes() * 2)

    assert rows_of(twice) == rows_of(path)


@pytest.mark.real_data
def test_a_real_extract_is_read_the_same_as_xml(osm_test_data: Path, tmp_path: Path) -> None:
    path = osm_test_data / "extracts" / f"{EXTRACTS[0]}.osm.pbf"
    xml = tmp_path / "extract.osm.bz2"
    with osmium.SimpleWriter(str(xml)) as writer:
        osmium.apply(osmium.io.Reader(str(path)), writer)

    assert rows_of(xml) == rows_of(path)


@pytest.mark.real_data
def test_an_older_extract_put_together_with_a_newer_one_changes_nothing_of_it(
    osm_test_data: Path, tmp_path: Path
) -> None:
    older, newer = (
        osm_test_data / "extracts" / f"monaco-{day}.osm.pbf" for day in ("2021-04-21", "2023-12-26")
    )
    reader = osmium.MergeInputReader()
    for path in (older, newer):
        reader.add_file(str(path))
    merged, both = tmp_path / "merged.osm.pbf", tmp_path / "both.osm.pbf"
    with osmium.SimpleWriter(str(merged)) as writer:
        reader.apply(writer, simplify=True)  # libosmium keeps the newest version of each object
    both.write_bytes(older.read_bytes() + newer.read_bytes())

    assert rows_of(both) == rows_of(merged)
    with pytest.raises(ExtractUnsupported, match="extracts of different times"):
        acquired(both, tmp_path)
