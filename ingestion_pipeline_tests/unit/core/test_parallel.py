"""Work that is parted among processes comes back whole, and nothing is left of them."""

import gc
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import date
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from ingestion_pipeline.core import parallel
from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.core.parallel import (
    ProcessDied,
    ahead,
    holds_frozen_objects,
    on_each,
    spans,
)
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.errors import BoundaryBroken
from ingestion_pipeline.osm.normalize import Pois, normalize
from ingestion_pipeline.osm.taxonomy import Taxonomy
from ingestion_pipeline.sources.pbf.extract import read

CENTRE = Area(Bbox(24.93, 60.16, 24.96, 60.18), None)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = psutil.Process().children()  # servers of other tests
    yield
    assert psutil.Process().children() == before
    assert gc.isenabled()


def test_the_collector_passes_over_what_was_made() -> None:
    frozen = gc.get_freeze_count()  # Python 3.12 starts with some
    made = on_each(lambda part: [[part, number] for number in range(5_000)], "ab", processes=1)

    young = {id(each) for each in gc.get_objects(generation=0)}
    assert not young & {id(each) for part in made for each in part}
    assert gc.get_freeze_count() == frozen


def test_what_a_server_has_frozen_stays_frozen() -> None:
    gc.freeze()
    holds_frozen_objects.cache_clear()
    try:
        frozen = gc.get_freeze_count()
        on_each(str, [1, 2], processes=1)
        # Some that are no longer used go, as ever.
        assert gc.get_freeze_count() > 0.99 * frozen
    finally:
        gc.unfreeze()
        holds_frozen_objects.cache_clear()


@pytest.mark.process
def test_results_come_in_the_order_of_the_parts_from_all_processes() -> None:
    results = on_each(lambda part: (part, os.getpid()), list("abcdefg"), processes=3)

    assert [part for part, _ in results] == list("abcdefg")
    pids = [pid for _, pid in results]
    assert pids[0] == os.getpid()
    assert len(set(pids)) == 3
    assert pids[:3] * 2 == pids[:6]


def test_what_is_made_ahead_comes_in_order_and_no_more_of_it_than_may_wait() -> None:
    begun: list[int] = []

    def work(part: int) -> int:
        begun.append(part)
        return -part

    results = ahead(work, itertools.count(), most=2)
    assert list(itertools.islice(results, 50)) == [-part for part in range(50)]
    results.close()
    assert len(begun) <= 50 + 2
    assert list(ahead(work, [], most=2)) == []
    assert list(ahead(work, [7], most=2)) == [-7]


def test_the_next_one_is_made_while_the_caller_is_busy() -> None:
    made = [threading.Event() for _ in range(3)]

    def work(part: int) -> int:
        made[part].set()
        return part

    for part in ahead(work, range(3), most=1):
        assert all(each.wait(timeout=30) for each in made[: part + 2])


def test_an_error_of_what_is_made_ahead_comes_in_its_turn() -> None:
    results = ahead(lambda part: 1 // part, [1, 0, 1], most=1)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_one_process_is_this_one() -> None:
    assert set(on_each(lambda _: os.getpid(), [1, 2, 3], processes=1)) == {os.getpid()}
    assert on_each(lambda _: os.getpid(), [], processes=2) == []


@pytest.mark.process
@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_comes_back_as_it_is(failing: int) -> None:
    def work(part: int) -> int:
        if part == failing:
            raise BoundaryBroken("relation/1 does not close; repair it")
        return part

    with pytest.raises(BoundaryBroken, match="relation/1 does not close; repair it"):
        on_each(work, [0, 1], processes=2)


@pytest.mark.process
def test_a_killed_process_is_reported() -> None:
    def work(part: int) -> int:
        if part:
            os.kill(os.getpid(), signal.SIGKILL)
        return part

    with pytest.raises(ProcessDied, match=r"exit code -9 .*Free memory") as caught:
        on_each(work, [0, 1], processes=2)
    assert caught.value.should_retry


@pytest.mark.process
def test_what_interrupts_this_process_is_its_own_matter() -> None:
    """Ctrl-C goes to all processes of a terminal; the others end with this one and say nothing."""

    def work(part: int) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return part

    # What a shell starts in the background is born deaf to it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            on_each(work, [0, 1], processes=2)
    finally:
        signal.signal(signal.SIGINT, before)


def _parent(to: Connection, may_end: Path) -> None:
    def work(part: int) -> None:
        to.send(os.getpid())
        while part and not may_end.exists():
            time.sleep(0.01)

    on_each(work, [0, 1], processes=2)


@pytest.mark.process
def test_a_process_ends_with_the_one_that_is_killed_while_it_waits_for_it(tmp_path: Path) -> None:
    context = get_context("fork")
    theirs, ours = context.Pipe(duplex=False)
    parent = context.Process(target=_parent, args=(ours, tmp_path / "end"))
    parent.start()
    try:
        (fork,) = {theirs.recv(), theirs.recv()} - {parent.pid}
        working = psutil.Process(fork)
        parent.kill()
        parent.join()
        assert psutil.wait_procs([working], timeout=30)[1] == []
    finally:
        (tmp_path / "end").touch()


def test_little_work_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(3)))

    assert parallel.cores(99, worth=100) == 1
    assert parallel.cores(100, worth=100) == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert parallel.cores(100, worth=100) == parallel.MOST


def _cores_of_a_daemon() -> int:
    context = get_context("fork")
    theirs, ours = context.Pipe()
    daemon = context.Process(target=lambda: theirs.send(parallel.cores(2, worth=1)), daemon=True)
    daemon.start()
    daemon.join()
    number: int = ours.recv()
    return number


@pytest.mark.process
def test_a_process_that_may_have_no_children_works_alone() -> None:
    assert _cores_of_a_daemon() == 1


@pytest.mark.parametrize(("number", "processes"), [(0, 1), (0, 3), (5, 1), (5, 3), (1000, 2)])
def test_spans_cover_everything_once(number: int, processes: int) -> None:
    parts = spans(number, processes=processes)

    assert [place for part in parts for place in range(number)[part]] == list(range(number))
    assert len(parts) == (1 if processes == 1 else 4 * processes)


def _pois(path: Path) -> Pois:
    return normalize(
        read(path, area=CENTRE).features,
        boundary=BboxBoundary(CENTRE.bbox),
        day=date(2019, 4, 21),
        languages=["fi", "sv", "en"],
        local_language="fi",
        country="FI",
        taxonomy=Taxonomy.load(),
    )


@pytest.mark.process
def test_the_sample_is_the_same_on_any_number_of_cores(
    helsinki_pbf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forked: list[int] = []

    def on_several(_: int, *, worth: int) -> int:
        forked.append(worth)
        return 3

    for module in ("sources.pbf.find", "osm.assemble", "core.parallel"):
        monkeypatch.setattr(f"ingestion_pipeline.{module}.cores", lambda *_, **__: 1)
    alone = _pois(helsinki_pbf)
    for module in ("sources.pbf.find", "osm.assemble", "core.parallel"):
        monkeypatch.setattr(f"ingestion_pipeline.{module}.cores", on_several)
    together = _pois(helsinki_pbf)

    assert len(forked) == 7  # three kinds of blocks, relations twice, sets of tags, rows
    assert together.table.num_rows > 1000
    assert together.table.equals(alone.table)
    assert together.rejections == alone.rejections
    assert (together.outside, together.generic, together.transliterated_names) == (
        alone.outside,
        alone.generic,
        alone.transliterated_names,
    )
