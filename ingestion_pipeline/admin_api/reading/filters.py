"""The filters that clients may send: CQL2 (OGC 21-065), and the parameter `datetime`.

Belongs here: parsing and checking that stands in for tipg's. Does not belong here: SQL, which tipg
and its library write.

tipg's library writes a filter into SQL and lets an unknown operator pass as a function of the
database. So only the standard's operators and the collection's own columns are accepted.
"""

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NoReturn

from cql2 import Expr
from fastapi import Depends, Query
from tipg.collections import PgCollection

from ingestion_pipeline.admin_api.problems import INVALID_REQUEST, ProblemError
from ingestion_pipeline.admin_api.reading.collections import collection_of

_LOGICAL = {"and", "or", "not"}
_COMPARISON = {"=", "<>", "<", ">", "<=", ">=", "like", "between", "in", "isNull"}
_CHARACTERS = {"casei"}
_ARITHMETIC = {"+", "-", "*", "/", "%", "^", "div"}
_SPATIAL = {
    f"s_{name}"
    for name in (
        "contains", "crosses", "disjoint", "equals", "intersects", "overlaps", "touches", "within",
    )
}  # fmt: skip
_TEMPORAL = {"t_after", "t_before", "t_equals"}
OPERATORS = frozenset(_LOGICAL | _COMPARISON | _CHARACTERS | _ARITHMETIC | _SPATIAL | _TEMPORAL)

CONFORMANCE = [
    f"http://www.opengis.net/spec/cql2/1.0/conf/{name}"
    for name in (
        "cql2-text",
        "cql2-json",
        "basic-cql2",
        "advanced-comparison-operators",
        "case-insensitive-comparison",
        "basic-spatial-functions",
        "spatial-functions",
        "arithmetic",
    )
]
"""The classes of CQL2 that the operators cover."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}T?")
"""A day; GDAL sends it with a T where its filter has a column of days."""

_OPEN = ("", "..")

DEEPEST = 20
"""The maximum depth of a filter."""


def filter_of(
    collection: Annotated[PgCollection, Depends(collection_of)],
    text: Annotated[str | None, Query(alias="filter")] = None,
) -> Expr | None:
    """Return the filter of a request; stands in for tipg's `filter_query`.

    Raises:
        ProblemError: It is not CQL2, or names unknown operators or columns.
    """
    if text is None:
        return None
    try:
        parsed = Expr(text)
    except Exception as error:  # the library raises no class of its own for text
        raise ProblemError(INVALID_REQUEST, f"The filter is not CQL2:\n{error}") from error
    return checked(parsed, {column.name for column in collection.properties})


def interval_of(
    text: Annotated[str | None, Query(alias="datetime", description="Temporal Filter.")] = None,
) -> list[str] | None:
    """Return the moment or interval of a request; stands in for tipg's `datetime_query`.

    An interval includes its end (OGC 17-069r4, 7.15.4), which tipg excludes. GDAL and QGIS send
    days without a time, which are read as whole days in UTC.

    Raises:
        ProblemError: It is neither.
    """
    if not text:
        return None
    start, separator, end = text.partition("/")
    if not separator and not _DAY.fullmatch(start):
        return [_moment(start).isoformat()]
    if not separator:
        end = start
    if end in _OPEN:
        return [start if start in _OPEN else _moment(start).isoformat(), ".."]
    first = datetime.min.replace(tzinfo=UTC) if start in _OPEN else _moment(start)
    return [first.isoformat(), _moment(end, later=True).isoformat()]


def _moment(text: str, *, later: bool = False) -> datetime:
    """Return a day's begin or a moment; `later`: the first moment after it."""
    is_day = _DAY.fullmatch(text)
    try:
        moment = datetime.fromisoformat(f"{text[:10]}T00:00Z" if is_day else text)
        if later:
            moment += timedelta(days=1) if is_day else timedelta(microseconds=1)
        return moment.astimezone(UTC) if moment.tzinfo else _reject(text)
    except (ValueError, OverflowError):
        _reject(text)


def _reject(text: str) -> NoReturn:
    raise ProblemError(
        INVALID_REQUEST,
        f"datetime has {text!r}. Use a day such as 2024-01-31, a moment such as "
        "2024-01-31T12:00:00Z, or two with a slash between them.",
    )


def checked(filter_: Expr, columns: Collection[str]) -> Expr:
    """Return a filter that names known operators and columns only.

    Args:
        filter_: The filter of a request.
        columns: The columns of the collection.

    Raises:
        ProblemError: It names anything else, or is too deep.
    """
    return Expr(_checked(filter_.to_json(), columns, 0))


def _checked(node: Any, columns: Collection[str], depth: int) -> Any:
    if depth > DEEPEST:
        raise ProblemError(INVALID_REQUEST, f"The filter is deeper than {DEEPEST} levels.")
    match node:
        case {"op": operator} if operator not in OPERATORS:
            raise ProblemError(
                INVALID_REQUEST,
                f"The filter's operator {operator!r} is not supported. Use one of: "
                f"{', '.join(sorted(OPERATORS))}.",
            )
        case {"property": column} if column not in columns:
            raise ProblemError(
                INVALID_REQUEST,
                f"The filter's property {column!r} does not exist. See queryables of the "
                "collection.",
            )
        case {"bbox": bounds}:
            return _polygon(bounds)
        case dict():
            return {key: _checked(value, columns, depth + 1) for key, value in node.items()}
        case list():
            return [_checked(value, columns, depth + 1) for value in node]
    return node


def _polygon(bounds: list[float]) -> dict[str, Any]:
    """Return a bbox as a polygon: a bbox in SQL would have no SRID, and fail."""
    half = len(bounds) // 2
    (west, south), (east, north) = bounds[:2], bounds[half : half + 2]
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}
