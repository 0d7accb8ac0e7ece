"""The recipes of CONTRIBUTING.md, carried out in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from ingestion_pipeline.config.settings import Settings
from testbed.towns import NOON, TOWN, in_a_row, write_cities, write_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
MIGRATIONS = "ingestion_pipeline_tests/staging/test_migrations.py"
TOY_DATASET = ROOT / "ingestion_pipeline_tests" / "support" / "toy_dataset.py"
TOY_SOURCE = ROOT / "ingestion_pipeline_tests" / "support" / "toy_source.py"
DAY = str(NOON.date())

pytestmark = pytest.mark.process


@dataclass(frozen=True)
class Edit:
    """A block of a recipe: lines of a file that become others, or a new file (`old` is empty)."""

    path: str
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True)
class Copy:
    """A copy of the project, and what is done in it."""

    folder: Path

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the copy's Python code, with none of the tests' settings."""
        ours = {name.upper() for name in Settings.model_fields}
        inherited = {name: value for name, value in os.environ.items() if name not in ours}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=inherited | {"PYTHONPATH": str(self.folder)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def succeed(self, *arguments: str, **environment: str) -> None:
        """Run it; it must succeed."""
        done = self.run(*arguments, **environment)
        assert done.returncode == 0, f"{arguments}:\n{done.stdout}\n{done.stderr}"

    def test(self, *tests: str) -> None:
        """Run some of its tests."""
        self.succeed("-m", "pytest", "-n0", "-p", "no:cacheprovider", "-m", "not slow", *tests)

    def follow(self, heading: str) -> set[str]:
        """Make the edits of a recipe; return the files that it touches."""
        edits = list(edits_of(heading))
        last = self.last_migration()
        numbers = {"<last>": last, "<next>": f"{int(last) + 1:04}"}
        for edit in edits:
            self._make(edit, numbers)
        return {edit.path for edit in edits}

    def last_migration(self) -> str:
        """Return the number of the newest migration."""
        folder = self.folder / "migrations" / "versions"
        return max(path.name[:4] for path in folder.glob("[0-9]*.py"))

    def _make(self, edit: Edit, numbers: Mapping[str, str]) -> None:
        path, text = edit.path, "\n".join(edit.new) + "\n"
        for name, number in numbers.items():
            path, text = path.replace(name, number), text.replace(name, number)
        target = self.folder / path
        if not edit.old:
            assert not target.exists(), path
            target.write_text(text, encoding="utf-8")
            return
        lines = target.read_text(encoding="utf-8").splitlines()
        count = len(edit.old)
        (start,) = (
            place
            for place in range(len(lines))
            if len(lines) - place >= count
            and all(map(_is_line, lines[place : place + count], edit.old))
        )
        # A line that is cut short in the recipe stays as it is.
        kept = dict(zip(edit.old, lines[start : start + count], strict=True))
        lines[start : start + count] = [kept.get(line, line) for line in edit.new]
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def stage(
        self, nodes: Mapping[int, Mapping[str, str]], *job: str, **others: str
    ) -> subprocess.CompletedProcess[str]:
        """Stage a day of an invented town with the command line."""
        data = self.folder / "data"
        settings = {
            "DATA_DIR": str(data),
            "STATE_DIR": str(data / "state"),
            "DAGSTER_HOME": str(data / "dagster_home"),
            "CITIES_FILE": str(write_cities(data / "cities.toml", [TOWN])),
            "OSM_SOURCE": "extract",
            "OSM_EXTRACT": str(write_nodes(data / "town.osm.pbf", in_a_row(nodes))),
            "DATABASE_URL": f"sqlite:///{data}/staging.gpkg",
            **others,
        }
        self.succeed("-m", "ingestion_pipeline", "migrate", **settings)
        return self.run(
            *("-m", "ingestion_pipeline", "run", "--city", "town", "--day", DAY, *job), **settings
        )

    def select(self, query: str) -> list[tuple[object, ...]]:
        """Ask the database in which a day was staged."""
        engine = sa.create_engine(f"sqlite:///{self.folder}/data/staging.gpkg")
        with engine.connect() as connection:
            rows = [tuple(row) for row in connection.exec_driver_sql(query)]
        engine.dispose()
        return rows


def edits_of(heading: str) -> Iterator[Edit]:
    """Read the edits of a recipe, each of the file that was named last before it."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    recipe = re.split(r"^##.* ", text.split(f"### {heading}\n")[1], flags=re.MULTILINE)[0]
    path = None
    for step in re.finditer(
        r"^\d\. `([^`]+\.\w+)`|^ *```(diff|python)\n(.*?)^ *```$", recipe, re.MULTILINE | re.DOTALL
    ):
        if step[1]:
            path = step[1]
            continue
        assert path is not None, step[3]
        lines = textwrap.dedent(_indented(step[3])).splitlines()
        if step[2] == "python":
            yield Edit(path, (), tuple(lines))
        else:
            yield Edit(
                path,
                tuple(line[1:] for line in lines if not line.startswith("+")),
                tuple(line[1:] for line in lines if not line.startswith("-")),
            )


def _indented(block: str) -> str:
    """Take the indent of a list's item off each line."""
    return "\n".join(line.removeprefix("   ") for line in block.splitlines())


def _is_line(line: str, said: str) -> bool:
    return line.startswith(said.removesuffix("...")) if said.endswith("...") else line == said


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """A copy of the files that git has or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    return Copy(tmp_path)


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
