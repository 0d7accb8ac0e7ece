"""Whether a city can be staged, found out without staging: every problem, nothing left behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import shapely

from ingestion_pipeline.cli.city_check import CheckedCity, check_cities
from ingestion_pipeline.core.evidence import Coverage
from ingestion_pipeline.sources import registry
from ingestion_pipeline.sources.registry import SOURCES
from ingestion_pipeline_tests.support.installation import (
    TODAY,
    ScriptedClock,
    installed,
    overpass_cafes,
    town_boundary,
)
from ingestion_pipeline_tests.support.overpass_server import OverpassServer, Reply, overpass_json
from ingestion_pipeline_tests.support.toy_source import ToySource
from testbed.towns import NOON, TOWN, write_extract

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date
    from pathlib import Path

    from ingestion_pipeline.sources.base import Acquisition, Asked

    Check = Callable[..., list[CheckedCity]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Check cities on the tests' day; nothing may be stored."""

    def checked(*cities: dict[str, Any], **settings: Any) -> list[CheckedCity]:
        url = f"sqlite:///{tmp_path}/staging.gpkg"
        arguments: dict[str, Any] = {"cities": cities, "clock": ScriptedClock(NOON)} | settings
        with installed(tmp_path, url, **arguments) as here:
            found = list(
                check_cities(
                    here.workshop.cities,
                    TODAY,
                    settings=here.workshop.settings,
                    clock=here.workshop.clock,
                    gate=here.workshop.gate,
                )
            )
            assert here.ledger() == []
            assert here.manifests() == []
        return found

    return checked


def codes(found: CheckedCity) -> list[str]:
    return [problem.code for problem in found.problems]


def town(extract: Path, **changes: Any) -> dict[str, Any]:
    return TOWN | {"osm_source": "extract", "osm_extract": str(extract)} | changes


def test_a_good_extract_is_dated_and_covers_the_city(check: Check, tmp_path: Path) -> None:
    extract = write_extract(tmp_path / "x.osm.pbf", {1: "A"})
    (found,) = check(town(extract))
    assert (found.source, found.as_of, found.problems) == ("extract", NOON, [])
    assert found.coverage == {"how": "header", "share": 1}


def test_an_old_extract_is_still_compared_with_the_city(check: Check, tmp_path: Path) -> None:
    extract = write_extract(tmp_path / "x.osm.pbf", {1: "A"}, at=NOON - timedelta(days=3))
    fiji = {"slug": "suva", "bbox": [178.3, -18.2, 178.5, -18.0]}
    here, elsewhere = check(town(extract), town(extract, **fiji))
    assert codes(here) == ["stale_upstream"]
    assert here.coverage == {"how": "header", "share": 1}
    assert here.as_of == NOON - timedelta(days=3)
    assert codes(elsewhere) == ["stale_upstream", "extract_does_not_cover"]


def test_a_shared_source_of_any_kind_is_asked_once_for_all_its_cities(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = []

    class SharedToy(ToySource):
        kind = "extract"
        shared = True

        def acquire(self, day: date, asked: Asked) -> Acquisition:
            days.append(day)
            got = super().acquire(day, asked)
            of_world = Coverage("header", shapely.box(-180, -90, 180, 90).wkt)
            return replace(got, evidence=replace(got.evidence, coverage=of_world))

    monkeypatch.setattr(registry, "SOURCES", {**SOURCES, "extract": SharedToy})
    here, there = check(
        town(tmp_path / "any"), town(tmp_path / "any", slug="there", bbox=[20, 50, 20.1, 50.1])
    )
    assert (here.problems, there.problems) == ([], [])
    assert here.coverage == {"how": "header", "share": 1}
    assert days == [TODAY]


def test_each_city_has_problems_of_its_own(check: Check, tmp_path: Path) -> None:
    extract = write_extract(tmp_path / "x.osm.pbf", {1: "A"})
    outline = tmp_path / "wide.poly"
    outline.write_text("wide\n1\n 10 50\n 10.2 50\n 10.1 50.1\nEND\nEND\n")
    by_file = {"boundary_ref": "file", "boundary_file": str(outline)}
    gone, lost, wide, good = check(
        town(tmp_path / "gone.osm.pbf", slug="gone", bbox=[10.0, 50.1, 10.1, 50.2]),
        town(extract, slug="lost", boundary_ref="relation/7"),
        town(extract, slug="wide", **by_file),
        town(extract),
    )
    assert codes(gone) == ["extract_not_found"]
    assert codes(lost) == ["boundary_not_found"]
    assert str(extract) in str(lost.problems[0])
    assert codes(wide) == ["boundary_outside_bbox"]
    assert codes(good) == []


@pytest.mark.server
def test_an_overpass_server_is_asked_for_the_boundary_alone(check: Check) -> None:
    base = f"{NOON:%Y-%m-%dT%H:%M:%SZ}"
    body = overpass_json([], boundary=[town_boundary()], base=base)
    with OverpassServer(Reply(body=body)) as server:
        (found,) = check(TOWN | {"boundary_ref": "relation/7"}, overpass_url=server.url)
        assert (codes(found), found.as_of, found.coverage) == ([], NOON, None)
        (query,) = server.queries
        assert "rel(7)" in query
        assert "amenity" not in query
        (renamed,) = check(
            TOWN | {"boundary_ref": "relation/7", "name": {"en": "Village"}},
            overpass_url=server.url,
        )
        assert codes(renamed) == ["boundary_name_mismatch"]


@pytest.mark.server
def test_an_overpass_server_is_asked_for_nothing_without_a_relation(check: Check) -> None:
    with OverpassServer(Reply(body=overpass_json(overpass_cafes({1: "A"})))) as server:
        (found,) = check(TOWN, overpass_url=server.url)
        assert (codes(found), found.as_of) == ([], None)
        assert server.queries == []
    (closed,) = check(TOWN)
    assert codes(closed) == ["overpass_not_configured"]


@pytest.mark.real_data
def test_the_boundary_of_a_real_town_closes_and_that_of_a_country_does_not(
    check: Check, osm_test_data: Path
) -> None:
    extracts = osm_test_data / "extracts"
    monaco, vaduz = check(
        town(
            extracts / "monaco-2023-12-26.osm.pbf",
            slug="monaco",
            name={"en": "Monaco"},
            bbox=[7.38, 43.50, 7.55, 43.77],
            boundary_ref="relation/1124039",
        ),
        town(
            extracts / "liechtenstein-2022-07-24.osm.pbf",
            slug="vaduz",
            name={"en": "Vaduz"},
            bbox=[9.46, 47.04, 9.64, 47.21],
            boundary_ref="relation/1155956",
        ),
    )
    assert codes(monaco) == ["stale_upstream", "boundary_broken"]
    assert codes(vaduz) == ["stale_upstream"]
    assert vaduz.coverage == {"how": "header", "share": 1}
