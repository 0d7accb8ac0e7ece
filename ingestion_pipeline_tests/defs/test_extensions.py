"""A new dataset is one file and a line of its registry, and so is a new source."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
import sqlalchemy as sa

from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.frame import Frame
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.defs.jobs import JOBS, job_of
from ingestion_pipeline.defs.metadata import sentence_on_frame
from ingestion_pipeline.plan import Kept, plan
from ingestion_pipeline.sources import registry
from ingestion_pipeline.sources.registry import SOURCES
from ingestion_pipeline.staging import views
from ingestion_pipeline.staging.database import write_transaction
from ingestion_pipeline.staging.tables import (
    CLASS_COLUMNS,
    JOB_TYPES,
    LEGENDS,
    VERSION_TABLES,
    VIEWS,
    metadata,
    poi_ingestion_staging,
)
from ingestion_pipeline_tests.support import toy_dataset
from ingestion_pipeline_tests.support.installation import TODAY, ScriptedClock
from ingestion_pipeline_tests.support.toy_dataset import BENCH
from ingestion_pipeline_tests.support.toy_source import ToySource
from testbed.claims import evidence_of
from testbed.towns import NOON, in_a_row, write_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingestion_pipeline_tests.support.installations import Install

KEY = f"town|{TODAY}"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Table]:
    """The registry with the dataset in it."""
    table = toy_dataset.declare()
    with monkeypatch.context() as patch:
        patch.setitem(DATASETS, BENCH.name, BENCH)
        patch.setitem(JOBS, BENCH.job_type, job_of(BENCH))
        yield table
    metadata.remove(table)
    for registered in (VERSION_TABLES, CLASS_COLUMNS, LEGENDS, VIEWS, JOB_TYPES):
        del registered[BENCH.name]


def create(engine: sa.Engine, table: sa.Table) -> None:
    """Make the table and its views, as the dataset's migration would."""
    with write_transaction(engine) as connection:
        table.create(connection)
        columns = "(table_name, data_type, identifier, srs_id)"
        connection.exec_driver_sql(
            f"INSERT INTO gpkg_contents {columns} VALUES ('bench', 'features', 'bench', 4326)"
        )
        connection.exec_driver_sql(
            "INSERT INTO gpkg_geometry_columns VALUES ('bench', 'geometry', 'GEOMETRY', 4326, 0, 0)"
        )
        views.drop(connection)
        views.create(connection)


def test_a_new_dataset_is_fetched_shaped_checked_and_staged(
    bench: sa.Table, install_town: Install, tmp_path: Path
) -> None:
    nodes = {
        1: {"amenity": "bench", "material": "wood"},
        2: {"amenity": "bench", "material": "stone"},
        3: {"amenity": "cafe", "name": "A"},
    }
    extract = write_nodes(tmp_path / "town.osm.pbf", in_a_row(nodes))
    here = install_town(
        clock=ScriptedClock(), city={"osm_source": "extract", "osm_extract": str(extract)}
    )
    create(here.engine, bench)
    result = here.run(KEY, job_type=BENCH.job_type)
    assert result.success
    checks = {found.check_name for found in result.get_asset_check_evaluations()}
    assert checks == {check.name for check in BENCH.checks}
    with here.engine.connect() as connection:
        rows = connection.execute(
            sa.select(bench.c.source_ref, bench.c.material).order_by(bench.c.source_ref)
        ).all()
        shown = connection.exec_driver_sql("SELECT count(*) FROM bench_current").scalar_one()
    assert rows == [("node/1", "wood"), ("node/2", "stone")]
    assert shown == 2
    again = here.run(KEY, job_type=BENCH.job_type)
    assert again.success
    assert sorted(run.counts["written"] for run in here.ledger() if run.counts) == [0, 2]


@pytest.mark.usefixtures("bench")
def test_a_frame_needs_no_counts() -> None:
    frame = Frame(
        pa.table({"name": ["a"]}), evidence_of(TODAY), BboxBoundary(Bbox(0, 0, 1, 1)), [], {}
    )
    assert sentence_on_frame(frame, BENCH, reused=False) == "normalized 1 benches; 0 were rejected"


def test_the_pois_of_a_new_source_are_planned_fetched_and_staged(
    monkeypatch: pytest.MonkeyPatch, install_town: Install
) -> None:
    monkeypatch.setattr(registry, "SOURCES", {**SOURCES, ToySource.kind: ToySource})
    town = install_town(clock=ScriptedClock())
    settings = town.workshop.settings.model_copy(update={"osm_source": ToySource.kind})
    here = replace(town, workshop=replace(town.workshop, settings=settings))
    city = here.workshop.cities.get("town")
    nothing = Kept(manifests={}, staged={})
    (planned,) = plan(city, [TODAY], settings=settings, kept=nothing, now=NOON)
    assert (planned.way, planned.words) == ("current data", "memory")
    assert here.run(KEY).success
    stored = poi_ingestion_staging.c
    columns = (stored.source_ref, stored.name, stored.osm_type, stored.osm_id, stored.licence)
    with here.engine.connect() as connection:
        rows = connection.execute(sa.select(*columns).order_by(stored.source_ref)).all()
    assert rows == [
        ("places/0", "North", None, None, "CC0-1.0"),
        ("places/1", "South", None, None, "CC0-1.0"),
    ]
