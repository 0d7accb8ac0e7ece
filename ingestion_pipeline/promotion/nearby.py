"""Features of a staged day that could be twins of some of its features.

Belongs here: the spatial query on both databases. Does not belong here: what a twin is
(`identity.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingestion_pipeline.staging.bulk import CHUNK
from ingestion_pipeline.staging.database import driver_of, is_geopackage
from ingestion_pipeline.staging.days import in_history, valid_on
from ingestion_pipeline.staging.geometry import SRID

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import numpy as np
    import numpy.typing as npt

    from ingestion_pipeline.promotion.rows import Row
    from ingestion_pipeline.staging.days import Slice

_AREA = 2
"""The dimension of an area."""

_ENVELOPE = slice(8, 40)
"""Where a GeoPackage stores the box of a geometry that is not a point: min x, max x, min y, max y
(OGC 12-128r18, 2.1.3)."""


def could_be_twins(connection: sa.Connection, target: Slice, features: Collection[Row]) -> set[str]:
    """Return the refs of a day's features that could be twins of some of them.

    These are the features whose box meets that of one of them and whose category is equal.

    Args:
        connection: In a transaction.
        target: The staged day.
        features: Rows of staging.
    """
    import shapely

    from ingestion_pipeline.promotion.likeness import relation

    rows = list(features)
    shapes = shapely.from_wkb([row["geometry"] for row in rows])
    boxes = shapely.bounds(shapes)
    areas = shapely.get_dimensions(shapes) == _AREA
    meeting = (_in_geopackage if is_geopackage(connection) else _in_postgis)(
        connection, target, boxes, areas
    )
    categories = _categories(connection, target, {ref for _, ref in meeting})
    return {
        ref
        for number, ref in meeting
        if relation(tuple(rows[number]["categories"]), tuple(categories[ref])) == "equal"
    }


def _in_postgis(
    connection: sa.Connection,
    target: Slice,
    boxes: npt.NDArray[np.float64],
    areas: npt.NDArray[np.bool_],
) -> set[tuple[int, str]]:
    """Return the number of a box and the ref of a feature that meet, through the GiST index."""
    del areas
    table = target.table
    sides: dict[str, Any] = {
        name: boxes[:, place].tolist() for place, name in enumerate(("w", "s", "e", "n"))
    }
    box = (
        sa.func.unnest(
            *(
                sa.cast(sa.bindparam(name, sides[name], expanding=False), sa.ARRAY(sa.Double))
                for name in sides
            )
        )
        .table_valued(*(sa.column(name, sa.Double) for name in sides), with_ordinality="number")
        .render_derived("box")
    )
    around = sa.func.ST_MakeEnvelope(box.c.w, box.c.s, box.c.e, box.c.n, SRID)
    query = sa.select(box.c.number, table.c.source_ref).join_from(
        box,
        table,
        sa.and_(
            table.c.geometry.op("&&")(around), *in_history(target), *valid_on(table, target.day)
        ),
    )
    return {(number - 1, ref) for number, ref in connection.execute(query)}


def _in_geopackage(
    connection: sa.Connection,
    target: Slice,
    boxes: npt.NDArray[np.float64],
    areas: npt.NDArray[np.bool_],
) -> set[tuple[int, str]]:
    """Return the number of a box and the ref of a feature that meet, by the stored envelopes.

    A GeoPackage has no spatial index. A twin of an area is a node, and that of a node an area, so
    only the others are read.
    """
    import numpy as np
    import shapely

    found: set[tuple[int, str]] = set()
    tree_of = {True: "node", False: "area"}
    for of_areas, others in tree_of.items():
        (numbers,) = np.nonzero(areas == of_areas)
        if not len(numbers):
            continue
        refs, sides = _stored_boxes(connection, target, nodes=others == "node")
        if not refs:
            continue
        stored = shapely.box(*sides.T)
        ours: Any = shapely.box(*boxes[numbers].T)
        one, other = shapely.STRtree(stored).query(ours)
        found |= {
            (int(numbers[i]), refs[j]) for i, j in zip(one.tolist(), other.tolist(), strict=True)
        }
    return found


def _stored_boxes(
    connection: sa.Connection, target: Slice, *, nodes: bool
) -> tuple[Sequence[str], npt.NDArray[np.float64]]:
    """Return the refs and boxes (west, south, east, north) of the day's nodes, or of the others."""
    import numpy as np

    table = target.table
    is_node = table.c.osm_type == "node"
    columns = (table.c.lon, table.c.lat) if nodes else (table.c.geometry,)
    query = sa.select(table.c.source_ref, *columns).where(
        *in_history(target), *valid_on(table, target.day), is_node if nodes else ~is_node
    )
    # Through the driver: as WKB, geometries would lose their envelopes.
    statement = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
    with driver_of(connection) as driver:
        rows = driver.execute(str(statement)).fetchall()
    refs = [row[0] for row in rows]
    if nodes:
        points = np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, 2)
        return refs, np.hstack([points, points])
    boxed = [(ref, blob[_ENVELOPE]) for ref, blob in rows if len(blob) > _ENVELOPE.stop]
    sides = np.frombuffer(b"".join(box for _, box in boxed), "<f8").reshape(-1, 4)
    return [ref for ref, _ in boxed], sides[:, [0, 2, 1, 3]]


def _categories(
    connection: sa.Connection, target: Slice, refs: Iterable[str]
) -> dict[str, Sequence[str]]:
    wanted, table = sorted(refs), target.table
    found: dict[str, Any] = {}
    for start in range(0, len(wanted), CHUNK):
        query = sa.select(table.c.source_ref, table.c.categories).where(
            *in_history(target),
            *valid_on(table, target.day),
            table.c.source_ref.in_(wanted[start : start + CHUNK]),
        )
        found |= {row.source_ref: row.categories for row in connection.execute(query)}
    return found
