"""A private PostgreSQL server with PostGIS for the tests.

It is started from the binaries of Debian's packages in a folder of its own, on a free port of the
loopback interface, and stopped at the end; or the server of TEST_DATABASE_URL is used.

Operators put more around a server: a pooler, here pgbouncer in transaction mode, and separate
roles (`deploy/roles.sql`). `TEST_POSTGRES=pgbouncer,roles` runs the tests of a database so, or with
one of the two. Then what a fixture gives as the URL of a database is its owner's, and `as_worker`
makes the worker's of it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TEMPLATE = "ingestion_test_template"

ROLES_SCRIPT = Path(__file__).parents[1] / "deploy" / "roles.sql"

ADMINISTRATOR = "tester"
OWNER, WORKER, READER = "test_owner", "test_worker", "test_reader"

OPERATORS_PARTS = ("pgbouncer", "roles")
"""What TEST_POSTGRES may name."""


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
        """Return the URL of a new database, which is dropped afterwards."""
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
    """Return the server of TEST_DATABASE_URL, or start a private one."""
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


@contextmanager
def running_standby(primary: Cluster) -> Iterator[Cluster]:
    """Start a hot standby of a server, and remove it at the end."""
    home = Path(tempfile.mkdtemp(prefix="ingestion-standby-"))
    standby = Cluster(home, free_port(), durable=True, fsync=False)
    try:
        standby.follow(primary)
        standby.start()
        try:
            yield standby
        finally:
            standby.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


class Cluster:
    """A server in a folder of its own, which can be stopped and started again."""

    def __init__(
        self,
        home: Path,
        port: int,
        *,
        durable: bool,
        fsync: bool,
        address: str = "127.0.0.1",
        within: Sequence[str] = (),
    ) -> None:
        """Prepare a server.

        Args:
            home: Its folder.
            port: Its port.
            durable: Whether what is committed outlives a crash of the server.
            fsync: Whether it also outlives a crash of the machine.
            address: Where it listens; everybody on the network of this address is trusted.
            within: The beginning of a command that runs in the namespaces of a host.
        """
        self.home = home
        self.address = address
        self.port = port
        self.url = f"postgresql://{ADMINISTRATOR}@{address}:{port}/postgres"
        self.running = False
        self._durable = durable
        self._fsync = fsync
        self._prefix = [*within, *_not_as_root(home)]

    def create(self) -> None:
        """Make its files."""
        self._run("initdb", "-U", ADMINISTRATOR, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        with (self.home / "data" / "pg_hba.conf").open("a", encoding="utf-8") as trusted:
            trusted.writelines(
                f"host {databases} all samenet trust\n" for databases in ("all", "replication")
            )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "listen_addresses": self.address,
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

    def follow(self, primary: Cluster) -> None:
        """Copy the files of another server, to be its standby."""
        address = ("-h", primary.address, "-p", str(primary.port), "-U", ADMINISTRATOR)
        self._run("pg_basebackup", *address, "--write-recovery-conf", "--checkpoint=fast")

    def promote(self) -> None:
        """Let a standby become a primary server."""
        self._run("pg_ctl", "-w", "promote")

    def create_database(self, name: str) -> sa.URL:
        """Make an empty database; give its URL."""
        url = sa.make_url(self.url)
        self.administer(f"CREATE DATABASE {name}")
        return url.set(database=name)

    def administer(self, statement: str) -> None:
        """Execute a statement as the administrator, outside of a transaction."""
        _administer(sa.make_url(self.url).set(drivername="postgresql+psycopg"), statement)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self._prefix, _binaries() / program, "-D", self.home / "data", *arguments],
            check=True,
            cwd=self.home,
            stdout=subprocess.DEVNULL,
        )


@contextmanager
def running_pgbouncer(server: str | sa.URL) -> Iterator[int]:
    """Put pgbouncer, in transaction mode, before a server on which everybody is trusted.

    Args:
        server: The server's URL.

    Yields:
        The port on which it listens.
    """
    behind = sa.make_url(server)
    home = Path(tempfile.mkdtemp(prefix="ingestion-pgbouncer-"))
    port = free_port()
    users = (ADMINISTRATOR, OWNER, WORKER, READER)
    (home / "users").write_text("".join(f'"{name}" ""\n' for name in users))
    (home / "pgbouncer.ini").write_text(
        f"""
        [databases]
        * = host={behind.host} port={behind.port}
        [pgbouncer]
        listen_addr = 127.0.0.1
        listen_port = {port}
        unix_socket_dir =
        auth_type = trust
        auth_file = {home}/users
        pool_mode = transaction
        default_pool_size = 4
        max_client_conn = 500
        logfile = {home}/log
        """
    )
    prefix = _not_as_root(home)
    process = subprocess.Popen([*prefix, _pgbouncer(), "-q", str(home / "pgbouncer.ini")])
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(home, ignore_errors=True)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while True:
        assert process.poll() is None, "pgbouncer ended at once; its words are above"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)


def _pgbouncer() -> str:
    # Debian keeps it where only root looks.
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, "pgbouncer is missing: run 'make test', or install Debian's package pgbouncer"
    return found


def _not_as_root(home: Path) -> list[str]:
    """Return a folder to the user by whom servers run that refuse to run as root; run them so."""
    if os.geteuid() != 0:
        return []
    for path in (home, *home.iterdir()):
        shutil.chown(path, "postgres", "postgres")
    return ["runuser", "-u", "postgres", "--"]


def operators_parts() -> frozenset[str]:
    """Return what TEST_POSTGRES puts around the server of the tests."""
    named = frozenset(filter(None, os.environ.get("TEST_POSTGRES", "").split(",")))
    assert named <= set(OPERATORS_PARTS), f"TEST_POSTGRES knows {OPERATORS_PARTS}, not {named}"
    assert not (named and os.environ.get("TEST_DATABASE_URL")), (
        "TEST_POSTGRES needs the private server: unset TEST_DATABASE_URL"
    )
    return named


def make_roles(url: str | sa.URL) -> None:
    """Run deploy/roles.sql in a database, as its administrator."""
    administrator = sa.make_url(url).set(drivername="postgresql", username=ADMINISTRATOR)
    names = {"owner": OWNER, "worker": WORKER, "reader": READER}
    subprocess.run(
        [
            _binaries() / "psql",
            administrator.render_as_string(hide_password=False),
            "-X",
            *(f"-v{name}={role}" for name, role in names.items()),
            "-f",
            ROLES_SCRIPT,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def set_for_all(url: str | sa.URL, setting: str, value: str) -> None:
    """Set something for every new session of a database, as an operator does."""
    database = sa.make_url(url)
    administrator = database.set(
        drivername="postgresql+psycopg", username=ADMINISTRATOR, database="postgres"
    )
    _administer(administrator, f"ALTER DATABASE {database.database} SET {setting} = {value}")


def let_make_schemas(url: str | sa.URL) -> None:
    """Let the owner of the tables make schemas in a database, which it need not."""
    database = sa.make_url(url)
    administrator = database.set(drivername="postgresql+psycopg", username=ADMINISTRATOR)
    _administer(administrator, f"GRANT CREATE ON DATABASE {database.database} TO {OWNER}")


def end_sessions(url: str | sa.URL) -> None:
    """End all sessions of a database, as a failover does."""
    database = sa.make_url(url)
    administrator = database.set(
        drivername="postgresql+psycopg", username=ADMINISTRATOR, database="postgres"
    )
    of_it = f"FROM pg_stat_activity WHERE datname = '{database.database}'"
    _administer(administrator, f"SELECT pg_terminate_backend(pid, 5000) {of_it}")


def as_role(url: str | sa.URL, role: str) -> str:
    """Return the URL of a database for another role."""
    return sa.make_url(url).set(username=role).render_as_string(hide_password=False)


def with_port(url: str | sa.URL, port: int) -> str:
    """Return the URL of a database through another port, such as a pooler's."""
    return sa.make_url(url).set(port=port).render_as_string(hide_password=False)


def as_worker(url: str) -> str:
    """Return the URL with which to work on a database that its owner has migrated.

    It is the same one unless tests run under separate roles.
    """
    if sa.make_url(url).username != OWNER:
        return url
    make_roles(url)
    return as_role(url, WORKER)


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
