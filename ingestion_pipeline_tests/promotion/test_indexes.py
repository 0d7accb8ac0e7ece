"""What products ask the public table uses its indexes."""

from __future__ import annotations

from datetime import date

import pytest
import sqlalchemy as sa

from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline_tests.support.promoted import promote, stage_places

DAY = date(2026, 11, 1)

NEAREST = """
    SELECT poi_id, name FROM poi_public WHERE category = 'amenity/cafe'
    ORDER BY geometry <-> ST_SetSRID(ST_MakePoint(1.2, 0.5), 4326) LIMIT 10
"""
WITHIN = """
    SELECT poi_id, name FROM poi_public
    WHERE category = 'amenity/cafe'
      AND geometry && ST_Expand(ST_SetSRID(ST_MakePoint(1.2, 0.5), 4326), 0.002)
"""
IN_BOX = """
    SELECT poi_id, name FROM poi_public
    WHERE category = 'amenity/cafe' AND lat BETWEEN 0.4 AND 0.6 AND lon BETWEEN 1.199 AND 1.201
"""


@pytest.fixture
def city(engine: sa.Engine) -> sa.Engine:
    """A city of three thousand places; every tenth is a café."""
    places = {
        f"node/{number}": {
            "name": str(number),
            "category": "amenity/cafe" if number % 10 == 0 else f"shop/kind{number % 7}",
            "at": (number / 1000, 0.5 + number % 100 / 10_000),
        }
        for number in range(1, 3001)
    }
    stage_places(engine, "kazan", DAY, places)
    promote(engine, "kazan", DAY)
    return engine


def plan_of(engine: sa.Engine, query: str) -> str:
    explain = "EXPLAIN" if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    with engine.begin() as connection:
        rows = connection.execute(sa.text(f"{explain} {query}")).all()
    return "\n".join(str(row[-1]) for row in rows)


def analyze(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("ANALYZE poi"))


@pytest.mark.owner
def test_places_of_a_category_in_a_box_are_found_by_an_index(city: sa.Engine) -> None:
    analyze(city)
    assert "ix_poi_category_lat_lon" in plan_of(city, IN_BOX)
    with city.connect() as connection:
        assert [row.name for row in connection.execute(sa.text(IN_BOX))] == ["1200"]


@pytest.mark.owner
@pytest.mark.parametrize("query", [NEAREST, WITHIN], ids=["nearest", "within"])
def test_the_nearest_places_of_a_category_are_found_by_the_spatial_index(
    postgis_url: str, query: str
) -> None:
    engine = create_engine(postgis_url)
    migrate(engine)
    places = {
        f"node/{number}": {
            "name": str(number),
            "category": "amenity/cafe" if number % 2 == 0 else "shop/kiosk",
        }
        for number in range(1, 5001)
    }
    stage_places(engine, "kazan", DAY, places)
    promote(engine, "kazan", DAY)
    analyze(engine)
    assert "Index Scan using ix_poi_geometry" in plan_of(engine, query) or (
        "Bitmap Index Scan on ix_poi_geometry" in plan_of(engine, query)
    )
    with engine.connect() as connection:
        assert connection.execute(sa.text(query)).first() is not None
    engine.dispose()
