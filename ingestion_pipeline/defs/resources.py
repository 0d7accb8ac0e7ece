"""Dagster resources: settings, cities, and lazily opened connections that a run shares."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import dagster as dg
import sqlalchemy as sa

from ingestion_pipeline.config.cities import Cities
from ingestion_pipeline.config.settings import Settings
from ingestion_pipeline.core.clock import Clock, SystemClock
from ingestion_pipeline.dagster_runtime.liveness import name_worker
from ingestion_pipeline.defs.failures import Retrying
from ingestion_pipeline.lake.snapshots import Lake
from ingestion_pipeline.staging.clock import DatabaseClock
from ingestion_pipeline.staging.database import create_engine, describe, require_migrated


@dataclass
class PipelineResources:
    """Settings, cities, clock, database and lake; connections are opened on first use.

    Attributes:
        settings: The settings.
        cities: The cities.
        clock: This machine's clock, which also waits.
        retrying: The retry policy for transient errors.
        ledger_clock: The clock for times in the database; by default the database's own.
    """

    settings: Settings
    cities: Cities
    clock: Clock = field(default_factory=SystemClock)
    retrying: Retrying = field(default_factory=Retrying)
    ledger_clock: Clock | None = None

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

    @property
    def database_address(self) -> str:
        """The address of the database, without its password."""
        return describe(self.engine)

    @cached_property
    def lake(self) -> Lake:
        """The lake."""
        return Lake(self.settings.data_dir)


def build_pipeline_resource(pipeline: PipelineResources) -> dg.ResourceDefinition:
    """Return the resource definition. It also records the process of each run in Dagster."""

    @dg.resource(description="The settings, the cities, the database and the lake.")
    def pipeline_resource(context: dg.InitResourceContext) -> PipelineResources:
        if context.run is not None and context.instance is not None:
            name_worker(context.run, context.instance)
        return pipeline

    return pipeline_resource
