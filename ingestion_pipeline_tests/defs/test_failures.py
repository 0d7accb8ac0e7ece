"""How a domain error becomes what Dagster acts on."""

import itertools
import threading
from pathlib import Path

import dagster as dg
import pytest

from ingestion_pipeline.core.manual import codes
from ingestion_pipeline.defs.failures import Retrying, failure_of
from ingestion_pipeline.osm.errors import OverpassBusy, OverpassRejected


@pytest.mark.parametrize("retry_number", [0, 1, 2])
def test_each_wait_is_twice_as_long_and_spread_by_half(retry_number: int) -> None:
    requests = [
        Retrying(maximum=3, first_wait_s=60).of(OverpassBusy("no slot"), retry_number=retry_number)
        for _ in range(500)
    ]
    waits = [request.seconds_to_wait for request in requests if request is not None]
    middle = 60 * 2**retry_number
    assert len(waits) == 500
    assert all(wait is not None and 0.5 * middle <= wait <= 1.5 * middle for wait in waits)
    numbers = [wait for wait in waits if wait is not None]
    assert min(numbers) < 0.7 * middle
    assert max(numbers) > 1.3 * middle
    assert {request.max_retries for request in requests if request is not None} == {3}


def test_a_step_is_not_tried_again_for_ever() -> None:
    assert Retrying(maximum=3).of(OverpassBusy("no slot"), retry_number=3) is None
    assert Retrying(maximum=0).of(OverpassBusy("no slot"), retry_number=0) is None


def busy_for(seconds: float) -> OverpassBusy:
    error = OverpassBusy("no slot")
    error.retry_after_s = seconds
    return error


@pytest.mark.parametrize("seconds", [20, 50, 250])
@pytest.mark.parametrize("retry_number", [0, 1, 9])
def test_a_wait_that_was_left_to_the_step_is_done_in_full(
    seconds: float, retry_number: int
) -> None:
    least = max(seconds, 60 if retry_number == 0 else 120)
    for _ in range(200):
        retry = Retrying(first_wait_s=60).of(busy_for(seconds), retry_number=retry_number)
        assert retry is not None
        assert retry.seconds_to_wait is not None
        assert least <= retry.seconds_to_wait <= 1.25 * least


def test_a_step_that_leaves_its_waits_asks_as_often_as_one_that_waits() -> None:
    retrying = Retrying(maximum=3)
    tries = [number for number in range(50) if retrying.of(busy_for(30), retry_number=number)]
    assert tries == list(range(15))
    last = retrying.of(busy_for(30), retry_number=14)
    assert last is not None
    assert last.max_retries == 15


def test_without_retries_no_wait_is_left_to_the_step() -> None:
    assert Retrying().waits
    assert not Retrying(maximum=0).waits
    assert Retrying(maximum=0).of(busy_for(30), retry_number=0) is None


def test_an_hour_of_waiting_is_enough() -> None:
    assert Retrying().of(busy_for(3601), retry_number=0) is None
    assert Retrying().of(busy_for(1000), retry_number=0) is not None
    assert Retrying().of(busy_for(1000), retry_number=3) is None


def test_a_wait_of_what_cannot_succeed_is_not_done() -> None:
    error = OverpassRejected("line 1: parse error")
    error.retry_after_s = 30
    assert Retrying().of(error, retry_number=0) is None


def test_a_step_holds_no_place_in_its_pool_between_two_tries(tmp_path: Path) -> None:
    held: list[int] = []
    ended = threading.Event()

    @dg.op(pool="upstream")
    def ask(context: dg.OpExecutionContext) -> None:
        held.append(
            context.instance.event_log_storage.get_concurrency_info("upstream").active_slot_count
        )
        if context.retry_number == 0:
            retry = Retrying(first_wait_s=0.1).of(busy_for(1.5), retry_number=0)
            assert retry is not None
            raise retry

    @dg.job(executor_def=dg.in_process_executor)
    def fetch() -> None:
        ask()

    def look(instance: dg.DagsterInstance) -> None:
        while not ended.wait(0.05):
            info = instance.event_log_storage.get_concurrency_info("upstream")
            held.append(info.active_slot_count)

    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        instance.event_log_storage.set_concurrency_slots("upstream", 1)
        watcher = threading.Thread(target=look, args=[instance])
        watcher.start()
        try:
            assert fetch.execute_in_process(instance=instance).success
        finally:
            ended.set()
            watcher.join()
    in_a_row = [number for number, _ in itertools.groupby(held)]
    assert in_a_row[-3:] in ([1, 0, 1], [0, 1, 0])
    assert in_a_row.count(1) == 2


def test_what_cannot_succeed_is_not_tried_again() -> None:
    assert Retrying().of(OverpassRejected("line 1: parse error"), retry_number=0) is None


@pytest.mark.parametrize(
    ("error", "later"), [(OverpassBusy("no slot"), True), (OverpassRejected("parse error"), False)]
)
def test_a_failure_carries_the_code_the_words_and_whether_to_wait(
    error: OverpassBusy | OverpassRejected, later: bool
) -> None:
    failure = failure_of(error)
    assert failure.description == str(error)
    assert failure.allow_retries is False
    values = {name: entry.value for name, entry in failure.metadata.items()}
    assert values == {
        "error_code": error.code,
        "may_succeed_later": later,
        "what_to_do": codes()[error.code].what_to_do,
    }
