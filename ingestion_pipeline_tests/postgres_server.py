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
        self._administer(f"CREATE DATABASE {self._template}")
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
        self._administer(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        try:
            url = self.url.set(drivername="postgresql", database=name)
            yield url.render_as_string(hide_password=False)
        finally:
            self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        """Drop what this object made."""
        self._administer(f"DROP DATABASE {self._template} WITH (FORCE)")

    def _administer(self, statement: str) -> None:
        engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Give the server of TEST_DATABASE_URL, or start a private one."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        server = PostgresServer(given)
        yield server
        server.close()
        return
    with _private_cluster() as url:
        yield PostgresServer(url)


@contextmanager
def _private_cluster() -> Iterator[str]:
    binaries = _binaries()
    home = Path(tempfile.mkdtemp(prefix="ingestion-postgres-"))
    # PostgreSQL refuses to run as root; Debian's package made a user for it.
    prefix: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(home, "postgres", "postgres")
        prefix = ["runuser", "-u", "postgres", "--"]
    port = _free_port()

    def run(*command: str) -> None:
        subprocess.run([*prefix, *command], check=True, cwd=home, stdout=subprocess.DEVNULL)

    data = str(home / "data")
    options = (
        f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={home} "
        "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"
    )
    try:
        run(str(binaries / "initdb"), "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8",
            "--locale=C.UTF-8")  # fmt: skip
        log = str(home / "log")
        run(str(binaries / "pg_ctl"), "-D", data, "-w", "-l", log, "-o", options, "start")
        try:
            yield f"postgresql://tester@127.0.0.1:{port}/postgres"
        finally:
            run(str(binaries / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
