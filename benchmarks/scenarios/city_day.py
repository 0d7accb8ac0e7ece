"""A whole city-day as one run of Dagster, and the pipeline's own work alone.

The work alone is what the three assets do, called one after the other in a process without a run;
what the run takes beyond it is the orchestration's.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import Comparison, Contender, Values, measure, program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.bench import Bench

TITLE = "A city-day as one run of Dagster"
CITY, DAY = "helsinki", "2019-04-21"
POI_INGEST = Path(sys.executable).with_name("poi-ingest")


def comparisons(bench: Bench) -> Iterator[Comparison]:
    """Compare the first run of a day, its work alone, and the day once more."""
    runs: list[Values] = []
    empty = environment_in(bench.new_folder())
    measure([POI_INGEST, "migrate"], empty)
    environment = empty
    run: list[str | Path] = [POI_INGEST, "run", "--city", CITY, "--day", DAY]

    def first() -> Values:
        nonlocal environment
        environment = _copy(bench, empty)
        runs.append(measure(run, environment))
        return runs[-1]

    def alone() -> Values:
        values = measure(program("work", CITY, DAY), _copy(bench, empty))
        beyond = {
            "Dagster's wall s": runs[-1]["wall s"] - values["work s"],
            "Dagster's CPU s": runs[-1]["CPU s"] - values["work's CPU s"],
        }
        return values | beyond

    yield Comparison(
        bench.inputs.sample(),
        [
            Contender("poi-ingest run", first),
            Contender("its work alone, in a process", alone),
            Contender("poi-ingest run, again", lambda: measure(run, environment)),
        ],
    )


def _copy(bench: Bench, empty: Mapping[str, str]) -> dict[str, str]:
    """Give the environment of an installation of its own, with an empty database."""
    environment = environment_in(bench.new_folder())
    shutil.copytree(empty["DATA_DIR"], environment["DATA_DIR"])
    return environment


def environment_in(folder: Path) -> dict[str, str]:
    """Return the environment variables of an installation in a folder."""
    return {
        "DATA_DIR": str(folder / "data"),
        "DAGSTER_HOME": str(folder / "dagster"),
        "STATE_DIR": str(folder / "state"),
        "PARTITIONS_START": DAY,
    }
