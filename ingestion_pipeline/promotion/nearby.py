"""Features of a staged day that could be twins of some of its features.

Belongs here: the spatial query on both databases. Does not belong here: what a twin is
(`identity.py`).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingestion_pipeline.staging.bulk import CHUNK
from ingestion_pipeline.staging.database import driver_of, is_geopackage
from ingestion_pipeline.staging.days import in_history
from ingestion_pipeline.staging.geometry import SRID, Geometry, wkb_from_geopackage
from ingestion_pipeline.staging.views import valid_on

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from ingestion_pipeline.promotion.rows import Row
    from ingestion_pipeline.staging.days import Slice

_AREA = 2
"""The dimension of an area."""

_ENVELOPE = slice(8, 40)
"""Where a GeoPackage stores the box of a geometry that is not a point: min x, max x, min y, max y
(OGC 12-128r18, 2.1.3)."""


class Nearby:
    """The features of a staged day by their position."""

    def __init__(self, connection: sa.Connection, target: Slice) -> None:
        """Read nothing yet.

        Args:
            connection: In a transaction.
            target: The staged day.
        """
        self._connection = connection
        self._table = target.table
        self._of_day = (*in_history(target), *valid_on(target.table, target.day))

    def could_be_twins(self, features: Collection[Row]) -> set[str]:
        """Return the refs of features that could be twins of some features.

        These are the nodes in an area among them, and the areas around a node among them, whose
        categories agree.

        Args:
            features: Rows of staging.
        """
        import shapely

        from ingestion_pipeline.promotion.likeness import could_be_twins

        rows = list(features)
        shapes = shapely.from_wkb([row["geometry"] for row in rows])
        areas = shapely.get_dimensions(shapes) == _AREA
        meet = self._in_geopackage if is_geopackage(self._connection) else self._in_postgis
        meeting = meet(shapes, areas)
        categories = self._categories({ref for _, ref in meeting})

        def agree(number: int, ref: str) -> bool:
            given, found = rows[number]["categories"], categories[ref]
            return could_be_twins(*((given, found) if areas[number] else (found, given)))

        return {ref for number, ref in meeting if agree(number, ref)}

    def _in_postgis(self, shapes: Any, areas: Any) -> set[tuple[int, str]]:
        """Return the numbers of shapes and the refs that meet, through the GiST index."""
        import shapely

        table = self._table
        given = (
            sa.func.unnest(
                sa.cast(shapely.to_wkb(shapes).tolist(), sa.ARRAY(sa.LargeBinary)),
                sa.cast(areas.tolist(), sa.ARRAY(sa.Boolean)),
            )
            .table_valued(
                sa.column("wkb", sa.LargeBinary),
                sa.column("is_area", sa.Boolean),
                with_ordinality="number",
            )
            .render_derived("given")
        )
        # Materialized, because a shape would be decoded again for each feature in its box.
        ours = (
            sa.select(
                given.c.number,
                given.c.is_area,
                sa.func.ST_GeomFromWKB(given.c.wkb, SRID, type_=Geometry()).label("shape"),
            )
            .cte("ours")
            .prefix_with("MATERIALIZED")
        )
        is_node = table.c.osm_type == "node"
        is_around = sa.func.ST_Intersects(table.c.geometry, ours.c.shape, type_=sa.Boolean)
        query = sa.select(
            ours.c.number - 1, ours.c.is_area, table.c.source_ref, table.c.lon, table.c.lat
        ).join_from(
            ours,
            table,
            sa.and_(
                table.c.geometry.op("&&", is_comparison=True)(ours.c.shape),
                # Not an equality, by which PostgreSQL would join instead of the index.
                sa.case((ours.c.is_area, is_node), else_=~is_node & is_around),
                *self._of_day,
            ),
        )
        rows = self._connection.execute(query).all()
        found = {(number, ref) for number, is_area, ref, _, _ in rows if not is_area}
        in_boxes = [(number, ref, lon, lat) for number, is_area, ref, lon, lat in rows if is_area]
        # PostGIS would prepare an area anew for each node.
        shapely.prepare(shapes)
        numbers = [number for number, *_ in in_boxes]
        points: Any = shapely.points(
            [lon for *_, lon, _ in in_boxes], [each[3] for each in in_boxes]
        )
        inside = shapely.intersects(shapes[numbers], points) if in_boxes else ()
        return found | {
            (number, ref)
            for (number, ref, _, _), is_inside in zip(in_boxes, inside, strict=True)
            if is_inside
        }

    def _in_geopackage(self, shapes: Any, areas: Any) -> set[tuple[int, str]]:
        """Return the numbers of shapes and the refs that meet; it has no spatial index."""
        import numpy as np
        import shapely

        found: set[tuple[int, str]] = set()
        (numbers,) = np.nonzero(areas)
        if len(numbers):
            refs, tree = self._nodes
            one, other = tree.query(shapes[numbers], predicate="intersects")
            found |= {(int(numbers[i]), refs[j]) for i, j in zip(one, other, strict=True)}
        (numbers,) = np.nonzero(~areas)
        if len(numbers):
            refs, tree, blobs = self._others
            one, other = tree.query(shapes[numbers])
            around = shapely.from_wkb([wkb_from_geopackage(blobs[place]) for place in other])
            inside = shapely.intersects(around, shapes[numbers[one]])
            found |= {
                (int(numbers[i]), refs[j]) for i, j in zip(one[inside], other[inside], strict=True)
            }
        return found

    @cached_property
    def _nodes(self) -> tuple[Sequence[str], Any]:
        """The refs of the day's nodes, and a tree of them."""
        import shapely

        columns = self._table.c
        rows = self._read(columns.lon, columns.lat, where=columns.osm_type == "node")
        points: Any = shapely.points([row[1] for row in rows], [row[2] for row in rows])
        return [row[0] for row in rows], shapely.STRtree(points)

    @cached_property
    def _others(self) -> tuple[Sequence[str], Any, Sequence[bytes]]:
        """The refs of the day's other features, a tree of their boxes, and the geometries."""
        import numpy as np
        import shapely

        columns = self._table.c
        rows = self._read(columns.geometry, where=columns.osm_type != "node")
        boxed = [row for row in rows if len(row[1]) > _ENVELOPE.stop]
        sides = np.frombuffer(b"".join(blob[_ENVELOPE] for _, blob in boxed), "<f8").reshape(-1, 4)
        boxes: Any = shapely.box(sides[:, 0], sides[:, 2], sides[:, 1], sides[:, 3])
        return [ref for ref, _ in boxed], shapely.STRtree(boxes), [blob for _, blob in boxed]

    def _read(self, *columns: Any, where: sa.ColumnElement[bool]) -> list[tuple[Any, ...]]:
        """Read through the driver: as WKB, geometries would lose their boxes."""
        query = sa.select(self._table.c.source_ref, *columns).where(*self._of_day, where)
        statement = query.compile(
            dialect=self._connection.dialect, compile_kwargs={"literal_binds": True}
        )
        with driver_of(self._connection) as driver:
            rows: list[tuple[Any, ...]] = driver.execute(str(statement)).fetchall()
        return rows

    def _categories(self, refs: Iterable[str]) -> dict[str, Sequence[str]]:
        wanted, columns = sorted(refs), self._table.c
        found: dict[str, Any] = {}
        for start in range(0, len(wanted), CHUNK):
            query = sa.select(columns.source_ref, columns.categories).where(
                *self._of_day, columns.source_ref.in_(wanted[start : start + CHUNK])
            )
            found |= {row.source_ref: row.categories for row in self._connection.execute(query)}
        return found
