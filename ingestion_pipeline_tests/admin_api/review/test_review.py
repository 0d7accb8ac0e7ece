"""What the review page reads: cities, days, differences, maps, and one place in full."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline.admin_api.review.differences import KEPT, Differences, Sides, resolve
from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.promotion import ledger, table
from ingestion_pipeline.promotion.events import ORDER
from ingestion_pipeline.promotion.promote import revert
from ingestion_pipeline.promotion.rows import metres_between
from ingestion_pipeline.staging.database import read_transaction
from ingestion_pipeline.staging.days import difference
from ingestion_pipeline_tests.support.api_server import BOUNDARY, claim, fail, succeed
from ingestion_pipeline_tests.support.installation import TODAY
from ingestion_pipeline_tests.support.promoted import BY_REF, SOMEBODY, promote, stage_places
from testbed.claims import evidence_of, slice_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa

    from ingestion_pipeline_tests.support.api_server import Api

REVIEW = "/v1/admin/review"
DIFFERENCE = f"{REVIEW}/cities/town/difference"
YESTERDAY = TODAY - timedelta(days=1)
PROPOSED = {"from": "public", "to": "proposal"}
DAYS = {"from": str(YESTERDAY), "to": str(TODAY)}

HOSTILE = '<script>alert("x")</script>'


def place(category: str = "amenity/cafe", **columns: Any) -> dict[str, Any]:
    return {"category": category, **columns}


BEFORE: Mapping[str, Mapping[str, Any]] = {
    "node/1": place(name="Stays"),
    "node/2": place(name="Goes", tags={"amenity": "cafe", "name": "Goes", "note": "x"}),
    "node/3": place(name="Also goes"),
    "node/4": place("shop/bakery", name="Walks", at=(0.004, 0.5)),
    "node/5": place("shop/bakery", name="Walks far", at=(0.005, 0.5)),
    "node/6": place(name="Old name"),
    "node/7": place(name="Hours", opening_hours="Mo-Fr 10:00-18:00"),
    "node/8": place(name="Café Électrique", names={"ru": "Кафе"}),
}
AFTER: Mapping[str, Mapping[str, Any]] = {
    "node/1": BEFORE["node/1"],
    "node/4": place("shop/bakery", name="Walks", at=(0.0041, 0.5)),
    "node/5": place("shop/bakery", name="Walks far", at=(0.006, 0.5)),
    "node/6": place(name=HOSTILE),
    "node/7": place(name="Hours", opening_hours="24/7", contact={"phone": ["+1 202 555 0100"]}),
    "node/8": place("amenity/bar", name="Café Électrique", names={"ru": "Кафе"}),
    "node/9": place(name="Comes", tags={"amenity": "cafe"}),
    "way/10": place(name=None, box=0.001, at=(0.01, 0.5)),
}


@pytest.fixture
def reviewed(fresh_api: Api) -> Api:
    """A city with a public day and a proposal that has most kinds of changes."""
    stage_places(fresh_api.engine, "town", YESTERDAY, BEFORE)
    promote(fresh_api.engine, "town", YESTERDAY, matcher=BY_REF)
    stage_places(fresh_api.engine, "town", TODAY, AFTER)
    promote(fresh_api.engine, "town", TODAY, policy="review", matcher=BY_REF)
    return fresh_api


def get(api: Api, path: str, **query: Any) -> Any:
    reply = api.http.get(path, params={key.rstrip("_"): value for key, value in query.items()})
    assert reply.status_code == 200, reply.text
    assert reply.headers["Cache-Control"] == "no-store"
    return reply.json()


def all_items(api: Api, sides: Mapping[str, str], **query: Any) -> list[dict[str, Any]]:
    """Read a difference page after page."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = get(api, DIFFERENCE, **sides, limit=2, **query, **cursor)
        items += page["items"]
        if page["next_cursor"] is None:
            assert len(items) == page["matching"]
            return items
        cursor = {"cursor": page["next_cursor"]}


def stored_events(api: Api) -> dict[str, Any]:
    with read_transaction(api.engine) as connection:
        waiting = ledger.open_of(connection, "town")
        assert waiting is not None
        found = table.numbered_events(connection, waiting.id)
    return {str(number): event for number, event in found}


def test_a_proposal_has_every_event_once_by_kind_and_the_largest_first(reviewed: Api) -> None:
    events = stored_events(reviewed)
    items = all_items(reviewed, PROPOSED)
    assert sorted(each["item"] for each in items) == sorted(events)
    for each in items:
        event = events[each["item"]]
        assert (each["kind"], each["poi_id"], each["place"]) == (
            event.kind,
            event.poi_id,
            event.poi_id,
        )
    assert [ORDER.index(each["kind"]) for each in items] == sorted(
        ORDER.index(each["kind"]) for each in items
    )
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for each in items:
        by_kind.setdefault(each["kind"], []).append(each)
    assert [each["name"] for each in by_kind["disappeared"]] == ["Goes", "Also goes"]
    assert [each["size"] for each in by_kind["disappeared"]] == [
        {"value": 3.0, "unit": "tags"},
        {"value": 1.0, "unit": "tags"},
    ]
    assert [each["name"] for each in by_kind["moved"]] == ["Walks far", "Walks"]
    for each in by_kind["moved"]:
        before, after = each["positions"]["before"], each["positions"]["after"]
        sides = [dict(zip(("lon", "lat"), side, strict=True)) for side in (before, after)]
        assert each["size"] == {"value": metres_between(*sides), "unit": "metres"}
        assert each["before"]["geometry"] == {"type": "Point", "vertices": 1}
    (renamed,) = by_kind["renamed"]
    assert (renamed["name"], renamed["group"]) == (HOSTILE, "changed")
    assert (renamed["before"], renamed["after"]) == ({"name": "Old name"}, {"name": HOSTILE})
    (unnamed,) = [each for each in by_kind["appeared"] if each["source_ref"] == "way/10"]
    assert (unnamed["name"], unnamed["before"], unnamed["group"]) == (None, None, "added")
    assert unnamed["positions"] == {"before": None, "after": [0.01, 0.5]}
    assert unnamed["after"]["geometry"] == {"type": "Polygon", "vertices": 5}
    assert "content_hash" not in unnamed["after"]
    assert {each["category_label"] for each in by_kind["disappeared"]} == {"Cafe"}


def test_two_days_have_the_changes_of_diff(reviewed: Api) -> None:
    changes = {
        each.source_ref: each
        for each in difference(reviewed.engine, slice_of("town", YESTERDAY), TODAY)
    }
    items = all_items(reviewed, DAYS)
    assert sorted(each["item"] for each in items) == sorted(changes)
    for each in items:
        change = changes[each["item"]]
        assert each["cause"] == change.cause
        assert each["changed"] == list(change.changed_fields)
        assert each["kind"] == ("moved" if "lon" in change.changed_fields else change.change)
    assert [each["kind"] for each in items] == (
        ["removed"] * 2 + ["moved"] * 2 + ["changed"] * 3 + ["added"] * 2
    )
    hours = next(each for each in items if each["source_ref"] == "node/7")
    assert hours["before"] == {"opening_hours": "Mo-Fr 10:00-18:00", "contact": {}}
    assert hours["size"] == {"value": 2.0, "unit": "columns"}
    assert hours["poi_id"] is not None
    added = next(each for each in items if each["source_ref"] == "node/9")
    assert added["poi_id"] is None
    assert added["after"]["name"] == "Comes"


def test_filters_choose_items_and_count_what_the_others_leave(reviewed: Api) -> None:
    whole = get(reviewed, DIFFERENCE, **PROPOSED)
    assert whole["total"] == whole["matching"] == sum(each["count"] for each in whole["kinds"])
    assert [each["kind"] for each in whole["kinds"]] == [
        kind for kind in ORDER if any(item["kind"] == kind for item in whole["items"])
    ]
    chosen = get(reviewed, DIFFERENCE, **PROPOSED, kind="disappeared,moved", category="amenity")
    assert {item["kind"] for item in chosen["items"]} == {"disappeared"}
    assert chosen["matching"] == 2
    assert {each["kind"]: each["matching"] for each in chosen["kinds"]} == {
        each["kind"]: each["count"] - (each["kind"] == "moved") * 2 for each in whole["kinds"]
    }
    assert {each["category"]: each["matching"] for each in chosen["categories"]} == {
        "amenity/cafe": 2,
        "amenity/bar": 0,
        "shop/bakery": 2,
    }
    for text, name in (("ELECTRIQUE", "Café Électrique"), ("кафе", "Café Électrique")):
        found = get(reviewed, DIFFERENCE, **PROPOSED, text=text)
        assert {item["name"] for item in found["items"]} == {name}
    assert get(reviewed, DIFFERENCE, **DAYS, text="<SCRIPT>")["items"][0]["name"] == HOSTILE
    assert get(reviewed, DIFFERENCE, **DAYS, text="node/9")["matching"] == 1
    assert get(reviewed, DIFFERENCE, **DAYS, text="nothing like it")["items"] == []


def test_an_unchanged_difference_is_not_sent_again_and_a_cursor_of_another_is_refused(
    reviewed: Api,
) -> None:
    for path in (DIFFERENCE, f"{DIFFERENCE}/map"):
        first = reviewed.http.get(path, params=PROPOSED)
        tag = first.headers["ETag"]
        again = reviewed.http.get(path, params=PROPOSED, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        other = reviewed.http.get(path, params=DAYS, headers={"If-None-Match": tag})
        assert other.status_code == 200
    cursor = get(reviewed, DIFFERENCE, **PROPOSED, limit=1)["next_cursor"]
    version = get(reviewed, DIFFERENCE, **PROPOSED)["version"]
    filtered = reviewed.http.get(DIFFERENCE, params={**PROPOSED, "kind": "moved", "cursor": cursor})
    assert (filtered.status_code, filtered.json()["code"]) == (409, "difference_changed")
    stage_places(reviewed.engine, "town", TODAY, {**AFTER, "node/11": place(name="New")})
    promote(reviewed.engine, "town", TODAY, policy="review", matcher=BY_REF)
    late = reviewed.http.get(DIFFERENCE, params={**PROPOSED, "cursor": cursor})
    assert (late.status_code, late.json()["code"]) == (409, "difference_changed")
    page = get(reviewed, DIFFERENCE, **PROPOSED, text="New")
    assert page["version"] != version
    assert [item["source_ref"] for item in page["items"]] == ["node/11"]


@pytest.mark.parametrize("sides", [PROPOSED, DAYS], ids=["events", "days"])
def test_the_map_has_the_items_of_the_list(reviewed: Api, sides: Mapping[str, str]) -> None:
    with reviewed.http.stream(
        "GET", f"{DIFFERENCE}/map", params=sides, headers={"Accept-Encoding": "br, gzip;q=0.5"}
    ) as reply:
        packed = b"".join(reply.iter_raw())
    assert reply.headers["Content-Encoding"] == "gzip"
    shown = json.loads(gzip.decompress(packed))
    plain = reviewed.http.get(
        f"{DIFFERENCE}/map", params=sides, headers={"Accept-Encoding": "identity"}
    )
    assert "Content-Encoding" not in plain.headers
    assert plain.json() == shown
    items, columns = shown["items"], shown["columns"]
    listed = all_items(reviewed, sides)
    assert items["id"] == [each["item"] for each in listed]
    assert items["size"] == [each["size"]["value"] for each in listed]
    assert shown["count"] == len(listed)
    for number, each in enumerate(listed):
        assert items["place"][number] == each["place"]
        assert shown["kinds"][items["kind"][number]] == each["kind"]
        assert shown["groups"][items["group"][number]]["key"] == each["group"]
        assert items["fields"][number] == each["changed"]
        for side in ("before", "after"):
            row = items[side][number]
            position = None if row is None else [columns["lon"][row], columns["lat"][row]]
            assert position == each["positions"][side]
        row = items["after"][number]
        row = items["before"][number] if row is None else row
        for name in ("name", "category", "source_ref"):
            assert columns[name][row] == each[name]
        assert shown["classes"][columns["category"][row]] == each["category_label"]
    assert len({len(values) for values in columns.values()}) == 1
    assert {"ru": "Кафе"} in columns["names"]
    assert (shown["from"], shown["day"], shown["basemap"]) == (str(YESTERDAY), str(TODAY), None)
    moved = get(reviewed, f"{DIFFERENCE}/map", **sides, kind="moved")
    assert moved["count"] == 2


def test_a_place_is_shown_in_full_before_and_after(reviewed: Api) -> None:
    (event,) = get(reviewed, DIFFERENCE, **PROPOSED, kind="renamed")["items"]
    found = get(reviewed, f"{DIFFERENCE}/place", **PROPOSED, place=event["place"])
    columns = {each["column"]: each for each in found["columns"]}
    assert columns["name"] == {
        "column": "name",
        "before": "Old name",
        "after": HOSTILE,
        "changed": True,
    }
    assert columns["geometry"]["after"] == {"type": "Point", "coordinates": [0.006, 0.5]}
    assert columns["poi_id"]["before"] == columns["poi_id"]["after"] == event["poi_id"]
    assert found["items"] == [event]
    assert found["explanation"]["poi_id"] == event["poi_id"]
    assert found["explanation"]["place"]["name"] == "Old name"
    assert [found["staged"][side]["day"] for side in ("before", "after")] == [
        str(YESTERDAY),
        str(TODAY),
    ]
    of_days = get(reviewed, f"{DIFFERENCE}/place", **DAYS, place="node/6")
    assert of_days["poi_id"] == event["poi_id"]
    assert [each["column"] for each in of_days["columns"] if each["changed"]] == ["name"]
    comes = get(reviewed, f"{DIFFERENCE}/place", **DAYS, place="way/10")
    assert comes["positions"] == {"before": None, "after": [0.01, 0.5]}
    assert (comes["poi_id"], comes["explanation"], comes["name"]) == (None, None, None)
    stays = get(reviewed, f"{DIFFERENCE}/place", **DAYS, place="node/1")
    assert (stays["items"], stays["positions"]["before"]) == ([], stays["positions"]["after"])
    goes = get(reviewed, DIFFERENCE, **PROPOSED, kind="disappeared")["items"][0]
    gone = get(reviewed, f"{DIFFERENCE}/place", **PROPOSED, place=goes["place"])
    assert gone["positions"]["after"] is None
    assert gone["explanation"]["public"] is True
    for query in (PROPOSED, DAYS):
        reply = reviewed.http.get(f"{DIFFERENCE}/place", params={**query, "place": "node/404"})
        assert (reply.status_code, reply.json()["code"]) == (404, "unknown_place")


def test_a_difference_needs_two_sides_that_are_there(fresh_api: Api) -> None:
    def code(from_: str, to: str) -> tuple[int, str]:
        reply = fresh_api.http.get(DIFFERENCE, params={"from": from_, "to": to})
        return reply.status_code, reply.json()["code"]

    assert code("public", "proposal") == (409, "no_proposal")
    assert code("public", str(TODAY)) == (409, "no_public_day")
    assert code(str(YESTERDAY), "proposal") == (409, "no_proposal")
    assert code(str(YESTERDAY), str(TODAY)) == (404, "day_not_staged")
    assert code("2026-02-30", str(TODAY)) == (422, "invalid_request")
    assert code("proposal", "public") == (422, "invalid_request")
    stage_places(fresh_api.engine, "town", TODAY, AFTER)
    promote(fresh_api.engine, "town", TODAY, policy="review")
    assert code(str(TODAY), "proposal") == (422, "invalid_request")
    first = get(fresh_api, DIFFERENCE, **PROPOSED)
    assert (first["from_day"], first["total"]) == (None, len(AFTER))
    assert {item["kind"] for item in first["items"]} == {"appeared"}
    assert get(fresh_api, f"{DIFFERENCE}/map", **PROPOSED)["from"] is None
    for query in ({"kind": "appeared,eaten"}, {"limit": "0"}, {"colour": "red"}, {"text": ""}):
        reply = fresh_api.http.get(DIFFERENCE, params={**PROPOSED, **query})
        assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")
        assert [each["field"] for each in reply.json()["errors"]] == list(query)


def test_the_cities_have_their_newest_days_checks_promotions_and_failures(reviewed: Api) -> None:
    other_day = TODAY - timedelta(days=3)
    messages = {"counts": "half of the cafés are missing", "names": "few are named"}
    stage_places(
        reviewed.engine,
        "other-town",
        other_day,
        BEFORE,
        evidence=replace(evidence_of(other_day), accepted_reason="They closed", warnings=messages),
    )
    town, other = get(reviewed, f"{REVIEW}/cities")["cities"]
    assert (town["city_slug"], other["city_slug"]) == ("town", "other-town")
    (day,) = town["datasets"]
    assert (day["dataset"], day["day"], day["rows"]) == ("poi", str(TODAY), len(AFTER))
    assert day["lag_days"] == 0
    assert {each["result"] for each in day["checks"]} == {"passed"}
    promotion = town["promotion"]
    assert promotion["public"]["day"] == str(YESTERDAY)
    assert promotion["public"]["places"] == len(BEFORE)
    assert promotion["open"]["status"] == "PROPOSED"
    (listed,) = reviewed.http.get("/v1/admin/promotions", params={"status": "PROPOSED"}).json()[
        "promotions"
    ]
    assert promotion["open"]["promotion_id"] == listed["promotion_id"]
    assert promotion["open"]["counts"] == listed["counts"]
    assert promotion["days_behind"] == 1
    assert town["last_failed_job"] is None

    (day,) = other["datasets"]
    assert (day["lag_days"], day["accepted_reason"]) == (3, "They closed")
    results = {each["name"]: (each["result"], each["message"]) for each in day["checks"]}
    assert results["counts"] == ("accepted", messages["counts"])
    assert results["names"] == ("failed", messages["names"])
    assert results["geometry"] == ("passed", None)
    assert other["promotion"] == {
        "policy": "off",
        "public": None,
        "open": None,
        "days_behind": None,
    }


def test_the_last_failed_job_of_a_city_is_shown_and_whether_a_later_one_succeeded(
    fresh_api: Api,
) -> None:
    def requested(day: date) -> tuple[str, JobKey]:
        job = fresh_api.enqueue(day=str(day)).json()
        return job["job_id"], JobKey("osm_import", "town", BOUNDARY, day)

    for day in (TODAY - timedelta(days=2), YESTERDAY):
        last, key = requested(day)
        fail(fresh_api.engine, claim(fresh_api.engine, key))
        fresh_api.clock.sleep(60)
    town, other = get(fresh_api, f"{REVIEW}/cities")["cities"]
    shown = town["last_failed_job"]
    assert (shown["job_id"], shown["day"], shown["resolved"]) == (last, str(YESTERDAY), False)
    assert shown["error"] == {"code": "broken", "message": "it broke"}
    assert other["last_failed_job"] is None

    _, key = requested(YESTERDAY)
    succeed(fresh_api.engine, claim(fresh_api.engine, key))
    shown = get(fresh_api, f"{REVIEW}/cities")["cities"][0]["last_failed_job"]
    assert (shown["job_id"], shown["resolved"]) == (last, True)


def test_the_lag_is_in_days_of_the_citys_time_zone(fresh_api: Api) -> None:
    stage_places(fresh_api.engine, "town", YESTERDAY, BEFORE)
    town = get(fresh_api, f"{REVIEW}/cities")["cities"][0]
    assert town["timezone"]
    assert town["datasets"][0]["lag_days"] == 1


def test_the_staged_days_come_page_after_page(reviewed: Api) -> None:
    earlier = [YESTERDAY - timedelta(days=number) for number in (1, 2, 3)]
    for day in earlier:
        stage_places(reviewed.engine, "town", day, BEFORE)
    first = get(reviewed, f"{REVIEW}/cities/town/days", limit=2)
    assert (first["public_day"], first["proposal_day"]) == (str(YESTERDAY), str(TODAY))
    assert [each["is_public"] for each in first["days"]] == [False, True]
    assert [each["is_proposed"] for each in first["days"]] == [True, False]
    rest = get(reviewed, f"{REVIEW}/cities/town/days", limit=9, cursor=first["next_cursor"])
    assert rest["next_cursor"] is None
    days = [each["day"] for each in first["days"] + rest["days"]]
    assert days == [str(day) for day in (TODAY, YESTERDAY, *earlier)]


def test_nothing_is_readable_without_the_token(api: Api) -> None:
    document = api.http.get("/openapi.json").json()
    paths = [path for path in document["paths"] if path.startswith(REVIEW)]
    assert len(paths) == 6
    for path in paths:
        address = path.replace("{city_slug}", "town")
        for token, status in ((None, 401), ("wrong", 403)):
            reply = api.ask("GET", address, token, params={**PROPOSED, "place": "x"})
            assert reply.status_code == status
            assert "town" not in reply.text


def test_a_revert_that_waits_is_a_proposal_with_what_it_restores(reviewed: Api) -> None:
    waiting = promote(reviewed.engine, "town", TODAY, matcher=BY_REF, policy="review")
    ledger.approve(reviewed.engine, waiting.id, SOMEBODY)
    promoted = promote(reviewed.engine, "town", TODAY, matcher=BY_REF)
    assert promoted.status == "PROMOTED"
    revert(reviewed.engine, promoted.id, SOMEBODY)
    shown = get(reviewed, DIFFERENCE, **PROPOSED)
    assert (shown["from_day"], shown["to_day"]) == (str(TODAY), str(YESTERDAY))
    assert sorted(each["item"] for each in shown["items"]) == sorted(stored_events(reviewed))
    restored = [each for each in shown["items"] if each["kind"] == "reopened"]
    assert [each["name"] for each in restored] == ["Goes", "Also goes"]
    assert {each["size"]["unit"] for each in restored} == {"tags"}
    assert {each["group"] for each in restored} == {"added"}
    state = get(reviewed, f"{REVIEW}/cities")["cities"][0]["promotion"]["open"]
    assert (state["status"], state["reverts"]) == ("APPROVED", promoted.id)
    assert state["decided_by"] == SOMEBODY.who


def test_only_the_last_differences_are_kept_and_one_that_is_kept_is_not_read_again(
    embedded: sa.Engine,
) -> None:
    days = [TODAY - timedelta(days=number) for number in range(4, -1, -1)]
    for number, day in enumerate(days):
        stage_places(embedded, "town", day, {"node/1": place(name=f"Name {number}")})
    kept = Differences()
    with read_transaction(embedded) as connection:
        compared = [
            resolve(connection, "town", Sides(before, after)) for before, after in pairwise(days)
        ]
        first = [kept.of(connection, each) for each in compared]
        assert kept.of(connection, compared[-1]) is first[-1]
        assert kept.of(connection, compared[0]) is not first[0]
        assert kept.of(connection, compared[0]).items == first[0].items
    assert len({each.version for each in compared}) == len(compared) == KEPT + 2
