"""Problems: what goes wrong is told in one form, and nothing is told that should not be."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ingestion_pipeline.admin_api import problems
from ingestion_pipeline.admin_api.app import create_app
from ingestion_pipeline.admin_api.problems import PROBLEM_TYPES
from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline_tests.support.api_server import OSM, Api, served, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

MANUAL = Path(__file__).parents[2] / "docs" / "api.md"


def problem(reply: httpx.Response) -> str:
    """Check that a reply has the form of a problem; give its code."""
    assert reply.headers["Content-Type"] == "application/problem+json"
    body = reply.json()
    assert set(body) == {"type", "title", "status", "code", "detail", "errors"}
    assert body["status"] == reply.status_code
    assert body["type"] == f"urn:problem-type:ingestion-pipeline:{body['code']}"
    assert body["title"]
    assert body["detail"]
    return str(body["code"])


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/", "not_found"),
        ("GET", "/v1/jobs/", "not_found"),
        ("GET", "/redoc", "not_found"),
        ("GET", "/v1/../etc/passwd", "not_found"),
        ("GET", "/%00", "not_found"),
        ("POST", "/v1/api/health", "method_not_allowed"),
        ("GET", OSM, "method_not_allowed"),
        ("GET", "/v1/jobs/callback", "method_not_allowed"),
        ("BREW", "/v1/jobs", "method_not_allowed"),
        ("POST", OSM, "invalid_request"),
        ("GET", "/v1/jobs?limit=0", "invalid_request"),
    ],
)
def test_the_frameworks_own_refusals_are_problems_too(
    api: Api, method: str, path: str, code: str
) -> None:
    reply = api.http.request(method, path)
    assert problem(reply) == code
    assert ("Allow" in reply.headers) == (reply.status_code == 405)


def test_a_refused_method_names_those_of_every_endpoint_at_the_address(api: Api) -> None:
    reply = api.http.delete("/v1/admin/promotions")
    assert (reply.status_code, reply.headers["Allow"]) == (405, "GET, POST")


def test_every_code_is_in_the_manual_with_its_status_and_no_other() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", MANUAL.read_text("utf-8"), re.MULTILINE)
    assert rows == [(str(int(kind.status)), kind.code) for kind in PROBLEM_TYPES]


# What nobody expected


SECRET = "a-secret-of-the-database"


def broken_app(folder: Path) -> tuple[FastAPI, sa.Engine]:
    """An app whose every query fails in the database, with a text that should not be seen."""
    engine = create_engine(f"sqlite:///{folder}/staging.gpkg")
    migrate(engine)
    app = create_app(settings_of(), load_cities(None), engine=engine)

    @sa.event.listens_for(engine, "before_cursor_execute", retval=True)
    def _break(
        _connection: sa.Connection, _cursor: object, statement: str, parameters: object, *_: object
    ) -> tuple[str, object]:
        if "FROM ingestion_run" in statement:
            return f"SELECT {SECRET!r} FROM no_such_table", ()
        return statement, parameters

    return app, engine


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[str]:
    app, _ = broken_app(tmp_path)
    with served(app) as url:
        yield url


@pytest.mark.server
def test_a_fault_of_ours_is_500_without_its_cause_and_one_line_in_the_log(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = {"X-Admin-Token": "a-token-of-the-tests"}
    reply = httpx.get(f"{broken}/v1/jobs", headers=token, verify=False)
    assert reply.status_code == 500
    assert problem(reply) == "internal_error"
    of_requests = [record for record in caplog.records if record.name == problems.__name__]
    (record,) = (record for record in of_requests if record.levelno >= logging.ERROR)
    line = record.getMessage()
    assert "OperationalError" in line
    assert "ingestion_pipeline/staging/" in line
    assert record.exc_info is None
    for text in (reply.text, str(reply.headers), caplog.text):
        assert not re.search(rf"{SECRET}|SELECT|Traceback|no_such_table", text)


@pytest.mark.server
def test_after_a_fault_the_api_serves_on(broken: str) -> None:
    token = {"X-Admin-Token": "a-token-of-the-tests"}
    with httpx.Client(base_url=broken, headers=token, verify=False) as http:
        assert http.get("/v1/jobs").status_code == 500
        assert http.get("/v1/api/health").json()["checks"]["database"]["ok"]


def test_wrong_settings_end_the_start(tmp_path: Path) -> None:
    settings = settings_of(database_url=SecretStr(f"oracle://x:{SECRET}@y/z"))
    with pytest.raises(Exception, match="oracle") as refused:
        create_app(settings, load_cities(None))
    assert SECRET not in str(refused.value)
    assert not list(tmp_path.iterdir())
