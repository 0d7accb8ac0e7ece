"""replace_slice: what a day's slice becomes, whatever was staged before."""

from __future__ import annotations

import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion_pipeline.columns.hashing import with_content_hash
from ingestion_pipeline.core.evidence import SliceEvidence
from ingestion_pipeline.core.rejection import Rejection
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.database import create_engine, migrate, write_transaction
from ingestion_pipeline.staging.days import Slice, read_day
from ingestion_pipeline.staging.errors import BadRows, CancelRequested, ClaimLost
from ingestion_pipeline.staging.slices import (
    Plan,
    SliceResult,
    Version,
    confirm_slices,
    plan,
    replace_slices,
)
from ingestion_pipeline.staging.tables import (
    helper_place,
    ingestion_rejection,
    ingestion_run,
    poi_ingestion_staging,
    staged_partition,
)
from ingestion_pipeline_tests.support.days_model import (
    expected_differences,
    following_day,
    maximal_versions,
)
from ingestion_pipeline_tests.support.staged import helper_inputs, poi_rows, stage, stage_helpers
from testbed.claims import NOW, claim_key, evidence_of, replace_slice, slice_of
from testbed.postgres_server import set_for_all

DAY = date(2026, 11, 1)
CITIES = (f"city{number}" for number in itertools.count())
"""A new tenant for each history: its rows must not see the others' either."""

FEATURES = ["node/1", "node/2", "way/1", "relation/1"]

PAST_THE_LAST_DAY = 5


def histories(*, days: int, steps: int) -> st.SearchStrategy[list[tuple[int, dict[str, str]]]]:
    """Days in any order and as often as one likes, each with the features that it has."""
    pois = st.fixed_dictionaries({}, optional={ref: st.sampled_from("abc") for ref in FEATURES})
    return st.lists(st.tuples(st.integers(0, days - 1), pois), min_size=1, max_size=steps)


def days_after(offset: int) -> date:
    return DAY + timedelta(days=offset)


def versions(engine: sa.Engine, city: str) -> list[tuple[str, str, date, date | None]]:
    table = poi_ingestion_staging
    with engine.connect() as connection:
        rows = connection.execute(
            sa.select(table.c.source_ref, table.c.name, table.c.valid_from, table.c.valid_to)
            .where(table.c.city_slug == city)
            .order_by(table.c.source_ref, table.c.valid_from)
        )
        return [tuple(row) for row in rows]


def partitions(engine: sa.Engine, city: str) -> dict[date, tuple[int, int, int, int]]:
    table = staged_partition
    with engine.connect() as connection:
        rows = connection.execute(sa.select(table).where(table.c.city_slug == city))
        return {row.day: (row.rows, row.added, row.changed, row.removed) for row in rows}


def names_on(engine: sa.Engine, city: str, day: date) -> dict[str, str] | None:
    rows = read_day(engine, slice_of(city, day), ["source_ref", "name"])
    return None if rows is None else {row["source_ref"]: row["name"] for row in rows}


@pytest.mark.slow
@settings(
    max_examples=int(os.environ.get("HISTORIES", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories(days=PAST_THE_LAST_DAY, steps=7))
def test_every_history_reads_back_as_a_plain_dictionary_of_days_would(
    engine: sa.Engine, history: list[tuple[int, dict[str, str]]]
) -> None:
    city = next(CITIES)
    model: dict[date, dict[str, str]] = {}
    for offset, pois in history:
        day = days_after(offset)
        result = stage(engine, city, day, pois)
        model[day] = pois
        assert (result.rows, result.added, result.changed, result.removed) == (
            expected_differences(model)[day]
        )

    assert versions(engine, city) == maximal_versions(model)
    assert partitions(engine, city) == expected_differences(model)
    for offset in range(PAST_THE_LAST_DAY + 1):
        assert names_on(engine, city, days_after(offset)) == model.get(days_after(offset))

    # Any of the days may be the first one; that every day plans nothing is tested below.
    again = days_after(history[0][0])
    assert stage(engine, city, again, model[again]).written == 0
    assert versions(engine, city) == maximal_versions(model)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(history=histories(days=7, steps=9))
def test_the_plan_alone_keeps_versions_maximal_and_other_days_untouched(
    history: list[tuple[int, dict[str, str]]],
) -> None:
    rows: dict[int, Version] = {}
    ids = itertools.count()
    model: dict[date, dict[str, str]] = {}

    def planned(day: date, pois: dict[str, str]) -> Plan:
        following = following_day(model, day)
        return plan(
            day=day,
            following=following,
            new=list(pois.items()),
            covering=[
                v
                for v in rows.values()
                if v.valid_from <= day and (v.valid_to is None or v.valid_to > day)
            ],
            ending=[v for v in rows.values() if v.valid_to == day],
            beginning=[v for v in rows.values() if following and v.valid_from == following],
        )

    for offset, pois in history:
        day = days_after(offset)
        following = following_day(model, day)
        work = planned(day, pois)
        for gone in work.delete:
            del rows[gone]
        for source in work.copy_from:
            assert following is not None
            new_id = next(ids)
            rows[new_id] = replace(rows[source], id=new_id, valid_from=following)
        for start, moved in work.move_start.items():
            rows |= {i: replace(rows[i], valid_from=start) for i in moved}
        for end, moved in work.move_end.items():
            rows |= {i: replace(rows[i], valid_to=end) for i in moved}
        for position in work.insert:
            ref, content = list(pois.items())[position]
            new_id = next(ids)
            rows[new_id] = Version(new_id, ref, content, day, following)
        model[day] = pois
        found = sorted(rows.values(), key=lambda v: (v.source_ref, v.valid_from))
        assert maximal_versions(model) == [
            (v.source_ref, v.content_hash, v.valid_from, v.valid_to) for v in found
        ]
    for day, pois in model.items():
        assert planned(day, pois).written() == 0


def test_staging_an_unchanged_day_again_writes_nothing_at_all(engine: sa.Engine) -> None:
    pois = {"node/1": "a", "way/1": "b"}
    assert stage(engine, "kazan", DAY, pois).written == 2
    before = _everything(engine, but=("ingestion_run",))
    assert stage(engine, "kazan", DAY, pois).written == 0
    assert _everything(engine, but=("ingestion_run",)) == before


def test_equal_moments_that_are_counted_in_another_unit_are_equal_content(
    engine: sa.Engine,
) -> None:
    # Parquet has no seconds: what a frame gives back is counted in milliseconds.
    rows = poi_rows({"node/1": "a"})
    column = rows.column_names.index("osm_timestamp")
    finer = rows.column("osm_timestamp").cast(pa.timestamp("ms", "UTC"))
    _replace(engine, claim_key(engine, "kazan", DAY), rows)
    before = _everything(engine, but=("ingestion_run",))
    again = with_content_hash(rows.set_column(column, "osm_timestamp", finer))
    _replace(engine, claim_key(engine, "kazan", DAY), again)
    assert _everything(engine, but=("ingestion_run",)) == before


def test_a_new_day_that_equals_the_last_one_costs_one_row_for_the_day(engine: sa.Engine) -> None:
    pois = {"node/1": "a", "way/1": "b"}
    stage(engine, "kazan", DAY, pois)
    result = stage(engine, "kazan", days_after(1), pois)
    assert (result.written, result.added, result.changed, result.removed) == (0, 0, 0, 0)
    assert partitions(engine, "kazan") == {DAY: (2, 2, 0, 0), days_after(1): (2, 0, 0, 0)}


def test_two_days_staged_in_either_order_give_the_same_tables(engine: sa.Engine) -> None:
    first, second = {"node/1": "a", "node/2": "b"}, {"node/1": "a", "way/1": "c"}
    stage(engine, "kazan", DAY, first)
    stage(engine, "kazan", days_after(1), second)
    stage(engine, "sochi", days_after(1), second)
    stage(engine, "sochi", DAY, first)
    assert versions(engine, "kazan") == versions(engine, "sochi")
    assert partitions(engine, "kazan") == partitions(engine, "sochi")


@pytest.mark.owner
def test_the_rest_of_a_version_that_is_cut_keeps_columns_of_a_newer_release(
    engine: sa.Engine,
) -> None:
    """While two releases share the database, the older one does not know all columns."""
    for day in (DAY, days_after(2)):
        stage(engine, "kazan", day, {"node/1": "a", "node/2": "b"})
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE poi_ingestion_staging ADD COLUMN brand TEXT")
        connection.exec_driver_sql("UPDATE poi_ingestion_staging SET brand = 'of ' || name")
    stage(engine, "kazan", days_after(1), {"node/1": "c"})
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT source_ref, name, brand FROM poi_ingestion_staging "
            "ORDER BY source_ref, valid_from"
        )
        assert [tuple(row) for row in found] == [
            ("node/1", "a", "of a"),
            ("node/1", "c", None),
            ("node/1", "a", "of a"),
            ("node/2", "b", "of b"),
            ("node/2", "b", "of b"),
        ]


def test_a_day_that_is_not_staged_reads_as_none_and_an_empty_one_as_empty(
    engine: sa.Engine,
) -> None:
    stage(engine, "kazan", DAY, {})
    assert names_on(engine, "kazan", DAY) == {}
    assert names_on(engine, "kazan", days_after(1)) is None


def test_geometry_and_json_come_back_as_they_were_written(engine: sa.Engine) -> None:
    rows = poi_rows({"node/1": "кафе", "way/1": "b"})
    stage(engine, "kazan", DAY, {"node/1": "кафе", "way/1": "b"})
    read = read_day(engine, slice_of("kazan", DAY))
    assert read is not None
    assert [row["geometry"] for row in read] == rows.column("geometry").to_pylist()
    assert read[0]["tags"] == {"amenity": "cafe"}
    assert read[0]["osm_timestamp"] == NOW
    assert read[0]["name"] == "кафе"


def test_a_slice_and_its_success_are_one_transaction(engine: sa.Engine) -> None:
    claim = claim_key(engine, "kazan", DAY)
    assert _status(engine, claim.run_id) == "RUNNING"
    _replace(engine, claim)
    with engine.connect() as connection:
        run = connection.execute(
            sa.select(ingestion_run).where(ingestion_run.c.id == claim.run_id)
        ).one()
    assert run.status == "SUCCEEDED"
    assert run.counts["rows"] == 1
    assert run.as_of == evidence_of(DAY).as_of


def test_a_run_that_lost_its_claim_writes_nothing(engine: sa.Engine) -> None:
    claim = claim_key(engine, "kazan", DAY)
    with engine.begin() as connection:
        connection.execute(sa.update(ingestion_run).values(status="FAILED", error_message="gone"))
    before = _everything(engine)
    with pytest.raises(ClaimLost, match=r"no longer holds osm_import\|kazan.*FAILED"):
        _replace(engine, claim)
    assert _everything(engine) == before


def test_a_run_that_was_asked_to_stop_writes_nothing(engine: sa.Engine) -> None:
    claim = claim_key(engine, "kazan", DAY)
    runs.request_cancel(engine, claim.run_id, now=NOW)
    before = _everything(engine)
    with pytest.raises(CancelRequested):
        _replace(engine, claim)
    with pytest.raises(CancelRequested):
        _confirm(engine, claim=claim)
    assert _everything(engine) == before


# Days that were staged from the very same


def test_a_day_that_was_staged_from_equal_inputs_is_confirmed_without_a_write(
    engine: sa.Engine,
) -> None:
    staged = stage(engine, "kazan", DAY, {"node/1": "a", "way/1": "b"}, [_rejected("way/2")])
    before = _everything(engine, but=("ingestion_run",))
    claim = claim_key(engine, "kazan", DAY)
    assert _confirm(engine, claim=claim) == replace(staged, written=0)
    assert _everything(engine, but=("ingestion_run",)) == before
    run = runs.get(engine, claim.run_id)
    assert run is not None
    assert (run.status, run.as_of, run.finished_at) == ("SUCCEEDED", evidence_of(DAY).as_of, NOW)
    assert run.counts == {
        "rows": 2,
        "added": 2,
        "changed": 0,
        "removed": 0,
        "rejected": 1,
        "written": 0,
    }


OTHER_EVIDENCE: dict[str, Any] = {
    "boundary_ref": "relation/1",
    "as_of": evidence_of(DAY).as_of + timedelta(seconds=1),
    "as_of_source": "newest_object",
    "obtained": "overpass",
    "location": "elsewhere.osm.pbf",
    "digest": "1" * 64,
    "rules_version": "another",
    "licence": "CC0-1.0",
    "attribution": "somebody else",
    "inputs_digest": "1" * 32,
    "stale_reason": "the feed did not answer",
    "accepted_reason": "a street was closed; I looked",
    "warnings": {"names": "fewer than usual"},
    "coverage": {"how": "nodes", "share": 0.95},
}

JUDGEMENT = ("accepted_reason", "warnings", "coverage")
"""What was found of the rows, from which none of them follows."""


def test_there_is_another_value_for_every_piece_of_evidence() -> None:
    assert sorted(OTHER_EVIDENCE) == sorted(field.name for field in fields(SliceEvidence))


@pytest.mark.parametrize("name", [name for name in OTHER_EVIDENCE if name not in JUDGEMENT])
def test_a_day_with_other_evidence_is_compared_again_and_then_confirmed(
    engine: sa.Engine, name: str
) -> None:
    stage(engine, "kazan", DAY, {"node/1": "a"})
    other = replace(evidence_of(DAY), **{name: OTHER_EVIDENCE[name]})
    before = _everything(engine, but=("ingestion_run",))
    claim = claim_key(engine, "kazan", DAY)
    assert _confirm(engine, claim=claim, evidence=other) is None
    assert _everything(engine, but=("ingestion_run",)) == before
    assert _status(engine, claim.run_id) == "RUNNING"
    _replace(engine, claim, evidence=other)
    assert _confirm(engine, evidence=other) is not None
    assert _confirm(engine) is None


def test_what_was_found_of_a_day_stays_told_when_it_is_confirmed_without_a_word(
    engine: sa.Engine,
) -> None:
    found = replace(evidence_of(DAY), **{name: OTHER_EVIDENCE[name] for name in JUDGEMENT})
    _replace(engine, claim_key(engine, "kazan", DAY), evidence=found)
    assert _confirm(engine) is not None
    with engine.connect() as connection:
        told = connection.execute(sa.select(*(staged_partition.c[name] for name in JUDGEMENT)))
        assert [tuple(row) for row in told] == [tuple(OTHER_EVIDENCE[name] for name in JUDGEMENT)]


def test_a_day_that_is_not_staged_cannot_be_confirmed(engine: sa.Engine) -> None:
    stage(engine, "kazan", days_after(1), {"node/1": "a"})
    assert _confirm(engine) is None
    assert names_on(engine, "kazan", DAY) is None


def test_a_day_of_which_nobody_knows_from_what_it_was_staged_is_compared_again(
    engine: sa.Engine,
) -> None:
    stage(engine, "kazan", DAY, {"node/1": "a"})
    with engine.begin() as connection:
        connection.execute(sa.update(staged_partition).values(inputs_digest=None))
    assert _confirm(engine) is None


@pytest.mark.parametrize("by_hand", ["a row is deleted", "a row is added"])
def test_a_day_that_has_not_its_rows_is_repaired(engine: sa.Engine, by_hand: str) -> None:
    pois = {"node/1": "a", "way/1": "b"}
    stage(engine, "kazan", DAY, pois)
    before = versions(engine, "kazan")
    table = poi_ingestion_staging
    with engine.begin() as connection:
        if by_hand == "a row is deleted":
            connection.execute(sa.delete(table).where(table.c.source_ref == "way/1"))
        else:
            row = dict(connection.execute(sa.select(table)).mappings().first() or {})
            del row["id"]
            connection.execute(sa.insert(table).values(row | {"source_ref": "node/7"}))
    assert _confirm(engine) is None
    claim = claim_key(engine, "kazan", DAY)
    _replace(engine, claim, poi_rows(pois))
    assert versions(engine, "kazan") == before
    assert _confirm(engine) is not None


def test_a_run_that_lost_its_claim_confirms_nothing(engine: sa.Engine) -> None:
    stage(engine, "kazan", DAY, {"node/1": "a"})
    claim = claim_key(engine, "kazan", DAY)
    runs.fail(engine, claim, error_code="run_died", error_message="gone", now=NOW)
    before = _everything(engine)
    with pytest.raises(ClaimLost):
        _confirm(engine, claim=claim)
    assert _everything(engine) == before


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories(days=4, steps=5))
def test_a_confirmed_day_is_counted_against_whichever_day_is_before_it_now(
    engine: sa.Engine, history: list[tuple[int, dict[str, str]]]
) -> None:
    city = next(CITIES)
    model: dict[date, dict[str, str]] = {}
    for offset, pois in history:
        day = days_after(offset)
        stage(engine, city, day, pois)
        model[day] = pois
    for day, expected in expected_differences(model).items():
        result = _confirm(engine, city=city, day=day)
        assert result is not None
        assert (result.rows, result.added, result.changed, result.removed) == expected
    assert versions(engine, city) == maximal_versions(model)
    assert partitions(engine, city) == expected_differences(model)


# Several slices of one run

SOURCES = {"osm": {"node/1#toilets": "a", "node/1#atm": "b"}, "feed:wc": {"1#toilets": "c"}}


def test_a_run_of_several_sources_tells_their_counts_together_and_each(engine: sa.Engine) -> None:
    stage_helpers(engine, "kazan", DAY, SOURCES)
    later = {"osm": {"node/1#toilets": "a"}, "feed:wc": {"1#toilets": "d", "2#toilets": "e"}}
    inputs = helper_inputs("kazan", days_after(1), later)
    oldest = evidence_of(DAY - timedelta(days=9)).as_of
    inputs[1] = replace(inputs[1], evidence=replace(inputs[1].evidence, as_of=oldest))
    claim = claim_helpers(engine, days_after(1))
    results = replace_slices(engine, inputs, claim=claim, now=NOW)
    assert {target.source: result for target, result in results.items()} == {
        "osm": SliceResult(rows=1, added=0, changed=0, removed=1, rejected=0, written=1),
        "feed:wc": SliceResult(rows=2, added=1, changed=1, removed=0, rejected=0, written=3),
    }
    run = runs.get(engine, claim.run_id)
    assert run is not None
    assert run.counts == {
        "rows": 3,
        "added": 1,
        "changed": 1,
        "removed": 1,
        "rejected": 0,
        "written": 4,
        "sources": {
            target.source: {**result.counts(), "state": "good"}
            for target, result in results.items()
        },
    }
    assert run.as_of == oldest


def test_several_slices_are_staged_all_or_none(engine: sa.Engine) -> None:
    stage_helpers(engine, "kazan", DAY, SOURCES)
    before = _everything(engine)
    claim = claim_helpers(engine, days_after(1))
    first, second = helper_inputs("kazan", days_after(1), {"osm": {}, "feed:wc": {}})
    nameless = Rejection(None, "no_geometry", "why", {})  # type: ignore[arg-type]
    # The first slice is written by the time when the database refuses this of the second one.
    refused = [first, replace(second, rejections=[nameless])]
    with pytest.raises(sa.exc.IntegrityError):
        replace_slices(engine, refused, claim=claim, now=NOW)
    after = _everything(engine)
    assert _status(engine, claim.run_id) == "RUNNING"
    assert after | {"ingestion_run": []} == before | {"ingestion_run": []}


def test_several_slices_are_confirmed_only_if_all_were_staged_from_equal_inputs(
    engine: sa.Engine,
) -> None:
    stage_helpers(engine, "kazan", DAY, SOURCES)
    before = _everything(engine, but=("ingestion_run",))
    equal = {each.target: each.evidence for each in helper_inputs("kazan", DAY, SOURCES)}
    osm, feed = equal
    unstaged = replace(feed, source="feed:another")
    claim = claim_helpers(engine, DAY)
    for other in (
        equal | {feed: replace(equal[feed], digest="1" * 64)},
        equal | {unstaged: equal[feed]},
    ):
        assert confirm_slices(engine, other, claim=claim, now=NOW) is None
        assert _status(engine, claim.run_id) == "RUNNING"
    results = confirm_slices(engine, equal, claim=claim, now=NOW)
    assert results is not None
    assert [(target, result.rows, result.written) for target, result in results.items()] == [
        (osm, 2, 0),
        (feed, 1, 0),
    ]
    run = runs.get(engine, claim.run_id)
    assert run is not None
    assert run.status == "SUCCEEDED"
    assert run.counts is not None
    assert (run.counts["rows"], run.counts["sources"]["feed:wc"]["rows"]) == (3, 1)
    assert _everything(engine, but=("ingestion_run",)) == before


def test_a_feed_that_failed_leaves_its_last_good_day_and_the_others_alone(
    engine: sa.Engine,
) -> None:
    stage_helpers(engine, "kazan", DAY, SOURCES)
    stage_helpers(engine, "kazan", days_after(1), {"osm": {"node/2#toilets": "z"}})
    feed = Slice("kazan", "helper", "feed:wc", DAY)
    (row,) = read_day(engine, feed, ["source_ref", "name", "valid_to"]) or []
    assert dict(row) == {"source_ref": "1#toilets", "name": "c", "valid_to": None}
    assert read_day(engine, replace(feed, day=days_after(1))) is None


@pytest.mark.parametrize(
    "change",
    [
        {"city_slug": "sochi"},
        {"dataset": "poi"},
        {"day": days_after(1)},
        {"source": "osm"},
    ],
)
def test_slices_that_are_not_sources_of_one_day_are_refused(
    engine: sa.Engine, change: dict[str, Any]
) -> None:
    first, second = helper_inputs("kazan", DAY, SOURCES)
    second = replace(second, target=replace(second.target, **change))
    claim = claim_helpers(engine, DAY)
    with pytest.raises(BadRows, match=r"Cannot stage .* together"):
        replace_slices(engine, [first, second], claim=claim, now=NOW)


def test_no_slice_at_all_is_refused(engine: sa.Engine) -> None:
    claim = claim_helpers(engine, DAY)
    with pytest.raises(BadRows, match="Cannot stage no slice"):
        replace_slices(engine, [], claim=claim, now=NOW)
    with pytest.raises(BadRows, match="Cannot stage no slice"):
        confirm_slices(engine, {}, claim=claim, now=NOW)


def test_two_days_of_several_sources_do_not_wait_for_each_other_for_ever(
    postgis_url: str,
) -> None:
    engine = create_engine(postgis_url)
    migrate(engine)
    backwards = dict(reversed(SOURCES.items()))
    with ThreadPoolExecutor() as threads:
        with write_transaction(engine) as connection:
            # The first by name is held, so both wait for it, and neither holds what is second.
            connection.execute(
                sa.select(
                    sa.func.pg_advisory_xact_lock(
                        sa.func.hashtextextended("kazan|helper|feed:wc", 0)
                    )
                )
            )
            staging = [
                threads.submit(stage_helpers, engine, "kazan", days_after(offset), sources)
                for offset, sources in enumerate((SOURCES, backwards))
            ]
            _wait_for_lock_waiters(engine, 2)
            second = sa.select(
                sa.func.pg_try_advisory_xact_lock(sa.func.hashtextextended("kazan|helper|osm", 0))
            )
            assert connection.execute(second).scalar_one()
        for each in staging:
            each.result()
    engine.dispose()


def test_rows_that_name_a_feature_twice_are_refused(engine: sa.Engine) -> None:
    rows = poi_rows({"node/1": "a"})
    with pytest.raises(BadRows, match="1 features more than once, such as node/1"):
        _replace(
            engine, claim_key(engine, "kazan", DAY), type(rows).from_batches(2 * rows.to_batches())
        )


def test_rows_with_other_columns_than_the_table_are_refused(engine: sa.Engine) -> None:
    rows = poi_rows({"node/1": "a"}).drop_columns(["status"])
    with pytest.raises(BadRows, match="poi_ingestion_staging needs"):
        _replace(engine, claim_key(engine, "kazan", DAY), rows)


def test_rejections_are_replaced_with_their_day(engine: sa.Engine) -> None:
    stage(engine, "kazan", DAY, {}, [_rejected("way/1"), _rejected("way/2")])
    stage(engine, "kazan", days_after(1), {}, [_rejected("way/1")])
    result = stage(engine, "kazan", DAY, {}, [_rejected("way/2")])
    assert result.rejected == 1
    with engine.connect() as connection:
        rows = connection.execute(
            sa.select(ingestion_rejection).order_by(ingestion_rejection.c.day)
        ).all()
    assert [(row.day, row.source_ref) for row in rows] == [
        (DAY, "way/2"),
        (days_after(1), "way/1"),
    ]
    assert rows[0].raw == {"tags": {"amenity": "cafe"}}


def test_two_days_staged_at_once_see_each_other_whatever_the_databases_own_isolation(
    postgis_url: str,
) -> None:
    set_for_all(postgis_url, "default_transaction_isolation", "'repeatable read'")
    engine = create_engine(postgis_url)
    migrate(engine)
    stage(engine, "kazan", DAY, {"node/1": "a"})
    later = [(days_after(1), {"node/1": "b"}), (days_after(2), {"node/1": "a"})]
    with ThreadPoolExecutor() as threads:
        with write_transaction(engine) as connection:
            # Hold the city's history until both have begun their transactions and wait for it.
            connection.execute(
                sa.select(
                    sa.func.pg_advisory_xact_lock(sa.func.hashtextextended("kazan|poi|osm", 0))
                )
            )
            staging = [threads.submit(stage, engine, "kazan", *args) for args in later]
            _wait_for_lock_waiters(engine, 2)
        for each in staging:
            each.result()
    assert [names_on(engine, "kazan", days_after(offset)) for offset in range(3)] == [
        {"node/1": "a"},
        {"node/1": "b"},
        {"node/1": "a"},
    ]
    engine.dispose()


def test_first_days_of_two_cities_staged_at_once_both_get_their_rows_and_all_indexes(
    postgis_url: str,
) -> None:
    engine = create_engine(postgis_url)
    migrate(engine)
    indexes = sa.inspect(engine).get_indexes(poi_ingestion_staging.name)
    cities = ("kazan", "sochi")
    with ThreadPoolExecutor() as threads:
        with write_transaction(engine) as connection:
            # Hold both histories until both writers have seen that the table is empty.
            for city in cities:
                connection.execute(
                    sa.select(
                        sa.func.pg_advisory_xact_lock(
                            sa.func.hashtextextended(f"{city}|poi|osm", 0)
                        )
                    )
                )
            staging = [
                threads.submit(stage, engine, city, DAY, {"node/1": city}) for city in cities
            ]
            _wait_for_lock_waiters(engine, 2)
        assert [each.result().written for each in staging] == [1, 1]
    assert [names_on(engine, city, DAY) for city in cities] == [{"node/1": c} for c in cities]
    assert sa.inspect(engine).get_indexes(poi_ingestion_staging.name) == indexes
    engine.dispose()


def _wait_for_lock_waiters(engine: sa.Engine, count: int) -> None:
    waiting = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with engine.connect() as connection:
            if connection.execute(waiting).scalar_one() == count:
                return
        time.sleep(0.05)
    raise AssertionError("the writers did not come to wait for each other")


def test_cities_and_sources_do_not_see_each_other(engine: sa.Engine) -> None:
    stage(engine, "kazan", DAY, {"node/1": "a"})
    stage(engine, "sochi", DAY, {"node/1": "b"})
    stage(engine, "kazan", days_after(1), {})
    assert names_on(engine, "sochi", DAY) == {"node/1": "b"}
    assert read_day(engine, Slice("kazan", "poi", "feed", DAY)) is None


def claim_helpers(engine: sa.Engine, day: date) -> runs.Claim:
    return claim_key(engine, "kazan", day, job_type="helpers_import")


def _rejected(ref: str) -> Rejection:
    return Rejection(ref, "no_geometry", "why", {"tags": {"amenity": "cafe"}})


def _confirm(
    engine: sa.Engine,
    *,
    city: str = "kazan",
    day: date = DAY,
    claim: runs.Claim | None = None,
    evidence: SliceEvidence | None = None,
) -> SliceResult | None:
    """Confirm a day with a claim; one of a run of its own, which ends with it, if none is given."""
    own = claim_key(engine, city, day) if claim is None else claim
    target = slice_of(city, day)
    results = confirm_slices(engine, {target: evidence or evidence_of(day)}, claim=own, now=NOW)
    result = None if results is None else results[target]
    if claim is None and result is None:
        runs.cancel(engine, own, error_code="not_staged", error_message="only asked", now=NOW)
    return result


def _replace(
    engine: sa.Engine, claim: Any, rows: Any = None, *, evidence: SliceEvidence | None = None
) -> None:
    replace_slice(
        engine,
        slice_of("kazan", DAY),
        poi_rows({"node/1": "a"}) if rows is None else rows,
        rejections=[],
        evidence=evidence or evidence_of(DAY),
        claim=claim,
        now=NOW,
    )


def _status(engine: sa.Engine, run_id: str) -> str:
    with engine.connect() as connection:
        status: str = connection.execute(
            sa.select(ingestion_run.c.status).where(ingestion_run.c.id == run_id)
        ).scalar_one()
        return status


def _everything(engine: sa.Engine, but: tuple[str, ...] = ()) -> dict[str, list[Any]]:
    with engine.connect() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(sa.select(table))))
            for table in (
                poi_ingestion_staging,
                helper_place,
                staged_partition,
                ingestion_rejection,
                ingestion_run,
            )
            if table.name not in but
        }


def test_the_changes_of_a_day_are_counted_without_comparing_each_row_with_each(
    engine: sa.Engine,
) -> None:
    """A day on which 13,000 of 20,000 rows changed took 96 s on PostgreSQL, and 1 s since."""
    city = next(CITIES)
    stage(engine, city, days_after(0), {"node/1": "a", "node/2": "a", "node/3": "a"})
    counting: list[str] = []

    @sa.event.listens_for(engine, "before_cursor_execute")
    def collect(_: Any, __: Any, statement: str, *___: Any) -> None:
        if f"{poi_ingestion_staging.name} AS begun" in statement:
            counting.append(statement)

    try:
        stage(engine, city, days_after(1), {"node/1": "a", "node/2": "b", "node/4": "a"})
    finally:
        sa.event.remove(engine, "before_cursor_execute", collect)
    assert partitions(engine, city)[days_after(1)] == (3, 1, 1, 1)
    (statement,) = counting
    # The rows are of this transaction, so the planner has no statistics to choose a join by.
    assert "EXISTS" not in statement
    assert "JOIN" not in statement
