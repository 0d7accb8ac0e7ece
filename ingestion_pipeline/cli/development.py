"""Starts and stops Dagster's UI, daemon and workers and the admin API together, for development."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import psutil

from ingestion_pipeline.config.settings import environment_with
from ingestion_pipeline.core.errors import IngestionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ingestion_pipeline.config.settings import Settings

GRACE_S = 20
"""The time a process may take to end; Dagster's waits for the runs that it stops."""

POLL_S = 0.5

SLOW_S = 90
"""The time after which a slow start is reported."""

PACKAGE = "ingestion_pipeline"
REDIS = "redis-server"
LOCATION = "ingestion_pipeline"
HOST = "127.0.0.1"


class ProcessEnded(IngestionError):
    """One of the processes ended unexpectedly."""

    code = "process_ended"


class PortTaken(IngestionError):
    """A port is in use."""

    code = "port_taken"


class NoRedis(IngestionError):
    """Redis is not installed."""

    code = "no_redis"


class _Terminated(Exception):
    """This process received a signal to end."""


def new_token() -> str:
    """Return a new token for the admin API of one session."""
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Ports:
    """The ports of the servers, which listen on loopback.

    Attributes:
        ui: Dagster's webserver.
        api: The admin API.
    """

    ui: int
    api: int


def require_free(ports: Ports) -> None:
    """Check that the ports are free.

    Raises:
        PortTaken: A port is in use, or both are the same.
    """
    if ports.ui == ports.api:
        raise PortTaken(f"UI_PORT and API_PORT are both {ports.ui}. Choose different ports.")
    named = {"UI_PORT": ports.ui, "API_PORT": ports.api}
    taken = [f"{name} {port}" for name, port in named.items() if not _is_free(port)]
    if taken:
        raise PortTaken(
            f"Another program listens on {' and '.join(taken)}. Stop it, or choose other ports, "
            "such as: make dev UI_PORT=3001 API_PORT=8001"
        )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def require_redis() -> None:
    """Check that Redis is installed.

    Raises:
        NoRedis: It is not.
    """
    if shutil.which(REDIS) is None:
        raise NoRedis(
            f"The program {REDIS} is missing, which passes runs to workers. Install it, on Debian: "
            "sudo apt-get install redis-server"
        )


def run_all(
    settings: Settings,
    *,
    token: str,
    ports: Ports,
    workers: int = 0,
    when_ready: Callable[[], None],
    when_slow: Callable[[], None],
) -> None:
    """Run the UI, the daemon and the admin API until this process is interrupted or terminated.

    Args:
        settings: The settings; the processes read the same environment.
        token: The token of the admin API.
        ports: The ports of the servers.
        workers: The number of Celery's workers, one run at a time each; none: the daemon forks.
        when_ready: Called once, when the UI and the admin API answer.
        when_slow: Called once, if they do not answer within `SLOW_S`.

    Raises:
        ProcessEnded: One of the processes ended; the others were stopped.
    """
    # The path of a Unix socket is limited to 107 characters, and TMPDIR may be long.
    short = "/tmp" if Path("/tmp").is_dir() else None  # noqa: S108 - the folder is this user's own
    with TemporaryDirectory(prefix="poi-ingest-dev-", dir=short) as folder, _family() as family:
        socket_of_redis = Path(folder) / "redis.sock"
        of_redis = f"redis+socket://{socket_of_redis}?virtual_host="
        family.environment = environment_with(
            settings,
            admin_api_token=token,
            dagster_url=f"http://{HOST}:{ports.ui}",
            celery_broker_url=f"{of_redis}0",
            celery_backend_url=f"{of_redis}1",
        )
        socket_of_code = Path(folder) / "code-server.sock"
        family.start("the code server", *_code_server(socket_of_code))
        family.start("the admin API", "-m", PACKAGE, "serve", "--port", str(ports.api))
        # Without the code server, Dagster's processes print long errors.
        family.wait_until(socket_of_code.exists)
        of_code = ["--workspace", str(_workspace(Path(folder), socket_of_code))]
        family.start("Dagster's UI", "-m", PACKAGE, "ui", "--port", str(ports.ui), *of_code)
        family.start("Dagster's daemon", "-m", f"{PACKAGE}.dagster_runtime.daemon", "run", *of_code)
        if workers:
            family.start("Redis", *_redis(socket_of_redis), program=REDIS)
            family.wait_until(socket_of_redis.exists)
        for number in range(1, workers + 1):
            name = f"worker-{number}"
            family.start(name, "-m", PACKAGE, "worker", "--concurrency", "1", "--name", name)
        family.wait_until(lambda: _all_answer(ports), after_s=SLOW_S, then=when_slow)
        when_ready()
        family.wait_until(lambda: False)


def _redis(at: Path) -> list[str]:
    """Return the arguments of a Redis that stores nothing and listens on a socket only."""
    return ["--port", "0", "--unixsocket", str(at), "--save", "", "--dir", str(at.parent)]


def _code_server(at: Path) -> list[str]:
    return [
        *("-m", "dagster", "code-server", "start", "--module-name", f"{PACKAGE}.definitions"),
        *("--location-name", LOCATION, "--socket", str(at)),
    ]


def _workspace(folder: Path, code_server: Path) -> Path:
    path = folder / "workspace.yaml"
    path.write_text(
        "load_from:\n  - grpc_server:\n"
        f"      socket: {code_server}\n      location_name: {LOCATION}\n"
    )
    return path


def _all_answer(ports: Ports) -> bool:
    """Return whether both servers answer, and Dagster has loaded the definitions."""
    import httpx

    repositories = {
        "query": "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
    }
    try:
        ui = httpx.post(f"http://{HOST}:{ports.ui}/graphql", json=repositories, timeout=POLL_S)
        api = httpx.get(f"http://{HOST}:{ports.api}/v1/api/health", timeout=POLL_S)
        # Any status: a new session is unhealthy until its sensor has ticked.
        return bool(ui.json()["data"]["repositoriesOrError"].get("nodes")) and api.status_code > 0
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return False


class _Family:
    """The processes of a session."""

    def __init__(self) -> None:
        self.environment: Mapping[str, str] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str, program: str = sys.executable) -> None:
        self._processes[name] = subprocess.Popen(  # noqa: S603 - programs of this module
            [program, *arguments],
            env=self.environment,
            # Ctrl-C goes to the terminal's process group; this way each process gets one signal.
            process_group=0,
        )

    def wait_until(
        self,
        condition: Callable[[], bool],
        *,
        after_s: float = float("inf"),
        then: Callable[[], None] | None = None,
    ) -> None:
        """Wait for a condition while all processes run; call `then` once after some time.

        Raises:
            ProcessEnded: One of them ended.
        """
        late = time.monotonic() + after_s
        while not condition():
            if then is not None and time.monotonic() > late:
                then()
                then = None
            for name, process in self._processes.items():
                if (code := process.poll()) is not None:
                    raise ProcessEnded(f"{name} ended with code {code}. See its last lines above.")
            time.sleep(POLL_S)

    def end(self) -> None:
        """Stop the processes and their children: Dagster's servers outlive their parents."""
        processes = list(self._processes.values())
        started = [
            child
            for process in processes
            if process.poll() is None
            for child in psutil.Process(process.pid).children(recursive=True)
        ]
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
        _, left = psutil.wait_procs(started, timeout=POLL_S)
        for child in left:
            with suppress(psutil.NoSuchProcess):
                child.terminate()


@contextmanager
def _family() -> Iterator[_Family]:
    family = _Family()
    # Also SIGINT: a shell makes background processes ignore it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _terminate)
    try:
        yield family
    except _Terminated:
        pass
    finally:
        # A second Ctrl-C must not interrupt the shutdown.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        family.end()


def _terminate(*_: object) -> None:
    raise _Terminated
