"""What an extract covers, and whether a city lies in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import osmium
import pytest
import shapely

from ingestion_pipeline.core.evidence import Coverage
from ingestion_pipeline.osm.errors import ExtractDoesNotCover
from ingestion_pipeline.sources.pbf.blocks import message
from ingestion_pipeline.sources.pbf.coverage import coverage_of, require_covered

if TYPE_CHECKING:
    from pathlib import Path

Box = tuple[float, float, float, float]

TRIANGLE = b"cut\n1\n 10 50\n 11 50\n 10 51\nEND\nEND\n"


def extract(path: Path, box: Box | None, *nodes: tuple[float, float]) -> Path:
    """Write nodes, with a box in the header as it is given, whatever libosmium thinks of it."""
    header = osmium.io.Header()
    if box is not None:
        header.add_box(osmium.osm.Box(*box))
    with osmium.SimpleWriter(osmium.io.File(str(path), "pbf"), header=header) as writer:
        for number, at in enumerate(nodes, start=1):
            writer.add_node(osmium.osm.mutable.Node(id=number, location=at))
    return path


def covered(wanted: Box, coverage: Coverage) -> dict[str, Any]:
    return require_covered(
        shapely.box(*wanted), coverage, what="the bbox of town", origin="/data/region.osm.pbf"
    )


def area(coverage: Coverage) -> Any:
    return shapely.from_wkt(coverage.wkt)


def test_the_header_says_what_is_covered(tmp_path: Path) -> None:
    found = coverage_of(extract(tmp_path / "x", (10, 50, 11, 51), (10.5, 50.5)))
    assert found.how == "header"
    assert area(found).equals(shapely.box(10, 50, 11, 51))


@pytest.mark.parametrize(
    "box",
    [None, (0, 0, 180, 90), (-180, -90, 180, 90), (0, 0, 0, 0), (10, 50, 10, 51)],
    ids=["none", "quarter", "world", "zero", "a line"],
)
def test_where_the_header_says_nothing_the_nodes_do(box: Box | None, tmp_path: Path) -> None:
    found = coverage_of(extract(tmp_path / "x", box, (10, 50), (11, 50.5), (10.5, 51)))
    assert found.how == "nodes"
    assert area(found).equals(shapely.box(10, 50, 11, 51))


def test_a_file_without_nodes_covers_nothing(tmp_path: Path) -> None:
    found = coverage_of(extract(tmp_path / "x", None))
    with pytest.raises(ExtractDoesNotCover, match=r"covers 0 % .* spans nothing"):
        covered((10, 50, 11, 51), found)


def test_a_header_across_the_antimeridian_covers_both_of_its_sides(tmp_path: Path) -> None:
    # libosmium would write the other way round the Earth.
    sides = {"left": 177, "right": -178, "top": -12, "bottom": -20}
    box = {name: side * 1_000_000_000 for name, side in sides.items()}
    header = message("HeaderBlock")(bbox=box, required_features=["OsmSchema-V0.6"])
    blob = message("Blob")(raw=header.SerializeToString()).SerializeToString()
    head = message("BlobHeader")(type="OSMHeader", datasize=len(blob)).SerializeToString()
    (tmp_path / "x").write_bytes(len(head).to_bytes(4, "big") + head + blob)
    coverage = coverage_of(tmp_path / "x")
    assert coverage.how == "header"
    for inside in ((177.5, -19, 179.9, -13), (-179.9, -19, -178.5, -13)):
        assert covered(inside, coverage)["share"] == 1
    with pytest.raises(ExtractDoesNotCover):
        covered((0, -19, 1, -13), coverage)


def test_the_providers_polygon_counts_where_the_box_does_not_say_less(tmp_path: Path) -> None:
    file = extract(tmp_path / "x", (10, 50, 10.5, 51))
    found = coverage_of(file, poly=TRIANGLE)
    assert found.how == "poly"
    assert covered((10, 50, 10.4, 50.4), found) == {"how": "poly", "share": 1.0}
    for outside in ((10.4, 50.7, 10.45, 50.8), (10.6, 50, 10.7, 50.1)):
        with pytest.raises(ExtractDoesNotCover, match=r"\.poly file beside it"):
            covered(outside, found)


def test_a_polygon_file_that_cannot_be_read_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="END twice"):
        coverage_of(extract(tmp_path / "x", (10, 50, 11, 51)), poly=TRIANGLE[:-4])


def test_the_error_names_the_share_and_both_boxes() -> None:
    half = Coverage("header", shapely.box(10, 50, 10.5, 51).wkt)
    with pytest.raises(ExtractDoesNotCover) as caught:
        covered((10, 50, 11, 51), half)
    for said in (
        "/data/region.osm.pbf covers 50 % of the bbox of town",
        "[10.0, 50.0, 11.0, 51.0]",
        "the box in its header spans [10.0, 50.0, 10.5, 51.0]",
    ):
        assert said in str(caught.value)
    assert not caught.value.should_retry


@pytest.mark.parametrize(("beyond", "share"), [(0.0, 1.0), (0.00009, 1.0), (0.00011, None)])
def test_a_box_that_is_rounded_to_four_decimals_will_do(beyond: float, share: float | None) -> None:
    found = Coverage("header", shapely.box(10, 50, 11, 51).wkt)
    if share is not None:
        assert covered((10, 50, 11 + beyond, 51), found) == {"how": "header", "share": share}
        return
    with pytest.raises(ExtractDoesNotCover, match=r"99\.99 %"):  # never 100
        covered((10, 50, 11 + beyond, 51), found)


@pytest.mark.parametrize(("east", "share"), [(10.91, 0.91), (10.89, None)])
def test_nine_tenths_will_do_where_only_the_nodes_tell(east: float, share: float | None) -> None:
    found = Coverage("nodes", shapely.box(10, 50, east, 51).wkt)
    if share is not None:
        assert covered((10, 50, 11, 51), found) == {"how": "nodes", "share": share}
        return
    with pytest.raises(ExtractDoesNotCover, match="the box around its nodes"):
        covered((10, 50, 11, 51), found)


@pytest.mark.parametrize("tool", ["ours", "libosmium"])
def test_the_sample_covers_less_than_half_of_the_rectangle_around_it(
    tool: str, helsinki_pbf: Path
) -> None:
    found = coverage_of(helsinki_pbf)
    if tool == "libosmium":
        box = osmium.io.Reader(str(helsinki_pbf)).header().box()
        corners = (box.bottom_left.lon, box.bottom_left.lat, box.top_right.lon, box.top_right.lat)
        assert area(found).bounds == pytest.approx(corners, abs=1e-7)
    with pytest.raises(ExtractDoesNotCover, match=r"covers 45\.47 %"):
        covered((24.93, 60.16, 24.96, 60.18), found)


@pytest.mark.real_data
def test_headers_are_read_as_libosmium_reads_them(osm_test_data: Path) -> None:
    files = sorted((osm_test_data / "extracts").glob("*.osm.pbf"))
    assert len(files) > 5
    for file in files:
        box = osmium.io.Reader(str(file)).header().box()
        found = coverage_of(file)
        if file.name.startswith("heidelberg"):  # its header says 0, 0, 180, 90
            assert found.how == "nodes"
            continue
        corners = (box.bottom_left.lon, box.bottom_left.lat, box.top_right.lon, box.top_right.lat)
        assert found.how == "header"
        assert area(found).bounds == pytest.approx(corners, abs=1e-9)
