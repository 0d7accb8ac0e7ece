"""A private PostgreSQL server with PostGIS for the tests.

It is started from the binaries of Debian's packages in a folder of its own, on a free port of the
loopback interface, and stopped at the end; or the server of TEST_DATABASE_URL is used.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATE = "ingestion_test_template"


class PostgresServer:
    """A server on which each test gets an empty database with PostGIS."""

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url).set(drivername="postgresql+psycopg")
        self._template = f"{TEMPLATE}_{uuid.uuid4().hex[:12]}"
        _administer(self.url, f"CREATE DATABASE {self._template}")
        engine = sa.create_engine(
            self.url.set(database=self._template), isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS postgis")
        engine.dispose()

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """Give the URL of a new database, which is dropped afterwards."""
        name = f"ingestion_test_{uuid.uuid4().hex[:12]}"
        _administer(self.url, f"CREATE DATABASE {name} TEMPLATE {self._template}")
        try:
            url = self.url.set(drivername="postgresql", database=name)
            yield url.render_as_string(hide_password=False)
        finally:
            _administer(self.url, f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        """Drop what this object made."""
        _administer(self.url, f"DROP DATABASE {self._template} WITH (FORCE)")


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Give the server of TEST_DATABASE_URL, or start a private one."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        server = PostgresServer(given)
        yield server
        server.close()
        return
    with private_cluster() as cluster:
        yield PostgresServer(cluster.url)


@contextmanager
def private_cluster(*, durable: bool = False, fsync: bool = False) -> Iterator[Cluster]:
    """Make a server of our own, start it, and remove it at the end.

    Args:
        durable: Whether what is committed outlives a crash of the server. It costs time, which
            tests that never stop the server need not spend.
        fsync: Whether it also outlives a crash of the machine, as in production. It costs more.
    """
    home = Path(tempfile.mkdtemp(prefix="ingestion-postgres-"))
    cluster = Cluster(home, free_port(), durable=durable or fsync, fsync=fsync)
    try:
        cluster.create()
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


class Cluster:
    """A server in a folder of its own, which can be stopped and started again."""

    def __init__(self, home: Path, port: int, *, durable: bool, fsync: bool) -> None:
        self.home = home
        self.port = port
        self.url = f"postgresql://tester@127.0.0.1:{port}/postgres"
        self.running = False
        self._durable = durable
        self._fsync = fsync
        # PostgreSQL refuses to run as root; Debian's package made a user for it.
        self._prefix: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(home, "postgres", "postgres")
            self._prefix = ["runuser", "-u", "postgres", "--"]

    def create(self) -> None:
        """Make its files."""
        self._run("initdb", "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.home,
            "fsync": "on" if self._fsync else "off",
            "synchronous_commit": "on" if self._durable else "off",
            "full_page_writes": "on" if self._fsync else "off",
            "max_connections": 200,
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._run("pg_ctl", "-w", "-l", str(self.home / "log"), "-o", options, "start")
        self.running = True

    def stop(self) -> None:
        """Let it crash: every connection breaks at once, and nothing is put in order."""
        if self.running:
            self._run("pg_ctl", "-m", "immediate", "stop")
            self.running = False

    def create_database(self, name: str) -> sa.URL:
        """Make an empty database; give its URL."""
        url = sa.make_url(self.url)
        _administer(url.set(drivername="postgresql+psycopg"), f"CREATE DATABASE {name}")
        return url.set(database=name)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self._prefix, _binaries() / program, "-D", self.home / "data", *arguments],
            check=True,
            cwd=self.home,
            stdout=subprocess.DEVNULL,
        )


def _administer(url: sa.URL, statement: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def _binaries() -> Path:
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: int(path.parts[-3]),
    )
    assert found, (
        "PostgreSQL is missing: run 'make test', which installs it, or install Debian's packages "
        "postgresql and postgresql-postgis, or set TEST_DATABASE_URL to a server with PostGIS"
    )
    return found[-1].parent


def free_port() -> int:
    """Find a port of the loopback interface on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
