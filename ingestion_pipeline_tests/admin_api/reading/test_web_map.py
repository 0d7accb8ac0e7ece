"""MapLibre, in a browser, draws the tiles of the reading API as the manual says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from ingestion_pipeline_tests.admin_api.reading.conftest import READ_TOKEN
from ingestion_pipeline_tests.support.api_server import served
from ingestion_pipeline_tests.support.browser import photograph, running_browser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from ingestion_pipeline_tests.admin_api.reading.conftest import Reading

MANUAL = (Path(__file__).parents[3] / "docs" / "reading.md").read_text("utf-8")
PAGE = """<!doctype html>
<link rel="icon" href="data:,">
<style>body { margin: 0 } #map { width: 600px; height: 400px }</style>
<div id="map"></div>
"""
FOUND = """() => new Promise((resolve, reject) => {
    setTimeout(() => reject("the map is not idle"), 40000);
    map.once("idle", () => {
        const features = map.queryRenderedFeatures({ layers: ["poi"] });
        resolve(features.map((feature) => feature.properties.name));
    });
    map.jumpTo({ center: [0.02, 0.5], zoom: 11 });
})"""


@pytest.fixture
def browser(reading: Reading) -> Iterator[Browser]:
    """A browser; the API comes first, because Playwright keeps an event loop running."""
    del reading
    with running_browser() as browser:
        yield browser


@pytest.fixture
def origin() -> Iterator[str]:
    """A page on another origin than the API, as web maps are."""
    app = FastAPI()
    app.add_api_route("/", lambda: HTMLResponse(PAGE))
    with served(app) as url:
        yield url


def test_maplibre_draws_the_places_of_a_city(
    reading: Reading, origin: str, browser: Browser, artifacts: Path
) -> None:
    (example,) = re.findall(r"^```js\n(.*?)^```$", MANUAL, re.MULTILINE | re.DOTALL)
    spec = importlib.util.find_spec("maplibre")
    assert spec is not None
    assert spec.origin is not None
    told: list[str] = []
    failed: list[tuple[str, str | None]] = []
    page = browser.new_page(viewport={"width": 600, "height": 400})
    page.on("console", lambda message: told.append(message.text))
    page.on("requestfailed", lambda request: failed.append((request.url, request.failure)))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.goto(origin)
    page.add_script_tag(path=Path(spec.origin).parent / "srcjs" / "maplibre-gl.js")
    given = f'const API = "{reading.url}", token = "{READ_TOKEN}";'
    page.add_script_tag(content=given + example.replace("kazan", "town"))
    page.wait_for_function("() => map.getLayer('poi')")
    drawn = page.evaluate(FOUND)
    photograph(page, artifacts / "reading-maplibre.png")
    places = reading.items("poi_staging_current", city_slug="town", osm_type="node")["features"]
    assert sorted(set(drawn)) == sorted(each["properties"]["name"] for each in places)
    assert [text for text in told if "GPU stall" not in text] == []
