"""A peer: osm2geojson makes features of an Overpass answer.

Usage: python -m benchmarks.programs.peer_osm2geojson BODY
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import osm2geojson

answer = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
features = osm2geojson.json2geojson(answer)["features"]
print(json.dumps({"rows": len(features)}))
