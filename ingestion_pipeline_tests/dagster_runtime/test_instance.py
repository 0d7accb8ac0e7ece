"""Dagster's instance, opened by commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner

from ingestion_pipeline.cli.main import main
from ingestion_pipeline.cli.output import TRY_LATER
from testbed.postgres_server import free_port

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "a-password-of-the-tests"


@pytest.mark.server
def test_a_storage_that_does_not_answer_is_an_error_without_the_password(tmp_path: Path) -> None:
    url = f"postgresql+psycopg2://someone:{PASSWORD}@127.0.0.1:{free_port()}/dagster"
    (tmp_path / "dagster.yaml").write_text(
        yaml.safe_dump({"storage": {"postgres": {"postgres_url": url}}})
    )
    result = CliRunner().invoke(
        main, ["prune", "--older-than", "30"], env={"DAGSTER_HOME": str(tmp_path)}
    )
    assert result.exit_code == TRY_LATER
    assert "Error (dagster_storage_unavailable): " in result.output
    assert str(tmp_path / "dagster.yaml") in result.output
    assert PASSWORD not in result.output
