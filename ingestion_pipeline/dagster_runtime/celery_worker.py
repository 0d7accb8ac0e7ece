"""A worker of Celery that executes runs: `poi-ingest worker`.

Each run has a process of its own, forked from the worker, which has already imported everything.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import dagster as dg
from celery.signals import setup_logging, worker_init
from celery.utils.nodenames import host_format
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import unpack_value
from dagster._utils.interrupts import capture_interrupts
from dagster_celery.config import TASK_EXECUTE_JOB_NAME
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.make_app import make_app

from ingestion_pipeline.core.errors import IngestionError
from ingestion_pipeline.dagster_runtime import warm

if TYPE_CHECKING:
    from celery import Celery


class NoCeleryLauncher(IngestionError):
    """The instance launches its runs otherwise."""

    code = "no_celery_launcher"


def app_of(instance: dg.DagsterInstance) -> Celery:
    """Return the Celery application of an instance, with the task that executes runs.

    Args:
        instance: Dagster's instance; it can be closed afterwards.

    Raises:
        NoCeleryLauncher: Its launcher is another one.
    """
    launcher = instance.run_launcher
    if not isinstance(launcher, CeleryRunLauncher):
        raise NoCeleryLauncher(
            f"dagster.yaml in {instance.root_directory} launches runs by "
            f"{type(launcher).__name__}, so no worker gets any. Set run_launcher as in "
            "deploy/celery/dagster.yaml."
        )
    app: Celery = make_app(launcher.app_args())  # type: ignore[no-untyped-call]
    app.conf.update(
        worker_max_tasks_per_child=1,
        # A run waits in Redis until a process is free: not behind one worker's runs while another
        # worker is idle.
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        # Output belongs to the run, whose captured output Dagster stores.
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A lost process is found by its lease, and Dagster launches the run again.
        task_acks_late=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )
    app.task(name=TASK_EXECUTE_JOB_NAME, track_started=True)(execute_job)
    return app


def execute_job(execute_job_args_packed: Any) -> None:
    """Execute a run; the task of `dagster_celery`, whose argument it has."""
    args = unpack_value(execute_job_args_packed, as_type=ExecuteRunArgs)
    # Of this machine's DAGSTER_HOME, as by Dagster's own task.
    with capture_interrupts(), dg.DagsterInstance.get() as instance:
        warm.execute(args.run_id, instance)


def serve(app: Celery, *, concurrency: int, queue: str, name: str) -> int:
    """Execute runs until this process is asked to end; return its exit code.

    SIGTERM lets active runs finish and takes no other one.

    Args:
        app: The application of `app_of`.
        concurrency: The largest number of runs at a time.
        queue: The queue with the tasks.
        name: The worker's name, before `@` and the host's.
    """
    worker_init.connect(_prepare, weak=False)
    setup_logging.connect(_keep_logging, weak=False)
    worker = app.Worker(
        concurrency=concurrency,
        queues=[queue],
        hostname=host_format(f"{name}@%h"),
        pool="prefork",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
    )
    worker.start()
    return int(worker.exitcode or os.EX_OK)


def _prepare(**_: object) -> None:
    """Load what runs need, before the pool forks its processes."""
    warm.prepare_to_fork()


def _keep_logging(**_: object) -> None:
    """Keep the handlers of this process; Celery adds its own unless this signal has a receiver."""
