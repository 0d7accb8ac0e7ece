"""Every check of docs/checks.md failing where an operator sees it: in the Dagster UI, by a browser.

One platform stages the days of an invented town, each of which is wrong in a way of its own. Then
a real browser goes the way that docs/checks.md tells: the check, its partitions that failed, the
day. Each page is kept as a picture among the tests' artifacts.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import ViewportSize, expect

from ingestion_pipeline.quality.catalogue import CHECKS
from ingestion_pipeline_tests.support.browser import photograph, running_browser
from ingestion_pipeline_tests.support.installation import overpass_cafes
from ingestion_pipeline_tests.support.overpass_server import OverpassServer, Reply, overpass_json
from testbed.platform_processes import (
    LONG_ENOUGH_S,
    Platform,
    running_platform,
    tags_of_partition,
    wait_until,
)
from testbed.towns import in_a_row, town, write_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Locator, Page

WINDOW: ViewportSize = {"width": 1800, "height": 1000}

SOON_MS = 60_000
"""In which a page shows what it has, also where the machine has much to do."""

FAILED_CHECKS = "/assets/poi_staging?view=checks&status=FAILED"

# The days

TODAY = datetime.now(UTC).date()
FIRST_DAY = TODAY - timedelta(days=7)
"""With partitions from here on; the page has its date twice, so that nothing is staged of it."""
GOOD, TRUNCATED, ACCEPTED, EDITED, DAMAGED = (
    TODAY - timedelta(days=ago) for ago in range(6, 1, -1)
)

REASON = "the market was closed and its shops are gone, changeset 123"

CAFES = {
    number: {"amenity": "cafe", "name": f"Café {number}", "name:en": f"Café {number}"}
    for number in range(1, 151)
}
SHOPS = {
    number: {
        "shop": "clothes",
        "name": f"Shop {number}",
        "name:en": f"Shop {number}",
        "opening_hours": "Mo-Fr 10:00-20:00",
    }
    for number in range(151, 301)
}
TOWN = CAFES | SHOPS
TWO_FIFTHS = {number: tags for number, tags in TOWN.items() if number % 5 < 2}


def edited() -> dict[int, dict[str, str]]:
    """The town after mass edits: shops without a kind, hours in prose, names without a language."""
    vague = {"shop": "yes", "name": "Shop", "name:en": "Shop", "opening_hours": "ask inside"}
    return (
        TOWN
        | dict.fromkeys(range(151, 211), vague)
        | {number: {"amenity": "cafe", "name": f"Café {number}"} for number in range(1, 121)}
    )


DAYS = {
    GOOD: TOWN,
    TRUNCATED: TWO_FIFTHS,
    ACCEPTED: TWO_FIFTHS,
    EDITED: edited(),
    DAMAGED: TOWN,
}
"""What the extract of each day has; one is damaged after that, in the lake."""


def damaged(rows: pa.Table) -> pa.Table:
    """Spoil four rows of a frame, each in another way."""
    rows = _with(rows, "geometry", 3, b"\x01\x01")
    rows = _with(rows, "lat", 7, 51.0)
    rows = _with(rows, "licence", 9, "")
    return pa.concat_tables([rows, rows.slice(11, 1)])


def _with(rows: pa.Table, name: str, row: int, value: Any) -> pa.Table:
    values = rows.column(name).to_pylist()
    values[row] = value
    field = rows.schema.field(name)
    return rows.set_column(rows.column_names.index(name), field, pa.array(values, field.type))


OTHER_SOURCE = overpass_json(
    overpass_cafes(dict.fromkeys(range(104, 121), "café")), base=f"{TODAY}T00:00:00Z"
)
"""What Overpass says of the second town: two cafés fewer than its extract, and none more."""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform that has staged, or refused, every one of the days."""
    folder = tmp_path_factory.mktemp("platform")
    days = {
        GOOD: TOWN,
        TRUNCATED: TWO_FIFTHS,
        ACCEPTED: TWO_FIFTHS,
        EDITED: edited(),
        DAMAGED: TOWN,
    }
    for day, nodes in days.items():
        at = datetime.combine(day, time(20), UTC)
        write_nodes(folder / "extracts" / f"{day}.osm.pbf", in_a_row(nodes, spread=0.0003), at=at)
    other = folder / "other.osm.pbf"
    cafes = {number: {"amenity": "cafe", "name": "café"} for number in range(102, 121)}
    write_nodes(other, in_a_row(cafes), at=datetime.combine(GOOD, time(23), UTC))
    towns = [town(0), town(1, osm_extract=str(other)) | {"enabled": False}]
    with (
        OverpassServer(Reply(body=OTHER_SOURCE)) as server,
        running_platform(
            folder, towns=towns, OVERPASS_URL=server.url, PARTITIONS_START=str(FIRST_DAY)
        ) as platform,
    ):
        stage_all(platform)
        yield platform


def stage_all(platform: Platform) -> None:
    """Run every day, in two batches: what is compared with, and what is compared."""
    platform.allow_fetches(4)
    wait_for(
        platform,
        platform.launch("town-0", str(GOOD)),
        launch(platform, DAMAGED, only=["osm_snapshot", "osm_pois"]),
        platform.launch("town-1", str(GOOD)),
    )
    (frame,) = (platform.folder / "lake/frames").rglob(f"{DAMAGED}.parquet")
    pq.write_table(damaged(pq.read_table(frame)), frame)
    accept = {"ops": {"poi_staging": {"config": {"accept": {"reason": REASON}}}}}
    with ThreadPoolExecutor() as pool:
        from_overpass = pool.submit(
            platform.command,
            *("run", "--city", "town-1", "--day", str(GOOD), "--refetch"),
            OSM_SOURCE="overpass",
        )
        wait_for(
            platform,
            platform.launch("town-0", str(TRUNCATED)),
            launch(platform, ACCEPTED, config=accept),
            platform.launch("town-0", str(EDITED)),
            launch(platform, DAMAGED, only=["poi_staging"]),
        )
        wait_for(platform, platform.launch_job("coverage"))  # it names the newest of these days
    assert from_overpass.result().returncode == 0, from_overpass.result().stderr


def launch(platform: Platform, day: date, **given: Any) -> str:
    """Launch a day of the first town; arguments as of `Platform.launch_job`."""
    return platform.launch_job("osm_import", tags=tags_of_partition("town-0", str(day)), **given)


def wait_for(platform: Platform, *run_ids: str) -> None:
    def ended() -> bool:
        runs = [run for run in platform.dagster_runs() if run.run_id in run_ids]
        return all(run.is_finished for run in runs)

    wait_until(ended, f"{len(run_ids)} runs have ended", timeout=2 * LONG_ENOUGH_S)


# The browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser of the system; it keeps what it knows in a new folder."""
    with running_browser() as browser:
        yield browser


@dataclass
class Screen:
    """What an operator has before their eyes."""

    page: Page
    address: str
    artifacts: Path

    def open(self, path: str) -> None:
        self.page.goto(f"{self.address}{path}")

    def open_check(self, check: str, city: str, day: date) -> Locator:
        """Go to a check, to its partitions that failed, and to a day; give the part on the day."""
        if f"{self.address}{FAILED_CHECKS}" not in self.page.url:
            self.open(FAILED_CHECKS)
        self.page.get_by_text(check, exact=True).first.click()
        tabs = self.page.get_by_role("tab", name="Partitions")
        tabs.nth(1).click()  # the first one is the asset's
        self.page.get_by_text(city, exact=True).first.click()
        self.page.get_by_text(str(day), exact=True).first.click()
        title = self.page.get_by_text(f"{city}|{day}", exact=True).first
        expect(title).to_be_visible()
        return title.locator("xpath=ancestor::*[contains(., 'Metadata')][1]")

    def keep(self, name: str) -> None:
        """Keep a picture of the whole page."""
        photograph(self.page, self.artifacts / f"{name}.png", full_page=True)


@pytest.fixture(scope="module")
def screen(browser: Browser, platform: Platform, artifacts: Path) -> Screen:
    page = browser.new_page(viewport=WINDOW)
    page.set_default_timeout(SOON_MS)
    expect.set_options(timeout=SOON_MS)
    return Screen(page, f"http://127.0.0.1:{platform.ports['webserver']}", artifacts)


# What is read


CASES = [
    (
        "counts",
        "town-0",
        TRUNCATED,
        (
            "too few features: all 120, expected 188 to 477; amenity 60, expected 77 to 289; "
            "amenity/cafe 60, expected 77 to 289; "
        ),
    ),
    ("geometry", "town-0", DAMAGED, "of 301 rows, cannot be read: 1 (node/4)"),
    (
        "position",
        "town-0",
        DAMAGED,
        (
            "of 301 rows, outside of the city's boundary: 1 (node/8); "
            "not on the geometry: 1 (node/8)"
        ),
    ),
    ("unique_refs", "town-0", DAMAGED, "of 301 rows, more than once: 2 (node/12, node/12)"),
    ("licence", "town-0", DAMAGED, "of 301 rows, no licence: 1 (node/10)"),
    (
        "unclassified",
        "town-0",
        EDITED,
        "60 of 300 features without a specific category: 20.0%, usual 0.0%, expected at most ",
    ),
    (
        "opening_hours",
        "town-0",
        EDITED,
        "60 of 150 opening hours that are not understood: 40.0%, usual 0.0%, expected at most ",
    ),
    (
        "names",
        "town-0",
        EDITED,
        (
            "180 of 300 named features with a name in the city's languages: 60.0%, "
            "usual 100.0%, expected at least "
        ),
    ),
    (
        "parity",
        "town-1",
        GOOD,
        "2 features differ, 1 are allowed: only in the staged one: 2 (node/102, node/103); 17 are",
    ),
]
"""Check, city, day, and what is to be read of it."""


@pytest.mark.parametrize(
    ("check", "city", "day", "sentence"), CASES, ids=[case[0] for case in CASES]
)
def test_a_check_that_fails_says_on_its_page_what_it_found_and_what_to_do(
    screen: Screen, check: str, city: str, day: date, sentence: str
) -> None:
    shown = screen.open_check(check, city, day)
    expect(shown).to_contain_text(sentence)
    expect(shown.get_by_text("Failed", exact=True).first).to_be_visible()
    (told,) = (each.what_to_do for each in CHECKS if each.name == check)
    expect(shown).to_contain_text(told[:40])
    screen.keep(f"check-{check}")


def test_every_check_of_a_city_day_is_seen_failing_here() -> None:
    assert [case[0] for case in CASES] == [check.name for check in CHECKS]


def test_the_table_of_a_check_is_one_click_away(screen: Screen) -> None:
    screen.open_check("counts", "town-0", TRUNCATED)
    screen.page.get_by_text("[Show Markdown]").click()
    row = screen.page.get_by_role("row").filter(has_text="amenity/cafe")
    expect(row).to_contain_text("150")
    expect(row).to_contain_text("77 to 289")
    expect(row).to_contain_text("fell")
    screen.keep("check-counts-table")
    screen.page.get_by_role("button", name="Close").click()


def test_the_list_of_checks_tells_those_that_failed(screen: Screen) -> None:
    screen.open("/assets/poi_staging?view=checks")
    for check in CHECKS:
        # Beside the name: the details of the check that ran last may show "Failed" once more.
        status = screen.page.get_by_title(check.name, exact=True).locator(
            "xpath=following-sibling::*"
        )
        expect(status).to_have_text("Failed")
    screen.keep("checks")


def test_a_day_that_an_operator_accepted_still_warns_and_says_why(screen: Screen) -> None:
    shown = screen.open_check("counts", "town-0", ACCEPTED)
    expect(shown).to_contain_text("too few features: all 120, ")
    expect(shown.get_by_text("accepted_reason", exact=True)).to_be_visible()
    expect(shown.get_by_text(REASON)).to_be_visible()
    screen.keep("check-counts-accepted")


def test_the_check_of_the_whole_names_the_city_that_lags(screen: Screen) -> None:
    screen.open("/assets/staged_days?view=checks&checkDetail=osm_import_coverage")
    sentence = f"1 of 1 enabled cities lack their latest due day: town-0 since {DAMAGED}"
    expect(screen.page.get_by_text(sentence)).to_be_visible()
    expect(screen.page.get_by_text("Failed", exact=True).last).to_be_visible()
    screen.keep("check-coverage")
