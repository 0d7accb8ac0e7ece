"""A peer: osmnx reads the POIs of an extract in XML, or of an Overpass answer.

Usage: python -m benchmarks.programs.peer_osmnx FILE.osm|FILE.json
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import osmnx
from shapely import Polygon

from benchmarks.peers import tags

warnings.simplefilter("ignore")
path = Path(sys.argv[1])
if path.suffix == ".osm":
    pois = osmnx.features_from_xml(path, tags=tags())
else:
    # What osmnx does with an answer that has come; it has no public name for it.
    answer = json.loads(path.read_text(encoding="utf-8"))
    pois = osmnx.features._create_gdf([answer], Polygon(), tags())  # noqa: SLF001
print(json.dumps({"rows": len(pois)}))
