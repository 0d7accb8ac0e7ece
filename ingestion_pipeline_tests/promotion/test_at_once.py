"""Many who decide at once, runs that are killed, and readers who look all the while."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from ingestion_pipeline.promotion import ledger
from ingestion_pipeline.promotion import promote as promotion
from ingestion_pipeline.promotion.errors import DecisionRefused
from ingestion_pipeline.promotion.ledger import Decision
from ingestion_pipeline.promotion.promote import Terms
from ingestion_pipeline.promotion.run import run
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.errors import KeyHeld
from ingestion_pipeline.staging.tables import ingestion_run, poi_event
from ingestion_pipeline_tests.support.promoted import (
    BY_REF,
    Stopped,
    promote,
    public_rows,
    stage_places,
)
from testbed.claims import NOW, evidence_of, slice_of

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = date(2026, 11, 1)
CLIENTS = 50
KILLS = int(os.environ.get("PROMOTION_KILLS", "15"))
PLACES = 300


@pytest.fixture
def postgis(postgis_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(postgis_url, service_connections=20)
    migrate(engine)
    yield engine
    engine.dispose()


def test_one_of_fifty_who_decide_at_once_decides(postgis: sa.Engine) -> None:
    stage_places(postgis, "kazan", DAY, {"node/1": {"name": "a"}})
    proposed = promote(postgis, "kazan", DAY, policy="review")
    start = threading.Barrier(CLIENTS)

    def client(number: int) -> tuple[str, str | None]:
        decision = Decision(f"client {number}", "at once", NOW)
        what = ("approve", "reject", "revert")[number % 3]
        start.wait()
        try:
            if what == "approve":
                made, _ = ledger.approve(postgis, proposed.id, decision, enqueue="admin")
            elif what == "reject":
                made = ledger.reject(postgis, proposed.id, decision)
            else:
                made, _ = promotion.revert(postgis, proposed.id, decision, enqueue="admin")
        except DecisionRefused:
            return what, None
        return what, made.decided_by

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(client, range(CLIENTS)))
    decided = ledger.get(postgis, proposed.id)
    succeeded = {"APPROVED": "approve", "REJECTED": "reject"}[decided.status]
    # Everyone who wished the same sees the one decision; all others are refused.
    assert {by for what, by in answers if what == succeeded} == {decided.decided_by}
    assert {by for what, by in answers if what != succeeded} == {None}
    with postgis.connect() as connection:
        jobs = connection.execute(
            sa.select(sa.func.count()).where(ingestion_run.c.status == "PENDING")
        ).scalar_one()
    assert jobs == (decided.status == "APPROVED")


def test_many_that_promote_one_day_make_one_promotion(postgis: sa.Engine) -> None:
    stage_places(postgis, "kazan", DAY, {f"node/{n}": {"name": str(n)} for n in range(1, 50)})
    start = threading.Barrier(8)

    def client(_: int) -> str | None:
        start.wait()
        try:
            return promote(postgis, "kazan", DAY).id
        except KeyHeld:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(client, range(8))) - {None}
    assert len(made) == 1
    assert len(ledger.page(postgis)) == 1
    assert len(public_rows(postgis, "kazan")) == 49


@pytest.mark.process
def test_a_promotion_that_is_killed_leaves_the_old_table_or_the_new_one(
    postgis_url: str,
) -> None:
    engine = create_engine(postgis_url)
    migrate(engine)
    stage_all(engine, 0)
    promote_day(engine, 0)
    stage_all(engine, 1)
    engine.dispose()
    began = time.monotonic()
    os.waitpid(forked(postgis_url, 1), 0)
    usual_s = time.monotonic() - began
    assert versions(engine) == ("1",)
    seen, stop = set[tuple[str, ...]](), threading.Event()
    reader = threading.Thread(target=read_all_the_while, args=(postgis_url, seen, stop))
    reader.start()
    dice, ends = random.Random(7), {"old": 0, "new": 0}
    try:
        for number in range(2, 2 + KILLS):
            stage_all(engine, number)
            engine.dispose()
            child = forked(postgis_url, number)
            time.sleep(dice.uniform(0, 1.5 * usual_s))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            (version,) = versions(engine)
            assert version in (str(number - 1), str(number))
            ends["new" if version == str(number) else "old"] += 1
            # The next run takes over from the dead one.
            assert promote_day(engine, number).status == "PROMOTED"
            assert versions(engine) == (str(number),)
    finally:
        stop.set()
        reader.join()
    assert {len(versions) for versions in seen} == {1}
    assert min(ends.values()) > 0, ends
    with engine.connect() as connection:
        events = connection.execute(sa.select(sa.func.count()).select_from(poi_event)).scalar_one()
    assert events == PLACES * (2 + KILLS)
    engine.dispose()


def stage_all(engine: sa.Engine, number: int) -> None:
    """Stage a day on which every place has another tag, which no gate minds."""
    places = {
        f"node/{place}": {"name": "a", "tags": {"amenity": "cafe", "day": str(number)}}
        for place in range(1, PLACES + 1)
    }
    stage_places(engine, "kazan", DAY + timedelta(days=number), places)


def promote_day(engine: sa.Engine, number: int) -> ledger.Promotion:
    day = DAY + timedelta(days=number)
    return run(
        engine,
        slice_of("kazan", day),
        Terms(policy="automatic", memory_days=90, matcher=BY_REF),
        boundary_ref=evidence_of(day).boundary_ref,
        worker=str(os.getpid()),
        is_alive=lambda _: False,
        clock=Stopped(),
    )


def forked(url: str, number: int) -> int:
    """Promote in a child process that ends without cleaning up, and return its id."""
    child = os.fork()
    if child:
        return child
    try:
        promote_day(create_engine(url), number)
    finally:
        os._exit(0)


def versions(engine: sa.Engine) -> tuple[str, ...]:
    """Read which day's tags the public table has."""
    query = sa.text("SELECT tags ->> 'day', count(*) FROM poi GROUP BY 1")
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    assert sum(count for _, count in rows) == PLACES
    return tuple(version for version, _ in rows)


def read_all_the_while(url: str, seen: set[tuple[str, ...]], stop: threading.Event) -> None:
    engine = create_engine(url)
    while not stop.wait(0.005):
        seen.add(versions(engine))
    engine.dispose()
