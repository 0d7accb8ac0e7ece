"""Frames as GeoParquet files in the lake.

    <lake>/frames/<dataset>/<city>/<boundary>/<day>.parquet

Files follow GeoParquet 1.1 (WKB, EPSG:4326), so GeoPandas, DuckDB and QGIS can open them. Their
metadata has the evidence, the boundary, the rejections and the counts.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.columns.geoparquet import geo_metadata
from ingestion_pipeline.core.boundary import PolygonBoundary
from ingestion_pipeline.core.evidence import SliceEvidence
from ingestion_pipeline.core.frame import Frame
from ingestion_pipeline.core.rejection import Rejection
from ingestion_pipeline.lake.errors import FrameOutdated, SnapshotDamaged, SnapshotMissing
from ingestion_pipeline.lake.snapshots import boundary_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    import pyarrow as pa

    from ingestion_pipeline.lake.snapshots import Lake

_EVIDENCE = b"ingestion_evidence"
_ROW_GROUP = 65_536


def frame_key(dataset: str, city_slug: str, boundary_ref: str, day: date) -> str:
    """Return the key of a city-day's frame in the lake."""
    return f"frames/{dataset}/{city_slug}/{boundary_folder(boundary_ref)}/{day.isoformat()}.parquet"


def write_frame(lake: Lake, key: str, frame: Frame) -> None:
    """Write a frame.

    Args:
        lake: The lake.
        key: See `frame_key`.
        frame: The frame.

    Raises:
        LakeUnavailable: The lake cannot be written.
    """
    import shapely

    described = {
        "evidence": asdict(frame.evidence) | {"as_of": frame.evidence.as_of.isoformat()},
        "boundary": shapely.to_wkb(frame.boundary.area, hex=True, byte_order=1),
        "rejections": [asdict(rejection) for rejection in frame.rejections],
        "counts": dict(frame.counts),
    }
    write_table(lake, key, frame.rows, described)


def read_evidence(lake: Lake, key: str) -> SliceEvidence:
    """Return the evidence of a frame, without reading the rows.

    Raises:
        SnapshotMissing: The frame does not exist.
        SnapshotDamaged: The file is not a frame.
        FrameOutdated: An older version wrote the frame, without the city's boundary.
        LakeUnavailable: The lake cannot be read.
    """
    return _evidence_in(lake, key, describe_table(lake, key))


def read_frame(lake: Lake, key: str) -> Frame:
    """Return a frame.

    Raises:
        SnapshotMissing: The frame does not exist.
        SnapshotDamaged: The file is not a frame.
        FrameOutdated: An older version wrote the frame, without the city's boundary.
        LakeUnavailable: The lake cannot be read.
    """
    import shapely

    described = describe_table(lake, key)
    evidence = _evidence_in(lake, key, described)
    try:
        boundary = PolygonBoundary(shapely.from_wkb(described["boundary"]))
        rejections = [Rejection(**rejection) for rejection in described["rejections"]]
        counts = described["counts"]
    except (KeyError, TypeError) as error:
        raise _outdated(lake, key) from error
    return Frame(read_table(lake, key), evidence, boundary, rejections, counts)


def _evidence_in(lake: Lake, key: str, described: dict[str, Any]) -> SliceEvidence:
    if "boundary" not in described:
        raise _outdated(lake, key)
    try:
        stated = described["evidence"]
        return SliceEvidence(**stated | {"as_of": datetime.fromisoformat(stated["as_of"])})
    except (KeyError, TypeError, ValueError) as error:
        raise _outdated(lake, key) from error


def _outdated(lake: Lake, key: str) -> FrameOutdated:
    return FrameOutdated(
        f"{lake.address(key)} was written by another version. Run this city and day again."
    )


def write_table(lake: Lake, key: str, table: pa.Table, described: dict[str, Any]) -> None:
    """Write rows, with a JSON object in the metadata.

    Args:
        lake: The lake.
        key: See `frame_key`.
        table: Rows with a WKB column `geometry` (EPSG:4326).
        described: Any JSON object.

    Raises:
        LakeUnavailable: The lake cannot be written.
    """
    import pyarrow.parquet as pq

    with_metadata = table.replace_schema_metadata(
        {**geo_metadata(), _EVIDENCE: json.dumps(described).encode()}
    )
    with lake.written(key) as stream:
        pq.write_table(with_metadata, stream, compression="zstd", row_group_size=_ROW_GROUP)


def describe_table(lake: Lake, key: str) -> dict[str, Any]:
    """Return the JSON object of a table, without reading the rows.

    Raises:
        SnapshotMissing: The frame does not exist.
        SnapshotDamaged: The file is not Parquet, or not a frame.
        LakeUnavailable: The lake cannot be read.
    """
    import pyarrow.parquet as pq

    with _opened(lake, key) as stream:
        metadata = pq.read_metadata(stream).metadata or {}
    if _EVIDENCE not in metadata:
        raise _damaged(lake, key, "its metadata has no evidence")
    described: dict[str, Any] = json.loads(metadata[_EVIDENCE])
    return described


def read_table(lake: Lake, key: str) -> pa.Table:
    """Return the rows of a table.

    Raises:
        SnapshotMissing: The frame does not exist.
        SnapshotDamaged: The file is not Parquet.
        LakeUnavailable: The lake cannot be read.
    """
    import pyarrow.parquet as pq

    with _opened(lake, key) as stream:
        return pq.ParquetFile(stream).read()  # `pq.read_table` imports pandas


@contextmanager
def _opened(lake: Lake, key: str) -> Iterator[Any]:
    import pyarrow as pa

    try:
        with lake.opened(key) as stream:
            yield stream
    except FileNotFoundError as error:
        raise SnapshotMissing(
            f"Frame {lake.address(key)} does not exist. Materialize the frame of this city and day "
            "first."
        ) from error
    except pa.ArrowInvalid as error:
        raise _damaged(lake, key, str(error)) from error


def _damaged(lake: Lake, key: str, why: str) -> SnapshotDamaged:
    return SnapshotDamaged(
        f"{lake.address(key)} cannot be read as a frame ({why}). Run this city and day again."
    )
