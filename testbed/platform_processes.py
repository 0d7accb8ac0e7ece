"""The whole platform as it stands in production, in processes of its own.

Belongs here: Dagster's code server, daemon and webserver, the admin API, and their PostgreSQL; how
a test starts, stops and kills them, and talks to them. Does not belong here: expectations.

    with running_platform(folder, towns=TOWNS) as platform:
        platform.graphql(...), platform.api().post(...)
        platform.kill("daemon")
        platform.start("daemon")
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import httpx
import psutil
import sqlalchemy as sa

from ingestion_pipeline.config.settings import Settings
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.tables import ingestion_run
from testbed.postgres_server import free_port, private_cluster
from testbed.towns import write_cities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

T = TypeVar("T")
Name = Literal["code-server", "daemon", "webserver", "api", "redis", "worker-1", "worker-2"]

WORKERS: tuple[Name, ...] = ("worker-1", "worker-2")

TOKEN = "a-token-of-the-tests"
LOCATION = "ingestion_pipeline"
SCRIPTS = Path(sys.executable).parent
LONG_ENOUGH_S = 120
"""For whatever takes seconds on a machine that has nothing else to do."""

DEPLOY = Path(__file__).parents[1] / "deploy"
"""The files of a production set-up."""

DAEMONS = """{
  instance { __typename daemonHealth { allDaemonStatuses { daemonType required healthy } } }
}"""

LOCATIONS = """{
  workspaceOrError {
    __typename
    ... on Workspace { locationEntries { locationOrLoadError { __typename } } }
    ... on PythonError { message }
  }
}"""

LAUNCH = """mutation($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}"""

TERMINATE = """mutation($id: String!) {
  terminateRun(runId: $id) { __typename ... on PythonError { message } }
}"""

BACKFILL = """mutation($parameters: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $parameters) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}"""

CANCEL_BACKFILL = """mutation($id: String!) {
  cancelPartitionBackfill(backfillId: $id) {
    __typename
    ... on PythonError { message }
  }
}"""

RUNS = """query($filter: RunsFilter) {
  runsOrError(filter: $filter) {
    __typename
    ... on Runs { results { runId status startTime endTime tags { key value } } }
    ... on PythonError { message }
  }
}"""


def wait_until(
    condition: Callable[[], T], what: str, *, timeout: float = LONG_ENOUGH_S, every: float = 0.2
) -> T:
    """Ask again and again until the answer is true, and give it.

    Args:
        condition: What to ask.
        what: What is waited for, for the message.
        timeout: How long, in seconds.
        every: How long between two questions.
    """
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"after {timeout:g} s still waiting until {what}"
        time.sleep(every)
    return answer


def tags_of_partition(city: str, day: str) -> dict[str, str]:
    """Return the tags by which Dagster knows the partition of a run."""
    return {
        "dagster/partition": f"{city}|{day}",
        "dagster/partition/city": city,
        "dagster/partition/day": day,
    }


def cpu_s_of(process: psutil.Process) -> float:
    """Return the CPU time of a process and of whatever it has started, ended or not."""
    total = 0.0
    for each in [*process.children(recursive=True), process]:
        with suppress(psutil.NoSuchProcess):  # it has ended; then its parent has its time
            total += sum(each.cpu_times()[:4])
    return total


@dataclass(frozen=True)
class DagsterRun:
    """A run, as Dagster tells of it."""

    run_id: str
    status: str
    tags: Mapping[str, str]
    start: float | None
    end: float | None

    @property
    def is_finished(self) -> bool:
        return self.status in {"SUCCESS", "FAILURE", "CANCELED"}


class Database(Protocol):
    """The PostgreSQL of a platform."""

    running: bool

    def start(self) -> None:
        """Start it, and wait until it answers."""

    def stop(self) -> None:
        """Let it crash."""


class Program:
    """A long-running process that can be killed and started again, with one log for it all."""

    def __init__(
        self, command: Sequence[str | Path], environment: Mapping[str, str], log: Path
    ) -> None:
        self.log = log
        self.environment = environment
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def cpu_s(self) -> float:
        """The CPU time that it and whatever it has started have taken."""
        assert self._process is not None
        return cpu_s_of(psutil.Process(self._process.pid))

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        assert not self.runs, f"{self.log.stem} runs already"
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self.environment,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests, which then end everything
            )

    def kill(self) -> None:
        """End it without warning, and leave its children alone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(LONG_ENOUGH_S)

    def terminate(self) -> None:
        """Ask it to end, and do not wait for it."""
        assert self._process is not None
        self._process.terminate()

    def stop(self) -> None:
        """Ask it to end, and wait for it."""
        self.terminate()
        assert self._process is not None
        self._process.wait(LONG_ENOUGH_S)

    def close(self) -> None:
        """Take note of its end; kill it, if that has not been done."""
        if self._process is not None:
            self.kill()


@dataclass
class Platform:
    """One platform; `programs` are its processes by name, which listen at `address`."""

    folder: Path
    database_url: str
    environment: Mapping[str, str]
    ports: Mapping[Name, int]
    programs: Mapping[Name, Program]
    postgres: Database
    address: str = "127.0.0.1"
    _clients: ExitStack = field(default_factory=ExitStack)

    # Processes

    def start(self, *names: Name) -> None:
        """Start processes, and wait until they work."""
        for name in names:
            self.programs[name].start()
        for name in names:
            self.wait_for(name)

    def wait_for(self, name: Name, *, timeout: float = LONG_ENOUGH_S) -> None:
        """Wait until a process that was started works."""
        what = f"{name} works; its log: {self.programs[name].log}"
        wait_until(lambda: self._works(name), what, timeout=timeout)

    def kill(self, *names: Name) -> None:
        """Kill processes (SIGKILL), and leave their children alone."""
        for name in names:
            self.programs[name].kill()

    def stop(self, *names: Name) -> None:
        """Ask processes to end (SIGTERM), and wait for it."""
        for name in names:
            self.programs[name].stop()

    def replace(self, *names: Name, checkout: Path) -> None:
        """Ask processes to end, and start them again with the code of another checkout."""
        self.stop(*names)
        for name in names:
            program = self.programs[name]
            program.environment = {**program.environment, "PYTHONPATH": str(checkout)}
        self.start(*names)

    def crash(self) -> None:
        """Kill every process at once, run workers and PostgreSQL too: the machine is lost."""
        for process in self._all_processes():
            process.kill()
        for program in self.programs.values():
            program.close()
        self.postgres.stop()
        self.engine.dispose()

    def boot(self) -> None:
        """Start everything, in the order in which one needs the other."""
        if not self.postgres.running:
            self.postgres.start()
        self.start("code-server")
        self.start("webserver", "daemon", "api")
        if "redis" in self.programs:
            self.start("redis", *WORKERS)

    def kill_worker(self, name: str | None) -> None:
        """Kill the process that works for a run, by its name in the ledger or in Dagster."""
        self._worker(name).kill()

    def stop_worker(self, name: str | None) -> psutil.Process:
        """Stop such a process until it is resumed."""
        worker = self._worker(name)
        worker.suspend()
        return worker

    def _worker(self, name: str | None) -> psutil.Process:
        assert name is not None
        _, pid, _ = name.rsplit(" ", 2)
        worker = psutil.Process(int(pid))
        assert _is_of(worker, self.folder)
        return worker

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run `poi-ingest` in the platform's environment, with further settings."""
        return subprocess.run(
            [SCRIPTS / "poi-ingest", *arguments],
            env={**self.environment, **settings},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=LONG_ENOUGH_S,
            check=False,
        )

    def logs(self) -> str:
        """Return what every process has written."""
        return "\n".join(
            f"--- {program.log.name}\n{program.log.read_text(errors='replace')}"
            for program in self.programs.values()
            if program.log.exists()
        )

    def close(self) -> None:
        """End every process, those too that have lost their parent."""
        self._clients.close()
        self.crash()

    @property
    def cpu_s(self) -> float:
        """The CPU time that its processes have taken, with that of runs that have ended."""
        return sum(sum(process.cpu_times()[:4]) for process in self._all_processes())

    def _all_processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if _is_of(process, self.folder)]

    # Dagster

    def graphql(self, query: str, **variables: Any) -> Any:
        """Ask Dagster's webserver; give the value of the one field that is asked for."""
        reply = httpx.post(
            f"http://{self.address}:{self.ports['webserver']}/graphql",
            json={"query": query, "variables": variables},
            timeout=LONG_ENOUGH_S,
        )
        reply.raise_for_status()
        document = reply.json()
        assert "errors" not in document, document["errors"]
        (value,) = document["data"].values()
        if isinstance(value, dict):
            assert value["__typename"] != "PythonError", value["message"]
        return value

    def allow_fetches(self, number: int) -> None:
        """Let so many runs fetch at a time, as docs tell of extracts: they load nobody's server."""
        self.graphql(
            """mutation($limit: Int!) {
              setConcurrencyLimit(concurrencyKey: "osm_upstream", limit: $limit)
            }""",
            limit=number,
        )

    def launch(self, city: str, day: str, **tags: str) -> str:
        """Launch the job for a city-day as the UI does; give the Dagster run's id."""
        return self.launch_job("osm_import", tags=tags_of_partition(city, day) | tags)

    def launch_job(
        self,
        job: str,
        *,
        tags: Mapping[str, str] | None = None,
        only: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
    ) -> str:
        """Launch any job; give the Dagster run's id.

        Args:
            job: The job.
            tags: Tags of the run.
            only: Its assets; none means all.
            config: The run config.
        """
        selected = {"assetSelection": [{"path": [asset]} for asset in only]} if only else {}
        launched = self.graphql(
            LAUNCH,
            parameters={
                "selector": {
                    "repositoryLocationName": LOCATION,
                    "repositoryName": "__repository__",
                    "jobName": job,
                    **selected,
                },
                "runConfigData": json.dumps(config or {}),
                "executionMetadata": {
                    "tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]
                },
            },
        )
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id: str = launched["run"]["runId"]
        return run_id

    def terminate(self, run_id: str) -> None:
        """Terminate a run as the UI does."""
        told = self.graphql(TERMINATE, id=run_id)
        assert told["__typename"] == "TerminateRunSuccess", told

    def backfill(self, partitions: Sequence[str]) -> str:
        """Start a backfill of the three assets as the UI does; give its id."""
        launched = self.graphql(
            BACKFILL,
            parameters={
                "assetSelection": [
                    {"path": [name]} for name in ("osm_snapshot", "osm_pois", "poi_staging")
                ],
                "partitionNames": list(partitions),
            },
        )
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        backfill_id: str = launched["backfillId"]
        return backfill_id

    def backfill_status(self, backfill_id: str) -> str:
        """Return how a backfill stands."""
        told = self.graphql(
            """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
              __typename ... on PartitionBackfill { status } ... on PythonError { message } } }""",
            id=backfill_id,
        )
        status: str = told["status"]
        return status

    def cancel_backfill(self, backfill_id: str) -> None:
        """Cancel a backfill and its runs."""
        self.graphql(CANCEL_BACKFILL, id=backfill_id)

    def dagster_runs(self, **tags: str) -> list[DagsterRun]:
        """List all of Dagster's runs with these tags, the newest first."""
        wanted = {"tags": [{"key": key, "value": value} for key, value in tags.items()]}
        found = self.graphql(RUNS, filter=wanted)
        return [
            DagsterRun(
                run_id=one["runId"],
                status=one["status"],
                tags={tag["key"]: tag["value"] for tag in one["tags"]},
                start=one["startTime"],
                end=one["endTime"],
            )
            for one in found["results"]
        ]

    # The admin API and the database

    @cached_property
    def api(self) -> httpx.Client:
        """A client of the admin API, with the token."""
        return self._clients.enter_context(self.new_client())

    def new_client(self) -> httpx.Client:
        """Return another client of the admin API, with connections of its own."""
        return httpx.Client(
            base_url=f"http://{self.address}:{self.ports['api']}",
            headers={"X-Admin-Token": TOKEN},
            timeout=LONG_ENOUGH_S,
        )

    @cached_property
    def engine(self) -> sa.Engine:
        """The project's database."""
        return create_engine(self.database_url)

    def ledger(self, city: str | None = None) -> list[runs.Run]:
        """Return the ledger's rows in the order of asking."""
        query = sa.select(ingestion_run).order_by(ingestion_run.c.requested_at, ingestion_run.c.id)
        if city is not None:
            query = query.where(ingestion_run.c.city_slug == city)
        with self.engine.connect() as connection:
            return [runs.Run(**row._mapping) for row in connection.execute(query)]

    def _works(self, name: Name) -> bool:
        program = self.programs[name]
        assert program.runs, f"{name} has ended:\n{program.log.read_text(errors='replace')}"
        if name == "daemon":
            health = self.graphql(DAEMONS)["daemonHealth"]["allDaemonStatuses"]
            return all(daemon["healthy"] for daemon in health if daemon["required"])
        if name in WORKERS:
            return program.log.read_text(errors="replace").count("ready.") >= program.starts
        if not _listens(self.address, self.ports[name]):
            return False
        if name == "webserver":
            (entry,) = self.graphql(LOCATIONS)["locationEntries"]
            location = entry["locationOrLoadError"]
            return location is not None and location["__typename"] == "RepositoryLocation"
        return True


def _listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def _is_of(process: psutil.Process, folder: Path) -> bool:
    """Return whether a process belongs to a platform, by its DAGSTER_HOME."""
    try:
        home = process.environ().get("DAGSTER_HOME")
        return home is not None and Path(home).is_relative_to(folder)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


@contextmanager
def running_platform(
    folder: Path,
    *,
    towns: Sequence[Mapping[str, Any]],
    dagster_yaml: Path = DEPLOY / "dagster.yaml",
    module: str = "ingestion_pipeline.definitions",
    workers: bool = False,
    checkout: Path | None = None,
    **settings: str,
) -> Iterator[Platform]:
    """Start the platform in an empty folder, and end every process of it whatever happens.

    It is set up as `deploy/` has it for production. Extracts are looked for in
    `<folder>/extracts/<day>.osm.pbf`.

    Args:
        folder: Where to.
        towns: The cities.
        dagster_yaml: How Dagster is set up.
        module: Where the code server finds the definitions.
        workers: Whether two workers of Celery execute the runs, with a Redis between.
        checkout: Another checkout, whose code the processes run.
        settings: Further environment variables.
    """
    (home := folder / "dagster_home").mkdir(parents=True)
    (logs := folder / "logs").mkdir()
    write_cities(folder / "cities.toml", towns)
    names: tuple[Name, ...] = ("code-server", "daemon", "webserver", "api")
    if workers:
        names = (*names, "redis")
    ports = {name: free_port() for name in names}
    shutil.copyfile(dagster_yaml, home / "dagster.yaml")
    with private_cluster(durable=True) as cluster:
        project, dagster = (cluster.create_database(name) for name in ("project", "dagster"))
        database_url = project.render_as_string()
        dagster_url = dagster.set(drivername="postgresql+psycopg2").render_as_string()
        write_workspace(folder, "127.0.0.1", ports["code-server"])
        environment = environment_of(folder) | {
            "DATABASE_URL": database_url,
            "DAGSTER_STORAGE_URL": dagster_url,
            "DAGSTER_URL": f"http://127.0.0.1:{ports['webserver']}",
            **({"PYTHONPATH": str(checkout)} if checkout else {}),
            **settings,
        }
        if workers:
            of_redis = f"redis://127.0.0.1:{ports['redis']}"
            environment |= {
                "CELERY_BROKER_URL": f"{of_redis}/0",
                "CELERY_BACKEND_URL": f"{of_redis}/1",
            }
        if checkout:  # it may have other migrations
            subprocess.run([SCRIPTS / "poi-ingest", "migrate"], env=environment, check=True)
        else:
            engine = create_engine(database_url)
            migrate(engine)
            engine.dispose()
        programs = {
            name: Program(command, environment, logs / f"{name}.log")
            for name, command in commands_of(folder, ports, module=module).items()
            if name in ports or workers
        }
        platform = Platform(folder, database_url, environment, ports, programs, cluster)
        try:
            platform.boot()
            yield platform
        finally:
            platform.close()


def write_workspace(folder: Path, address: str, port: int) -> None:
    """Write the file by which Dagster's processes find the code server."""
    (folder / "workspace.yaml").write_text(
        f"load_from:\n  - grpc_server:\n      host: {address}\n"
        f"      port: {port}\n      location_name: {LOCATION}\n"
    )


def environment_of(folder: Path) -> dict[str, str]:
    """Return the processes' environment: the tests' own, with nothing that the project reads."""
    ours = {name.upper() for name in Settings.model_fields} | {"PYTHONDONTWRITEBYTECODE"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    return inherited | {
        "DATA_DIR": str(folder / "lake"),
        "CITIES_FILE": str(folder / "cities.toml"),
        "OSM_SOURCE": "extract",
        "OSM_EXTRACT": str(folder / "extracts" / "{day}.osm.pbf"),
        "OVERPASS_CONTACT": "tests@example.org",
        "PARTITIONS_START": "2024-01-01",
        "STATE_DIR": str(folder / "state"),
        "DAGSTER_HOME": str(folder / "dagster_home"),
        "ADMIN_API_TOKEN": TOKEN,
    }


def commands_of(
    folder: Path,
    ports: Mapping[Name, int],
    *,
    module: str,
    address: str = "127.0.0.1",
    concurrency: int = 2,
) -> dict[Name, list[str | Path]]:
    """Return the commands of a platform's processes.

    Args:
        folder: The platform's folder.
        ports: Where they listen.
        module: Where the code server finds the definitions.
        address: Where they listen.
        concurrency: The number of runs at a time of a worker.
    """
    workspace = ["-w", str(folder / "workspace.yaml")]
    return {
        "code-server": [
            *(SCRIPTS / "dagster", "api", "grpc", "-m", module),
            *("--host", address, "--port", str(ports["code-server"])),
            *("--location-name", LOCATION),
        ],
        "daemon": [SCRIPTS / "dagster-daemon", "run", *workspace],
        "webserver": [
            *(SCRIPTS / "dagster-webserver", "--host", address),
            *("--port", str(ports["webserver"]), *workspace),
        ],
        "api": [
            *(SCRIPTS / "poi-ingest", "serve", "--host", address),
            *("--port", str(ports["api"])),
        ],
        "redis": [
            *("redis-server", "--bind", address, "--port", str(ports.get("redis", 0))),
            *("--protected-mode", "no", "--save", "", "--dir", folder),
        ],
        **{
            name: [
                *(SCRIPTS / "poi-ingest", "worker"),
                *("--concurrency", str(concurrency), "--name", name),
            ]
            for name in WORKERS
        },
    }
