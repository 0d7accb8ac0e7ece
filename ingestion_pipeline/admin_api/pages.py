"""Pages for people: the manual under `/manual`, and the API's own page under `/docs`.

Belongs here: serving files that are installed with the package. Does not belong here: building them
(`make site`), and the contract (`contract.py`). No page needs a token, and none loads anything from
another server.
"""

from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from ingestion_pipeline.core.manual import PATH, site_folder

ASSETS_PATH = "/docs/assets"

_ASSETS = Path(fastapi_offline.__file__).parent / "static"
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' http: https:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
_NOT_BUILT = """<!doctype html>
<html lang="en"><title>Manual</title>
<h1>The manual is not built</h1>
<p>This is a checkout of the source code. Run <code>make site</code> and start the server again, or
read the Markdown files in <code>docs/</code>. An installed release contains the manual.</p></html>
"""


class _Files(StaticFiles):
    """Files of a folder, with the headers of all pages."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response


def contract_page(title: str, *, document: str, assets: str) -> HTMLResponse:
    """Return the page of a contract.

    Args:
        title: The API's title.
        document: The address of its OpenAPI document, relative to the page's.
        assets: The address of `ASSETS_PATH`, relative to the page's.
    """
    page = get_swagger_ui_html(
        openapi_url=document,
        title=title,
        swagger_js_url=f"{assets}/swagger-ui-bundle.js",
        swagger_css_url=f"{assets}/swagger-ui.css",
        swagger_favicon_url=f"{assets}/favicon.png",
        swagger_ui_parameters={"validatorUrl": None},
    )
    page.headers.update(_HEADERS)
    return page


def add_pages(app: FastAPI, *, site: Path | None = None) -> None:
    """Add the pages to an app.

    Args:
        app: The admin API.
        site: The folder of the built manual; by default the one in the package.
    """
    site = site or site_folder()

    @app.get("/docs", include_in_schema=False)
    async def api_page() -> HTMLResponse:
        return contract_page(app.title, document="openapi.json", assets="docs/assets")

    app.mount(ASSETS_PATH, _Files(directory=_ASSETS))

    if (site / "index.html").is_file():

        @app.get(PATH, include_in_schema=False)
        async def to_manual() -> RedirectResponse:
            return RedirectResponse(f"{PATH.lstrip('/')}/")

        app.mount(PATH, _Files(directory=site, html=True))
    else:

        @app.get(PATH, include_in_schema=False)
        @app.get(f"{PATH}/{{page:path}}", include_in_schema=False)
        async def not_built() -> HTMLResponse:
            return HTMLResponse(_NOT_BUILT, status_code=404, headers=_HEADERS)
