"""The gates: what passes, what a person must look at, and what cannot become public."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from ingestion_pipeline.promotion import gates, ledger
from ingestion_pipeline.promotion.difference import Change
from ingestion_pipeline.promotion.errors import PromotionStopped
from ingestion_pipeline.promotion.gates import Licensed, StagedDay
from ingestion_pipeline.staging.tables import poi_ingestion_staging, staged_partition
from ingestion_pipeline_tests.support.promoted import (
    SOMEBODY,
    promote,
    public_rows,
    revert,
    stage_places,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingestion_pipeline.promotion.gates import Gate
    from ingestion_pipeline.promotion.ledger import Promotion

DAY = date(2026, 11, 1)

GOOD = StagedDay(
    day=DAY, accepted_reason=None, stale_reason=None, warnings={}, licences=(), unlicensed=()
)


def days(number: int) -> date:
    return DAY + timedelta(days=number)


def cafes(numbers: Sequence[int], **columns: Any) -> dict[str, dict[str, Any]]:
    return {
        f"node/{number}": {"category": "amenity/cafe", "name": f"Café {number}", **columns}
        for number in numbers
    }


def gate(done: Promotion, name: str) -> Gate:
    (found,) = (each for each in done.judged if each.name == name)
    return found


def second_day(
    engine: sa.Engine, first: dict[str, Any], second: dict[str, Any], **more: Any
) -> Promotion:
    stage_places(engine, "kazan", days(0), first)
    promote(engine, "kazan", days(0))
    stage_places(engine, "kazan", days(1), second)
    return promote(engine, "kazan", days(1), **more)


def test_a_city_that_loses_a_third_of_its_cafes_waits_for_a_person(engine: sa.Engine) -> None:
    benches = {f"node/{number}": {"category": "leisure/park"} for number in range(1000, 1900)}
    proposed = second_day(engine, cafes(range(1, 91)) | benches, cafes(range(31, 91)) | benches)
    before = public_rows(engine, "kazan")
    assert proposed.status == "PROPOSED"
    losses = gate(proposed, "category_losses")
    assert losses.verdict == "review"
    assert losses.numbers["categories"]["amenity/cafe"]["lost"] == 30
    assert losses.numbers["categories"]["amenity/cafe"]["before"] == 90
    assert losses.sentence == (
        "amenity/cafe loses 30 of 90 (Café 1, Café 10, Café 11, Café 12, Café 13 and 25 more; "
        "usual is up to 10%)."
    )
    assert gate(proposed, "mass_closure").verdict == "review"

    rejected = ledger.reject(engine, proposed.id, SOMEBODY)
    assert promote(engine, "kazan", days(1)) == rejected
    assert public_rows(engine, "kazan") == before

    anew = promote(engine, "kazan", days(1), again=True)
    ledger.approve(engine, anew.id, SOMEBODY)
    done = promote(engine, "kazan", days(1))
    assert (done.id, done.status, done.totals["amenity/cafe"]) == (anew.id, "PROMOTED", 60)
    assert len(public_rows(engine, "kazan")) == 960

    revert(engine, "kazan", done.id)
    assert public_rows(engine, "kazan") == before


def test_a_small_category_may_lose_three(engine: sa.Engine) -> None:
    parks = {f"node/{number}": {"category": "leisure/park"} for number in range(1000, 1900)}
    done = second_day(engine, cafes(range(11)) | parks, cafes(range(3, 11)) | parks)
    assert done.status == "PROMOTED"
    stage_places(engine, "kazan", days(2), cafes(range(7, 11)) | parks)
    proposed = promote(engine, "kazan", days(2))
    assert gate(proposed, "category_losses").sentence.startswith("amenity/cafe loses 4 of 8 (")


def test_in_a_metropolis_more_old_places_go_in_a_day() -> None:
    day = date(2026, 11, 1)
    row = {
        "name": "Old",
        "wikidata": None,
        "category": "amenity/cafe",
        "first_promoted": date(2019, 1, 1),
        "osm_timestamp": None,
    }
    gone = [Change(row, None, ())] * 4
    assert gates.established(gone, day, places=1_500, pause_days=1).verdict == "review"
    assert gates.established(gone, day, places=100_000, pause_days=1).verdict == "pass"
    assert gates.established(gone * 8, day, places=100_000, pause_days=1).verdict == "review"


def test_a_usual_loss_passes(engine: sa.Engine) -> None:
    done = second_day(engine, cafes(range(1, 91)), cafes(range(3, 91)))
    assert done.status == "PROMOTED"
    assert gate(done, "category_losses").sentence == (
        "2 places gone, closed or of another category now; no category loses more than usual."
    )


@pytest.mark.parametrize(
    ("change", "name", "sentence"),
    [
        ({"name": "Vandal"}, "mass_rename", "30 places of 300 were renamed (10.0%;"),
        ({"status": "disused"}, "mass_closure", "30 places of 300 closed or disappeared"),
        ({"at": (25.0, 0.5)}, "mass_move", "30 places of 300 moved (10.0%;"),
        (
            {"category": "amenity/bench"},
            "mass_recategorisation",
            "30 places of 300 got another category (10.0%;",
        ),
        ({"opening_hours": None}, "mass_overwrite", "30 places of 300 had hours, contacts,"),
        ({"contact": {"phone": ["+7 1"]}}, "mass_overwrite", "30 places of 300 had hours,"),
        ({"contact": {}}, "mass_overwrite", "30 places of 300 had hours,"),
    ],
)
def test_a_mass_of_changes_waits_for_a_person(
    engine: sa.Engine, change: dict[str, Any], name: str, sentence: str
) -> None:
    contact = {"phone": ["+7 2"], "not_understood": {"website": ["?"]}}
    more = {"opening_hours": "24/7", "contact": contact}
    whole = cafes(range(1, 301), **more)
    changed = whole | cafes(range(1, 31), **{**more, **change})
    proposed = second_day(engine, whole, changed)
    assert proposed.status == "PROPOSED"
    assert gate(proposed, name).verdict == "review"
    assert gate(proposed, name).sentence.startswith(sentence)


def test_added_hours_and_contacts_are_no_overwriting(engine: sa.Engine) -> None:
    few = {"contact": {"phone": ["+7 1"]}, "opening_hours": None}
    more = {"contact": {"phone": ["+7 1", "+7 2"], "email": ["a@b.example"]}}
    done = second_day(
        engine, cafes(range(300), **few), cafes(range(300), **more, opening_hours="24/7")
    )
    assert gate(done, "mass_overwrite").numbers["places"] == 0
    assert done.status == "PROMOTED"


def test_established_places_are_counted_and_named(engine: sa.Engine) -> None:
    old = {"osm_timestamp": datetime(2015, 1, 1, tzinfo=UTC)}
    known = cafes(range(1, 5), wikidata="Q1")
    others = cafes(range(100, 400))
    proposed = second_day(
        engine,
        known | cafes([9], **old) | others,
        known | cafes(range(1, 4), wikidata="Q1", name="Nonsense") | others,
    )
    found = gate(proposed, "established")
    assert found.verdict == "review"
    assert found.numbers["renamed_with_wikidata"] == [
        f"Café {number} -> Nonsense" for number in (1, 2, 3)
    ]
    assert found.numbers["deleted_old"] == ["Café 9"]
    assert "1 place deleted that had not changed for 5 years (Café 9)" in found.sentence


@pytest.mark.owner
def test_a_place_without_a_licence_is_refused_by_name(engine: sa.Engine) -> None:
    stage_places(engine, "kazan", DAY, cafes([1, 2, 3]))
    table = poi_ingestion_staging
    with engine.begin() as connection:
        connection.execute(
            sa.update(table).where(table.c.source_ref == "node/2").values(licence=" ")
        )
    with pytest.raises(
        PromotionStopped,
        match=r"1 place without source, licence or attribution: node/2\. Correct the source",
    ):
        promote(engine, "kazan", DAY)
    assert public_rows(engine, "kazan") == []
    (failed,) = ledger.page(engine)
    assert (failed.status, gate(failed, "licence").verdict) == ("FAILED", "stop")


@pytest.mark.parametrize(
    ("licence", "why"),
    [
        ("CC-BY-SA-4.0", "each requires a database made from it to have that licence"),
        ("CC-BY-4.0", "asks publishers for a waiver"),
        ("LicenseRef-mine", "not in the list"),
    ],
)
def test_a_mix_of_licences_that_may_not_be_published_is_refused_by_name(
    engine: sa.Engine, licence: str, why: str
) -> None:
    places = cafes([1, 2]) | cafes([3], licence=licence, attribution="Somebody")
    stage_places(engine, "kazan", DAY, places)
    with pytest.raises(PromotionStopped, match=rf"amenity/cafe \(.*{licence}.*{why}"):
        promote(engine, "kazan", DAY)
    assert public_rows(engine, "kazan") == []


def test_licences_of_different_categories_are_not_a_mix(engine: sa.Engine) -> None:
    places = cafes([1]) | {
        "node/2": {"category": "leisure/park", "licence": "CC-BY-4.0", "attribution": "Kazan"}
    }
    stage_places(engine, "kazan", DAY, places)
    done = promote(engine, "kazan", DAY)
    assert done.status == "PROMOTED"
    assert done.attribution == "Kazan (CC-BY-4.0)\n© OpenStreetMap contributors (ODbL-1.0)"


@pytest.mark.owner
def test_what_an_operator_accepted_is_named_and_passes(engine: sa.Engine) -> None:
    stage_places(engine, "kazan", DAY, cafes([1]))
    with engine.begin() as connection:
        connection.execute(sa.update(staged_partition).values(accepted_reason="counted by hand"))
    found = gate(promote(engine, "kazan", DAY), "staged_checks")
    assert found.verdict == "pass"
    assert found.sentence == "A check had stopped the day, and it was accepted: counted by hand"


def test_rows_of_an_earlier_day_wait_for_a_person() -> None:
    stale = replace(GOOD, stale_reason="the source was away")
    assert gates.staged_checks(stale).verdict == "review"


def test_a_city_where_more_is_usual_has_a_wider_band() -> None:
    calm, lively = [0.001] * 5, [0.05, 0.06, 0.04, 0.05, 0.07]
    assert gates.band(calm, 0.02, 0) == 0.02
    assert gates.band(lively, 0.02, 0) == pytest.approx(0.05 + 4 * 1.4826 * 0.01)
    assert gates.band(lively[:2], 0.02, 0) == 0.02
    # One bad day that was approved does not widen it.
    assert gates.band([*calm, 0.9], 0.02, 0) == 0.02
    assert gates.band([], 0.02, 10) == pytest.approx(0.021)
    assert gates.band([], 0.02, 2000) == gates.band([], 0.02, 90) == pytest.approx(0.029)


def test_the_attribution_of_each_licence_is_counted() -> None:
    day = replace(GOOD, licences=[Licensed("amenity/cafe", "ODbL-1.0", "OSM", 3)])
    assert gates.licence(day).sentence == "All rows may be published: 3 ODbL-1.0."
