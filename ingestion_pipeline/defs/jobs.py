"""Jobs: what is run for a partition, one for each dataset.

Belongs here: selections of assets with a name, and the run config that starts one. Does not belong
here: assets, and what starts jobs (`sensors.py`, `schedules.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from ingestion_pipeline.datasets.base import Dataset
from ingestion_pipeline.datasets.registry import DATASETS


@dataclass(frozen=True)
class IngestionJob:
    """The job that stages a dataset.

    Attributes:
        dataset: The dataset.
        definition: Dagster's job; its name is the first part of the job's idempotency keys.
    """

    dataset: Dataset
    definition: UnresolvedAssetJobDefinition

    @property
    def job_type(self) -> str:
        """Its name."""
        return self.dataset.job_type

    def run_config(self, *, refetch: bool, accepted_reason: str | None = None) -> dict[str, Any]:
        """Return the run config of a run.

        Args:
            refetch: Whether to ask upstream again.
            accepted_reason: Why to stage the day although a check stops it; None where it has not
                been accepted.
        """
        first, *_, last = self.dataset.chain
        config: dict[str, Any] = {first: {"refetch": refetch}}
        if accepted_reason is not None:
            config[last] = {"accept": {"reason": accepted_reason}}
        return {"ops": {asset: {"config": given} for asset, given in config.items()}}


def job_of(dataset: Dataset) -> IngestionJob:
    """Return the job that stages a dataset."""
    return IngestionJob(
        dataset,
        dg.define_asset_job(
            dataset.job_type,
            selection=dg.AssetSelection.assets(*dataset.chain),
            description=f"Stage one city's {dataset.things} of one UTC day.",
        ),
    )


JOBS: Mapping[str, IngestionJob] = {
    dataset.job_type: job_of(dataset) for dataset in DATASETS.values()
}
"""All jobs, by type."""
