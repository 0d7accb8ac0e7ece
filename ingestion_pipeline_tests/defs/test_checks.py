"""The checks of a city-day as Dagster runs them, and the check of the whole installation."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import osmium
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
import sqlalchemy as sa
from dagster._core.storage.asset_check_state import (
    AssetCheckState,
    bulk_update_asset_check_state,
)

from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.datasets.base import SOURCE
from ingestion_pipeline.datasets.poi import POI
from ingestion_pipeline.definitions import build_definitions
from ingestion_pipeline.defs.checks import markdown_of
from ingestion_pipeline.defs.coverage import build_coverage
from ingestion_pipeline.defs.jobs import JOBS
from ingestion_pipeline.quality.catalogue import CHECKS, COUNTS
from ingestion_pipeline.quality.findings import Finding
from ingestion_pipeline.staging.days import Slice, read_day
from ingestion_pipeline.staging.tables import poi_ingestion_staging, staged_partition
from ingestion_pipeline_tests.support.independent import things_of
from ingestion_pipeline_tests.support.installation import (
    TODAY,
    ScriptedClock,
    failure,
    metadata,
    overpass_cafes,
    town_boundary,
    why,
)
from ingestion_pipeline_tests.support.overpass_server import OverpassServer, Reply, overpass_json
from testbed.towns import NOON, TOWN, write_extract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ingestion_pipeline.staging import runs
    from ingestion_pipeline_tests.support.installation import Installation

CAFES = {number: f"Café {number}" for number in range(1, 401)}
TWO_FIFTHS = {number: name for number, name in CAFES.items() if number <= 160}


class Town:
    """The invented town, whose days come one after the other from extracts that we write."""

    def __init__(self, install_town: Callable[..., Installation], folder: Path) -> None:
        self.extract = folder / "town.osm.pbf"
        self.day = TODAY
        self._install = install_town
        self.here = self._installed()

    def _installed(self) -> Installation:
        city = {"osm_source": "extract", "osm_extract": str(self.extract)}
        return self._install(city=city, clock=ScriptedClock(self.noon))

    @property
    def noon(self) -> Any:
        return NOON + (self.day - TODAY)

    @property
    def key(self) -> str:
        return f"town|{self.day}"

    @property
    def slice(self) -> Slice:
        return Slice("town", POI.name, SOURCE, self.day)

    def publish(self, cafes: dict[int, str]) -> None:
        write_extract(self.extract, cafes, at=self.noon, spread=0.0001)

    def run(self, **arguments: Any) -> dg.ExecuteInProcessResult:
        return self.here.run(self.key, **arguments)

    def next_day(self, cafes: dict[int, str], **arguments: Any) -> dg.ExecuteInProcessResult:
        """Let a day pass, and run the new one."""
        self.day += timedelta(days=1)
        self.here = replace(self._installed(), instance=self.here.instance)
        self.publish(cafes)
        return self.run(**arguments)

    def ledger_of(self, result: dg.ExecuteInProcessResult) -> runs.Run:
        (run,) = (run for run in self.here.ledger() if run.dagster_run_id == result.run_id)
        return run

    def accepted_reason(self) -> str | None:
        with self.here.engine.connect() as connection:
            found: str | None = connection.execute(
                sa.select(staged_partition.c.accepted_reason).where(
                    staged_partition.c.day == self.day
                )
            ).scalar_one()
        return found


@pytest.fixture
def town(install_town: Callable[..., Installation], tmp_path: Path) -> Town:
    """The town with its first day staged."""
    town = Town(install_town, tmp_path)
    town.publish(CAFES)
    result = town.run()
    assert result.success, why(result)
    return town


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """Give the run's results of checks by name."""
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


# A day of the job


def test_a_good_day_passes_every_check_with_words_for_its_partition(town: Town) -> None:
    result = town.next_day(CAFES)
    assert result.success, why(result)
    found = evaluations(result)
    assert list(found) == [check.name for check in CHECKS]
    for check in CHECKS:
        evaluation = found[check.name]
        assert evaluation.passed, check.name
        assert evaluation.partition == town.key
        assert evaluation.description
        assert evaluation.metadata["found"].value.startswith(evaluation.description)
        assert "what_to_do" not in evaluation.metadata
        # The colour of the check in Dagster's list, while another day of it fails.
        assert (evaluation.severity == dg.AssetCheckSeverity.ERROR) == check.blocking
    table = found["counts"].metadata["found"].value
    assert "| category | usual | expected | seen |  |\n| --- | ---: |" in table
    assert "| amenity/cafe | 400 | " in table
    assert found["counts"].metadata["features"].value == 400


def test_a_truncated_day_is_stopped_by_the_run_itself_and_nothing_of_it_is_staged(
    town: Town,
) -> None:
    result = town.next_day(TWO_FIFTHS)
    code, words = failure(result)
    assert code == "stopped_by_check"
    assert words.startswith(
        "town poi from osm on 2024-06-02 is not staged. counts: too few features: all 160, "
        "expected 267 to 598; "
    )
    assert "amenity/cafe 160, expected 242 to 661" in words
    assert "accept it with a reason" in words
    run = town.ledger_of(result)
    assert (run.status, run.error_code, run.error_message) == ("FAILED", code, words)
    assert read_day(town.here.engine, town.slice) is None
    assert town.here.count(poi_ingestion_staging) == 400
    # The snapshot and the frame stay: they are what an operator looks at.
    assert [path.name for path in town.here.manifests()] == ["2024-06-01.json", "2024-06-02.json"]
    assert result.asset_materializations_for_node("osm_pois")
    assert not result.asset_materializations_for_node("poi_staging")
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
    counts = evaluations(result)["counts"]
    assert (counts.passed, counts.severity, counts.blocking, counts.partition) == (
        False,
        dg.AssetCheckSeverity.ERROR,
        True,
        town.key,
    )
    assert "| all | 400 | 267 to 598 | 160 | fell |" in counts.metadata["found"].value
    assert counts.metadata["what_to_do"].value == COUNTS.what_to_do
    assert [name for name, each in evaluations(result).items() if not each.passed] == ["counts"]


def test_the_staging_asset_alone_is_stopped_too(town: Town) -> None:
    town.next_day(TWO_FIFTHS)
    code, _ = failure(town.run(only=["poi_staging"]))
    assert code == "stopped_by_check"
    assert read_day(town.here.engine, town.slice) is None


def test_a_stopped_day_is_staged_once_upstream_is_whole_again(town: Town) -> None:
    town.next_day(TWO_FIFTHS)
    town.publish(CAFES)
    assert failure(town.run())[0] == "stopped_by_check"  # what is stored is replayed
    again = town.run(refetch=True)
    assert again.success, why(again)
    assert metadata(again, "poi_staging")["dagster/row_count"] == 400
    assert town.accepted_reason() is None


def partitions_by_status(here: Installation, check: str = "counts") -> dict[str, set[str]]:
    """Give the days of each status of a check, as the UI's tab of checks works them out."""
    key = dg.AssetCheckKey(dg.AssetKey("poi_staging"), check)
    partitions = here.job().partitions_def
    state = bulk_update_asset_check_state(
        here.instance, [(key, partitions)], {key: AssetCheckState.empty()}
    )[key]
    return {
        status.value: set(subset.subset_value.get_partition_keys())
        for status, subset in state.subsets.items()
        if not subset.is_empty
    }


def test_a_day_that_never_reached_its_checks_does_not_count_as_failed(town: Town) -> None:
    first = town.key
    town.day += timedelta(days=1)
    town.here = replace(town._installed(), instance=town.here.instance)
    town.extract.unlink()
    assert not town.run().success
    assert partitions_by_status(town.here) == {"SUCCEEDED": {first}}
    town.publish(CAFES)
    assert town.run().success
    assert partitions_by_status(town.here) == {"SUCCEEDED": {first, town.key}}


def test_a_day_that_a_check_stopped_counts_as_failed(town: Town) -> None:
    first = town.key
    town.next_day(dict(list(CAFES.items())[:2]))
    assert partitions_by_status(town.here) == {"SUCCEEDED": {first}, "FAILED": {town.key}}


def test_a_rise_warns_and_is_staged(town: Town) -> None:
    result = town.next_day(dict.fromkeys(range(1, 901), "Café"))
    assert result.success, why(result)
    counts = evaluations(result)["counts"]
    assert (counts.passed, counts.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "more features than expected: all 900, " in counts.description
    assert town.ledger_of(result).status == "SUCCEEDED"


# Every check that blocks, at the door of staging


def without_licence(rows: pa.Table) -> pa.Table:
    return _replaced(rows, "licence", [""] * rows.num_rows)


def outside(rows: pa.Table) -> pa.Table:
    return _replaced(rows, "lat", [51.0] * rows.num_rows)


def unreadable(rows: pa.Table) -> pa.Table:
    return _replaced(rows, "geometry", [b"\x00"] * rows.num_rows)


def twice(rows: pa.Table) -> pa.Table:
    return pa.concat_tables([rows, rows.slice(0, 1)])


def _replaced(rows: pa.Table, name: str, values: list[Any]) -> pa.Table:
    field = rows.schema.field(name)
    return rows.set_column(rows.column_names.index(name), field, pa.array(values, field.type))


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (without_licence, "licence"),
        (outside, "position"),
        (unreadable, "geometry"),
        (twice, "unique_refs"),
    ],
)
def test_a_frame_with_a_fault_is_stopped(
    town: Town, tmp_path: Path, spoil: Callable[[pa.Table], pa.Table], check: str
) -> None:
    town.day += timedelta(days=1)
    town.here = replace(town._installed(), instance=town.here.instance)
    town.publish(CAFES)
    assert town.run(only=["osm_snapshot", "osm_pois"]).success
    (frame,) = (tmp_path / "lake/frames").rglob(f"{town.day}.parquet")
    pq.write_table(spoil(pq.read_table(frame)), frame)
    result = town.run(only=["poi_staging"])
    code, words = failure(result)
    assert code == "stopped_by_check"
    assert f"{check}: of 40" in words
    assert not evaluations(result)[check].passed
    assert read_day(town.here.engine, town.slice) is None
    # What an operator is told to do.
    frame.unlink()
    again = town.run()
    assert again.success, why(again)


def moved_east(rows: pa.Table) -> pa.Table:
    """Move the last feature within the bbox and out of the boundary, geometry and all."""
    lons = [*rows.column("lon").to_pylist()[:-1], 10.09]
    geometry = [
        *rows.column("geometry").to_pylist()[:-1],
        shapely.to_wkb(shapely.Point(10.09, 50.05)),
    ]
    return _replaced(_replaced(rows, "lon", lons), "geometry", geometry)


def test_a_point_in_the_bbox_and_outside_of_the_boundary_is_stopped(
    install_town: Callable[..., Installation], tmp_path: Path
) -> None:
    body = overpass_json(
        overpass_cafes({10: "A", 20: "B"}),
        boundary=[town_boundary()],
        base=f"{NOON:%Y-%m-%dT%H:%M:%SZ}",
    )
    with OverpassServer(Reply(body=body)) as server:
        here = install_town(
            city={"boundary_ref": "relation/7"}, clock=ScriptedClock(NOON), overpass_url=server.url
        )
        assert here.run(f"town|{TODAY}", only=["osm_snapshot", "osm_pois"]).success
        (frame,) = (tmp_path / "lake/frames").rglob(f"{TODAY}.parquet")
        pq.write_table(moved_east(pq.read_table(frame)), frame)
        code, words = failure(here.run(f"town|{TODAY}", only=["poi_staging"]))
    assert code == "stopped_by_check"
    assert "position: of 2 rows, outside of the city's boundary: 1 (node/20)" in words


def test_a_frame_that_does_not_tell_the_boundary_is_made_anew(town: Town, tmp_path: Path) -> None:
    (frame,) = (tmp_path / "lake/frames").rglob(f"{town.day}.parquet")
    rows = pq.read_table(frame)
    described = rows.schema.metadata
    told = json.loads(described[b"ingestion_evidence"])
    del told["boundary"]
    described |= {b"ingestion_evidence": json.dumps(told).encode()}
    pq.write_table(rows.replace_schema_metadata(described), frame)
    assert failure(town.run(only=["poi_staging"]))[0] == "frame_outdated"
    assert metadata(town.run(only=["osm_pois"]), "osm_pois")["reused"] is False
    assert town.run(only=["poi_staging"]).success


# A real city


@dataclass
class Helsinki:
    """The real sample, and the day after it from a copy of which much is missing."""

    here: Installation
    pois: int

    def run(self, day: str, **arguments: Any) -> dg.ExecuteInProcessResult:
        return self.here.run(f"helsinki|{day}", **arguments)

    def staged(self, day: str) -> Any:
        with self.here.engine.connect() as connection:
            query = sa.select(staged_partition).where(staged_partition.c.day == day)
            return connection.execute(query).one_or_none()


def write_truncated(path: Path, whole: Path, *, at: datetime, kept: Callable[[int], bool]) -> None:
    """Copy an extract without the POIs whose place in the order is not kept.

    Nodes are kept without their tags, because ways may need them.
    """
    lost = {ref for number, ref in enumerate(sorted(things_of(whole))) if not kept(number)}
    header = osmium.io.Header()
    header.set("osmosis_replication_timestamp", f"{at:%Y-%m-%dT%H:%M:%SZ}")
    with osmium.SimpleWriter(str(path), header=header) as writer:
        for item in osmium.FileProcessor(str(whole)):
            if f"{TYPES[item.type_str()]}/{item.id}" not in lost:
                writer.add(item)
            elif isinstance(item, osmium.osm.Node):
                writer.add(item.replace(tags={}))


TYPES = {"n": "node", "w": "way", "r": "relation"}


@pytest.fixture
def helsinki(install: Callable[..., Installation], helsinki_pbf: Path, tmp_path: Path) -> Helsinki:
    (tmp_path / "2019-04-21.osm.pbf").symlink_to(helsinki_pbf)
    write_truncated(
        tmp_path / "2019-04-22.osm.pbf",
        helsinki_pbf,
        at=datetime(2019, 4, 22, 20, tzinfo=UTC),
        kept=lambda number: number % 5 < 2,
    )
    shipped = load_cities(None).get("helsinki")
    city = {
        "slug": shipped.slug,
        "name": dict(shipped.name),
        "bbox": list(shipped.bbox),
        "languages": list(shipped.languages),
        "local_language": shipped.local_language,
        "minimum_pois": 100,  # it is the check that has to notice
        "osm_source": "extract",
        "osm_extract": str(tmp_path / "{day}.osm.pbf"),
    }
    here = install(cities=[TOWN | city])
    result = here.run("helsinki|2019-04-21")
    assert result.success, why(result)
    return Helsinki(here, metadata(result, "poi_staging")["dagster/row_count"])


def test_two_fifths_of_a_real_city_are_stopped_by_category_and_staged_with_a_reason(
    helsinki: Helsinki,
) -> None:
    result = helsinki.run("2019-04-22")
    seen = metadata(result, "osm_pois")["dagster/row_count"]
    assert 0.39 < seen / helsinki.pois < 0.41
    code, words = failure(result)
    assert code == "stopped_by_check"
    assert f"counts: too few features: all {seen:,}, expected " in words
    named = dict(re.findall(r"; (\S+) ([\d,]+), expected [\d,]+ to [\d,]+", words))
    assert {"amenity", "amenity/restaurant", "shop"} <= set(named)
    assert all(int(count.replace(",", "")) > 0 for count in named.values())
    run = helsinki.here.ledger()[-1]
    assert (run.status, run.error_code, run.error_message) == ("FAILED", code, words)
    assert helsinki.staged("2019-04-22") is None
    assert helsinki.staged("2019-04-21").rows == helsinki.pois

    accepted = helsinki.run("2019-04-22", accept="the extract was cut on purpose")
    assert accepted.success, why(accepted)
    day = helsinki.staged("2019-04-22")
    assert (day.rows, day.accepted_reason) == (seen, "the extract was cut on purpose")
    counts = evaluations(accepted)["counts"]
    assert (counts.passed, counts.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert counts.metadata["accepted_reason"].value == "the extract was cut on purpose"


# Acceptance


def test_a_day_that_an_operator_accepts_is_staged_and_says_why(town: Town) -> None:
    town.next_day(TWO_FIFTHS)
    result = town.run(accept=" the quarter was\ntorn down ")
    assert result.success, why(result)
    assert town.accepted_reason() == "the quarter was torn down"
    assert metadata(result, "poi_staging")["accepted_reason"] == "the quarter was torn down"
    assert metadata(result, "poi_staging")["dagster/row_count"] == 160
    counts = evaluations(result)["counts"]
    assert (counts.passed, counts.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert counts.metadata["accepted_reason"].value == "the quarter was torn down"
    assert "what_to_do" not in counts.metadata
    assert "accepted_reason" not in evaluations(result)["names"].metadata
    assert town.ledger_of(result).status == "SUCCEEDED"


def test_an_accepted_day_is_confirmed_by_whoever_runs_it_again(town: Town) -> None:
    town.next_day(TWO_FIFTHS, accept="torn down")
    again = town.run()
    assert again.success, why(again)
    assert metadata(again, "poi_staging")["written"] == 0
    assert metadata(again, "poi_staging")["accepted_reason"] == "torn down"
    assert town.accepted_reason() == "torn down"
    assert not evaluations(again)["counts"].passed


def test_one_accepted_day_opens_no_door_to_the_next(town: Town) -> None:
    assert town.next_day(TWO_FIFTHS, accept="torn down").success
    assert failure(town.next_day(TWO_FIFTHS))[0] == "stopped_by_check"
    assert evaluations(town.next_day(CAFES))["counts"].passed


@pytest.mark.parametrize("nothing", ["", "  "])
def test_a_blank_reason_is_refused_and_the_ledger_says_so(town: Town, nothing: str) -> None:
    result = town.next_day(CAFES, accept=nothing)
    code, words = failure(result)
    assert code == "acceptance_without_reason"
    assert "Say in a sentence why" in words
    assert town.ledger_of(result).error_code == code
    assert read_day(town.here.engine, town.slice) is None


def test_a_reason_that_was_not_needed_is_not_kept(town: Town) -> None:
    result = town.next_day(CAFES, accept="just in case")
    assert result.success, why(result)
    assert town.accepted_reason() is None
    assert "accepted_reason" not in metadata(result, "poi_staging")


def test_a_run_config_without_a_reason_is_refused_before_the_run_begins(town: Town) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match="reason"):
        town.here.job().execute_in_process(
            partition_key=town.key,
            instance=town.here.instance,
            run_config={"ops": {"poi_staging": {"config": {"accept": {}}}}},
        )


# Another source of the same day


def test_a_day_that_comes_from_the_other_source_is_compared_with_what_is_staged(
    install_town: Callable[..., Installation], tmp_path: Path
) -> None:
    town = Town(install_town, tmp_path)
    town.publish({1: "A", 2: "B"})
    assert evaluations(town.run())["parity"].description.startswith("nothing to compare")
    answer = overpass_json(overpass_cafes({2: "B", 3: "C"}), base="2024-06-01T12:00:00Z")
    with OverpassServer(Reply(body=answer)) as server:
        here = install_town(clock=ScriptedClock(NOON), overpass_url=server.url)
        result = here.run(f"town|{TODAY}", refetch=True)
    assert result.success, why(result)
    parity = evaluations(result)["parity"]
    assert (parity.passed, parity.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "only in this one: 1 (node/3)" in parity.description
    assert "only in the staged one: 1 (node/1)" in parity.description
    assert "another position: 1 (node/2)" in parity.description


# The whole installation


def coverage(here: Installation) -> Any:
    job = build_definitions(here.workshop).resolve_job_def("coverage")
    result = job.execute_in_process(instance=here.instance, raise_on_error=False)
    assert result.success, why(result)
    return evaluations(result)["osm_import_coverage"]


def test_a_city_that_lacks_its_due_day_is_named_with_the_day_since_when(town: Town) -> None:
    assert coverage(town.here).passed
    town.day += timedelta(days=3)
    late = coverage(replace(town._installed(), instance=town.here.instance))
    assert (late.passed, late.severity, late.blocking) == (
        False,
        dg.AssetCheckSeverity.ERROR,
        False,
    )
    assert late.partition is None
    assert late.description == (
        "1 of 1 enabled cities lack their latest due day: town since 2024-06-02"
    )
    assert "| town | 2024-06-04 | 2024-06-01 | 2024-06-02 |" in late.metadata["found"].value
    assert late.metadata["lagging"].value == 1


def test_a_city_that_is_not_enabled_owes_nothing(install: Callable[..., Installation]) -> None:
    here = install(
        cities=[TOWN, TOWN | {"slug": "rest", "enabled": False, "bbox": [11.0, 50.0, 11.1, 50.1]}]
    )
    found = coverage(here)
    assert found.description == "1 of 1 enabled cities lack their latest due day: town since ever"


def test_nothing_is_owed_of_days_before_the_first_partition(
    install: Callable[..., Installation],
) -> None:
    here = install(cities=[TOWN], clock=ScriptedClock(NOON), partitions_start=TODAY)
    assert not coverage(here).passed
    here = install(
        cities=[TOWN], clock=ScriptedClock(NOON), partitions_start=TODAY + timedelta(days=1)
    )
    assert coverage(here).passed


# What Dagster is told


@pytest.fixture
def definitions(install: Callable[..., Installation]) -> dg.Definitions:
    return build_definitions(install().workshop)


def test_every_check_has_a_description_and_those_of_the_catalogue_block_as_it_says(
    definitions: dg.Definitions,
) -> None:
    graph = definitions.resolve_asset_graph()
    specs = {key.name: graph.get_check_spec(key) for key in graph.asset_check_keys}
    assert set(specs) == {check.name for check in CHECKS} | {f"{job}_coverage" for job in JOBS}
    for check in CHECKS:
        assert specs[check.name].blocking == check.blocking
        assert specs[check.name].description == check.description
        assert specs[check.name].partitions_def is not None
    for job in JOBS:
        spec = specs[f"{job}_coverage"]
        assert spec.partitions_def is None
        assert spec.description


def test_a_city_day_does_not_run_the_check_of_the_whole_installation(town: Town) -> None:
    assert set(evaluations(town.next_day(CAFES))) == {check.name for check in CHECKS}


def test_the_check_of_the_whole_runs_every_morning(
    install: Callable[..., Installation],
) -> None:
    for given, status in (("on", "RUNNING"), ("off", "STOPPED")):
        schedule = build_coverage(install(schedules=given).workshop).schedule
        assert schedule.default_status.value == status
        assert schedule.cron_schedule == "0 7 * * *"


def test_a_finding_is_written_as_a_table() -> None:
    found = Finding(COUNTS, "warn", "many", head=("a", "b"), rows=[("x", "2")])
    assert markdown_of(found) == "many\n\n| a | b |\n| --- | ---: |\n| x | 2 |"
