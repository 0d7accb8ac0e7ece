"""A candidate snapshot: what takes it off its day, and what is no fault of it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest
from dagster._core.errors import DagsterExecutionInterruptedError
from pydantic import SecretStr

from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.core.parallel import ProcessDied
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.defs.assets.city_day import UPSTREAM_POOL
from ingestion_pipeline.defs.snapshots import MAX_CANDIDATE_READS, reading_candidate, take
from ingestion_pipeline.defs.work import ClaimedPartition
from ingestion_pipeline.lake.errors import LakeUnavailable, SnapshotDamaged, SnapshotNotUnderstood
from ingestion_pipeline.lake.snapshots import Manifest
from ingestion_pipeline.osm.errors import BoundaryBroken, OverpassTruncated
from ingestion_pipeline.osm.selection import POIS
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.errors import DatabaseUnavailable
from ingestion_pipeline.staging.tables import (
    helper_place,
    poi_ingestion_staging,
    staged_partition,
)
from ingestion_pipeline_tests.support.installation import (
    TODAY,
    Installation,
    ScriptedClock,
    contents,
    failure,
    metadata,
    overpass_cafes,
    why,
)
from ingestion_pipeline_tests.support.overpass_server import (
    OverpassServer,
    Reply,
    Request,
    overpass_json,
)
from testbed.towns import NOON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingestion_pipeline_tests.support.installations import Install

TOWN_KEY = f"town|{TODAY}"
ROWS = (poi_ingestion_staging, helper_place, staged_partition)


@pytest.fixture
def here(install_town: Install) -> Installation:
    return install_town(clock=ScriptedClock(), partitions_start=date(2020, 1, 1))


@pytest.fixture
def work(here: Installation) -> ClaimedPartition:
    city = here.workshop.cities.get("town")
    claim = runs.claim(
        here.engine,
        JobKey("osm_import", "town", city.boundary_key, TODAY),
        dagster_run_id="run",
        worker="worker",
        trigger="ui",
        is_alive=lambda _: True,
        now=NOON,
    )
    assert isinstance(claim, runs.Claim)
    return ClaimedPartition(city, TODAY, claim)


def proposed(here: Installation, work: ClaimedPartition, folder: Path, body: bytes) -> Manifest:
    """Put bytes on trial for the day."""
    path = folder / "body.json"
    path.write_bytes(body)
    lake = here.workshop.lake
    manifest = Manifest(
        dataset="poi",
        city_slug="town",
        boundary_ref=work.city.boundary_key,
        day=TODAY,
        as_of=NOON,
        as_of_source="timestamp_osm_base",
        obtained="overpass",
        location="https://overpass.example/api",
        bbox=work.city.bbox,
        selection="selection",
        licence="ODbL-1.0",
        attribution="© OpenStreetMap contributors",
        parts=(lake.store(path, query=None, requested_at=NOON, received_at=NOON),),
    )
    lake.propose_candidate(manifest)
    return manifest


def of_day(here: Installation, work: ClaimedPartition) -> Manifest | None:
    return here.workshop.lake.manifest("poi", "town", work.city.boundary_key, TODAY)


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (OverflowError("int too big to convert"), SnapshotNotUnderstood),
        (RecursionError("maximum recursion depth exceeded"), SnapshotNotUnderstood),
        (KeyError("PASSWORD"), SnapshotNotUnderstood),
        (BoundaryBroken("it does not close"), BoundaryBroken),
        (OverpassTruncated("cut"), OverpassTruncated),
        (SnapshotDamaged("other bytes"), SnapshotDamaged),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else "",
)
def test_whatever_a_candidate_brings_to_light_the_one_that_stood_stands_on(
    here: Installation,
    work: ClaimedPartition,
    tmp_path: Path,
    error: Exception,
    becomes: type[Exception],
) -> None:
    good = proposed(here, work, tmp_path, b"good")
    with reading_candidate(here.workshop, work, good):
        pass
    bad = proposed(here, work, tmp_path, b"bad")
    with (
        pytest.raises(becomes, match=r"set aside as .*refused-.*next run asks upstream") as raised,
        reading_candidate(here.workshop, work, bad),
    ):
        raise error
    assert of_day(here, work) == good
    assert "PASSWORD" not in str(raised.value)
    if becomes is SnapshotNotUnderstood:
        assert f"{type(error).__name__} in " in str(raised.value)
        assert bad.parts[0].key in str(raised.value)


def test_an_accepted_snapshot_stays_whatever_reading_it_raises(
    here: Installation, work: ClaimedPartition, tmp_path: Path
) -> None:
    good = proposed(here, work, tmp_path, b"good")
    with reading_candidate(here.workshop, work, good):
        pass
    with (
        pytest.raises(SnapshotNotUnderstood) as raised,
        reading_candidate(here.workshop, work, good),
    ):
        raise OverflowError
    assert "set aside" not in str(raised.value)
    assert of_day(here, work) == good


@pytest.mark.parametrize(
    "error",
    [DatabaseUnavailable("gone"), LakeUnavailable("gone"), OSError(28, "no space left")],
    ids=lambda error: type(error).__name__,
)
def test_a_fault_of_the_machine_leaves_the_candidate_however_often_it_comes(
    here: Installation, work: ClaimedPartition, tmp_path: Path, error: Exception
) -> None:
    candidate = proposed(here, work, tmp_path, b"good")
    for _ in range(MAX_CANDIDATE_READS + 1):
        with pytest.raises(type(error)), reading_candidate(here.workshop, work, candidate):
            raise error
    assert of_day(here, work) == candidate
    with reading_candidate(here.workshop, work, candidate):
        pass
    assert of_day(here, work) == candidate


def of_run(work: ClaimedPartition, number: int) -> ClaimedPartition:
    """Give the same city-day, held by another run."""
    return replace(work, claim=replace(work.claim, dagster_run_id=f"run-{number}"))


@pytest.mark.parametrize("end", [ProcessDied("killed"), MemoryError()])
def test_a_candidate_that_kills_run_after_run_is_quarantined(
    here: Installation, work: ClaimedPartition, tmp_path: Path, end: BaseException
) -> None:
    good = proposed(here, work, tmp_path, b"good")
    with reading_candidate(here.workshop, work, good):
        pass
    deadly = proposed(here, work, tmp_path, b"deadly")
    for number in range(MAX_CANDIDATE_READS):
        for _ in range(4):  # the retries of one run
            with (
                pytest.raises(type(end)),
                reading_candidate(here.workshop, of_run(work, number), deadly),
            ):
                raise end
        assert of_day(here, work) == deadly
    with (
        pytest.raises(SnapshotNotUnderstood, match="3 runs ended without a word"),
        reading_candidate(here.workshop, work, deadly),
    ):
        pytest.fail("it was read once more")
    assert of_day(here, work) == good


@pytest.mark.parametrize("end", [KeyboardInterrupt(), DagsterExecutionInterruptedError()])
def test_a_run_that_is_terminated_says_nothing_of_the_candidate(
    here: Installation, work: ClaimedPartition, tmp_path: Path, end: BaseException
) -> None:
    candidate = proposed(here, work, tmp_path, b"good")
    for number in range(MAX_CANDIDATE_READS + 1):
        with (
            pytest.raises(type(end)),
            reading_candidate(here.workshop, of_run(work, number), candidate),
        ):
            raise end
    with reading_candidate(here.workshop, work, candidate):
        pass
    assert of_day(here, work) == candidate


def test_a_new_candidate_begins_with_no_trials(
    here: Installation, work: ClaimedPartition, tmp_path: Path
) -> None:
    deadly = proposed(here, work, tmp_path, b"deadly")
    for number in range(MAX_CANDIDATE_READS):
        with (
            pytest.raises(MemoryError),
            reading_candidate(here.workshop, of_run(work, number), deadly),
        ):
            raise MemoryError
    other = proposed(here, work, tmp_path, b"other")
    with reading_candidate(here.workshop, work, other):
        pass
    assert of_day(here, work) == other
    assert not [path for path in here.manifests() if "trials" in path.name]


# Snapshots that are fetched


def answer(_: Request) -> Reply:
    elements = [
        *overpass_cafes({1: "A", 2: "B"}),
        {**overpass_cafes({3: ""})[0], "tags": {"amenity": "toilets"}},
        {**overpass_cafes({4: ""})[0], "tags": {"bench": "yes"}},
    ]
    return Reply(body=overpass_json(elements, base=f"{NOON:%Y-%m-%dT%H:%M:%SZ}"))


@pytest.fixture
def server() -> Iterator[OverpassServer]:
    with OverpassServer(default=answer) as server:
        yield server


def fetch(here: Installation, name: str, *, refetch: bool = False) -> Manifest:
    """Do what the step of a dataset does that fetches."""
    city, dataset = here.workshop.cities.get("town"), DATASETS[name]
    claim = runs.claim(
        here.engine,
        JobKey(dataset.job_type, "town", city.boundary_key, TODAY),
        dagster_run_id=name,
        worker=name,
        trigger="cli",
        is_alive=lambda _: True,
        now=NOON,
        refetch=refetch,
    )
    assert isinstance(claim, runs.Claim)
    return take(here.workshop, ClaimedPartition(city, TODAY, claim), dataset)[0]


@pytest.mark.server
def test_one_snapshot_serves_both_jobs_of_a_city_day(
    install_town: Install, server: OverpassServer
) -> None:
    here = install_town(clock=ScriptedClock(), overpass_url=server.url)
    jobs = {"helper_snapshot": "helpers_import", "osm_snapshot": "osm_import"}
    said = []
    for asset, job_type in jobs.items():
        result = here.run(TOWN_KEY, job_type=job_type)
        assert result.success, why(result)
        said.append(metadata(result, asset)["upstream_today"])
    assert len(server.queries) == 1
    host = server.url.split("/")[2]
    assert said[0] == said[1]
    assert said[0].startswith(f"{host} was sent 2 of 10,000 requests, and ")
    assert said[0].endswith(" of 1,000,000,000 bytes were received")
    before = contents(here.engine, tables=ROWS)
    # Cafés and the toilets; the toilets and the bench; a staged day for each.
    assert [len(rows) for rows in before.values()] == [3, 2, 2]
    replayed = here.run(TOWN_KEY)
    assert replayed.success
    assert "upstream_today" not in metadata(replayed, "osm_snapshot")
    assert contents(here.engine, tables=ROWS) == before


@pytest.mark.server
@pytest.mark.parametrize(("first", "second"), [("poi", "helper"), ("helper", "poi")])
def test_the_second_job_takes_the_snapshot_of_the_first_unless_it_refetches(
    install_town: Install, server: OverpassServer, first: str, second: str
) -> None:
    here = install_town(clock=ScriptedClock(), overpass_url=server.url)
    fetched = fetch(here, first)
    taken = fetch(here, second)
    assert taken == replace(fetched, dataset=second)
    assert taken.as_of == NOON
    assert len(server.queries) == 1
    assert fetch(here, second) == taken
    assert len(server.queries) == 1
    fetch(here, second, refetch=True)
    assert len(server.queries) == 2


@pytest.mark.server
def test_a_snapshot_that_was_refused_for_a_dataset_is_not_taken_for_it_again(
    here: Installation, work: ClaimedPartition, server: OverpassServer
) -> None:
    here.workshop.settings = here.workshop.settings.model_copy(
        update={"overpass_url": SecretStr(server.url)}
    )
    fetch(here, "helper")
    taken, _ = take(here.workshop, work, DATASETS["poi"])
    assert len(server.queries) == 1
    with (
        pytest.raises(BoundaryBroken, match="quarantined"),
        reading_candidate(here.workshop, work, taken),
    ):
        raise BoundaryBroken("it does not close")
    take(here.workshop, work, DATASETS["poi"])
    assert len(server.queries) == 2


@pytest.mark.server
def test_only_a_snapshot_that_holds_all_of_that_day_and_server_is_taken(
    install_town: Install, server: OverpassServer
) -> None:
    here = install_town(clock=ScriptedClock(), overpass_url=server.url)
    both = fetch(here, "poi")
    lake = here.workshop.lake
    for number, changed in enumerate(
        (
            replace(both, selection=POIS.digest, selected=POIS.as_json()),
            replace(both, selected=None, selection="of an earlier version"),
            replace(both, location="https://overpass.example/api/interpreter"),
            replace(both, as_of=NOON - timedelta(days=9)),
        ),
        start=2,
    ):
        lake.propose_candidate(changed)
        fetch(here, "helper")
        assert len(server.queries) == number
        for path in here.manifests():
            if "helper" in path.parts:
                path.unlink()


@pytest.mark.server
def test_jobs_of_both_datasets_at_once_ask_once(
    install_town: Install, server: OverpassServer
) -> None:
    """The second waits and then finds the snapshot, also where no pool makes it wait."""
    here = install_town(clock=ScriptedClock(), overpass_url=server.url)
    assert here.ledger() == []
    server.default = lambda request: replace(answer(request), delay_s=0.5)
    with ThreadPoolExecutor(2) as threads:
        poi, helper = threads.map(lambda name: fetch(here, name), ("poi", "helper"))
    assert poi.digest == helper.digest
    assert len(server.queries) == 1


@pytest.mark.server
def test_a_run_whose_budget_is_spent_says_what_to_do(
    install_town: Install, server: OverpassServer
) -> None:
    here = install_town(clock=ScriptedClock(), overpass_url=server.url, overpass_daily_requests=1)
    code, message = failure(here.run(TOWN_KEY))
    assert code == "upstream_budget_spent"
    assert "raise OVERPASS_DAILY_REQUESTS or OVERPASS_DAILY_BYTES" in message
    assert here.ledger()[0].error_code == code
    assert server.queries == []
    assert here.manifests() == []


@pytest.mark.server
def test_a_later_step_that_fetches_waits_for_a_slot_of_the_pool(
    install_town: Install, server: OverpassServer
) -> None:
    here = install_town(clock=ScriptedClock(), overpass_url=server.url, stored=True)
    storage = here.instance.event_log_storage
    storage.initialize_concurrency_limit_to_default(UPSTREAM_POOL)
    assert storage.claim_concurrency_slot(UPSTREAM_POOL, "another", "osm_snapshot").is_claimed
    asked: list[int] = []

    def give_back() -> None:
        while not storage.get_concurrency_info(UPSTREAM_POOL).pending_step_count:
            time.sleep(0.05)
        asked.append(len(server.requests))
        storage.free_concurrency_slots_for_run("another")

    other = threading.Thread(target=give_back)
    other.start()
    result = here.run(TOWN_KEY, only=["osm_pois"])
    other.join()
    assert result.success, why(result)
    assert asked == [0]
    assert len(server.queries) == 1
    assert storage.get_concurrency_info(UPSTREAM_POOL).active_slot_count == 0
