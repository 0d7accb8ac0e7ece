"""What is built holds the whole package; the building itself is tested in `integration/`."""

from __future__ import annotations

import tomllib
from pathlib import Path

import ingestion_pipeline

ROOT = Path(__file__).parents[2]
PACKAGE = Path(ingestion_pipeline.__file__).parent
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]


def test_every_folder_with_modules_is_listed_as_a_package_and_no_other_is() -> None:
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("*.py")}
    for name, folder in SETUPTOOLS["package-dir"].items():
        folders |= {
            ".".join((name, *path.parent.relative_to(ROOT / folder).parts))
            for path in (ROOT / folder).rglob("*.py")
        } or {name}
    assert sorted(SETUPTOOLS["packages"]) == sorted(folders)


def test_every_other_file_of_the_package_is_listed_as_its_data() -> None:
    data = {
        path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert data
    for pattern in SETUPTOOLS["package-data"]["ingestion_pipeline"]:
        data -= set(PACKAGE.glob(pattern))
    assert data == set()
