"""The reader's role, pgbouncer, databases that are down, changed or slow, and plans of queries."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ingestion_pipeline.admin_api.reading import collections, database
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.tables import metadata
from ingestion_pipeline_tests.admin_api.reading.conftest import (
    DAYS,
    READ_TOKEN,
    Staged,
    reading_settings,
)
from ingestion_pipeline_tests.support.api_server import running_api
from ingestion_pipeline_tests.support.staged import stage
from testbed.postgres_server import (
    OWNER,
    READER,
    WORKER,
    as_role,
    end_sessions,
    make_roles,
    running_pgbouncer,
    with_port,
)

if TYPE_CHECKING:
    from pathlib import Path

    from ingestion_pipeline_tests.admin_api.reading.conftest import Reading
    from testbed.postgres_server import PostgresServer

ITEMS = "/ogc/collections/poi_staging_current/items"
TOKEN = {"X-Read-Token": READ_TOKEN}

# The role


@pytest.mark.parametrize("table", [*metadata.tables, "alembic_version"])
@pytest.mark.parametrize(
    "statement", ["SELECT FROM {}", "DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}"]
)
def test_the_reader_can_neither_read_nor_change_a_table(
    staged: Staged, table: str, statement: str
) -> None:
    with (
        closing(psycopg.connect(staged.reader_url)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.format(table))


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO {} (id) VALUES (1)",
        "UPDATE {} SET name = 'x'",
        "DELETE FROM {}",
        "DROP VIEW {}",
        "CREATE TABLE of_a_reader (id int)",
        "CREATE VIEW of_a_reader AS SELECT 1",
    ],
)
def test_the_reader_changes_nothing_through_a_view(staged: Staged, statement: str) -> None:
    with (
        closing(psycopg.connect(staged.reader_url)) as connection,
        pytest.raises(
            (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)
        ),
    ):
        connection.execute(statement.format("poi_staging_current"))


@pytest.mark.parametrize("role", [WORKER, OWNER, None])
def test_a_role_that_may_do_more_is_refused(
    staged: Staged, tmp_path: Path, role: str | None
) -> None:
    url = as_role(staged.url, role) if role else staged.url
    settings = reading_settings(staged, reader_database_url=SecretStr(url))
    with running_api(tmp_path, staged.engine, **settings) as api:
        reply = api.http.get(ITEMS, headers=TOKEN)
        assert reply.status_code == 503
        assert reply.json()["code"] in {"reader_unsafe", "database_not_migrated"}
        assert "town" not in reply.text


OTHERS = """
CREATE SCHEMA others;
CREATE TABLE others.secret (id int, geometry geometry);
CREATE TABLE own (id int, geometry geometry(POINT, 4326));
GRANT USAGE ON SCHEMA others TO PUBLIC;
GRANT SELECT ON others.secret, own TO PUBLIC;
CREATE FUNCTION leak() RETURNS TABLE (id int, geometry geometry)
    AS 'SELECT 1, NULL::geometry' LANGUAGE sql;
"""


def test_no_other_table_view_or_function_is_a_collection(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collections, "REFRESH_SECONDS", 0)
    before = reading.get("collections")["numberMatched"]
    with psycopg.connect(reading.staged.url, autocommit=True) as administrator:
        administrator.execute(OTHERS)
        try:
            assert reading.get("collections")["numberMatched"] == before
            for name in ("others.secret", "secret", "own", "leak", "public.leak", "ingestion_run",
                         "spatial_ref_sys", "geometry_columns"):  # fmt: skip
                path = f"collections/{name}/items"
                assert reading.http.get(path).status_code == 404, name
        finally:
            administrator.execute(
                "DROP SCHEMA others CASCADE; DROP TABLE own; DROP FUNCTION leak()"
            )


# The server


def test_pages_and_tiles_work_through_pgbouncer(staged: Staged, tmp_path: Path) -> None:
    with running_pgbouncer(staged.url) as port:
        url = SecretStr(with_port(staged.reader_url, port))
        settings = reading_settings(staged, reader_database_url=url)
        with running_api(tmp_path, staged.engine, **settings) as api:
            for _ in range(10):
                reply = api.http.get(f"{ITEMS}?city_slug=town", headers=TOKEN)
                assert reply.json()["numberReturned"] == 41
            tile = "/ogc/collections/poi_staging_current/tiles/WebMercatorQuad/0/0/0"
            assert len(api.http.get(tile, headers=TOKEN).content) > 100
        # Nothing is left in the sessions, which other clients get.
        with closing(psycopg.connect(with_port(staged.reader_url, port))) as connection:
            for name, default in (("statement_timeout", "0"), ("transaction_read_only", "off")):
                assert connection.execute(f"SHOW {name}").fetchone() == (default,)


def test_a_database_that_is_down_at_the_start_is_read_when_it_is_up(
    postgres_server: PostgresServer, staged: Staged, tmp_path: Path
) -> None:
    with postgres_server.fresh_database() as url:
        make_roles(url)
        settings = reading_settings(staged, reader_database_url=SecretStr(as_role(url, READER)))
        with running_api(tmp_path, staged.engine, **settings) as api:
            reply = api.http.get(ITEMS, headers=TOKEN)
            assert (reply.status_code, reply.json()["code"]) == (503, "database_not_migrated")
            owner = create_engine(as_role(url, OWNER))
            migrate(owner)
            owner.dispose()
            make_roles(url)
            assert api.http.get(ITEMS, headers=TOKEN).json()["numberMatched"] == 0


def test_a_server_that_does_not_answer_is_named_without_secrets(
    staged: Staged, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = SecretStr("postgresql://reader:a-secret@127.0.0.1:1/poi")
    settings = reading_settings(staged, reader_database_url=url)
    with running_api(tmp_path, staged.engine, **settings) as api:
        reply = api.http.get(ITEMS, headers=TOKEN)
    assert (reply.status_code, reply.json()["code"]) == (503, "database_unavailable")
    assert reply.headers["Retry-After"]
    assert "a-secret" not in reply.text + caplog.text
    assert "READER_DATABASE_URL" in caplog.text


def test_sessions_that_were_ended_are_replaced(reading: Reading) -> None:
    assert reading.items("poi_staging_current", limit=1)["numberReturned"] == 1
    end_sessions(reading.staged.url)
    replies = [
        reading.http.get("collections/poi_staging_current/items?limit=1").status_code
        for _ in range(3)
    ]
    assert set(replies) <= {200, 503}
    assert replies[-1] == 200


def test_a_view_that_the_reader_may_read_later_appears_by_itself(
    postgres_server: PostgresServer, staged: Staged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collections, "REFRESH_SECONDS", 0)
    with postgres_server.fresh_database() as url:
        make_roles(url)
        owner = create_engine(as_role(url, OWNER))
        migrate(owner)
        with owner.begin() as connection:
            connection.exec_driver_sql(f"GRANT SELECT ON poi_staging_current TO {READER}")
        settings = reading_settings(staged, reader_database_url=SecretStr(as_role(url, READER)))
        with running_api(tmp_path, staged.engine, **settings) as api:

            def names() -> set[str]:
                listed = api.http.get("/ogc/collections", headers=TOKEN).json()["collections"]
                return {each["id"] for each in listed}

            assert names() == {"poi_staging_current"}
            with owner.begin() as connection:
                connection.exec_driver_sql(f"GRANT SELECT ON poi_staging_day TO {READER}")
            assert names() == {"poi_staging_current", "poi_staging_day"}
        owner.dispose()


def test_a_view_that_a_migration_takes_away_is_named(
    postgres_server: PostgresServer, staged: Staged, tmp_path: Path
) -> None:
    with postgres_server.fresh_database() as url:
        make_roles(url)
        owner = create_engine(as_role(url, OWNER))
        migrate(owner)
        make_roles(url)
        settings = reading_settings(staged, reader_database_url=SecretStr(as_role(url, READER)))
        with running_api(tmp_path, staged.engine, **settings) as api:
            assert api.http.get(ITEMS, headers=TOKEN).status_code == 200
            migrate(owner, "0001")
            for _ in range(2):
                reply = api.http.get(ITEMS, headers=TOKEN)
                assert (reply.status_code, reply.json()["code"]) == (503, "database_not_migrated")
            migrate(owner)
            make_roles(url)
            assert api.http.get(ITEMS, headers=TOKEN).status_code == 200
        owner.dispose()


def test_a_query_that_takes_too_long_is_ended(
    staged: Staged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_api(tmp_path, staged.engine, **reading_settings(staged)) as api:
        assert api.http.get(ITEMS, headers=TOKEN).status_code == 200
        monkeypatch.setattr(database, "STATEMENT_SECONDS", "0.001")
        with closing(psycopg.connect(as_role(staged.url, OWNER))) as connection:
            # A query that waits is slow on every machine.
            connection.execute("LOCK TABLE poi_ingestion_staging IN ACCESS EXCLUSIVE MODE")
            reply = api.http.get(ITEMS, headers=TOKEN)
    assert (reply.status_code, reply.json()["code"]) == (504, "query_too_slow")


# Plans


def test_a_day_of_a_city_is_found_without_reading_the_history(
    postgres_server: PostgresServer,
) -> None:
    """Reads as many blocks with thirty staged days as with ten."""
    with postgres_server.fresh_database() as url:
        engine = create_engine(url)
        migrate(engine)
        read = []
        for number in range(30):
            day = DAYS[0] + timedelta(days=number)
            # A tenth of the places changes daily, of 600 in each of two cities.
            for city in ("town", "other-town"):
                pois = {
                    f"node/{each}": f"{each} {number if each % 10 == number % 10 else 0}"
                    for each in range(600)
                }
                stage(engine, city, day, pois)
            if number in (9, 29):
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute("VACUUM ANALYZE")
                read.append(rows_read(engine, DAYS[0] + timedelta(days=5)))
        engine.dispose()
    assert read[1] <= 3 * read[0]


def rows_read(engine: sa.Engine, day: Any) -> int:
    """Return how many rows of tables the query of a page reads, by PostgreSQL itself."""
    query = (
        "SELECT * FROM poi_staging_day WHERE city_slug = 'town' AND day = :day "
        "AND ST_Intersects(geometry, ST_MakeEnvelope(-1, -1, 2, 2, 4326)) ORDER BY id LIMIT 1000"
    )
    with engine.connect() as connection:
        plan = connection.execute(
            sa.text(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}"), {"day": day}
        ).scalar_one()
        assert connection.execute(sa.text(query), {"day": day}).rowcount == 600
    found = plan if isinstance(plan, list) else json.loads(plan)
    return sum(scanned(found[0]["Plan"]))


def scanned(node: dict[str, Any]) -> list[int]:
    own = []
    if "Relation Name" in node:
        rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        rows += node.get("Rows Removed by Index Recheck", 0)
        own.append(int(rows * node["Actual Loops"]))
    return own + [each for child in node.get("Plans", []) for each in scanned(child)]
