"""A promotion on the whole platform: the daemon proposes, and a person decides by the Dagster UI.

Each town's second day loses a third of its cafés. What is read on the pages of the runs is kept as
pictures among the tests' artifacts.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import ViewportSize, expect

from ingestion_pipeline.defs.promotion import SENSOR
from ingestion_pipeline.promotion import ledger
from ingestion_pipeline.staging import ticks
from ingestion_pipeline_tests.support.browser import photograph, running_browser
from ingestion_pipeline_tests.support.promoted import public_rows
from testbed.platform_processes import (
    LOCATION,
    Platform,
    running_platform,
    tags_of_partition,
    wait_until,
)
from testbed.towns import cafes, town, write_extract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date
    from pathlib import Path

    from playwright.sync_api import Page

    from ingestion_pipeline.promotion.ledger import Promotion

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]

TODAY = datetime.now(UTC).date()
FIRST, SECOND = TODAY - timedelta(days=3), TODAY - timedelta(days=2)

BY_API, BY_COMMAND, OFF = "town-0", "town-1", "town-2"

IN_THE_END_S = 600
"""Half a minute until the sensor looks, and a run, where the machine has much to do."""

SOON_MS = 60_000

WINDOW: ViewportSize = {"width": 1800, "height": 1400}

MATERIALIZED = "type%3AASSET_MATERIALIZATION"
"""The filter of the log for the event with the metadata."""

PROMOTIONS = "/v1/admin/promotions"
WHO = "ann@example.org"

SENSOR_STATE = """query($sensor: SensorSelector!) {
  sensorOrError(sensorSelector: $sensor) {
    __typename
    ... on Sensor { sensorState { id ticks(limit: 1000) { status runIds error { message } } } }
    ... on PythonError { message }
  }
}"""

STOP_SENSOR = """mutation($id: String!) {
  stopSensor(id: $id) { __typename ... on PythonError { message } }
}"""

START_SENSOR = """mutation($sensor: SensorSelector!) {
  startSensor(sensorSelector: $sensor) { __typename ... on PythonError { message } }
}"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform whose daemon has promoted the first day of two towns of three, by itself."""
    folder = tmp_path_factory.mktemp("platform")
    pois = {place: name for number in range(3) for place, name in cafes(number).items()}
    fewer = {place: name for place, name in pois.items() if place % 3}
    for day, there in ((FIRST, pois), (SECOND, fewer)):
        at = datetime.combine(day, time(20), UTC)
        write_extract(folder / "extracts" / f"{day}.osm.pbf", there, at=at)
    towns = [town(0, promotion="automatic"), town(1, promotion="automatic"), town(2)]
    with running_platform(
        folder, towns=towns, PARTITIONS_START=str(FIRST - timedelta(days=1))
    ) as platform:
        platform.allow_fetches(4)
        stage(platform, FIRST)
        for city in (BY_API, BY_COMMAND):
            until_newest_is(platform, city, "PROMOTED", FIRST)
        yield platform


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with running_browser() as browser:
        page = browser.new_page(viewport=WINDOW)
        page.set_default_timeout(SOON_MS)
        expect.set_options(timeout=SOON_MS)
        yield page


def stage(platform: Platform, day: date, *cities: str) -> None:
    launched = [platform.launch(city, str(day)) for city in cities or (BY_API, BY_COMMAND, OFF)]
    for run_id in launched:
        until_green(platform, run_id)


def until_green(platform: Platform, run_id: str) -> None:
    def ended() -> bool:
        return any(run.is_finished for run in platform.dagster_runs() if run.run_id == run_id)

    wait_until(ended, f"run {run_id} has ended", timeout=IN_THE_END_S)
    (status,) = (run.status for run in platform.dagster_runs() if run.run_id == run_id)
    assert status == "SUCCESS"


def until_newest_is(platform: Platform, city: str, status: str, day: date) -> Promotion:
    """Wait until the newest promotion of a city has a status; return it."""

    def newest() -> Promotion | None:
        listed = ledger.page(platform.engine, city_slug=city, limit=1)
        return next((each for each in listed if (each.status, each.day) == (status, day)), None)

    found = wait_until(newest, f"{city} on {day} is {status}", timeout=IN_THE_END_S)
    assert found is not None
    return found


def run_of(platform: Platform, promotion: Promotion) -> str:
    """Return the Dagster run that made a promotion, once it has ended."""
    (run,) = (run for run in platform.ledger() if run.id == promotion.run_id)
    assert run.dagster_run_id is not None
    until_green(platform, run.dagster_run_id)
    return run.dagster_run_id


def open_run(platform: Platform, page: Page, run_id: str) -> None:
    """Open the page of a run at what it materialized."""
    page.goto(f"http://127.0.0.1:{platform.ports['webserver']}/runs/{run_id}?logs={MATERIALIZED}")
    expect(page.get_by_text("Materialized value poi.")).to_be_visible()


def materialize(platform: Platform, city: str, day: date, *, again: bool = False) -> str:
    """Materialize the asset `poi` as the UI does, and wait for the run; return its id."""
    config = {"ops": {"poi": {"config": {"again": True}}}} if again else {}
    run_id = platform.launch_job(
        ledger.JOB_TYPE, tags=tags_of_partition(city, str(day)), only=["poi"], config=config
    )
    until_green(platform, run_id)
    return run_id


def decide_by_http(platform: Platform, promotion: Promotion, what: str, reason: str) -> Any:
    reply = platform.api.post(
        f"{PROMOTIONS}/{promotion.id}/{what}", json={"who": WHO, "reason": reason}
    )
    assert reply.status_code in {200, 202}, reply.text
    return reply.json()


def decide_in_terminal(platform: Platform, promotion: Promotion, command: str) -> Any:
    decided = ("--who", WHO, "--reason", "looked at the map")
    done = platform.command(command, promotion.id, *decided, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def selector(sensor: str) -> dict[str, str]:
    return {
        "repositoryLocationName": LOCATION,
        "repositoryName": "__repository__",
        "sensorName": sensor,
    }


def state_of(platform: Platform, sensor: str) -> Any:
    return platform.graphql(SENSOR_STATE, sensor=selector(sensor))["sensorState"]


def requested(platform: Platform) -> list[str]:
    """Wait until the sensor has looked again, whole; return all the runs that it requested."""

    def ended() -> int:
        told = state_of(platform, SENSOR)["ticks"]
        return sum(tick["status"] in {"SUCCESS", "SKIPPED"} for tick in told)

    before = ended()
    # One tick may have begun before what the caller has just done.
    wait_until(lambda: ended() >= before + 2, "the sensor looked again", timeout=IN_THE_END_S)
    told = state_of(platform, SENSOR)["ticks"]
    assert not [tick["error"] for tick in told if tick["error"]]
    return [run_id for tick in told for run_id in tick["runIds"]]


def test_a_person_rejects_in_the_terminal_and_approves_and_reverts_by_http(
    platform: Platform, page: Page, artifacts: Path
) -> None:
    before = public_rows(platform.engine, BY_API)
    assert len(before) == 99
    stage(platform, SECOND, BY_API)
    proposed = until_newest_is(platform, BY_API, "PROPOSED", SECOND)
    assert public_rows(platform.engine, BY_API) == before

    open_run(platform, page, run_of(platform, proposed))
    shown = page.locator("body")
    command = f"poi-ingest promotions {proposed.id}"
    for text in ("PROPOSED", command, "amenity/cafe loses 33 of 99 (café "):
        expect(shown).to_contain_text(text)
    photograph(page, artifacts / "promotion-proposed.png")
    page.get_by_text("[Show Markdown]").click()
    losses = page.get_by_role("row").filter(has_text="category_losses")
    expect(losses).to_contain_text("review")
    expect(losses).to_contain_text("amenity/cafe loses 33 of 99 (café ")
    photograph(page, artifacts / "promotion-gates.png")

    asked = requested(platform)
    looked = platform.command(*command.split()[1:])
    assert "amenity/cafe loses 33 of 99 (café " in " ".join(looked.stdout.split())
    decide_in_terminal(platform, proposed, "reject")
    assert public_rows(platform.engine, BY_API) == before
    assert requested(platform) == asked
    materialize(platform, BY_API, SECOND)
    assert until_newest_is(platform, BY_API, "REJECTED", SECOND).id == proposed.id

    materialize(platform, BY_API, SECOND, again=True)
    anew = until_newest_is(platform, BY_API, "PROPOSED", SECOND)
    trigger = state_of(platform, ticks.TRIGGER_SENSOR)["id"]
    platform.graphql(STOP_SENSOR, id=trigger)
    job = decide_by_http(platform, anew, "approve", "the cafés are gone, changeset 123")["job"]
    run_id = materialize(platform, BY_API, SECOND)
    public = until_newest_is(platform, BY_API, "PROMOTED", SECOND)
    assert (public.id, public.decided_by) == (anew.id, WHO)
    assert run_of(platform, public) == run_id
    assert len(public_rows(platform.engine, BY_API)) == 66
    open_run(platform, page, run_id)
    for text in ("PROMOTED", f"by {WHO}: the cafés are gone, changeset 123"):
        expect(shown).to_contain_text(text)
    photograph(page, artifacts / "promotion-promoted.png")
    assert platform.api.get(job["links"]["self"]).json()["status"] == "SUCCEEDED"

    platform.graphql(START_SENSOR, sensor=selector(ticks.TRIGGER_SENSOR))
    decide_by_http(platform, public, "revert", "it was vandalism after all")
    reverted = until_newest_is(platform, BY_API, "PROMOTED", FIRST)
    assert reverted.reverts == public.id
    assert public_rows(platform.engine, BY_API) == before
    run_of(platform, reverted)
    assert requested(platform) == asked


def test_a_person_approves_and_reverts_in_the_terminal(platform: Platform) -> None:
    before = public_rows(platform.engine, BY_COMMAND)
    stage(platform, SECOND, BY_COMMAND)
    proposed = until_newest_is(platform, BY_COMMAND, "PROPOSED", SECOND)
    run_of(platform, proposed)

    assert decide_in_terminal(platform, proposed, "approve")["status"] == "PROMOTED"
    after = public_rows(platform.engine, BY_COMMAND)
    assert len(after) == 66
    assert {row["poi_id"] for row in after} < {row["poi_id"] for row in before}
    assert decide_in_terminal(platform, proposed, "revert")["reverts"] == proposed.id
    assert public_rows(platform.engine, BY_COMMAND) == before


def test_a_town_that_is_not_promoted_costs_no_run_and_no_row(platform: Platform) -> None:
    stage(platform, SECOND, OFF)
    asked = requested(platform)
    cities = {
        run.tags["dagster/partition/city"] for run in platform.dagster_runs() if run.run_id in asked
    }
    assert cities == {BY_API, BY_COMMAND}
    assert {run.job_type for run in platform.ledger(OFF)} == {"osm_import"}
    assert ledger.page(platform.engine, city_slug=OFF, limit=1) == []
    assert public_rows(platform.engine, OFF) == []
