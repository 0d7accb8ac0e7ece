"""Features of a staged day that could be twins of some of its features.

Belongs here: the spatial query on both databases. Does not belong here: what a twin is
(`identity.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingestion_pipeline.staging.bulk import CHUNK
from ingestion_pipeline.staging.database import driver_of, is_geopackage
from ingestion_pipeline.staging.days import in_history
from ingestion_pipeline.staging.geometry import SRID, Geometry, wkb_from_geopackage
from ingestion_pipeline.staging.geopackage_index import index_name
from ingestion_pipeline.staging.views import valid_on

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from ingestion_pipeline.promotion.rows import Row
    from ingestion_pipeline.staging.days import Slice

_AREA = 2
"""The dimension of an area."""


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
        """Return the numbers of shapes and the refs that meet, through the R-tree index."""
        import shapely

        meeting = [
            (number, ref, blob)
            for is_area in (True, False)
            for number, ref, blob in self._in_boxes(shapes, areas == is_area, nodes=is_area)
        ]
        if not meeting:
            return set()
        shapely.prepare(shapes)
        others = shapely.from_wkb([wkb_from_geopackage(blob) for *_, blob in meeting])
        inside = shapely.intersects(shapes[[number for number, *_ in meeting]], others)
        return {
            (number, ref)
            for (number, ref, _), is_inside in zip(meeting, inside, strict=True)
            if is_inside
        }

    def _in_boxes(
        self, shapes: Any, chosen: Any, *, nodes: bool
    ) -> Iterator[tuple[int, str, bytes]]:
        """Yield the number of a chosen shape, and the ref and geometry of what is in its box.

        Through the driver: SQLAlchemy takes ten times as long as a look into the index.
        """
        import numpy as np
        import shapely

        layer = self._table.name
        is_node = self._table.c.osm_type == "node"
        of_day = sa.and_(*self._of_day, is_node if nodes else ~is_node).compile(
            dialect=self._connection.dialect, compile_kwargs={"literal_binds": True}
        )
        # CROSS: SQLite would look through all features of the city for each box.
        statement = (
            f"SELECT {layer}.source_ref, {layer}.geometry "  # noqa: S608 - the names are ours
            f"FROM {index_name(layer)} AS boxes CROSS JOIN {layer} ON {layer}.id = boxes.id "
            "WHERE boxes.minx <= ? AND boxes.maxx >= ? AND boxes.miny <= ? AND boxes.maxy >= ? "
            f"AND {of_day}"
        )
        (numbers,) = np.nonzero(chosen)
        # What is left of the right side is near, and so on.
        opposite = shapely.bounds(shapes[numbers])[:, [2, 0, 3, 1]]
        with driver_of(self._connection) as driver:
            for number, sides in zip(numbers.tolist(), opposite.tolist(), strict=True):
                for ref, blob in driver.execute(statement, sides):
                    yield number, ref, blob

    def _categories(self, refs: Iterable[str]) -> dict[str, Sequence[str]]:
        wanted, columns = sorted(refs), self._table.c
        found: dict[str, Any] = {}
        for start in range(0, len(wanted), CHUNK):
            query = sa.select(columns.source_ref, columns.categories).where(
                *self._of_day, columns.source_ref.in_(wanted[start : start + CHUNK])
            )
            found |= {row.source_ref: row.categories for row in self._connection.execute(query)}
        return found
