"""The process from which runs are forked: it has imported what a run needs, and does nothing else.

Belongs here: what is imported beforehand, noticing that it is no longer what is installed, and the
life of a forked run. Does not belong here: who asks for runs (`launcher.py`), and what they do.

    python -m ingestion_pipeline.dagster_runtime.warm      with a socket as its standard input

A run's own work is a fraction of what its interpreter needs to start and to import Dagster and the
libraries of geodata. Memory with all of that in it is copied by the operating system in
milliseconds. What must not be copied is never here: threads, connections, settings, definitions.
"""

import gc
import importlib
import logging
import os
import pkgutil
import signal
import socket
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import ingestion_pipeline
from ingestion_pipeline.dagster_runtime.liveness import WORKER_TAG, worker

ACCEPTED = "accepted "
"""The answer to an order that is carried out. There is none where this process ends before it."""

STARTED = "started"
"""The second part of the answer, of a run that has begun: from here on it tells Dagster by itself
how it goes. Whatever else a run says here is why it could not begin."""

SINGLE_THREADED = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Environment in which the libraries below start no thread when they are imported.

A fork copies one thread only, and whatever the others held locked stays locked. Neither changes
what a run computes: no linear algebra is done, and Arrow takes its memory from mimalloc.
"""

LIBRARIES = (
    "PIL.ImageDraw",
    "PIL.ImageFont",
    "PIL.PngImagePlugin",
    "_strptime",
    "alembic.command",
    "anyascii",
    "dagster._cli.api",
    "dagster._core.definitions.repository_definition.repository_data_builder",
    "dagster._core.execution.plan.active",
    "dagster._core.executor.in_process",
    "dagster._core.instance.factory",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.types.transform_typing",
    "dagster._core.workspace.autodiscovery",
    "dagster._utils.test.definitions",
    "dagster_postgres",
    "dateutil.parser",
    "fsspec.implementations.chained",
    "fsspec.implementations.local",
    "geoalchemy2.admin",
    "google.protobuf.descriptor_pb2",
    "google.protobuf.message_factory",
    "google.protobuf.unknown_fields",
    "httpx",
    "importlib.resources.readers",
    "langcodes",
    "msgspec",
    "numpy",
    "osmium",
    "pandas",
    "phonenumbers",
    "psycopg.types.json",
    "psycopg2",
    "pyarrow.compute",
    "pyarrow.dataset",
    "pyarrow.pandas_compat",
    "pyarrow.parquet",
    "pypinyin.seg.mmseg",
    "pyproj",
    "rapidfuzz",
    "regex",
    "shapely",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "sqlalchemy.dialects.sqlite",
    "upath.implementations.local",
    "watchdog.observers.polling",
)
"""What runs import, most of it in the middle of a function. Not all of it need be installed."""

ROOMS = (
    "columns",
    "config",
    "core",
    "dagster_runtime",
    "datasets",
    "defs",
    "geometry",
    "helpers",
    "lake",
    "osm",
    "quality",
    "sources",
    "sources/feed",
    "sources/overpass",
    "sources/pbf",
    "staging",
    "text",
)
"""The folders of this package whose modules a run imports."""

CONNECTION_S = 10
"""How long a run keeps a connection to Dagster's PostgreSQL for its next event."""


def main() -> None:
    """Import everything, then fork a run for each order that comes, until nobody can give any."""
    installed = state_of_installation()
    preload()
    require_single_thread()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the runs; this ends after them
    signal.signal(signal.SIGCHLD, _reap_children)
    gc.collect()
    gc.freeze()  # the collector would write to, and so copy, every page of what is shared
    with socket.socket(fileno=0) as orders:
        while True:
            said, descriptors, *_ = socket.recv_fds(orders, 1, 1)
            if not said:
                return
            with socket.socket(fileno=descriptors[0]) as conversation:
                if state_of_installation() != installed:
                    return  # a run executes what is installed; another process will fork it
                with suppress(OSError):  # whoever asked may be gone
                    conversation.sendall(ACCEPTED.encode())
                if os.fork() == 0:
                    orders.close()
                    _run_child(conversation)


def state_of_installation() -> Sequence[object]:
    """Give what changes when the package is edited, or when anything is installed or removed."""
    (package,) = ingestion_pipeline.__path__
    state = [
        (str(path), told.st_mtime_ns, told.st_size)
        for path in sorted(Path(package).rglob("*"))
        if path.suffix in {".py", ".json"} and (told := path.stat())
    ]
    libraries = (Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib"))
    return [*state, *(folder.stat().st_mtime_ns for folder in libraries)]


def preload() -> None:
    """Import what a run would import."""
    (package,) = ingestion_pipeline.__path__
    rooms = [f"{package}/{room}" for room in ROOMS]
    ours = [f"{ingestion_pipeline.__name__}.{room.replace('/', '.')}" for room in ROOMS]
    modules = [
        f"{name}.{module.name}"
        for name, path in zip(ours, rooms, strict=True)
        for module in pkgutil.iter_modules([path])
    ]
    importlib.import_module("ingestion_pipeline.definitions")
    for name in (*LIBRARIES, *modules):
        with suppress(ModuleNotFoundError):
            importlib.import_module(name)


def require_single_thread() -> None:
    """End this process, where a thread runs in it that forks would lack."""
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        sys.exit(f"Runs are not forked: an import has started {threads - 1} threads")


def _reap_children(*_: object) -> None:
    """Let the system forget runs that have ended; Dagster and the ledger know how they did."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _run_child(conversation: socket.socket) -> None:
    """Be a run; never return to the loop of the process that this one is a copy of."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.open(os.devnull, os.O_RDONLY)  # becomes the standard input, which was the socket
        _run(conversation)
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may reach the loop that this was copied from
        traceback.print_exc()
        with suppress(OSError):
            conversation.sendall(traceback.format_exc().encode())
    finally:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)  # taking a thousand modules apart takes longer than many a run


def _run(conversation: socket.socket) -> None:
    """Execute the run that the conversation names, as `dagster api execute_run` does."""
    from dagster._cli.api import _execute_run_command_body
    from dagster._cli.utils import get_instance_for_cli
    from dagster._grpc.types import ExecuteRunArgs
    from dagster._serdes import deserialize_value
    from dagster._utils.interrupts import capture_interrupts

    with capture_interrupts():
        with conversation.makefile("r", encoding="utf-8") as order:
            args = deserialize_value(order.read(), ExecuteRunArgs)
        with get_instance_for_cli(instance_ref=args.instance_ref) as instance:
            # By default each of a run's hundred statements connects anew to PostgreSQL.
            instance.optimize_for_webserver(
                statement_timeout=0, pool_recycle=CONNECTION_S, max_overflow=-1
            )
            # First: whoever sees the run as started can see its process, and interrupt it.
            instance.add_run_tags(args.run_id, {WORKER_TAG: worker()})
            conversation.sendall(STARTED.encode())
            conversation.close()
            _execute_run_command_body(
                args.run_id, instance, lambda _: None, set_exit_code_on_failure=False
            )


if __name__ == "__main__":
    main()
