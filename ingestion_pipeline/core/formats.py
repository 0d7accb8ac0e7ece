"""The formats of exported files."""

from typing import Literal

Format = Literal["geojson", "gpkg", "parquet", "csv", "fgb", "pmtiles"]
"""The suffix of a file: GeoJSON, GeoPackage, GeoParquet, CSV, FlatGeobuf or PMTiles."""
