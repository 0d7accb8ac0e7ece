"""The files of the review page: what is served without a token, and with which headers."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi import FastAPI

from ingestion_pipeline.admin_api.problems import install_error_handlers
from ingestion_pipeline.admin_api.review.page import PAGE, Files, add_review_page, headers_of
from ingestion_pipeline.config.settings import SettingsError
from ingestion_pipeline_tests.support.api_server import TOKEN, served, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingestion_pipeline_tests.support.api_server import Api

STYLE = "https://tiles.example.org:8443/styles/light.json?key=secret"


def policy_of(reply: httpx.Response) -> dict[str, list[str]]:
    parts = reply.headers["Content-Security-Policy"].split("; ")
    return {name: sources for name, *sources in (part.split(" ") for part in parts)}


@pytest.fixture(scope="module")
def web(api: Api) -> Iterator[httpx.Client]:
    """A client without a token."""
    with httpx.Client(base_url=api.url, follow_redirects=True) as client:
        yield client


def test_the_page_and_its_files_need_no_token_and_may_be_kept(web: httpx.Client) -> None:
    page = web.get("/review")
    assert page.url.path == "/review/"
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "no-cache"
    assert "{{" not in page.text
    assert TOKEN not in page.text
    tag = page.headers["ETag"]
    assert web.get("/review/", headers={"If-None-Match": tag}).status_code == 304
    folder = tag.strip('"')
    names = [path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*") if path.is_file()]
    names.remove("index.html")
    for name in (*names, "maplibre/maplibre-gl.js", "maplibre/maplibre-gl.css", "map/data.js"):
        reply = web.get(f"/review/{folder}/{name}")
        assert reply.status_code == 200, name
        assert reply.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert reply.headers["Content-Encoding"] == "gzip"
        if name.endswith(".js"):
            assert reply.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert web.head("/review/").status_code == 200


def test_what_the_page_loads_is_there_and_of_this_server(web: httpx.Client) -> None:
    page = web.get("/review/")
    loaded = re.findall(r"""(?:src|href)="(?!data:)([^"]+)""", page.text)
    assert loaded
    for address in loaded:
        assert "://" not in address
        if not address.startswith("#"):
            assert web.get(f"/review/{address}").status_code == 200, address


def test_the_policy_allows_nothing_from_elsewhere(web: httpx.Client) -> None:
    for path in ("/review/", f"/review/{web.get('/review/').headers['ETag'][1:-1]}/map/data.js"):
        reply = web.get(path)
        assert policy_of(reply) == {
            "default-src": ["'none'"],
            "script-src": ["'self'"],
            "style-src": ["'self'"],
            "img-src": ["'self'", "data:", "blob:"],
            "connect-src": ["'self'"],
            "worker-src": ["blob:"],
            "child-src": ["blob:"],
            "font-src": ["'self'"],
            "base-uri": ["'none'"],
            "form-action": ["'none'"],
            "frame-ancestors": ["'none'"],
        }
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Referrer-Policy"] == "no-referrer"


def test_the_page_has_no_inline_script_or_style(web: httpx.Client) -> None:
    text = web.get("/review/").text
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"<style|\sstyle=|\son\w+=", text)


def test_a_basemap_adds_its_origin_and_nothing_of_its_address() -> None:
    headers = headers_of(STYLE)
    reply = httpx.Response(200, headers=headers)
    assert policy_of(reply)["connect-src"] == ["'self'", "https://tiles.example.org:8443"]
    assert policy_of(reply)["img-src"][-1] == "https://tiles.example.org:8443"
    assert "secret" not in str(headers)
    assert headers_of("https://karten.münchen.example/s.json")["Content-Security-Policy"].count(
        "https://karten.xn--mnchen-3ya.example"
    )


@pytest.mark.parametrize("host", ["a;script-src *", "a b", "a,b", "a'b"])
def test_a_host_that_would_change_the_policy_is_refused(host: str) -> None:
    with pytest.raises(SettingsError, match="BASEMAP_STYLE_URL"):
        headers_of(f"https://{host}/style.json")


@pytest.mark.parametrize(
    "path",
    [
        "/review/../app.py",
        "/review/{digest}/../page.py",
        "/review/{digest}/%2e%2e/page.py",
        "/review/{digest}/..%2f..%2fauth.py",
        "/review/{digest}/%2fetc/passwd",
        "/review/{digest}/",
        "/review/{digest}/index.html",
        "/review/0000000000000000/map/data.js",
    ],
)
def test_no_other_file_is_served(web: httpx.Client, path: str) -> None:
    digest = web.get("/review/").headers["ETag"][1:-1]
    url = httpx.URL(web.base_url).copy_with(raw_path=path.format(digest=digest).encode())
    reply = web.get(url)
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")


@pytest.mark.server
def test_every_file_of_a_page_is_served_under_a_digest_of_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "index.html").write_text('<script src="{{assets}}/parts/a.js"></script>')
    (tmp_path / "parts" / "a.js").write_text("export const a = 1;")
    first = Files.read(tmp_path)
    app = FastAPI(redirect_slashes=False)
    install_error_handlers(app)
    add_review_page(app, settings_of(basemap_style_url=STYLE), page=tmp_path)
    with served(app) as url, httpx.Client(base_url=url) as client:
        page = client.get("/review/")
        assert page.text == f'<script src="{first.digest}/parts/a.js"></script>'
        reply = client.get(f"/review/{first.digest}/parts/a.js")
        assert reply.text == "export const a = 1;"
        plain = client.get(
            f"/review/{first.digest}/parts/a.js", headers={"Accept-Encoding": "gzip;q=0"}
        )
        assert "Content-Encoding" not in plain.headers
        assert plain.content == reply.content
    assert gzip.decompress(first.packed("parts/a.js")) == b"export const a = 1;"
    (tmp_path / "parts" / "a.js").write_text("export const a = 2;")
    assert Files.read(tmp_path).digest != first.digest


def test_the_modules_of_maps_need_no_import_map() -> None:
    contents = Files.read().contents
    modules = {path: text.decode() for path, text in contents.items() if path.startswith("map/")}
    assert len(modules) > 3
    for path, text in modules.items():
        for name in re.findall(
            r"""^\s*(?:import|export)[^;]*?from\s+"([^"]+)""", text, re.MULTILINE
        ):
            assert f"map/{name.removeprefix('./')}" in contents, (path, name)
