"""The endpoints that the review page reads; decisions are those of `promotions.py`."""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from importlib.metadata import version
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from ingestion_pipeline.admin_api.auth import Authorized
from ingestion_pipeline.admin_api.jobs import each_parameter_once
from ingestion_pipeline.admin_api.models import Day, Slug
from ingestion_pipeline.admin_api.problems import (
    AUTHORIZATION,
    DATABASE,
    DAY_NOT_STAGED,
    DIFFERENCE_CHANGED,
    INVALID_REQUEST,
    NO_PROPOSAL,
    NO_PUBLIC_DAY,
    UNKNOWN_CITY,
    UNKNOWN_PLACE,
    ProblemError,
    Responses,
    responses,
)
from ingestion_pipeline.admin_api.promotion_models import Explanation
from ingestion_pipeline.admin_api.review import cities, content, models, places
from ingestion_pipeline.admin_api.review.differences import (
    KINDS,
    Compared,
    Difference,
    Differences,
    Filter,
    Item,
    Side,
    Sides,
    digest_of,
    resolve,
)
from ingestion_pipeline.admin_api.service import Service, ServiceDep
from ingestion_pipeline.config.cities import City
from ingestion_pipeline.promotion.errors import UnknownPlace
from ingestion_pipeline.quality.catalogue import CHECKS
from ingestion_pipeline.staging.database import read_transaction

VERSION = version("ingestion-pipeline")

_OFFSET_DIGITS = 8
_DIGEST_DIGITS = 16

CURSOR = f"^[0-9a-f]{{{_DIGEST_DIGITS}}}[0-7][0-9a-f]{{{_OFFSET_DIGITS - 1}}}$"
"""The form of a cursor: a digest of the difference and the filter, and the number of items before
the page."""

_DIFFERENCE = "/cities/{city_slug}/difference"
_KIND = "|".join(dict.fromkeys(kind for kinds in KINDS.values() for kind in kinds))


# What a person may see depends on the token, and a stored answer would hide what came since.
async def _unstored(response: Response) -> None:
    response.headers["Cache-Control"] = "no-store"


router = APIRouter(
    prefix="/v1/admin/review",
    tags=["review"],
    dependencies=[Authorized, Depends(_unstored), Depends(each_parameter_once)],
)


def _side(word: str) -> tuple[BeforeValidator, WithJsonSchema]:
    """Return how a side is read and described: None for a word, or else a day."""

    def parsed(value: object) -> object:
        if value == word:
            return None
        if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
            raise ValueError(f"use {word} or YYYY-MM-DD")
        return value

    # Not `anyOf`, which is how null is described.
    schema = {"oneOf": [{"const": word}, {"type": "string", "format": "date"}]}
    return BeforeValidator(parsed), WithJsonSchema(schema)


class DaysQuery(BaseModel):
    """A page of staged days."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(50, ge=1, le=200, description="The maximum number of days")
    cursor: Day | None = Field(None, description="`next_cursor` of the previous page")


class SidesQuery(BaseModel):
    """The two sides of a difference."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    from_: Annotated[date | None, *_side("public")] = Field(
        alias="from", description="`public`, or a staged day", examples=["public"]
    )
    to: Annotated[date | None, *_side("proposal")] = Field(
        description="`proposal`, which is the open promotion, or a staged day",
        examples=["proposal"],
    )

    def sides(self) -> Sides:
        """Return the days."""
        return Sides(self.from_, self.to)


class PlaceQuery(SidesQuery):
    """One place of a difference."""

    place: str = Field(min_length=1, max_length=300, description="`place` of an item")


class MapQuery(SidesQuery):
    """The filters of a difference."""

    kind: str | None = Field(
        None,
        pattern=f"^({_KIND})(,({_KIND}))*$",
        max_length=500,
        description="Only these kinds, with commas between them",
        examples=["moved"],
    )
    category: str | None = Field(
        None, min_length=1, max_length=200, description="Only this category and those below it"
    )
    text: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Only items with this text in a name, the category, the ref or the id, "
        "without regard to case and marks",
    )

    def filter(self) -> Filter:
        """Return the filter."""
        kinds = self.kind.split(",") if self.kind else ()
        return Filter(frozenset(kinds), self.category or "", self.text or "")


class DifferenceQuery(MapQuery):
    """A page of a difference."""

    limit: int = Field(50, ge=1, le=500, description="The maximum number of items")
    cursor: str | None = Field(
        None, pattern=CURSOR, description="`next_cursor` of the previous page"
    )


_OF_CITY = (*AUTHORIZATION, UNKNOWN_CITY, INVALID_REQUEST, *DATABASE)
_OF_DIFFERENCE = (*_OF_CITY, DAY_NOT_STAGED, NO_PROPOSAL, NO_PUBLIC_DAY)

_IF_CHANGED: Responses = {
    304: {"description": "It is what `If-None-Match` names"},
}


@router.get(
    "/settings",
    operation_id="get_review_settings",
    summary="Get what the review page needs to know about itself",
    responses=responses(*AUTHORIZATION, INVALID_REQUEST),
)
def get_review_settings(service: ServiceDep) -> models.ReviewSettings:
    """Return the version, the basemap, and the legends of kinds and checks."""
    return models.ReviewSettings(
        version=VERSION,
        basemap_style_url=service.settings.basemap_style_url,
        groups=[models.LegendGroup(**group) for group in content.GROUPS],
        kinds=models.ItemKinds(**{mode: list(kinds) for mode, kinds in KINDS.items()}),
        checks=[
            models.CheckAbout(
                **{name: getattr(check, name) for name in models.CheckAbout.model_fields}
            )
            for check in CHECKS
        ],
    )


@router.get(
    "/cities",
    operation_id="list_review_cities",
    summary="List the cities with their newest days, checks and promotions",
    responses=responses(*AUTHORIZATION, INVALID_REQUEST, *DATABASE),
)
def list_review_cities(service: ServiceDep) -> models.ReviewCities:
    """Return all cities of the cities file, in its order."""
    now = service.clock.now()
    with read_transaction(service.database()) as connection:
        return models.ReviewCities(cities=cities.states(connection, service.cities, now))


@router.get(
    "/cities/{city_slug}/days",
    operation_id="list_staged_days",
    summary="List the staged days of a city, the newest first",
    responses=responses(*_OF_CITY),
)
def list_staged_days(
    city_slug: Slug, query: Annotated[DaysQuery, Query()], service: ServiceDep
) -> models.StagedDays:
    """Return one page of the days that can be compared; `next_cursor` leads to the next one."""
    city = _known_city(service, city_slug)
    with read_transaction(service.database()) as connection:
        return cities.days(connection, city.slug, before=query.cursor, limit=query.limit)


@router.get(
    _DIFFERENCE,
    operation_id="get_difference",
    summary="Get what would become public, or what differs between two staged days",
    response_model=models.DifferencePage,
    responses=_IF_CHANGED | responses(*_OF_DIFFERENCE, DIFFERENCE_CHANGED),
)
def get_difference(
    city_slug: Slug,
    query: Annotated[DifferenceQuery, Query()],
    service: ServiceDep,
    request: Request,
    response: Response,
) -> Any:
    """Return counts, and one page of the items: by kind, and the largest of each kind first.

    From `public` to `proposal`, the items are the events of the open promotion. Otherwise two
    staged days are compared.
    """
    city = _known_city(service, city_slug)
    chosen = query.filter()
    with read_transaction(service.database()) as connection:
        compared = resolve(connection, city.slug, query.sides())
        listed = digest_of(compared.version, chosen.digest)
        start = _start(query.cursor, listed)
        tag = _tag(listed, str(start), str(query.limit))
        if is_known(request, tag):
            return _unchanged(tag)
        found = _differences(request).of(connection, compared)
        matched = found.matching(chosen)
        shown = matched.items[start : start + query.limit]
        end = start + len(shown)
        page = models.DifferencePage(
            **_head(compared),
            kinds=_kind_counts(found, matched.kinds),
            categories=_category_counts(found, matched.categories),
            total=len(found.items),
            matching=len(matched.items),
            items=_items(connection, compared, shown),
            next_cursor=f"{listed}{end:0{_OFFSET_DIGITS}x}" if end < len(matched.items) else None,
        )
    response.headers["ETag"] = tag
    return page


@router.get(
    f"{_DIFFERENCE}/map",
    operation_id="get_difference_map",
    summary="Get the places of a difference as the content of a map",
    response_model=models.DifferenceMap,
    responses=_IF_CHANGED | responses(*_OF_DIFFERENCE),
)
def get_difference_map(
    city_slug: Slug,
    query: Annotated[MapQuery, Query()],
    service: ServiceDep,
    request: Request,
) -> Response:
    """Return all items that match, by column, in the order of the list; compressed by gzip."""
    city = _known_city(service, city_slug)
    chosen = query.filter()
    with read_transaction(service.database()) as connection:
        compared = resolve(connection, city.slug, query.sides())
        basemap = service.settings.basemap_style_url
        tag = _tag(compared.version, chosen.digest, "map", basemap or "")
        if is_known(request, tag):
            return _unchanged(tag)
        matched = _differences(request).of(connection, compared).matching(chosen)
        as_of = places.times_of(connection, compared)
    pieces = content.pieces(
        compared, matched.items, title=_title(city, compared), as_of=as_of, basemap=basemap
    )
    return _json(request, pieces, tag)


@router.get(
    f"{_DIFFERENCE}/place",
    operation_id="get_place_difference",
    summary="Get one place of a difference in full",
    responses=responses(*_OF_DIFFERENCE, UNKNOWN_PLACE),
)
def get_place_difference(
    city_slug: Slug,
    query: Annotated[PlaceQuery, Query()],
    service: ServiceDep,
    request: Request,
) -> models.PlaceDifference:
    """Return a place before and after by column, its items, and where it comes from."""
    city = _known_city(service, city_slug)
    database = service.database()
    with read_transaction(database) as connection:
        compared = resolve(connection, city.slug, query.sides())
        whole = places.place_of(connection, compared, query.place)
        found = _differences(request).of(connection, compared)
        own = [item for item in found.items if item.place == query.place]
        items = _items(connection, compared, own)
    row = whole.after or whole.before
    assert row is not None
    before, after = whole.before or {}, whole.after or {}
    return models.PlaceDifference(
        **_head(compared),
        place=query.place,
        poi_id=whole.poi_id,
        category_label=content.labels_of([row["category"]])[row["category"]],
        **{name: row[name] for name in ("source_ref", "category", "name")},
        positions=models.Positions(
            **{name: _point(side) for name, side in (("before", before), ("after", after))}
        ),
        columns=[
            models.PlaceColumn(
                column=name,
                before=before.get(name),
                after=after.get(name),
                changed=before.get(name) != after.get(name),
            )
            for name in whole.columns
        ],
        items=items,
        staged=models.BothSides(before=whole.staged[0], after=whole.staged[1]),
        explanation=_explanation(service, whole.poi_id),
    )


def add_review(app: FastAPI) -> None:
    """Add the endpoints to the admin API."""
    app.state.differences = Differences()
    app.include_router(router)


def _differences(request: Request) -> Differences:
    kept: Differences = request.app.state.differences
    return kept


def _known_city(service: Service, slug: str) -> City:
    for city in service.cities:
        if city.slug == slug:
            return city
    raise ProblemError(
        UNKNOWN_CITY, f"City {slug!r} does not exist. 'poi-ingest cities' lists the cities."
    )


def _start(cursor: str | None, listed: str) -> int:
    """Return the number of items before a page."""
    if cursor is None:
        return 0
    if cursor[:_DIGEST_DIGITS] != listed:
        raise ProblemError(DIFFERENCE_CHANGED, DIFFERENCE_CHANGED.example)
    return int(cursor[_DIGEST_DIGITS:], 16)


def _tag(*parts: str) -> str:
    return f'"{digest_of(VERSION, *parts)}"'


def is_known(request: Request, tag: str) -> bool:
    """Return whether a client has what a tag names."""
    known = request.headers.get("If-None-Match", "")
    return tag in [each.strip().removeprefix("W/") for each in known.split(",")]


def _unchanged(tag: str) -> Response:
    return Response(status_code=304, headers={"ETag": tag, "Cache-Control": "no-store"})


def _json(request: Request, pieces: Iterable[str], tag: str) -> Response:
    """Return JSON, compressed if the client takes it."""
    headers = {"ETag": tag, "Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if takes_gzip(request):
        body = content.compressed(pieces)
        headers["Content-Encoding"] = "gzip"
    else:
        body = "".join(pieces).encode()
    return Response(body, media_type="application/json", headers=headers)


def takes_gzip(request: Request) -> bool:
    """Return whether a client takes gzip."""
    accepted = request.headers.get("Accept-Encoding", "").lower().replace(" ", "").split(",")
    return any(
        each == "gzip" or (each.startswith("gzip;q=") and each[7:] not in ("0", "0.0"))
        for each in accepted
    )


def _title(city: City, compared: Compared) -> str:
    name = city.name.get("en", city.slug)
    first = "" if compared.from_day is None else f"{compared.from_day} to "
    return f"{name}, {first}{compared.to_day}"


def _head(compared: Compared) -> dict[str, Any]:
    return {name: getattr(compared, name) for name in models.DifferenceHead.model_fields}


def _kind_counts(found: Difference, matching: Mapping[str, int]) -> list[models.KindCount]:
    return [
        models.KindCount(kind=kind, count=found.kinds[kind], matching=matching[kind])
        for kind in KINDS[found.compared.mode]
        if found.kinds[kind]
    ]


def _category_counts(found: Difference, matching: Mapping[str, int]) -> list[models.CategoryCount]:
    labels = content.labels_of(found.categories)
    largest = sorted(found.categories.items(), key=lambda each: (-each[1], each[0]))
    return [
        models.CategoryCount(
            category=category, label=labels[category], count=count, matching=matching[category]
        )
        for category, count in largest
    ]


def _items(
    connection: sa.Connection, compared: Compared, items: Iterable[Item]
) -> list[models.DifferenceItem]:
    shown = list(items)
    columns = places.columns_of(connection, compared, shown)
    labels = content.labels_of({item.side.category for item in shown})
    return [
        models.DifferenceItem(
            item=item.id,
            place=item.place,
            kind=item.kind,
            group=item.group,
            size=models.Size(value=item.size, unit=item.unit),
            category_label=labels[item.side.category],
            **{name: getattr(item.side, name) for name in ("source_ref", "category", "name")},
            positions=models.Positions(before=_position(item.before), after=_position(item.after)),
            changed=list(item.changed),
            cause=item.cause or None,
            **of_item._asdict(),
        )
        for item, of_item in zip(shown, columns, strict=True)
    ]


def _position(side: Side | None) -> tuple[float, float] | None:
    return None if side is None else (side.lon, side.lat)


def _point(row: Mapping[str, Any]) -> tuple[float, float] | None:
    return (row["lon"], row["lat"]) if row else None


def _explanation(service: Service, poi_id: str | None) -> Explanation | None:
    from ingestion_pipeline.promotion.explain import explain

    if poi_id is None:
        return None
    try:
        return Explanation(**explain(service.database(), poi_id))
    except UnknownPlace:
        return None
