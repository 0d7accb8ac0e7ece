"""The run launcher under its former address, which `dagster.yaml` files of users name.

Belongs here: the import. Does not belong here: the launcher (`dagster_runtime/launcher.py`).
"""

from ingestion_pipeline.dagster_runtime.launcher import WarmRunLauncher

__all__ = ["WarmRunLauncher"]
