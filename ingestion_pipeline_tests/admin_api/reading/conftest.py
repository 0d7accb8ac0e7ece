"""A reading API on PostGIS with the roles of deploy/roles.sql, and two cities of three days."""

from __future__ import annotations

from contextlib import closing
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline_tests.support.api_server import running_api
from ingestion_pipeline_tests.support.staged import stage, stage_helpers
from testbed.postgres_server import OWNER, READER, WORKER, as_role, make_roles
from testbed.towns import TOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

    from testbed.postgres_server import PostgresServer

READ_TOKEN = "a-token-of-the-readers"
FIRST_DAY = date(2024, 1, 1)
DAYS = [FIRST_DAY + timedelta(days=number) for number in range(3)]
PLACES = 40
BOX = [0.0, 0.0, 2.5, 1.0]
CITIES = [
    TOWN | {"bbox": [0.0, 0.0, 1.5, 1.0]},
    TOWN | {"slug": "other-town", "bbox": [2.0, 0.0, 2.5, 1.0]},
]


class Staged(NamedTuple):
    """A migrated database with staged days.

    Attributes:
        url: Its URL, for its administrator.
        engine: Its worker's engine.
    """

    url: str
    engine: sa.Engine

    @property
    def reader_url(self) -> str:
        return as_role(self.url, READER)

    def column(self, query: str) -> list[Any]:
        """Return the first column of a query's result, by SQL alone, as the reader."""
        with closing(psycopg.connect(self.reader_url)) as connection:
            return [row[0] for row in connection.execute(query.encode())]

    def count(self, view: str, where: str = "true") -> int:
        """Count rows of a view."""
        (found,) = self.column(f"SELECT count(*) FROM {view} WHERE {where}")
        return int(found)


class Reading(NamedTuple):
    """A running reading API.

    Attributes:
        url: Its address.
        http: A client with a good token.
        staged: Its database.
    """

    url: str
    http: httpx.Client
    staged: Staged

    def get(self, path: str, **parameters: Any) -> Any:
        reply = self.http.get(path, params=parameters)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def items(self, collection: str, **parameters: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"collections/{collection}/items", **parameters)
        return found


@pytest.fixture(scope="session")
def staged(postgres_server: PostgresServer) -> Iterator[Staged]:
    with postgres_server.fresh_database() as url:
        make_roles(url)
        owner = create_engine(as_role(url, OWNER))
        migrate(owner)
        owner.dispose()
        make_roles(url)
        engine = create_engine(as_role(url, WORKER))
        for city in ("town", "other-town"):
            for number, day in enumerate(DAYS):
                shapes = ("node", "way")
                pois = {
                    f"{shapes[each % 2]}/{each}": f"café {each} of {city} on {number * (each % 5)}"
                    for each in range(1, PLACES + number)
                }
                stage(engine, city, day, pois)
        stage_helpers(
            engine,
            "town",
            FIRST_DAY,
            {"osm": {f"node/{each}#toilets": "t" for each in range(1, 8)}},
        )
        yield Staged(url, engine)
        engine.dispose()


def reading_settings(staged: Staged, **others: Any) -> dict[str, Any]:
    return {
        "reader_database_url": SecretStr(staged.reader_url),
        "read_api_token": SecretStr(f"{READ_TOKEN}, the next one"),
    } | others


@pytest.fixture(scope="session")
def reading(staged: Staged, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    folder = tmp_path_factory.mktemp("reading")
    with (
        running_api(folder, staged.engine, cities=CITIES, **reading_settings(staged)) as api,
        httpx.Client(
            base_url=f"{api.url}/ogc/", headers={"X-Read-Token": READ_TOKEN}, timeout=60
        ) as http,
    ):
        yield Reading(f"{api.url}/ogc", http, staged)
