"""Three hosts that are joined by a network, with the platform on them, and what may befall them.

Belongs here: hosts made of Linux namespaces (network, host name, and for workers also processes),
the platform's processes on them, PostgreSQL with a standby, and faults. Does not belong here: the
upstream servers and the store, which the caller gives sockets in the network; expectations.

    with joined_hosts() as hosts, running_on(hosts, folder, towns=TOWNS) as platform:
        hosts.worker_1.cut_off()
        hosts.worker_1.join()

It needs root. The hosts share files only through the lake: each has its own DAGSTER_HOME, STATE_DIR
and temporary folder.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import sqlalchemy as sa

from ingestion_pipeline.staging.database import create_engine, migrate
from testbed.platform_processes import (
    DEPLOY,
    LONG_ENOUGH_S,
    WORKERS,
    Name,
    Platform,
    Program,
    commands_of,
    environment_of,
    wait_until,
    write_workspace,
)
from testbed.postgres_server import Cluster
from testbed.towns import write_cities

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PORTS: Mapping[Name, int] = {
    "code-server": 4000,
    "webserver": 3000,
    "api": 8000,
    "redis": 6379,
    "daemon": 0,
}
POSTGRES_PORTS = (5432, 5433)

_CLONE_NEWNET = 0x40000000

_IN_NAMESPACES = """
echo "$1" > /proc/sys/kernel/hostname
shift
exec "$@"
"""
"""What begins in a host: it has a name of its own."""


class HostsNotAllowed(Exception):
    """This user, or this kernel, makes no network namespaces."""


def require_hosts() -> None:
    """Check that hosts can be made here.

    Raises:
        HostsNotAllowed: They cannot.
    """
    missing = [name for name in ("ip", "unshare") if shutil.which(name) is None]
    if missing:
        raise HostsNotAllowed(f"Missing: {', '.join(missing)} (Debian: iproute2, util-linux).")
    if os.geteuid() != 0:
        raise HostsNotAllowed("Hosts are network namespaces, which need root.")
    name = f"poi-{os.getpid()}-try"
    try:
        _ip("netns", "add", name)
        _ip("netns", "delete", name)
    except subprocess.CalledProcessError as error:
        raise HostsNotAllowed(f"No network namespace can be made: {error.stderr.strip()}") from None


@dataclass(frozen=True)
class Host:
    """A host: its name, the name of its network namespace, and its address in the network."""

    name: str
    namespace: str
    address: str
    link: str
    """The end of its cable in the root namespace."""

    def within(self, *, processes: bool = False) -> list[str]:
        """Return the beginning of a command that runs on this host.

        Args:
            processes: Whether its processes are in a PID namespace of their own, which ends with
                the first of them.
        """
        pids = ("--pid", "--fork", "--kill-child", "--mount-proc") if processes else ()
        return [
            *("ip", "netns", "exec", self.namespace),
            *("unshare", "--uts", *pids),
            *("sh", "-ec", _IN_NAMESPACES, "sh", self.name),
        ]

    def cut_off(self) -> None:
        """Pull the cable: packets vanish in both directions, and connections do not end."""
        _ip("link", "set", self.link, "down")

    def join(self) -> None:
        """Put the cable back."""
        _ip("link", "set", self.link, "up")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Let sockets that this thread makes belong to the host's network."""
        with (
            Path("/proc/thread-self/ns/net").open("rb") as ours,
            Path("/run/netns", self.namespace).open("rb") as theirs,
        ):
            _enter_network(theirs.fileno())
            try:
                yield
            finally:
                _enter_network(ours.fileno())


@dataclass(frozen=True)
class Hosts:
    """The three hosts, and a bridge between them that is reached from the root namespace."""

    core: Host
    worker_1: Host
    worker_2: Host

    @property
    def workers(self) -> Mapping[Name, Host]:
        return dict(zip(WORKERS, (self.worker_1, self.worker_2), strict=True))

    @property
    def all(self) -> Sequence[Host]:
        return self.core, self.worker_1, self.worker_2


@contextmanager
def joined_hosts() -> Iterator[Hosts]:
    """Make the hosts, and remove their namespaces at the end."""
    require_hosts()
    # Two sets of hosts on one machine differ in the names and addresses that they use.
    unique = os.getpid()
    bridge, network = f"poi{unique}", f"10.{213 + unique // 256 % 16}.{unique % 256}"
    names = ("core", *WORKERS)
    hosts = Hosts(
        *(
            Host(name, f"poi-{unique}-{name}", f"{network}.{number}", f"poi{unique}-{number}")
            for number, name in enumerate(names, start=1)
        )
    )
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("address", "add", f"{network}.254/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for host in hosts.all:
            _ip("netns", "add", host.namespace)
            far = ("name", "eth0", "netns", host.namespace)
            _ip("link", "add", host.link, "type", "veth", "peer", *far)
            _ip("link", "set", host.link, "master", bridge)
            _ip("link", "set", host.link, "up")
            _ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                _ip("-n", host.namespace, "link", "set", device, "up")
        yield hosts
    finally:
        for host in hosts.all:
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", host.namespace)
            with suppress(subprocess.CalledProcessError):
                _ip("link", "delete", host.link)  # the kernel removes a namespace's end later
        with suppress(subprocess.CalledProcessError):
            _ip("link", "delete", bridge)


class WorkerProgram(Program):
    """The worker of a host, which is the first process of the host's PID namespace."""

    def terminate(self) -> None:
        """Ask the worker to end: `unshare`, which started it, does not pass signals on."""
        self.first.terminate()

    @property
    def first(self) -> psutil.Process:
        """The worker, as it is seen from outside of its namespace."""
        assert self._process is not None
        (first,) = psutil.Process(self._process.pid).children()
        return first

    def run_process(self, worker_name: str) -> psutil.Process | None:
        """Return a run's process by its name in the ledger; None if it has ended."""
        machine, pid, _ = worker_name.rsplit(" ", 2)
        with suppress(psutil.NoSuchProcess, FileNotFoundError):
            namespace = Path(f"/proc/{self.first.pid}/ns/pid").readlink()
            if machine.endswith(str(namespace)):
                for process in self.first.children(recursive=True):
                    if _pid_inside(process.pid) == pid:
                        return process
        return None


class Replicated:
    """A PostgreSQL with a synchronous standby, which takes over when the primary server is lost.

    Clients name both servers in their URL and connect to the one that accepts writes.
    """

    def __init__(self, folder: Path, host: Host) -> None:
        self._folder = folder
        self._host = host
        self._number = 0
        self.primary = self._new(POSTGRES_PORTS[0])
        self.standby: Cluster | None = None
        self.running = False

    def create(self) -> None:
        """Make the primary server, and start it without a standby."""
        self.primary.create()
        self.primary.start()
        self.running = True

    def start(self) -> None:
        """Do nothing: it is started by `create`."""

    def stop(self) -> None:
        """Let both servers crash."""
        for server in (self.primary, self.standby):
            if server is not None:
                server.stop()
        self.running = False

    def add_standby(self) -> None:
        """Start a standby of the primary server, which waits for it with every commit."""
        (port,) = set(POSTGRES_PORTS) - {self.primary.port}
        standby = self._new(port)
        standby.follow(self.primary)
        standby.start()
        self.standby = standby
        # After the copy was made: a promoted server has no standby to wait for.
        self.primary.administer("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.administer("SELECT pg_reload_conf()")
        engine = sa.create_engine(
            sa.make_url(self.primary.url).set(drivername="postgresql+psycopg")
        )
        with engine.connect() as connection:
            wait_until(
                lambda: connection.exec_driver_sql(
                    "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
                ).scalar_one(),
                "the standby follows",
            )
        engine.dispose()

    def fail_over(self) -> None:
        """Let the primary server crash, and promote its standby."""
        assert self.standby is not None
        self.primary.stop()
        shutil.rmtree(self.primary.home)
        self.primary, self.standby = self.standby, None
        self.primary.promote()

    def url(self, database: str, driver: str = "postgresql") -> str:
        """Return the URL of a database that finds the primary server."""
        hosts = tuple(f"{self._host.address}:{port}" for port in POSTGRES_PORTS)
        query = {"host": hosts, "target_session_attrs": "read-write"}
        url = sa.make_url(self.primary.url).set(
            drivername=driver, host=None, port=None, database=database, query=query
        )
        return url.render_as_string(hide_password=False)

    def _new(self, port: int) -> Cluster:
        self._number += 1
        home = self._folder / f"server-{self._number}"
        home.mkdir(parents=True)
        return Cluster(
            home,
            port,
            durable=True,
            fsync=False,
            address=self._host.address,
            within=("ip", "netns", "exec", self._host.namespace),
        )


@dataclass
class HostsPlatform(Platform):
    """The platform on three hosts, and the faults that need more than a host."""

    hosts: Hosts | None = None

    @cached_property
    def servers(self) -> Replicated:
        assert isinstance(self.postgres, Replicated)
        return self.postgres

    def worker(self, name: Name) -> WorkerProgram:
        program = self.programs[name]
        assert isinstance(program, WorkerProgram)
        return program

    def set_clock(self, name: Name, offset_s: int) -> None:
        """Set the clock of a worker's host off, also for processes that run already."""
        with _clock_of(self.folder, name).open("r+b") as clock:
            clock.write(struct.pack("@q", offset_s))

    def kill_worker(self, name: str | None) -> None:
        """Kill the process of a run on any host, by its name in the ledger."""
        assert name is not None
        for worker in WORKERS:
            process = self.worker(worker).run_process(name)
            if process is not None:
                process.kill()

    def redis(self, *command: str) -> None:
        """Give a command to Redis."""
        subprocess.run(
            ["redis-cli", "-h", self.address, "-p", str(PORTS["redis"]), *command],
            check=True,
            capture_output=True,
            timeout=LONG_ENOUGH_S,
        )


@contextmanager
def running_on(
    hosts: Hosts,
    folder: Path,
    *,
    towns: Sequence[Mapping[str, Any]],
    dagster_yaml: Path = DEPLOY / "celery" / "dagster.yaml",
    module: str = "ingestion_pipeline.definitions",
    concurrency: int = 2,
    **settings: str,
) -> Iterator[HostsPlatform]:
    """Start the platform on hosts, in an empty folder, and end every process in any case.

    PostgreSQL and its standby, Redis, code server, daemon, webserver and admin API are on the host
    `core`, and each worker is on a host of its own.

    Args:
        hosts: The hosts.
        folder: Where to.
        towns: The cities.
        dagster_yaml: How Dagster is set up, on each host.
        module: Where the code server finds the definitions.
        concurrency: The number of runs at a time of each worker.
        settings: Further environment variables, such as the address of the lake.
    """
    core = hosts.core.address
    (logs := folder / "logs").mkdir(parents=True)
    write_cities(folder / "cities.toml", towns)
    write_workspace(folder, core, PORTS["code-server"])
    servers_folder = Path(tempfile.mkdtemp(prefix="ingestion-hosts-"))
    servers_folder.chmod(0o755)  # it is not root that enters it
    servers = Replicated(servers_folder, hosts.core)
    try:
        servers.create()
        for database in ("project", "dagster"):
            servers.primary.create_database(database)
        engine = create_engine(servers.url("project"))
        migrate(engine)
        engine.dispose()
        servers.add_standby()
        common = environment_of(folder) | {
            "DATABASE_URL": servers.url("project"),
            "DAGSTER_STORAGE_URL": servers.url("dagster", "postgresql+psycopg2"),
            "DAGSTER_URL": f"http://{core}:{PORTS['webserver']}",
            "CELERY_BROKER_URL": f"redis://{core}:{PORTS['redis']}/0",
            "CELERY_BACKEND_URL": f"redis://{core}:{PORTS['redis']}/1",
            **settings,
        }
        environments = {
            host.name: common | _environment_on(host, folder, dagster_yaml) for host in hosts.all
        }
        programs: dict[Name, Program] = {}
        clock_offset = _build_clock_offset(folder)
        commands = commands_of(folder, PORTS, module=module, address=core, concurrency=concurrency)
        # A Redis that is stopped keeps what it holds; one that is emptied does not.
        commands["redis"][commands["redis"].index("--save") + 1] = "3600 1"
        for name, command in commands.items():
            log = logs / f"{name}.log"
            if (host := hosts.workers.get(name)) is not None:
                clock = _clock_of(folder, host.name)
                clock.write_bytes(bytes(8))
                environment = environments[host.name] | {
                    "LD_PRELOAD": str(clock_offset),
                    "CLOCK_OFFSET_FILE": str(clock),
                }
                inside = [*host.within(processes=True), *command]
                programs[name] = WorkerProgram(inside, environment, log)
            else:
                environment = environments["core"]
                programs[name] = Program([*hosts.core.within(), *command], environment, log)
        platform = HostsPlatform(
            folder,
            servers.url("project"),
            environments["core"],
            PORTS,
            programs,
            servers,
            address=core,
            hosts=hosts,
        )
        try:
            platform.boot()
            yield platform
        finally:
            for host in hosts.all:
                host.join()
            platform.close()
    finally:
        servers.stop()
        shutil.rmtree(servers_folder, ignore_errors=True)


def _environment_on(host: Host, folder: Path, dagster_yaml: Path) -> dict[str, str]:
    """Make the folders of a host; return the environment that names them."""
    places = {
        name: folder / host.name / part
        for name, part in {
            "DAGSTER_HOME": "dagster_home",
            "STATE_DIR": "state",
            "TMPDIR": "tmp",
        }.items()
    }
    for place in places.values():
        place.mkdir(parents=True)
    shutil.copyfile(dagster_yaml, places["DAGSTER_HOME"] / "dagster.yaml")
    return {name: str(place) for name, place in places.items()}


def _build_clock_offset(folder: Path) -> Path:
    """Compile the library that sets the clock of a worker off."""
    library = folder / "clock_offset.so"
    source = Path(__file__).with_name("clock_offset.c")
    compiler = shutil.which("cc")
    assert compiler, "a C compiler is missing: install Debian's packages gcc and libc6-dev"
    command: list[str | Path] = [
        compiler,
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-Werror",
        "-o",
        library,
        source,
    ]
    subprocess.run(command, check=True)
    return library


def _clock_of(folder: Path, name: str) -> Path:
    return folder / name / "clock"


def _pid_inside(pid: int) -> str | None:
    """Return the id that a process has in its innermost PID namespace."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    (ids,) = [line for line in status.splitlines() if line.startswith("NSpid:")]
    return ids.split()[-1]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def _enter_network(descriptor: int) -> None:
    """Move this thread to a network namespace; `os.setns` is only in newer Pythons."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
