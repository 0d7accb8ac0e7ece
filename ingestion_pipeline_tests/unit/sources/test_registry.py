"""Which stored snapshots are used again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest

from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.datasets.registry import DATASETS, selection_of_all
from ingestion_pipeline.lake.snapshots import Manifest, Part
from ingestion_pipeline.osm.selection import POIS, AnyOf, Selection, any_of, overpass_query
from ingestion_pipeline.sources import registry
from ingestion_pipeline.sources.registry import SOURCES, holds_what_is_asked
from ingestion_pipeline_tests.support.toy_source import ToySource

if TYPE_CHECKING:
    from ingestion_pipeline.config.cities import City

DAY = date(2026, 11, 19)
MOMENT = "2026-11-19T23:59:59Z"


@pytest.fixture(scope="module")
def city() -> City:
    return next(iter(load_cities(None)))


def question(city: City, dataset: str, *, date: str | None) -> str:
    return overpass_query(
        city.area,
        bbox=city.bbox,
        with_boundary=True,
        timeout_s=180,
        maxsize_bytes=1 << 28,
        date=date,
        selection=DATASETS[dataset].selection,
    )


def snapshot(city: City, dataset: str, *queries: str) -> Manifest:
    moment = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
    parts = [Part("0" * 64, 1, 1, "raw/00/0.json.zst", query, moment, moment) for query in queries]
    return Manifest(
        dataset=dataset,
        city_slug=city.slug,
        boundary_ref=city.boundary_key,
        day=DAY,
        as_of=moment,
        as_of_source="attic_date",
        obtained="overpass",
        location="https://overpass.example/api/interpreter",
        bbox=city.bbox,
        selection=DATASETS[dataset].selection.digest,
        licence="ODbL-1.0",
        attribution="© OpenStreetMap contributors",
        parts=tuple(parts),
    )


def dated_by_regex(query: str) -> str:
    """The dated query as it was before keys were named plainly."""
    return query.replace("];", f'][date:"{MOMENT}"];', 1)


@pytest.mark.parametrize("dataset", ["poi", "helper"])
@pytest.mark.parametrize("date", [None, MOMENT])
def test_an_answer_to_what_is_asked_now_is_used(city: City, dataset: str, date: str | None) -> None:
    assert holds_what_is_asked(snapshot(city, dataset, question(city, dataset, date=date)), city)


def test_an_answer_to_a_dated_regex_on_keys_is_not_used(city: City) -> None:
    undated = question(city, "poi", date=None)
    assert not holds_what_is_asked(snapshot(city, "poi", dated_by_regex(undated)), city)


def test_one_such_part_is_enough(city: City) -> None:
    undated = question(city, "poi", date=None)
    parts = (undated, dated_by_regex(undated), undated)
    assert not holds_what_is_asked(snapshot(city, "poi", *parts), city)


def test_an_older_dated_answer_without_a_regex_on_keys_is_used(city: City) -> None:
    undated = question(city, "helper", date=None)
    assert holds_what_is_asked(snapshot(city, "helper", dated_by_regex(undated)), city)


def test_an_answer_for_another_bbox_or_selection_is_not_used(city: City) -> None:
    manifest = snapshot(city, "poi", question(city, "poi", date=None))
    west, south, east, north = city.bbox
    assert not holds_what_is_asked(replace(manifest, bbox=(west, south, east - 0.1, north)), city)
    assert not holds_what_is_asked(replace(manifest, selection="another"), city)


def asked_with(city: City, selection: Selection | AnyOf, *, is_old: bool = False) -> Manifest:
    """The snapshot of POIs that were asked for with a selection; an old one keeps its digest."""
    manifest = snapshot(city, "poi", question(city, "poi", date=None))
    selected = None if is_old else selection.as_json()
    return replace(manifest, selection=selection.digest, selected=selected)


WIDER = replace(POIS, open_keys=(*POIS.open_keys, "emergency_service"))
NARROWER = replace(POIS, open_keys=POIS.open_keys[:-1])


@pytest.mark.parametrize(
    ("selection", "is_used"),
    [
        (POIS, True),
        (WIDER, True),
        (NARROWER, False),
        (selection_of_all(), True),
        (any_of([NARROWER, DATASETS["helper"].selection]), False),
    ],
)
def test_an_answer_is_used_if_it_was_asked_for_with_all_that_is_selected_now(
    city: City, selection: Selection | AnyOf, is_used: bool
) -> None:
    assert holds_what_is_asked(asked_with(city, selection), city) is is_used


@pytest.mark.parametrize("selection", [WIDER, NARROWER])
def test_of_an_older_manifest_the_selection_has_to_be_equal(
    city: City, selection: Selection
) -> None:
    assert not holds_what_is_asked(asked_with(city, selection, is_old=True), city)
    assert holds_what_is_asked(asked_with(city, POIS, is_old=True), city)


def test_only_a_shared_file_has_more_than_was_asked_for(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrower = asked_with(city, NARROWER)
    assert holds_what_is_asked(replace(narrower, obtained="extract"), city)
    of_another_source = replace(narrower, obtained=ToySource.kind)
    assert not holds_what_is_asked(of_another_source, city), "a source that is not installed"
    monkeypatch.setattr(registry, "SOURCES", {**SOURCES, ToySource.kind: ToySource})
    assert not holds_what_is_asked(of_another_source, city)
    assert holds_what_is_asked(replace(asked_with(city, POIS), obtained=ToySource.kind), city)
