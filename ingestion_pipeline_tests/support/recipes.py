"""The feeds of docs/feeds.md, each with its key `location` at a server of the tests.

Belongs here: reading the recipes. Does not belong here: the files that they describe.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[2] / "docs" / "feeds.md"
HOST = "https://data.example.org/"

REAL_FILES = {
    "geojson-of-a-portal": "van-washrooms.geojson",
    "csv-with-lat-lon": "van-fountains.csv",
    "csv-without-ids": "paris-sanisettes.csv",
    "csv-of-socrata": "nyc-subway-entrances.csv",
    "geojson-with-states": "paris-fontaines.geojson",
    "geojson-with-crs": "berlin-trinkbrunnen.geojson",
    "csv-with-decimal-comma": "bnetza-lade.csv",
    "csv-in-a-national-grid": "hillingdon.csv",
    "stops-of-gtfs": "translink-stops.txt",
    "csv-in-three-languages": "hsl-stations.csv",
    "stations-of-gbfs": "citibike.json",
    "array-of-objects": "camden.json",
    "csv-with-unknown-values": "mel-toilets.csv",
    "geojson-of-ckan": "tor-washrooms.geojson",
}
"""The real file, in the folder `feeds` of OSM_TEST_DATA, of each recipe that describes one."""


@cache
def recipes() -> dict[str, dict[str, Any]]:
    """Return the tables of all recipes by their slugs."""
    blocks = re.findall(
        r"^```toml\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    tables = [
        table
        for block in blocks
        for table in tomllib.loads("[[city]]\n" + block)["city"][0]["feed"]
    ]
    return {table["slug"]: table for table in tables}


def recipe(slug: str, server: str) -> dict[str, Any]:
    """Return a recipe's table with a server's address (`http://host:port`) for the example's."""
    keys = ("location", "metadata_location")
    return {
        key: value.replace(HOST, f"{server}/") if key in keys else value
        for key, value in recipes()[slug].items()
    }
