"""The checks of single rows: geometry, position, unique references, licence."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from ingestion_pipeline.columns.arrow import doubles
from ingestion_pipeline.quality.catalogue import GEOMETRY, LICENCE, POSITION, UNIQUE_REFS
from ingestion_pipeline.quality.findings import SAMPLES, Finding, some_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import pyarrow as pa
    import shapely

    from ingestion_pipeline.quality.catalogue import Check

    Flags = npt.NDArray[np.bool_]

OFF_GEOMETRY = 1e-6
"""The tolerance of a point's distance from its geometry, in degrees (0.1 m)."""


def check_geometry(frame: pa.Table) -> Finding:
    """Check that every geometry (WKB) is readable, not empty and valid."""
    import shapely

    geometry = _geometries(frame)
    missing = shapely.is_missing(geometry)
    empty = shapely.is_empty(geometry)
    return _finding(
        GEOMETRY,
        frame,
        {
            "cannot be read": missing,
            "empty": empty,
            "not valid": ~missing & ~shapely.is_valid(geometry),
        },
    )


def check_position(frame: pa.Table, *, boundary: shapely.Geometry) -> Finding:
    """Check that every representative point is inside the boundary and on its geometry.

    Args:
        frame: Rows with `lon`, `lat` and `geometry` (EPSG:4326).
        boundary: The city's area (EPSG:4326); a point on its edge is inside.
    """
    import shapely

    lon, lat = (doubles(frame.column(name)) for name in ("lon", "lat"))
    known = np.isfinite(lon) & np.isfinite(lat)
    shapely.prepare(boundary)
    inside = shapely.intersects_xy(boundary, lon, lat)
    points = np.full(len(lon), None, dtype=object)
    points[known] = shapely.points(lon[known], lat[known])
    distance = shapely.distance(_geometries(frame), points)
    return _finding(
        POSITION,
        frame,
        {
            "no point": ~known,
            "outside of the city's boundary": known & ~inside,
            "not on the geometry": known & (distance > OFF_GEOMETRY),
        },
    )


def check_unique_refs(frame: pa.Table) -> Finding:
    """Check that no feature occurs more than once."""
    times = Counter(frame.column("source_ref").to_pylist())
    twice = [times[ref] > 1 for ref in frame.column("source_ref").to_pylist()]
    return _finding(UNIQUE_REFS, frame, {"more than once": np.array(twice, dtype=bool)})


def check_licence(frame: pa.Table) -> Finding:
    """Check that every row has a licence and an attribution."""
    return _finding(
        LICENCE,
        frame,
        {
            f"no {name}": np.array(
                [not (text or "").strip() for text in frame.column(name).to_pylist()], dtype=bool
            )
            for name in ("licence", "attribution")
        },
    )


def _finding(check: Check, frame: pa.Table, faults: Mapping[str, Flags]) -> Finding:
    refs = np.asarray(frame.column("source_ref").to_pylist(), dtype=object)
    found = {words: list(map(str, refs[rows])) for words, rows in faults.items() if rows.any()}
    if not found:
        return Finding(check, "good", f"{len(refs):,} rows, all good", numbers={"faults": 0})
    summary = "; ".join(f"{words}: {len(bad):,} ({some_of(bad)})" for words, bad in found.items())
    return Finding(
        check,
        "stop",
        f"of {len(refs):,} rows, {summary}",
        head=("fault", "rows", "such as"),
        rows=[(words, f"{len(bad):,}", ", ".join(bad[:SAMPLES])) for words, bad in found.items()],
        numbers={"faults": sum(map(len, found.values()))},
    )


def _geometries(frame: pa.Table) -> npt.NDArray[np.object_]:
    import shapely

    wkb = np.asarray(frame.column("geometry").to_pylist(), dtype=object)
    geometries: npt.NDArray[np.object_] = shapely.from_wkb(wkb, on_invalid="ignore")
    return geometries
