"""Removal of planned checks that a run never reached.

Dagster records the planned checks when a run starts. Those that a failed run did not reach count as
failed for ever, even after a later run has passed them.
"""

import logging

import dagster as dg
import sqlalchemy as sa

log = logging.getLogger(__name__)


def forget_planned_checks(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run's planned checks without a result; log an error and do not raise it."""
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return
    of_table = AssetCheckExecutionsTable.c
    planned = AssetCheckExecutionRecordStatus.PLANNED.value
    try:
        with storage.index_connection() as connection:
            connection.execute(
                sa.delete(AssetCheckExecutionsTable).where(
                    of_table.run_id == run_id, of_table.execution_status == planned
                )
            )
    except sa.exc.SQLAlchemyError as error:
        log.warning("cannot delete the planned checks of run %s: %s", run_id, type(error).__name__)
