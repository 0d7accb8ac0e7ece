"""Column types: what is written is read, and both databases say the same."""

from __future__ import annotations

import itertools
import sqlite3
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion_pipeline.staging.bulk import CHUNK, chunks, load
from ingestion_pipeline.staging.types import (
    BIG_INTEGER,
    REAL,
    Json,
    UtcDateTime,
    geopackage_datetime,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.owner

SCRATCH = sa.Table(
    "scratch",
    sa.MetaData(),
    sa.Column("id", BIG_INTEGER, primary_key=True),
    sa.Column("json", Json),
    sa.Column("moment", UtcDateTime),
    sa.Column("day", sa.Date),
    sa.Column("real", REAL),
    sa.Column("text", sa.Text),
)
IDS = itertools.count(1)

KAZAN = timezone(timedelta(hours=3))

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    # PostgreSQL writes numbers as decimals, so that a bigger float would come back as an integer.
    | st.floats(-(2.0**53), 2.0**53)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
MOMENTS = st.datetimes(
    datetime(1, 1, 3),  # noqa: DTZ001 - Hypothesis wants the bounds without
    datetime(9999, 12, 29),  # noqa: DTZ001
    timezones=st.timezones() | st.just(UTC),
)

anything = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def scratch(engine: sa.Engine) -> sa.Engine:
    """A database with a table that has a column of each type."""
    SCRATCH.create(engine)
    return engine


KINDS: dict[str, pa.DataType] = {
    "id": pa.int64(),
    "moment": pa.timestamp("us", "UTC"),
    "day": pa.date32(),
    "real": pa.float64(),
}


def columns(**values: list[Any]) -> pa.Table:
    return pa.table(
        {name: pa.array(given, KINDS.get(name, pa.string())) for name, given in values.items()}
    )


def round_trip(engine: sa.Engine, column: str, value: Any) -> tuple[Any, Any]:
    """Write a value both ways, by SQLAlchemy and in bulk; give what is read of each."""
    first, second = next(IDS), next(IDS)
    with engine.begin() as connection:
        connection.execute(sa.insert(SCRATCH).values({"id": first, column: value}))
        load(connection, SCRATCH, columns(id=[second], **{column: [value]}))
        read = dict(
            tuple(row)
            for row in connection.execute(
                sa.select(SCRATCH.c.id, SCRATCH.c[column]).where(SCRATCH.c.id >= first)
            )
        )
    return read[first], read[second]


@anything
@given(value=JSON_VALUES)
def test_any_json_value_comes_back_as_it_was(scratch: sa.Engine, value: Any) -> None:
    row = next(IDS)
    with scratch.begin() as connection:
        connection.execute(sa.insert(SCRATCH).values(id=row, json=value))
        read = connection.execute(sa.select(SCRATCH.c.json).where(SCRATCH.c.id == row))
        assert read.scalar_one() == value


def test_no_json_value_is_null_and_not_the_json_null(scratch: sa.Engine) -> None:
    with scratch.begin() as connection:
        connection.execute(sa.insert(SCRATCH).values(id=1, json=None))
        rows = connection.execute(sa.select(SCRATCH.c.id).where(SCRATCH.c.json.is_(None)))
        assert rows.scalars().all() == [1]


def test_json_stands_in_a_geopackage_in_its_canonical_form(scratch: sa.Engine) -> None:
    value = {"b": [1, None], "a": "кафе"}
    with scratch.begin() as connection:
        connection.execute(sa.insert(SCRATCH).values(id=1, json=value))
        stored = connection.exec_driver_sql("SELECT json FROM scratch").scalar_one()
    assert stored == ('{"a":"кафе","b":[1,null]}' if scratch.dialect.name == "sqlite" else value)


@anything
@given(value=MOMENTS)
def test_any_moment_comes_back_in_utc_cut_to_milliseconds(
    scratch: sa.Engine, value: datetime
) -> None:
    expected = value.astimezone(UTC)
    expected = expected.replace(microsecond=expected.microsecond // 1000 * 1000)
    for read in round_trip(scratch, "moment", value):
        assert read == expected
        assert read.tzinfo is UTC


def test_a_moment_of_another_time_zone_is_the_same_moment(scratch: sa.Engine) -> None:
    value = datetime(2026, 11, 20, 1, 30, tzinfo=KAZAN)
    for read in round_trip(scratch, "moment", value):
        assert read.isoformat() == "2026-11-19T22:30:00+00:00"


def test_a_moment_without_a_time_zone_is_refused_on_either_way_in(scratch: sa.Engine) -> None:
    naive = datetime(2026, 11, 20, 3, 4, 5)  # noqa: DTZ001 - that is the point
    with (
        pytest.raises(sa.exc.StatementError, match="has no time zone"),
        scratch.begin() as connection,
    ):
        connection.execute(sa.insert(SCRATCH).values(id=1, moment=naive))
    with pytest.raises(ValueError, match="has no time zone"), scratch.begin() as connection:
        load(connection, SCRATCH, columns(id=[1]).append_column("moment", pa.array([naive])))


def test_a_geopackage_keeps_moments_as_its_standard_writes_them(scratch: sa.Engine) -> None:
    value = datetime(2026, 11, 20, 6, 4, 5, 678_999, tzinfo=KAZAN)
    assert geopackage_datetime(value) == "2026-11-20T03:04:05.678Z"
    round_trip(scratch, "moment", value)
    if scratch.dialect.name == "sqlite":
        with scratch.begin() as connection:
            stored = connection.exec_driver_sql("SELECT DISTINCT moment FROM scratch").scalars()
            assert stored.all() == ["2026-11-20T03:04:05.678Z"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("moment", None),
        ("day", None),
        ("day", date(2026, 11, 20)),
        ("real", None),
        ("real", 0.1),
        ("real", 49.106414),
        ("text", None),
        ("text", ""),
        ("text", "a\tb\nc\\N \\. 'кафе' \U0001f354"),
        ("id", 2**62),
    ],
)
def test_plain_values_come_back_as_they_were_from_either_way_in(
    scratch: sa.Engine, column: str, value: Any
) -> None:
    if column == "id":
        with scratch.begin() as connection:
            load(connection, SCRATCH, columns(id=[value]))
            assert connection.execute(sa.select(SCRATCH.c.id)).scalar_one() == value
        return
    for read in round_trip(scratch, column, value):
        assert read == value
        assert type(read) is type(value)


def test_no_rows_are_loaded_from_no_rows(scratch: sa.Engine) -> None:
    with scratch.begin() as connection:
        load(connection, SCRATCH, columns(id=[], moment=[], json=[]))
        assert connection.execute(sa.select(SCRATCH)).all() == []


def test_rows_of_many_batches_are_loaded_each_once(scratch: sa.Engine) -> None:
    rows = many_rows(range(MANY))
    with scratch.begin() as connection:
        load(connection, SCRATCH, rows)
        stored = connection.execute(sa.select(SCRATCH.c.id, SCRATCH.c.text).order_by(SCRATCH.c.id))
        assert [tuple(row) for row in stored] == list(enumerate(rows["text"].to_pylist()))


def test_a_fault_in_a_late_batch_is_told_and_ends_the_load(scratch: sa.Engine) -> None:
    twice = many_rows([*range(MANY), 0])
    with (
        pytest.raises((psycopg.errors.UniqueViolation, sqlite3.IntegrityError)),
        scratch.begin() as connection,
    ):
        load(connection, SCRATCH, twice)
    with scratch.connect() as connection:
        assert connection.execute(sa.select(SCRATCH)).all() == []


MANY = 40_000
"""More rows than are encoded or inserted at a time."""


def many_rows(ids: Sequence[int]) -> pa.Table:
    return columns(id=list(ids), text=[f"row {number}" for number in ids])


def test_chunks_cover_everything_once_and_fit_into_one_statement(scratch: sa.Engine) -> None:
    values = list(range(2 * CHUNK + 1))
    pieces = list(chunks(values))
    assert [value for piece in pieces for value in piece] == values
    assert list(chunks([])) == []
    with scratch.begin() as connection:
        for piece in pieces:
            connection.execute(sa.delete(SCRATCH).where(SCRATCH.c.id.in_(piece)))
