"""The registry of datasets, and what other modules know of it without importing it."""

from __future__ import annotations

from ingestion_pipeline.core.identity import DEFAULT_DATASET, DEFAULT_JOB_TYPE
from ingestion_pipeline.datasets.registry import DATASETS, job_types


def test_the_defaults_of_commands_are_the_first_dataset_and_its_job() -> None:
    assert (next(iter(DATASETS)), job_types()[0]) == (DEFAULT_DATASET, DEFAULT_JOB_TYPE)
