"""The run launcher for several machines: runs are tasks of Celery's workers.

`run_launcher` in `dagster.yaml` enables it; `poi-ingest worker` serves its tasks. Dagster's queue
decides which runs start, and Celery decides where.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from celery.states import FAILURE
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from ingestion_pipeline.dagster_runtime.daemon_storage import spare_statements
from ingestion_pipeline.dagster_runtime.liveness import has_died

if TYPE_CHECKING:
    import dagster as dg


class CeleryLauncher(CeleryRunLauncher):
    """Dagster's launcher for Celery, with the true state of canceled and lost runs.

    It has the configuration of `dagster_celery.launcher.CeleryRunLauncher`.
    """

    def register_instance(self, instance: dg.DagsterInstance) -> None:
        """Take the instance, in whose process this is, and let it use its storages sparingly."""
        super().register_instance(instance)
        spare_statements(instance)

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run as Ctrl-C does; return False if it has ended.

        A task that no worker has taken is discarded by the worker that takes it. Its run stays
        CANCELING until Dagster's run monitoring ends it, after `cancel_timeout_seconds`.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        # Dagster's launcher does not report it: a run that is not taken would stay STARTING.
        self._instance.report_run_canceling(run)
        if task_id := run.tags.get(DAGSTER_CELERY_TASK_ID_TAG):
            self.celery.control.revoke(task_id, terminate=True, signal="SIGTERM")
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether a run's process is alive, as far as is known.

        An unknown state is not a failure: an emptied broker has forgotten tasks that continue.
        """
        if has_died(run):
            return CheckRunHealthResult(WorkerStatus.FAILED, "its process is gone")
        if self._state_of_task(run) == FAILURE:
            return CheckRunHealthResult(WorkerStatus.FAILED, "its worker lost its process")
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def get_run_worker_debug_info(
        self,
        run: dg.DagsterRun,
        include_container_logs: bool | None = True,
    ) -> str | None:
        """Return the run's task and its state, for messages of Dagster's run monitoring."""
        del include_container_logs
        task_id = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        return f"Celery task {task_id}: {self._state_of_task(run) or 'state unknown'}"

    def _state_of_task(self, run: dg.DagsterRun) -> str | None:
        """Return the state of a run's task; None where it has none, or Redis does not answer."""
        if task_id := run.tags.get(DAGSTER_CELERY_TASK_ID_TAG):
            with suppress(Exception):  # each of Celery's backends has errors of its own
                return str(self.celery.AsyncResult(task_id).state)
        return None
