"""Resources: what assets are given to work with.

Belongs here: lazily opened connections that a run shares, and how a run comes by them. Does not
belong here: settings (`config/settings.py`) and the work itself (`assets/`).
"""

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
    """Everything that the work on a city-day needs, opened when it is first used.

    Attributes:
        settings: The settings.
        cities: The cities.
        clock: The time of this machine, and the way to wait.
        retrying: How a step is tried again whose error may pass by itself.
        ledger_clock: The clock of what is stored in the database; the database's own, if there is
            no other.
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
            DatabaseUnavailable: It cannot be reached.
            DatabaseNotMigrated: Its schema is another one.
        """
        engine = create_engine(self.settings.database)
        require_migrated(engine)
        return engine

    def ledger_now(self) -> datetime:
        """Return the current moment for what is stored in the database, or compared with it.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        return (self.ledger_clock or DatabaseClock(self.engine, self.clock)).now()

    @property
    def database_address(self) -> str:
        """Where the database is, without its password."""
        return describe(self.engine)

    @cached_property
    def lake(self) -> Lake:
        """The lake."""
        return Lake(self.settings.data_dir)


def build_pipeline_resource(pipeline: PipelineResources) -> dg.ResourceDefinition:
    """Give the resources to whatever asks for it, and Dagster the name of each run's process."""

    @dg.resource(description="The settings, the cities, the database and the lake.")
    def pipeline_resource(context: dg.InitResourceContext) -> PipelineResources:
        if context.run is not None and context.instance is not None:
            name_worker(context.run, context.instance)
        return pipeline

    return pipeline_resource
