"""Ours: cities of one regional extract to their rows, in one pass or one by one.

Usage: python -m benchmarks.programs.region EXTRACT CITIES together|apart large|sample
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.programs.extract_to_frame import to_frame
from benchmarks.replicate import STEP_EAST
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.errors import OsmError
from ingestion_pipeline.sources.pbf import extract

CENTRE = (24.93, 60.16, 24.96, 60.18)
"""Central Helsinki, which is in every input."""


def areas(cities: int, *, is_large: bool) -> list[Area]:
    """Give the centres of the copies of Helsinki in a large extract; in the sample, parts of it."""
    west, south, east, north = CENTRE
    if is_large:
        return [
            Area(Bbox(west + STEP_EAST * copy, south, east + STEP_EAST * copy, north), None)
            for copy in range(cities)
        ]
    width = (east - west) / cities
    return [
        Area(Bbox(west + width * part, south, west + width * (part + 1), north), None)
        for part in range(cities)
    ]


def main(path: Path, cities: int, *, together: bool, is_large: bool) -> int:
    """Make the rows of all cities; give their number."""
    wanted = areas(cities, is_large=is_large)
    passes = [wanted] if together else [[area] for area in wanted]
    rows = 0
    for each in passes:
        for reading in extract.read_each(path, areas=each):
            if isinstance(reading, OsmError):
                raise reading
            rows += to_frame(reading.features).table.num_rows
    return rows


if __name__ == "__main__":
    file, number, how, size = sys.argv[1:]
    found = main(Path(file), int(number), together=how == "together", is_large=size == "large")
    print(json.dumps({"rows": found}))
