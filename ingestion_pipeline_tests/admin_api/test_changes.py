"""The event feed by HTTP: what a consumer gets who applies it, on each database."""

from __future__ import annotations

import random
import uuid
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ingestion_pipeline.promotion import ledger
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline_tests.support.api_server import TOKEN, running_api
from ingestion_pipeline_tests.support.promoted import (
    SOMEBODY,
    promote,
    public_rows,
    revert,
    stage_places,
)
from testbed.postgres_server import OWNER, READER, WORKER, as_role, make_roles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingestion_pipeline_tests.support.api_server import Api
    from testbed.postgres_server import PostgresServer

READ_TOKEN = "a-token-of-the-readers"
READ = {"X-Read-Token": READ_TOKEN}
CHANGES = "/v1/changes"
DAY = date(2026, 1, 1)
COLUMNS_OF_TIME = ("osm_timestamp",)

Places = dict[str, dict[str, Any]]


@contextmanager
def migrated(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Any]:
    """Give the worker's engine of a new database, and the settings with which it is read."""
    token = {"read_api_token": SecretStr(f"{READ_TOKEN}, the next one")}
    if kind == "geopackage":
        engine = create_engine(f"sqlite:///{folder}/staging.gpkg")
        migrate(engine)
        yield engine, token
        engine.dispose()
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.fresh_database() as url:
        make_roles(url)
        owner = create_engine(as_role(url, OWNER))
        migrate(owner)
        owner.dispose()
        make_roles(url)
        engine = create_engine(as_role(url, WORKER))
        yield engine, token | {"reader_database_url": SecretStr(as_role(url, READER))}
        engine.dispose()


DATABASES = ["geopackage", pytest.param("postgis", marks=pytest.mark.postgis)]


@pytest.fixture(params=DATABASES)
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    with (
        migrated(request.param, request, tmp_path) as (engine, settings),
        running_api(tmp_path, engine, **settings) as running,
    ):
        yield running


def page(api: Api, **parameters: Any) -> dict[str, Any]:
    reply = api.http.get(CHANGES, params={"city": "town"} | parameters, headers=READ)
    assert reply.status_code == 200, reply.text
    assert reply.headers["Cache-Control"] == "no-store"
    found: dict[str, Any] = reply.json()
    return found


class Consumer:
    """Keeps a copy of the public table, as docs/reading.md says: rows by place, and a cursor."""

    def __init__(self, api: Api, limit: int) -> None:
        self.api = api
        self.limit = limit
        self.cursor: str | None = None
        self.rows: dict[str, dict[str, Any]] = {}
        self.seen: list[tuple[int, int]] = []
        self.complete: list[tuple[str, dict[str, Any]]] = []

    def read_a_page(self) -> bool:
        where = {} if self.cursor is None else {"cursor": self.cursor}
        got = page(self.api, limit=self.limit, **where)
        assert len(got["changes"]) <= self.limit
        for change in got["changes"]:
            if change["after"] is None:
                del self.rows[change["poi_id"]]
            else:
                old = self.rows.get(change["poi_id"], {})
                self.rows[change["poi_id"]] = {**old, **change["after"]}
            self.seen.append((change["sequence"], change["number"]))
            if change["completes_promotion"]:
                self.complete.append((change["promotion_id"], dict(self.rows)))
        self.cursor = got["cursor"]
        return bool(got["more"])

    def read_on(self) -> None:
        while self.read_a_page():
            pass


def table(api: Api) -> dict[str, dict[str, Any]]:
    """Read the public table by SQL, with the values of JSON."""
    return {
        row["poi_id"]: {name: _plain(value) for name, value in row.items()}
        for row in public_rows(api.engine, "town")
    }


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if type(value) is date else value


def with_times(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Read the times of rows; their text may differ in digits."""
    return {poi_id: {name: _time(name, row[name]) for name in row} for poi_id, row in rows.items()}


def _time(name: str, value: Any) -> Any:
    if name not in COLUMNS_OF_TIME or value is None:
        return value
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.astimezone(UTC)


def promote_places(api: Api, day: date, places: Places) -> str:
    """Stage and promote a day; approve it where a person is asked. Return the promotion."""
    stage_places(api.engine, "town", day, places)
    made = promote(api.engine, "town", day)
    if made.status == "PROPOSED":
        ledger.approve(api.engine, made.id, SOMEBODY)
        made = promote(api.engine, "town", day)
    assert made.status == "PROMOTED"
    return made.id


def random_places(chance: random.Random) -> Places:
    return {
        f"node/{number}": {
            "category": chance.choice(["amenity/cafe", "shop/bakery"]),
            "name": f"Place {number} {chance.choice('ab')}",
            "opening_hours": chance.choice([None, "24/7"]),
            "at": (number / 1000 + chance.choice([0, 0.0001]), 0.5),
        }
        for number in range(1, 9)
        if chance.random() > 0.25
    }


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_feed_from_the_beginning_gives_the_public_table_after_each_promotion(
    api: Api, seed: int
) -> None:
    chance = random.Random(seed)
    slow, at_once = Consumer(api, limit=2), Consumer(api, limit=3)
    states: dict[str, dict[str, Any]] = {}
    for number in range(6):
        made = promote_places(api, DAY + timedelta(days=number), random_places(chance))
        states[made] = table(api)
        slow.read_a_page()  # which rarely ends where a promotion does
        at_once.read_on()
        assert with_times(at_once.rows) == with_times(states[made])
        if number in (2, 4):
            undone = revert(api.engine, "town", chance.choice(list(states)[1:]))
            states[undone.id] = table(api)
            slow.read_a_page()
    late = Consumer(api, limit=1000)
    for consumer in (slow, at_once, late):
        consumer.read_on()
        assert with_times(consumer.rows) == with_times(table(api))
        for promotion_id, rows in consumer.complete:
            assert with_times(rows) == with_times(states[promotion_id])
    assert slow.seen == at_once.seen == late.seen == events_in_order(api.engine)
    assert slow.complete == at_once.complete == late.complete
    assert len(late.complete) > 6


def events_in_order(engine: sa.Engine) -> list[tuple[int, int]]:
    query = sa.text(
        "SELECT sequence, number FROM poi_event JOIN promotion ON promotion.id = promotion_id "
        "WHERE status = 'PROMOTED' AND city_slug = 'town' ORDER BY 1, 2"
    )
    with engine.connect() as connection:
        return [(row.sequence, row.number) for row in connection.execute(query)]


def cafes(*names: str) -> Places:
    return {
        f"node/{number}": {"category": "amenity/cafe", "name": name}
        for number, name in enumerate(names, start=1)
    }


def test_a_change_has_its_promotion_and_nobodys_decision(api: Api) -> None:
    promote_places(api, DAY, cafes("Café", "Bar"))
    second = promote_places(api, DAY + timedelta(days=1), cafes("Café", "Bistro"))
    (change,) = page(api, since=str(promotions(api)[0]))["changes"]
    assert change["promotion_id"] == second
    assert (change["kind"], change["number"], change["day"]) == ("renamed", 0, "2026-01-02")
    assert (change["before"]["name"], change["after"]["name"]) == ("Bar", "Bistro")
    assert change["promoted_at"].endswith("Z")
    assert change["completes_promotion"]
    assert set(change) == {
        *("sequence", "promotion_id", "day", "promoted_at", "completes_promotion"),
        *("number", "poi_id", "kind", "before", "after", "evidence"),
    }


def promotions(api: Api) -> list[str]:
    """Return the promotions of the feed, in its order."""
    return list(dict.fromkeys(change["promotion_id"] for change in page(api)["changes"]))


def test_a_consumer_that_is_up_to_date_keeps_its_place(api: Api) -> None:
    assert page(api) == {"changes": [], "cursor": None, "more": False}
    first = promote_places(api, DAY, cafes("Café", "Bar"))
    read = page(api)
    assert [change["completes_promotion"] for change in read["changes"]] == [False, True]
    nothing = page(api, cursor=read["cursor"])
    assert nothing == {"changes": [], "cursor": read["cursor"], "more": False}
    since = page(api, since=first)
    assert (since["changes"], since["more"]) == ([], False)
    promote_places(api, DAY + timedelta(days=1), cafes("Café", "Bistro", "Pub"))
    for where in ({"cursor": read["cursor"]}, {"since": first}, {"cursor": since["cursor"]}):
        assert [each["kind"] for each in page(api, **where)["changes"]] == ["renamed", "appeared"]
    # The cursor counts where both are sent, so that a loop may keep its parameters.
    end = page(api, since=first)["cursor"]
    assert page(api, since=first, cursor=end)["changes"] == []


def test_what_is_only_proposed_is_not_in_the_feed(api: Api) -> None:
    first = promote_places(api, DAY, cafes("Café"))
    stage_places(api.engine, "town", DAY + timedelta(days=1), cafes("Bar"))
    made = promote(api.engine, "town", DAY + timedelta(days=1), policy="review")
    assert made.status == "PROPOSED"
    assert page(api, since=first)["changes"] == []
    reply = api.http.get(CHANGES, params={"city": "town", "since": made.id}, headers=READ)
    assert (reply.status_code, reply.json()["code"]) == (404, "unknown_promotion")


def test_a_position_belongs_to_one_city(api: Api) -> None:
    first = promote_places(api, DAY, cafes("Café"))
    cursor = page(api)["cursor"]
    assert page(api, city="other-town")["changes"] == []
    for where in ({"since": first}, {"cursor": cursor}):
        parameters = {"city": "other-town", **where}
        reply = api.http.get(CHANGES, params=parameters, headers=READ)
        assert (reply.status_code, reply.json()["code"]) == (404, "unknown_promotion")
        assert first in reply.json()["detail"]


@pytest.mark.parametrize(
    ("parameters", "status", "code"),
    [
        ({}, 422, "invalid_request"),
        ({"city": "kasan"}, 404, "unknown_city"),
        ({"city": "town", "limit": 0}, 422, "invalid_request"),
        ({"city": "town", "limit": 1001}, 422, "invalid_request"),
        ({"city": "town", "since": "yesterday"}, 422, "invalid_request"),
        ({"city": "town", "since": str(uuid.UUID(int=1))}, 404, "unknown_promotion"),
        ({"city": "town", "cursor": "0" * 39}, 422, "invalid_request"),
        ({"city": "town", "cursor": "0" * 32 + "80000000"}, 422, "invalid_request"),
        ({"city": "town", "cursor": "0" * 40}, 404, "unknown_promotion"),
        ({"city": "town", "from": "x"}, 422, "invalid_request"),
        ({"city": ["town", "other-town"]}, 422, "invalid_request"),
    ],
)
def test_a_wrong_parameter_is_an_error(
    api: Api, parameters: dict[str, Any], status: int, code: str
) -> None:
    reply = api.http.get(CHANGES, params=parameters, headers=READ)
    assert (reply.status_code, reply.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-Admin-Token": TOKEN}, 401),
        ({"X-Read-Token": TOKEN}, 403),
        ({"Authorization": "Basic !!!"}, 403),
        ({"X-Read-Token": "the next one"}, 200),
        ({"Authorization": f"Bearer {READ_TOKEN}"}, 200),
        ({"Authorization": "Basic bm9ib2R5OmEtdG9rZW4tb2YtdGhlLXJlYWRlcnM="}, 200),
    ],
)
def test_only_the_readers_token_opens_the_feed(
    api: Api, headers: dict[str, str], status: int
) -> None:
    reply = httpx.get(f"{api.url}{CHANGES}?city=town", headers=headers)
    assert reply.status_code == status
    assert READ_TOKEN not in reply.text
    if status == 401:
        assert reply.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.server
@pytest.mark.parametrize("kind", DATABASES)
def test_the_feed_is_closed_without_its_settings_and_open_where_it_is_public(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with migrated(kind, request, tmp_path) as (engine, settings):
        for missing in settings:
            with running_api(tmp_path, engine, **(settings | {missing: None})) as api:
                reply = api.http.get(CHANGES, params={"city": "town"}, headers=READ)
                assert (reply.status_code, reply.json()["code"]) == (503, "not_configured")
                assert f"{missing.upper()} is not set" in reply.json()["detail"]
        public = settings | {"read_api_token": None, "read_api_access": "public"}
        with running_api(tmp_path, engine, **public) as api:
            assert httpx.get(f"{api.url}{CHANGES}?city=town").status_code == 200


@pytest.mark.server
@pytest.mark.postgis
def test_a_role_that_may_read_tables_on_postgis_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with migrated("postgis", request, tmp_path) as (engine, settings):
        url = engine.url.render_as_string(hide_password=False)
        unsafe = settings | {"reader_database_url": SecretStr(url)}
        with running_api(tmp_path, engine, **unsafe) as api:
            reply = api.http.get(CHANGES, params={"city": "town"}, headers=READ)
            assert (reply.status_code, reply.json()["code"]) == (503, "reader_unsafe")
