"""Frames: GeoParquet that everybody opens, with the evidence of its rows."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from typing import TYPE_CHECKING

import geopandas
import pyarrow.parquet as pq
import pytest
import shapely

from ingestion_pipeline.lake.errors import SnapshotDamaged, SnapshotMissing
from ingestion_pipeline.lake.frames import describe_table, frame_key, read_table, write_table
from ingestion_pipeline.lake.snapshots import Lake
from ingestion_pipeline_tests.support.staged import poi_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = frame_key("poi", "kazan", "bbox:48.9,55.6,49.4,55.9", date(2026, 11, 20))
ROWS = poi_rows({"node/1": "кафе", "way/2": "b"})
EVIDENCE = {"as_of": "2026-11-20T03:00:00Z", "rejected": [{"source_ref": "way/3"}], "text": "©"}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(str(tmp_path))


def test_rows_and_their_evidence_come_back_as_they_were(lake: Lake) -> None:
    write_table(lake, KEY, ROWS, EVIDENCE)
    assert read_table(lake, KEY).to_pylist() == ROWS.to_pylist()
    assert describe_table(lake, KEY) == EVIDENCE


def test_no_rows_come_back_with_their_columns(lake: Lake) -> None:
    write_table(lake, KEY, ROWS.slice(0, 0), {})
    rows = read_table(lake, KEY)
    assert rows.num_rows == 0
    assert rows.column_names == ROWS.column_names
    assert describe_table(lake, KEY) == {}


def test_another_filesystem_holds_frames_too(tmp_path: Path) -> None:
    lake = Lake(f"memory://{tmp_path.name}")
    write_table(lake, KEY, ROWS, EVIDENCE)
    assert read_table(lake, KEY).to_pylist() == ROWS.to_pylist()


def test_geopandas_opens_a_frame_in_wgs84(lake: Lake) -> None:
    write_table(lake, KEY, ROWS, EVIDENCE)
    frame = geopandas.read_parquet(lake.address(KEY))
    assert frame.crs == "EPSG:4326"
    assert [shapely.to_wkb(shape, byte_order=1) for shape in frame.geometry] == (
        ROWS.column("geometry").to_pylist()
    )
    assert frame["name"].tolist() == ["кафе", "b"]


def test_a_frame_says_that_it_is_geoparquet(lake: Lake) -> None:
    write_table(lake, KEY, ROWS, EVIDENCE)
    metadata = pq.read_metadata(lake.address(KEY)).metadata
    assert metadata is not None
    geo = json.loads(metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["primary_column"] == "geometry"
    assert geo["columns"]["geometry"]["encoding"] == "WKB"
    assert geo["columns"]["geometry"]["crs"]["id"] == {"authority": "EPSG", "code": 4326}


def test_a_frame_that_is_written_again_takes_the_old_ones_place(lake: Lake) -> None:
    write_table(lake, KEY, ROWS, EVIDENCE)
    write_table(lake, KEY, ROWS.slice(0, 1), {})
    assert read_table(lake, KEY).num_rows == 1


@pytest.mark.parametrize("look", [read_table, describe_table])
def test_a_frame_that_is_not_there_is_missed_with_what_makes_it(
    lake: Lake, look: Callable[[Lake, str], object]
) -> None:
    with pytest.raises(SnapshotMissing, match=r"20\.parquet does not exist\. Materialize the"):
        look(lake, KEY)


@pytest.mark.parametrize("look", [read_table, describe_table])
def test_a_damaged_frame_is_named_with_what_mends_it(
    lake: Lake, look: Callable[[Lake, str], object]
) -> None:
    with lake.written(KEY) as stream:
        stream.write(b"PAR1 and then something else")
    with pytest.raises(SnapshotDamaged, match="Run this city and day again"):
        look(lake, KEY)


def test_a_parquet_file_that_says_nothing_of_its_rows_is_no_frame(lake: Lake) -> None:
    with lake.written(KEY) as stream:
        pq.write_table(ROWS, stream)
    with pytest.raises(SnapshotDamaged, match="its metadata has no evidence"):
        describe_table(lake, KEY)


def test_frames_of_other_boundaries_and_days_stand_beside_each_other() -> None:
    assert KEY == "frames/poi/kazan/bbox-48.9,55.6,49.4,55.9/2026-11-20.parquet"
    assert frame_key("poi", "kazan", "relation/1", date(2026, 11, 20)) == (
        "frames/poi/kazan/relation-1/2026-11-20.parquet"
    )


@pytest.mark.process
def test_reading_rows_imports_no_pandas(tmp_path: Path) -> None:
    pq.write_table(ROWS, tmp_path / "rows.parquet")
    code = (
        "import sys\n"
        "from ingestion_pipeline.lake.frames import read_table\n"
        "from ingestion_pipeline.lake.snapshots import Lake\n"
        "assert read_table(Lake(sys.argv[1]), 'rows.parquet').num_rows == 2\n"
        "sys.exit(bool({'pandas', 'pyarrow.dataset'} & {*sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
