"""Whether the run that holds a key may still be working."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import dagster as dg
import psutil
import pytest

from ingestion_pipeline.dagster_runtime.liveness import (
    FORKED_BY,
    WORKER_TAG,
    is_alive,
    is_known,
    kill_process_of,
    worker,
)
from ingestion_pipeline.staging.runs import Run
from ingestion_pipeline_tests.support.installation import new_run_id

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME_OF_PROCESS = (
    "from ingestion_pipeline.dagster_runtime.liveness import worker; print(worker(), flush=True)"
)


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def held_by(name: str | None, dagster_run_id: str | None = None) -> Run:
    """Make a ledger row that the process of this name holds."""
    now = datetime(2024, 6, 1, tzinfo=UTC)
    return Run(
        id="job",
        job_type="osm_import",
        city_slug="town",
        boundary_ref="bbox:0,0,1,1",
        day=date(2024, 6, 1),
        idempotency_key="osm_import|town|bbox:0,0,1,1|2024-06-01",
        status="RUNNING",
        trigger="ui",
        dagster_run_id=dagster_run_id or new_run_id(),
        worker=name,
        attempt=1,
        as_of=None,
        counts=None,
        error_code=None,
        error_message=None,
        requested_at=now,
        started_at=now,
        finished_at=None,
        refetch=False,
        cancel_requested_at=None,
    )


def run_in(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> str:
    """Let Dagster know a run in this state; give its id."""
    run = dg.DagsterRun(job_name="osm_import", run_id=new_run_id(), status=status)
    instance.add_run(run)
    return run.run_id


@pytest.fixture
def other_process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that told its name and waits to be told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"{NAME_OF_PROCESS}; input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    yield process, process.stdout.readline().strip()
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_process_has_one_name_for_as_long_as_it_lives() -> None:
    name = worker()
    time.sleep(0.05)
    assert worker() == name


def test_a_run_of_a_living_process_is_alive_even_if_dagster_does_not_know_it(
    instance: dg.DagsterInstance, other_process: tuple[subprocess.Popen[str], str]
) -> None:
    assert is_alive(held_by(worker()), instance, lease=None)
    assert is_alive(held_by(other_process[1]), instance, lease=None)


@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE", "CANCELED"])
def test_a_run_that_dagster_knows_to_be_finished_is_not_alive(
    instance: dg.DagsterInstance, status: str
) -> None:
    dagster_run_id = run_in(instance, dg.DagsterRunStatus[status])
    assert not is_alive(held_by(worker(), dagster_run_id), instance, lease=None)
    assert not is_alive(held_by("elsewhere/boot 1 2.00", dagster_run_id), instance, lease=None)


def test_a_process_that_is_gone_is_not_alive_whatever_dagster_believes(
    instance: dg.DagsterInstance, other_process: tuple[subprocess.Popen[str], str]
) -> None:
    process, name = other_process
    believed = run_in(instance, dg.DagsterRunStatus.STARTED)
    assert is_alive(held_by(name, believed), instance, lease=None)
    process.kill()
    _wait_until_zombie(process.pid)
    assert not is_alive(
        held_by(name, believed), instance, lease=None
    )  # killed, its parent has not looked yet
    process.wait()
    assert not is_alive(held_by(name, believed), instance, lease=None)


def _wait_until_zombie(pid: int) -> None:
    deadline = time.monotonic() + 10
    while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_another_process_with_the_same_id_is_not_the_one(instance: dg.DagsterInstance) -> None:
    machine, pid, started = worker().split(" ")
    earlier = f"{machine} {pid} {float(started) - 7:.2f}"
    assert not is_alive(held_by(earlier), instance, lease=None)


def test_a_process_from_before_the_host_was_started_again_is_gone(
    instance: dg.DagsterInstance,
) -> None:
    machine, pid, started = worker().split(" ")
    host = machine.split("/")[0]
    believed = run_in(instance, dg.DagsterRunStatus.STARTED)
    assert not is_alive(
        held_by(f"{host}/another-boot/pid:[1] {pid} {started}", believed), instance, lease=None
    )


@pytest.mark.parametrize("name", ["elsewhere/boot/pid:[1] 7 1.00", None])
def test_of_a_run_of_another_host_without_a_lease_dagsters_word_stands(
    instance: dg.DagsterInstance, name: str | None
) -> None:
    assert is_alive(
        held_by(name, run_in(instance, dg.DagsterRunStatus.STARTED)), instance, lease=None
    )
    assert not is_alive(held_by(name), instance, lease=None)


@pytest.mark.parametrize(
    "name",
    [
        "elsewhere/boot/pid:[1] 7 1.00",
        "{host}/another-boot/pid:[1] 7 1.00",
        "{host}/{boot}/pid:[1] 7 1.00",
        None,
    ],
    ids=["another host", "another host of this name", "another container of this name", "unknown"],
)
def test_of_a_run_whose_process_cannot_be_seen_the_lease_decides(
    instance: dg.DagsterInstance, name: str | None
) -> None:
    host, boot, _ = worker().split(" ")[0].split("/")
    holder = held_by(name and name.format(host=host, boot=boot))
    assert is_alive(holder, instance, lease=True)
    assert not is_alive(holder, instance, lease=False)
    assert is_known(holder, lease=True)


def test_a_live_process_whose_run_has_no_lease_any_more_works_for_another_run(
    instance: dg.DagsterInstance, other_process: tuple[subprocess.Popen[str], str]
) -> None:
    process, name = other_process
    holder = held_by(name, run_in(instance, dg.DagsterRunStatus.STARTED))
    assert is_alive(holder, instance, lease=True)
    assert not is_alive(holder, instance, lease=False)
    process.kill()
    process.wait()
    assert not is_alive(holder, instance, lease=True)  # at once, before its lease ends


@pytest.mark.parametrize("forked", [True, False], ids=["forked for a run", "of a pool"])
def test_the_process_of_a_dead_run_is_killed_only_where_it_works_for_no_other(
    *, forked: bool
) -> None:
    program = f"{NAME_OF_PROCESS}; input()"
    arguments = [FORKED_BY] if forked else []
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        kill_process_of(dg.DagsterRun(job_name="osm_import", tags={WORKER_TAG: name}))
        if not forked:
            process.communicate("\n")
        assert process.wait() == (-signal.SIGKILL if forked else 0)
