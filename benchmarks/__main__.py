"""The benchmarks' command line: `python -m benchmarks --help`.

Belongs here: which scenarios there are, and running them. Does not belong here: the scenarios.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import report
from benchmarks.bench import Bench
from benchmarks.harness import ROOT, compare, each_once
from benchmarks.inputs import Inputs
from benchmarks.scenarios import (
    backfill,
    city_day,
    cost,
    enqueue,
    extract,
    fleet,
    growth,
    history,
    identity,
    imports,
    overpass,
    promotion,
    region,
    staging,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

SCENARIOS = {
    "extract": extract,
    "overpass": overpass,
    "region": region,
    "staging": staging,
    "promotion": promotion,
    "history": history,
    "identity": identity,
    "growth": growth,
    "imports": imports,
    "city-day": city_day,
    "backfill": backfill,
    "cost": cost,
    "fleet": fleet,
    "enqueue": enqueue,
}
RUNS = 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for; print the tables and write them to files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="the large inputs too; an hour or two")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"rounds of each ({RUNS})")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help=f"of {', '.join(SCENARIOS)}"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "bench", help="where results.* are written"
    )
    parser.add_argument(
        "--base", metavar="COMMIT", help="what `cost` and `fleet` compare this checkout with"
    )
    given = parser.parse_args(arguments)
    try:
        names = list(each_once(given.only, SCENARIOS))
    except ValueError as error:
        parser.error(str(error))
    # Whoever stops the benchmarks stops the servers that they started too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(given.full, Inputs.here(), Path(folder), given.base)
        try:
            print(run(bench, names, runs=given.runs, out=given.out))
        finally:
            bench.close()


def run(bench: Bench, names: Sequence[str], *, runs: int, out: Path) -> str:
    """Make the comparisons of scenarios; write down what is known after each."""
    tables: list[report.Table] = []
    text = ""
    for name in names:
        scenario = SCENARIOS[name]
        table = report.Table(scenario.TITLE)
        for comparison in scenario.comparisons(bench):
            print(f"{name}: {comparison.input} ...", file=sys.stderr, flush=True)
            if not table.rows:  # a scenario may have nothing to compare but in full
                tables.append(table)
            table.rows.append((comparison, compare(comparison, runs=runs)))
            text = report.write(out, tables, runs=runs)
    return text


if __name__ == "__main__":
    main()
