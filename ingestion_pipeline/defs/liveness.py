"""Whether the run that holds a key may still be working.

Belongs here: what Dagster and the operating system know of a run. Does not belong here: what
follows from it (`staging/runs.py`).

Dagster learns of a death from whoever watches the process; a run of the command line is watched by
nobody, and after a crash of the machine nobody is left. So the ledger keeps which process works for
a run, and on the same machine that process is looked up.
"""

import os
import platform
import socket
from functools import cache
from pathlib import Path

import dagster as dg
import psutil

from ingestion_pipeline.staging.runs import Run

_SEPARATOR = " "


def worker() -> str:
    """Name this process so that nothing else ever has the same name."""
    return _SEPARATOR.join((_machine(), str(os.getpid()), _started(psutil.Process())))


def is_alive(run: Run, instance: dg.DagsterInstance) -> bool:
    """Tell whether the run may still be working.

    A run that Dagster knows to be finished is not. Otherwise its process decides where it was one
    of this host, and a process from before the host was booted is gone. Where the process cannot
    be seen, on another host or in another container, Dagster's word stands, and a run that it does
    not know is gone.
    """
    assert run.dagster_run_id is not None
    known = instance.get_run_by_id(run.dagster_run_id)
    if known is not None and known.is_finished:
        return False
    lives = _is_seen_alive(run)
    return known is not None if lives is None else lives


def is_visible(run: Run) -> bool:
    """Tell whether the run's process is or was one of this host, so that its death can be seen."""
    return _is_seen_alive(run) is not None


def _is_seen_alive(run: Run) -> bool | None:
    """Look the run's process up; None where it cannot be seen."""
    machine, _, process = (run.worker or "").partition(_SEPARATOR)
    if machine == _machine():
        return _process_lives(process)
    host, boot, *_ = [*machine.split("/"), "", ""]
    our_host, our_boot, *_ = [*_machine().split("/"), "", ""]
    return False if host == our_host and boot != our_boot else None


def _process_lives(process: str) -> bool:
    pid, _, started = process.partition(_SEPARATOR)
    try:
        return _started(psutil.Process(int(pid))) == started
    except psutil.NoSuchProcess:
        return False


def _started(process: psutil.Process) -> str:
    """Tell when a process was started: ids are used again, but not with the same time.

    It is told in seconds since the machine was booted: no correction of the clock moves that.
    """
    if process.status() == psutil.STATUS_ZOMBIE:
        return "dead"
    booted = psutil.boot_time()  # first: older releases of psutil count from where it was seen last
    return f"{process.create_time() - booted:.2f}"


@cache
def _machine() -> str:
    """Name this host, its boot, and the container where process ids are its own."""
    parts = [socket.gethostname() or platform.node()]
    for source in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        if source.is_symlink():
            parts.append(str(source.readlink()))
        elif source.exists():
            parts.append(source.read_text().strip())
    return "/".join(parts).replace(_SEPARATOR, "-")
