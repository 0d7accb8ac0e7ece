"""Compare this checkout with another release: the rows that both make, and what it leaves behind.

    python scripts/previous_release.py prove COMMIT [--but DATASET]
    python scripts/previous_release.py fixture COMMIT

`prove` stages the same city-days with both, each in a database and a lake of its own: an invented
town, the sample of Helsinki, and all dated extracts of OSM_TEST_DATA where that is set. If all rows
are equal, it writes `ingestion_pipeline/datasets/proven_rules.json`: then what the other release
staged counts as staged by the current code. `--but` names a dataset whose rows change on purpose
(`feed`: the rows of feeds): its rows are counted and not compared, and it gets no entry.

`fixture` lets the other release stage the town, and packs its database and lake for
`ingestion_pipeline_tests/integration/test_upgrade.py`.

Both use the command line of the other release, with the libraries of the current environment.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import osmium

from ingestion_pipeline.datasets.base import SOURCE
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.datasets.rules import (
    LIBRARIES,
    LIBRARIES_OF_FEEDS,
    NAMED_LIBRARIES,
    PROVEN_FILE,
    named_libraries,
    rules_of_feeds,
    versions_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
PROVEN = ROOT / "ingestion_pipeline" / "datasets" / PROVEN_FILE
FIXTURE = ROOT / "ingestion_pipeline_tests" / "support" / "previous_release.zip"

FEED = "feed"
"""The name of the rules that make the rows of feeds."""

TOWN = Path("/srv/town")
"""Locations are kept in the lake and the database, so that they name no folder of a person."""

DAYS = (date(2024, 6, 1), date(2024, 6, 2))
BBOX = (10.0, 50.0, 10.1, 50.1)

CITIES = """\
[[city]]
slug = "town"
name = { en = "Town", ru = "Город" }
country = "FI"
timezone = "Europe/Helsinki"
bbox = [10.0, 50.0, 10.1, 50.1]
boundary_ref = "bbox"
languages = ["en", "ru"]
osm_source = "extract"
osm_extract = "{folder}/osm-{day}.osm.pbf"
minimum_pois = 3
minimum_helpers = 2
enabled = true

[[city.feed]]
slug = "fountains"
location = "{folder}/fountains-{day}.csv"
format = "csv"
record_id = "nr"
kind = "drinking_water"
fields = { name = "name", fee = "fee" }
attributes = { bottle = "bottle" }
values = { fee = { ja = "yes", nein = "no" } }
lon = "x"
lat = "y"
delimiter = ";"
encoding = "cp1251"
licence = "CC0-1.0"
attribution = "Friends of Fountains"
as_of = "day_in_location"
maximum_age_days = 2
minimum = 2
"""

NODES: dict[int, tuple[float, float, dict[str, str]]] = {
    1: (10.01, 50.01, {"amenity": "cafe", "name": "Кофейня", "phone": "+358 9 123 4567"}),
    2: (10.02, 50.02, {"shop": "bakery", "name": "Pulla", "opening_hours": "Mo-Fr 08:00-18:00"}),
    3: (10.03, 50.03, {"tourism": "hotel", "name": "北京饭店", "wikidata": "Q42"}),
    4: (10.04, 50.04, {"amenity": "toilets", "fee": "yes", "opening_hours": "24/7"}),
    5: (10.05, 50.05, {"amenity": "drinking_water", "name": "Old well"}),
    6: (10.06, 50.06, {"amenity": "restaurant", "toilets": "yes", "email": "no address"}),
    7: (10.07, 50.07, {"disused:shop": "kiosk", "addr:street": "Main Street"}),
    8: (10.08, 50.08, {"amenity": "no"}),
    11: (10.021, 50.031, {}),
    12: (10.022, 50.031, {}),
    13: (10.022, 50.032, {}),
    14: (10.021, 50.032, {}),
}
RENAMED = {2: (10.02, 50.02, {"shop": "bakery", "name": "Korvapuusti"})}
"""What the second day has in another way."""

WAYS: dict[int, tuple[list[int], dict[str, str]]] = {
    21: ([11, 12, 13, 14, 11], {"building": "yes", "amenity": "library", "name": "Library"}),
}

FOUNTAINS = """\
nr;name;fee;bottle;x;y
1;Old well;nein;yes;10.05;50.0501
2;Родник;ja;no;10.06;50.02
3;Far away;nein;no;11.0;50.0
"""

ROWS = {
    "poi_ingestion_staging": "city_slug, source, source_ref, valid_from, valid_to, source_hash, "
    "content_hash",
    "helper_place": "city_slug, source, source_ref, valid_from, valid_to, source_hash, "
    "content_hash",
    "ingestion_rejection": "city_slug, dataset, source, day, source_ref, reason",
}
"""What has to be equal: the columns of each table."""

RULES = """
import json
try:
    from ingestion_pipeline.datasets.registry import DATASETS
    from ingestion_pipeline.datasets.rules import rules_of_feeds
except ImportError:  # the releases that hashed packages as a whole
    from ingestion_pipeline.datasets import DATASETS
    from ingestion_pipeline.hashing import code_digest
    from ingestion_pipeline.helpers.read_feed import FEED_RULES
    found = {
        name: {"name": each.rules_version(), "identity": [*map(code_digest, each.code)]}
        for name, each in DATASETS.items()
    }
    found["feed"] = {
        "name": f"feed rules {FEED_RULES}", "identity": found["helper"]["identity"]
    }
else:
    found = {
        name: {"name": each.rules_version, "identity": each.rules.identity}
        for name, each in DATASETS.items()
    }
    found["feed"] = {"name": rules_of_feeds().name, "identity": rules_of_feeds().identity}
print(json.dumps(found))
"""
"""Run by the other release: what it writes down of the rules of each dataset."""


@click.group()
def main() -> None:
    """Compare this checkout with another release."""


@main.command()
@click.argument("commit")
@click.option("--but", multiple=True, type=click.Choice([*DATASETS, FEED]), help="Not of these.")
def prove(commit: str, but: tuple[str, ...]) -> None:
    """Prove that this checkout makes the rows of COMMIT, and write that down."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        release = checkout(commit, folder / "release")
        days = {**town(folder), **sample(folder), **extracts(folder)}
        for cities, each in days.items():
            before, now = (
                rows_of(which, folder / cities.stem / name, cities, each)
                for name, which in (("before", release), ("now", ROOT))
            )
            differing = before ^ now
            for name in but:
                others = sum(dataset_of(row) == name for row in differing)
                click.echo(f"{cities.stem}: {others} rows of {name} differ on purpose")
            before, now, differing = (
                {row for row in rows if dataset_of(row) not in but}
                for rows in (before, now, differing)
            )
            for row in sorted(differing)[:20]:
                click.echo(f"only {'before' if row in before else 'now'}: {row}")
            if differing or not before:
                sys.exit(f"{cities.stem}: {len(differing)} rows of {len(before | now)} differ")
            click.echo(f"{cities.stem}: {len(before)} rows are equal")
        found = json.loads(output_of(release, [sys.executable, "-c", RULES]))
    PROVEN.write_text(json.dumps(proven(commit, found, but=but), indent=2) + "\n")
    click.echo(f"wrote {PROVEN.relative_to(ROOT)}")


@main.command()
@click.argument("commit")
def fixture(commit: str) -> None:
    """Pack the database and the lake of the town as COMMIT leaves them."""
    shutil.rmtree(TOWN, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        release = checkout(commit, folder / "release")
        for cities, days in town(TOWN).items():
            stage(release, TOWN, cities, days)
    with sqlite3.connect(TOWN / "staging.gpkg") as database:
        database.execute("UPDATE ingestion_run SET worker = NULL")  # it names the machine
        database.commit()
        database.execute("VACUUM")
    libraries = sorted({*LIBRARIES, *LIBRARIES_OF_FEEDS, *NAMED_LIBRARIES})
    versions = dict(zip(libraries, versions_of(libraries), strict=True))
    (TOWN / "versions.json").write_text(json.dumps(versions, indent=1) + "\n")
    with zipfile.ZipFile(FIXTURE, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name in ("town.toml", "versions.json", "staging.gpkg", "lake/**/*"):
            for file in sorted(filter(Path.is_file, TOWN.glob(name))):
                packed.write(file, file.relative_to(TOWN))
    click.echo(f"wrote {FIXTURE.relative_to(ROOT)}")


def dataset_of(row: tuple[Any, ...]) -> str:
    """Return the dataset of a row of `rows_of`; `feed` if the row is of a feed."""
    table, _, second, third, *_ = row
    datasets = {each.table.name: name for name, each in DATASETS.items()}
    dataset, source = (datasets[table], second) if table in datasets else (second, third)
    return dataset if source == SOURCE else FEED


def proven(
    release: str, found: dict[str, dict[str, Any]], *, but: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return what is to be written of the rules of a release that are proven equal to ours."""
    ours = {name: each.rules.digest for name, each in DATASETS.items()}
    ours[FEED] = rules_of_feeds().digest
    written = {}
    for name, digest in ours.items():
        if name in but:
            continue
        tables = DATASETS[name].tables() if name in DATASETS else ()
        theirs = found[name]["name"].removesuffix("; ".join(("", *tables, named_libraries())))
        written[name] = {
            "digest": digest,
            "release": release,
            "name": theirs,
            "identity": found[name]["identity"],
        }
    return written


def checkout(commit: str, folder: Path) -> Path:
    """Write the files of a commit into a folder."""
    archive = folder.with_suffix(".tar")
    folder.mkdir()
    output_of(ROOT, ["git", "archive", "-o", str(archive), commit])
    shutil.unpack_archive(archive, folder)
    return folder


Days = list[tuple[str, str, date]]
"""City, job and day."""


def town(folder: Path) -> dict[Path, Days]:
    """Write the files of the invented town; return its cities file and its city-days."""
    folder.mkdir(exist_ok=True)
    for day in DAYS:
        write_extract(folder / f"osm-{day}.osm.pbf", day)
        (folder / f"fountains-{day}.csv").write_text(FOUNTAINS, encoding="cp1251")
    path = folder / "town.toml"
    path.write_text(CITIES.replace("{folder}", str(folder)), encoding="utf-8")
    first, second = DAYS
    return {
        path: [
            ("town", "osm_import", first),
            ("town", "osm_import", second),
            ("town", "helpers_import", first),
        ]
    }


def sample(folder: Path) -> dict[Path, Days]:
    """Return the shipped cities file and the days of the sample of Helsinki."""
    path = folder / "sample.toml"
    shutil.copyfile(ROOT / "ingestion_pipeline" / "cities.toml", path)
    jobs = ("osm_import", "helpers_import")
    return {path: [("helsinki", job, date(2019, 4, 21)) for job in jobs]}


def extracts(folder: Path) -> dict[Path, Days]:
    """Write a cities file for each dated extract of OSM_TEST_DATA; return them with their days."""
    found: dict[Path, Days] = {}
    data = os.environ.get("OSM_TEST_DATA")
    for extract in sorted(Path(data, "extracts").glob("*-????-??-??.osm.pbf")) if data else ():
        match = re.fullmatch(r"(.+)-(\d{4}-\d{2}-\d{2})\.osm\.pbf", extract.name)
        assert match
        west, south, east, north = middle_of(extract)
        path = folder / f"{match[1]}-{match[2]}.toml"
        path.write_text(
            CITIES.partition("[[city.feed]]")[0]
            .replace("{folder}/osm-{day}.osm.pbf", str(extract))
            .replace(str(list(BBOX)), str([west, south, east, north]))
        )
        jobs = ("osm_import", "helpers_import")
        found[path] = [("town", job, date.fromisoformat(match[2])) for job in jobs]
    return found


def middle_of(extract: Path) -> tuple[float, float, float, float]:
    """Return a box within an extract: west, south, east, north."""
    positions = [
        (node.location.lon, node.location.lat)
        for node in osmium.FileProcessor(str(extract), osmium.osm.NODE)
        if isinstance(node, osmium.osm.Node)
    ]
    lon, lat = (sorted(each) for each in zip(*positions, strict=True))
    fifth = len(lon) // 5
    return lon[fifth], lat[fifth], lon[-fifth], lat[-fifth]


def rows_of(release: Path, folder: Path, cities: Path, days: Days) -> set[tuple[Any, ...]]:
    """Stage city-days with a release in an empty folder; return the rows that it staged."""
    folder.mkdir(parents=True)
    stage(release, folder, cities, days)
    with sqlite3.connect(folder / "staging.gpkg") as database:
        return {
            (table, *row)
            for table, columns in ROWS.items()
            for row in database.execute(f"SELECT {columns} FROM {table}")  # noqa: S608 - our names
        }


def stage(release: Path, folder: Path, cities: Path, days: Days) -> None:
    """Stage city-days with a release, in the database and the lake of a folder."""
    poi_ingest(release, folder, cities, "migrate")
    for city, job, day in days:
        poi_ingest(release, folder, cities, "run", "--city", city, "--day", f"{day}", "--job", job)


def poi_ingest(release: Path, folder: Path, cities: Path, *arguments: str) -> None:
    """Run a release's command line; end with what it says where it fails."""
    settings = {
        "DATABASE_URL": f"sqlite:///{folder}/staging.gpkg",
        "DATA_DIR": f"{folder}/lake",
        "CITIES_FILE": f"{cities}",
        "STATE_DIR": f"{folder}/state",
        "DAGSTER_HOME": f"{folder}/dagster_home",
        "PARTITIONS_START": "2015-01-01",
    }
    command = [sys.executable, "-m", "ingestion_pipeline", *arguments]
    output_of(release, command, **settings)


def output_of(release: Path, command: Sequence[str], **settings: str) -> str:
    """Return what a process prints in which a release's modules are found first."""
    environment = {**os.environ, "PYTHONPATH": str(release), **settings}
    done = subprocess.run(  # noqa: S603  # our own commands
        command, cwd=release, env=environment, check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{release}: {' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def write_extract(path: Path, day: date) -> None:
    """Write the town's extract of a day; the second one differs."""
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    header = osmium.io.Header()
    header.add_box(osmium.osm.Box(5, 40, 30, 65))
    header.set("osmosis_replication_timestamp", at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    writer = osmium.SimpleWriter(str(path), header=header)
    same: dict[str, Any] = {"version": 1, "timestamp": datetime(2024, 5, 1, tzinfo=UTC)}
    nodes = NODES if day == DAYS[0] else NODES | RENAMED
    for number, (lon, lat, tags) in nodes.items():
        node = osmium.osm.mutable.Node(id=number, location=(lon, lat), tags=tags, **same)
        writer.add_node(node)
    for number, (corners, tags) in WAYS.items():
        writer.add_way(osmium.osm.mutable.Way(id=number, nodes=corners, tags=tags, **same))
    writer.close()


if __name__ == "__main__":
    main()
