"""What the process that forks runs has ready for them, and sets for each."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date

import dagster as dg
import pytest

from ingestion_pipeline.config.settings import FIRST_PARTITION, load_settings
from ingestion_pipeline.dagster_runtime import warm
from ingestion_pipeline.dagster_runtime.single_thread import SINGLE_THREADED
from testbed.platform_processes import tags_of_partition

PROGRAM = """
import sys
from ingestion_pipeline.dagster_runtime import warm
from ingestion_pipeline.dagster_runtime.single_thread import require_single_thread
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.datasets.rules import rules_of, rules_of_feeds

warm.preload()
warm.build_definitions()
built = sys.modules["ingestion_pipeline.definitions"]._built[1]
read = rules_of.cache_info().misses
rules_of_feeds(), [dataset.rules for dataset in DATASETS.values()]
require_single_thread()
print(read, rules_of.cache_info().misses)
print(sys.modules["ingestion_pipeline.definitions"].definitions() is built)
print("engine" in vars(built.resources["pipeline"].pipeline))
"""


@pytest.fixture(autouse=True)
def _without_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTITIONS_START", "")  # so that what the test sets is taken back


def run_of(city: str, day: str) -> dg.DagsterRun:
    return dg.DagsterRun(job_name="osm_import", tags=tags_of_partition(city, day))


@pytest.mark.process
def test_a_forked_run_need_not_read_the_rules_or_build_definitions() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | SINGLE_THREADED,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["3", "3", "True", "False"]


@pytest.mark.parametrize(
    ("day", "first"),
    [
        ("2019-04-21", date(2019, 4, 21)),
        ("2019-04-20", FIRST_PARTITION),  # cannot be run
        (str(FIRST_PARTITION), FIRST_PARTITION),
        ("2026-11-20", FIRST_PARTITION),
        ("kazan", FIRST_PARTITION),
    ],
)
def test_the_day_of_a_run_is_a_partition_of_its_process(day: str, first: date) -> None:
    warm._have_partition_of(run_of("town", day))
    assert load_settings().first_partition == first


def test_a_day_before_the_last_days_is_a_partition_of_its_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PARTITIONS_DAYS", "30")
    warm._have_partition_of(run_of("town", "2024-06-01"))
    assert load_settings().first_partition == date(2024, 6, 1)


def test_the_start_of_an_operator_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTITIONS_START", "2026-03-01")
    warm._have_partition_of(run_of("town", "2026-02-01"))
    assert load_settings().first_partition == date(2026, 3, 1)


def test_a_run_without_a_partition_changes_nothing() -> None:
    warm._have_partition_of(dg.DagsterRun(job_name="osm_import"))
    warm._have_partition_of(None)
    assert load_settings().first_partition == FIRST_PARTITION


def test_a_setting_that_is_not_accepted_is_left_to_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SCHEDULES", "perhaps")
    warm._have_partition_of(run_of("town", "2019-04-21"))
