"""The run launcher: forks runs from a process that has already imported everything.

`run_launcher` in `dagster.yaml` enables it. Where runs cannot be forked, it works as Dagster's
default launcher. `warm.py` is the process that forks.
"""

import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import dagster as dg
import psutil
from dagster._core.errors import DagsterLaunchFailedError
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClassData, serialize_value

from ingestion_pipeline.config.settings import environment
from ingestion_pipeline.dagster_runtime import warm
from ingestion_pipeline.dagster_runtime.daemon_storage import spare_statements
from ingestion_pipeline.dagster_runtime.liveness import FORKED_BY, has_died, process_of
from ingestion_pipeline.dagster_runtime.single_thread import SINGLE_THREADED

ANSWER_S = 120
"""The time a run may take to start, including the imports of a new process."""

CLOSE_S = 10
"""The time the warm process may take to end; it ends at once unless it is importing."""

LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1", None}
"""Hosts of a code server on this machine; a socket has none."""


class WarmProcessExited(Exception):
    """The warm process ended before it forked the run."""


class WarmRunLauncher(DefaultRunLauncher):
    """Forks the processes of runs, on Linux, for a code server on the same machine.

    Each run has its own process, outlives the launcher, and executes the code that is installed
    when it is launched. Any process of this machine can look up a run's process and interrupt it by
    a signal.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        """Create a launcher; Dagster creates one in each of its processes."""
        super().__init__(inst_data)
        self._lock = threading.Lock()
        self._warm: _WarmProcess | None = None

    def register_instance(self, instance: dg.DagsterInstance) -> None:
        """Take the instance, in whose process this is, and let it use its storages sparingly."""
        super().register_instance(instance)
        spare_statements(instance)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Fork a process for the run, or start one as Dagster does.

        Raises:
            DagsterUserCodeUnreachableError: The code server does not answer; the daemon waits.
            DagsterLaunchFailedError: The run's process ended before the run started.
        """
        python = _python_for(context)
        if python is None:
            super().launch_run(context)
            return
        run = context.dagster_run
        order = ExecuteRunArgs(
            job_origin=run.job_code_origin,  # type: ignore[arg-type]  # checked by `_python_for`
            run_id=run.run_id,
            instance_ref=self._instance.get_ref(),
        )
        try:
            answer = self._ask(python, serialize_value(order))
        except WarmProcessExited as error:
            self._instance.report_engine_event(
                f"{error}; Dagster's default launcher starts this run", run, cls=type(self)
            )
            super().launch_run(context)
            return
        if answer != warm.STARTED:
            raise DagsterLaunchFailedError(  # type: ignore[no-untyped-call]
                f"The process of run {run.run_id} ended before the run started: "
                f"{answer or 'it was killed'}"
            )
        self._run_ids.add(run.run_id)

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run as Ctrl-C does; return False if it has ended or cannot be reached."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        process = process_of(run)
        if process is None or FORKED_BY not in process.cmdline():
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        with suppress(psutil.NoSuchProcess):  # it has just ended
            process.terminate()
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether run monitoring may use `check_run_worker_health`."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether a run's process is alive; an invisible one counts as alive."""
        if has_died(run):
            return CheckRunHealthResult(WorkerStatus.FAILED, "its process is gone")
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def dispose(self) -> None:
        """Stop the warm process; forked runs continue."""
        with self._lock:
            self._replace(None)

    def _ask(self, python: str, order: str) -> str:
        """Fork a run; return the answer of its process, which is empty if it died.

        Raises:
            WarmProcessExited: A new warm process could not fork it either.
        """
        while True:
            with self._lock:
                is_new = self._warm is None or not self._warm.serves(python)
                if self._warm is None or is_new:
                    self._replace(_WarmProcess(python))
                process = self._warm
            assert process is not None
            try:
                return process.ask(order)
            except WarmProcessExited:  # killed, or the installed code has changed
                if is_new:
                    raise
                with self._lock:
                    if self._warm is process:
                        self._replace(None)

    def _replace(self, process: "_WarmProcess | None") -> None:
        if self._warm is not None:
            self._warm.close()
        self._warm = process


class _WarmProcess:
    """A warm process and the socket to it."""

    def __init__(self, python: str) -> None:
        self._python = python
        self._line, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - the interpreter of the run's code
                [python, "-m", FORKED_BY],
                stdin=theirs.fileno(),
                env=environment(**SINGLE_THREADED),
            )

    def serves(self, python: str) -> bool:
        return self._python == python and self._process.poll() is None

    def ask(self, order: str) -> str:
        """Send an order; return the answer.

        Raises:
            TimeoutError: No answer arrived.
            WarmProcessExited: The process ended before it forked the run.
        """
        conversation, theirs = socket.socketpair()
        with conversation, theirs:
            conversation.settimeout(ANSWER_S)
            answer = b""
            try:
                socket.send_fds(self._line, [b"!"], [theirs.fileno()])
                theirs.close()
                conversation.sendall(order.encode())
                conversation.shutdown(socket.SHUT_WR)
                while part := conversation.recv(4096):
                    answer += part
            except TimeoutError:
                raise  # it may still fork the run, which must not be started twice
            except OSError:
                pass  # it has ended
        _, accepted, answered = answer.decode().partition(warm.ACCEPTED)
        if not accepted:
            raise WarmProcessExited("The process that forks runs has ended; see its output")
        return answered

    def close(self) -> None:
        self._line.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_S)


def _python_for(context: LaunchRunContext) -> str | None:
    """Return the interpreter for forking a run; None where it cannot be forked here.

    Raises:
        DagsterUserCodeUnreachableError: The code server does not answer.
    """
    origin = context.dagster_run.job_code_origin
    remote = context.dagster_run.remote_job_origin
    if sys.platform != "linux" or not context.workspace or origin is None or remote is None:
        return None
    location = context.workspace.get_code_location(remote.location_name)
    if not isinstance(location, GrpcServerCodeLocation) or location.client.host not in LOCAL_HOSTS:
        return None
    # During a release the code server is down, and the code is about to change.
    location.client.ping("")
    python = origin.repository_origin.executable_path
    return python if Path(python).exists() else None
