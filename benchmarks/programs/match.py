"""Ours: match a residue, of features that are gone and of new ones that replace them.

Usage: python -m benchmarks.programs.match ROWS.parquet NUMBER city|block

The new features are the same places under other refs, some metres away, and every second one is an
area. In a block all are within reach of each other. Timed is the second call; the first one loads
libraries.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import shapely

from ingestion_pipeline.promotion.identity import Place, match
from testbed.places import place_of_frame

if TYPE_CHECKING:
    from benchmarks.harness import Values

MOVED_M, SIDE_M, BLOCK_M = 4.0, 10.0, 140.0
METRES_OF_A_DEGREE = 111_195.0


def residue(path: Path, number: int, *, block: bool) -> tuple[list[Place], list[Place]]:
    """Give features that are gone and those that replace them."""
    rows = pq.read_table(path).slice(0, number).to_pylist()
    chance = np.random.default_rng(1)
    gone = [place_of_frame(row) for row in rows]
    if block:
        where = chance.uniform(0, BLOCK_M / METRES_OF_A_DEGREE, (number, 2))
        gone = [
            _at(place, gone[0].lon + east, gone[0].lat + north, area=False)
            for place, (east, north) in zip(gone, where.tolist(), strict=True)
        ]
    moves = chance.normal(0, MOVED_M / METRES_OF_A_DEGREE, (number, 2))
    new = [
        replace(
            _at(place, place.lon + east, place.lat + north, area=index % 2 == 0),
            ref=f"new/{index}",
        )
        for index, (place, (east, north)) in enumerate(zip(gone, moves.tolist(), strict=True))
    ]
    return gone, new


def measure(path: Path, number: int, *, block: bool) -> Values:
    """Match twice; give what the second time took."""
    gone, new = residue(path, number, block=block)
    match(gone[:10], new[:10])
    start, cpu = perf_counter(), process_time()
    found = match(gone, new)
    took = {"match s": perf_counter() - start, "match's CPU s": process_time() - cpu}
    in_doubt = sum(len(each.gone) for each in found.ambiguous)
    return took | {"links": len(found.links), "in doubt": in_doubt}


def _at(place: Place, lon: float, lat: float, *, area: bool) -> Place:
    half = SIDE_M / METRES_OF_A_DEGREE / 2
    square = shapely.box(lon - half, lat - half, lon + half, lat + half)
    return replace(place, geometry=square if area else shapely.Point(lon, lat), lon=lon, lat=lat)


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]), block=sys.argv[3] == "block")))
