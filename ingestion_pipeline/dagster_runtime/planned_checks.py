"""Checks that a run planned and never reached: they say nothing of the day.

Belongs here: taking their plans out of Dagster's storage. Does not belong here: the results of
checks (`checks.py`).

Dagster writes down, as a run begins, which checks it will make, and counts those that a failed run
did not come to as failed for ever, even after a later run has passed them.
"""

import logging

import dagster as dg
import sqlalchemy as sa

log = logging.getLogger(__name__)


def forget_planned_checks(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove the plans of a run's checks that have no result.

    Why a run failed counts more than its plans: an error here is logged.
    """
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
        log.warning("The planned checks of run %s stay planned: %s", run_id, type(error).__name__)
