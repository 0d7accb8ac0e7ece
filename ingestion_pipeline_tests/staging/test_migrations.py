"""Opening and migrating: the tables are what the code declares, and nothing is left half-done."""

from __future__ import annotations

import re
import threading
from datetime import date, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from ingestion_pipeline.columns.hashing import with_content_hash, with_source_hash
from ingestion_pipeline.staging.database import (
    create_engine,
    current_revision,
    describe,
    migrate,
    read_transaction,
    require_migrated,
    set_oldest_code,
    write_transaction,
)
from ingestion_pipeline.staging.days import Slice
from ingestion_pipeline.staging.errors import (
    DatabaseNotMigrated,
    DatabaseUnavailable,
    UnsupportedDatabase,
)
from ingestion_pipeline.staging.geometry import Geometry
from ingestion_pipeline.staging.slices import SliceInput, replace_slices
from ingestion_pipeline.staging.tables import (
    PUBLIC_LAYER,
    VERSION_STORAGE,
    VERSION_TABLES,
    VIEWS,
    helper_place,
    ingestion_run,
    metadata,
    poi,
    poi_ingestion_staging,
    staged_partition,
)
from ingestion_pipeline.staging.views import definitions
from ingestion_pipeline_tests.support.promoted import promote, public_rows
from ingestion_pipeline_tests.support.staged import helper_rows, poi_rows, stage, stage_helpers
from testbed.claims import NOW, claim_key, evidence_of, replace_slice, slice_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.owner,
    # SQLAlchemy cannot know PostGIS's type; the tests look at it by themselves.
    pytest.mark.filterwarnings("ignore:Did not recognize type 'geometry'"),
]

POSTGIS_TABLES = {"spatial_ref_sys"}
POSTGIS_VIEWS = {"geography_columns", "geometry_columns"}
GEOPACKAGE_TABLES = {
    "gpkg_contents",
    "gpkg_extensions",
    "gpkg_geometry_columns",
    "gpkg_spatial_ref_sys",
    "layer_styles",
}
INDEX_OF_GEOPACKAGE = "rtree_"
"""The beginning of the names of its spatial indexes and of the tables that these consist of."""


@pytest.fixture
def empty(database_url: str) -> Iterator[sa.Engine]:
    """A database that was never migrated."""
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def tables(engine: sa.Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names()) - POSTGIS_TABLES


def views(engine: sa.Engine) -> set[str]:
    return set(sa.inspect(engine).get_view_names()) - POSTGIS_VIEWS


def set_revision(engine: sa.Engine, revision: str) -> None:
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision}
        )


# What the migrations make is what the code declares


def test_the_migrations_make_the_declared_tables(engine: sa.Engine) -> None:
    # Declared for the other database alone, which Alembic does not see.
    columns = "city_slug_source_source_ref_valid_from"
    others = {
        "sqlite": ("ix_{}_geometry", f"ix_{{}}_{columns}"),
        "postgresql": (f"uq_{{}}_{columns}",),
    }[engine.dialect.name]
    foreign = {name.format(table.name) for name in others for table in VERSION_TABLES.values()}
    foreign |= {"ix_poi_geometry"} if engine.dialect.name == "sqlite" else set()
    foreign |= GEOPACKAGE_TABLES | POSTGIS_TABLES

    def ours(_: Any, name: str | None, *__: Any) -> bool:
        return name not in foreign and not str(name).startswith(INDEX_OF_GEOPACKAGE)

    def types_differ(*five: Any) -> bool | None:
        return False if isinstance(five[-1], Geometry) else None

    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_object": ours, "compare_type": types_differ}
        )
        assert compare_metadata(context, metadata) == []


def test_a_migrated_database_equals_one_that_is_made_from_the_declared_tables(
    engine: sa.Engine, tmp_path: Path
) -> None:
    declared: object
    found: object
    if engine.dialect.name == "sqlite":
        other = create_engine(f"sqlite:///{tmp_path}/declared.gpkg")
        with other.begin() as connection:
            metadata.create_all(connection)
        declared = _statements_of_sqlite(other)
        found = _statements_of_sqlite(engine)
    else:
        with engine.begin() as connection:
            connection.execute(sa.schema.CreateSchema("declared"))
            metadata.create_all(
                connection.execution_options(schema_translate_map={None: "declared"})
            )
        declared = _catalogue_of_postgres(engine, "declared")
        found = _catalogue_of_postgres(engine, "public")
    assert declared
    assert found == declared


def _statements_of_sqlite(engine: sa.Engine) -> dict[str, object]:
    """Every table and index of ours by the words that made it."""
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text(
                "SELECT name, type, sql FROM sqlite_master "
                "WHERE sql IS NOT NULL AND type IN ('table', 'index')"
            )
        )
        return {
            row.name: _parts_of_table(row.sql) if row.type == "table" else " ".join(row.sql.split())
            for row in rows
            if not row.name.startswith(("gpkg_", "sqlite_", "alembic_", INDEX_OF_GEOPACKAGE))
            and row.name not in GEOPACKAGE_TABLES
        }


def _parts_of_table(statement: str) -> tuple[set[str], set[str], str]:
    """Take a CREATE TABLE apart: its columns, its constraints, and what follows them.

    A column that is added stands behind the others, wherever it is declared, and before the
    constraints or behind them, as the release of SQLite has it.
    """
    head, _, rest = " ".join(statement.split()).partition("(")
    body, _, tail = rest.rpartition(")")
    items = [item.strip() for item in re.split(r",(?![^()]*\))", body)]
    constraints = {item for item in items if item.startswith("CONSTRAINT ")}
    return {item for item in items if item not in constraints}, constraints, head + tail


def _catalogue_of_postgres(engine: sa.Engine, schema: str) -> dict[str, set[tuple[Any, ...]]]:
    """Every column, constraint and index of ours as PostgreSQL tells it."""
    queries = {
        "columns": """
            SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
                   a.attnotnull, replace(pg_get_expr(d.adbin, d.adrelid), :schema || '.', '')
            FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
            WHERE c.relnamespace = CAST(:schema AS regnamespace) AND c.relkind = 'r'
              AND a.attnum > 0
        """,
        "constraints": """
            SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint
            WHERE connamespace = CAST(:schema AS regnamespace)
        """,
        "indexes": """
            SELECT indexname, replace(indexdef, :schema || '.', '') FROM pg_indexes
            WHERE schemaname = :schema
        """,
    }
    with engine.connect() as connection:
        return {
            name: {
                tuple(row)
                for row in connection.execute(sa.text(query), {"schema": schema})
                if not row[0].startswith(("alembic_", "spatial_ref_sys"))
            }
            for name, query in queries.items()
        }


def test_postgresql_keeps_the_tables_of_versions_as_declared(postgis_url: str) -> None:
    engine = create_engine(postgis_url)
    migrate(engine)
    options = sa.text("SELECT relname, reloptions FROM pg_class WHERE relkind = 'r'")
    with engine.connect() as connection:
        found = {row.relname: row.reloptions for row in connection.execute(options)}
    engine.dispose()
    declared = [f"{name}={value}" for name, value in VERSION_STORAGE.items()]
    assert [found[table.name] for table in VERSION_TABLES.values()] == [declared, declared]


def test_the_index_of_active_keys_is_partial_on_both_databases(engine: sa.Engine) -> None:
    (index,) = (
        index
        for index in sa.inspect(engine).get_indexes("ingestion_run")
        if index["name"] == "uq_ingestion_run_active_key"
    )
    assert index["unique"]
    assert index["column_names"] == ["idempotency_key"]
    where = str(index["dialect_options"][f"{engine.dialect.name}_where"])
    assert "PENDING" in where
    assert "RUNNING" in where
    assert "FAILED" not in where


def test_the_geometry_column_takes_any_kind_of_geometry_in_wgs84(engine: sa.Engine) -> None:
    columns = {
        "sqlite": """
            SELECT table_name, column_name, geometry_type_name, srs_id FROM gpkg_geometry_columns
        """,
        "postgresql": """
            SELECT f_table_name, f_geometry_column, type, srid FROM geometry_columns
        """,
    }[engine.dialect.name]
    layers = {table.name for table in VERSION_TABLES.values()}
    layers |= {layer for views in VIEWS.values() for layer in views.layers}
    layers |= {poi.name, PUBLIC_LAYER}
    with engine.connect() as connection:
        assert set(map(tuple, connection.execute(sa.text(columns)))) == {
            (layer, "geometry", "GEOMETRY", 4326) for layer in layers
        }


# Up, down, and up again


def test_down_to_base_leaves_nothing_of_ours_and_up_again_works(engine: sa.Engine) -> None:
    before = tables(engine)
    migrate(engine, "base")
    assert tables(engine) == {"alembic_version"}
    assert views(engine) == set()
    with engine.connect() as connection:
        assert current_revision(connection) is None
        if engine.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA application_id").scalar_one() == 0
    with pytest.raises(DatabaseNotMigrated):
        require_migrated(engine)
    migrate(engine)
    assert tables(engine) == before
    assert views(engine) == set(definitions())
    require_migrated(engine)


def test_migrating_again_changes_nothing(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE mine (number INTEGER)"))
    before = tables(engine)
    migrate(engine)
    migrate(engine, "0014")
    assert tables(engine) == before


HASHED_ANEW_BY_0005 = {"content_hash", "source_hash"}
ADDED_BY_0003 = {
    poi_ingestion_staging: {"name_source", *HASHED_ANEW_BY_0005},
    staged_partition: {"stale_reason", "accepted_reason", "warnings", "coverage"},
}
ADDED_SINCE_0001 = {
    ingestion_run: {"refetch", "cancel_requested_at"},
    staged_partition: {"inputs_digest", "stale_reason", "accepted_reason", "warnings", "coverage"},
}


def rows_without(engine: sa.Engine, added: dict[sa.Table, set[str]]) -> dict[str, list[Any]]:
    """Give what tables hold beside the columns that were added to them or made anew."""
    with engine.connect() as connection:
        return {
            table.name: sorted(
                map(
                    repr,
                    connection.execute(sa.select(*(c for c in table.columns if c.name not in new))),
                )
            )
            for table, new in added.items()
        }


def columns_and_indexes(engine: sa.Engine) -> dict[str, tuple[list[str], set[str | None]]]:
    look = sa.inspect(engine)
    return {
        table: (
            [column["name"] for column in look.get_columns(table)],
            {index["name"] for index in look.get_indexes(table)},
        )
        for table in tables(engine)
    }


def test_the_ledger_and_the_staged_days_come_through_the_second_migration_both_ways(
    empty: sa.Engine,
) -> None:
    migrate(empty, "0001")
    first = columns_and_indexes(empty)
    migrate(empty)
    stage(empty, "kazan", date(2026, 11, 19), {"node/1": "a"})
    claim_key(empty, "kazan", date(2026, 11, 20))
    rows = rows_without(empty, ADDED_SINCE_0001)
    assert [len(found) for found in rows.values()] == [2, 1]

    migrate(empty, "0001")
    assert columns_and_indexes(empty) == first
    assert rows_without(empty, ADDED_SINCE_0001) == rows
    with pytest.raises(DatabaseNotMigrated, match=r"at migration 0001 .* needs 0014"):
        require_migrated(empty)

    migrate(empty)
    assert rows_without(empty, ADDED_SINCE_0001) == rows
    with empty.connect() as connection:
        runs = connection.execute(sa.select(ingestion_run)).all()
        assert {(run.refetch, run.cancel_requested_at) for run in runs} == {(False, None)}
        # From what the rows were made is not known any more, so they are compared once again.
        assert connection.execute(sa.select(staged_partition.c.inputs_digest)).all() == [(None,)]
    stage(empty, "kazan", date(2026, 11, 19), {"node/1": "b"})
    with pytest.raises(sa.exc.IntegrityError), empty.begin() as connection:
        connection.execute(sa.update(ingestion_run).values(refetch=None))


def test_pois_and_the_ledger_come_through_the_third_migration_both_ways_and_helpers_go_as_a_whole(
    empty: sa.Engine,
) -> None:
    migrate(empty, "0002")
    second = columns_and_indexes(empty)
    assert views(empty) == set()
    migrate(empty)
    stage(empty, "kazan", date(2026, 11, 19), {"node/1": "a"})
    rows = rows_without(empty, ADDED_BY_0003)
    stage_helpers(empty, "kazan", date(2026, 11, 19), {"osm": {"node/2#toilets": "b"}})

    migrate(empty, "0002")
    assert columns_and_indexes(empty) == second
    assert views(empty) == set()
    assert rows_without(empty, ADDED_BY_0003) == rows, "no day is listed that has lost its rows"

    migrate(empty)
    assert rows_without(empty, ADDED_BY_0003) == rows
    assert views(empty) == set(definitions())
    with empty.connect() as connection:
        assert connection.execute(sa.select(poi_ingestion_staging.c.name_source)).all() == [(None,)]
    stage_helpers(empty, "kazan", date(2026, 11, 19), {"osm": {"node/2#toilets": "b"}})


def hashed(rows: pa.Table) -> pa.Table:
    """Give rows the hashes of what they say, in the place of invented ones."""
    return with_content_hash(with_source_hash(rows.drop_columns(["source_hash"])))


def rich_pois() -> pa.Table:
    """More POIs than are hashed at once, with values of every sort."""
    rows = poi_rows(
        {f"{kind}/{n}": f"кафе 'é' \\ {n}" for kind in ("node", "way") for n in range(2600)}
    )
    values = {
        "osm_version": [*range(5199), None],
        "osm_timestamp": [NOW] * 5199 + [None],
        "names": ['{"be":"\\"é\\"","ru":"кафе\\n"}'] * 5200,
        "area_m2": [None, 0.0, 12.25, 1e-5, *[0.1] * 5196],
        "opening_hours": ["Mo-Fr 08:00-20:00", None] * 2600,
    }
    for name, column in values.items():
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, pa.array(column, rows.field(name).type))
    return hashed(rows)


def hashes_in(engine: sa.Engine, table: sa.Table) -> dict[str, tuple[str, str]]:
    with engine.connect() as connection:
        found = connection.execute(
            sa.select(table.c.source_ref, table.c.content_hash, table.c.source_hash)
        )
        return {ref: (content, source) for ref, content, source in found}


def hashes_of(rows: pa.Table) -> dict[str, tuple[str, str]]:
    columns = [rows.column(each) for each in ("source_ref", "content_hash", "source_hash")]
    return {
        ref: (content, source)
        for ref, content, source in zip(*(c.to_pylist() for c in columns), strict=True)
    }


def hashes_until_0004(rows: pa.Table) -> dict[str, tuple[str, str]]:
    """Hash rows as it was done: by the text that Python writes of them."""
    values: dict[str, list[Any]] = {
        name: [
            int(each.timestamp()) * 1_000_000 if isinstance(each, datetime) else each
            for each in rows.column(name).to_pylist()
        ]
        for name in rows.column_names
    }
    content = [name for name in values if name not in ("source_ref", "source_hash", "content_hash")]

    def hashes(names: list[str]) -> list[str]:
        plain = zip(*(values[name] for name in names), strict=True)
        return [blake2b(ascii(row).encode(), digest_size=16).hexdigest() for row in plain]

    of_osm, of_feed = hashes(["osm_version", "tags", "geometry"]), hashes(["tags", "geometry"])
    said = [
        by_osm if kind else by_feed
        for kind, by_osm, by_feed in zip(values["osm_type"], of_osm, of_feed, strict=True)
    ]
    return dict(zip(values["source_ref"], zip(hashes(content), said, strict=True), strict=True))


def test_versions_are_hashed_anew_by_the_fifth_migration_both_ways(engine: sa.Engine) -> None:
    day = date(2026, 11, 19)
    pois = rich_pois()
    helpers = {
        source: hashed(helper_rows(of))
        for source, of in {"osm": {"node/2#toilets": "é"}, "city": {"17#toilets": "b"}}.items()
    }
    replace_slice(
        engine,
        slice_of("kazan", day),
        pois,
        rejections=(),
        evidence=evidence_of(day),
        claim=claim_key(engine, "kazan", day),
        now=NOW,
    )
    replace_slices(
        engine,
        [
            SliceInput(Slice("kazan", "helper", source, day), rows, [], evidence_of(day))
            for source, rows in helpers.items()
        ],
        claim=claim_key(engine, "kazan", day, job_type="helpers_import"),
        now=NOW,
    )
    places = pa.concat_tables(helpers.values())
    for revision, hashes in (("0004", hashes_until_0004), ("head", hashes_of)):
        migrate(engine, revision)
        assert hashes_in(engine, poi_ingestion_staging) == hashes(pois)
        assert hashes_in(engine, helper_place) == hashes(places)


def test_a_geopackage_lists_the_helper_places_and_the_views_while_it_has_them(
    tmp_path: Path,
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/staging.gpkg")
    layers = {layer for dataset in VIEWS.values() for layer in dataset.layers} | {"helper_place"}
    migrate(engine)
    stage(engine, "kazan", date(2026, 11, 19), {"node/1": "a"})
    for revision in ("head", "0002", "head"):
        migrate(engine, revision)
        with engine.connect() as connection:
            for listing in ("gpkg_contents", "gpkg_geometry_columns"):
                names = set(
                    connection.execute(sa.text(f"SELECT table_name FROM {listing}")).scalars()
                )
                assert names & layers == (layers if revision == "head" else set())
                assert "poi_ingestion_staging" in names
    with engine.connect() as connection:
        extents = connection.execute(
            sa.text(
                "SELECT min_x, min_y, max_x, max_y FROM gpkg_contents "
                "WHERE table_name LIKE 'poi_%staging%' AND srs_id IS NOT NULL"
            )
        ).all()
    assert [tuple(extent) for extent in extents] == [(0.001, 0.5, 0.001, 0.5)] * 3
    engine.dispose()


def test_what_others_have_built_on_a_view_is_left_alone_where_nothing_is_migrated(
    engine: sa.Engine,
) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE VIEW mine AS SELECT name FROM poi_staging_current"))
    migrate(engine)
    assert views(engine) == {*definitions(), "mine"}


def test_a_geopackage_lists_its_tables_without_geometry_until_the_ninth_migration(
    tmp_path: Path,
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/staging.gpkg")
    listed = sa.text("SELECT table_name FROM gpkg_contents WHERE data_type = 'attributes'")
    new = {"callback_message", "sensor_tick"}
    for revision in ("0006", "head", "0006", "0001", "head"):
        migrate(engine, revision)
        with engine.connect() as connection:
            names = set(connection.execute(listed).scalars())
        assert names & new == (new if revision == "0006" else set())
        if revision == "head":
            assert names == set()
        else:
            assert names >= {"ingestion_run", "staged_partition"}
    engine.dispose()


def test_the_ninth_migration_indexes_what_is_there_and_goes_without_a_trace(
    tmp_path: Path,
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/staging.gpkg")
    migrate(engine)
    stage(engine, "kazan", date(2026, 11, 19), {"node/1": "a", "way/3000": "b"})
    entries = sa.text("SELECT * FROM rtree_poi_ingestion_staging_geometry ORDER BY id")
    with engine.connect() as connection:
        before = connection.execute(entries).all()
    assert [tuple(map(int, entry[1:])) for entry in before] == [(0, 0, 0, 0), (3, 4, 0, 1)]
    migrate(engine, "0006")
    with engine.connect() as connection:
        names = connection.execute(sa.text("SELECT name FROM sqlite_master")).scalars().all()
    assert [name for name in names if "rtree" in name or name == "layer_styles"] == []
    assert "gpkg_extensions" not in names
    migrate(engine)
    with engine.connect() as connection:
        assert connection.execute(entries).all() == before
    engine.dispose()


def test_many_that_migrate_at_once_all_find_it_done(empty: sa.Engine) -> None:
    start = threading.Barrier(4)
    errors: list[BaseException] = []

    def one() -> None:
        start.wait()
        try:
            migrate(empty)
        except BaseException as error:  # noqa: BLE001 - the test judges it
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    require_migrated(empty)


def test_a_migration_that_fails_leaves_nothing_half_done(empty: sa.Engine) -> None:
    # The name of the last table that is made is taken: everything before it was made by then.
    with empty.begin() as connection:
        connection.execute(sa.text("CREATE TABLE ingestion_run (mine INTEGER)"))
    with pytest.raises(sa.exc.DBAPIError, match="ingestion_run"):
        migrate(empty)
    assert tables(empty) == {"ingestion_run"}
    if empty.dialect.name == "sqlite":
        with empty.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA application_id").scalar_one() == 0
    with empty.begin() as connection:
        connection.execute(sa.text("DROP TABLE ingestion_run"))
    migrate(empty)
    require_migrated(empty)


def test_a_geopackage_is_made_in_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/new/folder/staging.gpkg")
    migrate(engine)
    assert (tmp_path / "new/folder/staging.gpkg").exists()


# A database at another level


def test_an_empty_database_is_refused_with_the_command_that_migrates_it(empty: sa.Engine) -> None:
    with pytest.raises(DatabaseNotMigrated, match=r"at migration none .* 'poi-ingest migrate'"):
        require_migrated(empty)


def test_looking_for_a_geopackage_does_not_make_one(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/staging.gpkg")
    with pytest.raises(DatabaseNotMigrated, match="poi-ingest migrate"):
        require_migrated(engine)
    assert list(tmp_path.iterdir()) == []


def test_a_database_at_another_migration_is_refused_with_both_levels(engine: sa.Engine) -> None:
    set_revision(engine, "0012")
    with pytest.raises(
        DatabaseNotMigrated, match=r"at migration 0012 .* needs 0014\. Run 'poi-ingest migrate'"
    ):
        require_migrated(engine)


def test_what_an_extract_covered_is_kept_from_the_sixth_migration_on(engine: sa.Engine) -> None:
    day = date(2026, 11, 19)
    stage(engine, "kazan", day, {"node/1": "a"})
    without = rows_without(engine, {staged_partition: {"coverage"}})
    migrate(engine, "0005")
    assert rows_without(engine, {staged_partition: {"coverage"}}) == without
    assert "coverage" not in columns_and_indexes(engine)["staged_partition"][0]
    migrate(engine)
    assert rows_without(engine, {staged_partition: {"coverage"}}) == without
    with engine.begin() as connection:
        assert connection.execute(sa.select(staged_partition.c.coverage)).all() == [(None,)]
        by_header = {"how": "header", "share": 1.0}
        connection.execute(sa.update(staged_partition).values(coverage=by_header))
        assert connection.execute(sa.select(staged_partition.c.coverage)).all() == [(by_header,)]


def test_pois_need_no_object_of_osm_from_the_seventh_migration_on(engine: sa.Engine) -> None:
    days = [date(2026, 11, day) for day in (18, 19, 20)]
    of_osm = {"node/1": "a", "node/2": "b"}
    stage(engine, "kazan", days[0], of_osm)
    before = rows_without(engine, {poi_ingestion_staging: set(), staged_partition: set()})
    migrate(engine, "0006")
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.update(poi_ingestion_staging).values(osm_type=None, osm_id=None))
    migrate(engine)
    found = rows_without(engine, {poi_ingestion_staging: set(), staged_partition: set()})
    assert found == before, "rows keep their hashes"

    stage(engine, "kazan", days[1], {**of_osm, "places/1": "c"})
    stage(engine, "kazan", days[2], of_osm)
    stage(engine, "omsk", days[1], {"places/1": "c"})
    select = sa.select(poi_ingestion_staging.c.source_ref, poi_ingestion_staging.c.city_slug)
    other = poi_ingestion_staging.c.osm_id.is_(None)
    with engine.connect() as connection:
        assert sorted(connection.execute(select.where(other)).all()) == [
            ("places/1", "kazan"),
            ("places/1", "omsk"),
        ]

        if engine.dialect.name == "sqlite":
            # It also reports a null where the declaration allows none.
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"

    migrate(engine, "0006")
    staged = sa.select(staged_partition.c.city_slug, staged_partition.c.day)
    with engine.connect() as connection:
        refs = {ref for ref, _ in connection.execute(select)}
        assert sorted(connection.execute(staged).all()) == [("kazan", days[0]), ("kazan", days[2])]
    assert refs == set(of_osm), "no day is listed that has lost its rows"
    migrate(engine)
    stage(engine, "omsk", days[1], {"places/1": "c"})


def test_the_tables_of_promotion_come_and_go_and_staging_stays(engine: sa.Engine) -> None:
    new = {"promotion", "poi", "poi_event", "poi_identity", "poi_override"}
    stage(engine, "kazan", date(2026, 11, 19), {"node/1": "a"})
    staged = rows_without(engine, {poi_ingestion_staging: set(), staged_partition: set()})
    promote(engine, "kazan", date(2026, 11, 19))
    assert len(public_rows(engine, "kazan")) == 1
    migrate(engine, "0006")
    assert tables(engine) & new == set()
    assert rows_without(engine, {poi_ingestion_staging: set(), staged_partition: set()}) == staged
    with engine.begin() as connection:
        jobs = connection.execute(sa.select(ingestion_run.c.job_type)).scalars().all()
    assert jobs == ["osm_import"]
    migrate(engine)
    assert tables(engine) >= new
    assert public_rows(engine, "kazan") == []
    promote(engine, "kazan", date(2026, 11, 19))
    assert len(public_rows(engine, "kazan")) == 1


def test_a_database_that_is_ahead_is_not_migrated_by_an_older_version(engine: sa.Engine) -> None:
    set_revision(engine, "9999")
    with write_transaction(engine) as connection:
        set_oldest_code(connection, "9999")
    before = tables(engine)
    for revision in ("head", "0001"):
        with pytest.raises(
            DatabaseNotMigrated,
            match=r"from 9999 .*known migrations: 0001, 0002, .* 0010, 0011, 0012, 0013, 0014",
        ):
            migrate(engine, revision)
    with pytest.raises(DatabaseNotMigrated, match="at migration 9999"):
        require_migrated(engine)
    assert tables(engine) == before


def test_a_migration_that_does_not_exist_is_refused_with_those_that_do(empty: sa.Engine) -> None:
    with pytest.raises(
        DatabaseNotMigrated,
        match=r"'no-such'.*migrations: 0001, 0002, .* 0009, 0010, 0011, 0012, 0013, 0014",
    ):
        migrate(empty, "no-such")
    assert tables(empty) == set()


# Which databases there are


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:secret@host/database",
        "sqlite://",
        "sqlite:///:memory:",
        "not a url: secret",
        "",
    ],
)
def test_another_kind_of_database_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(UnsupportedDatabase) as refused:
        create_engine(url)
    assert "postgresql://" in str(refused.value)
    assert "sqlite:///" in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_any_spelling_of_postgresql_uses_the_driver_that_is_installed(scheme: str) -> None:
    engine = create_engine(f"{scheme}://user@host/database")
    assert engine.dialect.driver == "psycopg"


@pytest.mark.parametrize("work", [migrate, require_migrated])
def test_a_server_that_does_not_answer_is_named_without_its_password(work: Any) -> None:
    engine = create_engine(
        "postgresql://user:topsecret@127.0.0.1:1/database?password=topsecret&sslmode=disable"
    )
    with pytest.raises(DatabaseUnavailable) as refused:
        work(engine)
    assert refused.value.should_retry
    assert "127.0.0.1:1/database does not answer" in str(refused.value)
    assert "Check DATABASE_URL" in str(refused.value)
    assert "topsecret" not in str(refused.value)
    assert "topsecret" not in describe(engine)


def test_a_wrong_statement_is_not_mistaken_for_a_database_that_is_away(engine: sa.Engine) -> None:
    for transaction in (read_transaction, write_transaction):
        with pytest.raises(sa.exc.DBAPIError), transaction(engine) as connection:
            connection.execute(sa.text("SELECT no_such_column FROM poi_ingestion_staging"))


def test_what_is_stored_does_not_stand_in_the_message_of_a_database_error(
    engine: sa.Engine,
) -> None:
    with pytest.raises(sa.exc.IntegrityError) as refused, engine.begin() as connection:
        connection.execute(sa.insert(poi_ingestion_staging).values(name="+7 843 000-00-00"))
    assert "parameters hidden" in str(refused.value)


def test_a_read_sees_one_state_of_the_database(postgis_url: str) -> None:
    # A GeoPackage cannot even be written while it is read.
    engine = create_engine(postgis_url)
    migrate(engine)
    runs = sa.select(sa.func.count()).select_from(metadata.tables["ingestion_run"])
    with read_transaction(engine) as reader:
        assert reader.execute(runs).scalar_one() == 0
        claim_key(engine, "kazan", date(2026, 11, 20))
        assert reader.execute(runs).scalar_one() == 0
    with read_transaction(engine) as reader:
        assert reader.execute(runs).scalar_one() == 1
    engine.dispose()
