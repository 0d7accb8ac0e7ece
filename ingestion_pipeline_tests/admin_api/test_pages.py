"""The manual and the API's own page, as the admin API serves them."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi import FastAPI

from ingestion_pipeline.admin_api.pages import add_pages
from ingestion_pipeline.admin_api.problems import install_error_handlers
from ingestion_pipeline.core.manual import codes, manual_url

if TYPE_CHECKING:
    from ingestion_pipeline_tests.support.api_server import Api

ROOT = Path(__file__).parents[2]
MENTIONED = re.compile(r"""/manual/[\w./-]+/(?:#[\w-]+)?""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manual, built once, strictly."""
    folder = tmp_path_factory.mktemp("site") / "manual"
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "ignore"},
        check=True,
        capture_output=True,
        text=True,
    )
    return folder


class Pages:
    """The pages without the rest of the API."""

    def __init__(self, site: Path) -> None:
        self._app = FastAPI(redirect_slashes=False)
        install_error_handlers(self._app)
        add_pages(self._app, site=site)

    def get(self, path: str) -> httpx.Response:
        """Request a path as it is written: a client would resolve dots itself."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                url = httpx.URL("http://test").copy_with(raw_path=path.encode())
                reply = await client.get(url)
                if reply.is_redirect:
                    reply = await client.get(str(reply.next_request.url))  # type: ignore[union-attr]
                return reply

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def pages(site: Path) -> Pages:
    return Pages(site)


def test_the_manual_answers_without_a_token(pages: Pages) -> None:
    for path in ("/manual", "/manual/", "/manual/quickstart/", "/manual/deploy/roles.sql"):
        assert pages.get(path).status_code == 200, path
    assert "stale_upstream" in pages.get(manual_url("errors")).text


def test_the_manual_loads_nothing_from_elsewhere(site: Path) -> None:
    loaded = re.compile(
        r"""<(?:script|img|iframe|link\b(?![^>]*rel="?(?:canonical|next|prev)))[^>]*?"""
        r"""(?:src|href)=["']?(?:https?:)?//"""
    )
    for page in site.rglob("*.html"):
        assert not loaded.search(page.read_text("utf-8")), page


@pytest.mark.parametrize(
    "path",
    [
        "/manual/../app.py",
        "/manual/%2e%2e/app.py",
        "/manual/..%2f..%2fsettings.py",
        "/manual/%2fetc/passwd",
        "/manual/no-such-page/",
        "/docs/assets/../core.py",
        "/docs/assets/%2e%2e/core.py",
    ],
)
def test_no_other_file_is_served(pages: Pages, path: str) -> None:
    reply = pages.get(path)
    assert reply.status_code == 404
    assert reply.json()["code"] == "not_found"


def test_every_address_of_the_manual_that_code_mentions_exists(site: Path) -> None:
    mentioned = {
        address
        for path in (ROOT / "ingestion_pipeline").rglob("*.py")
        for address in MENTIONED.findall(path.read_text("utf-8"))
    }
    mentioned |= {
        address
        for entry in codes().values()
        for address in MENTIONED.findall(f"{entry.what_happened} {entry.what_to_do}")
    }
    assert mentioned
    for address in mentioned:
        page, _, anchor = address.removeprefix("/manual/").partition("#")
        text = (site / page / "index.html").read_text("utf-8")
        assert not anchor or f'id="{anchor}"' in text or f"id={anchor}" in text, address


def test_a_checkout_without_the_manual_says_how_to_build_it(tmp_path: Path) -> None:
    pages = Pages(tmp_path)
    for path in ("/manual", "/manual/", "/manual/errors/"):
        reply = pages.get(path)
        assert reply.status_code == 404
        assert "make site" in reply.text


def test_the_page_of_the_api_shows_the_contract_with_its_own_scripts(api: Api) -> None:
    with httpx.Client(base_url=api.url) as client:
        page = client.get("/docs")
        assert page.status_code == 200
        assert "url: 'openapi.json'" in page.text
        assert "://" not in page.text
        loaded = re.findall(r"""(?:src|href)="([^"]+)""", page.text)
        assert len(loaded) == 3
        for path in (*loaded, "openapi.json"):
            assert client.get(f"/{path}").status_code == 200, path
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
