"""Ours: an extract to normalized, classified rows.

Usage: python -m benchmarks.programs.extract_to_frame EXTRACT
"""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm import normalize
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.taxonomy import Taxonomy
from ingestion_pipeline.sources.pbf import extract

if TYPE_CHECKING:
    from ingestion_pipeline.osm.features import Features
    from ingestion_pipeline.osm.normalize import Pois

WORLD = Area(Bbox(-180, -90, 180, 90), boundary_relation=None)
DAY = date(2025, 1, 1)


def extract_to_frame(path: Path) -> Pois:
    """Read and normalize all POIs of an extract."""
    return to_frame(extract.read(path, area=WORLD).features)


def to_frame(features: Features) -> Pois:
    """Normalize features as those of a city that is the whole world."""
    return normalize.normalize(
        features,
        boundary=BboxBoundary(WORLD.bbox),
        day=DAY,
        languages=["en"],
        local_language=None,
        country="FI",
        taxonomy=Taxonomy.load(),
    )


if __name__ == "__main__":
    print(json.dumps({"rows": extract_to_frame(Path(sys.argv[1])).table.num_rows}))
