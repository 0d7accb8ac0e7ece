"""The registry of datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingestion_pipeline.datasets.helper import HELPER
from ingestion_pipeline.datasets.poi import POI
from ingestion_pipeline.osm.selection import any_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingestion_pipeline.datasets.base import Dataset
    from ingestion_pipeline.osm.selection import AnyOf, Selection

DATASETS: Mapping[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        POI,
        HELPER,
    )
}
"""All datasets by name; the first one is `DEFAULT_DATASET`."""

WITH_FEEDS = next(dataset for dataset in DATASETS.values() if dataset.feeds_asset)
"""The dataset whose rows also come from feeds."""


def selection_of_all() -> Selection | AnyOf:
    """Return the objects of all datasets, which one query of a city-day asks for."""
    return any_of(dataset.selection for dataset in DATASETS.values())


def job_types() -> tuple[str, ...]:
    """Return all job types, in the order of the datasets."""
    return tuple(dataset.job_type for dataset in DATASETS.values())
