"""Jobs, one for each dataset, and their run config."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from ingestion_pipeline.dagster_runtime.private import AssetJob
from ingestion_pipeline.datasets.base import Dataset
from ingestion_pipeline.datasets.registry import DATASETS


@dataclass(frozen=True)
class IngestionJob:
    """The job that stages a dataset.

    Attributes:
        dataset: The dataset.
        definition: The Dagster job. Its name is the first part of the idempotency keys.
    """

    dataset: Dataset
    definition: AssetJob

    @property
    def job_type(self) -> str:
        """The name of the job."""
        return self.dataset.job_type

    def run_config(self, *, refetch: bool, accepted_reason: str | None = None) -> dict[str, Any]:
        """Return the run config of a run.

        Args:
            refetch: Whether to ask upstream again.
            accepted_reason: The reason to stage the day even if a check stops it; None if no
                operator accepted it.
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
