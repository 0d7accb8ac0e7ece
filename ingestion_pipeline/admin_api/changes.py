"""The endpoint of the event feed, for readers: their token, and on PostGIS their database role."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Any, Self

import sqlalchemy as sa
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ingestion_pipeline.admin_api.contract import READERS
from ingestion_pipeline.admin_api.jobs import each_parameter_once
from ingestion_pipeline.admin_api.models import Slug
from ingestion_pipeline.admin_api.problems import (
    AUTHORIZATION,
    DATABASE,
    INVALID_REQUEST,
    READER_UNSAFE,
    UNKNOWN_CITY,
    UNKNOWN_PROMOTION,
    ProblemError,
    responses,
)
from ingestion_pipeline.admin_api.promotion_models import PublicEvent
from ingestion_pipeline.admin_api.reading.mount import check_token, why_feed_closed
from ingestion_pipeline.admin_api.reading.role import MAY_MORE
from ingestion_pipeline.admin_api.service import Service, ServiceDep, secrets_in
from ingestion_pipeline.promotion import feed
from ingestion_pipeline.promotion.errors import UnknownPromotion
from ingestion_pipeline.promotion.feed import Position
from ingestion_pipeline.staging.database import create_engine, describe, read_transaction
from ingestion_pipeline.staging.errors import DatabaseNotMigrated
from ingestion_pipeline.staging.tables import metadata

CONNECTIONS = 4
"""Pages that are read at a time with the reader's role; further requests wait for one."""

_NUMBER_DIGITS = 8
_UUID_DIGITS = 32

CURSOR = f"^[0-9a-f]{{{_UUID_DIGITS}}}[0-7][0-9a-f]{{{_NUMBER_DIGITS - 1}}}$"
"""The form of a cursor: the id of a promotion, and the number of an event."""


@dataclass
class Readers:
    """Who may read the feed, and where it is read.

    Attributes:
        refusal: The answer to every request; None if the feed is open.
        tokens: The accepted tokens; None if no token is required.
        engine: The database with the reader's role; None to read the project's database.
    """

    refusal: ProblemError | None
    tokens: Sequence[bytes] | None
    engine: sa.Engine | None
    _checked: bool = field(default=False, init=False)

    @classmethod
    def of(cls, service: Service) -> Self:
        """Return the readers that the settings admit; nothing is connected."""
        settings = service.settings
        url = settings.reader_database_url
        refusal = why_feed_closed(settings, embedded=service.engine.dialect.name == "sqlite")
        is_public = settings.read_api_access == "public"
        return cls(
            refusal,
            None if is_public else secrets_in(settings.read_api_token),
            create_engine(url.get_secret_value(), service_connections=CONNECTIONS)
            if url is not None and refusal is None
            else None,
        )

    def database(self, service: Service) -> sa.Engine:
        """Return the database to read, after checking it once.

        Raises:
            DatabaseUnavailable: It does not answer.
            DatabaseNotMigrated: It is not of this version, or the role may not read the view.
            ProblemError: The role may do more than read views.
        """
        if self.engine is None:
            return service.database()
        if not self._checked:
            _check_role(self.engine)
            self._checked = True
        return self.engine


def _check_role(engine: sa.Engine) -> None:
    with read_transaction(engine) as connection:
        if connection.execute(sa.text("SELECT to_regclass('poi_feed')")).scalar() is None:
            raise DatabaseNotMigrated(
                f"Database {describe(engine)} has no view poi_feed that the role finds. Migrate "
                "it, and run deploy/roles.sql."
            )
        asked = sa.text(MAY_MORE.format(tables=":tables", view=":view"))
        tables = [*metadata.tables, "alembic_version"]
        if connection.execute(asked, {"tables": tables, "view": "poi_feed"}).scalar_one():
            raise ProblemError(READER_UNSAFE, READER_UNSAFE.example)


# A coroutine, because FastAPI runs plain functions in a thread.
async def _admitted(request: Request) -> Readers:
    readers: Readers = request.app.state.readers
    refusal = readers.refusal or check_token(request, readers.tokens)
    if refusal is not None:
        raise refusal
    return readers


class ChangeQuery(BaseModel):
    """The page of a city's feed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    city: Slug = Field(description="The city")
    since: uuid.UUID | None = Field(
        None,
        description="A promotion with events: those after it. Without it, and without `cursor`, "
        "from the beginning",
    )
    cursor: str | None = Field(
        None, pattern=CURSOR, description="`cursor` of an earlier page; `since` is then ignored"
    )
    limit: int = Field(100, ge=1, le=1000, description="The maximum number of events")


class Change(PublicEvent):
    """An event of a public place, and the promotion that it belongs to."""

    sequence: int = Field(description="The promotion's place in the line of its city")
    promotion_id: str = Field(json_schema_extra={"format": "uuid"})
    day: date = Field(description="The promotion's day")
    promoted_at: datetime
    completes_promotion: bool = Field(
        description="Whether this is the promotion's last event: after it the events so far give "
        "the whole public table"
    )


class ChangePage(BaseModel):
    """Some events of a city, in their order."""

    changes: list[Change]
    cursor: str | None = Field(
        description="Send it as `cursor` to continue after these events, at once or at any later "
        "time; null while the city has no event"
    )
    more: bool = Field(description="Whether there are more events now")


router = APIRouter(prefix="/v1/changes", tags=["changes"])


@router.get(
    "",
    operation_id="list_changes",
    summary="List the events of a city's public places, the oldest first",
    dependencies=[Depends(each_parameter_once)],
    openapi_extra={"security": [{name: []} for name in READERS]},
    responses=responses(
        *AUTHORIZATION, UNKNOWN_CITY, UNKNOWN_PROMOTION, INVALID_REQUEST, READER_UNSAFE, *DATABASE
    ),
)
def list_changes(
    readers: Annotated[Readers, Depends(_admitted)],
    query: Annotated[ChangeQuery, Query()],
    service: ServiceDep,
    response: Response,
) -> ChangePage:
    """Return one page; `cursor` leads to the next one, also to events of later promotions.

    Needs a token of the reading API, if that is not public.
    """
    if all(city.slug != query.city for city in service.cities):
        raise ProblemError(UNKNOWN_CITY, f"City {query.city!r} does not exist.")
    position = _position(query)
    with read_transaction(readers.database(service)) as connection:
        try:
            found = feed.events_after(connection, query.city, position, limit=query.limit + 1)
        except UnknownPromotion as error:
            raise ProblemError(UNKNOWN_PROMOTION, str(error)) from None
    shown = found[: query.limit]
    if shown:
        position = Position(shown[-1]["promotion_id"], shown[-1]["number"])
    # What a reader may see depends on its token, and a stored page would hide what came since.
    response.headers["Cache-Control"] = "no-store"
    followers = [*found[1:], None][: len(shown)]
    return ChangePage(
        changes=[_change(row, then) for row, then in zip(shown, followers, strict=True)],
        cursor=None if position is None else _cursor(position),
        more=len(found) > len(shown),
    )


def add_changes(app: FastAPI, service: Service) -> None:
    """Add the endpoint to the admin API, after the reading API, which checks its settings."""
    app.state.readers = Readers.of(service)
    app.include_router(router)


def close_changes(app: FastAPI) -> None:
    """Close the connections of the reader's role."""
    readers: Readers = app.state.readers
    if readers.engine is not None:
        readers.engine.dispose()


def _change(row: Mapping[str, Any], then: Mapping[str, Any] | None) -> Change:
    """Return a row of the feed as an event.

    Args:
        row: The event.
        then: The event after it; None if there is none yet.
    """
    fields = {name: row[name] for name in Change.model_fields if name in row}
    ends = then is None or then["promotion_id"] != row["promotion_id"]
    return Change(**fields, completes_promotion=ends)


def _cursor(position: Position) -> str:
    return f"{uuid.UUID(position.promotion_id).hex}{position.number:0{_NUMBER_DIGITS}x}"


def _position(query: ChangeQuery) -> Position | None:
    """Return where a page begins; every cursor of valid form is a position."""
    if query.cursor is not None:
        promotion, number = query.cursor[:_UUID_DIGITS], query.cursor[_UUID_DIGITS:]
        return Position(str(uuid.UUID(promotion)), int(number, 16))
    return None if query.since is None else Position(str(query.since))
