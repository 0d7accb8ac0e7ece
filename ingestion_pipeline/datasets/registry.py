"""The registry of datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingestion_pipeline.datasets.helper import HELPER
from ingestion_pipeline.datasets.poi import POI

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingestion_pipeline.datasets.base import Dataset

DATASETS: Mapping[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        POI,
        HELPER,
    )
}
"""All datasets by name. Commands use the first one by default."""

JOB_TYPES = tuple(dataset.job_type for dataset in DATASETS.values())
"""All job types."""
