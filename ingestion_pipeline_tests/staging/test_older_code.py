"""Migrations with which older code works: which say so, and that it is true."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from ingestion_pipeline.staging.database import (
    migrate,
    migrations_folder,
    require_migrated,
    set_oldest_code,
    write_transaction,
)
from ingestion_pipeline.staging.errors import DatabaseNotMigrated
from ingestion_pipeline.staging.tables import schema_compatibility
from ingestion_pipeline.staging.views import definitions
from ingestion_pipeline_tests.support.schema_rules import schema_of, what_breaks_older_code

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.owner,
    # SQLAlchemy cannot know PostGIS's type, nor the expressions of an index.
    pytest.mark.filterwarnings("ignore:Did not recognize type 'geometry'"),
]

ROOT = Path(__file__).parents[2]
PREVIOUS_RELEASE = ROOT / "ingestion_pipeline_tests" / "support" / "previous_release.zip"
FIRST = "0014"
"""The first migration that says which older code works with it."""

STOP = "Stop all processes of the previous release"
"""What the changelog says of a release that cannot run beside the previous one."""


def migrations() -> dict[str, Any]:
    """Return the modules of the migrations that say which older code works, the oldest first."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())
    return {each.revision: each.module for each in reversed(scripts) if each.revision >= FIRST}


@pytest.fixture
def previous(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The database of the previous release."""
    with ZipFile(PREVIOUS_RELEASE) as archive:
        archive.extract("staging.gpkg", tmp_path)
    with closing(sqlite3.connect(tmp_path / "staging.gpkg")) as connection:
        yield connection


def test_each_migration_says_which_older_code_works_and_none_takes_it_back() -> None:
    oldest = [module.oldest_code for module in migrations().values()]
    assert oldest == sorted(oldest)
    for revision, module in migrations().items():
        assert FIRST <= module.oldest_code <= revision


def test_the_schema_keeps_what_the_oldest_code_uses(engine: sa.Engine) -> None:
    oldest = list(migrations().values())[-1].oldest_code
    now = schema_of(engine)
    migrate(engine, oldest)
    assert what_breaks_older_code(schema_of(engine), now) == []


def test_the_database_says_which_older_code_works(engine: sa.Engine) -> None:
    newest = list(migrations().values())[-1]
    with engine.connect() as connection:
        stored = connection.execute(sa.select(schema_compatibility)).all()
    assert stored == [(newest.oldest_code,)]


def test_the_changelog_says_if_the_previous_release_must_stop(
    previous: sqlite3.Connection,
) -> None:
    (known,) = previous.execute("SELECT version_num FROM alembic_version").fetchone()
    oldest = list(migrations().values())[-1].oldest_code
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    upgrading = re.split(r"^##+ ", text.split("### Upgrading\n")[1], flags=re.MULTILINE)[0]
    assert (STOP in upgrading) is (known < oldest)


def test_views_keep_the_columns_of_the_previous_release(previous: sqlite3.Connection) -> None:
    names = [
        name for (name,) in previous.execute("SELECT name FROM sqlite_master WHERE type='view'")
    ]
    assert names
    for name in names:
        columns = {column for _, column, *_ in previous.execute(f"PRAGMA table_info({name})")}
        assert columns <= set(definitions()[name].selected_columns.keys()), name


# What older code would not survive

UNIQUE = "CREATE UNIQUE INDEX one_name ON poi_ingestion_staging (city_slug, name)"


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("DROP TABLE sensor_tick", ["table sensor_tick is gone"]),
        (
            "ALTER TABLE callback_message RENAME COLUMN received_at TO taken_at",
            [
                "column callback_message.received_at is gone",
                "column callback_message.taken_at is new, and has neither nulls nor a default",
            ],
        ),
        (
            "ALTER TABLE ingestion_run DROP COLUMN error_message",
            ["column ingestion_run.error_message is gone"],
        ),
        (UNIQUE, ["poi_ingestion_staging has a new unique ['city_slug', 'name']"]),
        (
            "DROP INDEX uq_ingestion_run_active_key",
            ["ingestion_run no longer has unique ['idempotency_key']"],
        ),
        (
            "ALTER TABLE poi ADD COLUMN area_m2 REAL",
            ["column poi.area_m2 is new, and is taken from staging"],
        ),
        ("ALTER TABLE ingestion_run ADD COLUMN priority INTEGER", []),
        ("ALTER TABLE ingestion_run ADD COLUMN priority INTEGER NOT NULL DEFAULT 0", []),
        ("ALTER TABLE poi ADD COLUMN checked TEXT", []),
        ("CREATE TABLE another (id INTEGER PRIMARY KEY, name TEXT NOT NULL)", []),
        ("CREATE INDEX another ON ingestion_run (worker)", []),
    ],
)
def test_a_change_that_older_code_would_not_survive_is_found(
    engine: sa.Engine, statement: str, broken: list[str]
) -> None:
    before = schema_of(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP VIEW IF EXISTS poi_public"))
        connection.execute(sa.text(statement))
    found = what_breaks_older_code(before, schema_of(engine))
    assert len(found) == len(broken)
    assert all(map(str.startswith, found, broken)), found


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("ALTER TABLE run_lease ADD COLUMN host TEXT NOT NULL", "run_lease.host is new"),
        ("ALTER TABLE ingestion_run ALTER COLUMN worker SET NOT NULL", "ingestion_run.worker was"),
        (
            "ALTER TABLE ingestion_run ALTER COLUMN trigger DROP NOT NULL",
            "ingestion_run.trigger was",
        ),
        (
            "ALTER TABLE ingestion_run ALTER COLUMN refetch DROP DEFAULT",
            "ingestion_run.refetch was",
        ),
        ("ALTER TABLE ingestion_run ALTER COLUMN attempt TYPE text", "ingestion_run.attempt was"),
        ("ALTER TABLE ingestion_run ADD CHECK (attempt < 9)", "ingestion_run has a new check"),
        (
            "ALTER TABLE poi_event ADD FOREIGN KEY (promotion_id) REFERENCES promotion (id)",
            "poi_event has a new reference",
        ),
    ],
)
def test_it_is_found_in_what_only_postgresql_can_alter(
    postgis_url: str, statement: str, broken: str
) -> None:
    engine = sa.create_engine(postgis_url.replace("postgresql:", "postgresql+psycopg:"))
    migrate(engine)
    before = schema_of(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP VIEW poi_feed"))
        connection.execute(sa.text(statement))
    (found,) = what_breaks_older_code(before, schema_of(engine))
    engine.dispose()
    assert found.removeprefix("column ").startswith(broken)


# A database that is ahead


def move_ahead(engine: sa.Engine, *, oldest_code: str) -> None:
    """Say that a database is at a migration of a release to come."""
    with write_transaction(engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        set_oldest_code(connection, oldest_code)


def test_a_newer_schema_that_works_with_this_code_is_accepted_and_left_alone(
    engine: sa.Engine,
) -> None:
    move_ahead(engine, oldest_code=FIRST)
    before = schema_of(engine)
    require_migrated(engine)
    migrate(engine)
    assert schema_of(engine) == before
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT * FROM alembic_version").all() == [("9999",)]
    with pytest.raises(DatabaseNotMigrated, match="from 9999"):
        migrate(engine, "0001")


def test_a_newer_schema_that_needs_newer_code_is_refused(engine: sa.Engine) -> None:
    move_ahead(engine, oldest_code="9998")
    for work in (require_migrated, migrate):
        with pytest.raises(DatabaseNotMigrated, match="9999"):
            work(engine)
    with pytest.raises(DatabaseNotMigrated, match="Install the newer version"):
        require_migrated(engine)


def test_a_newer_schema_that_says_nothing_is_refused(engine: sa.Engine) -> None:
    move_ahead(engine, oldest_code=FIRST)
    for statement in ("DELETE FROM schema_compatibility", "DROP TABLE schema_compatibility"):
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
        with pytest.raises(DatabaseNotMigrated, match="Install the newer version"):
            require_migrated(engine)
