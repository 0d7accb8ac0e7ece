"""Liveness of the run that holds a key.

Dagster learns that a run died from the process that watches it. Runs of the command line have no
such process, and after a crash of the machine none is left. So the ledger records the process of a
run, which is looked up on the same machine.
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
"""The tag with the process of a Dagster run; set after its start, before any step."""

_SEPARATOR = " "


def worker() -> str:
    """Return a unique name of this process."""
    return _SEPARATOR.join((_machine(), str(os.getpid()), _started(psutil.Process())))


def name_worker(dagster_run: dg.DagsterRun, instance: dg.DagsterInstance) -> None:
    """Tag a run with its process, so that its death can be detected.

    Dagster's launcher does not know the process, and the ledger records it only when the run claims
    its city-day, for which it may have to wait.
    """
    if dagster_run.tags.get(WORKER_TAG) != (name := worker()):
        instance.add_run_tags(dagster_run.run_id, {WORKER_TAG: name})


def is_alive(run: Run, instance: dg.DagsterInstance) -> bool:
    """Return whether the run may still be working.

    A run that Dagster has finished is not. Otherwise the process decides, if it is on this host; a
    process from before the last boot is dead. For processes on other hosts or in other containers
    Dagster's status decides, and a run that Dagster does not know is dead.
    """
    assert run.dagster_run_id is not None
    known = instance.get_run_by_id(run.dagster_run_id)
    if known is not None and known.is_finished:
        return False
    lives = _is_seen_alive(run.worker)
    return known is not None if lives is None else lives


def is_visible(run: Run) -> bool:
    """Return whether the run's process is or was on this host, where its death can be detected."""
    return _is_seen_alive(run.worker) is not None


def has_died(dagster_run: dg.DagsterRun) -> bool:
    """Return whether the process of a STARTED run is known to be dead."""
    return _is_seen_alive(dagster_run.tags.get(WORKER_TAG)) is False


def process_of(dagster_run: dg.DagsterRun) -> psutil.Process | None:
    """Return the live process of a run; None where it is dead or on another host."""
    name = dagster_run.tags.get(WORKER_TAG)
    if name is None or not _is_seen_alive(name):
        return None
    _, pid, _ = name.split(_SEPARATOR)
    return psutil.Process(int(pid))


def _is_seen_alive(worker_name: str | None) -> bool | None:
    """Return whether a process is alive; None where it is not visible from here."""
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
    """Return a process's start time, because process ids are reused.

    In seconds since boot, which do not change when the clock is corrected.
    """
    if process.status() == psutil.STATUS_ZOMBIE:
        return "dead"
    booted = psutil.boot_time()  # first: older releases of psutil cache it for create_time
    return f"{process.create_time() - booted:.2f}"


@cache
def _machine() -> str:
    """Return a name of this host, its boot, and its PID namespace."""
    parts = [socket.gethostname() or platform.node()]
    for source in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        if source.is_symlink():
            parts.append(str(source.readlink()))
        elif source.exists():
            parts.append(source.read_text().strip())
    return "/".join(parts).replace(_SEPARATOR, "-")
