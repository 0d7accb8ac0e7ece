"""Everything at once on one machine: Dagster's UI and daemon, and the admin API.

Belongs here: starting the processes together, and ending them together. Does not belong here: how
they run in production (docs/deployment.md), and what they do.
"""

from __future__ import annotations

import secrets
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
"""How long a process may take to end; Dagster's waits for the runs that it has to stop."""

LOOK_S = 0.5

SLOW_S = 90
"""After so long somebody wants to know why nothing is ready yet."""


PACKAGE = "ingestion_pipeline"
LOCATION = "ingestion_pipeline"
HOST = "127.0.0.1"


class ProcessEnded(IngestionError):
    """One of the processes ended by itself."""

    code = "process_ended"


class PortTaken(IngestionError):
    """Something listens where one of the servers would."""

    code = "port_taken"


class _Terminated(Exception):
    """Somebody asked this process to end."""


def new_token() -> str:
    """Make a token for the admin API of one session."""
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Ports:
    """Where the servers listen, on this machine only.

    Attributes:
        ui: Dagster's webserver.
        api: The admin API.
    """

    ui: int
    api: int


def require_free(ports: Ports) -> None:
    """Check that nothing listens on the ports yet.

    Raises:
        PortTaken: Something does, or both are the same.
    """
    wanted = {"UI_PORT": ports.ui, "API_PORT": ports.api}
    if ports.ui == ports.api:
        raise PortTaken(f"UI_PORT and API_PORT are both {ports.ui}; choose two")
    taken = [f"{name} {port}" for name, port in wanted.items() if not _is_free(port)]
    if taken:
        raise PortTaken(
            f"another program listens on {' and '.join(taken)}; end it, or choose another port, "
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


def run_all(
    settings: Settings,
    *,
    token: str,
    ports: Ports,
    when_ready: Callable[[], None],
    when_slow: Callable[[], None],
) -> None:
    """Run the UI, the daemon and the admin API until this process is interrupted or terminated.

    Args:
        settings: The settings; the processes read the same environment.
        token: What the admin API accepts.
        ports: Where the servers listen.
        when_ready: Called once, when the UI and the admin API answer.
        when_slow: Called once, where they do not for long.

    Raises:
        ProcessEnded: One of the processes ended; the others have been ended too.
    """
    environment = environment_with(
        settings, admin_api_token=token, dagster_url=f"http://{HOST}:{ports.ui}"
    )
    # The path of a Unix socket has 107 characters at most, and TMPDIR may be long.
    short = "/tmp" if Path("/tmp").is_dir() else None  # noqa: S108 - the folder is this user's own
    with (
        TemporaryDirectory(prefix="poi-ingest-dev-", dir=short) as folder,
        _family(environment) as family,
    ):
        socket_of_code = Path(folder) / "code-server.sock"
        family.start("the code server", *_code_server(socket_of_code))
        family.start("the admin API", "-m", PACKAGE, "serve", "--port", str(ports.api))
        # Dagster's processes print a page of errors where they do not find the code server.
        family.wait_until(socket_of_code.exists)
        of_code = ["--workspace", str(_workspace(Path(folder), socket_of_code))]
        family.start("Dagster's UI", "-m", PACKAGE, "ui", "--port", str(ports.ui), *of_code)
        family.start("Dagster's daemon", "-m", f"{PACKAGE}.defs.daemon", "run", *of_code)
        family.wait_until(lambda: _all_answer(ports), after_s=SLOW_S, then=when_slow)
        when_ready()
        family.wait_until(lambda: False)


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
        ui = httpx.post(f"http://{HOST}:{ports.ui}/graphql", json=repositories, timeout=LOOK_S)
        api = httpx.get(f"http://{HOST}:{ports.api}/v1/api/health", timeout=LOOK_S)
        # Any status: the health of a session that begins is that its sensor has not run yet.
        return bool(ui.json()["data"]["repositoriesOrError"].get("nodes")) and api.status_code > 0
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return False


class _Family:
    """The processes of a session."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str) -> None:
        self._processes[name] = subprocess.Popen(  # noqa: S603 - this interpreter
            [sys.executable, *arguments],
            env=self._environment,
            # Ctrl-C in a terminal goes to its whole group; each process is interrupted just once.
            process_group=0,
        )

    def wait_until(
        self,
        condition: Callable[[], bool],
        *,
        after_s: float = float("inf"),
        then: Callable[[], None] | None = None,
    ) -> None:
        """Wait for a condition while all processes live; call `then` once after some time.

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
                    raise ProcessEnded(
                        f"{name} ended with code {code}; its last lines above say why"
                    )
            time.sleep(LOOK_S)

    def end(self) -> None:
        """End the processes, and what they started: Dagster's servers stay a while longer."""
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
        _, left = psutil.wait_procs(started, timeout=LOOK_S)
        for child in left:
            with suppress(psutil.NoSuchProcess):
                child.terminate()


@contextmanager
def _family(environment: Mapping[str, str]) -> Iterator[_Family]:
    family = _Family(environment)
    # Said for both: a shell that starts this in the background has it ignore interrupts.
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, _terminate)
    try:
        yield family
    except _Terminated:
        pass
    finally:
        # A second Ctrl-C has nothing left to interrupt but this.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        family.end()


def _terminate(*_: object) -> None:
    raise _Terminated
