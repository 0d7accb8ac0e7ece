"""What is published: a wheel and a source distribution, used outside of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest
import sqlalchemy as sa

from ingestion_pipeline.config.settings import Settings
from ingestion_pipeline.staging.database import create_engine
from ingestion_pipeline.staging.tables import helper_place, poi_ingestion_staging
from testbed.towns import NOON, TOWN, write_cities, write_extract

ROOT = Path(__file__).parents[2]
DAY = NOON.date()
CAFES = {1: "Sun", 2: "Moon", 3: "Star"}
MIGRATIONS = "ingestion_pipeline/migrations"
"""Where the wheel has the folder `migrations` of the checkout."""

pytestmark = pytest.mark.process


class Built(NamedTuple):
    """Both distributions, and the files of the checkout that they were built from."""

    wheel: Path
    sdist: Path
    source: frozenset[str]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build both from a copy of the files that git has or would add, with no network."""
    copy = tmp_path_factory.mktemp("checkout")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    source = frozenset(name for name in listed.split("\0") if name and (ROOT / name).is_file())
    for name in source:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), cwd=copy)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return Built(wheel, sdist, source)


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command as a user does who has none of the tests' settings; return its output."""
    ours = {name.upper() for name in Settings.model_fields} | {"PYTHONPATH"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        command, cwd=cwd, env=inherited | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_index_would_take_both(built: Built, tmp_path: Path) -> None:
    told = run(
        *(sys.executable, "-m", "twine", "check", "--strict", built.wheel, built.sdist),
        cwd=tmp_path,
        NO_COLOR="1",
    )
    assert told.count("PASSED") == 2, told


def test_the_source_distribution_holds_what_git_holds(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        members = [PurePosixPath(each.name) for each in archive.getmembers() if each.isfile()]
    names = {str(PurePosixPath(*path.parts[1:])) for path in members}
    generated = {name for name in names if ".egg-info/" in name} | {"PKG-INFO", "setup.cfg"}
    assert names - generated == built.source


def test_the_wheel_holds_every_module_and_all_data_of_the_package(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = {name for name in built.source if name.startswith("ingestion_pipeline/")}
    migrations = {
        f"ingestion_pipeline/{name}" for name in built.source if name.startswith("migrations/")
    }
    assert package | migrations <= names
    assert {name for name in names - package - migrations if name.endswith(".py")} == set()


def test_the_wheel_stages_a_city_outside_of_the_checkout(built: Built, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=tmp_path)
    python = venv / "bin" / "python"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
        *("--no-deps", "--no-index", built.wheel),
        cwd=tmp_path,
    )
    # What it depends on is that of the tests. The tests' own .pth files, one of which leads to the
    # checkout, have no effect in a folder that is named by a .pth file.
    folder = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=venv)
    tests_own = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(folder.strip()) / "dependencies.pth").write_text("\n".join(tests_own))
    found = run(
        python, "-c", "import ingestion_pipeline; print(ingestion_pipeline.__file__)", cwd=tmp_path
    )
    assert Path(found.strip()).is_relative_to(venv)
    program = (
        "from ingestion_pipeline.core.manual import columns_of as of; print(*of('helper_place'))"
    )
    assert run(python, "-c", program, cwd=tmp_path).split() == helper_place.columns.keys()

    settings = {
        "DATA_DIR": str(tmp_path / "data"),
        "STATE_DIR": str(tmp_path / "state"),
        "DAGSTER_HOME": str(tmp_path / "dagster_home"),
        "CITIES_FILE": str(write_cities(tmp_path / "cities.toml", [TOWN])),
        "OSM_SOURCE": "extract",
        "OSM_EXTRACT": str(write_extract(tmp_path / "town.osm.pbf", CAFES)),
        "DATABASE_URL": f"sqlite:///{tmp_path}/staging.gpkg",
    }
    command = venv / "bin" / "poi-ingest"
    run(command, "migrate", cwd=tmp_path, **settings)
    run(command, "run", "--city", "town", "--day", str(DAY), cwd=tmp_path, **settings)
    engine = create_engine(settings["DATABASE_URL"])
    with engine.connect() as connection:
        staged = connection.execute(sa.select(poi_ingestion_staging.c.name)).scalars().all()
    engine.dispose()
    assert sorted(staged) == sorted(CAFES.values())
    # The sample and the page of maps are data of the package.
    settings |= {"CITIES_FILE": "", "OSM_EXTRACT": ""}
    of_sample = ("--city", "monaco", "--day", "2023-12-26")
    run(command, "run", *of_sample, cwd=tmp_path, **settings)
    told = run(command, "map", *of_sample, cwd=tmp_path, **settings)
    assert told.splitlines()[-1] == "monaco-2023-12-26.html"
    assert (tmp_path / "monaco-2023-12-26.html").stat().st_size > 1_000_000
