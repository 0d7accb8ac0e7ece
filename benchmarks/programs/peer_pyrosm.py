"""A peer: pyrosm reads the POIs of an extract.

Usage: python -m benchmarks.programs.peer_pyrosm EXTRACT
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

from pyrosm import OSM

from benchmarks.peers import tags

warnings.simplefilter("ignore")
with tempfile.TemporaryDirectory() as folder:
    # pyrosm keeps results beside a file; a new file has none.
    copy = Path(folder, "copy.osm.pbf")
    shutil.copyfile(sys.argv[1], copy)
    pois = OSM(str(copy)).get_pois(custom_filter=tags())
print(json.dumps({"rows": len(pois)}))
