"""The job, from raw bytes to staged rows, as Dagster runs it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import dagster as dg
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from PIL import Image
from pydantic import SecretStr

from ingestion_pipeline.core.identity import CityDay
from ingestion_pipeline.datasets.registry import selection_of_all
from ingestion_pipeline.defs.partitions import key_and_tags
from ingestion_pipeline.lake.snapshots import Lake, Part
from ingestion_pipeline.osm.selection import overpass_box, overpass_query
from ingestion_pipeline.staging.tables import (
    ingestion_run,
    poi_ingestion_staging,
    staged_partition,
)
from ingestion_pipeline_tests.support.installation import (
    TODAY,
    ScriptedClock,
    contents,
    failure,
    installed,
    metadata,
    overpass_cafes,
    town_boundary,
    why,
)
from ingestion_pipeline_tests.support.overpass_server import OverpassServer, Reply, overpass_json
from testbed.towns import NOON, TOWN, write_extract, write_nodes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ingestion_pipeline_tests.support.installation import Installation
    from ingestion_pipeline_tests.support.installations import Install

TOWN_KEY = "town|2024-06-01"
PASSWORD = "Unspeakable-Secret-7"


def test_the_sample_is_staged_and_every_asset_says_what_a_person_needs(
    tmp_path: Path, database_url: str
) -> None:
    with installed(tmp_path, database_url, stored=True) as here:
        result = here.run()
        assert result.success, why(result)
        snapshot = metadata(result, "osm_snapshot")
        pois = metadata(result, "osm_pois")
        staged = metadata(result, "poi_staging")
        (run,) = here.ledger()
        rows = here.count(poi_ingestion_staging)
    assert rows > 2000
    assert snapshot == {
        "as_of": 1555840214.0,
        "as_of_source": "newest_object",
        "obtained": "extract",
        "location": snapshot["location"],
        "replayed": False,
        "fetched_at": snapshot["fetched_at"],
        "raw_bytes": 685_110,
        "stored_bytes": 685_110,
        "parts": 1,
        "digest": "b73e9c2c82054d654209b0127f1c3287d5900d6780a6083bf3a45ead8ba3e5ee",
        "query": "```\nnone: a file\n```",
        "licence": "ODbL-1.0",
        "attribution": "© OpenStreetMap contributors",
        "runbook": "/manual/operations/",
    }
    assert snapshot["location"].endswith("Helsinki.osm.pbf")
    assert set(pois) == {
        "dagster/row_count",
        "categories",
        "category_count",
        "only_generic_category",
        "geometry_quality",
        "point_source",
        "status",
        "opening_hours_not_understood",
        "contacts_not_understood",
        "transliterated_names",
        "outside_boundary",
        "rejected",
        "rejections",
        "map",
        "frame",
        "columns",
        "reused",
    }
    assert pois["dagster/row_count"] == rows
    assert len(pois["map"]) < 60_000  # it stays in the event log for ever
    assert 200 < pois["category_count"] < 400
    assert pois["categories"].startswith("| category | POIs |\n|---|---:|\n")
    for name in ("geometry_quality", "point_source", "status"):
        numbers = re.findall(r"\| ([\d,]+) \|$", pois[name], re.MULTILINE)
        assert sum(int(number.replace(",", "")) for number in numbers) == rows
    assert staged == {
        "dagster/row_count": rows,
        "added": rows,
        "changed": 0,
        "removed": 0,
        "rejected": pois["rejected"],
        "written": rows,
        "as_of": snapshot["as_of"],
        "as_of_source": "newest_object",
        "digest": snapshot["digest"],
        "rules_version": staged["rules_version"],
        "covered_share": 1.0,
        "covered_by": "header",
        "database": staged["database"],
        "interactive_map": "```\npoi-ingest map --city helsinki --day 2019-04-21\n```",
        "columns": "/manual/data-dictionary/",
    }
    assert (run.status, run.trigger, run.attempt) == ("SUCCEEDED", "ui", 1)
    assert run.dagster_run_id == result.run_id
    assert run.as_of is not None
    assert run.as_of.timestamp() == snapshot["as_of"]
    assert run.counts == {
        "rows": rows,
        "added": rows,
        "changed": 0,
        "removed": 0,
        "rejected": pois["rejected"],
        "written": rows,
    }


@pytest.fixture
def town(install_town: Callable[..., Installation], tmp_path: Path) -> Installation:
    """The invented town, from an extract with two cafés."""
    extract = write_extract(tmp_path / "town.osm.pbf", {1: "A", 2: "B"})
    city = {"osm_source": "extract", "osm_extract": str(extract)}
    return install_town(city=city, clock=ScriptedClock(NOON))


def test_the_map_is_a_picture(town: Installation) -> None:
    markdown = metadata(town.run(TOWN_KEY), "osm_pois")["map"]
    found = re.fullmatch(r"!\[\d+ POIs\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", markdown)
    assert found is not None
    picture = Image.open(io.BytesIO(base64.b64decode(found[1])))
    assert picture.format == "PNG"
    assert picture.getcolors() is not None
    assert len(picture.getcolors() or []) > 2


def test_running_again_replays_the_snapshot_and_writes_nothing(
    tmp_path: Path, database_url: str
) -> None:
    extract = tmp_path / "town.osm.pbf"
    write_extract(extract, {1: "A", 2: "B"})
    city = TOWN | {"osm_source": "extract", "osm_extract": str(extract)}
    with installed(tmp_path, database_url, cities=[city], clock=ScriptedClock(NOON)) as here:
        assert here.run(TOWN_KEY).success
        before = contents(here.engine, but=frozenset(), tables=[poi_ingestion_staging])
        partition = contents(here.engine, but=frozenset(), tables=[staged_partition])
        extract.unlink()  # what is replayed needs no upstream
        again = here.run(TOWN_KEY)
        assert metadata(again, "osm_snapshot")["replayed"] is True
        assert metadata(again, "poi_staging")["written"] == 0
        assert contents(here.engine, but=frozenset(), tables=[poi_ingestion_staging]) == before
        assert contents(here.engine, but=frozenset(), tables=[staged_partition]) == partition
        assert [run.status for run in here.ledger()] == ["SUCCEEDED", "SUCCEEDED"]


def test_a_frame_that_was_made_from_the_very_same_is_taken_as_it_is(
    town: Installation, tmp_path: Path
) -> None:
    first = town.run(TOWN_KEY)
    assert metadata(first, "osm_pois")["reused"] is False
    shutil.rmtree(tmp_path / "lake/raw")  # raw bytes are not read again
    again = town.run(TOWN_KEY)
    assert again.success, why(again)
    pois = metadata(again, "osm_pois")
    assert pois == metadata(first, "osm_pois") | {"reused": True, "map": pois["map"]}
    assert metadata(again, "poi_staging")["written"] == 0


@pytest.mark.parametrize("what", ["gone", "damaged", "another writer's"])
def test_a_frame_that_cannot_be_used_is_made_again(
    town: Installation, tmp_path: Path, what: str
) -> None:
    assert town.run(TOWN_KEY).success
    (frame,) = (tmp_path / "lake/frames").rglob("*.parquet")
    rows = pq.read_table(frame)
    if what == "gone":
        frame.unlink()
    elif what == "damaged":
        frame.write_bytes(frame.read_bytes()[:100])
    else:
        pq.write_table(rows.replace_schema_metadata(None), frame)
    again = town.run(TOWN_KEY)
    assert again.success, why(again)
    assert metadata(again, "osm_pois")["reused"] is False
    assert metadata(again, "poi_staging")["written"] == 0
    assert pq.read_table(frame).equals(rows)


def test_a_frame_of_earlier_code_is_made_again_before_a_row_of_it_is_read(
    town: Installation, tmp_path: Path
) -> None:
    assert town.run(TOWN_KEY).success
    (frame,) = (tmp_path / "lake/frames").rglob("*.parquet")
    rows = pq.read_table(frame)
    # As it was written by code that did not hash yet, and so had another digest.
    now = inputs_digest(town).encode()
    earlier = {
        key: value.replace(now, b"0" * len(now)) for key, value in rows.schema.metadata.items()
    }
    assert earlier != rows.schema.metadata
    without = rows.drop_columns(["content_hash"]).replace_schema_metadata(earlier)
    pq.write_table(without, frame)
    assert failure(town.run(TOWN_KEY, only=["poi_staging"]))[0] == "frame_outdated"
    again = town.run(TOWN_KEY)
    assert again.success, why(again)
    assert metadata(again, "osm_pois")["reused"] is False
    assert metadata(again, "poi_staging")["written"] == 0
    assert pq.read_table(frame).equals(rows)


@pytest.mark.parametrize(
    "change",
    [
        {"languages": ["de", "en"]},
        {"local_language": "de"},
        {"country": "SE"},
        {"name": {"en": "Town", "de": "Stadt"}},
        {"minimum_pois": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_frame_is_made_again_when_the_cities_file_says_otherwise_and_the_day_is_compared_again(
    install_town: Callable[..., Installation], tmp_path: Path, change: dict[str, Any]
) -> None:
    extract = write_extract(tmp_path / "town.osm.pbf", {1: "A", 2: "B"})
    city = {"osm_source": "extract", "osm_extract": str(extract)}
    assert install_town(city=city, clock=ScriptedClock(NOON)).run(TOWN_KEY).success
    here = install_town(city=city | change, clock=ScriptedClock(NOON))
    before = inputs_digest(here)
    result = here.run(TOWN_KEY)
    assert metadata(result, "osm_snapshot")["replayed"] is True
    assert metadata(result, "osm_pois")["reused"] is False
    assert inputs_digest(here) != before
    assert metadata(here.run(TOWN_KEY), "osm_pois")["reused"] is True


def inputs_digest(here: Installation) -> str:
    with here.engine.connect() as connection:
        kept: str = connection.execute(sa.select(staged_partition.c.inputs_digest)).scalar_one()
    return kept


def test_rows_that_somebody_deleted_are_staged_again_from_the_frame(town: Installation) -> None:
    assert town.run(TOWN_KEY).success
    before = contents(town.engine, tables=[poi_ingestion_staging])
    with town.engine.begin() as connection:
        connection.execute(
            sa.delete(poi_ingestion_staging).where(poi_ingestion_staging.c.name == "A")
        )
    again = town.run(TOWN_KEY)
    assert metadata(again, "osm_pois")["reused"] is True
    assert metadata(again, "poi_staging")["written"] == 1
    assert contents(town.engine, tables=[poi_ingestion_staging]) == before


def test_a_refetch_asks_upstream_again_and_keeps_the_old_bytes(
    install_town: Callable[..., Installation], tmp_path: Path
) -> None:
    extract = write_extract(tmp_path / "town.osm.pbf", {1: "A", 2: "B"})
    city = {"osm_source": "extract", "osm_extract": str(extract)}
    here = install_town(city=city, clock=ScriptedClock(NOON))
    first = metadata(here.run(TOWN_KEY), "osm_snapshot")
    write_extract(extract, {1: "A", 2: "New", 3: "C"})
    assert metadata(here.run(TOWN_KEY), "poi_staging")["written"] == 0
    again = here.run(TOWN_KEY, refetch=True)
    second = metadata(again, "osm_snapshot")
    assert second["replayed"] is False
    assert second["digest"] != first["digest"]
    assert metadata(again, "poi_staging")["dagster/row_count"] == 3
    assert metadata(again, "poi_staging")["written"] == 3  # one deleted, two inserted
    assert len(list((tmp_path / "lake/raw").glob("*/*"))) == 2
    assert metadata(here.run(TOWN_KEY), "osm_snapshot")["digest"] == second["digest"]


def test_the_query_is_shown_and_no_secret_is_stored_anywhere(
    tmp_path: Path, postgis_url: str
) -> None:
    database = urlsplit(postgis_url)
    secret = database.password or PASSWORD
    if database.password is None:
        user = f"{database.username}:{PASSWORD}@"
        place = database.netloc.rpartition("@")[2]
        postgis_url = urlunsplit(database._replace(netloc=user + place))
    with (
        OverpassServer(Reply(body=overpass_json(overpass_cafes({1: "A"}), base=_text()))) as server,
        installed(
            tmp_path,
            postgis_url,
            cities=[TOWN],
            clock=ScriptedClock(NOON),
            stored=True,
            overpass_url=server.url.replace("http://", f"http://me:{PASSWORD}@")
            + f"?key={PASSWORD}",
        ) as here,
    ):
        result = here.run(TOWN_KEY)
        assert result.success, why(result)
        snapshot = metadata(result, "osm_snapshot")
        assert snapshot["location"] == server.url
        assert server.queries[0] in snapshot["query"]
        assert "***@" in metadata(result, "poi_staging")["database"]
        server.enqueue(Reply(400, f"<p>no {server.requests[0].path}</p>", "text/html"))
        error_code, words = failure(here.run(TOWN_KEY, refetch=True))
        assert error_code == "overpass_rejected"
        assert PASSWORD not in words
        assert any(f"key={PASSWORD}" in request.path for request in server.requests)
        everything = contents(here.engine, but=frozenset())
    assert PASSWORD not in str(everything)
    holders = [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and any(word.encode() in path.read_bytes() for word in {PASSWORD, secret})
    ]
    assert holders == []


def test_no_secret_is_told_when_the_database_is_gone(
    install_town: Callable[..., Installation], tmp_path: Path
) -> None:
    here = install_town(stored=True)
    lost = SecretStr(f"postgresql://me:{PASSWORD}@127.0.0.1:1/nowhere")
    settings = here.workshop.settings.model_copy(update={"database_url": lost})
    result = replace(here, workshop=replace(here.workshop, settings=settings)).run(TOWN_KEY)
    error_code, words = failure(result)
    assert error_code == "database_unavailable"
    assert "me:***@127.0.0.1" in words
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("tags", "error_code"),
    [
        ({"dagster/partition": "helsinki"}, "bad_partition_key"),
        (
            {
                "dagster/partition": "nowhere|2019-04-21",
                "dagster/partition/city": "nowhere",
                "dagster/partition/day": "2019-04-21",
            },
            "unknown_city",
        ),
        (
            {
                "dagster/partition": "2019-04-21|helsinki",
                "dagster/partition/city": "2019-04-21",
                "dagster/partition/day": "helsinki",
            },
            "bad_partition_key",
        ),
        (
            {
                "dagster/partition": "helsinki|2019-02-30",
                "dagster/partition/city": "helsinki",
                "dagster/partition/day": "2019-02-30",
            },
            "bad_partition_key",
        ),
        ({}, "bad_partition_key"),
        (
            {
                "dagster/asset_partition_range_start": "helsinki|2019-04-21",
                "dagster/asset_partition_range_end": "helsinki|2019-04-23",
            },
            "bad_partition_key",
        ),
    ],
    ids=["no day", "no such city", "swapped", "no such day", "none", "a range"],
)
def test_a_partition_that_graphql_did_not_validate_ends_in_a_clear_failure(
    install: Callable[..., Installation], tags: dict[str, str], error_code: str
) -> None:
    here = install()
    result = here.run(None, tags=tags)
    code, words = failure(result)
    assert code == error_code
    assert "has no city" in words or "launch" in words
    assert here.count(ingestion_run) == 0
    assert not [event for event in result.all_events if event.is_step_restarted]


def test_a_day_before_the_first_partition_of_the_process_ends_in_a_clear_failure(
    install_town: Install,
) -> None:
    here = install_town(partitions_start=date(2024, 6, 2))
    _, tags = key_and_tags(CityDay("town", date(2024, 6, 1)), first=date(2024, 6, 2))
    code, words = failure(here.run(None, tags=tags))
    assert code == "bad_partition_key"
    assert "they begin at 2024-06-02. Set PARTITIONS_START" in words
    (job,) = here.ledger()
    assert (job.status, job.error_code) == ("FAILED", "bad_partition_key")


@pytest.mark.parametrize("day", ["2019-04-20", "2019-04-22"])
def test_a_past_day_without_evidence_fails_and_says_why(
    install: Callable[..., Installation], day: str
) -> None:
    here = install()
    code, words = failure(here.run(f"helsinki|{day}"))
    assert code == "no_evidence_for_day"
    assert "is dated 2019-04-21T09:50:14Z" in words
    (run,) = here.ledger()
    assert (run.status, run.error_code, run.error_message) == ("FAILED", code, words)
    assert here.manifests() == []
    assert here.count(staged_partition) == 0


def test_a_day_that_has_not_begun_fails(install_town: Callable[..., Installation]) -> None:
    here = install_town(
        clock=ScriptedClock(NOON), overpass_url="http://127.0.0.1:1/api/interpreter"
    )
    assert failure(here.run("town|2024-06-02"))[0] == "future_day"
    assert here.ledger()[0].status == "FAILED"


@pytest.mark.parametrize("last", ["osm_snapshot", "osm_pois"])
def test_a_run_of_earlier_assets_only_ends_as_canceled_because_nothing_was_staged(
    town: Installation, last: str
) -> None:
    chain = ["osm_snapshot", "osm_pois"]
    assert town.run(TOWN_KEY, only=chain[: chain.index(last) + 1]).success
    (run,) = town.ledger()
    assert (run.status, run.error_code) == ("CANCELED", "not_staged")
    assert last in (run.error_message or "")
    assert town.count(staged_partition) == 0


def test_the_assets_can_be_materialized_one_run_each(town: Installation) -> None:
    for name in ("osm_snapshot", "osm_pois", "poi_staging"):
        assert town.run(TOWN_KEY, only=[name]).success
    assert sorted(run.status for run in town.ledger()) == ["CANCELED", "CANCELED", "SUCCEEDED"]
    assert town.count(poi_ingestion_staging) == 2


def test_staging_without_a_frame_says_what_to_materialize_first(town: Installation) -> None:
    code, words = failure(town.run(TOWN_KEY, only=["poi_staging"]))
    assert code == "snapshot_missing"
    assert "Materialize" in words
    assert town.ledger()[0].status == "FAILED"


def test_a_day_with_too_few_pois_is_refused_and_fetched_anew_by_the_next_run(
    install_town: Callable[..., Installation], tmp_path: Path
) -> None:
    extract = write_extract(tmp_path / "town.osm.pbf", {1: "A"})
    city = {"osm_source": "extract", "osm_extract": str(extract), "minimum_pois": 2}
    here = install_town(city=city, clock=ScriptedClock(NOON))
    code, words = failure(here.run(TOWN_KEY))
    assert code == "too_few_pois"
    assert ".refused-" in words
    assert here.manifests() == []
    assert here.count(poi_ingestion_staging) == here.count(staged_partition) == 0
    write_extract(extract, {1: "A", 2: "B"})
    again = here.run(TOWN_KEY)
    assert again.success
    assert metadata(again, "osm_snapshot")["replayed"] is False
    assert sorted(run.status for run in here.ledger()) == ["FAILED", "SUCCEEDED"]


def test_the_later_steps_of_a_run_whose_snapshot_was_refused_take_another_one(
    install_town: Callable[..., Installation], tmp_path: Path
) -> None:
    extract = write_extract(tmp_path / "town.osm.pbf", {1: "A"})
    city = {"osm_source": "extract", "osm_extract": str(extract), "minimum_pois": 2}
    here = install_town(city=city, clock=ScriptedClock(NOON))
    assert failure(here.run(TOWN_KEY))[0] == "too_few_pois"
    write_extract(extract, {1: "A", 2: "B"})
    again = here.run(TOWN_KEY, only=["osm_pois", "poi_staging"])
    assert again.success, why(again)
    assert metadata(again, "poi_staging")["dagster/row_count"] == 2
    assert [path.name for path in here.manifests()] == ["2024-06-01.json"]


def test_an_answer_that_no_code_foresaw_does_not_stand_in_the_way_of_the_good_one(
    install_town: Callable[..., Installation],
) -> None:
    good = overpass_json(overpass_cafes({10: "A"}), base=_text())
    beyond = overpass_json(
        [each | {"id": 2**63} for each in overpass_cafes({10: "A"})], base=_text()
    )
    with OverpassServer() as server:
        server.enqueue(Reply(body=good), Reply(body=beyond))
        here = install_town(clock=ScriptedClock(NOON), overpass_url=server.url)
        first = here.run(TOWN_KEY)
        assert first.success, why(first)
        assert not here.run(TOWN_KEY, refetch=True).success
        replay = here.run(TOWN_KEY)
        assert replay.success, why(replay)
        assert (
            metadata(replay, "osm_snapshot")["digest"] == metadata(first, "osm_snapshot")["digest"]
        )


def test_a_bad_refetch_leaves_the_days_good_snapshot_where_it_was(
    install_town: Callable[..., Installation], tmp_path: Path
) -> None:
    extract = write_extract(tmp_path / "town.osm.pbf", {1: "A", 2: "B"})
    city = {"osm_source": "extract", "osm_extract": str(extract), "minimum_pois": 2}
    here = install_town(city=city, clock=ScriptedClock(NOON))
    good = metadata(here.run(TOWN_KEY), "osm_snapshot")["digest"]
    write_extract(extract, {1: "A"})
    assert failure(here.run(TOWN_KEY, refetch=True))[0] == "too_few_pois"
    replay = here.run(TOWN_KEY)
    assert metadata(replay, "osm_snapshot")["digest"] == good
    assert metadata(replay, "osm_snapshot")["replayed"] is True
    assert metadata(replay, "poi_staging")["written"] == 0


def test_a_snapshot_that_stood_for_its_day_stays_though_the_settings_turn_against_it(
    install_town: Callable[..., Installation], tmp_path: Path
) -> None:
    extract = write_extract(tmp_path / "town.osm.pbf", {1: "A", 2: "B"})
    city = {"osm_source": "extract", "osm_extract": str(extract)}
    asked = install_town(city=city, clock=ScriptedClock(NOON))
    assert asked.run(TOWN_KEY).success
    assert metadata(asked.run(TOWN_KEY), "osm_pois")["reused"] is True
    stricter = install_town(city=city | {"minimum_pois": 3}, clock=ScriptedClock(NOON))
    code, words = failure(stricter.run(TOWN_KEY))
    assert code == "too_few_pois"
    assert "set aside" not in words
    (manifest,) = stricter.manifests()
    assert manifest.name == f"{TOWN_KEY.split('|')[1]}.json"


def test_a_frame_of_an_older_snapshot_is_not_staged(
    install_town: Callable[..., Installation], tmp_path: Path
) -> None:
    extract = write_extract(tmp_path / "town.osm.pbf", {1: "A"})
    city = {"osm_source": "extract", "osm_extract": str(extract)}
    here = install_town(city=city, clock=ScriptedClock(NOON))
    assert here.run(TOWN_KEY).success
    write_extract(extract, {1: "B"})
    assert here.run(TOWN_KEY, only=["osm_snapshot"], refetch=True).success
    assert failure(here.run(TOWN_KEY, only=["poi_staging"]))[0] == "frame_outdated"
    assert here.run(TOWN_KEY, only=["osm_pois"]).success
    assert here.run(TOWN_KEY, only=["poi_staging"]).success


def test_an_answer_to_a_smaller_bbox_is_not_replayed_for_a_larger_one(
    install_town: Callable[..., Installation],
) -> None:
    relation = {"boundary_ref": "relation/7"}
    small = overpass_json(overpass_cafes({10: "A"}), boundary=[town_boundary()], base=_text())
    large = overpass_json(
        overpass_cafes({10: "A", 40: "B"}), boundary=[town_boundary()], base=_text()
    )
    with OverpassServer() as server:
        server.enqueue(Reply(body=small), Reply(body=large))
        clock = ScriptedClock(NOON)
        narrow = relation | {"bbox": [10.0, 50.0, 10.04, 50.1]}
        here = install_town(city=narrow, clock=clock, overpass_url=server.url)
        code, words = failure(here.run(TOWN_KEY))
        assert code == "boundary_outside_bbox"
        assert "the next run asks upstream again" in words
        here = install_town(city=relation, clock=clock, overpass_url=server.url)
        assert metadata(here.run(TOWN_KEY), "poi_staging")["dagster/row_count"] == 2
        assert metadata(here.run(TOWN_KEY), "osm_snapshot")["replayed"] is True
        server.enqueue(Reply(body=large))
        wide = relation | {"bbox": [9.9, 49.9, 10.2, 50.2]}
        here = install_town(city=wide, clock=clock, overpass_url=server.url)
        assert metadata(here.run(TOWN_KEY), "osm_snapshot")["replayed"] is False
        assert server.unused == 0


def _text() -> str:
    return NOON.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_boundary_relation_decides_which_features_are_the_citys(
    install_town: Callable[..., Installation],
) -> None:
    cafes = overpass_cafes({10: "inside", 90: "outside"})
    body = overpass_json(cafes, boundary=[town_boundary()], base=_text())
    with OverpassServer(Reply(body=body)) as server:
        here = install_town(
            city={"boundary_ref": "relation/7"},
            clock=ScriptedClock(NOON),
            overpass_url=server.url,
        )
        result = here.run(TOWN_KEY)
        assert metadata(result, "osm_pois")["outside_boundary"] == 1
        assert metadata(result, "poi_staging")["dagster/row_count"] == 1
        assert here.ledger()[0].boundary_ref == "relation/7"
        area = here.workshop.cities.get("town").area
        asked = {
            "day": TOWN_KEY.partition("|")[2],
            "at": "now",
            "box": overpass_box(area.bbox),
            "tags": selection_of_all().digest,
        }
        assert server.queries == [
            overpass_query(
                area,
                bbox=area.bbox,
                with_boundary=True,
                timeout_s=180,
                maxsize_bytes=1 << 28,
                selection=selection_of_all(),
                asked=asked,
            )
        ]


@pytest.mark.parametrize(
    ("city", "error_code"),
    [
        ({"name": {"en": "Elsewhere"}}, "boundary_name_mismatch"),
        ({"bbox": [10.0, 50.0, 10.04, 50.1]}, "boundary_outside_bbox"),
    ],
)
def test_a_boundary_that_cannot_be_the_citys_stages_nothing(
    install_town: Callable[..., Installation], city: dict[str, Any], error_code: str
) -> None:
    body = overpass_json(overpass_cafes({10: "A"}), boundary=[town_boundary()], base=_text())
    with OverpassServer(Reply(body=body)) as server:
        here = install_town(
            city={"boundary_ref": "relation/7"} | city,
            clock=ScriptedClock(NOON),
            overpass_url=server.url,
        )
        assert failure(here.run(TOWN_KEY))[0] == error_code
    (run,) = here.ledger()
    assert (run.status, run.error_code) == ("FAILED", error_code)
    assert here.count(staged_partition) == 0


def test_dagster_knows_the_digest_as_the_version_of_the_snapshots_data(
    town: Installation,
) -> None:
    result = town.run(TOWN_KEY)
    (materialization,) = result.asset_materializations_for_node("osm_snapshot")
    assert materialization.partition == TOWN_KEY
    assert materialization.tags is not None
    assert (
        materialization.tags["dagster/data_version"] == metadata(result, "osm_snapshot")["digest"]
    )
    kept = town.instance.fetch_materializations(dg.AssetKey("poi_staging"), limit=5)
    assert len(kept.records) == 1


@pytest.mark.parametrize(
    ("job_type", "asset"), [("osm_import", "osm_snapshot"), ("helpers_import", "helper_snapshot")]
)
def test_an_extract_that_is_rewritten_in_place_is_not_staged_under_the_time_of_the_old_one(
    job_type: str, asset: str, install_town: Callable[..., Installation], tmp_path: Path
) -> None:
    things = {1: (10.01, 50.01, {"amenity": "cafe"}), 2: (10.01, 50.02, {"amenity": "toilets"})}
    extract = write_nodes(tmp_path / "town.osm.pbf", things, at=NOON)
    newer = write_nodes(
        tmp_path / "newer.osm.pbf", things | {3: (10.02, 50.03, {"amenity": "toilets"})}
    )
    city = {"osm_source": "extract", "osm_extract": str(extract)}
    here = install_town(city=city, clock=ScriptedClock(NOON))

    class LateLake(Lake):
        """A lake that stores only after another program has written into the extract."""

        def store(self, path: Path, **said: Any) -> Part:
            if said["sha256"] is not None and extract.read_bytes() != newer.read_bytes():
                with extract.open("r+b") as file:  # rsync --inplace, curl -o
                    file.write(newer.read_bytes())
            return super().store(path, **said)

    here.workshop.lake = LateLake(here.workshop.settings.data_dir)
    result = here.run(f"town|{TODAY}", job_type=job_type, only=[asset])
    retried = [event for event in result.all_events if event.is_step_up_for_retry]
    assert len(retried) == 1
    assert result.success, why(result)  # the second try finds the new file whole
    (manifest,) = here.manifests()
    (part,) = json.loads(manifest.read_text())["parts"]
    assert part["sha256"] == hashlib.sha256(newer.read_bytes()).hexdigest()
