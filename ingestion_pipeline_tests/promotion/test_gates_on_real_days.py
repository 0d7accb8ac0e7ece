"""The gates on real days: ordinary ones become public at once, and mass changes do not."""

from __future__ import annotations

import json
import random
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import shapely

from ingestion_pipeline.columns.hashing import digest, with_content_hash
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline_tests.support.promoted import promote
from ingestion_pipeline_tests.support.real_days import files_of_days, rows_of_extract
from testbed.claims import NOW, claim_key, evidence_of, replace_slice, slice_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import sqlalchemy as sa

    from ingestion_pipeline.promotion.ledger import Promotion

    Row = dict[str, Any]
    Change = Callable[[Row], Row | None]

pytestmark = pytest.mark.real_data

LIVELY = [date(2016, 8, 15), date(2016, 8, 16), date(2016, 10, 15)]
"""The day with the most changes of a half year, that before, and one two months later."""

METRE = 1 / 111_195
"""In degrees of latitude."""


@pytest.fixture(scope="module")
def days(osm_test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[date, pa.Table]:
    history = osm_test_data / "history" / "andorra" / "andorra.osh.pbf"
    paths = files_of_days(history, LIVELY, tmp_path_factory.mktemp("andorra"))
    return {day: rows_of_extract(path, day, "AD") for day, path in paths.items()}


@pytest.fixture
def town(tmp_path: Path, days: dict[date, pa.Table]) -> Iterator[sa.Engine]:
    """A city whose first day is public."""
    engine = create_engine(f"sqlite:///{tmp_path / 'staging.gpkg'}")
    migrate(engine)
    assert promoted(engine, LIVELY[0], days[LIVELY[0]]).status == "PROMOTED"
    yield engine
    engine.dispose()


def promoted(engine: sa.Engine, day: date, rows: pa.Table) -> Promotion:
    replace_slice(
        engine,
        slice_of("andorra", day),
        rows,
        rejections=(),
        evidence=evidence_of(day, inputs=digest(rows.column("content_hash").to_pylist())),
        claim=claim_key(engine, "andorra", day),
        now=NOW,
    )
    return promote(engine, "andorra", day)


def changed(rows: pa.Table, share: float, change: Change) -> pa.Table:
    """Return rows of which a change was made to a share, chosen by chance; None removes a row."""
    chosen = random.Random(7)
    made = [
        change(row) if chosen.random() < share else row
        for row in rows.drop_columns(["content_hash"]).to_pylist()
    ]
    table = pa.Table.from_pylist(
        [row for row in made if row is not None],
        schema=rows.schema.remove(rows.schema.get_field_index("content_hash")),
    )
    return with_content_hash(table).select(rows.column_names)


def moved(row: Row, metres: float) -> Row:
    north = metres * METRE
    shift = np.array([0, north])
    shape = shapely.transform(shapely.from_wkb(row["geometry"]), lambda xy: xy + shift)
    wkb = shapely.to_wkb(shape, byte_order=1)
    return row | {"geometry": wkb, "lat": row["lat"] + north}


def test_the_liveliest_days_of_a_half_year_become_public_at_once(
    town: sa.Engine, days: dict[date, pa.Table]
) -> None:
    for day in LIVELY[1:]:
        done = promoted(town, day, days[day])
        assert done.status == "PROMOTED", done.judged
        assert sum(done.counts.values()) > 20


@pytest.mark.parametrize(
    ("gate", "share", "change"),
    [
        (
            "category_losses",
            0.3,
            lambda row: None if row["category"] == "amenity/restaurant" else row,
        ),
        ("mass_closure", 0.03, lambda _: None),
        ("mass_closure", 0.03, lambda row: row | {"status": "disused"}),
        ("mass_rename", 0.05, lambda row: row | {"name": "Vandal"} if row["name"] else row),
        ("mass_move", 0.03, lambda row: moved(row, 200)),
        ("mass_move", 1.0, lambda row: moved(row, 40)),
        (
            "mass_recategorisation",
            0.03,
            lambda row: (
                row | {"category": "amenity/bench", "categories": json.dumps(["amenity/bench"])}
            ),
        ),
        (
            "mass_overwrite",
            0.5,
            lambda row: (
                row
                if row["contact"] == "{}"
                else row | {"contact": '{"website":["https://spam.example"]}'}
            ),
        ),
    ],
    ids=["cafes", "deleted", "closed", "renamed", "moved", "shifted", "recategorised", "spam"],
)
def test_a_mass_change_on_top_of_a_real_day_waits_for_a_person(
    town: sa.Engine, days: dict[date, pa.Table], gate: str, share: float, change: Change
) -> None:
    day = LIVELY[1]
    proposed = promoted(town, day, changed(days[day], share, change))
    assert proposed.status == "PROPOSED"
    assert gate in {each.name for each in proposed.judged if each.verdict == "review"}
