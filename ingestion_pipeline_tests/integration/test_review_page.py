"""The review page in a real browser, served by the admin API over one database of several cities.

What is seen is compared with the database and with `poi-ingest diff`; the pictures among the tests'
artifacts show what was seen.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from contextlib import contextmanager
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.sync_api import expect

from ingestion_pipeline.core.legend import CHANGES
from ingestion_pipeline.promotion import ledger
from ingestion_pipeline.promotion.ledger import Decision
from ingestion_pipeline.promotion.table import numbered_events
from ingestion_pipeline.staging.database import create_engine, read_transaction
from ingestion_pipeline_tests.support import pages
from ingestion_pipeline_tests.support.api_server import NEXT_TOKEN, TOKEN, Api, running_api
from ingestion_pipeline_tests.support.basemap import BASEMAP_COLOUR, serving_basemap
from ingestion_pipeline_tests.support.browser import photograph, running_browser
from ingestion_pipeline_tests.support.crowd import crowd
from ingestion_pipeline_tests.support.hostile import MARKUP, NAMES, stage_hostile
from ingestion_pipeline_tests.support.installation import installed
from ingestion_pipeline_tests.support.pages import DESKTOP, PHONE, has_colour
from ingestion_pipeline_tests.support.promoted import promote, public_rows, stage_places
from ingestion_pipeline_tests.unit.cli.test_main import invoke_in
from testbed.claims import NOW, claim_key, evidence_of, replace_slice, slice_of
from testbed.towns import NOON, TOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa
    from playwright.sync_api import Browser, Page, ViewportSize

    from ingestion_pipeline.promotion.ledger import Promotion

pytestmark = pytest.mark.timeout(900)

EARLIER, LATER = "2021-04-21", "2023-12-26"
FIRST, SECOND = date(2024, 5, 30), date(2024, 5, 31)
MANY = 100_000
WHO = "ann@example.org"
PLAIN = (0xEC, 0xEF, 0xF1)
"""The map's background without a basemap, in the light scheme."""

WHOLE: ViewportSize = {"width": 1300, "height": 1400}
BY_MOUSE, BY_KEYBOARD, BY_ANOTHER, LOOKED_AT = "by-mouse", "by-keyboard", "by-another", "looked-at"
PICTURE = Path(__file__).parents[2] / "docs" / "img" / "review-of-a-proposal.png"

KEEP_MAPS = """
let found;
Object.defineProperty(window, "maplibregl", {
    configurable: true,
    get: () => found,
    set: (library) => {
        const { Map } = library;
        library.Map = class extends Map {
            constructor(options) { super(options); window.map_ = this; }
        };
        found = library;
    },
});
"""
"""Keeps the page's map, so that a test can ask it what it has drawn."""


# What is reviewed


class Desk(NamedTuple):
    """What is reviewed.

    Attributes:
        folder: Where the database is.
        api: The running admin API.
    """

    folder: Path
    api: Api

    @property
    def page(self) -> str:
        return f"{self.api.url}/review/"

    @property
    def host(self) -> str:
        return urlsplit(self.api.url).netloc

    def newest(self, city: str) -> Promotion:
        (found,) = ledger.page(self.api.engine, city_slug=city, limit=1)
        return found


def cafes(first: int, **others: Any) -> dict[str, dict[str, Any]]:
    named = {
        f"node/{number}": {
            "category": "amenity/cafe",
            "name": f"Café {number}",
            "at": (10.0 + number / 1000, 50.05 + (number % 7) / 1000),
        }
        for number in range(first, 41)
    }
    for ref, columns in others.items():
        named[ref] = named.get(ref, {}) | columns
    return named


def propose(engine: sa.Engine, city: str) -> None:
    """Make a first day public, and propose a second one that needs a review."""
    stage_places(engine, city, FIRST, cafes(1))
    promote(engine, city, FIRST, now=NOON - timedelta(hours=2))
    new = {"category": "shop/bakery", "name": "مخبز السلام", "at": (10.02, 50.06)}
    later = cafes(13) | {"node/90": new}
    later["node/20"] |= {"name": "Кафе двадцать", "opening_hours": "Mo-Fr 08:00-18:00"}
    later["node/30"] |= {"at": (10.0315, 50.0535)}
    stage_places(engine, city, SECOND, later)
    later_on = NOON - timedelta(hours=1)
    assert promote(engine, city, SECOND, policy="review", now=later_on).status == "PROPOSED"


def shipped_monaco() -> dict[str, Any]:
    listed = tomllib.loads(files("ingestion_pipeline").joinpath("cities.toml").read_text("utf-8"))
    (found,) = (city for city in listed["city"] if city["slug"] == "monaco")
    return dict(found)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A server with the sample's two days, towns with a proposal each, and worse cities."""
    folder = tmp_path_factory.mktemp("desk")
    url = f"sqlite:///{folder}/staging.gpkg"
    with installed(folder, url) as here:
        for day in (EARLIER, LATER):
            assert here.run(f"monaco|{day}").success
    engine = create_engine(url)
    promote(engine, "monaco", date.fromisoformat(EARLIER), now=NOON - timedelta(hours=2))
    promote(engine, "monaco", date.fromisoformat(LATER), now=NOON - timedelta(hours=1))
    for city in (BY_MOUSE, BY_KEYBOARD, BY_ANOTHER, LOOKED_AT):
        propose(engine, city)
    stage_hostile(engine, "hostile", FIRST, SECOND, licence="ODbL-1.0")
    promote(engine, "hostile", FIRST, now=NOON - timedelta(hours=2))
    promote(engine, "hostile", SECOND, policy="review", now=NOON - timedelta(hours=1))
    names = {"hostile": {"en": f"Town {MARKUP}"}, LOOKED_AT: {"en": "Examined", "ru": "Осмотр"}}
    towns = [
        TOWN
        | {"slug": slug, "promotion": "review", "name": names.get(slug, {"en": slug})}
        | {"bbox": [10.0 + number, 50.0, 10.1 + number, 50.1]}
        for number, slug in enumerate(
            (BY_MOUSE, BY_KEYBOARD, BY_ANOTHER, LOOKED_AT, "hostile", "crowd")
        )
    ]
    with running_api(
        folder / "api", engine, cities=[shipped_monaco() | {"promotion": "automatic"}, *towns]
    ) as api:
        yield Desk(folder, api)
    engine.dispose()


@pytest.fixture(scope="module")
def browser(desk: Desk) -> Iterator[Browser]:
    """A browser; Dagster's runs come first, because Playwright keeps an event loop running."""
    del desk
    with running_browser() as browser:
        yield browser


def events_of(desk: Desk, promotion: Promotion) -> list[tuple[int, str, str]]:
    """The number, kind and place of each event of a promotion, from its table."""
    with read_transaction(desk.api.engine) as connection:
        found = numbered_events(connection, promotion.id)
    return [(number, event.kind, event.poi_id) for number, event in found]


class Review(pages.Opened):
    """The review page."""

    def sign_in(self, token: str = TOKEN) -> None:
        self.page.get_by_label("Token").or_(self.page.get_by_label("Токен")).fill(token)
        self.page.keyboard.press("Enter")
        expect(self.page.locator("#sign-in")).to_have_count(0)
        expect(self.page.locator("main[aria-busy]")).to_have_count(0)

    def picture(self) -> Image.Image:
        self.page.locator("#panes").evaluate("each => each.scrollIntoView()")
        return super().picture()

    def until_drawn(self) -> None:
        self.page.wait_for_selector("#difference[data-state=ready]")

    def go(self, address: str) -> None:
        self.page.evaluate("(address) => { location.hash = address; }", address)
        self.until_drawn()

    def listed(self) -> list[tuple[str, str]]:
        """The kind and item of each entry of the list, of all its pages."""
        found: list[tuple[str, str]] = []
        while True:
            found += self.page.evaluate(
                "[...document.querySelectorAll('#items button')]"
                ".map((each) => [each.dataset.kind, each.dataset.item])"
            )
            following = self.page.get_by_role("button", name="Next", exact=True)
            if following.is_disabled():
                return [(kind, item) for kind, item in found]
            following.click()

    @property
    def counts(self) -> dict[str, int]:
        """The numbers in the legend, by kind."""
        found: dict[str, int] = self.page.evaluate(
            r"""Object.fromEntries([...document.querySelectorAll('#kinds label')].map((label) => [
                label.querySelector('input').value,
                Number(label.querySelector('.count').textContent.replaceAll(/\D/g, ''))]))"""
        )
        return found

    def drawn(self) -> int:
        """The number of items that the map shows, none of which is outside it."""
        number: int = self.page.evaluate(
            """async () => {
                if (!map_.loaded()) await map_.once("idle");
                const found = map_.queryRenderedFeatures({ layers: ["items"] });
                return new Set(found.map((each) => each.properties.item)).size;
            }"""
        )
        return number


@contextmanager
def reviewed(
    browser: Browser, desk: Desk, address: str = "", *, sign_in: bool = True, **context: Any
) -> Iterator[Review]:
    """Open the page; it requests nothing from another host."""
    with pages.opened_as(
        Review, browser, desk.page + address, before=KEEP_MAPS, **context
    ) as shown:
        shown.page.wait_for_selector("#sign-in")
        if sign_in:
            shown.sign_in()
        if sign_in and address.startswith("#city"):
            shown.until_drawn()
        yield shown
        assert shown.hosts == {desk.host}


# The token


EVERYWHERE = """() => [
    document.documentElement.outerHTML, location.href, document.cookie,
    JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.title, window.name,
    JSON.stringify(history.state),
    ...[...document.querySelectorAll("input, textarea")].map((field) => field.value),
    ...performance.getEntries().map((entry) => entry.name),
].join("\\n")"""
"""All that a page shows or keeps, but for the variables of its modules."""


def test_nothing_is_shown_without_a_token_and_the_token_is_kept_in_memory_alone(
    browser: Browser, desk: Desk, artifacts: Path
) -> None:
    with reviewed(browser, desk, f"#city/{LOOKED_AT}", sign_in=False) as shown:
        page = shown.page
        asked: list[str] = []
        page.on("request", lambda request: asked.append(urlsplit(request.url).path))
        assert page.evaluate("document.activeElement.id") == "token"
        assert "Café" not in page.content()
        photograph(page, artifacts / "review-sign-in.png")
        page.keyboard.press("Enter")
        expect(page.locator("#token-problem")).to_contain_text("Enter a token")
        assert asked == []
        page.keyboard.type("not the token")
        page.keyboard.press("Enter")
        expect(page.locator("#token-problem")).to_contain_text("does not accept this token")
        assert asked == ["/v1/admin/review/settings"]
        assert "Café" not in page.content()
        assert [text for text in shown.told if "403" not in text] == []
        shown.told.clear()
        shown.sign_in(NEXT_TOKEN)  # which is not ASCII
        shown.until_drawn()
        expect(page.get_by_role("heading", level=1)).to_have_text("Examined")
        everything = page.evaluate(EVERYWHERE)
        assert "Café" in everything
        assert NEXT_TOKEN not in everything
        page.reload()
        expect(page.locator("#sign-in")).to_be_visible()
        assert "Café" not in page.content()
        shown.sign_in()
        shown.until_drawn()
        page.get_by_role("button", name="Forget the token").click()
        expect(page.locator("#sign-in")).to_be_visible()
        assert "Café" not in page.content()


def test_a_token_that_is_no_longer_accepted_is_asked_for_again(
    browser: Browser, desk: Desk
) -> None:
    with reviewed(browser, desk) as shown:
        refused = {"status": 401, "content_type": "application/problem+json"}
        body = json.dumps({"code": "token_missing", "detail": "Send a token.", "errors": []})
        shown.page.route("**/difference/map*", lambda route: route.fulfill(body=body, **refused))
        shown.page.locator(f"[data-city={LOOKED_AT}]").click()
        expect(shown.page.locator("#token-problem")).to_contain_text("any more")
        shown.page.unroute("**/difference/map*")
        shown.sign_in()
        shown.until_drawn()
        assert [text for text in shown.told if "401" not in text] == []
        shown.told.clear()


# Cities, and the difference of the sample


def test_the_cities_have_their_newest_day_checks_promotion_and_lag(
    browser: Browser, desk: Desk, artifacts: Path
) -> None:
    with reviewed(browser, desk) as shown:
        photograph(shown.page, artifacts / "review-cities.png")
        rows = shown.page.locator(".cities tbody tr")
        monaco = rows.filter(has_text="Monaco")
        for text in ("Dec 26, 2023", "1,899 POIs", "9 passed", "Automatic", "158 days behind"):
            expect(monaco).to_contain_text(text)
        town = rows.filter(has_text="Examined")
        for text in ("May 31, 2024", "29 POIs", "Waits for a decision", "May 30, 2024", "40"):
            expect(town).to_contain_text(text)
        expect(rows.filter(has_text="crowd")).to_contain_text("No day is staged")


def test_the_difference_of_the_sample_is_that_of_diff_on_the_map_and_in_the_list(
    browser: Browser, desk: Desk, artifacts: Path
) -> None:
    days = ("--city", "monaco", "--from", EARLIER, "--to", LATER)
    lines = invoke_in(desk.folder, "diff", *days, "--json").output.splitlines()
    changes = {each["source_ref"]: each for each in map(json.loads, lines)}
    kinds = Counter(change["change"] for change in changes.values())
    with reviewed(browser, desk, f"#city/monaco/days/{EARLIER}/{LATER}") as shown:
        page = shown.page
        page.locator("#panes").evaluate("each => each.scrollIntoView()")
        photograph(page, artifacts / "review-of-the-sample.png")
        assert [each.key for each in CHANGES.groups if not has_colour(shown.picture(), each)] == []
        counts = shown.counts
        assert counts["moved"] > 100
        assert (counts["added"], counts["removed"]) == (kinds["added"], kinds["removed"])
        assert counts["changed"] + counts["moved"] == kinds["changed"]
        assert shown.drawn() == len(changes)
        listed = shown.listed()
        assert len(listed) == len(changes)
        assert {ref for _, ref in listed} == set(changes)
        for kind, ref in listed:
            change = changes[ref]["change"]
            assert kind == change or (kind == "moved" and change == "changed")
        for group in CHANGES.groups:
            page.get_by_role("button", name="Hide all").click()
            page.locator(f"#kinds input[value={group.key}]").check()
            page.wait_for_timeout(300)
            assert shown.drawn() == counts[group.key]
            found = [each.key for each in CHANGES.groups if has_colour(shown.picture(), each)]
            assert found == [group.key]
        page.get_by_role("button", name="Show all").click()
        for kind in ("added", "changed", "removed"):
            change = next(each for each in changes.values() if each["change"] == kind)
            shown.page.get_by_role("searchbox").fill(change["source_ref"])
            page.locator(f'#items [data-item="{change["source_ref"]}"]').click()
            expect(page.locator("#details")).to_be_visible()
            expect(page.locator("#details a").first).to_have_attribute(
                "href", f"https://www.openstreetmap.org/{change['source_ref']}"
            )
            marked = page.locator("#details tr.differs").evaluate_all(
                "all => all.map((each) => each.dataset.column)"
            )
            assert set(marked) - {"content_hash", "source_hash"} == set(change["changed_fields"])


def test_what_would_become_public_is_every_event_of_the_proposal_in_its_group_of_colours(
    browser: Browser, desk: Desk, artifacts: Path
) -> None:
    proposed = desk.newest("monaco")
    assert proposed.status == "PROPOSED"
    events = events_of(desk, proposed)
    with reviewed(browser, desk, "#city/monaco") as shown:
        page = shown.page
        assert shown.counts == dict(Counter(kind for _, kind, _ in events))
        assert shown.drawn() == len(events)
        listed = shown.listed()
        assert sorted(listed) == sorted((kind, str(number)) for number, kind, _ in events)
        page.set_viewport_size(WHOLE)
        renamed = next(place for _, kind, place in events if kind == "renamed")
        shown.go(f"#city/monaco/place/{renamed}")
        expect(page.locator("#details")).to_be_visible()
        page.evaluate("map_.jumpTo({ center: map_.getCenter(), zoom: 15.2 }); scrollTo(0, 0)")
        page.wait_for_timeout(1000)
        photograph(page, artifacts / PICTURE.name)


def test_filters_leave_what_matches_on_the_map_and_in_the_list(
    browser: Browser, desk: Desk
) -> None:
    with reviewed(browser, desk, f"#city/monaco/days/{EARLIER}/{LATER}") as shown:
        page = shown.page
        everything = shown.page.locator("#count").inner_text()
        page.get_by_label("Category", exact=True).select_option("amenity/restaurant")
        restaurants = len(shown.listed())
        assert 10 < restaurants < 300
        assert shown.drawn() == restaurants
        expect(page.locator("#count")).to_contain_text(f"{restaurants} of ")
        page.get_by_role("searchbox").fill("CAFE")
        page.wait_for_timeout(400)
        assert len(shown.listed()) < restaurants
        page.get_by_role("searchbox").fill("nothing has this name")
        expect(page.get_by_text("No change matches the filters")).to_be_visible()
        page.get_by_role("searchbox").fill("")
        page.get_by_label("Category", exact=True).select_option("")
        expect(page.locator("#count")).to_have_text(everything)


# Decisions


def test_a_proposal_is_examined_approved_and_reverted_by_mouse(
    browser: Browser, desk: Desk, artifacts: Path
) -> None:
    engine = desk.api.engine
    before = public_rows(engine, BY_MOUSE)
    proposed = desk.newest(BY_MOUSE)
    with reviewed(browser, desk) as shown:
        page = shown.page
        page.locator(f"[data-city={BY_MOUSE}]").click()
        shown.until_drawn()
        assert shown.counts == dict(Counter(kind for _, kind, _ in events_of(desk, proposed)))
        losses = page.locator("[data-gate=category_losses]")
        expect(losses).to_contain_text("amenity/cafe loses 12 of 40 (Café 1,")
        losses.locator("summary").click()
        expect(losses).to_contain_text("10%")
        page.locator("#items button", has_text="Кафе двадцать").first.click()
        row = page.locator("#details tr[data-column=name]")
        expect(row).to_be_visible()
        assert row.locator("td").all_inner_texts() == ["Café 20", "Кафе двадцать"]
        expect(page.locator("#explanation")).to_have_count(1)
        page.locator("#explanation > summary").click()
        expect(page.locator("#explanation")).to_contain_text("invented.osm.pbf")

        page.get_by_role("button", name="Approve…").click()
        page.get_by_role("button", name="Approve", exact=True).click()
        expect(page.locator("dialog .problem")).to_contain_text("Enter who decides")
        page.get_by_label("Who decides").fill(WHO)
        page.get_by_label("Reason").fill("The cafés are gone, changeset 123")
        photograph(page, artifacts / "review-decision.png")
        page.get_by_role("button", name="Approve", exact=True).click()
        status = page.locator("#promotion-status")
        expect(status).to_have_attribute("data-status", "APPROVED")
        assert public_rows(engine, BY_MOUSE) == before
        promote(engine, BY_MOUSE, SECOND, policy="review")
        expect(status).to_have_attribute("data-status", "PROMOTED")
        public = desk.newest(BY_MOUSE)
        assert (public.id, public.decided_by) == (proposed.id, WHO)
        assert public.decision_reason == "The cafés are gone, changeset 123"
        assert len(public_rows(engine, BY_MOUSE)) == 29

        page.get_by_role("button", name="Revert…").click()
        assert page.get_by_label("Who decides").input_value() == WHO
        page.get_by_label("Reason").fill("It was vandalism after all")
        page.get_by_role("button", name="Revert", exact=True).click()
        expect(status).to_have_attribute("data-status", "APPROVED")
        promote(engine, BY_MOUSE, FIRST, policy="review")
        expect(status).to_have_attribute("data-status", "PROMOTED")
        expect(page.locator("#promotion")).to_contain_text("It was vandalism after all")
        reverted = desk.newest(BY_MOUSE)
        assert reverted.reverts == public.id
        assert (reverted.decided_by, reverted.decision_reason) == (
            WHO,
            "It was vandalism after all",
        )
        assert public_rows(engine, BY_MOUSE) == before


def focused(page: Page) -> str:
    found: str = page.evaluate(
        "document.activeElement.id || document.activeElement.textContent.trim()"
    )
    return found


def tab_to(page: Page, text: str) -> None:
    """Press Tab until the focus is on what has a text or an id."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if focused(page) == text:
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid", text
            return
    raise AssertionError(text)


def see_a_place_by_keyboard(page: Page) -> None:
    """Go from the search to the list and along it, open a place, and come back."""
    press = page.keyboard.press
    for _ in range(80):
        press("Tab")
        if page.evaluate("document.activeElement.closest('#items') !== null"):
            break
    first = page.evaluate("document.activeElement.dataset.item")
    press("ArrowDown")
    second = page.evaluate("document.activeElement.dataset.item")
    press("Home")
    assert page.evaluate("document.activeElement.dataset.item") == first != second
    press("Enter")
    expect(page.locator("#details")).to_be_visible()
    page.wait_for_function("document.activeElement.id === 'details'")
    press("Escape")
    expect(page.locator("#details")).to_be_hidden()
    assert page.evaluate("document.activeElement.closest('#items') !== null")


def test_a_proposal_is_examined_approved_and_reverted_by_keyboard_alone(
    browser: Browser, desk: Desk
) -> None:
    engine = desk.api.engine
    before = public_rows(engine, BY_KEYBOARD)
    proposed = desk.newest(BY_KEYBOARD)
    with reviewed(browser, desk) as shown:
        page = shown.page
        press = page.keyboard.press
        tab_to(page, BY_KEYBOARD)
        press("Enter")
        shown.until_drawn()
        assert page.evaluate("document.activeElement.tagName") == "H1"
        tab_to(page, "search")
        page.keyboard.type("кафе двадцать")
        page.wait_for_timeout(400)
        see_a_place_by_keyboard(page)
        page.evaluate("document.querySelector('h1').focus()")
        tab_to(page, "Approve…")
        press("Enter")
        press("Escape")
        expect(page.locator("dialog")).to_have_count(0)
        assert focused(page) == "Approve…"
        press("Enter")
        page.keyboard.type(WHO)
        press("Tab")
        page.keyboard.type("Seen by keys")
        press("Tab")
        assert focused(page) == "Approve"
        press("Enter")
        status = page.locator("#promotion-status")
        expect(status).to_have_attribute("data-status", "APPROVED")
        promote(engine, BY_KEYBOARD, SECOND, policy="review")
        expect(status).to_have_attribute("data-status", "PROMOTED")
        public = desk.newest(BY_KEYBOARD)
        assert (public.id, public.decided_by) == (proposed.id, WHO)
        assert public.decision_reason == "Seen by keys"
        tab_to(page, "Revert…")
        press("Space")
        page.keyboard.type("Undone by keys")
        press("Tab")
        press("Enter")
        expect(status).to_have_attribute("data-status", "APPROVED")
        promote(engine, BY_KEYBOARD, FIRST, policy="review")
        expect(status).to_have_attribute("data-status", "PROMOTED")
        assert desk.newest(BY_KEYBOARD).decision_reason == "Undone by keys"
        assert public_rows(engine, BY_KEYBOARD) == before


def test_the_page_shows_the_state_after_somebody_else_has_decided(
    browser: Browser, desk: Desk
) -> None:
    proposed = desk.newest(BY_ANOTHER)
    with reviewed(browser, desk, f"#city/{BY_ANOTHER}") as shown:
        page = shown.page
        ledger.reject(desk.api.engine, proposed.id, Decision("bob", "Half is missing", NOW))
        page.get_by_role("button", name="Approve…").click()
        page.get_by_label("Who decides").fill(WHO)
        page.get_by_label("Reason").fill("It is fine")
        page.get_by_role("button", name="Approve", exact=True).click()
        alert = page.locator("#alert")
        expect(alert).to_contain_text("has been decided already")
        expect(alert).to_contain_text("REJECTED by bob (Half is missing)")
        expect(page.get_by_role("button", name="Approve…")).to_have_count(0)
        expect(page.locator("#history")).to_contain_text("Half is missing")
        assert [text for text in shown.told if "409" not in text] == []
        shown.told.clear()
    assert desk.newest(BY_ANOTHER).decided_by == "bob"


# Whoever opens it


def test_the_back_button_and_a_deep_link_lead_to_a_place(browser: Browser, desk: Desk) -> None:
    with reviewed(browser, desk) as shown:
        page = shown.page
        page.locator(f"[data-city={LOOKED_AT}]").click()
        shown.until_drawn()
        page.locator("#items button").first.click()
        expect(page.locator("#details")).to_be_visible()
        deep = page.evaluate("location.hash")
        assert deep.startswith(f"#city/{LOOKED_AT}/place/")
        page.go_back()
        expect(page.locator("#details")).to_be_hidden()
        page.go_back()
        expect(page.locator(".cities")).to_be_visible()
        shown.go(deep)
        expect(page.locator("#details")).to_be_visible()
        wrong = ["#city", "#city/%", "#city/town/else", "#<script>", "#city/a/days/2024-01-01"]
        understood = page.evaluate(
            """async (addresses) => {
                const main = document.querySelector("script[type=module]").src;
                const { parse } = await import(new URL("routes.js", main));
                return addresses.map(parse);
            }""",
            wrong,
        )
        assert understood == [{}] * len(wrong)


LOOKS: tuple[Any, ...] = (
    {"viewport": DESKTOP, "color_scheme": "light", "locale": "en"},
    {"viewport": DESKTOP, "color_scheme": "dark", "locale": "ru"},
    {"viewport": PHONE, "color_scheme": "light", "locale": "ru"},
    {"viewport": PHONE, "color_scheme": "dark", "locale": "en"},
)


def name_of(look: dict[str, Any]) -> str:
    return f"{look['viewport']['width']}-{look['color_scheme']}-{look['locale']}"


@pytest.mark.parametrize("look", LOOKS, ids=name_of)
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_window(
    browser: Browser, desk: Desk, artifacts: Path, look: dict[str, Any]
) -> None:
    locale = look["locale"]
    with reviewed(browser, desk, sign_in=False, **look) as shown:
        page = shown.page

        def check(name: str) -> None:
            assert shown.violations() == [], name
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            path = artifacts / f"review-{name}-{name_of(look)}.png"
            photograph(page, path, full_page=name != "dialog")

        check("token")
        assert page.evaluate("document.documentElement.lang") == locale
        shown.sign_in()
        check("cities")
        shown.go(f"#city/{LOOKED_AT}")
        page.locator("#items button").nth(1).click()
        expect(page.locator("#details")).to_be_visible()
        page.locator("#explanation > summary").click()
        check("city")
        page.locator("button.reject").click()
        check("dialog")
        page.keyboard.press("Escape")
        if locale == "ru":
            expect(page.get_by_role("heading", level=1)).to_have_text("Осмотр")
            expect(page.locator("#state")).to_contain_text("Загрузка отстаёт")
            page.get_by_role("button", name="English").click()
            shown.until_drawn()
            assert page.evaluate("document.documentElement.lang") == "en"
            expect(page.get_by_role("heading", level=1)).to_have_text("Examined")


def test_whatever_a_city_contains_is_shown_as_text(
    browser: Browser, desk: Desk, artifacts: Path
) -> None:
    with reviewed(browser, desk, "#city/hostile") as shown:
        page = shown.page
        expect(page.get_by_role("heading", level=1)).to_contain_text(MARKUP)
        for ref, name in NAMES.items():
            page.get_by_role("searchbox").fill(ref)
            page.wait_for_timeout(300)
            page.locator("#items button").first.click()
            title = page.locator("#details-title")
            expect(page.locator("#details")).to_contain_text(ref)
            assert title.evaluate("each => each.textContent") == name
            assert title.evaluate("each => each.childElementCount") == 0
            for unfold in page.locator("#details button.small").all()[::-1]:
                unfold.click()
            words = page.locator("#details").evaluate("each => each.textContent")
            assert words.count(name) >= 5, ref
            hrefs = page.locator("#details a").evaluate_all("all => all.map((a) => a.protocol)")
            assert set(hrefs) == {"https:"}
        page.get_by_role("searchbox").fill("")
        page.wait_for_timeout(300)
        photograph(page, artifacts / "review-of-a-hostile-town.png")
        page.get_by_role("button", name="Reject…").click()
        expect(page.locator("dialog h2")).to_contain_text(MARKUP)
        page.get_by_label("Who decides").fill(MARKUP)
        page.get_by_label("Reason").fill(f"{MARKUP} {NAMES['node/5']}")
        page.get_by_role("button", name="Reject", exact=True).click()
        expect(page.locator("#history")).to_contain_text(MARKUP)
        assert page.title().startswith("Town <img")
        assert page.locator("img, main script, iframe").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert desk.newest("hostile").decided_by == MARKUP


# A basemap


def test_a_basemap_is_drawn_below_the_changes_where_there_is_one(
    browser: Browser, desk: Desk, tmp_path: Path
) -> None:
    address = f"#city/monaco/days/{EARLIER}/{LATER}"
    with reviewed(browser, desk, address) as shown:
        assert shown.picture().getpixel((10, 300)) == PLAIN
    with (
        serving_basemap() as host,
        running_api(
            tmp_path,
            desk.api.engine,
            cities=[shipped_monaco()],
            basemap_style_url=f"http://{host}/style.json",
        ) as api,
        pages.opened_as(Review, browser, f"{api.url}/review/{address}", before=KEEP_MAPS) as shown,
    ):
        shown.sign_in()
        shown.until_drawn()
        assert shown.hosts == {urlsplit(api.url).netloc, host}
        assert shown.picture().getpixel((10, 300)) == BASEMAP_COLOUR
        assert has_colour(shown.picture(), CHANGES.groups[0])


# Many places


def test_a_hundred_thousand_changes_stay_fluid(
    browser: Browser, desk: Desk, artifacts: Path
) -> None:
    engine = desk.api.engine
    removed = {"node/1": {"category": "amenity/cafe", "at": (7.42, 43.73)}}
    stage_places(engine, "crowd", FIRST, removed)
    (frame,) = (desk.folder / "lake" / "frames").rglob(f"{LATER}.parquet")
    replace_slice(
        engine,
        slice_of("crowd", SECOND),
        crowd(frame, MANY),
        rejections=(),
        evidence=evidence_of(SECOND),
        claim=claim_key(engine, "crowd", SECOND),
        now=NOW,
    )
    with reviewed(browser, desk) as shown:
        page = shown.page
        page.evaluate("performance.mark('asked')")
        shown.go(f"#city/crowd/days/{FIRST}/{SECOND}")
        at = page.evaluate(
            "Object.fromEntries(performance.getEntriesByType('mark')"
            ".map((mark) => [mark.name, mark.startTime]))"
        )
        assert shown.counts == {"added": MANY, "removed": 1}
        page.locator("#panes").evaluate("each => each.scrollIntoView()")
        photograph(page, artifacts / "review-of-many.png")
        frames = shown.pan()
        middle, late = frames[len(frames) // 2], frames[len(frames) * 95 // 100]
        answer = page.evaluate(
            "performance.getEntriesByType('resource')"
            ".find((each) => each.name.includes('/difference/map')).duration"
        )
        told = {
            "changes": MANY + 1,
            "answer of the server, ms": round(answer),
            "list shown, ms": round(at["listed"] - at["asked"]),
            "first draw, ms": round(at["drawn"] - at["asked"]),
            "frames while it is moved": len(frames),
            "median frame, ms": round(middle, 1),
            "95th percentile, ms": round(late, 1),
        }
        (artifacts / "review-of-many.json").write_text(json.dumps(told, indent=1))
        # A machine without a graphics card, with all other tests beside it.
        assert at["drawn"] - at["asked"] - answer < 30_000, told
        assert middle < 100, told
        page.get_by_role("searchbox").fill("restaurant")
        expect(page.locator("#count")).to_contain_text(" of 100,001")


def test_the_manual_shows_the_page() -> None:
    with Image.open(PICTURE) as picture:
        shown = picture.convert("RGB")
        assert shown.width == DESKTOP["width"]
        present = [each.key for each in CHANGES.groups if has_colour(shown, each)]
    assert present
    manual = (PICTURE.parents[1] / "review.md").read_text("utf-8")
    assert f"(img/{PICTURE.name})" in manual
