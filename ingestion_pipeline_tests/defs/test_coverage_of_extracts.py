"""A day is staged only from an extract that covers the city, however the extract was had."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import osmium
import pytest
import sqlalchemy as sa

from ingestion_pipeline.staging.tables import poi_ingestion_staging, staged_partition
from ingestion_pipeline_tests.support.installation import (
    TODAY,
    ScriptedClock,
    failure,
    installed,
    metadata,
    why,
)
from testbed.towns import NOON, TOWN, write_extract, write_nodes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ingestion_pipeline_tests.support.installation import Installation

KEY = f"town|{TODAY}"
CAFE = {"amenity": "cafe", "name": "A"}
HALF = (10.0, 50.0, 10.05, 50.1)
JOBS = ["osm_import", "helpers_import"]


def write(path: Path, covers: tuple[float, float, float, float] | None) -> Path:
    """Write an extract of the town with a café and a toilet in each half."""
    toilet = {"amenity": "toilets"}
    return write_nodes(
        path,
        {1: (10.01, 50.01, CAFE), 2: (10.01, 50.02, toilet), 3: (10.09, 50.09, toilet)},
        at=NOON,
        covers=covers,
    )


def town(install_town: Callable[..., Installation], extract: Path, **city: Any) -> Installation:
    source = {"osm_source": "extract", "osm_extract": str(extract)}
    return install_town(city=source | city, clock=ScriptedClock(NOON))


def coverage(here: Installation, slug: str = "town") -> list[Any]:
    with here.engine.connect() as connection:
        query = sa.select(staged_partition.c.coverage).where(staged_partition.c.city_slug == slug)
        return list(connection.execute(query).scalars())


@pytest.mark.parametrize("job_type", JOBS)
def test_a_city_of_which_the_extract_holds_half_is_refused(
    job_type: str, tmp_path: Path, install_town: Callable[..., Installation]
) -> None:
    here = town(install_town, write(tmp_path / "x.osm.pbf", HALF))
    code, words = failure(here.run(KEY, job_type=job_type))
    assert code == "extract_does_not_cover"
    assert "covers 50 % of the boundary bbox of town" in words
    assert "[10.0, 50.0, 10.1, 50.1]" in words
    assert "[10.0, 50.0, 10.05, 50.1]" in words
    assert here.manifests() == []
    assert here.count(staged_partition) == 0


@pytest.mark.parametrize("job_type", JOBS)
def test_how_it_is_known_that_the_city_is_covered_is_kept_with_the_day(
    job_type: str, tmp_path: Path, database_url: str
) -> None:
    extract = write(tmp_path / "x.osm.pbf", (9.9, 49.9, 10.2, 50.2))
    city = TOWN | {"osm_source": "extract", "osm_extract": str(extract)}
    with installed(tmp_path, database_url, cities=[city], clock=ScriptedClock(NOON)) as here:
        result = here.run(KEY, job_type=job_type)
        assert result.success, why(result)
        assert coverage(here) == [{"how": "header", "share": 1}]
        assert here.run(KEY, job_type=job_type).success
        assert coverage(here) == [{"how": "header", "share": 1}]


@pytest.mark.parametrize("job_type", JOBS)
def test_an_extract_without_a_box_is_judged_by_its_nodes_with_a_warning(
    job_type: str,
    tmp_path: Path,
    install_town: Callable[..., Installation],
    caplog: pytest.LogCaptureFixture,
) -> None:
    extract = write_nodes(
        tmp_path / "x.osm.pbf",
        {
            1: (10.002, 50.0, CAFE),
            2: (10.05, 50.05, {"amenity": "toilets"}),
            3: (10.1, 50.1, CAFE),
        },
        covers=None,
    )
    here = town(install_town, extract)
    result = here.run(KEY, job_type=job_type)
    assert result.success, why(result)
    assert coverage(here) == [{"how": "nodes", "share": 0.98}]
    assert "by the box around its nodes, an estimate, it covers 98 % of town" in caplog.text
    last = "poi_staging" if job_type == "osm_import" else "helper_places"
    assert metadata(result, last)["covered_by"] == "nodes"


def test_the_polygon_beside_an_extract_counts(
    tmp_path: Path, install_town: Callable[..., Installation]
) -> None:
    """As Geofabrik has it: `town.poly` beside `town-latest.osm.pbf`."""
    extract = write(tmp_path / "town-latest.osm.pbf", (9.9, 49.9, 10.2, 50.2))
    here = town(install_town, extract)
    corner = "town\n1\n 9.9 49.9\n 10.1 49.9\n 9.9 50.1\nEND\nEND\n"
    (tmp_path / "town.poly").write_text(corner)
    code, words = failure(here.run(KEY))
    assert code == "extract_does_not_cover"
    assert "the .poly file beside it" in words
    (tmp_path / "town.poly").write_text(corner.replace("10.1", "10.9").replace("50.1", "50.9"))
    result = here.run(KEY, refetch=True)
    assert result.success, why(result)
    assert coverage(here) == [{"how": "poly", "share": 1}]


def test_a_polygon_that_cannot_be_read_is_not_used_and_said(
    tmp_path: Path, install_town: Callable[..., Installation], caplog: pytest.LogCaptureFixture
) -> None:
    here = town(install_town, write_extract(tmp_path / "town.osm.pbf", {1: "A"}))
    (tmp_path / "town.poly").write_text("town\n1\n 9.9 49.9\n")
    assert here.run(KEY).success
    assert coverage(here) == [{"how": "header", "share": 1}]
    assert "town.osm.pbf: it is neither GeoJSON nor a complete .poly file" in caplog.text


def relation(path: Path, covers: tuple[float, float, float, float]) -> Path:
    """Write the western half of the town as relation/7, whole, in an extract that covers less."""
    header = osmium.io.Header()
    header.set("osmosis_replication_timestamp", f"{NOON:%Y-%m-%dT%H:%M:%SZ}")
    header.add_box(osmium.osm.Box(*covers))
    corners = [(10.0, 50.0), (10.05, 50.0), (10.05, 50.1), (10.0, 50.1)]
    mutable = osmium.osm.mutable
    path.unlink(missing_ok=True)
    with osmium.SimpleWriter(str(path), header=header) as writer:
        writer.add_node(mutable.Node(id=1, version=1, location=(10.01, 50.01), tags=CAFE))
        for number, corner in enumerate(corners, start=11):
            writer.add_node(mutable.Node(id=number, version=1, location=corner))
        writer.add_way(mutable.Way(id=70, version=1, nodes=[11, 12, 13, 14, 11]))
        tags = {"type": "boundary", "boundary": "administrative", "name": "Town"}
        members = [("w", 70, "outer")]
        writer.add_relation(mutable.Relation(id=7, version=1, members=members, tags=tags))
    return path


def test_it_is_the_boundary_and_not_the_window_that_must_be_covered(
    tmp_path: Path, install_town: Callable[..., Installation]
) -> None:
    extract = tmp_path / "x.osm.pbf"
    here = town(install_town, relation(extract, HALF), boundary_ref="relation/7")
    result = here.run(KEY)  # the bbox reaches beyond the extract, the boundary does not
    assert result.success, why(result)
    assert coverage(here) == [{"how": "header", "share": 1}]


def test_a_boundary_that_is_whole_in_an_extract_of_its_corner_is_refused(
    tmp_path: Path, install_town: Callable[..., Installation]
) -> None:
    """Tools that keep relations whole leave the boundary in, and nothing of what it bounds."""
    extract = tmp_path / "x.osm.pbf"
    relation(extract, (10.0, 50.0, 10.02, 50.02))
    here = town(install_town, extract, boundary_ref="relation/7")
    code, words = failure(here.run(KEY))
    assert code == "extract_does_not_cover"
    assert "covers 8 % of the boundary relation/7 of town" in words
    assert "set aside" in words
    assert here.manifests() == []
    assert here.count(poi_ingestion_staging) == 0
    relation(extract, HALF)
    assert here.run(KEY).success


@pytest.mark.parametrize("job_type", JOBS)
def test_a_snapshot_that_was_stored_before_this_was_judged_is_judged_when_it_is_replayed(
    job_type: str, tmp_path: Path, install_town: Callable[..., Installation]
) -> None:
    """A manifest of a version that kept no coverage, of a day that such a version staged."""
    extract = tmp_path / "x.osm.pbf"
    here = town(install_town, write(extract, (9.9, 49.9, 10.2, 50.2)))
    assert here.run(KEY, job_type=job_type).success
    (manifest,) = here.manifests()
    good = json.loads(manifest.read_text())
    (part,) = good["parts"]
    assert good.pop("coverage")[0] == "header"
    # The bytes of one that covers half, in the place of those that were fetched.
    write(extract, HALF)
    stored = here.workshop.lake.store(extract, query=None, requested_at=NOON, received_at=NOON)
    manifest.write_text(
        json.dumps(good | {"parts": [part | {"sha256": stored.sha256, "key": stored.key}]})
    )
    code, words = failure(here.run(KEY, job_type=job_type))
    assert code == "extract_does_not_cover"
    assert "covers 50 %" in words
    write(extract, (9.9, 49.9, 10.2, 50.2))
    assert here.run(KEY, job_type=job_type, refetch=True).success


def test_an_extract_that_others_fetched_is_compared_with_each_city(
    tmp_path: Path, install: Callable[..., Installation]
) -> None:
    extract = write(tmp_path / "region.osm.pbf", HALF)
    source = {"osm_source": "extract", "osm_extract": str(extract)}
    west = TOWN | source | {"slug": "west", "bbox": list(HALF)}
    east = TOWN | source | {"slug": "east", "bbox": [10.05, 50.0, 10.1, 50.1]}
    here = install(cities=[west, east], clock=ScriptedClock(NOON))
    assert here.run(f"west|{TODAY}").success
    code, words = failure(here.run(f"east|{TODAY}"))
    assert code == "extract_does_not_cover"
    assert "covers 0 %" in words


@pytest.mark.real_data
def test_a_real_extract_of_another_country_is_refused(
    install_town: Callable[..., Installation], osm_test_data: Path
) -> None:
    vaduz = {
        "bbox": [9.48, 47.10, 9.56, 47.17],
        "osm_source": "extract",
        "osm_extract": str(osm_test_data / "extracts" / "monaco-2023-12-26.osm.pbf"),
    }
    here = install_town(city=vaduz)
    code, words = failure(here.run("town|2023-12-26"))
    assert code == "extract_does_not_cover"
    assert "covers 0 %" in words


@pytest.mark.parametrize("job_type", JOBS)
def test_a_boundary_file_bounds_the_city_and_another_content_is_another_key(
    job_type: str, tmp_path: Path, install_town: Callable[..., Installation]
) -> None:
    shape = tmp_path / "west.poly"
    shape.write_text("west\n1\n 10 50\n 10.05 50\n 10.05 50.1\n 10 50.1\nEND\nEND\n")
    extract = write(tmp_path / "x.osm.pbf", (10.0, 50.0, 10.06, 50.1))  # the bbox reaches beyond
    city = {"boundary_ref": "file", "boundary_file": str(shape)}
    here = town(install_town, extract, **city)
    result = here.run(KEY, job_type=job_type)
    assert result.success, why(result)
    (run,) = here.ledger()
    assert run.boundary_ref == f"file:{hashlib.sha256(shape.read_bytes()).hexdigest()[:32]}"
    # The toilet in the east is left out; of the west, a café is no helper place.
    assert (run.counts or {})["rows"] == (2 if job_type == "osm_import" else 1)
    assert coverage(here) == [{"how": "header", "share": 1}]
    shape.write_text(shape.read_text().replace("10.05", "10.07"))
    again = town(install_town, extract, **city)
    code, words = failure(again.run(KEY, job_type=job_type))
    assert code == "extract_does_not_cover"
    assert f"of the boundary {shape} of town" in words


def test_a_boundary_that_is_not_whole_is_told_by_the_users_file(
    tmp_path: Path, install_town: Callable[..., Installation]
) -> None:
    extract = write(tmp_path / "region.osm.pbf", (9.9, 49.9, 10.2, 50.2))
    here = town(install_town, extract, boundary_ref="relation/7")
    code, words = failure(here.run(KEY))
    assert code == "boundary_not_found"
    assert f"relation/7 is not in {extract}. " in words
    assert "boundary_file" in words


@pytest.mark.real_data
def test_a_country_that_is_cut_at_its_border_is_staged_by_a_boundary_file(
    tmp_path: Path, install_town: Callable[..., Installation], osm_test_data: Path
) -> None:
    extract = osm_test_data / "extracts" / "monaco-2023-12-26.osm.pbf"
    monaco = {
        "name": {"en": "Monaco"},
        "bbox": [7.38, 43.50, 7.55, 43.77],
        "boundary_ref": "relation/1124039",
    }
    here = town(install_town, extract, **monaco)
    code, words = failure(here.run("town|2023-12-26"))
    assert code == "boundary_broken"
    assert f"6 of them are not in {extract}. An extract lacks ways beyond" in words
    assert "boundary_file" in words
    corners = [[7.4095, 43.7235], [7.448, 43.7235], [7.448, 43.7515], [7.4095, 43.7515]]
    polygon = {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}
    (tmp_path / "monaco.geojson").write_text(json.dumps(polygon))
    land = {"boundary_ref": "file", "boundary_file": str(tmp_path / "monaco.geojson")}
    here = town(install_town, extract, **monaco | land)
    result = here.run("town|2023-12-26")
    assert result.success, why(result)
    assert here.count(poi_ingestion_staging) > 1800
