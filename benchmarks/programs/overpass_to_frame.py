"""Ours: an Overpass answer to normalized, classified rows.

Usage: python -m benchmarks.programs.overpass_to_frame BODY
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.programs.extract_to_frame import WORLD, to_frame
from ingestion_pipeline.sources.overpass import client as overpass

if TYPE_CHECKING:
    from ingestion_pipeline.osm.normalize import Pois


def overpass_to_frame(path: Path) -> Pois:
    """Prove that an answer is whole, read and normalize it."""
    return to_frame(overpass.read([path], area=WORLD).features)


if __name__ == "__main__":
    print(json.dumps({"rows": overpass_to_frame(Path(sys.argv[1])).table.num_rows}))
