"""Dagster's storage as it is used in development and in production."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest
import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["sqlite", "postgres"])
def stored_instance(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """An instance with SQLite files, as in development, and with PostgreSQL, as in production."""
    home = tmp_path / "home"
    home.mkdir()
    if request.param == "postgres":
        url = sa.make_url(request.getfixturevalue("postgis_url"))
        monkeypatch.setenv(
            "DAGSTER_STORAGE_URL",
            url.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False),
        )
        shutil.copy(ROOT / "deploy" / "dagster.yaml", home)
    else:
        shutil.copy(ROOT / "ingestion_pipeline" / "dagster.yaml", home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance
