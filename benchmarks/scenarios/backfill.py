"""What a backfill costs per partition: ours, and as Dagster runs it when nothing is said.

A real daemon and a real code server work through the days of an invented town, whose own work is
small. Counted is the CPU time of both and of every process that they start, from the submission to
the end. What the work itself takes is measured in a process that has done it before, and told
beside it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.harness import ROOT, Comparison, Contender, Values, Words, measure, program
from testbed.platform_processes import DEPLOY, SCRIPTS, running_platform, wait_until
from testbed.towns import cafes, town, write_extract

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.bench import Bench
    from testbed.platform_processes import Platform

TITLE = "A backfill, per partition"
TOWN = 1
DAYS = [date(2026, 9, 1) + timedelta(days=number) for number in range(4)]
LONGEST_S = 600


@dataclass(frozen=True)
class SetUp:
    """How the platform is set up: Dagster's own file, and where it finds the definitions."""

    dagster_yaml: Path
    module: str


OURS = SetUp(DEPLOY / "dagster.yaml", "ingestion_pipeline.definitions")
DEFAULT = SetUp(ROOT / "benchmarks" / "dagster_default.yaml", "benchmarks.programs.dagster_default")


def comparisons(bench: Bench) -> Iterator[Comparison]:
    """Compare both set-ups, in full only: a platform takes a minute."""
    if not bench.full:
        return
    missing = peers.missing_postgresql()
    yield Comparison(
        Words(f"{len(DAYS)} days of a town"),
        [
            Contender("ours", lambda: _backfill(bench, OURS), missing),
            Contender(
                "one run per partition, one process per step",
                lambda: _backfill(bench, DEFAULT),
                missing,
            ),
        ],
        ("CPU s", "CPU s beyond the work"),
        runs=1,
    )


def _backfill(bench: Bench, set_up: SetUp) -> Values:
    """Start a platform, let it do the backfill, and give its costs per partition."""
    folder = bench.new_folder()
    write_days(folder, DAYS)
    with running_platform(
        folder,
        towns=[town(TOWN)],
        dagster_yaml=set_up.dagster_yaml,
        module=set_up.module,
        PARTITIONS_START=str(DAYS[0]),
        PYTHONPATH=str(ROOT),
    ) as platform:
        values = backfilled(platform, DAYS)
        alone = _work(bench, platform)
    return {**values, "its work's CPU s": alone, "CPU s beyond the work": values["CPU s"] - alone}


def write_days(folder: Path, days: Sequence[date]) -> None:
    """Write the extract of each day of the town, where a platform in the folder looks for it."""
    for day in days:
        at = datetime(day.year, day.month, day.day, 20, tzinfo=UTC)
        write_extract(folder / "extracts" / f"{day}.osm.pbf", cafes(TOWN, named=str(day)), at=at)


def backfilled(platform: Platform, days: Sequence[date]) -> Values:
    """Let a platform do the backfill of the town's days, and give its costs per partition."""
    platform.allow_fetches(len(days))
    before, start = _cpu_s(platform), time.perf_counter()
    backfill = platform.backfill([f"town-{TOWN}|{day}" for day in days])
    wait_until(
        lambda: platform.backfill_status(backfill).startswith("COMPLETED"),
        "the backfill is done",
        timeout=LONGEST_S,
        every=1,
    )
    if platform.backfill_status(backfill) != "COMPLETED_SUCCESS":
        raise RuntimeError(f"the backfill failed:\n{platform.logs()}")
    wall, cpu = time.perf_counter() - start, _cpu_s(platform) - before
    return {"wall s": wall / len(days), "CPU s": cpu / len(days)}


def _cpu_s(platform: Platform) -> float:
    """Give the CPU time of the daemon, the code server, and all that they have started."""
    return platform.programs["daemon"].cpu_s + platform.programs["code-server"].cpu_s


def _work(bench: Bench, platform: Platform) -> float:
    """Give the CPU time of a day's own work, in a process that has done another day's before."""
    folder = bench.new_folder()
    environment = dict(platform.environment) | {
        "DATABASE_URL": bench.new_database(),
        "DATA_DIR": str(folder / "lake"),
    }
    measure([SCRIPTS / "poi-ingest", "migrate"], environment)
    days = [str(day) for day in DAYS]
    return measure(program("work", f"town-{TOWN}", *days), environment)["work's CPU s"]
