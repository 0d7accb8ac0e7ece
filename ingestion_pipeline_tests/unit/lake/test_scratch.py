"""Scratch folders: gone when the work is done, and after a kill with the next start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ingestion_pipeline.lake.scratch import PREFIX, remove_abandoned, scratch_folder

if TYPE_CHECKING:
    from pathlib import Path

WORKER = """
import sys, time
from ingestion_pipeline.lake.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "extract.osm.pbf").write_bytes(b"x" * 1000)
    print(folder.parent, flush=True)
    time.sleep(60)
"""


def age(folder: Path, seconds: float = 120) -> None:
    moment = folder.stat().st_mtime - seconds
    os.utime(folder, (moment, moment))


def test_a_folder_is_empty_and_gone_afterwards() -> None:
    with scratch_folder() as folder:
        assert list(folder.iterdir()) == []
        (folder / "file").touch()
    assert not folder.parent.exists()


@pytest.mark.process
def test_the_folder_of_a_killed_process_is_removed_and_that_of_a_living_one_is_not(
    tmp_path: Path,
) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": str(tmp_path)},
        )
        for _ in range(2)
    ]
    try:
        folders = []
        for each in workers:
            assert each.stdout is not None
            folders.append(tmp_path / each.stdout.readline().strip().rpartition("/")[2])
        for folder in folders:
            age(folder)
        assert remove_abandoned(tmp_path) == []
        workers[0].send_signal(signal.SIGKILL)
        workers[0].wait()
        assert remove_abandoned(tmp_path) == [folders[0]]
        assert (folders[1] / "files/extract.osm.pbf").exists()
    finally:
        for each in workers:
            each.kill()
            each.communicate()


def test_a_folder_that_was_made_just_now_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}new").mkdir()
    (tmp_path / f"{PREFIX}new/in-use.lock").touch()
    assert remove_abandoned(tmp_path) == []


def test_a_folder_that_this_code_has_not_locked_is_never_removed(tmp_path: Path) -> None:
    named_alike, another = tmp_path / f"{PREFIX}pipeline", tmp_path / "ingestion-pipeline"
    for folder in (named_alike, another):
        (folder / "src").mkdir(parents=True)
        age(folder, 900_000)
    assert remove_abandoned(tmp_path) == []
    assert (named_alike / "src").exists()
