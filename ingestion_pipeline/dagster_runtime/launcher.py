"""How a run's process comes to be: forked from one that has imported everything already.

Belongs here: Dagster's run launcher. Does not belong here: the process that forks (`warm.py`), and
how a process is known again (`liveness.py`).

It is only configuration (`run_launcher` in `dagster.yaml`). Where runs cannot be forked, it starts
them as Dagster's default launcher does.
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
from ingestion_pipeline.dagster_runtime.liveness import has_died, process_of

MODULE = warm.__name__

ANSWER_S = 120
"""How long a run may take to begin, with the imports of a new process before it."""

CLOSE_S = 10
"""How long the process that forks may take to end; it does so at once unless it still imports."""

HERE = {"localhost", "127.0.0.1", "::1", None}
"""How the address of a code server of this machine begins; a socket of one has none."""


class WarmProcessExited(Exception):
    """There is no process that forks runs, or it has ended before it forked this one."""


class WarmRunLauncher(DefaultRunLauncher):
    """Forks the processes of runs, on Linux, for a code server of the same machine.

    Runs are alone in their processes, outlive what launched them, and execute what is installed at
    the moment when they are launched. They are interrupted by a signal, and looked up by the name
    of their process, so that any process of this machine can do both.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        """Make a launcher, as Dagster does for each of its processes; nothing is started yet."""
        super().__init__(inst_data)
        self._lock = threading.Lock()
        self._warm: _WarmProcess | None = None

    def launch_run(self, context: LaunchRunContext) -> None:
        """Fork a process for the run, or start one as Dagster does.

        Raises:
            DagsterUserCodeUnreachableError: The code server is away; the daemon waits for it.
            DagsterLaunchFailedError: The run's process could not begin.
        """
        python = _python_for(context)
        if python is None:
            super().launch_run(context)
            return
        run = context.dagster_run
        order = ExecuteRunArgs(
            job_origin=run.job_code_origin,  # type: ignore[arg-type]  # `_python_for` looked at it
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
                f"The process of run {run.run_id} ended before the run began: "
                f"{answer or 'it was killed'}"
            )
        self._run_ids.add(run.run_id)

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run, as Ctrl-C would; false where it is over, or cannot be reached."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        process = process_of(run)
        if process is None or MODULE not in process.cmdline():
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        with suppress(psutil.NoSuchProcess):  # it ended just now, and has said how
            process.terminate()
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Dagster's monitoring may ask."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Tell whether a run's process is gone; one that cannot be seen from here counts as alive.

        Its parent need not live, nor what launched it.
        """
        if has_died(run):
            return CheckRunHealthResult(WorkerStatus.FAILED, "its process is gone")
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def dispose(self) -> None:
        """Let the process that forks end; what it has forked goes on."""
        with self._lock:
            self._replace(None)

    def _ask(self, python: str, order: str) -> str:
        """Have a run forked; give the answer of its process, which is empty where it died.

        Raises:
            WarmProcessExited: A new process that forks could not do so either.
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
            except WarmProcessExited:  # killed, or of code that is no longer what is installed
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
    """A process that forks runs, and the line to it."""

    def __init__(self, python: str) -> None:
        self._python = python
        self._line, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - the interpreter of the run's code
                [python, "-m", MODULE],
                stdin=theirs.fileno(),
                env=environment(**warm.SINGLE_THREADED),
            )

    def serves(self, python: str) -> bool:
        return self._python == python and self._process.poll() is None

    def ask(self, order: str) -> str:
        """Give an order, and the answer to it.

        Raises:
            TimeoutError: There was none.
            WarmProcessExited: It ended before it carried the order out.
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
                raise  # it may yet fork the run, which must not be started in another way as well
            except OSError:
                pass  # it has ended
        _, accepted, answered = answer.decode().partition(warm.ACCEPTED)
        if not accepted:
            raise WarmProcessExited("The process that forks runs has ended; its output says why")
        return answered

    def close(self) -> None:
        self._line.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_S)


def _python_for(context: LaunchRunContext) -> str | None:
    """Give the interpreter with which a run can be forked here; None where it cannot.

    Raises:
        DagsterUserCodeUnreachableError: The code server is away.
    """
    origin = context.dagster_run.job_code_origin
    remote = context.dagster_run.remote_job_origin
    if sys.platform != "linux" or not context.workspace or origin is None or remote is None:
        return None
    location = context.workspace.get_code_location(remote.location_name)
    if not isinstance(location, GrpcServerCodeLocation) or location.client.host not in HERE:
        return None
    # Away for a release, say: then the code is about to be another.
    location.client.ping("")
    python = origin.repository_origin.executable_path
    return python if Path(python).exists() else None
