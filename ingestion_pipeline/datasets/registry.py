"""The registry of datasets.

Belongs here: the list. Does not belong here: what a dataset is (`base.py`), and the entries (one
module for each).
"""

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
"""All of them, by name; commands use the first one where none is named."""

JOB_TYPES = tuple(dataset.job_type for dataset in DATASETS.values())
"""The types of jobs."""
