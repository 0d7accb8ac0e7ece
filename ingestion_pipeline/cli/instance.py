"""Opening Dagster's instance in DAGSTER_HOME."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ingestion_pipeline.core.errors import IngestionError

if TYPE_CHECKING:
    import dagster as dg

CONFIGURATION = "dagster.yaml"

CELERY = {
    "module": "ingestion_pipeline.dagster_runtime.celery_launcher",
    "class": "CeleryLauncher",
    "config": {
        "broker": {"env": "CELERY_BROKER_URL"},
        "backend": {"env": "CELERY_BACKEND_URL"},
    },
}
"""The launcher of several machines, as in `deploy/celery/dagster.yaml`."""


class DagsterStorageUnavailable(IngestionError):
    """Dagster's own database does not answer."""

    code = "dagster_storage_unavailable"
    should_retry = True


def dagster_instance(home: Path) -> dg.DagsterInstance:
    """Open Dagster's instance; set up its folder on first use.

    Raises:
        DagsterStorageUnavailable: Its storage does not answer for some seconds.
    """
    import dagster as dg
    import filelock

    prepare_dagster_home(home)
    try:
        # Two processes that create Dagster's tables at the same time fail.
        with filelock.FileLock(home / "first-use.lock"):
            return dg.DagsterInstance.from_config(str(home))
    except Exception as error:
        if not _is_of_storage(error):
            raise
        # Its text may contain the address with a password.
        raise DagsterStorageUnavailable(
            f"Dagster's storage does not answer ({type(error).__name__}). Start its server, or "
            f"correct 'storage' in {home / CONFIGURATION} and the variables that it names."
        ) from error


def _is_of_storage(error: Exception) -> bool:
    from sqlalchemy.exc import OperationalError

    # By its name: most processes need not load the storage in PostgreSQL.
    return isinstance(error, OperationalError) or type(error).__name__ == "DagsterPostgresException"


def prepare_dagster_home(home: Path) -> None:
    """Create the folder and its dagster.yaml where they are missing."""
    if not (home / CONFIGURATION).exists():
        _write(home, (Path(__file__).parents[1] / CONFIGURATION).read_text(encoding="utf-8"))


def prepare_home_of_workers(home: Path) -> None:
    """Create the folder, and a dagster.yaml by which Celery's workers execute the runs."""
    import yaml

    local = (Path(__file__).parents[1] / CONFIGURATION).read_text(encoding="utf-8")
    configuration = yaml.safe_load(local) | {"run_launcher": CELERY}
    _write(
        home,
        "# Of `poi-ingest dev --workers`, which writes it at each start.\n"
        + yaml.safe_dump(configuration, sort_keys=False),
    )


def _write(home: Path, configuration: str) -> None:
    home.mkdir(parents=True, exist_ok=True)
    # Renamed when complete, so that another process never reads a part of it.
    complete = home / f"{CONFIGURATION}.{os.getpid()}"
    complete.write_text(configuration, encoding="utf-8")
    complete.rename(home / CONFIGURATION)
