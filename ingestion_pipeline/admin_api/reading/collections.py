"""The collections of the reading API: the views with a geometry that the reader's role may read.

Their columns are those of `staging/views.py`; the database only says which of the views the role
may read. tipg's own catalogue would create functions in each session and read the whole history
for its extents.
"""

from datetime import date, datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Path, Request
from sqlalchemy.dialects import postgresql
from tipg.collections import Catalog, Column, PgCollection

from ingestion_pipeline.admin_api.problems import (
    NOT_FOUND,
    READER_UNSAFE,
    ProblemError,
)
from ingestion_pipeline.admin_api.reading.database import DATABASE, ReaderPool
from ingestion_pipeline.admin_api.reading.role import MAY_MORE
from ingestion_pipeline.config.cities import Cities
from ingestion_pipeline.staging import views
from ingestion_pipeline.staging.errors import DatabaseNotMigrated
from ingestion_pipeline.staging.geometry import SRID
from ingestion_pipeline.staging.tables import VIEWS, metadata

ID_COLUMNS = ("poi_id", "id")
"""The column of feature ids: the first of these that a view has."""

DATETIME_COLUMNS = ("day", "last_changed", "osm_timestamp")
"""The column of the parameter `datetime`: the first of these that a view has."""

REFRESH_SECONDS = 60
"""After this time a request reads again which views there are."""

_READABLE = """
SELECT relname, nspname
FROM unnest($1::text[]) AS name
JOIN pg_class ON pg_class.oid = to_regclass(quote_ident(name))
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE has_table_privilege(pg_class.oid, 'SELECT')
ORDER BY relname
"""

_MAY_MORE = MAY_MORE.format(tables="$1", view="$2")

_TYPES = {"timestamp with time zone": "timestamptz", "varchar": "text"}


class Collections:
    """The collections that tipg finds in the application's state, read when they are needed."""

    def __init__(self, pool: ReaderPool, cities: Cities, *, first_day: date) -> None:
        """Prepare the collections.

        Args:
            pool: The connections of the reader's role.
            cities: The cities, whose boxes give the extent.
            first_day: The first day that can be staged.
        """
        self._pool = pool
        self._bounds = bounds_of(cities)
        self._first_day = first_day

    async def refresh(self, request: Request) -> None:
        """Read which views there are, if that was long ago.

        Raises:
            DatabaseUnavailable: The database does not answer.
            DatabaseNotMigrated: There is no view that the role may read.
            ProblemError: The role may do more than read views.
        """
        catalog: Catalog | None = getattr(request.app.state, "collection_catalog", None)
        if catalog is None or _age_s(catalog) > REFRESH_SECONDS:
            request.app.state.collection_catalog = await self._read()

    async def _read(self) -> Catalog:
        spatial = {name for name in views.definitions() if "geometry" in views.view(name).columns}
        async with self._pool.acquire() as connection:
            found = await connection.fetch(_READABLE, sorted(spatial))
            if not found:
                raise DatabaseNotMigrated(
                    f"Database {DATABASE} has no view that the role may read. Migrate it, and run "
                    "deploy/roles.sql."
                )
            tables = [*metadata.tables, "alembic_version"]
            if await connection.fetchval(_MAY_MORE, tables, found[0]["relname"]):
                raise ProblemError(READER_UNSAFE, READER_UNSAFE.example)
        return Catalog(
            collections={row["relname"]: self._collection(*row) for row in found},
            last_updated=datetime.now(),  # noqa: DTZ005 - tipg's own is naive too
        )

    def _collection(self, name: str, schema: str) -> PgCollection:
        columns = [self._column(column) for column in views.view(name).columns]
        by_name = {column.name: column for column in columns}
        return PgCollection(
            type="Table",
            id=name,
            table=name,
            schema=schema,
            title=name,
            description=_DESCRIPTIONS.get(name, f"The view {name}; see the data dictionary"),
            table_columns=columns,
            properties=columns,
            id_column=next(by_name[each] for each in ID_COLUMNS if each in by_name),
            geometry_column=by_name["geometry"],
            datetime_column=next(
                (by_name[each] for each in DATETIME_COLUMNS if each in by_name), None
            ),
        )

    def _column(self, column: sa.ColumnClause[Any]) -> Column:
        dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
        kind = column.type.compile(dialect=dialect).lower()
        if kind.startswith("geometry"):
            return Column(
                name=column.name,
                type="geometry",
                geometry_type="GEOMETRY",
                srid=SRID,
                bounds=self._bounds,
            )
        since = f"{self._first_day}T00:00:00Z" if column.name == "day" else None
        return Column(name=column.name, type=_TYPES.get(kind, kind), mindt=since)


def bounds_of(cities: Cities) -> list[float]:
    """Return the box of all cities: west, south, east, north."""
    west, south, east, north = zip(*(city.bbox for city in cities), strict=True)
    return [min(west), min(south), max(east), max(north)]


def collection_of(
    request: Request,
    collectionId: Annotated[str, Path(description="Collection identifier")],  # noqa: N803 - tipg's name
) -> PgCollection:
    """Return the collection of a request.

    Raises:
        ProblemError: It does not exist.
    """
    found: PgCollection | None = request.app.state.collection_catalog["collections"].get(
        collectionId
    )
    if found is None:
        raise ProblemError(
            NOT_FOUND,
            f"Collection {collectionId!r} does not exist, or the reader's role may not read it. "
            "See /collections.",
        )
    return found


def _descriptions() -> dict[str, str]:
    result = {}
    for dataset, names in VIEWS.items():
        result[names.current] = f"{dataset}: the newest staged day of each city"
        result[names.day] = (
            f"{dataset}: each staged day of each city. Filter by city_slug and day, "
            "or the whole history is read."
        )
    return result


_DESCRIPTIONS = _descriptions()


def _age_s(catalog: Catalog) -> float:
    age: float = (datetime.now() - catalog["last_updated"]).total_seconds()  # noqa: DTZ005
    return age
