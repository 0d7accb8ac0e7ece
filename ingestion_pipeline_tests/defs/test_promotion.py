"""The asset `poi`: promotion by Dagster, under the claim of a run."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline.columns.hashing import digest
from ingestion_pipeline.definitions import build_definitions
from ingestion_pipeline.defs.promotion import SENSOR
from ingestion_pipeline.promotion import ledger
from ingestion_pipeline.promotion import promote as promotion
from ingestion_pipeline.staging import runs, ticks
from ingestion_pipeline_tests.support.installation import TODAY, Installation, ScriptedClock
from ingestion_pipeline_tests.support.promoted import SOMEBODY, public_rows, stage_places
from testbed.claims import evidence_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import dagster as dg

    from ingestion_pipeline_tests.support.installations import Install

YESTERDAY = TODAY - timedelta(days=1)


@pytest.fixture
def here(install_town: Install) -> Installation:
    """The invented town, which is promoted automatically."""
    return install_town(
        city={"promotion": "automatic"},
        clock=ScriptedClock(),
        partitions_start=date(2020, 1, 1),
    )


def cafes(first: int) -> dict[str, dict[str, Any]]:
    return {
        f"node/{number}": {"category": "amenity/cafe", "name": f"Café {number}"}
        for number in range(first, 91)
    }


def stage(here: Installation, day: date, places: Mapping[str, Mapping[str, Any]]) -> None:
    boundary = here.workshop.cities.get("town").boundary_key
    evidence = replace(evidence_of(day, inputs=digest(str(places))), boundary_ref=boundary)
    stage_places(here.engine, "town", day, places, evidence=evidence)


def materialize(
    here: Installation, day: date, tags: Mapping[str, str] | None = None, *, again: bool = False
) -> dg.ExecuteInProcessResult:
    return here.job("poi_promotion").execute_in_process(
        partition_key=f"town|{day}",
        instance=here.instance,
        raise_on_error=False,
        tags=dict(tags or {}),
        run_config={"ops": {"poi": {"config": {"again": again}}}},
    )


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node("poi")
    return {name: value.value for name, value in event.metadata.items()}


def test_a_staged_day_becomes_public_under_a_key_of_its_own(here: Installation) -> None:
    stage(here, TODAY, cafes(1))
    result = materialize(here, TODAY)
    assert result.success
    assert shown(result)["status"] == "PROMOTED"
    assert shown(result)["public_places"] == 90
    assert len(public_rows(here.engine, "town")) == 90
    (run,) = runs.page(here.engine, job_type="poi_promotion")
    assert run.idempotency_key == f"poi_promotion|town|bbox:10,50,10.1,50.1|{TODAY}"
    assert (run.status, run.counts["written"] if run.counts else None) == ("SUCCEEDED", 90)


def test_a_third_of_the_cafes_is_proposed_approved_and_reverted_by_requests_of_the_ledger(
    here: Installation,
) -> None:
    stage(here, YESTERDAY, cafes(1))
    assert materialize(here, YESTERDAY).success
    before = public_rows(here.engine, "town")
    stage(here, TODAY, cafes(31))
    proposed = shown(materialize(here, TODAY))
    assert proposed["status"] == "PROPOSED"
    for place in ("gates", "review"):
        assert "amenity/cafe loses 30 of 90 (Café 1," in proposed[place]
    assert list(proposed)[:4] == ["status", "decide_with", "gates", "review"]
    assert (proposed["public_places_if_approved"], "public_places" in proposed) == (60, False)
    assert proposed["decide_with"] == f"poi-ingest promotions {proposed['promotion']}"
    assert public_rows(here.engine, "town") == before

    decision = SOMEBODY._replace(now=here.workshop.ledger_now())
    ledger.approve(here.engine, proposed["promotion"], decision, enqueue="admin")
    approved = run_of_request(here)
    assert (approved["status"], approved["decided"]) == (
        "PROMOTED",
        f"by {SOMEBODY.who}: {SOMEBODY.reason}",
    )
    assert len(public_rows(here.engine, "town")) == 60

    promotion.revert(here.engine, proposed["promotion"], decision, enqueue="admin")
    assert run_of_request(here)["status"] == "PROMOTED"
    assert public_rows(here.engine, "town") == before


def run_of_request(here: Installation) -> dict[str, Any]:
    """Run what the ledger asks for, as the daemon does."""
    (request,) = here.tick(ticks.TRIGGER_SENSOR).run_requests or ()
    assert request.job_name == "poi_promotion"
    assert request.partition_key is not None
    day = date.fromisoformat(request.partition_key.split("|")[1])
    return shown(materialize(here, day, request.tags))


def test_a_name_with_a_pipe_does_not_break_the_table_of_gates(here: Installation) -> None:
    stage(here, YESTERDAY, cafes(1) | {"node/1": cafes(1)["node/1"] | {"name": "Bar | Grill"}})
    assert materialize(here, YESTERDAY).success
    stage(here, TODAY, cafes(31))
    gates = shown(materialize(here, TODAY))["gates"]
    assert "Bar \\| Grill" in gates
    assert {line.replace("\\|", "").count("|") for line in gates.splitlines()} == {4}


def test_a_gate_that_stops_fails_the_run_with_what_to_do(here: Installation) -> None:
    for day in (YESTERDAY, TODAY):
        stage(here, day, cafes(1))
    assert materialize(here, TODAY).success
    result = materialize(here, YESTERDAY)
    assert not result.success
    (run, _) = runs.page(here.engine, job_type="poi_promotion")
    failed = run if run.status == "FAILED" else _
    assert failed.error_code == "promotion_stopped"
    assert "is older than" in (failed.error_message or "")


def test_the_sensor_asks_once_for_each_time_a_day_was_staged(here: Installation) -> None:
    assert not here.tick(SENSOR).run_requests
    stage(here, YESTERDAY, cafes(1))
    stage(here, TODAY, cafes(1))
    looked = here.tick(SENSOR)
    (first,) = looked.run_requests or ()
    assert first.partition_key == f"town|{TODAY}"
    assert not here.tick(SENSOR, looked.cursor).run_requests
    (same,) = here.tick(SENSOR).run_requests or ()
    assert same.run_key == first.run_key
    stage(here, TODAY, cafes(2))
    (again,) = here.tick(SENSOR, looked.cursor).run_requests or ()
    assert again.run_key != first.run_key


def test_the_sensor_leaves_a_city_alone_that_is_not_promoted(install_town: Install) -> None:
    here = install_town(clock=ScriptedClock(), partitions_start=date(2020, 1, 1))
    stage(here, TODAY, cafes(1))
    assert not here.tick(SENSOR).run_requests


def test_the_asset_is_downstream_of_staging_on_the_same_partitions(here: Installation) -> None:
    definitions = build_definitions(here.workshop)
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    assert [dep.asset_key.to_user_string() for dep in specs["poi"].deps] == ["poi_staging"]
    assert specs["poi"].partitions_def == specs["poi_staging"].partitions_def
