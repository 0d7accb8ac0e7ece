"""A day of a fleet: many invented towns in one extract, requested at once.

A real daemon and code server, with PostgreSQL and the executor and queue of `deploy/`, work off the
jobs of all towns. With a commit to compare with, a smaller fleet is worked off by both.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil
import sqlalchemy as sa

from benchmarks import peers
from benchmarks.harness import ROOT, Comparison, Contender, Values, Words, measure, program
from benchmarks.scenarios.cost import copied, unpacked
from testbed.platform_processes import SCRIPTS, cpu_s_of, running_platform
from testbed.postgres_server import Cluster
from testbed.towns import TOWN, write_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date
    from pathlib import Path

    from benchmarks.bench import Bench
    from testbed.platform_processes import Name, Platform

TITLE = "A day of a fleet, through the daemon"
TOWNS = 1000
TOWNS_OF_BOTH = 100
PLACES = 99
COLUMNS = 40
LONGEST_S = 7200
MB = 1_000_000
ENQUEUE = "/v1/admin/ingestion/osm/enqueue"
PARTS: tuple[Name, ...] = ("daemon", "code-server", "webserver")


def comparisons(bench: Bench) -> Iterator[Comparison]:
    """Work off a large fleet, or a small one with both commits; in full only."""
    if not bench.full:
        return
    number = TOWNS if bench.base is None else TOWNS_OF_BOTH
    checkouts = {} if bench.base is None else {f"before ({bench.base})": unpacked(bench)}
    checkouts["now"] = copied(bench)
    missing = peers.missing_postgresql()
    yield Comparison(
        Words(f"{number:,} towns of {PLACES} places, a day of each; figures per city-day"),
        [
            Contender(name, partial(_fleet, bench, checkout, number), missing)
            for name, checkout in checkouts.items()
        ],
        ("CPU s",),
        runs=1,
    )


def towns(number: int) -> list[dict[str, Any]]:
    """Invent towns that lie side by side in rows."""
    found = []
    for each in range(number):
        row, column = divmod(each, COLUMNS)
        west, south = 10 + column / 10, 45 + row / 10
        bbox = [round(edge, 1) for edge in (west, south, west + 0.1, south + 0.1)]
        found.append(TOWN | {"slug": f"town-{each}", "bbox": bbox})
    return found


def write_day(path: Path, number: int, day: date) -> None:
    """Write the extract of all towns: places in a row through the middle of each."""
    nodes = {}
    for each, town in enumerate(towns(number)):
        west, south, *_ = town["bbox"]
        for place in range(1, PLACES + 1):
            tags = {"amenity": "cafe", "name": f"café {place} of {town['slug']}"}
            nodes[each * 100 + place] = (west + place / 1000, south + 0.05, tags)
    write_nodes(path, nodes, at=datetime(day.year, day.month, day.day, 20, tzinfo=UTC))


def _fleet(bench: Bench, checkout: Path, number: int) -> Values:
    """Start a platform, let it stage a day of all towns, and give its costs."""
    folder = bench.new_folder()
    day = datetime.now(UTC).date() - timedelta(days=1)
    for each in (day - timedelta(days=1), day):
        write_day(folder / "extracts" / f"{each}.osm.pbf", number, each)
    with running_platform(
        folder,
        towns=towns(number),
        dagster_yaml=checkout / "deploy" / "dagster.yaml",
        checkout=checkout,
        PARTITIONS_START=str(day),
    ) as platform:
        platform.allow_fetches(4)
        values = _worked_off(platform, number, day)
        alone = _work(bench, platform, day)
    return values | {"its work's CPU s": alone, "Dagster's share": 1 - alone / values["CPU s"]}


def _worked_off(platform: Platform, number: int, day: date) -> Values:
    before, start = _cpu_s(platform), time.perf_counter()
    for each in range(number):
        reply = platform.api.post(ENQUEUE, json={"city_slug": f"town-{each}", "day": str(day)})
        reply.raise_for_status()
    peaks: dict[str, float] = {}
    while (left := _left(platform)) > 0:
        if time.perf_counter() - start > LONGEST_S:
            raise RuntimeError(f"{left} of {number} jobs are left:\n{platform.logs()[-5000:]}")
        for name, size in _memory_mb(platform).items():
            peaks[name] = max(size, peaks.get(name, 0))
        time.sleep(1)
    wall = time.perf_counter() - start
    cpu = {name: (total - before[name]) / number for name, total in _cpu_s(platform).items()}
    failed = [job for job in platform.ledger() if job.status != "SUCCEEDED"]
    if failed:
        raise RuntimeError(f"{len(failed)} jobs failed, such as {failed[0]}")
    ours = cpu["daemon"] + cpu["code-server"]
    return {
        "wall s of all": wall,
        "CPU s": ours,
        "code server's CPU s": cpu["code-server"],
        "PostgreSQL's CPU s": cpu["postgres"],
        **{f"{name} peak MB": size for name, size in peaks.items()},
    }


def _left(platform: Platform) -> int:
    query = sa.text("SELECT count(*) FROM ingestion_run WHERE status IN ('PENDING', 'RUNNING')")
    with platform.engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def _cpu_s(platform: Platform) -> dict[str, float]:
    """Give the CPU time of each part, with that of what it has started."""
    assert isinstance(platform.postgres, Cluster)
    pid = (platform.postgres.home / "data" / "postmaster.pid").read_text(encoding="utf-8")
    found: dict[str, float] = {name: platform.programs[name].cpu_s for name in PARTS}
    return found | {"postgres": cpu_s_of(psutil.Process(int(pid.split()[0])))}


def _memory_mb(platform: Platform) -> dict[str, float]:
    """Give the memory of each part, and of the largest process that the daemon has started."""
    found: dict[str, float] = {}
    with suppress(psutil.NoSuchProcess):
        for name in PARTS:
            process = psutil.Process(platform.programs[name].pid)
            found[name] = process.memory_info().rss / MB
            if name == "daemon":
                sizes = [each.memory_info().rss for each in process.children(recursive=True)]
                found["run"] = max(sizes, default=0) / MB
    return found


def _work(bench: Bench, platform: Platform, day: date) -> float:
    """Give the CPU time of a city-day's own work, in a process that has done another before."""
    folder = bench.new_folder()
    environment = dict(platform.environment) | {
        "DATABASE_URL": bench.new_database(),
        "DATA_DIR": str(folder / "lake"),
    }
    environment["PYTHONPATH"] = str(ROOT)
    measure([SCRIPTS / "poi-ingest", "migrate"], environment)
    days = [str(day - timedelta(days=1)), str(day)]
    measure(program("work", "town-1", *days), environment)  # passes over the extract for all
    return measure(program("work", "town-0", *days), environment)["work's CPU s"]
