"""The check before a release."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def released(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "release.py", folder],
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.process
def test_a_folder_without_packages_is_no_release(tmp_path: Path) -> None:
    result = released(tmp_path)
    assert result.returncode == 1
    assert "one wheel and one sdist" in result.stderr
    assert "Would publish" not in result.stdout


@pytest.mark.process
def test_a_wheel_without_the_manual_is_no_release(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "ingestion_pipeline-0.0.0-py3-none-any.whl", "w"):
        pass
    with tarfile.open(tmp_path / "ingestion_pipeline-0.0.0.tar.gz", "w:gz"):
        pass
    result = released(tmp_path)
    assert result.returncode == 1
    assert "does not contain manual/index.html" in result.stderr
    assert "is not version" in result.stderr
