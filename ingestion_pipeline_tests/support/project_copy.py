"""A copy of the project, in which the recipes of CONTRIBUTING.md can be carried out.

Belongs here: making it, following a recipe, and running its code. Does not belong here:
expectations.
"""

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

import sqlalchemy as sa

from ingestion_pipeline.config.settings import Settings
from testbed.towns import NOON, TOWN, in_a_row, write_cities, write_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
DAY = str(NOON.date())


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


def copy_of_project(folder: Path) -> Copy:
    """Copy the files that git has or would add into a folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return Copy(folder)
