"""Liveness of the run that holds a key.

Dagster learns that a run died from the process that watches it. Runs of the command line have no
such process, and after a crash of the machine none is left. So the ledger records the process of a
run, which is looked up on the same machine: that finds a killed run at once. Wherever a run works,
its lease (`staging/leases.py`) decides in the end: also for a process that is stopped, or that is
alive and works for another run by now.

In the functions here `lease` is whether the run's lease has not ended; None if it has no lease.
"""

import os
import platform
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

import dagster as dg
import psutil

from ingestion_pipeline.staging.runs import Run

WORKER_TAG = "ingestion/worker"
"""The tag with the process of a Dagster run; set after its start, before any step."""

FORKED_BY = "ingestion_pipeline.dagster_runtime.warm"
"""The module whose processes each work for one run."""

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


def is_alive(run: Run, instance: dg.DagsterInstance, *, lease: bool | None) -> bool:
    """Return whether the run may still be working.

    A run that Dagster has finished is not, nor one whose process was on this host and is gone.
    Otherwise the lease decides. Without a lease the process decides, and a process from before the
    last boot is dead; for processes on other hosts or in other containers Dagster's status decides,
    and a run that Dagster does not know is dead.
    """
    assert run.dagster_run_id is not None
    known = instance.get_run_by_id(run.dagster_run_id)
    if known is not None and known.is_finished:
        return False
    lives = _is_working(run.worker, lease)
    return known is not None if lives is None else lives


def is_known(run: Run, *, lease: bool | None) -> bool:
    """Return whether the run's death can be detected: by its lease, or by its process here."""
    return _is_working(run.worker, lease) is not None


def has_died(dagster_run: dg.DagsterRun, *, lease: bool | None = None) -> bool:
    """Return whether the process of a STARTED run is known to be dead, or its lease has ended."""
    return _is_working(dagster_run.tags.get(WORKER_TAG), lease) is False


def process_of(dagster_run: dg.DagsterRun) -> psutil.Process | None:
    """Return the live process of a run; None where it is dead or on another host."""
    name = dagster_run.tags.get(WORKER_TAG)
    machine, _, process = (name or "").partition(_SEPARATOR)
    if machine != _machine() or not _process_lives(process):
        return None
    return psutil.Process(int(process.partition(_SEPARATOR)[0]))


def kill_process_of(dagster_run: dg.DagsterRun) -> None:
    """Kill the process of a run that counts as dead, if it is on this host and forked for the run.

    A stopped process would keep its locks of files, for which its successor waits.
    """
    process = process_of(dagster_run)
    with suppress(psutil.NoSuchProcess):
        if process is not None and FORKED_BY in process.cmdline():
            process.kill()


def _is_working(worker_name: str | None, lease: bool | None) -> bool | None:
    """Return whether a process works for its run; None where nothing is known of it here."""
    machine, _, process = (worker_name or "").partition(_SEPARATOR)
    if machine == _machine():
        return _process_lives(process) and lease is not False
    if lease is not None:
        return lease  # machines may have equal names, so the name says nothing of another boot
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
