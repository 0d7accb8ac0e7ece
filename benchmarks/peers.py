"""What the pipeline is compared with: whether it is there, and what to install where it is not.

Belongs here: presence, versions, and the selection in each peer's own words. Does not belong here:
running them (`programs/`, `scenarios/`).
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
from pathlib import Path

from ingestion_pipeline.osm.selection import POIS

PACKAGES = (
    "osmnx",
    "osm2geojson",
    "pyrosm",
    "geopandas",
    "shapely",
    "osmium",
    "dagster",
    "pyarrow",
)
"""Whose versions are told."""


def missing_package(name: str) -> str | None:
    """Tell what to install where a Python package is not there."""
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"pip install {name} (the extra 'bench' has it)"
    return None


def missing_program(name: str) -> str | None:
    """Tell what to install where a program of Debian's is not there."""
    return None if shutil.which(name) else f"apt-get install {name}"


def missing_postgresql() -> str | None:
    """Tell what to install where there is no PostgreSQL to start."""
    if list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        return None
    return "apt-get install postgresql postgresql-postgis"


def versions() -> dict[str, str]:
    """Give the versions of what is compared, of what is there."""
    found = {
        name: importlib.metadata.version(name) for name in PACKAGES if not missing_package(name)
    }
    if shutil.which("osm2pgsql"):
        told = subprocess.run(
            ["osm2pgsql", "--version"], capture_output=True, text=True, check=True
        )
        words = (told.stdout + told.stderr).split()
        found["osm2pgsql"] = words[words.index("version") + 1]
    for initdb in Path("/usr/lib/postgresql").glob("*/bin/initdb"):
        found["postgresql"] = initdb.parts[-3]
    return found


def tags() -> dict[str, bool | str | list[str]]:
    """Give the selection as pyrosm and osmnx have it: keys with any value, or with some."""
    some: dict[str, bool | str | list[str]] = {
        key: list(values) for key, values in POIS.listed_values.items()
    }
    return some | dict.fromkeys(POIS.any_value_keys, True)


def osm2pgsql_style() -> str:
    """Give the selection and the table for osm2pgsql's flex output."""
    keys = ", ".join(f"[{json.dumps(key)}]=true" for key in POIS.any_value_keys)
    pairs = ", ".join(f"[{json.dumps(f'{key}={value}')}]=true" for key, value in POIS.closed_pairs)
    rest = Path(__file__).with_name("osm2pgsql.lua").read_text(encoding="utf-8")
    return f"local any_value = {{{keys}}}\nlocal pairs_ = {{{pairs}}}\n{rest}"
