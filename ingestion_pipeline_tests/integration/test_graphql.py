"""What docs/api.md says of GraphQL, done as it stands there against a real webserver."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline_tests.support.installation import overpass_cafes
from ingestion_pipeline_tests.support.overpass_server import OverpassServer, Reply, overpass_json
from testbed.platform_processes import Platform, running_platform, wait_until
from testbed.towns import cafes, town, write_extract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingestion_pipeline.staging.runs import Run
    from ingestion_pipeline_tests.support.overpass_server import Request

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"
SECTION = DOCUMENT.read_text(encoding="utf-8").partition("\n## GraphQL\n")[2]
DAYS = [date(2024, 6, day) for day in range(1, 7)]
CAFES = 99


def blocks(heading: str, language: str) -> list[str]:
    """Give the fenced blocks of a part of the section."""
    part = SECTION.partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


(LAUNCH,) = blocks("Launch one city-day", "graphql")
(LAUNCH_VARIABLES,) = map(json.loads, blocks("Launch one city-day", "json"))
(BACKFILL,) = blocks("Launch a backfill", "graphql")
(BACKFILL_VARIABLES,) = map(json.loads, blocks("Launch a backfill", "json"))
RUN, TERMINATE, BACKFILL_STATUS, CANCEL = blocks("Look and cancel", "graphql")
(PYTHON,) = blocks("From Python", "python")


class Upstream:
    """An Overpass server that lets requests wait until it is opened."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.opened = threading.Event()

    def __call__(self, request: Request) -> Reply:
        del request
        self.asked.set()
        assert self.opened.wait(600)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Reply(body=overpass_json(overpass_cafes(cafes(1)), base=now))


@pytest.fixture(scope="module")
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Platform]:
    """A platform with a city of the name that the document uses, and extracts of its days."""
    folder = tmp_path_factory.mktemp("platform")
    for day in DAYS:
        at = datetime(day.year, day.month, day.day, 20, tzinfo=UTC)
        write_extract(folder / "extracts" / f"{day}.osm.pbf", cafes(0), at=at)
    towns = [
        town(0, slug="kazan"),
        town(1, slug="live", osm_source="overpass"),
        town(2, slug="third"),
    ]
    with (
        OverpassServer(upstream) as server,
        running_platform(folder, towns=towns, OVERPASS_URL=server.url) as platform,
    ):
        yield platform


@dataclass(frozen=True)
class Launched:
    """What Dagster answered to everything that the document shows, done at once."""

    run: dict[str, Any]
    refetch: dict[str, Any]
    backfill: dict[str, Any]
    python: str


@pytest.fixture(scope="module")
def launched(platform: Platform) -> Launched:
    program = PYTHON.replace("port_number=3000", f"port_number={platform.ports['webserver']}")
    return Launched(
        run=platform.graphql(LAUNCH, **LAUNCH_VARIABLES),
        refetch=platform.graphql(LAUNCH, **with_refetch(LAUNCH_VARIABLES, DAYS[5])),
        backfill=platform.graphql(BACKFILL, **BACKFILL_VARIABLES),
        python=subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            capture_output=True,
            text=True,
            check=True,
        ).stdout,
    )


def with_refetch(variables: dict[str, Any], day: date) -> dict[str, Any]:
    """Write the documented run config into the variables of another day."""
    (config,) = re.findall(r"^  `(\{\"ops\".*\})`", SECTION, re.MULTILINE)
    of_day = json.loads(json.dumps(variables).replace(str(DAYS[0]), str(day)))
    return {"parameters": of_day["parameters"] | {"runConfigData": json.loads(config)}}


def ended(platform: Platform, run_id: str) -> Run:
    """Wait until a Dagster run has ended, by the documented query; give its job."""
    finished = {"SUCCESS", "FAILURE", "CANCELED"}
    wait_until(
        lambda: platform.graphql(RUN, id=run_id).get("status") in finished,
        f"run {run_id} has ended",
    )
    (job,) = [job for job in platform.ledger() if job.dagster_run_id == run_id]
    return job


def test_the_documented_launch_stages_a_city_day(platform: Platform, launched: Launched) -> None:
    assert launched.run["__typename"] == "LaunchRunSuccess"
    job = ended(platform, launched.run["run"]["runId"])
    assert (job.status, job.trigger, job.refetch) == ("SUCCEEDED", "graphql", False)
    assert (job.city_slug, job.day) == ("kazan", DAYS[0])
    assert job.counts is not None
    assert job.counts["rows"] == CAFES


def test_the_documented_run_config_asks_upstream_again(
    platform: Platform, launched: Launched
) -> None:
    job = ended(platform, launched.refetch["run"]["runId"])
    assert (job.status, job.day, job.refetch) == ("SUCCEEDED", DAYS[5], True)


def test_the_documented_python_stages_a_city_day(platform: Platform, launched: Launched) -> None:
    run_id, _status = launched.python.split()
    job = ended(platform, run_id)
    assert (job.status, job.trigger, job.day) == ("SUCCEEDED", "graphql", DAYS[3])


def test_the_documented_backfill_stages_its_days(platform: Platform, launched: Launched) -> None:
    assert launched.backfill["__typename"] == "LaunchBackfillSuccess"
    backfill_id = launched.backfill["backfillId"]
    wait_until(
        lambda: platform.graphql(BACKFILL_STATUS, id=backfill_id)["status"] == "COMPLETED_SUCCESS",
        "the backfill is complete",
    )
    jobs = [job for job in platform.ledger() if job.trigger == "backfill"]
    assert sorted((job.day, job.status) for job in jobs) == [
        (day, "SUCCEEDED") for day in DAYS[1:3]
    ]


def test_dagster_checks_the_partitions_of_a_backfill_and_not_of_a_launch(
    platform: Platform,
) -> None:
    unknown = json.loads(json.dumps(BACKFILL_VARIABLES).replace("kazan", "atlantis"))
    refused = platform.graphql(BACKFILL, **unknown)
    assert refused["__typename"] == "PartitionKeysNotFoundError"
    unknown = json.loads(json.dumps(LAUNCH_VARIABLES).replace("kazan", "atlantis"))
    launched = platform.graphql(LAUNCH, **unknown)
    assert launched["__typename"] == "LaunchRunSuccess"
    run_id = launched["run"]["runId"]
    wait_until(
        lambda: platform.graphql(RUN, id=run_id)["status"] == "FAILURE", "the run has failed"
    )
    assert "atlantis" not in {job.city_slug for job in platform.ledger()}


def test_a_run_is_terminated_as_documented(platform: Platform, upstream: Upstream) -> None:
    today = datetime.now(UTC).date()
    live = json.dumps(LAUNCH_VARIABLES).replace("kazan", "live").replace(str(DAYS[0]), str(today))
    run_id = platform.graphql(LAUNCH, **json.loads(live))["run"]["runId"]
    assert upstream.asked.wait(120)
    assert platform.graphql(TERMINATE, id=run_id)["__typename"] == "TerminateRunSuccess"
    job = ended(platform, run_id)
    upstream.opened.set()
    assert (job.status, job.error_code) == ("CANCELED", "interrupted")


def test_the_command_submits_what_is_missing_and_then_finds_nothing_left(
    platform: Platform,
) -> None:
    command = ("backfill", "--city", "kazan", "--from", "2024-06-01", "--to", "2024-06-05")
    first = platform.command(*command)
    assert first.returncode == 0, first.stderr
    assert "5 city-days: 1 to run, 4 staged already, 0 without" in first.stdout
    wait_until(
        lambda: any(job.day == DAYS[4] and job.finished_at for job in platform.ledger("kazan")),
        "the missing day is staged",
    )
    again = platform.command(*command)
    assert again.returncode == 0, again.stderr
    assert again.stdout.endswith("Nothing to submit\n")
    assert [job.trigger for job in platform.ledger("kazan") if job.day == DAYS[4]] == ["backfill"]


def test_a_year_of_three_cities_is_taken_on_at_once_and_canceled_as_documented(
    platform: Platform,
) -> None:
    platform.stop("daemon")  # it would begin with the runs
    days = ("--from", "2024-01-01", "--to", "2024-12-30", "--all")
    cities = ("--city", "kazan", "--city", "live", "--city", "third")
    submitted = platform.command("backfill", *cities, *days)
    assert submitted.returncode == 0, submitted.stderr
    (backfill_id, address) = re.findall(r"Backfill (\w+) of 1,095 runs: (\S+)", submitted.stdout)[0]
    assert address == f"http://127.0.0.1:{platform.ports['webserver']}/runs/b/{backfill_id}"
    told = platform.graphql(BACKFILL_STATUS, id=backfill_id)
    assert (told["status"], told["numPartitions"]) == ("REQUESTED", 1095)
    assert platform.graphql(CANCEL, id=backfill_id)["__typename"] == "CancelBackfillSuccess"
