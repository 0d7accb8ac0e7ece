"""The HTML file of a map: all in one, and nothing of the data in its markup."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from ingestion_pipeline.maps import document as module
from ingestion_pipeline.maps.document import document

PAGE = Path(module.__file__).with_name("page")


class Parsed(HTMLParser):
    """The elements of a document with their attributes, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.title = ""
        self._in = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in = tag

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts.append(data)
            self._in = ""
        if self._in == "title":
            self.title = data
            self._in = ""

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def shown(**changed: Any) -> dict[str, Any]:
    return {"title": "Town", "basemap": None, "things": "POIs"} | changed


def policy(parsed: Parsed) -> dict[str, str]:
    (meta,) = (each for each in parsed.named("meta") if "http-equiv" in each)
    rules = (rule.strip().partition(" ") for rule in (meta["content"] or "").split(";"))
    return {name: values for name, _, values in rules}


def test_the_file_loads_nothing_and_its_policy_allows_its_own_scripts_alone() -> None:
    parsed = Parsed(document(shown()))
    for tag, attributes in parsed.elements:
        assert "src" not in attributes
        assert tag != "link" or (attributes["href"] or "").startswith("data:")
        assert not any(name.startswith("on") for name in attributes)
    nonces = {each["nonce"] for tag in ("script", "style") for each in parsed.named(tag)}
    (nonce,) = nonces
    rules = policy(parsed)
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == f"'nonce-{nonce}'"
    assert rules["connect-src"] == "'none'"


def test_with_a_basemap_it_may_ask_servers() -> None:
    rules = policy(Parsed(document(shown(basemap="https://example.org/style.json"))))
    assert rules["connect-src"] == "blob: https: http:"
    assert rules["script-src"].startswith("'nonce-")


def test_the_data_is_read_back_and_none_of_it_is_in_the_markup() -> None:
    hostile = "</script><script>alert(1)</script>{{css}}<!--"
    text = document(shown(title=hostile, columns={"name": [hostile, "é\u2028"]}))
    assert "alert(1)" not in text.replace("&lt;script&gt;alert(1)&lt;/script&gt;", "")
    parsed = Parsed(text)
    assert parsed.title == hostile
    assert len(parsed.named("script")) == 4
    packed = parsed.scripts[0]
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", packed)
    assert json.loads(gzip.decompress(base64.b64decode(packed)))["columns"]["name"] == [
        hostile,
        "é\u2028",
    ]


def test_the_same_map_is_the_same_file_and_another_has_another_nonce() -> None:
    assert document(shown()) == document(shown())
    one, other = (Parsed(document(shown(things=name))) for name in "ab")
    assert policy(one)["script-src"] != policy(other)["script-src"]


def test_every_module_of_the_page_is_in_the_file_and_imports_only_such() -> None:
    parsed = Parsed(document(shown()))
    modules = json.loads(parsed.scripts[2])["imports"]
    files = {f"map/{path.name}" for path in PAGE.glob("*.js")} - {"map/main.js"}
    assert set(modules) == files
    in_the_file = {
        name: base64.b64decode(url.partition(",")[2]).decode() for name, url in modules.items()
    } | {"map/main.js": parsed.scripts[3]}
    for path in PAGE.glob("*.js"):
        text = in_the_file[f"map/{path.name}"]
        assert set(re.findall(r'from "([^"]+)"', text)) <= files
        assert text.replace('from "map/', 'from "./') == path.read_text("utf-8")


def test_no_module_of_the_page_makes_markup_of_text() -> None:
    for path in PAGE.glob("*.js"):
        text = path.read_text("utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
        assert "</script" not in text
