"""Promotion of staged days: the public table, its ids, and what happened to each place."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from ingestion_pipeline.core.rejection import Rejection
from ingestion_pipeline.promotion import ledger, table
from ingestion_pipeline.promotion.errors import DecisionRefused, PromotionOff, PromotionStopped
from ingestion_pipeline.staging.errors import DayNotStaged
from ingestion_pipeline.staging.tables import ingestion_run, poi_identity
from ingestion_pipeline_tests.support.promoted import (
    SOMEBODY,
    by_ref,
    promote,
    public_rows,
    revert,
    stage_places,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingestion_pipeline.promotion.events import Event
    from ingestion_pipeline.promotion.ledger import Promotion

DAY = date(2026, 11, 1)
CAFE: dict[str, Any] = {"category": "amenity/cafe", "name": "Blue Door", "at": (24.94, 60.17)}


def days(number: int) -> date:
    return DAY + timedelta(days=number)


def events(engine: sa.Engine, promotion: Promotion) -> list[Event]:
    with engine.connect() as connection:
        return table.events_of_promotion(connection, promotion.id)


def kinds(engine: sa.Engine, promotion: Promotion) -> list[str]:
    return [event.kind for event in events(engine, promotion)]


def after(
    engine: sa.Engine, first: Mapping[str, Any], second: Mapping[str, Any]
) -> tuple[Promotion, list[Event]]:
    """Promote two days, and return the second promotion and its events."""
    stage_places(engine, "kazan", days(0), first)
    promote(engine, "kazan", days(0))
    stage_places(engine, "kazan", days(1), second)
    done = promote(engine, "kazan", days(1))
    assert done.status == "PROMOTED", done.gates
    return done, events(engine, done)


def test_the_first_promotion_makes_every_staged_place_public(engine: sa.Engine) -> None:
    stage_places(engine, "kazan", DAY, {"node/1": CAFE, "node/2": {"name": "Other"}})
    done = promote(engine, "kazan", DAY)
    assert (done.status, done.sequence, done.base_id) == ("PROMOTED", 1, None)
    assert done.counts == {"appeared": 2}
    assert done.attribution == "© OpenStreetMap contributors (ODbL-1.0)"
    cafe = by_ref(engine, "kazan")["node/1"]
    assert (cafe["name"], cafe["category"]) == ("Blue Door", "amenity/cafe")
    assert (cafe["first_promoted"], cafe["last_changed"], cafe["promotion_id"]) == (
        DAY,
        DAY,
        done.id,
    )
    assert cafe["overrides"] == {}
    assert not cafe["hidden"]


def test_a_run_counts_places_that_come_change_and_go(engine: sa.Engine) -> None:
    shut = {**CAFE, "status": "disused"}
    bar = {"category": "amenity/bar", "name": "Bar", "at": (24.99, 60.17)}
    bank = {"category": "amenity/bank", "name": "Bank", "at": (24.90, 60.12)}
    after(engine, {"node/1": shut, "node/2": bar}, {"node/1": CAFE, "node/3": bank})
    found = sa.select(ingestion_run.c.counts).where(
        ingestion_run.c.job_type == ledger.JOB_TYPE, ingestion_run.c.day == days(1)
    )
    with engine.connect() as connection:
        counts = connection.execute(found).scalar_one()
    counted = {name: counts[name] for name in ("added", "changed", "removed", "written")}
    assert counted == {"added": 1, "changed": 1, "removed": 1, "written": 3}


def test_promoting_a_day_again_changes_nothing(engine: sa.Engine) -> None:
    stage_places(engine, "kazan", DAY, {"node/1": CAFE})
    first = promote(engine, "kazan", DAY)
    before = public_rows(engine, "kazan")
    assert promote(engine, "kazan", DAY) == first
    assert public_rows(engine, "kazan") == before


def test_an_unchanged_day_moves_the_public_day_on_and_writes_no_place(engine: sa.Engine) -> None:
    done, found = after(engine, {"node/1": CAFE}, {"node/1": CAFE})
    assert (done.sequence, done.counts, found) == (2, {}, [])
    assert by_ref(engine, "kazan")["node/1"]["last_changed"] == days(0)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"name": "Red Door"}, "renamed"),
        ({"category": "amenity/restaurant"}, "recategorised"),
        ({"opening_hours": "Mo-Fr 08:00-18:00"}, "hours_changed"),
        ({"contact": {"phone": ["+358 9 123"]}}, "contact_changed"),
        ({"address": {"street": "Door Street"}}, "address_changed"),
        ({"status": "disused"}, "closed"),
        ({"tags": {"amenity": "cafe", "wheelchair": "yes"}}, "attributes_changed"),
        ({"licence": "CC0-1.0", "attribution": "The city"}, "licence_changed"),
        ({"at": (24.95, 60.17)}, "moved"),
    ],
)
def test_a_change_of_a_place_is_an_event_of_its_kind(
    engine: sa.Engine, change: dict[str, Any], kind: str
) -> None:
    _, found = after(engine, {"node/1": CAFE}, {"node/1": CAFE | change})
    assert [event.kind for event in found] == [kind]
    if kind == "moved":
        assert found[0].evidence["metres"] == pytest.approx(553, abs=1)


def test_one_place_can_have_several_events(engine: sa.Engine) -> None:
    change = {"name": "Red Door", "opening_hours": "24/7", "at": (24.941, 60.17)}
    _, found = after(engine, {"node/1": CAFE}, {"node/1": CAFE | change})
    assert [event.kind for event in found] == ["moved", "renamed", "hours_changed"]
    assert found[1].before is not None
    assert found[1].after is not None
    assert (found[1].before["name"], found[1].after["name"]) == ("Blue Door", "Red Door")


def test_a_place_keeps_its_id_when_its_node_is_replaced_by_an_outline(engine: sa.Engine) -> None:
    outline = CAFE | {"box": 0.0001}
    stage_places(engine, "kazan", days(0), {"node/1": CAFE})
    promote(engine, "kazan", days(0))
    before = by_ref(engine, "kazan")["node/1"]
    stage_places(engine, "kazan", days(1), {"way/9": outline})
    done = promote(engine, "kazan", days(1))
    now = by_ref(engine, "kazan")["way/9"]
    assert now["poi_id"] == before["poi_id"]
    assert now["first_promoted"] == days(0)
    (event,) = (each for each in events(engine, done) if each.kind == "reidentified")
    assert event.evidence["link"]["from"] == "node/1"
    assert event.evidence["link"]["score"] > 0.5
    with engine.connect() as connection:
        rows = connection.execute(
            sa.select(poi_identity).order_by(poi_identity.c.source_ref)
        ).mappings()
        assert [(row["source_ref"], row["to_promotion_id"]) for row in rows] == [
            ("node/1", done.id),
            ("way/9", None),
        ]


def test_a_node_inside_an_area_is_one_place_with_both_refs(engine: sa.Engine) -> None:
    area = CAFE | {"box": 0.0002, "opening_hours": None}
    node = CAFE | {"opening_hours": "24/7"}
    stage_places(engine, "kazan", DAY, {"node/1": node, "way/9": area})
    promote(engine, "kazan", DAY)
    (row,) = public_rows(engine, "kazan")
    assert row["source_ref"] == "way/9"
    assert list(row["other_refs"]) == ["node/1"]
    assert row["opening_hours"] == "24/7"


def test_a_place_whose_object_cannot_be_staged_says_so(engine: sa.Engine) -> None:
    stage_places(engine, "kazan", days(0), {"node/1": CAFE, "way/2": CAFE})
    promote(engine, "kazan", days(0))
    rejection = Rejection("way/2", "missing_nodes", "none of its nodes is there", {})
    stage_places(engine, "kazan", days(1), {"node/3": {"name": "Other"}}, rejections=[rejection])
    done = promote(engine, "kazan", days(1))
    evidence = {
        event.before["source_ref"]: event.evidence
        for event in events(engine, done)
        if event.before is not None
    }
    assert evidence == {"node/1": {}, "way/2": {"rejected": "missing_nodes"}}


def test_a_mere_building_takes_the_category_of_the_node_in_it(engine: sa.Engine) -> None:
    hotel = {"category": "tourism/hotel", "name": "Krone"}
    place = {"building": "hotel"}
    outline = {"category": "building/hotel", "name": None, "tags": place, "box": 0.0002}
    stage_places(engine, "kazan", DAY, {"node/9": hotel})
    promote(engine, "kazan", DAY)
    before = by_ref(engine, "kazan")["node/9"]
    stage_places(engine, "kazan", days(1), {"node/9": hotel, "way/9": outline})
    done = promote(engine, "kazan", days(1))
    assert set(done.counts) == {"reidentified", "attributes_changed"}
    (row,) = public_rows(engine, "kazan")
    assert (row["poi_id"], row["source_ref"]) == (before["poi_id"], "way/9")
    assert (row["category"], row["categories"]) == ("tourism/hotel", ["tourism/hotel"])
    assert row["name"] == "Krone"


def test_a_node_that_becomes_a_twin_merges_and_comes_back_when_it_splits(
    engine: sa.Engine,
) -> None:
    area, apart = CAFE | {"box": 0.0002}, CAFE | {"at": (24.95, 60.17)}
    others: dict[str, dict[str, Any]] = {
        f"node/{number}": {"name": f"Other {number}"} for number in range(100, 120)
    }
    stage_places(engine, "kazan", days(0), {"node/1": apart, "way/9": area} | others)
    promote(engine, "kazan", days(0))
    ids = {ref: row["poi_id"] for ref, row in by_ref(engine, "kazan").items()}
    stage_places(engine, "kazan", days(1), {"node/1": CAFE, "way/9": area} | others)
    merged = promote(engine, "kazan", days(1))
    assert sorted(kinds(engine, merged)) == ["merged", "reidentified"]
    assert by_ref(engine, "kazan")["way/9"]["poi_id"] == ids["way/9"]
    stage_places(engine, "kazan", days(2), {"node/1": apart, "way/9": area} | others)
    split = promote(engine, "kazan", days(2))
    assert sorted(set(kinds(engine, split))) == ["reidentified", "reopened"]
    assert {ref: row["poi_id"] for ref, row in by_ref(engine, "kazan").items()} == ids


def test_an_area_without_its_twin_any_more_splits_off_a_place_of_its_own(
    engine: sa.Engine,
) -> None:
    area, apart = CAFE | {"box": 0.0002}, CAFE | {"at": (24.95, 60.17)}
    done, found = after(engine, {"node/1": CAFE, "way/9": area}, {"node/1": apart, "way/9": area})
    assert sorted(event.kind for event in found) == ["reidentified", "split"]
    rows = by_ref(engine, "kazan")
    assert done.counts == {"reidentified": 1, "split": 1}
    (split,) = (event for event in found if event.kind == "split")
    assert split.evidence["from"] == rows["way/9"]["poi_id"] != rows["node/1"]["poi_id"]


def test_an_id_that_is_another_place_now_ends_the_old_place(engine: sa.Engine) -> None:
    other = {"category": "shop/hairdresser", "name": "Scissors", "at": (24.99, 60.17)}
    _, found = after(engine, {"node/1": CAFE}, {"node/1": other})
    assert sorted(event.kind for event in found) == ["appeared", "disappeared"]
    assert all(event.evidence["reused_ref"]["metres"] > 50 for event in found)
    assert len({event.poi_id for event in found}) == 2


@pytest.mark.parametrize(("pause", "kind"), [(90, "reopened"), (91, "appeared")])
def test_a_place_that_went_keeps_its_id_for_a_while(
    engine: sa.Engine, pause: int, kind: str
) -> None:
    stage_places(engine, "kazan", days(0), {"node/1": CAFE, "node/2": {"name": "Other"}})
    promote(engine, "kazan", days(0))
    poi_id = by_ref(engine, "kazan")["node/1"]["poi_id"]
    stage_places(engine, "kazan", days(1), {"node/2": {"name": "Other"}})
    gone = promote(engine, "kazan", days(1))
    assert kinds(engine, gone) == ["disappeared"]
    back = days(1 + pause)
    stage_places(engine, "kazan", back, {"node/7": CAFE, "node/2": {"name": "Other"}})
    done = promote(engine, "kazan", back)
    assert kinds(engine, done) == [kind]
    row = by_ref(engine, "kazan")["node/7"]
    assert (row["poi_id"] == poi_id) == (kind == "reopened")
    assert row["first_promoted"] == (days(0) if kind == "reopened" else back)


def test_a_city_that_is_off_is_not_promoted(engine: sa.Engine) -> None:
    stage_places(engine, "kazan", DAY, {"node/1": CAFE})
    with pytest.raises(PromotionOff, match="'kazan' is not promoted"):
        promote(engine, "kazan", DAY, policy="off")
    assert public_rows(engine, "kazan") == []


def test_a_day_that_is_not_staged_is_named(engine: sa.Engine) -> None:
    with pytest.raises(DayNotStaged, match="kazan poi from osm on 2026-11-01 is not staged"):
        promote(engine, "kazan", DAY)


def test_a_city_under_review_waits_for_a_person_each_time(engine: sa.Engine) -> None:
    stage_places(engine, "kazan", DAY, {"node/1": CAFE})
    proposed = promote(engine, "kazan", DAY, policy="review")
    assert proposed.status == "PROPOSED"
    assert public_rows(engine, "kazan") == []
    assert promote(engine, "kazan", DAY, policy="review") == proposed
    approved, _ = ledger.approve(engine, proposed.id, SOMEBODY)
    assert (approved.status, approved.decided_by) == ("APPROVED", SOMEBODY.who)
    assert public_rows(engine, "kazan") == []
    done = promote(engine, "kazan", DAY, policy="review")
    assert (done.id, done.status, done.decision_reason) == (
        proposed.id,
        "PROMOTED",
        SOMEBODY.reason,
    )
    assert [row["source_ref"] for row in public_rows(engine, "kazan")] == ["node/1"]


def test_a_rejected_day_stays_rejected_unless_it_is_asked_for_again(engine: sa.Engine) -> None:
    stage_places(engine, "kazan", DAY, {"node/1": CAFE})
    proposed = promote(engine, "kazan", DAY, policy="review")
    rejected = ledger.reject(engine, proposed.id, SOMEBODY)
    assert rejected == ledger.reject(engine, proposed.id, SOMEBODY)
    assert promote(engine, "kazan", DAY, policy="review") == rejected
    with pytest.raises(DecisionRefused, match=r"is REJECTED by ann@example.org \(checked on the"):
        ledger.approve(engine, proposed.id, SOMEBODY)
    anew = promote(engine, "kazan", DAY, policy="review", again=True)
    assert (anew.status, anew.id != proposed.id) == ("PROPOSED", True)
    assert public_rows(engine, "kazan") == []


def test_a_newer_day_supersedes_the_open_proposal(engine: sa.Engine) -> None:
    for number in (0, 1):
        stage_places(engine, "kazan", days(number), {"node/1": CAFE})
    first = promote(engine, "kazan", days(0), policy="review")
    second = promote(engine, "kazan", days(1), policy="review")
    assert ledger.get(engine, first.id).status == "SUPERSEDED"
    assert events(engine, first) == []
    with pytest.raises(DecisionRefused, match="is SUPERSEDED"):
        ledger.approve(engine, first.id, SOMEBODY)
    with pytest.raises(PromotionStopped, match="older than 2026-11-02, whose promotion waits"):
        promote(engine, "kazan", days(0), policy="review")
    assert ledger.get(engine, second.id).status == "PROPOSED"


def test_an_older_day_than_the_public_one_is_stopped(engine: sa.Engine) -> None:
    for number in (0, 1):
        stage_places(engine, "kazan", days(number), {"node/1": CAFE})
    promote(engine, "kazan", days(1))
    with pytest.raises(PromotionStopped, match="2026-11-01 is older than 2026-11-02"):
        promote(engine, "kazan", days(0))
    (failed, _) = ledger.page(engine, city_slug="kazan")
    assert failed.status in ("FAILED", "PROMOTED")
    with pytest.raises(PromotionStopped):
        promote(engine, "kazan", days(0))
    assert len(ledger.page(engine, city_slug="kazan")) == 2


def test_a_revert_restores_the_table_row_for_row_any_number_of_times(engine: sa.Engine) -> None:
    others: dict[str, dict[str, Any]] = {
        f"node/{number}": {"name": f"Other {number}"} for number in range(100, 130)
    }
    stage_places(engine, "kazan", days(0), {"node/1": CAFE, "node/2": {"name": "Gone"}} | others)
    first = promote(engine, "kazan", days(0))
    before = public_rows(engine, "kazan")
    stage_places(engine, "kazan", days(1), {"way/5": CAFE | {"box": 0.0001}} | others)
    second = promote(engine, "kazan", days(1))
    changed = public_rows(engine, "kazan")
    assert changed != before
    reverted = revert(engine, "kazan", second.id)
    assert (reverted.status, reverted.reverts, reverted.sequence) == ("PROMOTED", second.id, 3)
    assert (reverted.day, reverted.totals) == (days(0), first.totals)
    assert public_rows(engine, "kazan") == before
    assert revert(engine, "kazan", second.id) == reverted
    again = revert(engine, "kazan", reverted.id)
    assert public_rows(engine, "kazan") == changed
    assert (again.sequence, again.day) == (4, days(1))
    revert(engine, "kazan", first.id)
    assert public_rows(engine, "kazan") == []
    last = ledger.page(engine, city_slug="kazan", status="PROMOTED", limit=100)
    assert sorted(each.sequence or 0 for each in last) == [1, 2, 3, 4, 5]


def test_only_what_became_public_can_be_reverted(engine: sa.Engine) -> None:
    stage_places(engine, "kazan", DAY, {"node/1": CAFE})
    proposed = promote(engine, "kazan", DAY, policy="review")
    with pytest.raises(DecisionRefused, match="is PROPOSED, and never became public"):
        revert(engine, "kazan", proposed.id)


def test_after_a_revert_a_person_looks_at_the_next_day(engine: sa.Engine) -> None:
    first, second = {"node/1": CAFE}, {"node/1": CAFE | {"name": "Nonsense"}}
    done, _ = after(engine, first, second)
    revert(engine, "kazan", done.id)
    stage_places(engine, "kazan", days(2), second)
    next_day = promote(engine, "kazan", days(2))
    assert next_day.status == "PROPOSED"
    (gate,) = (gate for gate in next_day.judged if gate.verdict == "review")
    assert gate.sentence.startswith("The last promotion was a revert: checked on the map.")
