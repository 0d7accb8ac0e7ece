"""Who may read: nobody without a token, its holders, and everybody where it is set so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from ingestion_pipeline.admin_api.reading.mount import why_closed
from ingestion_pipeline.cli import main as cli
from ingestion_pipeline.config.settings import SettingsError
from ingestion_pipeline_tests.admin_api.reading.conftest import READ_TOKEN, reading_settings
from ingestion_pipeline_tests.support.api_server import TOKEN, running_api, settings_of

if TYPE_CHECKING:
    from pathlib import Path

    from ingestion_pipeline_tests.admin_api.reading.conftest import Reading, Staged
    from ingestion_pipeline_tests.support.api_server import Api

PATHS = (
    "",
    "/",
    "/api",
    "/api.html",
    "/conformance",
    "/collections",
    "/collections/poi_staging_current",
    "/collections/poi_staging_current/items",
    "/collections/poi_staging_current/items/1",
    "/collections/poi_staging_current/queryables",
    "/collections/poi_staging_current/tiles/WebMercatorQuad/0/0/0",
    "/collections/poi_staging_current/tiles/WebMercatorQuad/tilejson.json",
    "/tileMatrixSets",
    "/no/such/path",
)


@pytest.mark.parametrize("path", PATHS)
def test_a_request_without_a_token_gets_nothing(reading: Reading, path: str) -> None:
    reply = httpx.get(reading.url + path)
    assert reply.status_code == 401
    assert reply.json()["code"] == "token_missing"
    assert reply.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Read-Token": READ_TOKEN}, 200),
        ({"X-Read-Token": "the next one"}, 200),
        ({"Authorization": f"Bearer {READ_TOKEN}"}, 200),
        ({"Authorization": "Basic bm9ib2R5OmEtdG9rZW4tb2YtdGhlLXJlYWRlcnM="}, 200),
        ({"X-Read-Token": READ_TOKEN + "x"}, 403),
        ({"X-Read-Token": TOKEN}, 403),
        ({"X-Admin-Token": READ_TOKEN}, 401),
        ({"Authorization": "Basic !!!"}, 403),
        ({"Authorization": "Digest x"}, 401),
    ],
)
def test_a_token_is_accepted_in_each_form(
    reading: Reading, headers: dict[str, str], status: int
) -> None:
    reply = httpx.get(f"{reading.url}/collections", headers=headers)
    assert reply.status_code == status
    assert READ_TOKEN not in reply.text


def test_a_token_in_the_address_is_not_accepted(reading: Reading) -> None:
    assert httpx.get(f"{reading.url}/collections?token={READ_TOKEN}").status_code == 401


def test_the_readers_token_opens_no_job(reading: Reading) -> None:
    url = reading.url.removesuffix("/ogc")
    assert httpx.get(f"{url}/v1/jobs", headers={"X-Admin-Token": READ_TOKEN}).status_code == 403


def test_everybody_may_read_where_it_is_set_so(staged: Staged, tmp_path: Path) -> None:
    settings = reading_settings(staged, read_api_access="public", read_api_token=None)
    with running_api(tmp_path, staged.engine, **settings) as api:
        reply = httpx.get(f"{api.url}/ogc/collections/poi_staging_current/items?limit=1")
        assert reply.json()["numberReturned"] == 1
        assert reply.headers["Cache-Control"] == "public, max-age=60"
        assert "security" not in httpx.get(f"{api.url}/ogc/api").json()
        assert httpx.get(f"{api.url}/v1/jobs").status_code == 401


def test_a_page_of_another_origin_may_ask_with_a_token(reading: Reading) -> None:
    asked = httpx.options(
        f"{reading.url}/collections",
        headers={
            "Origin": "https://map.example",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "X-Read-Token",
        },
    )
    assert asked.status_code == 200
    assert "x-read-token" in asked.headers["Access-Control-Allow-Headers"].lower()
    reply = reading.http.get("collections", headers={"Origin": "https://map.example"})
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in reply.headers
    assert reply.headers["Cache-Control"] == "private, max-age=60"


@pytest.mark.parametrize("path", PATHS)
def test_an_embedded_geopackage_says_that_it_needs_no_server(api: Api, path: str) -> None:
    reply = api.http.get(f"/ogc{path}")
    assert reply.status_code == 501
    assert reply.json()["code"] == "reading_needs_postgis"
    assert "open the file in QGIS" in reply.json()["detail"]


@pytest.mark.parametrize(
    ("missing", "named"),
    [("reader_database_url", "READER_DATABASE_URL"), ("read_api_token", "READ_API_TOKEN")],
)
def test_the_api_is_closed_without_a_setting(
    staged: Staged, tmp_path: Path, missing: str, named: str
) -> None:
    settings = reading_settings(staged, **{missing: None})
    with running_api(tmp_path, staged.engine, **settings) as api:
        reply = api.http.get("/ogc/collections", headers={"X-Read-Token": READ_TOKEN})
        assert reply.status_code == 503
        assert reply.json()["code"] == "not_configured"
        assert f"{named} is not set" in reply.json()["detail"]
        assert api.http.get("/v1/jobs").status_code == 200


@pytest.mark.parametrize("url", ["sqlite:////somewhere/secret.gpkg", "nonsense with a secret"])
def test_a_readers_database_that_is_not_postgresql_ends_the_start(url: str) -> None:
    given: dict[str, Any] = {
        "reader_database_url": SecretStr(url),
        "read_api_token": SecretStr(READ_TOKEN),
    }
    with pytest.raises(SettingsError, match="READER_DATABASE_URL is not a PostgreSQL") as raised:
        why_closed(settings_of(**given), embedded=True)
    assert "secret" not in str(raised.value)


def test_missing_packages_end_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion_pipeline.admin_api.reading.mount.find_spec", lambda _: None)
    given: dict[str, Any] = {
        "reader_database_url": SecretStr("postgresql://reader@db/poi"),
        "read_api_token": SecretStr(READ_TOKEN),
    }
    with pytest.raises(SettingsError, match=r"install ingestion-pipeline\[ogc\]"):
        why_closed(settings_of(**given), embedded=False)


def test_the_command_explains_the_codes() -> None:
    for code in ("reading_needs_postgis", "reader_unsafe", "query_too_slow"):
        assert CliRunner().invoke(cli.main, ["error", code]).exit_code == 0
