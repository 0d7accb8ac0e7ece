"""The area that an extract covers, and whether it covers a city.

The best of these is used:

- `poly`: the provider's polygon of the extract, reduced to the header's bounding box.
- `header`: the bounding box in the file's header.
- `nodes`: the bounding box of its nodes, an estimate: it ends at the outermost node, and ways that
  leave the extract enlarge it. So it need not contain all of a city, and the caller warns.

A box whose edges are all multiples of 90 degrees, such as `0,0,180,90`, is a placeholder of
programs and is ignored.
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
"""How far a city may extend beyond a header's box or a polygon, which are rounded: about 11 m."""

ENOUGH_OF_NODES = 0.9
"""The share of a city that the box of the nodes, an estimate, has to cover."""

_SILENT_STEP = 90
_WORLD = Bbox(-180.0, -90.0, 180.0, 90.0)


def coverage_of(path: Path, *, poly: bytes | None = None) -> Coverage:
    """Return the area that an extract covers.

    Args:
        path: The file.
        poly: The `.poly` file beside it, if there is one.

    Raises:
        NotPbfError: The file is not a complete PBF.
        UnsupportedPbfError: It has an unsupported feature.
        DamagedFileError: It is incomplete XML.
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
    """Return the union of the headers' boxes; None if one is missing."""
    import shapely

    areas = [_area_in(header.box) for header in pbf.headers(file)]
    return None if any(area is None for area in areas) else shapely.union_all(areas)


def require_covered(
    requested: shapely.Geometry, coverage: Coverage, *, what: str, origin: str
) -> dict[str, Any]:
    """Check that an extract covers an area.

    Args:
        requested: The area (EPSG:4326).
        coverage: The area that the extract covers.
        what: What the area is, for messages: "the bbox of kazan".
        origin: The location of the extract.

    Returns:
        `how` the coverage is known, and the covered `share` of the area's square degrees; 1 if all
        of it is inside within the tolerance.

    Raises:
        ExtractDoesNotCover: It does not; the message has the share and both boxes.
    """
    import shapely

    covered = shapely.from_wkt(coverage.wkt)
    share = _share(requested, covered)
    if share < (ENOUGH_OF_NODES if coverage.how == "nodes" else 1):
        raise ExtractDoesNotCover(
            f"The extract {origin} covers {_percent(share)} of {what}, which spans "
            f"{_span(requested)}; {_MEANING[coverage.how]} spans {_span(covered)}. Use an extract "
            "of the whole city, or correct the city's bbox or boundary."
        )
    return {"how": coverage.how, "share": share}


_MEANING = {
    "poly": "the .poly file beside it, with the box in its header,",
    "header": "the box in its header",
    "nodes": "the box around its nodes",
}


def _share(requested: shapely.Geometry, covered: shapely.Geometry) -> float:
    """Return the covered share of an area, with 4 decimals; 1 only if all of it is covered."""
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
    """Return the area of a header's box; None if it is missing.

    A box whose west is east of its east crosses the antimeridian.
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
    """Return the bounding box of the nodes on Earth; an empty polygon if there are none."""
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
    """Yield (n, 2) positions of nodes, their own or those stored in ways (`LocationsOnWays`)."""
    yield from (nodes.xy for nodes in block.nodes)
    for ways in block.ways:
        (_, *places), _ = ways.way_nodes(np.arange(len(ways.id)))
        if places:
            yield np.column_stack(places)
