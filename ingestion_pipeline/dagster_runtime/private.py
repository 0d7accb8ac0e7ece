"""Names that Dagster has no public address for, under ours.

Everything else of the package takes them from here, so that a new minor release of Dagster is
compared in one folder. `pyproject.toml` allows the minor release with which they were tested.
"""

from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition as AssetJob,
)
from dagster._core.errors import DagsterExecutionInterruptedError as RunInterrupted
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.objects import ErrorSource
from dagster._core.storage.tags import (
    AUTO_RETRY_RUN_ID_TAG,
    MAX_RETRIES_TAG,
    PARENT_RUN_ID_TAG,
    PRIORITY_TAG,
    RETRY_NUMBER_TAG,
    SENSOR_NAME_TAG,
    WILL_RETRY_TAG,
)

__all__ = [
    "AUTO_RETRY_RUN_ID_TAG",
    "MAX_RETRIES_TAG",
    "PARENT_RUN_ID_TAG",
    "PRIORITY_TAG",
    "RETRY_NUMBER_TAG",
    "SENSOR_NAME_TAG",
    "WILL_RETRY_TAG",
    "AssetJob",
    "ErrorSource",
    "InstanceConcurrencyContext",
    "RunInterrupted",
]
