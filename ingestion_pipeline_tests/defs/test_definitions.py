"""What Dagster is told of the project, and what loading that costs."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from ingestion_pipeline import definitions as module
from ingestion_pipeline.config.settings import Settings
from ingestion_pipeline.datasets.poi import POI
from ingestion_pipeline.definitions import build_definitions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ingestion_pipeline_tests.support.installation import Installation

HEAVY = {
    "alembic",
    "fsspec",
    "geopandas",
    "httpx",
    "matplotlib",
    "msgspec",
    "opening_hours",
    "osmium",
    "pandas",
    "PIL",
    "psycopg",
    "pyarrow",
    "pyproj",
    "shapely",
}
"""Packages that only work needs: every process of Dagster imports the definitions."""


@pytest.fixture
def definitions(install: Callable[..., Installation]) -> dg.Definitions:
    return build_definitions(install().workshop)


def test_the_assets_form_one_chain(definitions: dg.Definitions) -> None:
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    upstream = {
        name: [dep.asset_key.to_user_string() for dep in specs[name].deps] for name in POI.chain
    }
    assert upstream == {
        "osm_snapshot": ["upstream/overpass", "upstream/extract"],
        "osm_pois": ["osm_snapshot"],
        "poi_staging": ["osm_pois"],
    }


def test_the_job_runs_the_whole_chain_in_one_process(definitions: dg.Definitions) -> None:
    job = definitions.resolve_job_def("osm_import")
    assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == set(POI.chain)
    assert job.executor_def.name == "in_process"
    assert job.description


def test_there_is_a_partition_for_each_city_and_utc_day_the_current_one_included(
    definitions: dg.Definitions,
) -> None:
    partitions = definitions.resolve_job_def("osm_import").partitions_def
    assert isinstance(partitions, dg.MultiPartitionsDefinition)
    assert [dimension.name for dimension in partitions.partitions_defs] == ["city", "day"]
    before = datetime.now(UTC).date()
    days = partitions.get_partitions_def_for_dimension("day").get_partition_keys()
    after = datetime.now(UTC).date()
    assert days[0] == "2015-01-01"
    assert days[-1] in {before.isoformat(), after.isoformat()}
    assert len(days) in {(day - datetime(2015, 1, 1, tzinfo=UTC).date()).days + 1
                         for day in (before, after)}  # fmt: skip
    cities = partitions.get_partitions_def_for_dimension("city").get_partition_keys()
    assert "helsinki" in cities
    assert partitions.has_partition_key(f"helsinki|{before}")
    assert not partitions.has_partition_key(f"helsinki|{after + timedelta(days=1)}")


def test_dagster_finds_no_fault_with_the_definitions(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_definitions_are_built_once_for_equal_settings_and_cities(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shipped = resources.files("ingestion_pipeline").joinpath("cities.toml").read_text("utf-8")
    (file := tmp_path / "cities.toml").write_text(shipped, encoding="utf-8")
    monkeypatch.setenv("CITIES_FILE", str(file))
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    built = module.definitions()
    assert module.definitions() is built
    file.write_text(shipped.replace("enabled = true", "enabled = false", 1), encoding="utf-8")
    changed = module.definitions()
    assert changed is not built
    monkeypatch.setenv("OVERPASS_CONTACT", "another@example.org")
    again = module.definitions()
    assert again is not changed
    # The value of a field that is unset, which has another first partition.
    monkeypatch.setenv("PARTITIONS_START", str(Settings.model_fields["partitions_start"].default))
    assert module.definitions() is not again


def test_loading_the_definitions_imports_nothing_that_only_work_needs() -> None:
    program = (
        "import sys\n"
        "from ingestion_pipeline.definitions import definitions\n"
        "definitions().resolve_job_def('osm_import')\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "dagster" in loaded
    assert not HEAVY & set(loaded)
