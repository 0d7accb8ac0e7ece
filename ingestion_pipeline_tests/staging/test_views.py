"""The views say of every day, of now, and of any two days what a plain dictionary would."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import shapely
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion_pipeline.columns.hashing import with_content_hash
from ingestion_pipeline.staging.bulk import load
from ingestion_pipeline.staging.database import create_engine, migrate, write_transaction
from ingestion_pipeline.staging.days import Change, Slice, difference
from ingestion_pipeline.staging.slices import SliceInput, replace_slices
from ingestion_pipeline.staging.tables import (
    CLASS_COLUMNS,
    VERSION_TABLES,
    VIEWS,
    content_columns,
    staged_partition,
)
from ingestion_pipeline.staging.views import view
from ingestion_pipeline_tests.support.days_model import (
    changes_between,
    expected_differences,
    maximal_versions,
)
from ingestion_pipeline_tests.support.staged import helper_rows, poi_rows, stage, stage_helpers
from testbed.claims import NOW, claim_key, evidence_of, replace_slice

if TYPE_CHECKING:
    from ingestion_pipeline.core.identity import JobType

DAY = date(2026, 11, 1)
CITIES = (f"city{number}" for number in itertools.count())
"""A new tenant for each history: its rows must not see the others' either."""

FEATURES = {
    ("poi", "osm"): ["node/1", "node/2", "way/1"],
    ("helper", "osm"): ["node/1#toilets", "node/1#drinking_water", "way/2#atm"],
    ("helper", "feed:wc"): ["1#toilets", "2#toilets"],
}
ROWS = {"poi": poi_rows, "helper": helper_rows}
JOBS: dict[str, JobType] = {"poi": "osm_import", "helper": "helpers_import"}
DATASETS = pytest.mark.parametrize("dataset", VERSION_TABLES)

Days = dict[date, dict[str, str]]
"""What one source said on each of the days on which it was staged."""


def days_after(offset: int) -> date:
    return DAY + timedelta(days=offset)


def histories(dataset: str) -> st.SearchStrategy[list[tuple[int, dict[str, dict[str, str]]]]]:
    """Days in any order, each with some of the sources, each with the features that it has."""
    sources = {
        source: st.fixed_dictionaries({}, optional={ref: st.sampled_from("ab") for ref in refs})
        for (of, source), refs in FEATURES.items()
        if of == dataset
    }
    some = st.fixed_dictionaries({}, optional=sources).filter(bool)
    return st.lists(st.tuples(st.integers(0, 4), some), min_size=1, max_size=6)


def read(engine: sa.Engine, name: str, city: str) -> list[sa.RowMapping]:
    selected = view(name)
    with engine.connect() as connection:
        query = sa.select(selected).where(selected.c.city_slug == city)
        return list(connection.execute(query).mappings())


def versions(
    engine: sa.Engine, dataset: str, city: str, source: str
) -> list[tuple[str, str, date, date | None]]:
    table = VERSION_TABLES[dataset]
    with engine.connect() as connection:
        rows = connection.execute(
            sa.select(table.c.source_ref, table.c.name, table.c.valid_from, table.c.valid_to).where(
                table.c.city_slug == city, table.c.source == source
            )
        )
        return sorted((tuple(row) for row in rows), key=lambda row: (row[0], row[2]))


def counted(
    engine: sa.Engine, dataset: str, city: str, source: str
) -> dict[date, tuple[int, int, int, int]]:
    table = staged_partition
    with engine.connect() as connection:
        rows = connection.execute(
            sa.select(table).where(
                table.c.city_slug == city, table.c.dataset == dataset, table.c.source == source
            )
        )
        return {row.day: (row.rows, row.added, row.changed, row.removed) for row in rows}


@pytest.mark.slow
@DATASETS
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_every_history_is_told_by_the_views_as_a_plain_dictionary_would(
    engine: sa.Engine, dataset: str, data: st.DataObject
) -> None:
    city, names = next(CITIES), VIEWS[dataset]
    model: dict[str, Days] = {}
    for offset, sources in data.draw(histories(dataset)):
        day = days_after(offset)
        if dataset == "poi":
            stage(engine, city, day, sources["osm"])
        else:
            stage_helpers(engine, city, day, sources)
        for source, features in sources.items():
            model.setdefault(source, {})[day] = features

    for source, days in model.items():
        assert versions(engine, dataset, city, source) == maximal_versions(days)
        assert counted(engine, dataset, city, source) == expected_differences(days)
    rows = read(engine, names.day, city)
    assert sorted((row["source"], row["day"], row["source_ref"], row["name"]) for row in rows) == (
        sorted(
            (source, day, ref, content)
            for source, days in model.items()
            for day, features in days.items()
            for ref, content in features.items()
        )
    )
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(row["as_of"] == evidence_of(row["day"]).as_of for row in rows)

    rows = read(engine, names.current, city)
    newest = max(day for days in model.values() for day in days)
    assert sorted((row["source"], row["day"], row["source_ref"], row["name"]) for row in rows) == (
        sorted(
            (source, newest, ref, content)
            for source, days in model.items()
            for ref, content in days.get(newest, {}).items()
        )
    )

    told: dict[tuple[str, date, date], list[Change]] = {}
    for row in read(engine, names.change, city):
        assert (row["before_id"] is None) == (row["change"] == "added")
        assert (row["after_id"] is None) == (row["change"] == "removed")
        told.setdefault((row["source"], row["from_day"], row["to_day"]), []).append(
            Change(
                row["change"],
                row["source_ref"],
                row[CLASS_COLUMNS[dataset]],
                row["name"],
                tuple(row["changed_fields"]),
                row["cause"],
            )
        )
    for source, days in model.items():
        for earlier, later in itertools.combinations(sorted(days), 2):
            changes = told.pop((source, earlier, later), [])
            assert {change.source_ref: change.change for change in changes} == (
                changes_between(days, earlier, later)
            )
            assert len(changes) == len({change.source_ref for change in changes})
            for change in changes:
                at = days[earlier if change.change == "removed" else later]
                assert change.name == at[change.source_ref]
                assert change.changed_fields == (("name",) if change.change == "changed" else ())
                assert change.cause == "upstream"
            assert difference(engine, Slice(city, dataset, source, earlier), later) == (
                sorted(changes, key=lambda change: change.source_ref)
            )
    assert told == {}, "no other pair of days has changes"


# What differs, and why


@DATASETS
def test_a_change_names_the_one_column_that_differs(engine: sa.Engine, dataset: str) -> None:
    columns = content_columns(VERSION_TABLES[dataset])
    suffix = "#toilets" if dataset == "helper" else ""
    refs = [f"node/{number}{suffix}" for number in range(len(columns))]
    before = ROWS[dataset](dict.fromkeys(refs, "a"))
    after = before
    for position, name in enumerate(columns):
        values = before.column(name).to_pylist()
        values[position] = _another(name, before.schema.field(name).type, values[position])
        after = after.set_column(
            after.column_names.index(name), name, pa.array(values, before.schema.field(name).type)
        )
    _stage(engine, dataset, DAY, before)
    _stage(engine, dataset, days_after(1), with_content_hash(after))
    changes = difference(engine, Slice("kazan", dataset, "osm", DAY), days_after(1))
    assert {change.source_ref: change.changed_fields for change in changes} == {
        ref: (name,) for ref, name in zip(refs, columns, strict=True)
    }


@DATASETS
def test_a_change_of_our_rules_is_told_from_one_of_the_world(
    engine: sa.Engine, dataset: str
) -> None:
    suffix = "#toilets" if dataset == "helper" else ""
    before = ROWS[dataset]({f"node/1{suffix}": "a", f"node/2{suffix}": "a"})
    after = before.set_column(
        before.column_names.index("status"), "status", pa.array(["disused"] * 2)
    )
    after = after.set_column(
        after.column_names.index("source_hash"),
        "source_hash",
        pa.array([before.column("source_hash")[0].as_py(), "the source says something else"]),
    )
    _stage(engine, dataset, DAY, before)
    _stage(engine, dataset, days_after(1), with_content_hash(after))
    changes = difference(engine, Slice("kazan", dataset, "osm", DAY), days_after(1))
    assert [(change.cause, change.changed_fields) for change in changes] == [
        ("rules", ("status",)),
        ("upstream", ("status",)),
    ]


@DATASETS
def test_what_comes_and_goes_with_a_changed_boundary_is_told_so(
    engine: sa.Engine, dataset: str
) -> None:
    suffix = "#toilets" if dataset == "helper" else ""
    first = {f"node/1{suffix}": "a", f"node/2{suffix}": "a"}
    second = {f"node/2{suffix}": "b", f"node/3{suffix}": "a"}
    _stage(engine, dataset, DAY, ROWS[dataset](first))
    _stage(engine, dataset, days_after(1), ROWS[dataset](second), boundary_ref="relation/1")
    changes = difference(engine, Slice("kazan", dataset, "osm", DAY), days_after(1))
    assert [(change.change, change.cause) for change in changes] == [
        ("removed", "boundary"),
        ("changed", "upstream"),
        ("added", "boundary"),
    ]


@DATASETS
def test_what_comes_and_goes_when_our_rules_change_too_is_not_said_to_be_the_worlds(
    engine: sa.Engine, dataset: str
) -> None:
    suffix = "#toilets" if dataset == "helper" else ""
    _stage(engine, dataset, DAY, ROWS[dataset]({f"node/1{suffix}": "a"}))
    after = ROWS[dataset]({f"node/3{suffix}": "a"})
    _stage(engine, dataset, days_after(1), after, rules_version="of another release")
    changes = difference(engine, Slice("kazan", dataset, "osm", DAY), days_after(1))
    assert {change.cause for change in changes} == {"upstream or rules"}


def test_a_feeds_place_that_is_linked_otherwise_is_told_so(engine: sa.Engine) -> None:
    before = helper_rows({"1#toilets": "a"})
    after = before.set_column(
        before.column_names.index("links"),
        "links",
        pa.array(['[{"source":"osm","source_ref":"node/1#toilets"}]']),
    )
    _stage(engine, "helper", DAY, before)
    _stage(engine, "helper", days_after(1), with_content_hash(after))
    changes = difference(engine, Slice("kazan", "helper", "osm", DAY), days_after(1))
    assert [(change.cause, change.changed_fields) for change in changes] == [("links", ("links",))]


def test_a_source_that_the_newest_day_does_not_hold_is_not_current(engine: sa.Engine) -> None:
    rows = helper_rows({"1#toilets": "a"})
    for day, sources in ((DAY, ("osm", "feed:city")), (days_after(1), ("osm",))):
        for source in sources:
            replace_slice(
                engine,
                Slice("kazan", "helper", source, day),
                rows,
                rejections=(),
                evidence=evidence_of(day),
                claim=claim_key(engine, "kazan", day, job_type="helpers_import"),
                now=NOW,
            )
    current = view("helper_place_current")
    with engine.connect() as connection:
        found = connection.execute(sa.select(current.c.source, current.c.day)).all()
    assert [tuple(row) for row in found] == [("osm", days_after(1))]


@DATASETS
def test_a_row_says_whether_its_day_is_stale_or_was_accepted(
    engine: sa.Engine, dataset: str
) -> None:
    rows = ROWS[dataset]({"node/1#toilets" if dataset == "helper" else "node/1": "a"})
    said = {"stale_reason": "the feed did not answer", "accepted_reason": "a fair; I looked"}
    _stage(engine, dataset, DAY, rows)
    _stage(engine, dataset, days_after(1), rows, **said)
    told = {
        row["day"]: {name: row[name] for name in said}
        for row in read(engine, VIEWS[dataset].day, "kazan")
    }
    assert told == {DAY: dict.fromkeys(said), days_after(1): said}
    (row,) = read(engine, VIEWS[dataset].current, "kazan")
    assert {name: row[name] for name in said} == said


def _another(name: str, kind: pa.DataType, value: Any) -> Any:
    """Give a value that differs from a column's."""
    if name == "geometry":
        return shapely.to_wkb(shapely.LineString([(0, 0), (1, 1)]), byte_order=1)
    if name == "osm_type":
        return "relation"
    if pa.types.is_timestamp(kind):
        return value + timedelta(seconds=1)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return 1 if value is None else value + 1
    if isinstance(value, str) and value[0] in "{[":
        return json.dumps({"another": "value"})
    return f"{value} and more"


def _stage(engine: sa.Engine, dataset: str, day: date, rows: pa.Table, **evidence: Any) -> None:
    target = Slice("kazan", dataset, "osm", day)
    replace_slices(
        engine,
        [SliceInput(target, rows, [], replace(evidence_of(day), **evidence))],
        claim=claim_key(engine, "kazan", day, job_type=JOBS[dataset]),
        now=NOW,
    )


# That a question about one city costs what is there of it


CITIES_STAGED, DAYS_STAGED, FEATURES_STAGED, CHANGED_A_DAY = 20, 30, 2_000, 20


@pytest.mark.owner
@DATASETS
def test_a_question_about_one_city_reads_nothing_of_the_others(
    engine: sa.Engine, dataset: str
) -> None:
    _stage_many_cities(engine, dataset)
    names = VIEWS[dataset]
    city = "city_slug = 'city7'"
    two_days = f"from_day = '{days_after(20)}' AND to_day = '{days_after(21)}'"
    whole_month = f"from_day = '{DAY}' AND to_day = '{days_after(DAYS_STAGED - 1)}'"
    all_changed = CHANGED_A_DAY * (DAYS_STAGED - 1)
    for query, found in [
        (f"{names.day} WHERE {city} AND day = '{days_after(20)}'", FEATURES_STAGED),
        (f"{names.current} WHERE {city}", FEATURES_STAGED),
        (f"{names.change} WHERE {city} AND {two_days}", CHANGED_A_DAY),
        (f"{names.change} WHERE {city} AND source = 'osm' AND {two_days}", CHANGED_A_DAY),
        (f"{names.change} WHERE {city} AND {whole_month}", all_changed),
    ]:
        with engine.connect() as connection:
            counted = connection.execute(sa.text(f"SELECT count(*) FROM {query}")).scalar_one()
            assert counted == found
            look = _search_of_sqlite if engine.dialect.name == "sqlite" else _search_of_postgres
            # A change takes what ends and what begins, and for each of them its other versions.
            look(connection, f"SELECT * FROM {query}", dataset, limit=6 * found)


def test_the_newest_day_of_a_city_is_looked_for_once_and_not_for_each_of_its_days(
    postgis_url: str,
) -> None:
    engine = create_engine(postgis_url)
    migrate(engine)
    _stage_many_cities(engine, "poi")
    selected = "SELECT * FROM poi_staging_current WHERE city_slug = 'city7'"
    query = f"EXPLAIN (ANALYZE, FORMAT JSON) {selected}"
    with engine.connect() as connection:
        (plan,) = connection.exec_driver_sql(query).scalar_one()
    engine.dispose()
    of_days = [n for n in _nodes(plan["Plan"]) if n.get("Relation Name") == "staged_partition"]
    assert of_days
    assert {node["Actual Loops"] for node in of_days} == {1}


@pytest.mark.owner
def test_the_helper_places_of_one_kind_are_found_by_it(engine: sa.Engine) -> None:
    _stage_many_cities(engine, "helper")
    query = "SELECT * FROM helper_place WHERE city_slug = 'city7' AND kind = 'atm'"
    explained = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    with engine.connect() as connection:
        found = connection.exec_driver_sql(query).all()
        plan = str(connection.exec_driver_sql(f"{explained} {query}").all())
    assert {row.source_ref.partition("#")[2] for row in found} == {"atm"}
    assert len(found) < FEATURES_STAGED / 10
    assert "ix_helper_place_city_slug_kind" in plan


def _search_of_sqlite(connection: sa.Connection, query: str, dataset: str, *, limit: int) -> None:
    """Demand that versions are only searched by their city, and for a change by both days."""
    del limit  # SQLite does not tell how many rows it has read
    aliases = {VERSION_TABLES[dataset].name, "before", "after"}
    steps = [
        row.detail
        for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")
        if row.detail.split()[1] in aliases
    ]
    assert steps
    for step in steps:
        assert re.match(r"SEARCH \w+ USING INDEX \w+ \(city_slug=\?", step), step
    if "change" in query:
        ends, became, begins, was = steps
        assert "(city_slug=? AND source=? AND valid_to>? AND valid_to<?)" in ends
        assert "(city_slug=? AND source=? AND valid_from>? AND valid_from<?)" in begins
        for step in (became, was):
            assert "(city_slug=? AND source=? AND source_ref=? AND " in step


def _search_of_postgres(connection: sa.Connection, query: str, dataset: str, *, limit: int) -> None:
    """Demand that no more versions are read, be they wanted or not."""
    (plan,) = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}").scalar_one()
    read = sum(
        node["Actual Loops"]
        * (
            node["Actual Rows"]
            + node.get("Rows Removed by Filter", 0)
            + node.get("Rows Removed by Index Recheck", 0)
        )
        for node in _nodes(plan["Plan"])
        if node.get("Relation Name") == VERSION_TABLES[dataset].name
    )
    assert 0 < read <= limit


def _nodes(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(below for child in node.get("Plans", []) for below in _nodes(child))]


def _stage_many_cities(engine: sa.Engine, dataset: str) -> None:
    """Fill the tables as many cities with a month of days do."""
    table = VERSION_TABLES[dataset]
    last = DAYS_STAGED - 1
    features = range(FEATURES_STAGED)
    changed_on = {feature: 1 + feature % last for feature in range(CHANGED_A_DAY * last)}
    spans: list[tuple[int, date, date | None]] = [
        (feature, DAY, None) for feature in features if feature not in changed_on
    ]
    for feature, offset in changed_on.items():
        spans += [(feature, DAY, days_after(offset)), (feature, days_after(offset), None)]
    kinds = ["#toilets"] * 19 + ["#atm"] if dataset == "helper" else [""]
    refs = [f"node/{feature}{kinds[feature % len(kinds)]}" for feature in features]
    rows = ROWS[dataset](dict.fromkeys(refs, "a"))
    content = rows.take([feature for feature, *_ in spans]).drop_columns(["content_hash"])
    with write_transaction(engine) as connection:
        for number in range(CITIES_STAGED):
            city = f"city{number}"
            own: dict[str, pa.Array[Any]] = {
                "city_slug": pa.array([city] * len(spans)),
                "source": pa.array(["osm"] * len(spans)),
                "valid_from": pa.array([start for _, start, _ in spans], pa.date32()),
                "valid_to": pa.array([end for *_, end in spans], pa.date32()),
                "content_hash": pa.array([str(span) for span in spans]),
            }
            versions = content
            for name, values in own.items():
                versions = versions.append_column(name, values)
            load(connection, table, versions)
            connection.execute(
                sa.insert(staged_partition),
                [
                    vars(Slice(city, dataset, "osm", days_after(offset)))
                    | vars(evidence_of(days_after(offset)))
                    | dict.fromkeys(("rows", "added", "changed", "removed", "rejected"), 0)
                    | {"run_id": "none", "staged_at": NOW}
                    for offset in range(DAYS_STAGED)
                ],
            )
    if engine.dialect.name == "postgresql":
        # As the server does by itself, some time after so many rows.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
