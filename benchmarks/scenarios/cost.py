"""What a city-day costs with the code of this checkout, beside that of a commit before it.

Both run by turns, with the libraries of this environment: a first and a replayed day by command
line, and a backfill of small days through a real daemon and code server, configured as `deploy/` of
each has it. CPU time is counted with that of every process that is started, not PostgreSQL's.
"""

from __future__ import annotations

import compileall
import shutil
import subprocess
import tarfile
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.harness import ROOT, Comparison, Contender, Values, Words, measure
from benchmarks.scenarios.backfill import TOWN, backfilled, write_days
from benchmarks.scenarios.city_day import CITY, DAY, POI_INGEST, environment_in
from testbed.platform_processes import running_platform
from testbed.towns import town

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.bench import Bench

TITLE = "A city-day with this code and with that of a commit before"
DAYS = [date(2026, 8, 1) + timedelta(days=number) for number in range(40)]
PACKED = ("ingestion_pipeline", "migrations", "docs", "deploy")
"""What is taken of a commit."""


def comparisons(bench: Bench) -> Iterator[Comparison]:
    """Compare the two, if a commit is given."""
    if bench.base is None:
        return
    checkouts = {
        f"before ({bench.base})": unpacked(bench),
        "now": copied(bench),
    }
    ratios = ("CPU s",)
    first = [
        Contender(name, partial(_first_day, bench, checkout))
        for name, checkout in checkouts.items()
    ]
    yield Comparison(Words("poi-ingest run, a first day"), first, ratios)
    staged = {name: _staged(bench, checkout) for name, checkout in checkouts.items()}
    again = [Contender(name, partial(measure, _RUN, env)) for name, env in staged.items()]
    yield Comparison(Words("poi-ingest run, a replayed day"), again, ratios)
    missing = peers.missing_postgresql()
    if bench.full:
        backfills = [
            Contender(name, partial(_backfill, bench, checkout), missing)
            for name, checkout in checkouts.items()
        ]
        what = Words(f"a backfill of {len(DAYS)} days of a town, per partition")
        yield Comparison(what, backfills, ratios)


_RUN: list[str | Path] = [POI_INGEST, "run", "--city", CITY, "--day", DAY]


def _first_day(bench: Bench, checkout: Path) -> Values:
    environment = _environment(bench, checkout)
    measure([POI_INGEST, "migrate"], environment)
    return measure(_RUN, environment)


def _staged(bench: Bench, checkout: Path) -> dict[str, str]:
    """Return the environment of an installation that has staged the day."""
    environment = _environment(bench, checkout)
    measure([POI_INGEST, "migrate"], environment)
    measure(_RUN, environment)
    return environment


def _environment(bench: Bench, checkout: Path) -> dict[str, str]:
    return environment_in(bench.new_folder()) | {"PYTHONPATH": str(checkout)}


def _backfill(bench: Bench, checkout: Path) -> Values:
    folder = bench.new_folder()
    write_days(folder, DAYS)
    with running_platform(
        folder,
        towns=[town(TOWN)],
        dagster_yaml=checkout / "deploy" / "dagster.yaml",
        checkout=checkout,
        PARTITIONS_START=str(DAYS[0]),
    ) as platform:
        return backfilled(platform, DAYS)


def unpacked(bench: Bench) -> Path:
    """Return a folder with the code of the commit that is compared with."""
    assert bench.base is not None
    folder = bench.new_folder()
    packed = folder / "packed.tar"
    git = ["git", "-C", str(ROOT), "archive", "--output", str(packed), bench.base, *PACKED]
    subprocess.run(git, check=True)
    with tarfile.open(packed) as tar:
        tar.extractall(folder, filter="data")
    return _compiled(folder)


def copied(bench: Bench) -> Path:
    """Return a folder with the code of this checkout, which may be changed meanwhile."""
    folder = bench.new_folder()
    ignored = shutil.ignore_patterns("__pycache__")
    for each in PACKED:
        shutil.copytree(ROOT / each, folder / each, ignore=ignored)
    return _compiled(folder)


def _compiled(folder: Path) -> Path:
    compileall.compile_dir(folder, quiet=1)
    return folder
