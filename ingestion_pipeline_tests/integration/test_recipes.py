"""The recipes of CONTRIBUTING.md, carried out in a copy of the project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ingestion_pipeline_tests.support.project_copy import ROOT, Copy, copy_of_project

if TYPE_CHECKING:
    from pathlib import Path

MIGRATIONS = "ingestion_pipeline_tests/staging/test_migrations.py"
TOY_DATASET = ROOT / "ingestion_pipeline_tests" / "support" / "toy_dataset.py"
TOY_SOURCE = ROOT / "ingestion_pipeline_tests" / "support" / "toy_source.py"

pytestmark = pytest.mark.process


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """A copy of the project."""
    return copy_of_project(tmp_path)


def test_a_helper_kind_is_added_to_one_table(copy: Copy) -> None:
    touched = copy.follow("Add a helper kind")
    assert len([path for path in touched if path.startswith("ingestion_pipeline/")]) == 1
    copy.succeed("scripts/build_helper_kinds.py")
    copy.test("ingestion_pipeline_tests/unit/helpers", "ingestion_pipeline_tests/unit/test_docs.py")
    staged = copy.stage({1: {"emergency": "lifeguard"}}, "--job", "helpers_import")
    assert staged.returncode == 0, staged.stderr
    assert copy.select("SELECT kind, source_ref FROM helper_place") == [
        ("lifeguard", "node/1#lifeguard")
    ]


def test_a_column_of_pois_is_added_in_four_files(copy: Copy) -> None:
    touched = copy.follow("Add a column of POIs")
    assert len(touched) <= 4
    copy.test(
        f"{MIGRATIONS}::test_the_migrations_make_the_declared_tables",
        f"{MIGRATIONS}::test_down_to_base_leaves_nothing_of_ours_and_up_again_works",
        "ingestion_pipeline_tests/unit/osm/test_normalize.py",
        "ingestion_pipeline_tests/unit/test_docs.py",
    )
    nodes = {
        1: {"amenity": "cafe", "name": "Sun", "brand": "Stars"},
        2: {"amenity": "cafe", "name": "Moon"},
    }
    staged = copy.stage(nodes)
    assert staged.returncode == 0, staged.stderr
    query = "SELECT name, brand FROM poi_staging_current ORDER BY name"
    assert copy.select(query) == [("Moon", None), ("Sun", "Stars")]


def test_a_source_is_one_file_and_an_entry_of_the_list(copy: Copy) -> None:
    toy = copy.folder / "ingestion_pipeline" / "sources" / "toy.py"
    toy.write_text(TOY_SOURCE.read_text(encoding="utf-8"), encoding="utf-8")
    assert copy.follow("Add a source") == {"ingestion_pipeline/config/sources.py"}
    copy.succeed("scripts/build_cities_schema.py")
    copy.test("ingestion_pipeline_tests/unit/datasets/test_code_digest.py")
    staged = copy.stage({1: {"amenity": "bar"}}, OSM_SOURCE="toy")
    assert staged.returncode == 0, staged.stderr
    query = "SELECT name, source_ref, osm_id FROM poi_staging_current ORDER BY name"
    assert copy.select(query) == [("North", "places/0", None), ("South", "places/1", None)]


def test_a_dataset_is_one_file_and_a_line_of_the_registry(copy: Copy) -> None:
    bench = copy.folder / "ingestion_pipeline" / "datasets" / "bench.py"
    bench.write_text(TOY_DATASET.read_text(encoding="utf-8") + "\n\ndeclare()\n", encoding="utf-8")
    assert copy.follow("Add a dataset") == {"ingestion_pipeline/datasets/registry.py"}
    last = copy.last_migration()
    migration = copy.folder / "migrations" / "versions" / f"{int(last) + 1:04}_add_benches.py"
    migration.write_text(MIGRATION_OF_BENCHES.replace("<last>", last), encoding="utf-8")
    nodes = {1: {"amenity": "bench", "material": "wood"}, 2: {"amenity": "cafe"}}
    staged = copy.stage(nodes, "--job", "benches_import")
    assert staged.returncode == 0, staged.stderr
    assert copy.select("SELECT material, source_ref FROM bench_current") == [("wood", "node/1")]


MIGRATION_OF_BENCHES = '''"""Add benches."""

from alembic import op

from ingestion_pipeline.staging.tables import VERSION_TABLES

revision = "next"
down_revision = "<last>"
oldest_code = "<last>"


def upgrade() -> None:
    VERSION_TABLES["bench"].create(op.get_bind())
    op.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) "
        "VALUES ('bench', 'features', 'bench', 4326)"
    )
    op.execute(
        "INSERT INTO gpkg_geometry_columns VALUES ('bench', 'geometry', 'GEOMETRY', 4326, 0, 0)"
    )
'''


def test_a_check_is_added_and_stops_a_day(copy: Copy) -> None:
    copy.follow("Add a check")
    copy.test(
        "ingestion_pipeline_tests/unit/quality",
        "ingestion_pipeline_tests/unit/test_docs.py",
    )
    stopped = copy.stage({1: {"amenity": "cafe", "name": "x" * 256}})
    assert stopped.returncode != 0
    assert "name_length" in stopped.stdout + stopped.stderr
