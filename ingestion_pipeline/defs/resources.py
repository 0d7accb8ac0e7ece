"""Dagster resources: settings, cities, and lazily opened connections that a run shares.

`PipelineResources` is plain Python: all code of the steps takes it. The `ConfigurableResource`s
declare it to Dagster. Their configuration is what the page *Resources* of the UI shows; secrets are
no part of it. Their docstrings have one paragraph, because Dagster shows them with their indents.

Each process opens its own connections, on first use, and shares them among its runs, ticks and
steps.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Self

import dagster as dg
import sqlalchemy as sa
from pydantic import Field

from ingestion_pipeline.config.cities import Cities, City
from ingestion_pipeline.config.lake import open_lake
from ingestion_pipeline.config.settings import Settings, SettingsError
from ingestion_pipeline.core.clock import Clock, SystemClock
from ingestion_pipeline.core.errors import IngestionError
from ingestion_pipeline.core.locations import redacted
from ingestion_pipeline.dagster_runtime.liveness import name_worker, worker
from ingestion_pipeline.defs.failures import Retrying
from ingestion_pipeline.lake.snapshots import Lake
from ingestion_pipeline.sources.gate import DatabaseGate, Gate, budgets_of
from ingestion_pipeline.staging import leases
from ingestion_pipeline.staging.clock import DatabaseClock
from ingestion_pipeline.staging.database import address_of, create_engine, require_migrated
from ingestion_pipeline.staging.file_leases import FileLease
from ingestion_pipeline.staging.heartbeat import Heartbeat

log = logging.getLogger(__name__)

PIPELINE = "pipeline"
DATABASE = "database"
LAKE = "lake"
OVERPASS = "overpass"
EXTRACTS = "extracts"

LEDGER_RESOURCES = frozenset({PIPELINE, DATABASE})
"""The keys of the resources that jobs of the ledger and staged days need."""

STORED_RESOURCES = LEDGER_RESOURCES | {LAKE}
"""The keys of the resources that work on stored data needs."""

OSM_RESOURCES = STORED_RESOURCES | {OVERPASS, EXTRACTS}
"""The keys of the resources that OpenStreetMap data is fetched with."""

NOT_SET = "not set"


@dataclass
class PipelineResources:
    """Settings, cities, clock, database and lake; connections are opened on first use.

    Attributes:
        settings: The settings.
        cities: The cities.
        clock: This machine's clock, which also waits.
        retrying: The retry policy for transient errors.
        ledger_clock: The clock for times in the database; by default the database's own.
        leases: The leases of the runs that this process works for, by Dagster run.
    """

    settings: Settings
    cities: Cities
    clock: Clock = field(default_factory=SystemClock)
    retrying: Retrying = field(default_factory=Retrying)
    ledger_clock: Clock | None = None
    leases: dict[str, Heartbeat | FileLease] = field(default_factory=dict)

    @cached_property
    def engine(self) -> sa.Engine:
        """The database, at the migration that this code needs.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
            DatabaseNotMigrated: Its schema has another version.
        """
        engine = create_engine(self.settings.database)
        require_migrated(engine)
        return engine

    def ledger_now(self) -> datetime:
        """Return the current moment for times that are stored in or compared with the database.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        return (self.ledger_clock or DatabaseClock(self.engine, self.clock)).now()

    def hold_lease(self, dagster_run_id: str) -> str | None:
        """Take the lease of a run, and hold it until `release_lease`; return its token.

        Returns:
            The same token for each call of a run; None if no claim has to name one.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        lease = self.leases.get(dagster_run_id) or self._take_lease(dagster_run_id)
        if lease is None:
            return None
        self.leases[dagster_run_id] = lease
        return lease.token

    def _take_lease(self, dagster_run_id: str) -> Heartbeat | FileLease | None:
        if not leases.are_stored(self.engine):
            return FileLease.taken(self.engine, dagster_run_id)
        heartbeat = Heartbeat(
            self.engine,
            dagster_run_id,
            beat_s=self.settings.heartbeat_seconds,
            lease_s=self.settings.lease_seconds,
        )
        heartbeat.begin()
        return heartbeat

    def release_lease(self, dagster_run_id: str) -> None:
        """Release the lease of a run that has ended; do nothing if it has none."""
        lease = self.leases.pop(dagster_run_id, None)
        if lease is not None:
            lease.end()

    @cached_property
    def own_cities(self) -> Cities:
        """The cities that this Dagster stages; `cities` has those of other groups, too.

        Raises:
            SettingsError: CITY_GROUP is no group of the cities file.
        """
        return self.cities.of_group(self.settings.city_group)

    @property
    def slugs_of_others(self) -> frozenset[str]:
        """The cities that another Dagster stages. Its jobs and runs are not judged here."""
        own = {city.slug for city in self.own_cities}
        return frozenset(city.slug for city in self.cities if city.slug not in own)

    @property
    def database_address(self) -> str:
        """The address of the database, without its password."""
        return address_of(self.settings.database)

    @cached_property
    def lake(self) -> Lake:
        """The lake."""
        return open_lake(self.settings)

    @cached_property
    def gate(self) -> Gate:
        """What admits requests to upstream servers."""
        return DatabaseGate(
            lambda: self.engine,
            clock=self.clock,
            lock_dir=self.settings.state_dir / "locks",
            worker=worker(),
            budgets=budgets_of(self.settings),
        )

    def cities_from(self, source: str) -> list[City]:
        """Return the cities whose data comes from a kind of source."""
        default = self.settings.osm_source
        return [city for city in self.cities if (city.osm_source or default) == source]


class SettingsResource(dg.ConfigurableResource[Any]):
    """A resource that is configured by the settings alone."""

    opened: dg.ResourceDependency[PipelineResources]

    @property
    def pipeline(self) -> PipelineResources:
        """The resources of the process; `opened`, which Dagster has resolved."""
        return self.opened

    @staticmethod
    def configuration(pipeline: PipelineResources) -> dict[str, Any]:
        """Return what the page of the resource shows; no secret is part of it."""
        raise NotImplementedError

    @classmethod
    def of(cls, pipeline: PipelineResources) -> Self:
        """Return the resource of an installation.

        Raises:
            SettingsError: The settings name no database.
            UnsupportedDatabase: DATABASE_URL is not a URL.
        """
        return cls(**cls.configuration(pipeline), opened=pipeline)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Require the configuration of the settings; a launch may send another one.

        Raises:
            SettingsError: The launch has another one.
        """
        if {**context.resource_config} != self.configuration(self.pipeline):
            raise SettingsError(
                f"the run config configures the resource {type(self).__name__}, which only "
                "settings do; remove 'resources' from the run config"
            )


class PipelineResource(SettingsResource):
    """The cities and their days, and how runs of them behave."""

    cities_file: str = Field(description="The file with the cities.")
    cities: list[str] = Field(description="The slugs of all cities.")
    scheduled_cities: list[str] = Field(description="The slugs of the cities with a schedule.")
    schedules: str = Field(description="Whether the schedules are on by default.")
    first_partition: str = Field(description="The first UTC day with a partition.")
    start_deadline_minutes: int = Field(description="How long a job may wait for its run.")
    state_dir: str = Field(description="The folder of the locks, one for each upstream server.")

    @staticmethod
    def configuration(pipeline: PipelineResources) -> dict[str, Any]:
        """Return what the page of the resource shows."""
        settings, cities = pipeline.settings, pipeline.own_cities
        return {
            "cities_file": str(cities.path),
            "cities": [city.slug for city in cities],
            "scheduled_cities": [city.slug for city in cities.enabled()],
            "schedules": settings.schedules,
            "first_partition": settings.first_partition.isoformat(),
            "start_deadline_minutes": settings.start_deadline_minutes,
            "state_dir": str(settings.state_dir),
        }

    def create_resource(self, context: dg.InitResourceContext) -> PipelineResources:
        """Return the resources; record the process of the run in Dagster, and take its lease."""
        if context.run is not None and context.instance is not None:
            name_worker(context.run, context.instance)
            try:
                self.pipeline.hold_lease(context.run.run_id)
            except IngestionError as error:  # the first step reports it, and takes the lease
                log.warning("The run has no lease yet: %s", error)
        return self.pipeline

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Release the lease of the run."""
        if context.run is not None:
            self.pipeline.release_lease(context.run.run_id)


class DatabaseResource(SettingsResource):
    """The database (DATABASE_URL) with the staged rows, the staged days and the ledger of runs."""

    address: str = Field(description="Its address, without the password.")

    @staticmethod
    def configuration(pipeline: PipelineResources) -> dict[str, Any]:
        """Return what the page of the resource shows."""
        return {"address": pipeline.database_address}

    @property
    def engine(self) -> sa.Engine:
        """The engine that all steps of the process share; see `PipelineResources.engine`."""
        return self.pipeline.engine


class LakeResource(SettingsResource):
    """The lake (DATA_DIR): raw bytes, their manifests, and frames, as files."""

    location: str = Field(description="A folder or an fsspec URL, without credentials.")

    @staticmethod
    def configuration(pipeline: PipelineResources) -> dict[str, Any]:
        """Return what the page of the resource shows."""
        return {"location": redacted(pipeline.settings.data_dir)}

    @property
    def lake(self) -> Lake:
        """The lake."""
        return self.pipeline.lake


class OverpassResource(SettingsResource):
    """The Overpass server that cities are fetched from, unless they come from an extract."""

    server: str = Field(description="The interpreter (OVERPASS_URL), without credentials.")
    contact: str = Field(description="The contact that requests name (OVERPASS_CONTACT).")
    cities: list[str] = Field(description="The slugs of the cities that come from it.")

    @staticmethod
    def configuration(pipeline: PipelineResources) -> dict[str, Any]:
        """Return what the page of the resource shows."""
        settings = pipeline.settings
        url = settings.overpass_url
        return {
            "server": redacted(url.get_secret_value()) if url else NOT_SET,
            "contact": settings.overpass_contact or NOT_SET,
            "cities": [city.slug for city in pipeline.cities_from("overpass")],
        }


class ExtractsResource(SettingsResource):
    """The extracts that cities are fetched from."""

    template: str = Field(description="The default (OSM_EXTRACT), without credentials.")
    cities: dict[str, str] = Field(description="The template of each city that comes from one.")

    @staticmethod
    def configuration(pipeline: PipelineResources) -> dict[str, Any]:
        """Return what the page of the resource shows."""
        template = redacted(pipeline.settings.osm_extract or NOT_SET)
        return {
            "template": template,
            "cities": {
                city.slug: redacted(city.osm_extract) if city.osm_extract else template
                for city in pipeline.cities_from("extract")
            },
        }


def pipeline_of(
    context: dg.AssetExecutionContext
    | dg.AssetCheckExecutionContext
    | dg.SensorEvaluationContext
    | dg.ScheduleEvaluationContext,
) -> PipelineResources:
    """Return the resources of a step, check, sensor or schedule, which must require the key."""
    pipeline: PipelineResources = getattr(context.resources, PIPELINE)
    return pipeline


def build_resources(pipeline: PipelineResources) -> Mapping[str, SettingsResource]:
    """Return the Dagster resources by key.

    Raises:
        SettingsError: The settings name no database.
        UnsupportedDatabase: DATABASE_URL is not a URL.
    """
    return {
        PIPELINE: PipelineResource.of(pipeline),
        DATABASE: DatabaseResource.of(pipeline),
        LAKE: LakeResource.of(pipeline),
        OVERPASS: OverpassResource.of(pipeline),
        EXTRACTS: ExtractsResource.of(pipeline),
    }
