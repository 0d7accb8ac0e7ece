"""Maps in a real browser, opened from the file with no network.

The sample is staged for both of its days. What is seen is compared with the database and with
`poi-ingest diff`; the pictures among the tests' artifacts show what was seen.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from ingestion_pipeline.core.legend import CHANGES, POIS
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.days import Slice, read_day
from ingestion_pipeline_tests.support import pages
from ingestion_pipeline_tests.support.basemap import BASEMAP_COLOUR, serving_basemap
from ingestion_pipeline_tests.support.browser import photograph, running_browser
from ingestion_pipeline_tests.support.crowd import crowd as crowd_rows
from ingestion_pipeline_tests.support.hostile import MARKUP, NAMES, stage_hostile
from ingestion_pipeline_tests.support.installation import installed
from ingestion_pipeline_tests.support.pages import DESKTOP, PHONE, has_colour
from ingestion_pipeline_tests.unit.cli.test_main import invoke_in
from testbed.claims import claim_key, evidence_of, replace_slice, slice_of
from testbed.towns import TOWN, write_cities

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from playwright.sync_api import Browser, ViewportSize

    from ingestion_pipeline.core.legend import Group

EARLIER, LATER = "2021-04-21", "2023-12-26"
DAY = date(2024, 6, 1)
PICTURE = Path(__file__).parents[2] / "docs" / "img" / "map-of-a-difference.png"


# What is opened


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which both days of the sample are staged."""
    folder = tmp_path_factory.mktemp("sample")
    with installed(folder, f"sqlite:///{folder}/staging.gpkg") as here:
        for day in (EARLIER, LATER):
            assert here.run(f"monaco|{day}").success
    return folder


def map_of(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Path:
    """Write a map by the command; return the file that it names on its last line."""
    result = invoke_in(folder, "map", *arguments, env=env)
    assert result.exit_code == 0, result.output
    return Path(result.output.splitlines()[-1])


@pytest.fixture(scope="module")
def day_map(sample: Path) -> Path:
    return map_of(sample, "--city", "monaco", "--day", LATER, "--out", str(sample / "day.html"))


@pytest.fixture(scope="module")
def difference_map(sample: Path) -> Path:
    days = ("--from", EARLIER, "--day", LATER)
    return map_of(sample, "--city", "monaco", *days, "--out", str(sample / "difference.html"))


@pytest.fixture
def map_file(request: pytest.FixtureRequest, day_map: Path, difference_map: Path) -> Path:
    """The map of the day, or of the difference."""
    return day_map if request.param == "day" else difference_map


@pytest.fixture(scope="module")
def browser(sample: Path) -> Iterator[Browser]:
    """A browser; Dagster's runs come first, because Playwright keeps an event loop running."""
    del sample
    with running_browser() as browser:
        yield browser


class Opened(pages.Opened):
    """A map."""

    @property
    def refs(self) -> list[str]:
        """The features of the list, all of them."""
        while self.page.locator("#more").is_visible():
            self.page.locator("#more").click()
        found: list[str] = self.page.evaluate(
            "[...document.querySelectorAll('#items button')].map((each) => each.dataset.ref)"
        )
        return found

    @property
    def counts(self) -> dict[str, int]:
        """The numbers in the legend, by the key of the group."""
        found: dict[str, int] = self.page.evaluate(
            """Object.fromEntries([...document.querySelectorAll('#groups label')].map((label) => [
                label.querySelector('input').value,
                Number(label.querySelector('.count').textContent.replaceAll(',', ''))]))"""
        )
        return found

    def search(self, text: str) -> None:
        self.page.get_by_role("searchbox").fill(text)
        self.page.wait_for_timeout(500)

    def only(self, group: Group) -> None:
        """Show one group alone."""
        self.page.get_by_role("button", name="Hide all").click()
        self.page.locator(f"#groups input[value={group.key}]").check()
        self.page.wait_for_timeout(1200)


@contextmanager
def opened(
    browser: Browser, path: Path, *, offline: bool = True, before: str = "", **context: Any
) -> Iterator[Opened]:
    """Open a map from its file; its console has no error, and it asks no other host."""
    options = {"offline": offline} | context
    with pages.opened_as(Opened, browser, path.as_uri(), before=before, **options) as shown:
        shown.page.wait_for_selector("html[data-state=ready]")
        yield shown
        if offline:
            assert shown.hosts == set()


def staged(folder: Path, day: str) -> dict[str, Mapping[str, Any]]:
    engine = create_engine(f"sqlite:///{folder}/staging.gpkg")
    rows = read_day(engine, Slice("monaco", "poi", "osm", date.fromisoformat(day)))
    engine.dispose()
    return {str(row["source_ref"]): dict(row) for row in rows or []}


# The map of a day


def test_every_place_of_a_day_is_on_the_list_and_in_its_colour_on_the_map(
    browser: Browser, sample: Path, day_map: Path, artifacts: Path
) -> None:
    rows = staged(sample, LATER)
    groups = Counter(POIS.group_of(row["category"]).key for row in rows.values())
    with opened(browser, day_map) as shown:
        photograph(shown.page, artifacts / "map-of-a-day.png")
        assert shown.counts == {group.key: groups[group.key] for group in POIS.all}
        assert sorted(shown.refs) == sorted(rows)
        assert [group.key for group in POIS.all if not has_colour(shown.picture(), group)] == []
        expect(shown.page.locator("#attribution")).to_have_text(
            "© OpenStreetMap contributors (ODbL-1.0)"
        )
        expect(shown.page.locator(".maplibregl-ctrl-scale")).to_have_text("500 m")
        expect(shown.page.locator("#coordinates")).to_contain_text("43.7")


@pytest.mark.parametrize("group", POIS.all, ids=lambda group: group.key)
def test_the_legend_shows_one_group_alone_on_the_map_and_in_the_list(
    browser: Browser, day_map: Path, group: Group
) -> None:
    with opened(browser, day_map) as shown:
        shown.only(group)
        picture = shown.picture()
        assert [each.key for each in POIS.all if has_colour(picture, each)] == [group.key]
        assert len(shown.refs) == shown.counts[group.key]


def test_a_place_is_found_by_name_and_by_category_whatever_its_case_and_accents(
    browser: Browser, sample: Path, day_map: Path
) -> None:
    rows = staged(sample, LATER)
    with opened(browser, day_map) as shown:
        shown.search("CAFE DE")
        assert {rows[ref]["name"] for ref in shown.refs} == {
            row["name"]
            for row in rows.values()
            if re.search("caf[eé] de", row["name"] or "", re.IGNORECASE)
        }
        shown.search("swimming pool")
        assert {rows[ref]["category"] for ref in shown.refs} >= {"leisure/swimming_pool"}
        expect(shown.page.get_by_role("status")).to_contain_text(f"{len(shown.refs)} of 1,899")
        shown.search("no place has this name")
        assert shown.refs == []


def test_a_click_on_the_map_shows_the_place_in_full(
    browser: Browser, sample: Path, day_map: Path, artifacts: Path
) -> None:
    rows = staged(sample, LATER)
    row = next(
        row
        for row in rows.values()
        if row["opening_hours"] and row["name"] and row["contact"].get("phone")
    )
    with opened(browser, day_map) as shown:
        shown.search(row["source_ref"])
        shown.page.locator(f'[data-ref="{row["source_ref"]}"]').click()
        shown.page.get_by_role("button", name="Close the details").click()
        expect(shown.page.locator("#details")).to_be_hidden()
        # The map was moved to the place, which is now in its middle.
        shown.page.wait_for_timeout(1000)
        box = shown.box
        shown.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        details = shown.page.locator("#details")
        expect(details).to_be_visible()
        for value in (
            *(row["name"], row["category"], row["opening_hours"], *row["contact"]["phone"]),
            *(row["licence"], row["attribution"], "2023-12-26T21:21:22Z", "osm"),
            *map(str, row["tags"].values()),
        ):
            expect(details).to_contain_text(value)
        link = details.get_by_role("link", name="Show in OpenStreetMap")
        expect(link).to_have_attribute("href", f"https://www.openstreetmap.org/{row['source_ref']}")
        photograph(shown.page, artifacts / "map-of-a-place.png")


# The map of a difference


def test_a_difference_has_every_feature_of_diff_and_no_other_with_before_and_after(
    browser: Browser, sample: Path, difference_map: Path, artifacts: Path
) -> None:
    days = ("--from", EARLIER, "--to", LATER)
    lines = invoke_in(sample, "diff", "--city", "monaco", *days, "--json").output.splitlines()
    changes = [json.loads(line) for line in lines]
    before, after = staged(sample, EARLIER), staged(sample, LATER)
    with opened(browser, difference_map) as shown:
        shown.page.wait_for_timeout(500)
        photograph(shown.page, artifacts / "map-of-a-difference.png")
        kinds = Counter(change["change"] for change in changes)
        counts = shown.counts
        assert counts["moved"] > 100
        assert counts["added"] == kinds["added"]
        assert counts["removed"] == kinds["removed"]
        assert counts["changed"] + counts["moved"] == kinds["changed"]
        assert sorted(shown.refs) == sorted(change["source_ref"] for change in changes)
        assert [each.key for each in CHANGES.groups if not has_colour(shown.picture(), each)] == []
        for kind in ("added", "changed", "removed"):
            change = next(each for each in changes if each["change"] == kind and each["name"])
            ref = change["source_ref"]
            shown.page.locator(f'[data-ref="{ref}"]').first.click()
            cells = shown.page.locator("#details tr:has(> th:text-matches('^name\\\\b')) td")
            told = [cells.nth(place).inner_text() for place in range(2)]
            states = [rows[ref]["name"] or "" if ref in rows else "" for rows in (before, after)]
            assert told == states
            marked = shown.page.locator("#details tr.differs th").all_inner_texts()
            assert {name.removesuffix(" (changed)").replace(" ", "_") for name in marked} == (
                set(change["changed_fields"]) - {"geometry", "categories", "name_source"}
            )


def test_the_readme_shows_the_map_of_the_sample() -> None:
    with Image.open(PICTURE) as picture:
        assert picture.size == (DESKTOP["width"], DESKTOP["height"])
        shown = picture.convert("RGB")
        assert [each.key for each in CHANGES.groups if not has_colour(shown, each)] == []
    readme = (PICTURE.parents[2] / "README.md").read_text("utf-8")
    assert f"(docs/img/{PICTURE.name})" in readme


def test_what_moved_has_an_arrow_from_where_it_was(
    browser: Browser, difference_map: Path, artifacts: Path
) -> None:
    (moved,) = (group for group in CHANGES.groups if group.key == "moved")
    arrow = (0x3C, 0x3C, 0x46)
    with opened(browser, difference_map) as shown:
        shown.only(moved)
        shown.page.locator("#items button").first.click()
        shown.page.wait_for_timeout(1200)
        photograph(shown.page, artifacts / "map-of-a-move.png")
        colours = shown.picture().getcolors(10**6) or []
        assert sum(count for count, colour in colours if colour == arrow) > 50
        rows = shown.page.locator("#details tr.differs")
        expect(rows.filter(has_text="lon (changed)")).to_have_count(1)


# Whoever opens it


def test_a_map_is_used_by_keyboard_alone(browser: Browser, day_map: Path) -> None:
    with opened(browser, day_map) as shown:
        page = shown.page
        focused = "document.activeElement.id || document.activeElement.className"
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert page.evaluate(focused) == "search"
        page.keyboard.type("restaurant")
        page.wait_for_timeout(500)
        page.keyboard.press("Tab")
        page.keyboard.press("Space")  # the first group, food, is hidden
        hidden = len(shown.refs)
        page.keyboard.press("Space")
        assert len(shown.refs) > hidden
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.closest('#items') !== null"):
                break
        page.keyboard.press("Enter")
        expect(page.locator("#details")).to_be_visible()
        assert page.evaluate(focused) == "details"
        page.keyboard.press("Escape")
        expect(page.locator("#details")).to_be_hidden()
        assert page.evaluate("document.activeElement.closest('#items') !== null")
        page.locator(".maplibregl-canvas").focus()
        there = page.locator("#coordinates").inner_text()
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(1000)
        assert page.locator("#coordinates").inner_text() != there


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("map_file", ["day", "difference"], indirect=True)
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_window(
    browser: Browser, map_file: Path, artifacts: Path, size: ViewportSize, scheme: str
) -> None:
    with opened(browser, map_file, viewport=size, color_scheme=scheme) as shown:
        assert shown.violations() == []
        shown.page.locator("#items button").first.click()
        expect(shown.page.locator("#details")).to_be_visible()
        assert shown.violations() == []
        assert shown.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        name = f"map-{map_file.stem}-{scheme}-{size['width']}.png"
        photograph(shown.page, artifacts / name, full_page=True)


def test_without_webgl_the_list_has_the_places_and_the_page_says_so(
    browser: Browser, day_map: Path
) -> None:
    no_webgl = "HTMLCanvasElement.prototype.getContext = () => null;"
    with opened(browser, day_map, before=no_webgl) as shown:
        expect(shown.page.get_by_text("this browser has no WebGL")).to_be_visible()
        assert len(shown.refs) == 1899
        shown.told.clear()  # MapLibre says it too


# A hostile city


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A town whose names, tags, contacts and licences are markup and worse, on two days."""
    folder = tmp_path_factory.mktemp("hostile")
    name = {"en": f"Town {MARKUP}"}
    write_cities(folder / "cities.toml", [TOWN | {"name": name}])
    engine = create_engine(f"sqlite:///{folder}/staging.gpkg")
    migrate(engine)
    stage_hostile(engine, "town", DAY, date(2024, 6, 2))
    engine.dispose()
    return folder


@pytest.mark.parametrize("earlier", [(), ("--from", str(DAY))], ids=["day", "difference"])
def test_whatever_a_city_contains_is_shown_as_text(
    browser: Browser, hostile: Path, artifacts: Path, earlier: tuple[str, ...]
) -> None:
    out = ("--out", str(hostile / "map.html"))
    path = map_of(hostile, "--city", "town", "--day", "2024-06-02", *earlier, *out)
    with opened(browser, path) as shown:
        page = shown.page
        expect(page.get_by_role("heading", level=1)).to_contain_text(MARKUP)
        assert set(shown.refs) >= set(NAMES)
        for ref, name in NAMES.items():
            page.locator(f'[data-ref="{ref}"]').first.click()
            title = page.locator("#details-title")
            assert title.evaluate("each => each.textContent") == name
            assert title.evaluate("each => each.childElementCount") == 0
            words = page.locator("#details").evaluate("each => each.textContent")
            assert words.count(name) >= 5, ref
            hrefs = page.locator("#details a").evaluate_all("all => all.map((a) => a.protocol)")
            assert set(hrefs) == {"https:"}
        photograph(page, artifacts / f"map-of-a-hostile-{'-'.join(earlier[:1])}town.png")
        assert page.title().startswith("Town <img")
        assert page.locator("img, main script, iframe").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# A basemap


def test_a_basemap_is_drawn_below_the_places_where_there_is_one(
    browser: Browser, sample: Path
) -> None:
    with serving_basemap() as host:
        env = {"BASEMAP_STYLE_URL": f"http://{host}/style.json"}
        out = ("--out", str(sample / "basemap.html"))
        path = map_of(sample, "--city", "monaco", "--day", LATER, *out, env=env)
        with opened(browser, path, offline=False) as shown:
            assert shown.hosts == {host}
            assert shown.picture().getpixel((10, 300)) == BASEMAP_COLOUR
            assert has_colour(shown.picture(), POIS.groups[0])
    with opened(browser, path) as shown:  # without a network
        assert has_colour(shown.picture(), POIS.groups[0])
        shown.told.clear()  # the browser says that the style cannot be fetched
        shown.hosts.clear()


# Many places


MANY = 100_000


@pytest.fixture(scope="module")
def crowd(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The places of the sample beside themselves, until there are 100,000."""
    (frame,) = (sample / "lake" / "frames").rglob(f"{LATER}.parquet")
    folder = tmp_path_factory.mktemp("crowd")
    write_cities(folder / "cities.toml", [TOWN])
    engine = create_engine(f"sqlite:///{folder}/staging.gpkg")
    migrate(engine)
    replace_slice(
        engine,
        slice_of("town", DAY),
        crowd_rows(frame, MANY),
        rejections=(),
        evidence=evidence_of(DAY),
        claim=claim_key(engine, "town", DAY),
        now=evidence_of(DAY).as_of,
    )
    engine.dispose()
    return folder


def test_a_hundred_thousand_places_stay_fluid(
    browser: Browser, crowd: Path, artifacts: Path
) -> None:
    out = ("--out", str(crowd / "map.html"))
    path = map_of(crowd, "--city", "town", "--day", str(DAY), *out)
    with opened(browser, path) as shown:
        page = shown.page
        drawn = page.evaluate("performance.getEntriesByName('drawn')[0].startTime")
        assert sum(shown.counts.values()) == MANY
        photograph(page, artifacts / "map-of-many.png")
        frames = shown.pan()
        middle, late = frames[len(frames) // 2], frames[len(frames) * 95 // 100]
        told = {
            "places": MANY,
            "bytes of the file": path.stat().st_size,
            "first draw, ms": round(drawn),
            "frames while it is moved": len(frames),
            "median frame, ms": round(middle, 1),
            "95th percentile, ms": round(late, 1),
        }
        (artifacts / "map-of-many.json").write_text(json.dumps(told, indent=1))
        # A machine without a graphics card, with all other tests beside it.
        assert drawn < 30_000, told
        assert middle < 100, told
        # Clusters have numbers, and one opens where it is clicked.
        shown.search("restaurant")
        found = int(page.get_by_role("status").inner_text().split()[0].replace(",", ""))
        assert 2_000 < found < MANY
