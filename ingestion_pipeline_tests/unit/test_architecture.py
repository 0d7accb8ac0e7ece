"""The rules of the architecture: which package may import which, and what every module has."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from packaging.requirements import Requirement

import ingestion_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(ingestion_pipeline.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
PLAIN_MODULES = [path for path in MODULES if path.name != "__init__.py"]

LAYERS = (
    {"core"},
    {"columns", "geometry", "text"},
    {"osm", "helpers", "quality", "lake", "staging"},
    {"config"},
    {"datasets"},
    {"promotion", "sources"},
    {"plan", "export"},
    {"maps"},
    {"dagster_runtime"},
    {"defs", "admin_api"},
    {"definitions"},
    {"cli"},
    {"__main__"},
)
"""The packages, from the bottom up: each may import what is below it, and itself."""

HEAVY = {
    "ada_url",
    "alembic",
    "anyascii",
    "ftfy",
    "geopandas",
    "httpx",
    "jmespath",
    "langcodes",
    "matplotlib",
    "msgspec",
    "numpy",
    "osmium",
    "pandas",
    "phonenumbers",
    "psycopg",
    "pyarrow",
    "pyogrio",
    "pypinyin",
    "pyproj",
    "rapidfuzz",
    "regex",
    "scipy",
    "shapely",
}
"""What takes long to import and is needed by a run only; Dagster itself loads none of it."""


class Import(NamedTuple):
    """One import of a module, wherever in its file it stands."""

    module: str
    level: int
    at_the_top: bool


def names(path: Path) -> str:
    return path.relative_to(PACKAGE.parent).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[Import]:
    """Every import: at the top, in functions, and for the type checker."""
    tree = tree_of(path)
    for node in ast.walk(tree):
        top = node in tree.body
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, 0, top)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield Import(module, node.level, top)
            for alias in node.names:
                yield Import(f"{module}.{alias.name}", node.level, top)


def imported_parts(path: Path) -> set[str]:
    """What of the package a module imports, by the first name below the package."""
    return {
        found.module.split(".")[1]
        for found in imports(path)
        if found.module.startswith("ingestion_pipeline.")
    }


def room_of(path: Path) -> str:
    """The folder below the package that a module stands in, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def standing(*rooms: str) -> list[Path]:
    return [path for path in MODULES if room_of(path) in rooms]


def standing_elsewhere_than(*rooms: str) -> list[Path]:
    return [path for path in MODULES if room_of(path) not in rooms]


def dagster_imports(path: Path) -> list[Import]:
    return [found for found in imports(path) if found.module.startswith("dagster")]


@pytest.mark.parametrize(
    ("folder", "not_imported"),
    [
        ("ingestion_pipeline", {"testbed", "benchmarks", "ingestion_pipeline_tests"}),
        ("migrations", {"testbed", "benchmarks", "ingestion_pipeline_tests"}),
        ("testbed", {"benchmarks", "ingestion_pipeline_tests"}),
        ("benchmarks", {"ingestion_pipeline_tests"}),
        ("scripts", {"testbed", "benchmarks", "ingestion_pipeline_tests"}),
    ],
)
def test_what_tests_import_does_not_import_them(folder: str, not_imported: set[str]) -> None:
    for path in sorted((PACKAGE.parent / folder).rglob("*.py")):
        assert not {found.module.split(".")[0] for found in imports(path)} & not_imported, path


def test_every_package_has_its_layer() -> None:
    layers = [room for layer in LAYERS for room in layer]
    assert sorted(layers) == sorted({room_of(path) for path in MODULES} - {"__init__"})


@pytest.mark.parametrize(
    "path", standing_elsewhere_than("defs", "dagster_runtime", "definitions", "cli"), ids=names
)
def test_only_the_orchestration_imports_dagster(path: Path) -> None:
    assert dagster_imports(path) == []


@pytest.mark.parametrize("path", standing_elsewhere_than("dagster_runtime"), ids=names)
def test_only_the_runtime_uses_what_dagster_keeps_private(path: Path) -> None:
    private = re.compile(r"dagster\w*(\.\w+)*\._")
    assert [found.module for found in imports(path) if private.match(found.module)] == []
    texts = [node.value for node in ast.walk(tree_of(path)) if isinstance(node, ast.Constant)]
    assert [text for text in texts if isinstance(text, str) and private.match(text)] == []


@pytest.mark.parametrize("path", standing("defs", "definitions"), ids=names)
def test_the_definitions_use_no_private_attribute_of_another_object(path: Path) -> None:
    attributes = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)]
    private = [each for each in attributes if re.match(r"_[^_]", each.attr)]
    foreign = [
        each.attr
        for each in private
        if not (isinstance(each.value, ast.Name) and each.value.id in {"self", "cls"})
    ]
    assert foreign == []


def test_dagster_is_of_the_minor_release_that_the_private_names_were_tested_with() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    bounds = {each.name: each.specifier for each in map(Requirement, lines)}
    # The libraries have 0.x releases beside Dagster's 1.x, with one number between the two.
    for name, minor in {
        "dagster": "1.13",
        "dagster-webserver": "1.13",
        "dagster-graphql": "1.13",
        "dagster-dg-cli": "1.13",
        "dagster-postgres": "0.29",
    }.items():
        number, _, last = minor.rpartition(".")
        assert bounds[name].contains(version(name)), name
        assert not bounds[name].contains(f"{number}.{int(last) - 1}.99"), name
        assert not bounds[name].contains(f"{number}.{int(last) + 1}.0"), name


@pytest.mark.parametrize("path", standing("cli"), ids=names)
def test_the_command_line_imports_dagster_only_in_functions(path: Path) -> None:
    assert not any(found.at_the_top for found in dagster_imports(path))


@pytest.mark.parametrize("path", MODULES, ids=names)
def test_only_the_command_line_and_the_assembly_import_the_orchestration(path: Path) -> None:
    allowed = {
        "definitions": {"defs"},
        "defs": {"defs"},
        "dagster_runtime": {"definitions"},
        "cli": {"cli", "defs", "definitions"},
        "__main__": {"cli"},
    }
    assert imported_parts(path) & {"defs", "definitions", "cli"} <= allowed.get(
        room_of(path), set()
    )


@pytest.mark.parametrize("path", standing_elsewhere_than("admin_api", "cli"), ids=names)
def test_only_the_command_line_imports_the_admin_api(path: Path) -> None:
    assert "admin_api" not in imported_parts(path)


@pytest.mark.parametrize("path", MODULES, ids=names)
def test_a_package_imports_only_what_is_below_it(path: Path) -> None:
    own = room_of(path)
    allowed = {own, "__init__"}
    for layer in LAYERS:
        if own in layer:
            break
        allowed |= layer
    assert imported_parts(path) <= allowed


def test_the_root_holds_few_modules() -> None:
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    assert len(modules - {"__init__", "__main__", "definitions"}) <= 3


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.name != "settings.py"], ids=names
)
def test_only_the_settings_read_the_environment(path: Path) -> None:
    reads = {"environ", "environb", "getenv", "getenvb"}
    used = {node.attr for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)}
    assert not used & reads
    assert not {found.module for found in imports(path)} & {f"os.{name}" for name in reads}


@pytest.mark.parametrize("path", MODULES, ids=names)
def test_imports_are_absolute(path: Path) -> None:
    assert [found for found in imports(path) if found.level] == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=names)
def test_a_package_holds_a_docstring_and_nothing_else(path: Path) -> None:
    tree = tree_of(path)
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


@pytest.mark.parametrize("path", PLAIN_MODULES, ids=names)
def test_a_module_has_a_docstring(path: Path) -> None:
    assert ast.get_docstring(tree_of(path))


@pytest.mark.parametrize("path", sorted((PACKAGE / "defs").rglob("*.py")), ids=names)
def test_annotations_that_dagster_reads_are_not_put_off(path: Path) -> None:
    assert "__future__" not in {found.module for found in imports(path)}


@pytest.mark.process
def test_the_definitions_load_nothing_that_only_a_run_needs() -> None:
    loaded = _loaded_by("import ingestion_pipeline.definitions")
    assert "dagster" in loaded
    assert sorted(HEAVY & loaded) == []


@pytest.mark.process
def test_dagster_itself_loads_none_of_it_either() -> None:
    # Otherwise the test above would ask the impossible of the definitions.
    assert sorted(HEAVY & _loaded_by("import dagster")) == []


@pytest.mark.process
def test_the_admin_api_starts_without_dagster_and_without_what_only_a_run_needs() -> None:
    loaded = _loaded_by("import ingestion_pipeline.admin_api.app")
    assert "fastapi" in loaded
    assert sorted((HEAVY | {"dagster"}) & loaded) == []


@pytest.mark.process
def test_the_command_line_starts_without_dagster() -> None:
    loaded = _loaded_by("import ingestion_pipeline.cli.main")
    assert sorted((HEAVY | {"dagster"}) & loaded) == []


@pytest.mark.process
@pytest.mark.parametrize("arguments", [["--help"], ["export", "--help"], ["error", "key_held"]])
def test_commands_that_need_no_database_start_without_its_library(arguments: list[str]) -> None:
    loaded = _loaded_by(
        "from ingestion_pipeline.cli.main import main;"
        "from click.testing import CliRunner;"
        f"assert CliRunner().invoke(main, {arguments}).exit_code == 0"
    )
    assert sorted((HEAVY | {"dagster", "sqlalchemy"}) & loaded) == []


def _loaded_by(statement: str) -> set[str]:
    """Name the packages that a fresh process has loaded after a statement."""
    script = f"{statement}; import json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    modules: list[str] = json.loads(done.stdout)
    return {module.split(".")[0] for module in modules}
