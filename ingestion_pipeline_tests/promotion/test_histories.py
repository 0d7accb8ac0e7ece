"""Random histories of days, promotions, decisions, reverts and overrides against a plain model."""

from __future__ import annotations

import itertools
import os
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion_pipeline.promotion import ledger, overrides, table
from ingestion_pipeline.promotion import promote as promotion
from ingestion_pipeline.promotion.errors import PromotionStopped
from ingestion_pipeline.promotion.events import replay
from ingestion_pipeline.promotion.table import Stretch
from ingestion_pipeline.staging.tables import poi_identity, poi_ingestion_staging
from ingestion_pipeline_tests.support.promoted import (
    BY_NAME,
    SOMEBODY,
    promote,
    public_rows,
    stage_places,
)
from ingestion_pipeline_tests.support.promotion_model import Model
from testbed.claims import NOW

if TYPE_CHECKING:
    from ingestion_pipeline.promotion.ledger import Promotion
    from ingestion_pipeline_tests.support.promotion_model import Proposal

DAY = date(2026, 1, 1)
FEATURES = ["node/1", "node/2", "way/1", "way/2"]
NAMES = "abc"
CITIES = (f"city{number}" for number in itertools.count())

policies = st.sampled_from(["automatic", "automatic", "review"])
pois = st.tuples(*[st.sampled_from([*NAMES, *NAMES, None])] * len(FEATURES)).map(
    lambda names: {ref: name for ref, name in zip(FEATURES, names, strict=True) if name}
)
# A day that loses all four would ask for a review (`gates.LEAST_OF_CATEGORY`), which the model does
# not know.
pois = pois.filter(bool)
places = st.integers(0, 5)
days = st.tuples(st.just("day"), st.sampled_from([0, 1, 1, 1, 95]), pois, policies)
steps = st.one_of(
    st.tuples(st.just("promote_again"), places, policies),
    st.tuples(st.just("decide"), st.sampled_from(["APPROVED", "APPROVED", "REJECTED"])),
    st.tuples(st.just("revert"), places, st.sampled_from([True, True, False])),
    st.tuples(st.just("override"), places, st.sampled_from([*NAMES, *NAMES, True])),
)


class History:
    """A city and its model, which make the same steps."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.city = next(CITIES)
        self.model = Model()
        self.promotions: dict[int, str] = {}
        self.places: dict[int, str] = {}
        self.now = NOW

    def day(self, pause: int, names: dict[str, str], policy: str) -> None:
        """Stage a day as long after the last one, or that one again, and promote it."""
        day = max(self.model.staged, default=DAY) + timedelta(days=pause)
        stage_places(
            self.engine, self.city, day, {ref: {"name": name} for ref, name in names.items()}
        )
        self.model.staged[day] = names
        self.promote(day, policy)

    def promote_again(self, place: int, policy: str) -> None:
        staged = sorted(self.model.staged, reverse=True)
        if staged:
            self.promote(staged[place % len(staged)], policy)

    def promote(self, day: date, policy: str) -> None:
        expected = self.model.promote(day, policy)
        if expected is None:
            with pytest.raises(PromotionStopped):
                self.run(day, policy)
            return
        self.are_one(expected, self.run(day, policy))

    def run(self, day: date, policy: str = "automatic") -> Promotion:
        """Promote a day, later than all before: of proposals the latest counts."""
        self.now += timedelta(seconds=1)
        return promote(self.engine, self.city, day, policy=policy, matcher=BY_NAME, now=self.now)

    def decide(self, status: str) -> None:
        if self.model.open is None or self.model.open.status != "PROPOSED":
            return
        proposal = self.model.open
        number = self.promotions[proposal.number]
        self.model.decide(status)
        if status == "APPROVED":
            ledger.approve(self.engine, number, SOMEBODY)
            self.promote(proposal.day, "review")
        else:
            ledger.reject(self.engine, number, SOMEBODY)

    def revert(self, place: int, at_once: bool) -> None:
        if not self.model.line:
            return
        undone = self.model.line[place % len(self.model.line)]
        expected = self.model.revert(undone)
        made, _ = promotion.revert(self.engine, self.promotions[undone.number], SOMEBODY)
        self.are_one(expected, made)
        if at_once and expected.status == "APPROVED":
            self.model.make_public(expected)
            self.are_one(expected, self.run(made.day))

    def override(self, place: int, value: Any) -> None:
        if not self.model.public:
            return
        numbers = sorted(self.model.public)
        number = numbers[place % len(numbers)]
        column = "hidden" if value is True else "name"
        if (number, column) in self.model.overrides:
            return  # replacing one by an equal one changes whom the row names
        poi_id = self.place_of(number)
        overrides.set_override(
            self.engine, poi_id, column, value, reason="r", who="w", until=None, now=NOW
        )
        self.model.overrides[number, column] = (next(self.model.numbers), value)
        self.promote_again(0, "automatic")

    def place_of(self, number: int) -> str:
        ref = self.model.public[number].ref
        (row,) = (row for row in public_rows(self.engine, self.city) if row["source_ref"] == ref)
        return str(row["poi_id"])

    def are_one(self, expected: Proposal, done: Promotion) -> None:
        assert done.status == expected.status, done.gates
        assert self.promotions.setdefault(expected.number, done.id) == done.id

    def check(self) -> None:
        rows = public_rows(self.engine, self.city)
        found = {
            row["source_ref"]: (
                row["name"],
                bool(row["hidden"]),
                row["first_promoted"],
                row["last_changed"],
            )
            for row in rows
        }
        assert found == {
            place.ref: (place.name, place.hidden, place.first, place.changed)
            for place in self.model.public.values()
        }
        ids = {row["source_ref"]: row["poi_id"] for row in rows}
        for number, place in self.model.public.items():
            assert self.places.setdefault(number, ids[place.ref]) == ids[place.ref]
        assert len(set(self.places.values())) == len(self.places)
        assert self.replayed() == {row["poi_id"]: row for row in rows}
        assert self.identities() == {(row["poi_id"], row["source_ref"]) for row in rows}

    def replayed(self) -> dict[str, Any]:
        rows: dict[str, Any] = {}
        with self.engine.connect() as connection:
            line = table.promotions_since(connection, Stretch(self.city, "poi", 0))
            for promotion_id in reversed(line):
                replay(rows, table.events_of_promotion(connection, promotion_id))
        return rows

    def identities(self) -> set[tuple[str, str]]:
        columns = poi_identity.c
        query = sa.select(columns.poi_id, columns.source_ref).where(
            columns.city_slug == self.city, columns.to_promotion_id.is_(None)
        )
        with self.engine.connect() as connection:
            return {(row.poi_id, row.source_ref) for row in connection.execute(query)}

    def versions(self) -> list[Any]:
        query = (
            sa.select(poi_ingestion_staging)
            .where(poi_ingestion_staging.c.city_slug == self.city)
            .order_by(poi_ingestion_staging.c.id)
        )
        with self.engine.connect() as connection:
            return list(connection.execute(query).all())


@pytest.mark.slow
@settings(
    max_examples=int(os.environ.get("HISTORIES", "50")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=st.lists(st.tuples(days, steps), min_size=3, max_size=7))
def test_every_history_leads_where_the_model_says(
    engine: sa.Engine, history: list[tuple[tuple[Any, ...], ...]]
) -> None:
    made = History(engine)
    for step, *parameters in itertools.chain.from_iterable(history):
        getattr(made, step)(*parameters)
        made.check()


def test_promotion_leaves_the_versions_of_staging_alone(engine: sa.Engine) -> None:
    made = History(engine)
    made.day(0, {"node/1": "a", "node/2": "b"}, "automatic")
    made.day(1, {"node/1": "a", "way/2": "b"}, "review")
    versions = made.versions()
    made.decide("APPROVED")
    made.override(0, "c")
    made.revert(1, at_once=True)
    made.check()
    assert made.versions() == versions
