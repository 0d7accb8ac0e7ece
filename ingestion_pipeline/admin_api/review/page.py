"""The static files of the review page, under `/review`.

Belongs here: serving the files in `page/`, those of the maps that it shares (`maps/page/`), and
MapLibre GL JS, with their headers. Does not belong here: data (`routes.py`). No file needs a token,
and none contains data.

The address of a file contains a digest of all files, so a browser may keep it for ever, and never
mixes files of two versions.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from ingestion_pipeline.admin_api.review.routes import is_known, takes_gzip
from ingestion_pipeline.config.settings import SettingsError
from ingestion_pipeline.core.locations import http_parts
from ingestion_pipeline.maps.document import PAGE as MAP_PAGE
from ingestion_pipeline.maps.document import maplibre_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingestion_pipeline.config.settings import Settings

PATH = "/review"
PAGE = Path(__file__).with_name("page")

_MAPLIBRE = ("maplibre-gl.js", "maplibre-gl.css")
_MAP_FILES = (".js", ".css")
_FOREVER = "public, max-age=31536000, immutable"
_PLACEHOLDER = b"{{assets}}"
_HOST = re.compile(r"[a-z0-9.-]+|\[[0-9a-f:.]+\]")

# By the standard; the machine's own table may say something else.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Files:
    """The files of a page.

    Attributes:
        contents: Their bytes by path.
    """

    contents: Mapping[str, bytes]
    _packed: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def read(cls, page: Path = PAGE) -> Files:
        """Read all files of a page, and those that it takes from other packages."""
        found = {
            path.relative_to(page).as_posix(): path.read_bytes()
            for path in sorted(page.rglob("*"))
            if path.is_file()
        }
        for path in sorted(MAP_PAGE.iterdir()):
            if path.suffix in _MAP_FILES:
                found[f"map/{path.name}"] = path.read_bytes()
        for name in _MAPLIBRE:
            found[f"maplibre/{name}"] = (maplibre_folder() / name).read_bytes()
        return cls(found)

    @cached_property
    def digest(self) -> str:
        """A digest of all files."""
        digest = hashlib.sha256()
        for path, content in sorted(self.contents.items()):
            digest.update(f"{path}\n{len(content)}\n".encode())
            digest.update(content)
        return digest.hexdigest()[:16]

    @property
    def index(self) -> bytes:
        """The page itself, with the folder of its files."""
        return self.contents["index.html"].replace(_PLACEHOLDER, self.digest.encode())

    def packed(self, path: str) -> bytes:
        """Return a file in gzip."""
        if path not in self._packed:
            self._packed[path] = gzip.compress(self.contents[path], mtime=0)
        return self._packed[path]


def add_review_page(app: FastAPI, settings: Settings, *, page: Path = PAGE) -> None:
    """Add the page to the admin API.

    Args:
        app: The admin API.
        settings: The settings; the policy of the page allows the basemap's server.
        page: The folder of the page.

    Raises:
        SettingsError: The host of BASEMAP_STYLE_URL is not one that a policy can name.
    """
    headers = headers_of(settings.basemap_style_url)
    loaded: list[Files] = []

    def files() -> Files:
        # At the first request: most commands that make the application serve no page.
        if not loaded:
            loaded.append(Files.read(page))
        return loaded[0]

    @app.api_route(PATH, methods=["GET", "HEAD"], include_in_schema=False)
    def to_page() -> RedirectResponse:
        return RedirectResponse(f"{PATH.lstrip('/')}/")

    @app.api_route(f"{PATH}/", methods=["GET", "HEAD"], include_in_schema=False)
    def index(request: Request) -> Response:
        found = files()
        tag = f'"{found.digest}"'
        own = {**headers, "Cache-Control": "no-cache", "ETag": tag}
        if is_known(request, tag):
            return Response(status_code=304, headers=own)
        return Response(found.index, headers=own, media_type=_TYPES[".html"])

    @app.api_route(
        f"{PATH}/{{digest}}/{{path:path}}", methods=["GET", "HEAD"], include_in_schema=False
    )
    def file(digest: str, path: str, request: Request) -> Response:
        found = files()
        # Another digest is of another version, whose files may differ.
        if digest != found.digest or path not in found.contents or path == "index.html":
            raise HTTPException(404)
        own = {**headers, "Cache-Control": _FOREVER, "Vary": "Accept-Encoding"}
        content = found.contents[path]
        if takes_gzip(request):
            content, own["Content-Encoding"] = found.packed(path), "gzip"
        return Response(content, headers=own, media_type=_type_of(path))


def headers_of(basemap: str | None) -> dict[str, str]:
    """Return the headers of every file.

    Args:
        basemap: The URL of the basemap's style.

    Raises:
        SettingsError: Its host is not one that a policy can name.
    """
    server = "" if basemap is None else f" {origin_of(basemap)}"
    policy = (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        f"img-src 'self' data: blob:{server}",
        f"connect-src 'self'{server}",
        # MapLibre starts its workers from a blob; Safari before 15.5 looks at child-src.
        "worker-src blob:",
        "child-src blob:",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def origin_of(url: str) -> str:
    """Return the origin of an http(s) URL, as a policy names it.

    Raises:
        SettingsError: The host is not one that a policy can name.
    """
    parts, _ = http_parts(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    try:
        host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        host = ""
    if not _HOST.fullmatch(host):
        raise SettingsError("BASEMAP_STYLE_URL: the host has characters that no host name has")
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


def _type_of(path: str) -> str:
    suffix = Path(path).suffix
    return _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
