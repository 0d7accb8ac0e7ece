"""The calls of the manual as they stand, and requests of a tool that knows the OpenAPI document."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ingestion_pipeline_tests.admin_api.reading.conftest import READ_TOKEN

if TYPE_CHECKING:
    from ingestion_pipeline_tests.admin_api.reading.conftest import Reading

ROOT = Path(__file__).parents[3]
MANUAL = (ROOT / "docs" / "reading.md").read_text("utf-8")
CALLS = [
    text
    for text in re.findall(r"^```\n(.*?)^```$", MANUAL, re.MULTILINE | re.DOTALL)
    if "$API" in text
]


def run(reading: Reading, call: str, folder: Path) -> str:
    """Run a call of the manual for a city and day that are staged; give what it said."""
    call = call.replace("kazan", "town").replace("2026", "2024").replace("11-20", "01-02")
    call = call.replace("11/20", "01/02").replace("curl -sS", "curl -sS --fail-with-body")
    done = subprocess.run(
        ["bash", "-euc", call],
        cwd=folder,
        env=os.environ | {"API": reading.url, "READ_API_TOKEN": READ_TOKEN},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.process
def test_the_calls_of_the_manual_work_as_they_stand(reading: Reading, tmp_path: Path) -> None:
    items, of_day, filtered, _, listed, _ = (run(reading, call, tmp_path) for call in CALLS)
    assert json.loads(items)["numberMatched"] == 41
    assert json.loads(of_day)["numberMatched"] == 40
    assert json.loads(filtered)["numberMatched"] == 0
    assert "Feature Count: 82" in listed
    assert (tmp_path / "tile.mvt").exists()
    said = subprocess.run(
        ["ogrinfo", "-so", "-al", tmp_path / "town.gpkg"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Feature Count: 40" in said.stdout


@pytest.mark.process
def test_no_request_that_the_contract_allows_is_an_internal_error(
    reading: Reading, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"), "run", f"{reading.url}/api",
            "--url", reading.url, "--header", f"X-Read-Token: {READ_TOKEN}",
            "--checks", "not_a_server_error", "--max-examples", "15", "--continue-on-failure",
            "--phases", "examples,coverage,fuzzing", "--generation-deterministic",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "Tested: 14" in done.stdout
