"""Everything at once on one machine: Dagster's UI and daemon, and the admin API.

Belongs here: starting the processes together, and ending them together. Does not belong here: how
they run in production (docs/deployment.md), and what they do.
"""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from ingestion_pipeline.errors import IngestionError
from ingestion_pipeline.settings import environment_with

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ingestion_pipeline.settings import Settings

GRACE_S = 20
"""How long a process may take to end; Dagster's waits for the runs that it has to stop."""

LOOK_S = 0.5


class ProcessEnded(IngestionError):
    """One of the processes ended by itself."""

    code = "process_ended"


class _Terminated(Exception):
    """Somebody asked this process to end."""


def new_token() -> str:
    """Make a token for the admin API of one session."""
    return secrets.token_urlsafe(24)


def run_all(settings: Settings, *, token: str, ui_port: int, api_port: int) -> None:
    """Run the UI, the daemon and the admin API until this process is interrupted or terminated.

    Args:
        settings: The settings; the processes read the same environment.
        token: What the admin API accepts.
        ui_port: Where the UI listens, on this machine only.
        api_port: Where the admin API listens, on this machine only.

    Raises:
        ProcessEnded: One of the processes ended; the others have been ended too.
    """
    environment = environment_with(
        settings, admin_api_token=token, dagster_url=f"http://127.0.0.1:{ui_port}"
    )
    workspace = str(Path(__file__).with_name("workspace.yaml"))
    commands = {
        "Dagster": ["-m", "dagster", "dev", "-w", workspace, "--port", str(ui_port)],
        "the admin API": ["-m", "ingestion_pipeline", "serve", "--port", str(api_port)],
    }
    with _running(commands, environment) as processes:
        while True:
            for name, process in processes.items():
                try:
                    code = process.wait(LOOK_S)
                except subprocess.TimeoutExpired:
                    continue
                raise ProcessEnded(
                    f"{name} ended with code {code}; its last lines above say why (a port that is "
                    "taken is the usual reason: choose others with --ui-port and --api-port)"
                )


@contextmanager
def _running(
    commands: Mapping[str, Sequence[str]], environment: Mapping[str, str]
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    processes: dict[str, subprocess.Popen[bytes]] = {}
    # Said for both: a shell that starts this in the background has it ignore interrupts.
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, _terminate)
    try:
        for name, command in commands.items():
            processes[name] = subprocess.Popen([sys.executable, *command], env=environment)  # noqa: S603
        yield processes
    except _Terminated:
        pass
    finally:
        # A second Ctrl-C has nothing left to interrupt but this.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _end(list(processes.values()))


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End processes, and what they have started: Dagster's servers look around for a while yet."""
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


def _terminate(*_: object) -> None:
    raise _Terminated
