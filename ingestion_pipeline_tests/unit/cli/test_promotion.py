"""The commands of promotion, within this process."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline.cli.output import FAILED, WRONG_USAGE
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline_tests.support.promoted import public_rows, stage_places
from ingestion_pipeline_tests.unit.cli.test_main import invoke_in
from testbed.towns import TOWN, write_cities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import sqlalchemy as sa
    from click.testing import Result

    Invoke = Callable[..., Result]


DAYS = (date(2026, 11, 1), date(2026, 11, 2))
DECIDED = ["--who", "ann@example.org", "--reason", "looked at the map"]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """A city whose second day loses a third of its cafés."""
    write_cities(tmp_path / "cities.toml", [TOWN | {"promotion": "automatic"}])
    engine = create_engine(f"sqlite:///{tmp_path}/staging.gpkg")
    migrate(engine)
    for day, first in zip(DAYS, (1, 31), strict=True):
        cafes = {
            f"node/{number}": {"category": "amenity/cafe", "name": f"Café {number}"}
            for number in range(first, 91)
        }
        stage_places(engine, TOWN["slug"], day, cafes)
    yield engine
    engine.dispose()


@pytest.fixture
def invoke(tmp_path: Path, engine: sa.Engine) -> Invoke:
    """Run a command on that city."""
    del engine
    return lambda *arguments: invoke_in(tmp_path, *arguments)


def promote(invoke: Invoke, day: date, *more: str) -> dict[str, Any]:
    result = invoke("promote", "--city", TOWN["slug"], "--day", str(day), "--json", *more)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.output))


def test_a_third_of_the_cafes_is_proposed_rejected_approved_and_reverted(
    invoke: Invoke, engine: sa.Engine
) -> None:
    assert promote(invoke, DAYS[0])["status"] == "PROMOTED"
    before = public_rows(engine, TOWN["slug"])
    proposed = promote(invoke, DAYS[1])
    assert proposed["status"] == "PROPOSED"

    shown = invoke("promotions", proposed["id"])
    assert "amenity/cafe loses 30 of 90 (Café 1," in " ".join(shown.output.split())
    assert "disappeared: 30" in shown.output
    assert "\n  ... and 20 more; --kind disappeared lists all\n" in shown.output
    assert f"\n  poi-ingest approve {proposed['id']} --who WHO --reason WHY\n" in shown.output
    assert max(map(len, shown.output.splitlines())) <= 80
    whole = invoke("promotions", proposed["id"], "--kind", "disappeared").output.splitlines()
    assert {line.rsplit("  ")[-1] for line in whole[1:]} == {
        f"Café {number}" for number in range(1, 31)
    }
    assert invoke("promotions", proposed["id"], "--kind", "gone").exit_code == WRONG_USAGE
    assert invoke("promotions", "--kind", "disappeared").exit_code == WRONG_USAGE

    assert invoke("reject", proposed["id"], *DECIDED).exit_code == 0
    assert public_rows(engine, TOWN["slug"]) == before
    late = invoke("approve", proposed["id"], *DECIDED)
    assert late.exit_code == FAILED
    assert "Error (decision_refused)" in late.stderr

    anew = promote(invoke, DAYS[1], "--again")
    approved = invoke("approve", anew["id"], *DECIDED, "--json")
    done = json.loads(approved.output)
    assert (done["status"], done["decided_by"]) == ("PROMOTED", "ann@example.org")
    assert len(public_rows(engine, TOWN["slug"])) == 60

    reverted = json.loads(invoke("revert", anew["id"], *DECIDED, "--json").output)
    assert (reverted["status"], reverted["reverts"]) == ("PROMOTED", anew["id"])
    assert public_rows(engine, TOWN["slug"]) == before

    listed = invoke("promotions", "--city", TOWN["slug"])
    assert "PROMOTED (revert)" in listed.output
    assert max(map(len, listed.output.splitlines())) <= 80
    lines = invoke("promotions", "--json").output.splitlines()
    assert sorted(json.loads(line)["status"] for line in lines) == [
        *["PROMOTED"] * 3,
        "REJECTED",
    ]


def test_a_city_that_is_off_is_told_how_to_switch_it_on(invoke: Invoke, tmp_path: Path) -> None:
    write_cities(tmp_path / "cities.toml", [TOWN])
    result = invoke("promote", "--city", TOWN["slug"], "--day", str(DAYS[0]))
    assert result.exit_code == FAILED
    assert 'Set promotion = "review" or "automatic"' in " ".join(result.stderr.split())
    listed = invoke("runs", "--job", "osm_import")
    assert listed.exit_code == 0
    assert "promotion_off" in invoke("runs").output


def test_an_override_is_set_listed_applied_and_removed(invoke: Invoke, engine: sa.Engine) -> None:
    promote(invoke, DAYS[0])
    poi_id = public_rows(engine, TOWN["slug"])[0]["poi_id"]
    values = ["--column", "name", "--value", "Green Door", "--until", "2027-01-01"]
    result = invoke("override", poi_id, *values, *DECIDED)
    assert result.exit_code == 0, result.output
    assert "The next promotion of the city applies it." in result.output
    promote(invoke, DAYS[0])
    assert public_rows(engine, TOWN["slug"])[0]["name"] == "Green Door"
    invoke("override", poi_id, "--column", "name", "--remove", *DECIDED)
    (listed,) = invoke("override", poi_id, "--json").output.splitlines()
    assert json.loads(listed)["retired_why"] == "removed"
    assert json.loads(listed)["retired_by"] == DECIDED[1]
    for incomplete in (DECIDED, ["--remove"], [*values[2:], "--remove", *DECIDED]):
        refused = invoke("override", poi_id, "--column", "name", *incomplete)
        assert refused.exit_code == WRONG_USAGE


def test_a_place_is_explained_from_its_bytes_to_its_row(invoke: Invoke, engine: sa.Engine) -> None:
    promote(invoke, DAYS[0])
    row = public_rows(engine, TOWN["slug"])[0]
    found = json.loads(invoke("explain", row["poi_id"], "--json").output)
    assert found["source"]["digest"] == "0" * 64
    assert found["source"]["location"] == "invented.osm.pbf"
    assert found["category"]["tags"] == {"amenity": "cafe"}
    assert found["identities"][0]["source_ref"] == row["source_ref"]
    assert [event["kind"] for event in found["events"]] == ["appeared"]
    assert {gate["name"] for gate in found["promotion"]["gates"]} >= {"licence", "identity"}
    text = invoke("explain", row["poi_id"])
    assert "amenity=cafe" in text.output
    assert max(map(len, text.output.splitlines())) <= 80
    unknown = invoke("explain", "nowhere")
    assert unknown.exit_code == FAILED
    assert "Error (unknown_place)" in unknown.stderr
