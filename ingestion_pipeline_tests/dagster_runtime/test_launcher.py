"""Runs that are forked, launched as Dagster's daemon launches them, with a code server.

They execute a copy of the package, which a test can edit.
"""

from __future__ import annotations

import logging
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import psutil
import pytest
import sqlalchemy as sa
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration
from dagster_graphql.cli import execute_query

import ingestion_pipeline
from ingestion_pipeline.dagster_runtime.launcher import WarmRunLauncher
from ingestion_pipeline.dagster_runtime.liveness import WORKER_TAG
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.tables import ingestion_run, poi_ingestion_staging
from ingestion_pipeline_tests.support.installation import overpass_cafes
from ingestion_pipeline_tests.support.overpass_server import OverpassServer, Reply, overpass_json
from testbed.platform_processes import LAUNCH, LOCATION, tags_of_partition, wait_until
from testbed.towns import cafes, town, write_cities, write_extract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingestion_pipeline_tests.support.overpass_server import Request

pytestmark = pytest.mark.timeout(300)

DAYS = [date(2026, 1, number) for number in range(1, 7)]
WITHOUT_EXTRACT = [date(2026, 1, 20), date(2026, 1, 21)]
PACKAGE = Path(ingestion_pipeline.__file__).parent


class Upstream:
    """An Overpass server that never answers in time."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.over = threading.Event()

    def __call__(self, request: Request) -> Reply:
        del request
        self.asked.set()
        self.over.wait()
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Reply(body=overpass_json(overpass_cafes(cafes(0)), base=now))


class Desk:
    """Where runs are made and launched from, as by Dagster's daemon."""

    def __init__(
        self, folder: Path, upstream: Upstream, workspace: WorkspaceProcessContext, database: str
    ) -> None:
        self.package = folder / "code" / "ingestion_pipeline"
        self.upstream = upstream
        self.instance = workspace.instance
        self.engine = create_engine(database)
        self._workspace = workspace

    def queue(self, city: str, day: date) -> str:
        """Have a run made, which nobody takes from the queue; give its id."""
        parameters = {
            "selector": {
                "repositoryLocationName": LOCATION,
                "repositoryName": "__repository__",
                "jobName": "osm_import",
            },
            "runConfigData": "{}",
            "executionMetadata": {
                "tags": [
                    {"key": key, "value": value}
                    for key, value in tags_of_partition(city, str(day)).items()
                ]
            },
        }
        told = execute_query(self._workspace, LAUNCH, {"parameters": parameters})
        run_id: str = told["data"]["launchRun"]["run"]["runId"]
        return run_id

    def launch(self, city: str, day: date) -> str:
        """Have a run made, and launch it; give its id."""
        run_id = self.queue(city, day)
        self.instance.launch_run(run_id, self._workspace.create_request_context())
        return run_id

    def run(self, run_id: str) -> dg.DagsterRun:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run

    def end_of(self, run_id: str) -> str:
        """Wait for the end of a run; give its status."""
        wait_until(lambda: self.run(run_id).is_finished, "the run has ended")
        return self.run(run_id).status.value

    def process_of(self, run_id: str) -> psutil.Process:
        return psutil.Process(int(self.run(run_id).tags[WORKER_TAG].split(" ")[1]))

    def process_lives(self, run_id: str) -> bool:
        return psutil.pid_exists(int(self.run(run_id).tags[WORKER_TAG].split(" ")[1]))

    def said_of(self, run_id: str) -> str:
        return "\n".join(
            entry.user_message or str(entry.dagster_event and entry.dagster_event.message)
            for entry in self.instance.all_logs(run_id)
        )

    def in_ledger(self, run_id: str) -> tuple[str, str | None]:
        columns = ingestion_run.c
        query = sa.select(columns.status, columns.error_code).where(
            columns.dagster_run_id == run_id
        )
        with self.engine.connect() as connection:
            status, code = connection.execute(query).one()
        return status, code

    def names_on(self, city: str) -> set[str]:
        columns = poi_ingestion_staging.c
        query = sa.select(columns.name).where(columns.city_slug == city)
        with self.engine.connect() as connection:
            return set(connection.execute(query).scalars())

    def printed_by(self, run_id: str) -> list[str]:
        """Give what a run wrote to its standard error, as the UI shows it."""
        keys = [
            entry.dagster_event.logs_captured_data.file_key
            for entry in self.instance.all_logs(run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED)
            if entry.dagster_event
        ]
        manager = self.instance.compute_log_manager
        said = b"".join(
            manager.get_log_data([run_id, "compute_logs", key]).stderr or b"" for key in keys
        )
        return said.decode().splitlines()

    def monitor(self) -> None:
        """Look after runs once, as the daemon does."""
        log = logging.getLogger()
        assert list(execute_run_monitoring_iteration(self._workspace, log)) in ([], [None])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("launcher")
    leave_out = shutil.ignore_patterns("__pycache__")
    for part in (PACKAGE, PACKAGE.parent / "migrations"):
        shutil.copytree(part, folder / "code" / part.name, ignore=leave_out)
    (home := folder / "home").mkdir()
    shutil.copy(PACKAGE / "dagster.yaml", home)
    for day in DAYS:
        at = datetime(day.year, day.month, day.day, 20, tzinfo=UTC)
        write_extract(folder / "extracts" / f"{day}.osm.pbf", cafes(1), at=at)
    write_cities(folder / "cities.toml", [town(0, osm_source="overpass"), town(1)])
    database = f"sqlite:///{folder}/staging.gpkg"
    migrate(engine := create_engine(database))
    engine.dispose()
    upstream = Upstream()
    with pytest.MonkeyPatch.context() as environment, OverpassServer(upstream) as server:
        for name, value in {
            "PYTHONPATH": str(folder / "code"),
            "DAGSTER_HOME": str(home),
            "DATABASE_URL": database,
            "DATA_DIR": str(folder / "lake"),
            "STATE_DIR": str(folder / "state"),
            "CITIES_FILE": str(folder / "cities.toml"),
            "PARTITIONS_START": str(DAYS[0]),
            "OSM_SOURCE": "extract",
            "OSM_EXTRACT": str(folder / "extracts" / "{day}.osm.pbf"),
            "OVERPASS_URL": server.url,
            "OVERPASS_CONTACT": "tests@example.org",
        }.items():
            environment.setenv(name, value)
        environment.chdir(folder)
        target = ModuleTarget("ingestion_pipeline.definitions", None, None, LOCATION)
        with (
            dg.DagsterInstance.get() as instance,
            WorkspaceProcessContext(instance, target) as workspace,
        ):
            assert isinstance(instance.run_launcher, WarmRunLauncher)
            desk = Desk(folder, upstream, workspace, database)
            yield desk
            upstream.over.set()
            desk.engine.dispose()


def test_runs_are_forked_by_one_process_and_stage_their_days(desk: Desk) -> None:
    with ThreadPoolExecutor(2) as both:
        first, second = both.map(lambda day: desk.launch("town-1", day), DAYS[:2])
    ends = [desk.end_of(first), desk.end_of(second)]
    assert ends == ["SUCCESS", "SUCCESS"], desk.said_of(first)
    assert [desk.in_ledger(first), desk.in_ledger(second)] == [("SUCCEEDED", None)] * 2
    assert desk.names_on("town-1") == set(cafes(1).values())
    assert desk.run(first).tags[WORKER_TAG] != desk.run(second).tags[WORKER_TAG]
    assert len(forking()) == 1
    for run in (first, second):
        assert "default launcher" not in desk.said_of(run)


def forking() -> list[psutil.Process]:
    """Give the processes of this one that fork runs."""
    return [
        child
        for child in psutil.Process().children()
        if "dagster_runtime.warm" in str(child.cmdline())
    ]


def test_a_missing_extract_is_one_line_of_what_a_forked_run_prints(desk: Desk) -> None:
    assert "default launcher" not in desk.said_of(without_extract(desk, WITHOUT_EXTRACT[0]))


def without_extract(desk: Desk, day: date) -> str:
    """Launch a run whose extract is missing, and look at what it prints and keeps; give its id."""
    run = desk.launch("town-1", day)
    assert desk.end_of(run) == "FAILURE"
    assert desk.in_ledger(run) == ("FAILED", "extract_not_found")
    printed = desk.printed_by(run)
    assert len(printed) == 1, printed
    assert "Error (extract_not_found): " in printed[0]
    assert f"{day}.osm.pbf" in printed[0]
    (failure,) = (
        entry.dagster_event.step_failure_data
        for entry in desk.instance.all_logs(run, of_type=dg.DagsterEventType.STEP_FAILURE)
        if entry.dagster_event
    )
    assert failure.error is not None
    assert failure.error.stack
    return run


def test_a_run_that_is_terminated_ends_as_canceled(desk: Desk) -> None:
    run = waiting_for_upstream(desk)
    assert desk.instance.run_launcher.terminate(run)
    assert desk.end_of(run) == "CANCELED"
    assert desk.in_ledger(run) == ("CANCELED", "interrupted")
    assert not desk.instance.run_launcher.terminate(run)


def waiting_for_upstream(desk: Desk) -> str:
    """Launch a run that does not come to an end; give its id when it has begun to work."""
    desk.upstream.asked.clear()
    run = desk.launch("town-0", datetime.now(UTC).date())
    wait_until(lambda: desk.upstream.asked.is_set() or desk.run(run).is_finished, "it asks")
    assert desk.upstream.asked.is_set(), desk.said_of(run)
    return run


def test_the_death_of_a_run_is_seen_and_that_of_the_process_that_forked_it_does_it_no_harm(
    desk: Desk,
) -> None:
    run = waiting_for_upstream(desk)
    (parent,) = forking()
    parent.kill()
    desk.monitor()
    assert desk.run(run).status == dg.DagsterRunStatus.STARTED
    desk.process_of(run).send_signal(signal.SIGKILL)
    wait_until(lambda: not desk.process_lives(run), "it is dead")
    desk.monitor()
    assert desk.run(run).status == dg.DagsterRunStatus.FAILURE
    assert "its process is gone" in desk.said_of(run)
    desk.instance.event_log_storage.free_concurrency_slots_for_run(run)  # as the daemon does
    assert desk.end_of(desk.launch("town-1", DAYS[2])) == "SUCCESS"


def test_a_run_executes_the_code_that_is_installed_when_it_is_launched(desk: Desk) -> None:
    assert desk.end_of(desk.launch("town-1", DAYS[3])) == "SUCCESS"
    edited = desk.package / "defs" / "metadata.py"
    edited.write_text(edited.read_text(encoding="utf-8").replace("normalized", "reshaped"))
    run = desk.launch("town-1", DAYS[4])
    assert desk.end_of(run) == "SUCCESS"
    assert "reshaped 99 POIs" in desk.said_of(run)
    assert "default launcher" not in desk.said_of(run)


def test_where_no_process_can_fork_a_run_is_started_as_dagster_does(desk: Desk) -> None:
    broken = desk.package / "dagster_runtime" / "warm.py"
    text = broken.read_text(encoding="utf-8")
    broken.write_text(text.replace("def main() -> None:", "def main() -> None:\n    sys.exit(1)"))
    run: Any = desk.launch("town-1", DAYS[5])
    assert desk.end_of(run) == "SUCCESS"
    assert "Dagster's default launcher starts this run" in desk.said_of(run)
    assert desk.in_ledger(run) == ("SUCCEEDED", None)


def test_a_missing_extract_is_one_line_where_a_run_is_started_as_dagster_does(desk: Desk) -> None:
    assert "default launcher" in desk.said_of(without_extract(desk, WITHOUT_EXTRACT[1]))
