"""Opening Dagster's instance in DAGSTER_HOME."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg


def dagster_instance(home: Path) -> dg.DagsterInstance:
    """Open Dagster's instance; set up its folder on first use."""
    import dagster as dg
    import filelock

    prepare_dagster_home(home)
    # Two processes that create Dagster's tables at the same time fail.
    with filelock.FileLock(home / "first-use.lock"):
        return dg.DagsterInstance.from_config(str(home))


def prepare_dagster_home(home: Path) -> None:
    """Create the folder and its dagster.yaml where they are missing."""
    home.mkdir(parents=True, exist_ok=True)
    configuration = home / "dagster.yaml"
    if not configuration.exists():
        # Renamed when complete, so that another process never reads a part of it.
        complete = home / f"dagster.yaml.{os.getpid()}"
        shutil.copyfile(Path(__file__).parents[1] / "dagster.yaml", complete)
        complete.rename(configuration)
