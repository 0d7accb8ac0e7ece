"""Engines and transactions: what a service that must answer asks of PostgreSQL."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from ingestion_pipeline.staging.database import create_engine, read_transaction, write_transaction
from ingestion_pipeline.staging.errors import DatabaseUnavailable


def statement_timeout(engine: sa.Engine) -> str:
    with read_transaction(engine) as connection:
        timeout: str = connection.execute(sa.text("SHOW statement_timeout")).scalar_one()
    engine.dispose()
    return timeout


def test_only_a_service_gives_up_on_a_statement(postgis_url: str) -> None:
    assert statement_timeout(create_engine(postgis_url)) == "0"
    assert statement_timeout(create_engine(postgis_url, service_connections=1)) == "30s"


def test_what_the_url_says_of_time_stands(postgis_url: str) -> None:
    url = f"{postgis_url}?options=-c%20statement_timeout%3D7s"
    assert statement_timeout(create_engine(url, service_connections=1)) == "7s"


def test_a_statement_that_takes_too_long_is_a_database_that_does_not_answer(
    postgis_url: str,
) -> None:
    url = f"{postgis_url}?options=-c%20statement_timeout%3D50ms"
    engine = create_engine(url, service_connections=1)
    with pytest.raises(DatabaseUnavailable), write_transaction(engine) as connection:
        connection.execute(sa.text("SELECT pg_sleep(10)"))
    engine.dispose()


def test_connections_that_are_all_in_use_are_a_database_that_does_not_answer(
    postgis_url: str,
) -> None:
    url = sa.make_url(postgis_url).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    with (
        write_transaction(engine),
        pytest.raises(DatabaseUnavailable, match="in use"),
        read_transaction(engine),
    ):
        pass
    engine.dispose()
