"""The run launcher under its former import path, which users' `dagster.yaml` files may name."""

from ingestion_pipeline.dagster_runtime.launcher import WarmRunLauncher

__all__ = ["WarmRunLauncher"]
