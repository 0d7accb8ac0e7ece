"""Feeds of helper places through the whole job: good ones, and every way of being bad."""

from __future__ import annotations

import io
import logging
import math
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from ingestion_pipeline.config.cities import Cities, CitiesFileError, load_cities
from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.datasets.helper import HELPER
from ingestion_pipeline.defs.assets.city_day import FEEDS_POOL
from ingestion_pipeline.defs.failures import Retrying
from ingestion_pipeline.defs.feeds import take_feeds
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.defs.work import ClaimedPartition
from ingestion_pipeline.plan import PlannedDay, look, plan
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.days import Slice, difference, read_day
from ingestion_pipeline.staging.tables import (
    helper_place,
    ingestion_rejection,
    ingestion_run,
    staged_partition,
)
from ingestion_pipeline_tests.support.feed_server import (
    BBOX,
    FOUNTAINS,
    TOILETS,
    FeedServer,
    fountains,
    geojson,
    served,
    toilet,
    toilets,
)
from ingestion_pipeline_tests.support.installation import (
    TODAY,
    ScriptedClock,
    contents,
    installed,
    metadata,
    why,
)
from ingestion_pipeline_tests.support.overpass_server import Reply
from testbed.towns import NOON, TOWN, write_cities, write_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import dagster as dg

    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline_tests.support.installation import Installation
    from ingestion_pipeline_tests.support.overpass_server import Request

    Answer = Reply | Callable[[Request], Reply]

SECRET = "Unspeakable-Secret-7"
PLACES = (helper_place, staged_partition, ingestion_rejection)

EDITED = datetime(2024, 5, 1, tzinfo=UTC)

SATURDAY, SUNDAY, MONDAY = (TODAY + timedelta(days=number) for number in range(3))

OSM_NODES: Mapping[int, tuple[float, float, Mapping[str, str]]] = {
    1: (24.91 + 1 / 500, 60.1601, {"amenity": "toilets", "name": "Toilet 1"}),
    2: (24.91 + 2 / 500, 60.1601, {"amenity": "toilets", "name": "Central Station"}),
    3: (24.91 + 3 / 500, 60.17, {"amenity": "drinking_water"}),
    4: (24.95, 60.19, {"amenity": "cafe", "toilets": "yes"}),
}
"""A toilet beside the feed's of the same name, one of another name, a fountain, and a café."""


@dataclass
class World:
    """A town with feeds, their publisher's server, and the days that go by.

    Attributes:
        here: The installation.
        server: The publisher.
        clock: The machine's.
        answers: What the publisher answers, by the path's end.
    """

    here: Installation
    server: FeedServer
    clock: ScriptedClock
    answers: dict[str, Answer] = field(default_factory=dict)

    def publish(self, name: str, answer: Answer | bytes) -> None:
        """Let a file of the publisher be this from now on; bytes are given as new at that time."""
        if isinstance(answer, bytes):
            answer = modified(answer, self.clock.now() - timedelta(hours=1))
        self.answers[name] = answer

    def until(self, day: date) -> None:
        """Let time go by until a day's noon."""
        self.clock.sleep((noon_of(day) - self.clock.now()).total_seconds())
        osm = self.here.folder / f"osm-{day}.osm.pbf"
        write_nodes(osm, OSM_NODES, at=self.clock.now() - timedelta(hours=2), edited=EDITED)

    def run(self, day: date, *, city: str = "town", **options: Any) -> dg.ExecuteInProcessResult:
        """Run the whole job of a day, which succeeds; a minute after whatever was before."""
        self.clock.sleep(60)
        result = self.here.run(f"{city}|{day}", job_type="helpers_import", **options)
        assert result.success, why(result)
        return result

    def slice_of(self, source: str, day: date, *, city: str = "town") -> Mapping[str, Any] | None:
        """Give a slice's row of `staged_partition`."""
        with self.here.engine.connect() as connection:
            table = staged_partition
            query = sa.select(table).where(
                table.c.city_slug == city,
                table.c.dataset == "helper",
                table.c.source == source,
                table.c.day == day,
            )
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else dict(row)

    def places(self, source: str, day: date, *, city: str = "town") -> dict[str, Any]:
        """Give a day's names of a source's places."""
        rows = read_day(self.here.engine, Slice(city, "helper", source, day))
        return {row["source_ref"]: row["name"] for row in rows or ()}

    def counts(self) -> dict[str, Any]:
        """Give the counts of the last run."""
        counts = self.here.ledger()[-1].counts
        assert counts is not None
        return counts


def noon_of(day: date) -> datetime:
    return NOON + (day - TODAY)


def modified(body: bytes, at: datetime, **changes: Any) -> Reply:
    """Answer with a body that was changed at a moment."""
    return served(body, headers={"Last-Modified": format_datetime(at, usegmt=True)}, **changes)


def table_of(kind: Mapping[str, Any], server: FeedServer, path: str, **keys: Any) -> dict[str, Any]:
    """Write a feed's table with an address of the server, secrets included."""
    address = server.address(path).replace("http://", f"http://town:{SECRET}@")
    permission = {"permission": "https://example.org/letter.pdf"} if kind is TOILETS else {}
    return {**kind, **permission, "location": f"{address}?key={SECRET}", **keys}


@contextmanager
def world_in(
    folder: Path,
    database_url: str,
    feeds: Callable[[FeedServer], list[dict[str, Any]]],
    **options: Any,
) -> Iterator[World]:
    clock = ScriptedClock(NOON)
    answers: dict[str, Answer] = {}

    def answer(request: Request) -> Reply:
        name = request.path.partition("?")[0].rpartition("/")[2]
        found = answers.get(name, Reply(404, "", "text/plain"))
        return found if isinstance(found, Reply) else found(request)

    with FeedServer(answer) as server:
        city = TOWN | {
            "bbox": list(BBOX),
            "osm_source": "extract",
            "osm_extract": f"{folder}/osm-{{day}}.osm.pbf",
            "feed": feeds(server),
        }
        with installed(folder, database_url, cities=[city], clock=clock, **options) as here:
            world = World(here, server, clock, answers)
            world.until(SATURDAY)
            yield world


def both_feeds(server: FeedServer) -> list[dict[str, Any]]:
    return [
        table_of(TOILETS, server, "toilets.geojson"),
        table_of(FOUNTAINS, server, "fountains-{day}.csv"),
    ]


@pytest.fixture
def world(tmp_path: Path, database_url: str) -> Iterator[World]:
    """A town with both feeds, good today, on both databases."""
    with world_in(tmp_path, database_url, both_feeds) as world:
        yield with_good_feeds(world)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[World]:
    """The same on a GeoPackage."""
    with world_in(tmp_path, f"sqlite:///{tmp_path}/staging.gpkg", both_feeds) as world:
        yield with_good_feeds(world)


def with_good_feeds(world: World) -> World:
    world.publish("toilets.geojson", toilets())
    for day in (SATURDAY, SUNDAY, MONDAY):
        world.publish(f"fountains-{day}.csv", fountains())
    return world


# Good feeds


def test_feeds_are_staged_beside_openstreetmap_each_a_slice_with_its_own_evidence(
    world: World,
) -> None:
    result = world.run(SATURDAY)
    assert set(world.places("osm", SATURDAY)) == {
        "node/1#toilets",
        "node/2#toilets",
        "node/3#drinking_water",
        "node/4#toilets",
    }
    assert world.places("feed:toilets", SATURDAY)["7#toilets"] == "Toilet 7"
    assert world.places("feed:fountains", SATURDAY)["7#drinking_water"] == 'Rodnik "7" u reki'
    told = world.slice_of("feed:toilets", SATURDAY)
    assert told is not None
    names = ("rows", "as_of_source", "obtained", "licence", "attribution", "stale_reason")
    assert {name: told[name] for name in names} == {
        "rows": 20,
        "as_of_source": "last_modified",
        "obtained": "feed",
        "licence": "CC-BY-4.0",
        "attribution": "© Town of Exempel",
        "stale_reason": None,
    }
    assert told["as_of"] == noon_of(SATURDAY) - timedelta(hours=1)
    dated = world.slice_of("feed:fountains", SATURDAY)
    assert dated is not None
    assert dated["as_of"] == datetime(2024, 6, 1, tzinfo=UTC)
    for asset in ("helper_feeds", "helper_places"):
        feeds = metadata(result, asset)["feeds"]
        assert "| `toilets` | 2024-06-01T11:00:00Z | good |" in feeds
        assert "| `fountains` | 2024-06-01T00:00:00Z | good |" in feeds
        assert metadata(result, asset)["feeds_failed"] == 0
    counts = world.counts()
    told = metadata(result, "helper_places")
    totals = ("rows", "added", "changed", "removed", "rejected", "written")
    assert {name: told["dagster/row_count" if name == "rows" else name] for name in totals} == {
        name: counts[name] for name in totals
    }
    assert told["outcome"] == "complete"
    assert {source: count["written"] for source, count in counts["sources"].items()} == {
        "osm": 4,
        "feed:toilets": 20,
        "feed:fountains": 20,
    }
    assert "failed" not in counts


def test_a_place_of_a_feed_refers_to_that_of_openstreetmap_and_both_rows_stay(
    world: World,
) -> None:
    world.run(SATURDAY)
    rows = read_day(world.here.engine, Slice("town", "helper", "feed:toilets", SATURDAY)) or []
    links = {row["source_ref"]: row["links"] for row in rows if row["links"]}
    assert links == {
        "1#toilets": [
            {
                "source": "osm",
                "source_ref": "node/1#toilets",
                "by": "name",
                "identifier": None,
                "distance_m": 11.1,
                "name_similarity": 1.0,
                "score": 0.889,
            }
        ]
    }
    assert {"node/1#toilets", "node/2#toilets"} < set(world.places("osm", SATURDAY))
    assert len(rows) == 20
    rows = read_day(world.here.engine, Slice("town", "helper", "feed:fountains", SATURDAY)) or []
    (fountain,) = [row for row in rows if row["links"]]
    assert (fountain["source_ref"], fountain["name"]) == ("3#drinking_water", 'Rodnik "3" u reki')
    (link,) = fountain["links"]
    assert (link["source_ref"], link["name_similarity"]) == ("node/3#drinking_water", None)


def test_a_day_that_is_run_again_asks_nobody_and_writes_nothing(world: World) -> None:
    world.run(SATURDAY)
    before = contents(world.here.engine, but=frozenset(), tables=PLACES)
    asked = len(world.server.requests)
    world.run(SATURDAY)
    assert len(world.server.requests) == asked
    assert world.counts()["written"] == 0
    assert contents(world.here.engine, but=frozenset(), tables=PLACES) == before


def test_a_feed_that_changed_overnight_has_only_its_changed_rows_written(world: World) -> None:
    world.run(SATURDAY)
    world.until(SUNDAY)
    changed = [toilet(number, PAID="ja" if number == 5 else "nein") for number in range(2, 22)]
    world.publish("toilets.geojson", geojson(changed))
    world.run(SUNDAY)
    counts = world.counts()["sources"]
    assert counts["osm"]["written"] == counts["feed:fountains"]["written"] == 0
    assert counts["feed:toilets"] == {
        "rows": 20,
        "added": 1,
        "changed": 1,
        "removed": 1,
        "rejected": 0,
        "state": "good",
        "written": 4,  # the new one, the changed one's end and beginning, and the removed one's end
    }
    saturday = Slice("town", "helper", "feed:toilets", SATURDAY)
    found = [
        (change.change, change.source_ref, sorted(change.changed_fields), change.cause)
        for change in difference(world.here.engine, saturday, SUNDAY)
    ]
    assert found == [
        ("removed", "1#toilets", [], "upstream"),
        ("added", "21#toilets", [], "upstream"),
        ("changed", "5#toilets", ["fee", "tags"], "upstream"),
    ]
    assert set(world.places("feed:toilets", SATURDAY)) != set(world.places("feed:toilets", SUNDAY))


# Bad feeds


def swapped() -> bytes:
    features = [toilet(number) for number in range(1, 21)]
    for feature in features:
        feature["geometry"]["coordinates"].reverse()
    return geojson(features)


def of_one_id() -> bytes:
    return geojson(toilet(number, OBJECTID=1) for number in range(1, 21))


ROUND = Reply(302, headers={"Location": "/round"})

SHRUNKEN = "above its minimum, and less than half"

BAD: Mapping[str, tuple[str, Reply | bytes]] = {
    "too old": ("feed_stale", modified(toilets(), NOON - timedelta(days=30))),
    "of the future": ("feed_not_of_day", modified(toilets(), NOON + timedelta(days=30))),
    "without a time": ("feed_without_time", Reply(body=toilets())),
    "a tenth, below its minimum": ("feed_shrunken", toilets(2)),
    SHRUNKEN: ("feed_shrunken", toilets(8)),
    "another encoding": ("feed_encoding_wrong", toilets().decode().encode("cp1251")),
    "swapped coordinates": ("feed_swapped", swapped()),
    "a page": ("feed_not_data", Reply(body="<html>Sorry</html>", content_type="text/html")),
    "a page that says it is data": ("feed_not_data", b"<!DOCTYPE html><title>Sorry</title>"),
    "ten gigabytes": (
        "feed_too_big",
        Reply(body=toilets(), headers={"Content-Length": "10000000000"}, cut_after=100),
    ),
    "redirects in a circle": ("feed_redirected", ROUND),
    "a server that is down": ("feed_unreachable", Reply(503, "down", "text/plain")),
    "a server that hangs up": ("feed_truncated", Reply(hang_up=True)),
    "one id for all": ("feed_shrunken", of_one_id()),
    "a renamed field": ("feed_unreadable", toilets().replace(b"HOURS", b"OPEN|AT")),
}


FAULTS: Mapping[str, str] = {fault: fault.replace(" ", "-").replace(",", "") for fault in BAD}
"""The slug of the feed that has each fault."""


@dataclass
class Bad:
    """A town with a feed for each fault, and its days, after each of which things were noted.

    Attributes:
        world: The town.
        results: The run of each day.
        counts: Its counts in the ledger.
        log: What was logged.
    """

    world: World
    results: dict[date, dg.ExecuteInProcessResult] = field(default_factory=dict)
    counts: dict[date, dict[str, Any]] = field(default_factory=dict)
    log: str = ""

    def publish(self, answers: Mapping[str, Reply | bytes]) -> None:
        for fault, slug in FAULTS.items():
            self.world.publish(f"{slug}.geojson", answers[fault])

    def run(self, day: date) -> None:
        self.results[day] = self.world.run(day)
        self.counts[day] = self.world.counts()

    def told(self, day: date, asset: str = "helper_places") -> dict[str, Any]:
        return metadata(self.results[day], asset)


def a_feed_for_each_fault(server: FeedServer) -> list[dict[str, Any]]:
    feeds = [table_of(TOILETS, server, f"{slug}.geojson", slug=slug) for slug in FAULTS.values()]
    return [*feeds, table_of(FOUNTAINS, server, "fountains-{day}.csv")]


def answers_of_bad() -> dict[str, Reply | bytes]:
    return {fault: answer for fault, (_, answer) in BAD.items()}


@pytest.fixture(scope="module")
def good_bad_good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bad]:
    """On Saturday every feed is good, on Sunday bad in its own way, and on Monday good again."""
    folder = tmp_path_factory.mktemp("faults")
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    logging.getLogger("httpx").setLevel(logging.INFO)
    with world_in(folder, f"sqlite:///{folder}/staging.gpkg", a_feed_for_each_fault) as world:
        bad = Bad(with_good_feeds(world))
        world.answers["round"] = ROUND
        for day, answers in (
            (SATURDAY, dict.fromkeys(BAD, toilets())),
            (SUNDAY, answers_of_bad()),
            (MONDAY, dict.fromkeys(BAD, toilets(21))),
        ):
            world.until(day)
            bad.publish(answers)
            bad.run(day)
        logging.getLogger().removeHandler(handler)
        logging.getLogger("httpx").setLevel(logging.NOTSET)
        bad.log = log.getvalue()
        yield bad


@pytest.fixture(scope="module")
def bad_at_first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bad]:
    """On the first day every feed is bad in its own way."""
    folder = tmp_path_factory.mktemp("bad-at-first")
    with world_in(folder, f"sqlite:///{folder}/staging.gpkg", a_feed_for_each_fault) as world:
        bad = Bad(with_good_feeds(world))
        world.answers["round"] = ROUND
        bad.publish(answers_of_bad())
        bad.run(SATURDAY)
        yield bad


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_day_has_the_feeds_last_good_version_and_says_why(
    good_bad_good: Bad, fault: str
) -> None:
    world, source, code = good_bad_good.world, f"feed:{FAULTS[fault]}", BAD[fault][0]
    saturday, sunday = (world.slice_of(source, day) for day in (SATURDAY, SUNDAY))
    assert saturday is not None
    assert sunday is not None
    assert world.places(source, SUNDAY) == world.places(source, SATURDAY)
    assert len(world.places(source, SUNDAY)) == 20
    assert saturday["stale_reason"] is None
    reason = sunday["stale_reason"]
    assert reason.startswith(f"{code}: ")
    assert (sunday["as_of"], sunday["digest"]) == (saturday["as_of"], saturday["digest"])
    assert good_bad_good.counts[SUNDAY]["failed"][source] == reason
    assert good_bad_good.counts[SUNDAY]["sources"][source]["written"] == 0
    shown = reason.replace("|", "\\|")
    told = good_bad_good.told(SUNDAY)["feeds"]
    assert f"| `{FAULTS[fault]}` | 2024-06-01T11:00:00Z | stale: {shown} |" in told


@pytest.mark.parametrize("fault", BAD)
def test_a_good_day_after_a_bad_one_is_fresh_again(good_bad_good: Bad, fault: str) -> None:
    told = good_bad_good.world.slice_of(f"feed:{FAULTS[fault]}", MONDAY)
    assert told is not None
    assert (told["stale_reason"], told["rows"]) == (None, 21)
    assert told["as_of"] == noon_of(MONDAY) - timedelta(hours=1)


def test_what_is_not_bad_is_staged_on_a_bad_day_as_on_any_other(good_bad_good: Bad) -> None:
    world = good_bad_good.world
    assert [run.status for run in world.here.ledger()] == ["SUCCEEDED"] * 3
    for day in (SATURDAY, SUNDAY, MONDAY):
        assert len(world.places("osm", day)) == 4
        fountains_of_day = world.slice_of("feed:fountains", day)
        assert fountains_of_day is not None
        assert (fountains_of_day["rows"], fountains_of_day["stale_reason"]) == (20, None)
    told = [good_bad_good.told(day) for day in (SATURDAY, SUNDAY, MONDAY)]
    assert [each["feeds_failed"] for each in told] == [0, len(BAD), 0]
    assert [each["outcome"] for each in told] == ["complete", "partial", "complete"]
    assert told[1]["sources"].count(" | stale |") == len(BAD)
    assert "| `osm` | 4 | 0 | 0 | 0 | 0 | 0 | good |" in told[1]["sources"]
    assert "failed" not in good_bad_good.counts[MONDAY]
    assert len(good_bad_good.counts[SUNDAY]["failed"]) == len(BAD)


def test_no_secret_of_an_address_is_kept_or_logged(good_bad_good: Bad) -> None:
    here, server = good_bad_good.world.here, good_bad_good.world.server
    kept = [
        str(contents(here.engine, but=frozenset(), tables=(*PLACES, ingestion_run))),
        *(path.read_text() for path in (here.folder / "lake").rglob("*.json")),
        good_bad_good.log,
    ]
    for day, result in good_bad_good.results.items():
        kept += [str(event) for event in result.all_events]
        kept += [str(good_bad_good.told(day, of)) for of in ("helper_feeds", "helper_places")]
    assert [text for text in kept if SECRET in text] == []
    assert "feed_unreachable" in good_bad_good.log
    assert any(SECRET in request.path for request in server.requests)
    assert all("authorization" in request.headers for request in server.requests)


@pytest.mark.parametrize("fault", sorted(BAD.keys() - {SHRUNKEN}))
def test_a_feed_that_never_was_good_has_no_slice_and_the_run_says_why(
    bad_at_first: Bad, fault: str
) -> None:
    world, source, code = bad_at_first.world, f"feed:{FAULTS[fault]}", BAD[fault][0]
    assert world.slice_of(source, SATURDAY) is None
    assert world.places(source, SATURDAY) == {}
    assert bad_at_first.counts[SATURDAY]["failed"][source].startswith(f"{code}: ")
    told = bad_at_first.told(SATURDAY)["feeds"]
    assert f"| `{FAULTS[fault]}` | nothing | nothing new: {code}: " in told


def test_the_others_are_staged_beside_feeds_that_never_were_good(bad_at_first: Bad) -> None:
    assert len(bad_at_first.world.places("osm", SATURDAY)) == 4
    assert len(bad_at_first.world.places("feed:fountains", SATURDAY)) == 20
    without_a_past = f"feed:{FAULTS[SHRUNKEN]}"
    assert len(bad_at_first.world.places(without_a_past, SATURDAY)) == 8


def test_ten_gigabytes_are_not_downloaded(bad_at_first: Bad) -> None:
    stored = (bad_at_first.world.here.folder / "lake/raw").rglob("*")
    assert sum(path.stat().st_size for path in stored if path.is_file()) < 100_000
    failed = bad_at_first.counts[SATURDAY]["failed"][f"feed:{FAULTS['ten gigabytes']}"]
    assert "announces 10,000,000,000 bytes" in failed


def test_a_feed_of_which_a_day_is_bad_is_stale_on_both_databases(world: World) -> None:
    world.run(SATURDAY)
    world.until(SUNDAY)
    world.publish("toilets.geojson", BAD["another encoding"][1])
    world.run(SUNDAY)
    stale = world.slice_of("feed:toilets", SUNDAY)
    assert stale is not None
    assert stale["stale_reason"].startswith("feed_encoding_wrong")
    assert world.counts()["sources"]["feed:toilets"]["written"] == 0
    world.publish("toilets.geojson", toilets(21))
    world.run(SUNDAY)
    mended = world.slice_of("feed:toilets", SUNDAY)
    assert mended is not None
    assert (mended["stale_reason"], mended["rows"]) == (None, 21)


def test_a_record_with_a_text_that_no_database_stores_is_a_rejection(world: World) -> None:
    world.publish("toilets.geojson", geojson([toilet(1, TITLE="\0"), *map(toilet, range(2, 21))]))
    world.run(SATURDAY)
    assert len(world.places("feed:toilets", SATURDAY)) == 19
    counts = world.counts()["sources"]["feed:toilets"]
    assert (counts["rows"], counts["rejected"]) == (19, 1)


def test_records_with_ids_of_others_are_rejections_and_the_rest_is_staged(world: World) -> None:
    repeated = [toilet(number, TITLE="Another") for number in (3, 4)]
    world.publish("toilets.geojson", geojson([*map(toilet, range(1, 21)), *repeated]))
    world.run(SATURDAY)
    assert world.places("feed:toilets", SATURDAY)["3#toilets"] == "Toilet 3"
    with world.here.engine.connect() as connection:
        table = ingestion_rejection
        rows = connection.execute(sa.select(table.c.source_ref, table.c.reason, table.c.source))
        assert sorted(rows) == [
            ("record/21", "duplicate_id", "feed:toilets"),
            ("record/22", "duplicate_id", "feed:toilets"),
        ]
    assert world.counts()["sources"]["feed:toilets"]["rejected"] == 2


def test_a_fault_of_ours_that_a_feed_brings_to_light_is_that_feeds_failure_alone(
    town: World,
) -> None:
    def stumble_once(_: int) -> None:
        if len(town.server.requests) == 1:
            town.clock.on_look = None
            raise ZeroDivisionError(SECRET)

    town.clock.on_look = stumble_once
    town.run(SATURDAY)
    assert len(town.places("osm", SATURDAY)) == 4
    assert len(town.places("feed:fountains", SATURDAY)) == 20
    failed = town.counts()["failed"]["feed:toilets"]
    assert failed.startswith("feed_unreadable: ")
    assert "by a fault of ours (ZeroDivisionError in " in failed
    assert SECRET not in failed


# Asking again


def test_a_failed_feed_is_asked_again_when_the_day_is_run_again(town: World) -> None:
    town.run(SATURDAY)
    town.until(SUNDAY)
    town.publish("toilets.geojson", Reply(503))
    town.run(SUNDAY)
    town.publish("toilets.geojson", toilets(21))
    town.run(SUNDAY)
    told = town.slice_of("feed:toilets", SUNDAY)
    assert told is not None
    assert (told["stale_reason"], told["rows"]) == (None, 21)
    assert "failed" not in town.counts()
    assert town.counts()["sources"]["osm"]["written"] == 0


def test_a_dated_feed_of_a_past_day_is_asked_again_when_the_day_is_run_again(town: World) -> None:
    name = f"fountains-{SATURDAY}.csv"
    body = town.answers.pop(name)
    town.run(SATURDAY)
    assert town.counts()["failed"]["feed:fountains"].startswith("feed_not_found")
    town.until(MONDAY)
    town.answers[name] = body
    town.run(SATURDAY)
    told = town.slice_of("feed:fountains", SATURDAY)
    assert told is not None
    assert (told["as_of"], told["stale_reason"]) == (datetime(2024, 6, 1, tzinfo=UTC), None)


def test_a_past_day_is_never_filled_with_what_the_feed_says_now(town: World) -> None:
    town.run(SATURDAY)
    town.until(SUNDAY)
    town.publish("toilets.geojson", Reply(503))
    town.run(SUNDAY)
    town.until(MONDAY)
    town.publish("toilets.geojson", toilets(21))
    for refetch in (False, True):
        town.run(SUNDAY, refetch=refetch)
        told = town.slice_of("feed:toilets", SUNDAY)
        assert told is not None
        assert told["rows"] == 20
        assert told["stale_reason"].startswith("feed_not_of_day")


def test_a_past_day_takes_a_feed_that_has_not_been_modified_since(town: World) -> None:
    town.until(MONDAY)
    town.answers["toilets.geojson"] = modified(toilets(), NOON)
    write_nodes(town.here.folder / f"osm-{SUNDAY}.osm.pbf", OSM_NODES, at=noon_of(SUNDAY))
    town.run(SUNDAY)
    told = town.slice_of("feed:toilets", SUNDAY)
    assert told is not None
    assert (told["as_of"], told["stale_reason"]) == (NOON, None)


def test_a_feed_that_may_answer_later_is_asked_once_more_in_the_run(town: World) -> None:
    good = town.answers["toilets.geojson"]
    assert isinstance(good, Reply)
    town.server.enqueue(Reply(503), modified_fountains(), good)
    town.run(SATURDAY)
    assert "failed" not in town.counts()
    assert len(town.server.requests) == 3


def test_a_refetch_asks_only_those_once_more_that_may_answer_later(town: World) -> None:
    town.run(SATURDAY)
    before = len(town.server.requests)
    town.server.enqueue(Reply(503), modified_fountains())
    town.run(SATURDAY, refetch=True)
    asked = [request.path.partition("?")[0] for request in town.server.requests[before:]]
    assert [path.rpartition("/")[2] for path in asked] == [
        "toilets.geojson",
        f"fountains-{SATURDAY}.csv",
        "toilets.geojson",
    ]
    assert "failed" not in town.counts()


def test_a_step_that_is_tried_again_for_another_reason_asks_whom_it_has_not_asked(
    town: World,
) -> None:
    town.run(SATURDAY)
    city = town.here.workshop.cities.get("town")
    claim = runs.claim(
        town.here.engine,
        JobKey("helpers_import", "town", city.boundary_key, SATURDAY),
        dagster_run_id="again",
        worker="worker",
        trigger="ui",
        is_alive=lambda _: True,
        now=town.clock.now() + timedelta(hours=1),
        refetch=True,
    )
    assert isinstance(claim, runs.Claim)
    before = len(town.server.requests)
    for retry_number in (1, 2):  # the first try ended before it asked anybody
        work = ClaimedPartition(city, SATURDAY, claim)
        take_feeds(town.here.workshop, work, retry_number=retry_number)
    asked = [request.path.partition("?")[0] for request in town.server.requests[before:]]
    assert [path.rpartition("/")[2] for path in asked] == [
        "toilets.geojson",
        f"fountains-{SATURDAY}.csv",
    ]


def test_a_feed_that_is_down_holds_no_place_at_upstream_while_it_is_waited_for(
    tmp_path: Path,
) -> None:
    slots: list[tuple[str, int]] = []
    waits = threading.Event()

    def note(when: str) -> None:
        info = instance.event_log_storage.get_concurrency_info(FEEDS_POOL)
        slots.append((when, info.active_slot_count))

    def answer_later(_: Request) -> Reply:
        note("asked")
        waits.set()
        town.server.default = answer
        return Reply(503)

    def look_while_it_waits() -> None:
        waits.wait(60)
        time.sleep(2)
        note("waits")

    database = f"sqlite:///{tmp_path}/staging.gpkg"
    once_more = Retrying(first_wait_s=6)
    with world_in(tmp_path, database, both_feeds, retrying=once_more, stored=True) as town:
        with_good_feeds(town)
        instance = town.here.instance
        instance.event_log_storage.set_concurrency_slots(FEEDS_POOL, 1)
        answer = town.server.default
        town.server.default = answer_later
        before = town.clock.now()
        looking = threading.Thread(target=look_while_it_waits)
        looking.start()
        town.run(SATURDAY)
        looking.join()
        assert "failed" not in town.counts()
        assert town.clock.now() - before == timedelta(minutes=1)  # `run` itself; no step slept
    assert slots == [("asked", 1), ("waits", 0)]


def test_a_server_is_asked_for_one_feed_at_a_time_by_all_workers(world: World) -> None:
    """The pool does not see `poi-ingest run`, and may be given a higher limit."""
    address = urlsplit(world.server.url)
    other = world.here.workshop.gate.alone(f"feed request to {address.hostname}:{address.port}")
    with ThreadPoolExecutor(1) as pool:
        with other:
            run = pool.submit(world.run, SATURDAY)
            with pytest.raises(TimeoutError):
                run.result(timeout=5)
            assert world.here.ledger()[-1].status == "RUNNING"
            assert world.server.requests == []
        run.result(timeout=60)
    assert len(world.server.requests) == 2


def test_a_refetch_that_a_later_step_is_asked_for_is_made(town: World) -> None:
    town.run(SATURDAY)
    osm = town.here.folder / f"osm-{SATURDAY}.osm.pbf"
    write_nodes(osm, dict(list(OSM_NODES.items())[:3]), at=NOON - timedelta(hours=1))
    town.clock.sleep(60)
    result = town.here.job("helpers_import").execute_in_process(
        partition_key=f"town|{SATURDAY}",
        instance=town.here.instance,
        run_config={"ops": {"helper_snapshot": {"config": {"refetch": True}}}},
    )
    assert metadata(result, "helper_snapshot")["replayed"] is False
    assert len(town.places("osm", SATURDAY)) == 3


def modified_fountains() -> Reply:
    return modified(fountains(), NOON, content_type="text/csv")


def test_a_refetch_that_fails_leaves_the_days_own_version_and_tells_of_it(town: World) -> None:
    town.run(SATURDAY)
    before = town.slice_of("feed:toilets", SATURDAY)
    town.publish("toilets.geojson", Reply(503))
    result = town.run(SATURDAY, refetch=True)
    assert town.slice_of("feed:toilets", SATURDAY) == before
    assert town.counts()["failed"]["feed:toilets"].startswith("feed_unreachable")
    assert "the day's own, kept: feed_unreachable" in metadata(result, "helper_places")["feeds"]
    town.publish("toilets.geojson", toilets())
    town.run(SATURDAY, refetch=True)
    assert "failed" not in town.counts()


def test_a_refetch_of_bad_bytes_leaves_the_days_own_version(town: World) -> None:
    town.run(SATURDAY)
    town.until(SUNDAY)
    town.publish("toilets.geojson", toilets(21))
    town.run(SUNDAY)
    before = town.slice_of("feed:toilets", SUNDAY)
    town.publish("toilets.geojson", swapped())
    town.run(SUNDAY, refetch=True)
    assert town.slice_of("feed:toilets", SUNDAY) == before
    assert len(town.places("feed:toilets", SUNDAY)) == 21
    assert town.counts()["failed"]["feed:toilets"].startswith("feed_swapped")


def test_bytes_that_are_damaged_in_the_lake_are_that_feeds_failure_alone(town: World) -> None:
    town.run(SATURDAY)
    good = town.places("feed:toilets", SATURDAY)
    told = town.slice_of("feed:toilets", SATURDAY)
    assert told is not None
    (blob,) = (town.here.folder / "lake/raw").rglob(f"{told['digest']}*")
    blob.write_bytes(b"rotten")
    osm = town.here.folder / f"osm-{SATURDAY}.osm.pbf"
    write_nodes(osm, dict(list(OSM_NODES.items())[:3]), at=NOON - timedelta(hours=1))
    town.publish("toilets.geojson", Reply(503))
    town.run(SATURDAY, refetch=True)
    assert len(town.places("osm", SATURDAY)) == 3
    assert town.places("feed:toilets", SATURDAY) == good
    assert town.slice_of("feed:toilets", SATURDAY) == told
    assert town.counts()["failed"]["feed:toilets"].startswith("snapshot_damaged")


def test_only_bytes_that_were_understood_stand_for_later_days(town: World) -> None:
    town.run(SATURDAY)
    town.publish("toilets.geojson", swapped())
    # Asked again, and the run ends before anybody has read the answer.
    town.here.run(
        f"town|{SATURDAY}", job_type="helpers_import", only=["helper_feeds"], refetch=True
    )
    town.until(SUNDAY)
    town.publish("toilets.geojson", Reply(503))
    town.run(SUNDAY)
    assert len(town.places("feed:toilets", SUNDAY)) == 20


def test_places_without_a_snapshot_say_that_the_feed_was_not_asked(town: World) -> None:
    town.run(SATURDAY)
    for path in (town.here.folder / "lake/snapshots/feed-toilets").rglob("*.json"):
        path.unlink()
    town.run(SATURDAY, only=["helper_places"])
    failed = town.counts()["failed"]["feed:toilets"]
    assert failed.startswith("feed_not_taken: the feed was not asked for; materialize")


def test_an_operator_can_accept_that_a_feed_has_shrunk(town: World) -> None:
    town.run(SATURDAY)
    town.until(SUNDAY)
    town.publish("toilets.geojson", toilets(8))
    town.run(SUNDAY)
    assert len(town.places("feed:toilets", SUNDAY)) == 20
    town.run(SUNDAY, accept="The town has sold them")
    accepted = town.slice_of("feed:toilets", SUNDAY)
    assert accepted is not None
    assert accepted["rows"] == 8
    assert accepted["stale_reason"] is None
    assert accepted["accepted_reason"] == "The town has sold them"
    beside = [town.slice_of(source, SUNDAY) for source in ("osm", "feed:fountains")]
    assert [told["accepted_reason"] for told in beside if told] == [None, None]
    town.run(SUNDAY)
    assert town.slice_of("feed:toilets", SUNDAY) == accepted
    town.until(MONDAY)
    town.publish("toilets.geojson", toilets(8))
    town.run(MONDAY)
    assert "failed" not in town.counts()


# Licences


@pytest.mark.parametrize(
    ("licence", "rule"),
    [("CC-BY-SA-4.0", "share_alikes_differ"), ("CC-BY-4.0", "permission_needed")],
)
def test_a_feed_whose_licence_may_not_be_combined_is_not_even_asked(
    tmp_path: Path, licence: str, rule: str
) -> None:
    def feeds(server: FeedServer) -> list[dict[str, Any]]:
        barred = table_of(TOILETS, server, "barred.geojson", slug="barred", licence=licence)
        del barred["permission"]
        open_ = table_of(TOILETS, server, "toilets.geojson", licence="ODbL-1.0")
        return [barred, open_]

    with world_in(tmp_path, f"sqlite:///{tmp_path}/staging.gpkg", feeds) as town:
        town.publish("toilets.geojson", toilets())
        town.publish("barred.geojson", toilets())
        result = town.run(SATURDAY)
        assert len(town.places("osm", SATURDAY)) == 4
        assert len(town.places("feed:toilets", SATURDAY)) == 20
        assert town.slice_of("feed:barred", SATURDAY) is None
        (failed,) = town.counts()["failed"].items()
        assert failed[0] == "feed:barred"
        assert failed[1].startswith(f"licence_conflict: {rule}: ")
        assert f"licence_conflict: {rule}" in metadata(result, "helper_places")["feeds"]
        assert not any("barred" in request.path for request in town.server.requests)


def test_a_feed_without_a_licence_is_refused_where_the_cities_are_read_with_all_its_mistakes(
    tmp_path: Path,
) -> None:
    mistaken = {key: value for key, value in TOILETS.items() if key != "licence"} | {
        "kinds": {"WC": "toilet"},
        "fields": {"nmae": "TITLE"},
        "minimum": 0,
        "delimiter": ";",
    }
    unknown = {**FOUNTAINS, "licence": "CC-BY-NC-4.0"}
    city = TOWN | {"bbox": list(BBOX), "feed": [mistaken, unknown]}
    path = write_cities(tmp_path / "cities.toml", [city])
    with pytest.raises(CitiesFileError) as caught:
        load_cities(path)
    said = str(caught.value)
    assert 'feed[1] "toilets": licence: is missing' in said
    for key in ("kinds", "fields", "minimum", "delimiter"):
        assert f'feed[1] "toilets": {key}: ' in said
    assert 'feed[2] "fountains": licence: ' in said


# Several cities


def test_feeds_of_one_name_in_two_cities_never_mix(tmp_path: Path, database_url: str) -> None:
    west, south, east, north = BBOX
    middle = 24.93  # between toilets 9 and 11; the tenth is east of it
    clock = ScriptedClock(NOON)
    write_nodes(tmp_path / "osm.pbf", OSM_NODES, at=NOON - timedelta(hours=2))
    with FeedServer() as server:
        windows = {"left": [west, south, middle, north], "right": [middle, south, east, north]}
        cities = [
            TOWN
            | {
                "slug": slug,
                "name": {"en": slug},
                "bbox": bbox,
                "osm_source": "extract",
                "osm_extract": str(tmp_path / "osm.pbf"),
                "feed": [table_of(TOILETS, server, f"{slug}.geojson")],
            }
            for slug, bbox in windows.items()
        ]
        with installed(tmp_path, database_url, cities=cities, clock=clock) as here:
            world = World(here, server, clock)
            server.default = modified(toilets(), NOON - timedelta(hours=1))
            for slug in windows:
                world.run(SATURDAY, city=slug)
            left, right = (world.places("feed:toilets", SATURDAY, city=slug) for slug in windows)
            assert left.keys() | right.keys() == {f"{number}#toilets" for number in range(1, 21)}
            assert left.keys() & right.keys() == set()
            # One city's bad day is no other's.
            server.default = Reply(503)
            world.run(SATURDAY, city="left", refetch=True)
            world.run(SATURDAY, city="right")
            assert "failed" not in world.counts()
            assert world.places("feed:toilets", SATURDAY, city="right") == right


# Plans


def planned(world: World, day: date, city: City | None = None) -> PlannedDay:
    workshop = world.here.workshop
    city = city or workshop.cities.get("town")
    kept = look(workshop.lake, workshop.engine, city, [day], dataset=HELPER)
    (told,) = plan(city, [day], settings=workshop.settings, kept=kept, now=world.clock.now())
    return told


def test_a_day_is_planned_as_staged_where_no_feed_is_left_to_read_or_to_ask(town: World) -> None:
    town.publish("toilets.geojson", Reply(503))
    town.run(SATURDAY)
    told = planned(town, SATURDAY)
    assert (told.way, told.words) == (
        "snapshot",
        "replayed from the lake; feeds to read or to ask: toilets",
    )
    town.publish("toilets.geojson", toilets())
    town.run(SATURDAY)
    assert planned(town, SATURDAY).is_staged
    town.until(SUNDAY)
    town.publish("toilets.geojson", b"<html>closed for ever</html>")
    town.run(SUNDAY)
    assert planned(town, SUNDAY).is_staged, "asking once more would bring the same page"


def test_a_day_is_planned_again_where_the_cities_file_says_something_else_of_a_feed(
    town: World,
) -> None:
    town.run(SATURDAY)
    city = town.here.workshop.cities.get("town")
    assert planned(town, SATURDAY).is_staged
    one, other = city.feeds
    strict = replace(city, feeds=(replace(one, minimum=one.minimum + 1), other))
    assert planned(town, SATURDAY, strict).words.endswith("ask: toilets")
    new = replace(city, feeds=(*city.feeds, replace(one, slug="new")))
    assert planned(town, SATURDAY, new).words.endswith("ask: new")
    moved = replace(city, feeds=(replace(one, location=town.server.address("moved")), other))
    assert planned(town, SATURDAY, moved).words.endswith("ask: toilets")
    barred = replace(city, feeds=(*city.feeds, replace(one, slug="new", permission=None)))
    assert planned(town, SATURDAY, barred).is_staged


def test_a_feed_that_has_moved_is_asked_at_its_new_place(town: World) -> None:
    town.run(SATURDAY)
    workshop = town.here.workshop
    city = workshop.cities.get("town")
    one, other = city.feeds
    moved = replace(one, location=town.server.address("moved.geojson"))
    cities = Cities(workshop.cities.path, (replace(city, feeds=(moved, other)),))
    town.here = replace(
        town.here,
        workshop=PipelineResources(
            workshop.settings, cities, clock=workshop.clock, retrying=workshop.retrying
        ),
    )
    town.publish("moved.geojson", toilets(30))
    town.run(SATURDAY)
    assert len(town.places("feed:toilets", SATURDAY)) == 30
    town.here.workshop.engine.dispose()


# Unchanged feeds


def unless_known(body: bytes, at: datetime, etag: str) -> Callable[[Request], Reply]:
    """Answer as a server does that knows conditional requests."""
    full = modified(body, at)
    full = replace(full, headers={**full.headers, "ETag": etag})

    def answer(request: Request) -> Reply:
        return Reply(304) if request.headers.get("if-none-match") == etag else full

    return answer


def asked_for(world: World, name: str) -> list[Request]:
    return [request for request in world.server.requests if f"/{name}?" in request.path]


def stored(world: World, day: date) -> Any:
    feed = world.here.workshop.cities.get("town").feeds[0]
    city = world.here.workshop.cities.get("town")
    found = world.here.workshop.lake.accepted(feed.dataset, "town", city.boundary_key, day)
    assert found is not None
    return found


def test_an_unchanged_feed_is_the_snapshot_of_the_next_day_without_a_download(
    town: World,
) -> None:
    edited = noon_of(SATURDAY) - timedelta(hours=3)
    town.publish("toilets.geojson", unless_known(toilets(), edited, '"v7"'))
    town.run(SATURDAY)
    town.until(SUNDAY)
    town.run(SUNDAY)
    first, second = asked_for(town, "toilets.geojson")
    assert "if-none-match" not in first.headers
    assert second.headers["if-none-match"] == '"v7"'
    saturday, sunday = (stored(town, day) for day in (SATURDAY, SUNDAY))
    assert sunday.digest == saturday.digest
    assert sunday.as_of == saturday.as_of == edited
    assert saturday.parts[0].query is None
    assert re.fullmatch(
        r'If-None-Match: "v7"; If-Modified-Since: .* GMT; answered 304 Not Modified: '
        r"the bytes of 2024-06-01T12:01:00Z",
        sunday.parts[0].query,
    )
    assert sunday.fetched_at == noon_of(SUNDAY) + timedelta(minutes=1)
    told = town.slice_of("feed:toilets", SUNDAY)
    assert told is not None
    assert (told["rows"], told["stale_reason"], told["as_of"]) == (20, None, edited)
    assert SECRET not in sunday.parts[0].query


def test_an_unchanged_feed_that_has_become_too_old_is_stale(town: World) -> None:
    edited = noon_of(SATURDAY) - timedelta(days=6, hours=12)
    town.publish("toilets.geojson", unless_known(toilets(), edited, '"v7"'))
    town.run(SATURDAY)
    town.until(MONDAY)
    town.run(MONDAY)
    told = town.slice_of("feed:toilets", MONDAY)
    assert told is not None
    assert "feed_stale" in told["stale_reason"]


def test_a_refetch_downloads_a_feed_that_has_not_changed(town: World) -> None:
    edited = noon_of(SATURDAY) - timedelta(hours=3)
    town.publish("toilets.geojson", unless_known(toilets(), edited, '"v7"'))
    town.run(SATURDAY)
    town.run(SATURDAY, refetch=True)
    first, second = asked_for(town, "toilets.geojson")
    assert "if-none-match" not in first.headers.keys() | second.headers.keys()


def test_bytes_that_are_damaged_in_the_lake_are_downloaded_again(town: World) -> None:
    edited = noon_of(SATURDAY) - timedelta(hours=3)
    town.publish("toilets.geojson", unless_known(toilets(), edited, '"v7"'))
    town.run(SATURDAY)
    (town.here.folder / "lake" / stored(town, SATURDAY).parts[0].key).write_bytes(b"damaged")
    town.until(SUNDAY)
    town.run(SUNDAY)
    assert "if-none-match" not in asked_for(town, "toilets.geojson")[1].headers
    assert len(town.places("feed:toilets", SUNDAY)) == 20


def test_what_a_refused_feed_rejects_is_kept_and_the_reason_names_the_key(town: World) -> None:
    features = [toilet(number, TYPE="URINAL") for number in range(1, 21)]
    town.publish("toilets.geojson", geojson(features))
    town.run(SATURDAY)
    failed = town.counts()["failed"]["feed:toilets"]
    assert "Rejected: 20 unknown_kind (such as record/1: TYPE is 'URINAL'" in failed
    assert "does not have: 'URINAL' (20). Add them to kinds." in failed
    pipeline = town.here.workshop
    city = pipeline.cities.get("town")
    key = ("feed-toilets", "town", city.boundary_key, SATURDAY)
    (kept,) = pipeline.lake.last_rejections(*key)
    assert (kept["reason"], kept["count"], len(kept["examples"])) == ("unknown_kind", 20, 5)
    assert kept["examples"][0]["raw"]["TYPE"] == "URINAL"
    town.publish("toilets.geojson", toilets())
    town.run(SATURDAY, refetch=True)
    assert pipeline.lake.last_rejections(*key) == []


def test_a_secret_header_comes_from_the_settings_and_is_kept_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def feeds(server: FeedServer) -> list[dict[str, Any]]:
        keyed = table_of(TOILETS, server, "toilets.geojson", headers={"X-Api-Key": "exempel"})
        return [keyed | {"location": server.address("toilets.geojson")}]

    secrets = {"exempel": SECRET}
    with (
        caplog.at_level(logging.DEBUG),
        world_in(tmp_path, f"sqlite:///{tmp_path}/s.gpkg", feeds, feed_secret=secrets) as world,
    ):
        world.publish("toilets.geojson", toilets())
        world.run(SATURDAY)
        (request,) = asked_for_exactly(world, "/toilets.geojson")
        assert request.headers["x-api-key"] == SECRET
        assert len(world.places("feed:toilets", SATURDAY)) == 20
    assert SECRET not in caplog.text
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in written if SECRET.encode() in path.read_bytes()] == []


def asked_for_exactly(world: World, path: str) -> list[Request]:
    return [request for request in world.server.requests if request.path == path]


def test_a_place_with_an_id_by_position_is_the_same_after_a_small_correction(
    tmp_path: Path,
) -> None:
    def feeds(server: FeedServer) -> list[dict[str, Any]]:
        return [table_of(TOILETS, server, "toilets.geojson", record_id="@position")]

    with world_in(tmp_path, f"sqlite:///{tmp_path}/s.gpkg", feeds) as world:
        world.publish("toilets.geojson", toilets())
        world.run(SATURDAY)
        before = world.places("feed:toilets", SATURDAY)
        features = [toilet(number) for number in range(1, 21)]
        for number, feature in enumerate(features):  # by 2 m, in all directions
            angle = math.radians(number * 18)
            feature["geometry"]["coordinates"][0] += 2 / 55_500 * math.cos(angle)
            feature["geometry"]["coordinates"][1] += 2 / 111_400 * math.sin(angle)
        world.until(SUNDAY)
        world.publish("toilets.geojson", geojson(features))
        world.run(SUNDAY)
        assert world.places("feed:toilets", SUNDAY) == before
        assert len(before) == 20
        counts = world.counts()["sources"]["feed:toilets"]
        assert (counts["added"], counts["changed"], counts["removed"]) == (0, 20, 0)
