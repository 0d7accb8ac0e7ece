"""A candidate snapshot: what takes it off its day, and what is no fault of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.core.parallel import ProcessDied
from ingestion_pipeline.defs.snapshots import MAX_CANDIDATE_READS, reading_candidate
from ingestion_pipeline.defs.work import ClaimedPartition
from ingestion_pipeline.lake.errors import LakeUnavailable, SnapshotDamaged, SnapshotNotUnderstood
from ingestion_pipeline.lake.snapshots import Manifest
from ingestion_pipeline.osm.errors import BoundaryBroken, OverpassTruncated
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.errors import DatabaseUnavailable
from ingestion_pipeline_tests.support.installation import TODAY, Installation, ScriptedClock
from testbed.towns import NOON

if TYPE_CHECKING:
    from pathlib import Path

    from ingestion_pipeline_tests.support.installations import Install


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
