"""Cities that share a regional extract: one fetch and one pass, and the rows of each on its own."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline.staging.tables import helper_place, poi_ingestion_staging, staged_partition
from ingestion_pipeline_tests.support.extract_server import Provider, running_provider
from ingestion_pipeline_tests.support.installation import TODAY, ScriptedClock, contents, installed
from testbed.towns import NOON, TOWN, write_extract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingestion_pipeline_tests.support.installation import Installation

HELSINKI_DAY = "2019-04-21"
QUARTERS = {
    "north-west": [24.9351762, 60.1716, 24.9443, 60.179113],
    "north-east": [24.9443, 60.1716, 24.9534145, 60.179113],
    "south-west": [24.9351762, 60.164155, 24.9443, 60.1716],
    "south-east": [24.9443, 60.164155, 24.9534145, 60.1716],
}
CUT = "Using the city clip that another city's run made"
FETCHED = "Using the extract that another run fetched"


def quarter(slug: str) -> dict[str, Any]:
    return TOWN | {
        "slug": slug,
        "bbox": QUARTERS[slug],
        "osm_source": "extract",
        "osm_extract": "sample:helsinki",
    }


def staged(here: Installation, slug: str) -> list[str]:
    """Give all that is staged of a city, but for the columns that tell of the run."""
    tables = [poi_ingestion_staging, helper_place, staged_partition]
    found = contents(here.engine, tables=tables)
    return [row for table in tables for row in found[table.name] if repr(slug) in row]


def errors(here: Installation, slug: str) -> list[str | None]:
    return [run.error_code for run in here.ledger() if run.city_slug == slug]


def cuts(here: Installation) -> list[Path]:
    return sorted((here.folder / "lake" / "cuts").glob("*/*.parquet"))


@pytest.mark.parametrize("job_type", ["osm_import", "helpers_import"])
def test_one_pass_serves_all_cities_of_an_extract_and_the_rows_are_as_one_by_one(
    job_type: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    together, alone = tmp_path / "together", []
    with installed(
        together, f"sqlite:///{together}/a.gpkg", cities=[quarter(slug) for slug in QUARTERS]
    ) as here:
        for slug in QUARTERS:
            assert here.run(f"{slug}|{HELSINKI_DAY}", job_type=job_type).success
        found = {slug: staged(here, slug) for slug in QUARTERS}
        assert cuts(here) == []
    assert caplog.text.count(CUT) == len(QUARTERS) - 1
    assert caplog.text.count(FETCHED) == len(QUARTERS) - 1
    for slug in QUARTERS:
        folder = tmp_path / slug
        with installed(folder, f"sqlite:///{folder}/a.gpkg", cities=[quarter(slug)]) as here:
            assert here.run(f"{slug}|{HELSINKI_DAY}", job_type=job_type).success
            alone.append(staged(here, slug))
    assert caplog.text.count(CUT) == len(QUARTERS) - 1  # a city alone leaves nothing to others
    assert [found[slug] for slug in QUARTERS] == alone
    assert all(len(each) > 50 for each in alone)


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    file = write_extract(tmp_path / "region.osm.pbf", {1: "A", 2: "B", 60: "C"})
    with running_provider(file) as provider:
        yield provider


def towns(location: str, *more: dict[str, Any]) -> list[dict[str, Any]]:
    """Give two invented towns that share an extract, and what else is said of the second."""
    source = {"osm_source": "extract", "osm_extract": location}
    west = {"slug": "west", "bbox": [10.0, 50.0, 10.05, 50.1]}
    east = {"slug": "east", "bbox": [10.05, 50.0, 10.1, 50.1]}
    return [TOWN | source | west, TOWN | source | east | (more[0] if more else {})]


@contextmanager
def two_towns(
    tmp_path: Path, location: str, *more: dict[str, Any], clock: ScriptedClock | None = None
) -> Iterator[Installation]:
    with installed(
        tmp_path,
        f"sqlite:///{tmp_path}/staging.gpkg",
        cities=towns(location, *more),
        clock=clock or ScriptedClock(NOON),
    ) as here:
        yield here


def test_the_file_comes_once_over_the_network(tmp_path: Path, provider: Provider) -> None:
    with two_towns(tmp_path, provider.url) as here:
        assert here.run(f"west|{TODAY}").success
        assert here.run(f"east|{TODAY}").success
        assert here.run(f"east|{TODAY}", job_type="helpers_import").success is False  # it has none
        assert provider.sent == 1
        assert len(staged(here, "west")) == 3
        assert len(staged(here, "east")) == 2


def test_a_file_that_was_replaced_comes_again(tmp_path: Path, provider: Provider) -> None:
    with two_towns(tmp_path, provider.url) as here:
        assert here.run(f"west|{TODAY}").success
        write_extract(provider.file, {60: "C", 61: "D"}, at=NOON + timedelta(minutes=1))
        assert here.run(f"east|{TODAY}").success
        assert provider.sent == 2
        assert len(staged(here, "east")) == 3


def test_a_file_of_which_the_server_says_nothing_comes_for_every_city(
    tmp_path: Path, provider: Provider
) -> None:
    provider.says = False
    with two_towns(tmp_path, provider.url) as here:
        assert here.run(f"west|{TODAY}").success
        assert here.run(f"east|{TODAY}").success
        assert provider.sent == 2


def test_who_asks_for_it_gets_the_file_anew(tmp_path: Path, provider: Provider) -> None:
    with two_towns(tmp_path, provider.url) as here:
        assert here.run(f"west|{TODAY}").success
        assert here.run(f"west|{TODAY}", refetch=True).success
        assert provider.sent == 2


def test_a_known_file_is_still_judged_by_the_day(tmp_path: Path, provider: Provider) -> None:
    with two_towns(tmp_path, provider.url) as here:
        assert here.run(f"west|{TODAY}").success
        assert not here.run(f"east|{TODAY - timedelta(days=1)}").success
        assert errors(here, "east") == ["no_evidence_for_day"]
        assert provider.sent == 1


def test_a_city_whose_boundary_is_missing_fails_alone_and_says_so(tmp_path: Path) -> None:
    file = write_extract(tmp_path / "region.osm.pbf", {1: "A", 60: "C"})
    with two_towns(tmp_path, str(file), {"boundary_ref": "relation/7"}) as here:
        assert here.run(f"west|{TODAY}").success
        assert cuts(here) == []
        assert not here.run(f"east|{TODAY}").success
        assert errors(here, "east") == ["boundary_not_found"]


def test_a_cut_for_which_nobody_came_is_removed(tmp_path: Path) -> None:
    clock = ScriptedClock(NOON)
    file = write_extract(tmp_path / "region.osm.pbf", {1: "A", 60: "C"})
    with two_towns(tmp_path, str(file), clock=clock) as here:
        assert here.run(f"west|{TODAY}").success
        (forgotten,) = cuts(here)
        for day in (1, 2):
            clock.sleep(24 * 3600)
            at = NOON + timedelta(days=day)
            write_extract(file, {1: f"A{day}", 60: "C"}, at=at)
            assert forgotten.exists()
            assert here.run(f"west|{at.date()}").success
        assert not forgotten.exists()
        assert len(cuts(here)) == 2


def test_a_damaged_cut_costs_only_the_pass(tmp_path: Path) -> None:
    file = write_extract(tmp_path / "region.osm.pbf", {1: "A", 60: "C"})
    with two_towns(tmp_path, str(file)) as here:
        assert here.run(f"west|{TODAY}").success
        cuts(here)[0].write_bytes(b"no Parquet")
        assert here.run(f"east|{TODAY}").success
        assert len(staged(here, "east")) == 2
