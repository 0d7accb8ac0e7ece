"""The HTML file of a map: page, styles, scripts, MapLibre GL JS and data in one file.

The file needs no server and no network. Its Content Security Policy allows its own scripts alone,
and no request unless there is a basemap. The data is compressed and in base64, so that no text of
it is read as markup; `page/data.js` reads it, and `page/panel.js` shows it as text.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import importlib.util
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = Path(__file__).with_name("page")
"""The folder of the page's files."""

_MODULES = ("data", "symbols", "values", "view", "panel")
"""The modules that `main.js` imports; each is a file in `page/`."""

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


def document(shown: Mapping[str, Any]) -> str:
    """Return the HTML document of a map.

    Args:
        shown: The result of `content.as_json`.
    """
    text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
    data = base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()
    # The digest of the data, which no text of the data can contain.
    nonce = hashlib.sha256(data.encode()).hexdigest()
    maplibre = maplibre_folder()
    modules = {f"map/{name}.js": _as_url(PAGE / f"{name}.js") for name in _MODULES}
    values = {
        "title": html.escape(shown["title"]),
        "nonce": nonce,
        "policy": html.escape(_policy(nonce, basemap=bool(shown["basemap"]))),
        "maplibre_css": (maplibre / "maplibre-gl.css").read_text("utf-8"),
        "css": "".join((PAGE / name).read_text("utf-8") for name in ("base.css", "map.css")),
        "maplibre_js": (maplibre / "maplibre-gl.js").read_text("utf-8"),
        "modules": json.dumps({"imports": modules}),
        "main": _named_imports(PAGE / "main.js"),
        "data": data,
    }
    page = (PAGE / "map.html").read_text("utf-8")
    return _PLACEHOLDER.sub(lambda found: values[found[1]], page)


def maplibre_folder() -> Path:
    """Return the folder of MapLibre GL JS in the package maplibre, without importing that."""
    spec = importlib.util.find_spec("maplibre")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the package maplibre is not installed", name="maplibre")
    return Path(spec.origin).parent / "srcjs"


def _as_url(module: Path) -> str:
    # In base64, the script that lists the modules cannot be closed by their text.
    text = _named_imports(module).encode()
    return "data:text/javascript;base64," + base64.b64encode(text).decode()


def _named_imports(module: Path) -> str:
    """Return a module that imports the others by the names in the import map.

    Files import each other by their addresses, as the review page needs them. In the file of a
    map they have none.
    """
    return module.read_text("utf-8").replace('from "./', 'from "map/')


def _policy(nonce: str, *, basemap: bool) -> str:
    """Return the Content Security Policy; a basemap's style may name any server."""
    servers = " https: http:" if basemap else ""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'nonce-{nonce}'",
            f"style-src 'nonce-{nonce}'",
            f"img-src data: blob:{servers}",
            f"connect-src blob:{servers}" if basemap else "connect-src 'none'",
            "worker-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
