"""Jobs: what is run for a partition, one for each type of job.

Belongs here: selections of assets with a name, and what has to be known to start one. Does not
belong here: assets, and what starts jobs (`sensors.py`, `schedules.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from ingestion_pipeline.core.identity import JobType
from ingestion_pipeline.datasets.registry import HELPER, POI
from ingestion_pipeline.defs.assets import helpers, osm


@dataclass(frozen=True)
class IngestionJob:
    """A type of job that this code can run.

    Attributes:
        job_type: The first part of its idempotency keys, and its name in Dagster.
        definition: Dagster's job.
        chain: Its assets, in order.
        dataset: The dataset that it stages.
        source: The source of the slices that it stages.
    """

    job_type: JobType
    definition: UnresolvedAssetJobDefinition
    chain: Sequence[str]
    dataset: str
    source: str

    def run_config(self, *, refetch: bool, accepted_reason: str | None = None) -> dict[str, Any]:
        """Give the run config of a run.

        Args:
            refetch: Whether upstream is to be asked again.
            accepted_reason: Why the day is staged though a check stops it; None where nobody
                accepts it.
        """
        config: dict[str, Any] = {self.chain[0]: {"refetch": refetch}}
        if accepted_reason is not None:
            config[self.chain[-1]] = {"accept": {"reason": accepted_reason}}
        return {"ops": {asset: {"config": given} for asset, given in config.items()}}


OSM_IMPORT = IngestionJob(
    job_type=osm.JOB,
    definition=dg.define_asset_job(
        osm.JOB,
        selection=dg.AssetSelection.assets(*osm.CHAIN),
        description="Stage one city's POIs of one UTC day from OpenStreetMap.",
    ),
    chain=osm.CHAIN,
    dataset=POI.name,
    source=osm.SOURCE,
)

HELPERS_IMPORT = IngestionJob(
    job_type=helpers.JOB,
    definition=dg.define_asset_job(
        helpers.JOB,
        selection=dg.AssetSelection.assets(*helpers.CHAIN),
        description="Stage one city's helper places of one UTC day.",
    ),
    chain=helpers.CHAIN,
    dataset=HELPER.name,
    source=helpers.SOURCE,
)

JOBS: Mapping[str, IngestionJob] = {job.job_type: job for job in (OSM_IMPORT, HELPERS_IMPORT)}
"""All of them, by type."""
