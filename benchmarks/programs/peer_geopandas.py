"""A peer: GeoPandas writes the same columns to a table with a spatial index.

Usage: python -m benchmarks.programs.peer_geopandas DATABASE_URL ROWS.parquet
"""

from __future__ import annotations

import json
import sys
import warnings
from time import perf_counter, process_time

import geopandas
import pyarrow.parquet as pq
import sqlalchemy as sa

from benchmarks.programs.stage import size_mb, wal_bytes, wal_mb

warnings.simplefilter("ignore")
engine = sa.create_engine(sa.make_url(sys.argv[1]))
table = pq.read_table(sys.argv[2])
frame = table.to_pandas()
shapes = geopandas.GeoSeries.from_wkb(frame["geometry"], crs="EPSG:4326")
frame = geopandas.GeoDataFrame(frame.drop(columns="geometry"), geometry=shapes)
before = wal_bytes(engine) if engine.dialect.name == "postgresql" else 0
start, cpu = perf_counter(), process_time()
if engine.dialect.name == "postgresql":
    frame.to_postgis("poi", engine, index=False)
else:
    frame.to_file(str(engine.url.database), layer="poi", driver="GPKG", engine="pyogrio")
took, cpu = perf_counter() - start, process_time() - cpu
values = {
    "call s": took,
    "call's CPU s": cpu,
    "rows/s": len(frame) / took,
    "rows written": len(frame),
}
print(json.dumps(values | wal_mb(engine, before) | {"size MB": size_mb(engine, "poi")}))
