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

WORKER_TAG = "ingestion/worker"
"""Names the process that works for a Dagster run, from just after its start, before any step."""

_SEPARATOR = " "


def worker() -> str:
    """Name this process so that nothing else ever has the same name."""
    return _SEPARATOR.join((_machine(), str(os.getpid()), _started(psutil.Process())))


def name_worker(dagster_run: dg.DagsterRun, instance: dg.DagsterInstance) -> None:
    """Let Dagster know which process works for a run, so that its death can be seen.

    Dagster's own launcher cannot tell whether a run's process lives, and a run may wait for its
    turn at upstream before it claims its city-day, which is when the ledger learns of the process.
    """
    if dagster_run.tags.get(WORKER_TAG) != (name := worker()):
        instance.add_run_tags(dagster_run.run_id, {WORKER_TAG: name})


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
    lives = _is_seen_alive(run.worker)
    return known is not None if lives is None else lives


def is_visible(run: Run) -> bool:
    """Tell whether the run's process is or was one of this host, so that its death can be seen."""
    return _is_seen_alive(run.worker) is not None


def has_died(dagster_run: dg.DagsterRun) -> bool:
    """Tell whether a run that Dagster has STARTED is seen to have no process any more."""
    return _is_seen_alive(dagster_run.tags.get(WORKER_TAG)) is False


def process_of(dagster_run: dg.DagsterRun) -> psutil.Process | None:
    """Give the living process that works for a run; None where it is gone or of another host."""
    name = dagster_run.tags.get(WORKER_TAG)
    if name is None or not _is_seen_alive(name):
        return None
    _, pid, _ = name.split(_SEPARATOR)
    return psutil.Process(int(pid))


def _is_seen_alive(worker_name: str | None) -> bool | None:
    """Look a process up by its name; None where it cannot be seen."""
    machine, _, process = (worker_name or "").partition(_SEPARATOR)
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
