"""What can be staged honestly, told before anything is begun."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from ingestion_pipeline.config.cities import City, load_cities
from ingestion_pipeline.config.settings import Settings
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.datasets.poi import POI
from ingestion_pipeline.datasets.provenance import evidence_of
from ingestion_pipeline.lake.errors import SnapshotDamaged
from ingestion_pipeline.lake.snapshots import Manifest
from ingestion_pipeline.osm.selection import POIS
from ingestion_pipeline.plan import Kept, PlannedDay, look, plan, spans
from ingestion_pipeline_tests.support.installation import TODAY, ScriptedClock, installed, metadata
from testbed.towns import NOON, TOWN, write_cities, write_extract

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ingestion_pipeline_tests.support.installation import Installation

YESTERDAY = TODAY - timedelta(days=1)
NOTHING = Kept(manifests={}, staged={})
OVERPASS: dict[str, Any] = {
    "osm_source": "overpass",
    "overpass_url": SecretStr("https://me:pw@o.example/api/i"),
}


@pytest.fixture
def town(tmp_path: Path) -> City:
    return load_cities(write_cities(tmp_path / "cities.toml", [TOWN])).get("town")


def planned(
    city: City,
    day: date,
    manifests: Mapping[date, Manifest | SnapshotDamaged] = MappingProxyType({}),
    **settings: Any,
) -> PlannedDay:
    """Plan one day of a city of which nothing is staged."""
    given: dict[str, Any] = {"partitions_start": date(2024, 1, 1), "osm_extract": None} | settings
    (told,) = plan(
        city,
        [day],
        settings=Settings(**given),
        kept=Kept(manifests=manifests, staged={}),
        now=NOON,
    )
    return told


def answer_of_overpass(city: City, *, bbox: Bbox | None = None, **others: Any) -> Manifest:
    """What the lake keeps of an answer for yesterday."""
    known: dict[str, Any] = {
        "dataset": POI.name,
        "city_slug": city.slug,
        "boundary_ref": city.boundary_key,
        "day": YESTERDAY,
        "as_of": NOON - timedelta(days=1),
        "as_of_source": "osm_base",
        "obtained": "overpass",
        "location": "https://o.example/api/i",
        "bbox": bbox or city.bbox,
        "selection": POIS.digest,
        "licence": "ODbL-1.0",
        "attribution": "© OpenStreetMap contributors",
        "parts": (),
    }
    return Manifest(**known | others)


def test_rows_of_the_same_bytes_depend_on_the_day_that_they_tell_of(town: City) -> None:
    """A place that opens tomorrow is planned today."""
    first, second = (
        evidence_of(town, answer_of_overpass(town, day=day)).inputs_digest
        for day in (YESTERDAY, TODAY)
    )
    assert first != second
    assert evidence_of(town, answer_of_overpass(town)).inputs_digest == first


# Days that nothing can stand for


def test_a_day_that_has_not_begun_is_to_be_waited_for(town: City) -> None:
    told = planned(town, TODAY + timedelta(days=1), **OVERPASS)
    assert (told.way, told.is_possible) == ("none", False)
    assert "wait" in told.words


def test_a_day_before_the_partitions_names_the_setting(town: City) -> None:
    told = planned(town, date(2023, 12, 31), **OVERPASS)
    assert told.way == "none"
    assert "2024-01-01; set PARTITIONS_START" in told.words
    assert planned(town, date(2024, 1, 1), **OVERPASS).is_possible


@pytest.mark.parametrize("day", [TODAY, YESTERDAY])
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"osm_source": "overpass", "overpass_url": None}, "OVERPASS_URL is not set"),
        ({"osm_source": "extract"}, "OSM_EXTRACT is not set"),
        ({"osm_source": "extract", "osm_extract": "/{planet}.pbf"}, "cannot be filled in"),
        ({"osm_source": "extract", "osm_extract": "sample:atlantis"}, "no sample 'atlantis'"),
    ],
)
def test_a_source_that_is_not_set_up_is_told_before_a_run_fails_of_it(
    town: City, day: date, settings: dict[str, Any], words: str
) -> None:
    told = planned(town, day, **settings)
    assert told.way == "none"
    assert words in told.words


def test_an_undated_extract_stands_for_no_past_day(town: City) -> None:
    settings: dict[str, Any] = {
        "osm_source": "extract",
        "osm_extract": "/data/{region}-latest.osm.pbf",
    }
    told = planned(town, YESTERDAY, **settings)
    assert told.way == "none"
    assert "poi-ingest run" in told.words
    assert planned(town, TODAY, **settings).way == "current data"


def test_a_damaged_manifest_stops_its_own_day_only(town: City) -> None:
    damaged = {YESTERDAY: SnapshotDamaged("the manifest is no JSON")}
    told = planned(town, YESTERDAY, damaged, **OVERPASS)
    assert (told.way, told.words) == ("none", "the manifest is no JSON")
    assert planned(town, TODAY, damaged, **OVERPASS).is_possible


# Days that something can stand for


def test_overpass_gives_the_current_day_and_perhaps_past_ones(town: City) -> None:
    today, past = (planned(town, day, **OVERPASS) for day in (TODAY, YESTERDAY))
    assert (today.way, past.way) == ("current data", "history")
    assert today.words == "asks https://o.example/api/i"
    assert "refuses" in past.words
    assert "pw" not in today.words + past.words


def test_dated_extracts_are_named_without_their_secrets_and_not_fetched(town: City) -> None:
    template = "https://me:pw@data.example/{region}/{day:%y%m%d}.osm.pbf?key=k"
    told = planned(town, YESTERDAY, osm_source="extract", osm_extract=template)
    assert told.way == "dated extract"
    assert told.words.startswith("https://data.example/{region}/{day:%y%m%d}.osm.pbf,")


def test_a_stored_snapshot_is_replayed_whatever_the_sources_are_by_now(town: City) -> None:
    kept = {YESTERDAY: answer_of_overpass(town)}
    assert planned(town, YESTERDAY, kept, osm_source="extract").way == "snapshot"
    assert planned(town, TODAY, kept, osm_source="extract").way == "none"


@pytest.mark.parametrize(
    "others", [{"bbox": Bbox(10.0, 50.0, 10.05, 50.1)}, {"selection": "another"}]
)
def test_a_snapshot_that_was_asked_for_with_less_is_not_counted_on(
    town: City, others: dict[str, Any]
) -> None:
    less = {YESTERDAY: answer_of_overpass(town, **others)}
    assert planned(town, YESTERDAY, less, **OVERPASS).way == "history"
    file = {YESTERDAY: answer_of_overpass(town, **others, obtained="extract")}
    assert planned(town, YESTERDAY, file, **OVERPASS).way == "snapshot"


# What is staged already


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The invented town with dated extracts, and yesterday staged."""
    folder = tmp_path_factory.mktemp("here")
    moment = datetime.combine(YESTERDAY, datetime.min.time(), UTC) + timedelta(hours=21)
    write_extract(folder / f"{YESTERDAY}.osm.pbf", {1: "A", 2: "B"}, at=moment)
    with installed(
        folder,
        f"sqlite:///{folder}/staging.gpkg",
        cities=[TOWN],
        clock=ScriptedClock(NOON),
        osm_source="extract",
        osm_extract=str(folder / "{day}.osm.pbf"),
    ) as installation:
        assert installation.run(f"town|{YESTERDAY}").success
        yield installation


def ways(here: Installation, city: City, *days: date) -> list[str]:
    workshop = here.workshop
    kept = look(workshop.lake, workshop.engine, city, days, dataset=POI)
    told = plan(city, days, settings=workshop.settings, kept=kept, now=NOON)
    return [day.way for day in told]


def test_what_a_run_would_find_staged_from_equal_inputs_is_left_alone(here: Installation) -> None:
    town = here.workshop.cities.get("town")
    before = YESTERDAY - timedelta(days=1)
    assert ways(here, town, before, YESTERDAY, TODAY) == [
        "dated extract",
        "staged",
        "dated extract",
    ]
    again = here.run(f"town|{YESTERDAY}")
    assert metadata(again, "osm_pois")["reused"]
    assert metadata(again, "poi_staging")["written"] == 0


def test_a_staged_day_before_the_partitions_is_staged_and_an_earlier_one_needs_the_setting(
    here: Installation,
) -> None:
    settings = here.workshop.settings.model_copy(update={"partitions_start": TODAY})
    later = replace(here, workshop=replace(here.workshop, settings=settings))
    town = here.workshop.cities.get("town")
    before = YESTERDAY - timedelta(days=1)
    assert ways(later, town, before, YESTERDAY, TODAY) == ["none", "staged", "dated extract"]
    other = replace(town, minimum_pois=2)
    assert ways(later, other, YESTERDAY) == ["none"]  # its snapshot cannot be replayed by Dagster


@pytest.mark.parametrize(
    "changed",
    [
        {"minimum_pois": 2},
        {"name": {"en": "Town", "fi": "Kaupunki"}},
        {"languages": ("fi", "en")},
        {"local_language": "fi"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_was_staged_for_another_state_of_the_city_is_staged_again(
    here: Installation, changed: dict[str, Any]
) -> None:
    city = replace(here.workshop.cities.get("town"), **changed)
    assert ways(here, city, YESTERDAY) == ["snapshot"]


def test_another_boundary_is_other_work(here: Installation) -> None:
    moved = replace(here.workshop.cities.get("town"), bbox=Bbox(10.0, 50.0, 10.05, 50.1))
    assert ways(here, moved, YESTERDAY) == ["dated extract"]


def test_three_cities_and_a_year_are_planned_in_moments(town: City) -> None:
    days = [TODAY - timedelta(days=number) for number in range(365)]
    kept = Kept({day: answer_of_overpass(town, day=day) for day in days}, {})
    settings = Settings(partitions_start=date(2023, 1, 1))
    begun = datetime.now(UTC)
    for _ in range(3):
        assert {day.way for day in plan(town, days, settings=settings, kept=kept, now=NOON)} == {
            "snapshot"
        }
    assert datetime.now(UTC) - begun < timedelta(seconds=5)


# For a person to read


def test_days_that_are_alike_are_told_together(town: City) -> None:
    days = [TODAY - timedelta(days=number) for number in (3, 2, 1, 0, -1)]
    settings = Settings(partitions_start=date(2024, 1, 1), **OVERPASS)
    told = spans(
        plan(town, days, settings=settings, kept=NOTHING, now=NOON)
        + plan(replace(town, slug="other"), days, settings=settings, kept=NOTHING, now=NOON)
    )
    assert [(span.city_slug, span.first, span.last, span.days, span.way) for span in told] == [
        (slug, *rest)
        for slug in ("town", "other")
        for rest in (
            (days[0], days[2], 3, "history"),
            (TODAY, TODAY, 1, "current data"),
            (days[4], days[4], 1, "none"),
        )
    ]
