"""The command of a machine that executes runs: `worker`."""

from __future__ import annotations

import os
import sys

import click

from ingestion_pipeline.cli.instance import dagster_instance
from ingestion_pipeline.cli.output import log_to_stderr
from ingestion_pipeline.config.settings import environment, load_settings, set_in_environment
from ingestion_pipeline.core.errors import IngestionError
from ingestion_pipeline.dagster_runtime.single_thread import SINGLE_THREADED


class CeleryNotInstalled(IngestionError):
    """The extra `celery` is not installed."""

    code = "celery_not_installed"


@click.command()
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Number of runs at a time; each is a process.",
)
@click.option("--queue", default="dagster", show_default=True, help="Queue of Celery.")
@click.option("--name", default="worker", show_default=True, help="Name, before @ and the host's.")
def worker(concurrency: int, queue: str, name: str) -> None:
    """Execute runs that Dagster's daemon sends over Celery, until Ctrl-C.

    The broker is in dagster.yaml. SIGTERM lets active runs finish and takes no other one.
    """
    settings = load_settings()
    _restart_single_threaded()
    try:
        from ingestion_pipeline.dagster_runtime import celery_worker
    except ModuleNotFoundError as error:
        raise CeleryNotInstalled(
            f"The module {error.name} is missing. Install ingestion-pipeline[celery]."
        ) from error

    set_in_environment("DAGSTER_HOME", str(settings.dagster_home))
    # Closed before any run is forked: its connections must not be copied.
    with dagster_instance(settings.dagster_home) as instance:
        app = celery_worker.app_of(instance)
    log_to_stderr("ingestion_pipeline", "celery")
    click.echo(f"{name} executes up to {concurrency} runs at a time of the queue {queue}")
    sys.exit(celery_worker.serve(app, concurrency=concurrency, queue=queue, name=name))


def _restart_single_threaded() -> None:
    """Start this command again with the variables that keep libraries from starting threads.

    They are read when the libraries are loaded.
    """
    if not SINGLE_THREADED.items() <= environment().items():
        os.execve(sys.executable, sys.orig_argv, environment(**SINGLE_THREADED))  # noqa: S606
