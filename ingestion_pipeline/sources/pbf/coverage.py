"""What an extract covers, and whether a city lies in it.

Belongs here: reading what a file covers, and comparing that with an area. Does not belong here: the
form of `.poly` files (`polygon_file.py`), where they are (`extract.py`), and boundaries
(`boundary.py`).

Three things tell what an extract covers, the best first:

- `poly`: the polygon by which its provider cut it, where the header's box does not say less.
- `header`: the box in the file's header.
- `nodes`: the box around its nodes, where there is neither. It is an estimate: it ends where the
  last node is, and ways that reach out of the cut make it too large. So it need not hold all of a
  city, and whoever uses it warns.

A box whose edges are all multiples of 90 degrees is what programs write that know of none, such as
`0,0,180,90`; it says nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ingestion_pipeline.core.evidence import Coverage
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.geometry.polygon_file import outline_of, polygon_of
from ingestion_pipeline.osm.errors import ExtractDoesNotCover
from ingestion_pipeline.sources.pbf import blocks as pbf
from ingestion_pipeline.sources.pbf.block_filter import UNITS_PER_DEGREE
from ingestion_pipeline.sources.pbf.formats import as_pbf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt
    import shapely

TOLERANCE_DEGREES = 1e-4
"""How far a city may reach beyond a header's box or a polygon, which are rounded: about 11 m."""

ENOUGH_OF_NODES = 0.9
"""The share of a city that has to lie in the box around the nodes, which is an estimate."""

_SILENT_STEP = 90
_WORLD = Bbox(-180.0, -90.0, 180.0, 90.0)


def coverage_of(path: Path, *, poly: bytes | None = None) -> Coverage:
    """Return what an extract covers.

    Args:
        path: The file.
        poly: The `.poly` file beside it, if there is one.

    Raises:
        NotPbfError: The file is no whole PBF.
        UnsupportedPbfError: It has something that is not read.
        DamagedFileError: It is XML, and not whole.
        ValueError: `poly` cannot be read.
    """
    import shapely

    with as_pbf(path) as readable:
        file = os.open(readable, os.O_RDONLY)
        try:
            header = _area_in_headers(file)
            if header is None and poly is None:
                return Coverage("nodes", shapely.to_wkt(_around_nodes(file), rounding_precision=-1))
        finally:
            os.close(file)
    if poly is None:
        assert header is not None
        return Coverage("header", str(shapely.to_wkt(header, rounding_precision=-1)))
    polygon = polygon_of(outline_of(poly))
    both = polygon if header is None else shapely.intersection(header, polygon)
    return Coverage("poly", shapely.to_wkt(both, rounding_precision=-1))


def _area_in_headers(file: int) -> shapely.Geometry | None:
    """Return the area of the headers' boxes together; None where one says nothing."""
    import shapely

    areas = [_area_in(header.box) for header in pbf.headers(file)]
    return None if any(area is None for area in areas) else shapely.union_all(areas)


def require_covered(
    requested: shapely.Geometry, coverage: Coverage, *, what: str, origin: str
) -> dict[str, Any]:
    """Refuse an extract that does not cover an area.

    Args:
        requested: The area (EPSG:4326).
        coverage: What the extract covers.
        what: What the area is, for messages: "the bbox of kazan".
        origin: Where the extract is from.

    Returns:
        `how` it is known what the extract covers, and the `share` of the area that it covers, of
        its square degrees; 1 where all of it lies inside but for the tolerance.

    Raises:
        ExtractDoesNotCover: It does not; with the share and both boxes.
    """
    import shapely

    covered = shapely.from_wkt(coverage.wkt)
    share = _share(requested, covered)
    if share < (ENOUGH_OF_NODES if coverage.how == "nodes" else 1):
        raise ExtractDoesNotCover(
            f"the extract {origin} covers {_percent(share)} of {what}: that spans "
            f"{_span(requested)}, and {_MEANING[coverage.how]} spans {_span(covered)}; take an "
            "extract that holds the whole city, or correct the city's bbox or boundary"
        )
    return {"how": coverage.how, "share": share}


_MEANING = {
    "poly": "the .poly file beside it, with the box in its header,",
    "header": "the box in its header",
    "nodes": "the box around its nodes",
}


def _share(requested: shapely.Geometry, covered: shapely.Geometry) -> float:
    """Return which share of an area is covered, with 4 decimals; 1 for all of it alone."""
    import shapely

    with_tolerance = shapely.buffer(covered, TOLERANCE_DEGREES, join_style="mitre")
    if shapely.covers(with_tolerance, requested):
        return 1.0
    both = shapely.intersection(covered, requested)
    return min(round(float(shapely.area(both) / shapely.area(requested)), 4), 0.9999)


def _percent(share: float) -> str:
    return f"{share:.2%}".replace(".00%", "%").replace("%", " %")


def _span(area: shapely.Geometry) -> str:
    import shapely

    if shapely.is_empty(area):
        return "nothing"
    return str([round(side, 7) for side in shapely.bounds(area).tolist()])


def _area_in(box: Bbox | None) -> shapely.Geometry | None:
    """Return the area of a header's box; None where it says nothing.

    One whose west lies east of its east crosses the antimeridian.
    """
    import shapely

    if box is None or not _WORLD.holds(box) or box.south >= box.north or box.west == box.east:
        return None
    if all(side % _SILENT_STEP == 0 for side in box):
        return None
    if box.west < box.east:
        return shapely.box(*box)
    return shapely.union_all(
        [
            shapely.box(box.west, box.south, _WORLD.east, box.north),
            shapely.box(_WORLD.west, box.south, box.east, box.north),
        ]
    )


def _around_nodes(file: int) -> shapely.Geometry:
    """Return the box around the nodes that are on Earth; an empty polygon where there is none."""
    import shapely

    limits = np.array([_WORLD.east, _WORLD.north]) * UNITS_PER_DEGREE
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for block in pbf.read_blocks(file, pbf.data_blobs(file)):
        for places in _places(block):
            xy = places[(np.abs(places) <= limits).all(axis=1)]
            if len(xy):
                low, high = np.minimum(low, xy.min(axis=0)), np.maximum(high, xy.max(axis=0))
    if not np.isfinite(low).all():
        return shapely.Polygon()
    return shapely.box(*(low / UNITS_PER_DEGREE), *(high / UNITS_PER_DEGREE))


def _places(block: pbf.Block) -> Iterator[npt.NDArray[Any]]:
    """Yield where nodes are: (n, 2), by themselves or as ways have them (`LocationsOnWays`)."""
    yield from (nodes.xy for nodes in block.nodes)
    for ways in block.ways:
        (_, *places), _ = ways.way_nodes(np.arange(len(ways.id)))
        if places:
            yield np.column_stack(places)
