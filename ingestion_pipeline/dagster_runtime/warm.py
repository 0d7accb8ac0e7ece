"""The warm process: imports what runs need, and forks them for `launcher.py`.

    python -m ingestion_pipeline.dagster_runtime.warm      with a socket as its standard input

A run takes a fraction of the time that an interpreter needs to start and to import Dagster and the
geodata libraries; a fork takes milliseconds. The process has no threads, connections, settings or
definitions, which must not be copied by a fork.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

import dagster as dg

import ingestion_pipeline
from ingestion_pipeline.config.cities import CitiesFileError
from ingestion_pipeline.config.settings import SettingsError, load_settings, set_in_environment
from ingestion_pipeline.core.parallel import holds_frozen_objects
from ingestion_pipeline.dagster_runtime.daemon_storage import (
    pool_connections,
    remember_tables,
    without_creation,
)
from ingestion_pipeline.dagster_runtime.event_batches import batch_events
from ingestion_pipeline.dagster_runtime.liveness import WORKER_TAG, worker
from ingestion_pipeline.dagster_runtime.single_thread import require_single_thread
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.datasets.rules import named_libraries, rules_of_feeds
from ingestion_pipeline.lake.stores import libraries_of
from ingestion_pipeline.osm.taxonomy import Taxonomy
from ingestion_pipeline.staging.database import known_migrations

ACCEPTED = "accepted "
"""The answer to an order before the fork. Missing if this process has ended."""

STARTED = "started"
"""The second part of the answer, from a run that has started and now reports to Dagster itself. Any
other text is the error that kept the run from starting."""

LIBRARIES = (
    "PIL.BmpImagePlugin",
    "PIL.GifImagePlugin",
    "PIL.ImageDraw",
    "PIL.ImageFont",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "PIL.PpmImagePlugin",
    "_strptime",
    "alembic.command",
    "anyascii",
    "dagster._cli.api",
    "dagster._core.definitions.repository_definition.repository_data_builder",
    "dagster._core.execution.plan.active",
    "dagster._core.executor.in_process",
    "dagster._core.instance.factory",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.system_config.composite_descent",
    "dagster._core.types.transform_typing",
    "dagster._core.workspace.autodiscovery",
    "dagster._utils.test.definitions",
    "dagster_postgres",
    "dateutil.parser",
    "fsspec.implementations.chained",
    "fsspec.implementations.local",
    "ftfy",
    "geoalchemy2.admin",
    "google.protobuf.descriptor_pb2",
    "google.protobuf.message_factory",
    "google.protobuf.unknown_fields",
    "httpx",
    "importlib.resources.readers",
    "jmespath",
    "langcodes",
    "msgspec",
    "numpy",
    "osmium",
    "pandas",
    "phonenumbers",
    "psycopg.types.json",
    "psycopg2._ipaddress",
    "psycopg2.extras",
    "pyarrow.compute",
    "pyarrow.pandas_compat",
    "pyarrow.parquet",
    "pyarrow.vendored.version",
    "pypinyin.seg.mmseg",
    "pyogrio",
    "pyproj",
    "rapidfuzz",
    "regex",
    "scipy.optimize",
    "scipy.sparse.csgraph",
    "shapely",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "sqlalchemy.dialects.sqlite",
    "upath.implementations.local",
    "watchdog.observers.polling",
)
"""What runs import, mostly in functions. Some may not be installed."""

PACKAGES = (
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
    "promotion",
    "quality",
    "sources",
    "sources/feed",
    "sources/overpass",
    "sources/pbf",
    "staging",
    "text",
)
"""The subpackages whose modules a run imports."""


def main() -> None:
    """Import everything, then fork a run for each order, until the socket is closed."""
    installed = state_of_installation()
    prepare_to_fork()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the runs; this ends after them
    signal.signal(signal.SIGCHLD, _reap_children)
    with socket.socket(fileno=0) as orders:
        while True:
            received, descriptors, *_ = socket.recv_fds(orders, 1, 1)
            if not received:
                return
            with socket.socket(fileno=descriptors[0]) as conversation:
                if state_of_installation() != installed:
                    return  # the installed code has changed; a new process forks the run
                with suppress(OSError):  # the launcher may have ended
                    conversation.sendall(ACCEPTED.encode())
                if os.fork() == 0:
                    orders.close()
                    _run_child(conversation)


def state_of_installation() -> Sequence[object]:
    """Return a value that changes when the package or any installed library changes."""
    (package,) = ingestion_pipeline.__path__
    state = sorted(_files_of(package))
    libraries = (Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib"))
    return [*state, *(folder.stat().st_mtime_ns for folder in libraries)]


def _files_of(folder: str) -> Iterator[tuple[str, int, int]]:
    """Yield the files of code and data below a folder: path, time of change, and size.

    By `scandir`, as every run waits for it; `Path.rglob` takes five times as long.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files_of(entry.path)
            elif entry.name.endswith((".py", ".json")):
                stat = entry.stat()
                yield entry.path, stat.st_mtime_ns, stat.st_size


def prepare_to_fork() -> None:
    """Load what runs need, so that their processes share it with this one."""
    gc.disable()  # it would go through all modules many times
    preload()
    build_definitions()
    gc.enable()
    require_single_thread()
    gc.collect()
    gc.freeze()  # the collector would write to every shared page, and so copy it
    holds_frozen_objects()  # so that no run has to count them


def preload() -> None:
    """Import what runs import, and read what identifies the rules, and other constant tables."""
    (root,) = ingestion_pipeline.__path__
    modules = [
        f"{ingestion_pipeline.__name__}.{package.replace('/', '.')}.{module.name}"
        for package in PACKAGES
        for module in pkgutil.iter_modules([f"{root}/{package}"])
    ]
    importlib.import_module("ingestion_pipeline.definitions")
    for name in (*LIBRARIES, *libraries_of(load_settings().data_dir), *modules):
        with suppress(ModuleNotFoundError):
            importlib.import_module(name)
    # Each run needs them, and reading the code takes longer than shaping a small city.
    for dataset in DATASETS.values():
        _ = dataset.rules
    rules_of_feeds()
    named_libraries()
    Taxonomy.load()
    known_migrations()


def build_definitions() -> None:
    """Build the definitions of the settings and cities of now.

    Runs for which both are equal use them. They have opened no connection.
    """
    module = importlib.import_module("ingestion_pipeline.definitions")
    with suppress(SettingsError, CitiesFileError):  # the run reports them
        for job in module.definitions().get_repository_def().get_all_jobs():
            job.asset_layer  # noqa: B018 - is computed


def _reap_children(*_: object) -> None:
    """Reap ended runs; Dagster and the ledger have their status."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _run_child(conversation: socket.socket) -> None:
    """Execute a run in the forked process, and exit."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.open(os.devnull, os.O_RDONLY)  # becomes the standard input, which was the socket
        _run(conversation)
        code = 0
    except BaseException:  # noqa: BLE001 - must not reach the loop of the parent's code
        traceback.print_exc()
        with suppress(OSError):
            conversation.sendall(traceback.format_exc().encode())
    finally:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)  # interpreter shutdown takes longer than many runs


def _run(conversation: socket.socket) -> None:
    """Execute the requested run, as `dagster api execute_run` does."""
    from dagster._cli.utils import get_instance_for_cli
    from dagster._grpc.types import ExecuteRunArgs
    from dagster._serdes import deserialize_value
    from dagster._utils.interrupts import capture_interrupts

    def report_start() -> None:
        conversation.sendall(STARTED.encode())
        conversation.close()

    with capture_interrupts():
        with conversation.makefile("r", encoding="utf-8") as order:
            args = deserialize_value(order.read(), ExecuteRunArgs)
        ref = args.instance_ref and without_creation(args.instance_ref)
        with get_instance_for_cli(instance_ref=ref) as instance:
            execute(args.run_id, instance, on_start=report_start)


def execute(
    run_id: str, instance: dg.DagsterInstance, *, on_start: Callable[[], None] = lambda: None
) -> None:
    """Execute a run in this process, which serves no other one.

    Args:
        run_id: Dagster's run.
        instance: The instance that has it; its pools of connections are changed.
        on_start: Called when the process can be interrupted, before the run reports to Dagster.
    """
    from dagster._cli.api import _execute_run_command_body

    pool_connections(instance)
    batch_events(instance)
    remember_tables(instance)
    # Before STARTED, so that the process of a started run can be interrupted.
    instance.add_run_tags(run_id, {WORKER_TAG: worker()})
    _have_partition_of(instance.get_run_by_id(run_id))
    on_start()
    _execute_run_command_body(run_id, instance, lambda _: None, set_exit_code_on_failure=False)


def _have_partition_of(run: dg.DagsterRun | None) -> None:
    """Make a day that can be run a partition in this process; see `Settings.first_partition`.

    Dagster stores no output of a run whose partition is not in the definitions of its process.
    """
    day = run and run.tags.get("dagster/partition/day")
    if not day:
        return
    with suppress(ValueError, SettingsError):  # the run reports them
        settings = load_settings()
        if settings.partitions_start <= date.fromisoformat(day) < settings.first_partition:
            set_in_environment("PARTITIONS_START", day)
            set_in_environment("PARTITIONS_DAYS", "0")


if __name__ == "__main__":
    main()
