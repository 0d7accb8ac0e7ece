"""Two hosts with one database and one Overpass server: never two requests at once, one budget.

A host is a process with folders of its own for the lake and for locks. CITY_DAYS=200 makes the few
days of this test 200.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.tables import upstream_lease, upstream_usage, upstream_waiter
from ingestion_pipeline_tests.support.installation import overpass_cafes
from ingestion_pipeline_tests.support.overpass_server import OverpassServer, Reply, overpass_json
from testbed.towns import town, write_cities

if TYPE_CHECKING:
    from pathlib import Path

    from ingestion_pipeline_tests.support.overpass_server import Request

CITY_DAYS = int(os.environ.get("CITY_DAYS", "12"))
REQUESTS_OF_A_DAY = 3
"""The time of the server's data, the query, and the proof of history."""

HOST = """
import sys
from datetime import date, timedelta
from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import load_settings
from ingestion_pipeline.core.errors import IngestionError
from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.defs import snapshots
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.defs.work import ClaimedPartition
from ingestion_pipeline.staging import runs

settings = load_settings()
pipeline = PipelineResources(settings, load_cities(settings.cities_file))
city = pipeline.cities.get(sys.argv[1])
for number in range(int(sys.argv[2])):
    day = date(2024, 6, 1) + timedelta(days=number)
    for dataset in DATASETS.values():
        claim = runs.claim(
            pipeline.engine, JobKey(dataset.job_type, city.slug, city.boundary_key, day),
            dagster_run_id=f"{dataset.name} {city.slug} {day}", worker="host", trigger="cli",
            is_alive=lambda run: True, now=pipeline.ledger_now(),
        )
        try:
            manifest, _ = snapshots.take(pipeline, ClaimedPartition(city, day, claim), dataset)
        except IngestionError as error:
            print(error.code, dataset.name, day)
        else:
            print("stored", dataset.name, day, manifest.digest, manifest.as_of.isoformat())
"""


def answer(request: Request) -> Reply:
    assert "[date:" in request.query
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return Reply(body=overpass_json(overpass_cafes({1: "A", 2: "B"}), base=now), delay_s=0.01)


def start(
    number: int, url: str, server: OverpassServer, folder: Path, *, budget: int
) -> subprocess.Popen[str]:
    """Start a host."""
    here = folder / f"host-{number}"
    return subprocess.Popen(
        [sys.executable, "-c", HOST, f"town-{number}", str(CITY_DAYS // 2)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ
        | {
            "DATABASE_URL": url,
            "DATA_DIR": str(here / "lake"),
            "STATE_DIR": str(here / "state"),
            "CITIES_FILE": str(folder / "cities.toml"),
            "OSM_SOURCE": "overpass",
            "OVERPASS_URL": server.url,
            "OVERPASS_DAILY_REQUESTS": str(budget),
            "PARTITIONS_START": "2024-06-01",
        },
    )


def test_two_hosts_ask_in_turn_once_for_both_jobs_and_within_the_budget(
    postgis_url: str, tmp_path: Path
) -> None:
    engine = create_engine(postgis_url)
    migrate(engine)
    write_cities(tmp_path / "cities.toml", [town(0), town(1)])
    left_out = 2
    budget = REQUESTS_OF_A_DAY * (CITY_DAYS - left_out)
    with OverpassServer(default=answer) as server:
        server.timestamp = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        hosts = [start(each, postgis_url, server, tmp_path, budget=budget) for each in range(2)]
        outputs = [host.communicate(timeout=600)[0] for host in hosts]
        assert [host.returncode for host in hosts] == [0, 0]
        sent = len(server.requests) + len(server.asides)
        assert server.most_at_once == 1
    assert sent == budget
    lines = [line.split() for output in outputs for line in output.splitlines()]
    ends = Counter(line[0] for line in lines)
    # The last days of the two hosts may both have got a part of their requests, so one more fails.
    assert set(ends) == {"stored", "upstream_budget_spent"}
    assert sum(ends.values()) == 2 * CITY_DAYS
    assert 0 <= ends["upstream_budget_spent"] - 2 * left_out <= 2
    for output in outputs:
        stored = [line.split()[1:] for line in output.splitlines() if line.startswith("stored")]
        by_dataset = {name: [rest for each, *rest in stored if each == name] for name, *_ in stored}
        assert by_dataset["poi"] == by_dataset["helper"]
        assert len(by_dataset["poi"]) >= CITY_DAYS // 2 - left_out - 1
    with engine.connect() as connection:
        (used,) = connection.execute(sa.select(sa.func.sum(upstream_usage.c.requests))).one()
        assert used == sent
        for table in (upstream_lease, upstream_waiter):
            assert connection.execute(sa.select(table)).all() == []
    engine.dispose()
