"""The commands of `poi-ingest`, within this process; `run` is tested as a process of its own."""

from __future__ import annotations

import csv
import json
import re
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, get_args

import click
import dagster as dg
import geopandas as gpd
import pytest
import shapely
from click.testing import CliRunner

from ingestion_pipeline.cli import main as cli
from ingestion_pipeline.cli import run
from ingestion_pipeline.cli.output import (
    ALL_FEEDS_FAILED,
    FAILED,
    INTERRUPTED,
    KEY_HELD,
    SOME_FEEDS_FAILED,
    TRY_LATER,
    WRONG_USAGE,
    print_table,
)
from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.core.clock import SystemClock
from ingestion_pipeline.core.formats import Format
from ingestion_pipeline.core.rejection import Rejection
from ingestion_pipeline.lake.snapshots import Lake
from ingestion_pipeline.staging import runs, upstream
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.days import Slice, read_day
from ingestion_pipeline.staging.upstream import Budget, Server
from ingestion_pipeline.staging.views import definitions
from ingestion_pipeline_tests.support.feed_server import BBOX, FOUNTAINS, TOILETS
from ingestion_pipeline_tests.support.installation import SAMPLE_KEY, installed
from ingestion_pipeline_tests.support.overpass_server import OverpassServer, Reply, refusing_url
from ingestion_pipeline_tests.support.staged import stage, stage_helpers
from testbed.towns import NOON, TOWN, write_cities, write_extract, write_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from click.testing import Result

    Invoke = Callable[..., Result]

SAMPLE = ["--city", "helsinki", "--day", "2019-04-21"]
ONE_DAY = ["--from", "2024-01-01", "--to", "2024-01-01"]


def invoke_in(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Result:
    """Run a command on the database and the cities of a folder."""
    own: dict[str, str | None] = dict.fromkeys(
        ("OSM_SOURCE", "OVERPASS_URL", "OSM_EXTRACT", "PARTITIONS_START", "CITIES_FILE")
    )
    own |= {
        "DATABASE_URL": f"sqlite:///{folder}/staging.gpkg",
        "DATA_DIR": str(folder / "lake"),
        "DAGSTER_HOME": str(folder / "dagster_home"),
        "STATE_DIR": str(folder / "state"),
    }
    if (folder / "cities.toml").exists():
        own["CITIES_FILE"] = str(folder / "cities.toml")
    result = CliRunner().invoke(cli.main, arguments, env=own | dict(env or {}))
    unexpected = result.exception is not None and not isinstance(result.exception, SystemExit)
    assert not unexpected, result.exception
    return result


@pytest.fixture
def invoke(tmp_path: Path) -> Invoke:
    """Run a command on a folder of its own, with the invented town."""
    write_cities(tmp_path / "cities.toml", [TOWN])
    return lambda *arguments, **more: invoke_in(tmp_path, *arguments, **more)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in whose database the real sample is staged."""
    folder = tmp_path_factory.mktemp("sample")
    with installed(folder, f"sqlite:///{folder}/staging.gpkg") as here:
        assert here.run(SAMPLE_KEY).success
    return folder


# Words


@pytest.mark.parametrize("command", [[], *([name] for name in cli.main.commands)], ids=" ".join)
def test_every_command_and_option_explains_itself(invoke: Invoke, command: list[str]) -> None:
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")
    shown = cli.main if not command else cli.main.commands[command[0]]
    assert shown.help
    options = [
        option
        for option in shown.params
        if isinstance(option, click.Option) and option.name not in ("help", "limit", "version")
    ]
    assert all(getattr(option, "help", None) for option in options)


def test_the_help_tells_the_exit_codes(invoke: Invoke) -> None:
    words = " ".join(invoke("--help").output.split())
    staged = (0, SOME_FEEDS_FAILED, ALL_FEEDS_FAILED)
    for code in (*staged, FAILED, WRONG_USAGE, KEY_HELD, TRY_LATER, INTERRUPTED):
        assert f"{code} " in words


# migrate, cities, runs


def test_migrate_makes_the_database_and_can_be_repeated(invoke: Invoke, tmp_path: Path) -> None:
    for _ in range(2):
        result = invoke("migrate")
        assert result.exit_code == 0, result.output
        assert result.output == f"sqlite:///{tmp_path}/staging.gpkg is at head\n"
    assert invoke("migrate", "--to", "base").exit_code == 0
    assert invoke("runs").exit_code == FAILED


def test_an_unknown_migration_is_named(invoke: Invoke) -> None:
    result = invoke("migrate", "--to", "9999")
    assert result.exit_code == FAILED
    assert result.output.startswith("Error (database_not_migrated): ")
    assert "known migrations: 0001" in result.output


def test_cities_lists_each_city_with_its_source(invoke: Invoke) -> None:
    head, row = invoke("cities").output.splitlines()
    assert head.split() == ["slug", "name", "source", "boundary", "time", "zone", "enabled"]
    assert row.split() == ["town", "Town", "overpass", "bbox", "Europe/Helsinki", "yes"]
    assert "extract" in invoke("cities", env={"OSM_SOURCE": "extract"}).output


def test_cities_check_says_what_a_run_would_find_and_its_code(
    invoke: Invoke, tmp_path: Path
) -> None:
    result = invoke("cities", "check", "--city", "town")
    assert result.exit_code == FAILED
    assert "town: Error (overpass_not_configured): town uses Overpass" in result.output
    write_cities(
        tmp_path / "cities.toml",
        [TOWN | {"osm_source": "extract", "osm_extract": str(tmp_path / "x-{day}.osm.pbf")}],
    )
    write_extract(tmp_path / f"x-{NOON:%Y-%m-%d}.osm.pbf", {1: "A"})
    result = invoke("cities", "check", "--day", f"{NOON:%Y-%m-%d}")
    assert result.exit_code == 0, result.output
    head, row = result.stdout.splitlines()
    assert head.split() == ["slug", "source", "as", "of", "age", "boundary", "covered", "result"]
    assert row.split()[:4] == ["town", "extract", f"{NOON:%Y-%m-%d}", "12:00"]
    assert row.split()[-6:] == ["h", "bbox", "100%", "by", "header", "good"]
    assert not (tmp_path / "lake").exists()


def test_cities_check_says_what_may_pass_by_itself(invoke: Invoke, tmp_path: Path) -> None:
    extract = write_extract(tmp_path / "x.osm.pbf", {1: "A"})
    city = TOWN | {"osm_source": "extract", "osm_extract": str(extract)}
    write_cities(tmp_path / "cities.toml", [city])
    result = invoke("cities", "check")
    assert result.exit_code == TRY_LATER
    assert "town: Error (stale_upstream): " in result.output
    assert invoke("cities", "check", "--city", "twon").exit_code == WRONG_USAGE


def test_runs_lists_the_newest_first_and_why_they_failed(invoke: Invoke, sample: Path) -> None:
    assert invoke("migrate").exit_code == 0
    (head,) = invoke("runs").output.splitlines()
    assert head.split()[:4] == ["requested", "job", "city", "day"]
    rows = invoke_in(sample, "runs", "--city", "helsinki").output.splitlines()[1:]
    assert len(rows) == 2
    assert re.fullmatch(r"  [0-9a-f-]{36}", rows[1])
    assert "helsinki" in rows[0]
    assert "SUCCEEDED" in rows[0]
    assert "2370" in rows[0]
    assert invoke_in(sample, "runs", "--city", "elsewhere").output.count("\n") == 1
    assert invoke_in(sample, "runs", "--job", "osm_import").output.count("\n") == 3
    assert invoke_in(sample, "runs", "--job", "helpers_import").output.count("\n") == 1


LONG_SLUG = "llanfairpwllgwyngyllgogerychwyrndrobwlll"
LONG_NAMED = TOWN | {
    "slug": LONG_SLUG,
    "name": {"en": "Llanfairpwllgwyngyllgogerychwyrndrobwll-llantysiliogogogoch and Environs"},
    "timezone": "America/Argentina/ComodRivadavia",
}


@pytest.mark.parametrize(
    "command",
    [
        ["cities"],
        ["cities", "check"],
        ["runs"],
        ["backfill", "--all-cities", *ONE_DAY, "--dry-run"],
        ["rejections", "--city", LONG_SLUG, "--day", "2024-01-01"],
    ],
    ids=lambda command: command[0],
)
def test_tables_fit_80_columns_and_keep_a_long_slug_whole(
    tmp_path: Path, command: list[str]
) -> None:
    assert len(LONG_SLUG) == 40
    write_cities(tmp_path / "cities.toml", [LONG_NAMED])
    engine = create_engine(f"sqlite:///{tmp_path}/staging.gpkg")
    migrate(engine)
    tags = {"tags": {"shop": "no", "website": f"https://{'x' * 200}.example"}}
    rejections = [Rejection("way/2", "missing_nodes", "it has none " * 9, tags)]
    stage(engine, LONG_SLUG, date(2024, 1, 1), {"node/1": "a"}, rejections)
    engine.dispose()
    output = invoke_in(tmp_path, *command, env={"PARTITIONS_START": "2024-01-01"}).output
    lines = [line for line in output.splitlines() if "Error (" not in line]
    assert max(map(len, lines)) <= 80, output
    assert LONG_SLUG in output or command[0] == "rejections"  # which names no city


def table(capsys: pytest.CaptureFixture[str], *rows: tuple[str, ...]) -> list[str]:
    print_table(rows[0], rows[1:])
    return capsys.readouterr().out.splitlines()


def test_a_row_that_does_not_fit_goes_on_in_a_second_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    assert table(capsys, ("slug", "name", "zone"), ("a" * 20, "A B", "Europe/Rome")) == [
        "slug                  name",
        "    zone",
        "a" * 20 + "  A B",
        "    Europe/Rome",
    ]


def test_only_as_much_is_wrapped_as_has_to_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    assert table(capsys, ("slug", "why"), ("town", "one two three four five six")) == [
        "slug  why",
        "town  one two three four five",
        "      six",
    ]


def test_a_word_that_fits_no_line_is_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    lines = table(capsys, ("slug", "tag"), ("town", "x" * 50))
    assert "".join(lines[2:]).replace(" ", "") == "town" + "x" * 50
    assert max(map(len, lines)) <= 30


# diff


@pytest.fixture
def two_days(tmp_path: Path, invoke: Invoke) -> Invoke:
    """The invented town with two staged days."""
    engine = create_engine(f"sqlite:///{tmp_path}/staging.gpkg")
    migrate(engine)
    stage(engine, "town", date(2024, 6, 1), {"node/1": "a", "node/2": "b", "way/3": "c"})
    stage(engine, "town", date(2024, 6, 9), {"node/1": "a", "node/2": "B", "way/4": "d"})
    engine.dispose()
    return invoke


DAYS = ["--city", "town", "--from", "2024-06-01", "--to", "2024-06-09"]


def test_diff_tells_what_was_added_changed_and_removed(two_days: Invoke) -> None:
    result = two_days("diff", *DAYS)
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "added: 1",
        "  way/4  amenity/cafe  d",
        "changed: 1",
        "  node/2  amenity/cafe  B [name]",
        "removed: 1",
        "  way/3  amenity/cafe  c",
    ]


@pytest.fixture
def rejected(invoke: Invoke, tmp_path: Path) -> Invoke:
    """The invented town, where something was rejected on one of two days."""
    engine = create_engine(f"sqlite:///{tmp_path}/staging.gpkg")
    migrate(engine)
    tags = {"tags": {"shop": "no", "name": "A\nB"}}
    stage(
        engine,
        "town",
        date(2024, 1, 1),
        {"node/1": "a"},
        [
            Rejection("way/2", "missing_nodes", "it has none", {"tags": {}}),
            Rejection("node/3", "no_main_tag", "it says no", tags),
            Rejection("node/2", "no_main_tag", "it says no", tags),
        ],
    )
    stage(engine, "town", date(2024, 1, 2), {"node/1": "a"})
    engine.dispose()
    return invoke


def test_rejections_of_a_day_are_listed_by_reason_and_object(rejected: Invoke) -> None:
    result = rejected("rejections", "--city", "town", "--day", "2024-01-01")
    assert result.exit_code == 0, result.output
    assert [line.split(maxsplit=2) for line in result.output.splitlines()] == [
        ["reason", "object", "why          tags"],
        ["missing_nodes", "way/2", "it has none"],
        ["no_main_tag", "node/2", "it says no   name=A B, shop=no"],
        ["no_main_tag", "node/3", "it says no   name=A B, shop=no"],
    ]
    one = rejected(
        "rejections", "--city", "town", "--day", "2024-01-01", "--reason", "missing_nodes"
    )
    assert [line.split()[1] for line in one.output.splitlines()] == ["object", "way/2"]
    none = rejected("rejections", "--city", "town", "--day", "2024-01-02")
    assert [line.split() for line in none.output.splitlines()] == [
        ["reason", "object", "why", "tags"]
    ]


def test_what_the_refused_file_of_a_feed_rejects_is_listed(
    rejected: Invoke, tmp_path: Path
) -> None:
    write_cities(tmp_path / "cities.toml", [TOWN | {"feed": [dict(TOILETS)]}])
    of_feed = ("rejections", "--city", "town", "--dataset", "helper", "--source", "feed:toilets")
    missing = rejected(*of_feed, "--day", "2024-01-01")
    assert "Error (day_not_staged)" in missing.output
    city = load_cities(tmp_path / "cities.toml").get("town")
    examples = [{"source_ref": "record/1", "detail": "TYPE is 'UR'", "raw": {"TYPE": "UR"}}]
    Lake(str(tmp_path / "lake")).record_rejections(
        *("feed-toilets", "town", city.boundary_key, date(2024, 1, 1)),
        [{"reason": "unknown_kind", "count": 1234, "examples": examples}],
    )
    result = rejected(*of_feed, "--day", "2024-01-01")
    assert result.exit_code == 0
    assert [line.split(maxsplit=3) for line in result.output.splitlines()[1:]] == [
        ["records", "reason", "object", "why"],
        ["1,234", "unknown_kind", "record/1", "TYPE is 'UR'"],
    ]
    none = rejected(*of_feed, "--day", "2024-01-01", "--reason", "no_id")
    assert "record/1" not in none.output


def test_without_a_day_rejections_are_counted_by_day_and_reason(rejected: Invoke) -> None:
    counted = rejected("rejections", "--city", "town").output.splitlines()
    assert [line.split() for line in counted] == [
        ["day", "reason", "objects"],
        ["2024-01-01", "no_main_tag", "2"],
        ["2024-01-01", "missing_nodes", "1"],
    ]
    one = rejected("rejections", "--city", "town", "--reason", "missing_nodes").output.splitlines()
    assert one[1:] == ["2024-01-01  missing_nodes  1"]


def test_rejections_of_a_day_that_is_not_staged_are_not_none(rejected: Invoke) -> None:
    result = rejected("rejections", "--city", "town", "--day", "2024-01-03")
    assert result.exit_code == FAILED
    assert result.output.startswith("Error (day_not_staged): ")


def test_diff_prints_one_json_object_a_line(two_days: Invoke) -> None:
    lines = [json.loads(line) for line in two_days("diff", *DAYS, "--json").output.splitlines()]
    assert [(line["change"], line["source_ref"], line["changed_fields"]) for line in lines] == [
        ("changed", "node/2", ["name"]),
        ("removed", "way/3", []),
        ("added", "way/4", []),
    ]
    assert lines[0] == {
        "change": "changed",
        "source_ref": "node/2",
        "category": "amenity/cafe",
        "name": "B",
        "changed_fields": ["name"],
        "cause": "upstream",
    }


def test_diff_tells_of_helper_places_of_one_source(two_days: Invoke, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/staging.gpkg")
    stage_helpers(
        engine,
        "town",
        date(2024, 6, 1),
        {"osm": {"node/1#toilets": "a"}, "feed:wc": {"1#toilets": "a"}},
    )
    stage_helpers(
        engine,
        "town",
        date(2024, 6, 9),
        {"osm": {"node/1#toilets": "b"}, "feed:wc": {"2#toilets": "a"}},
    )
    engine.dispose()
    result = two_days("diff", *DAYS, "--dataset", "helper", "--source", "feed:wc")
    assert result.output.splitlines() == [
        "added: 1",
        "  2#toilets  toilets  a",
        "changed: 0",
        "removed: 1",
        "  1#toilets  toilets  a",
    ]
    result = two_days("diff", *DAYS, "--dataset", "helper", "--json")
    of_view = definitions()["helper_change"]
    assert set(json.loads(result.output)) < set(of_view.selected_columns.keys())
    assert json.loads(result.output) == {
        "change": "changed",
        "source_ref": "node/1#toilets",
        "kind": "toilets",
        "name": "b",
        "changed_fields": ["name"],
        "cause": "upstream",
    }
    result = two_days("diff", *DAYS, "--dataset", "helper", "--source", "feed:no")
    assert result.exit_code == FAILED
    assert "town helper from feed:no on 2024-06-01 is not staged" in result.output


def test_diff_of_a_day_that_is_not_staged_names_those_that_are(two_days: Invoke) -> None:
    result = two_days("diff", "--city", "town", "--from", "2024-06-01", "--to", "2024-06-02")
    assert result.exit_code == FAILED
    assert result.output.startswith("Error (day_not_staged): ")
    assert "2024-06-01, 2024-06-09" in result.output


# backfill

DAYS_OF_2024 = ["--from", "2024-01-01", "--to", "2024-12-30"]


@pytest.fixture
def dagster() -> Iterator[OverpassServer]:
    """A server that takes every backfill on, as Dagster's webserver does."""
    taken = {"__typename": "LaunchBackfillSuccess", "backfillId": "abcdefgh"}
    answer = json.dumps({"data": {"launchPartitionBackfill": taken}})
    with OverpassServer(Reply(body=answer)) as server:
        yield server


@pytest.fixture
def three_towns(tmp_path: Path, dagster: OverpassServer) -> Invoke:
    """Three towns with dated extracts, and a migrated database."""
    towns = [
        TOWN | {"slug": f"town-{n}", "bbox": [10 + n / 10, 50.0, 10 + (n + 1) / 10, 50.1]}
        for n in (0, 1, 2)
    ]
    write_cities(tmp_path / "cities.toml", towns)
    env = {
        "DAGSTER_URL": dagster.url.removesuffix("/api/interpreter"),
        "OSM_SOURCE": "extract",
        "OSM_EXTRACT": "/data/{day}.osm.pbf",
        "PARTITIONS_START": "2024-01-01",
    }
    assert invoke_in(tmp_path, "migrate").exit_code == 0
    return lambda *arguments, **more: invoke_in(
        tmp_path, *arguments, env=env | more.pop("env", {}), **more
    )


def submitted(dagster: OverpassServer) -> dict[str, Any]:
    """Give the parameters of the one backfill that was submitted."""
    (request,) = dagster.requests
    parameters: dict[str, Any] = json.loads(request.body)["variables"]["parameters"]
    return parameters


@pytest.mark.server
def test_days_without_a_partition_are_enqueued_as_jobs(
    three_towns: Invoke, dagster: OverpassServer, tmp_path: Path
) -> None:
    few = {"PARTITIONS_DAYS": "30"}
    days = ["--from", "2024-01-01", "--to", "2024-01-03"]
    as_a_backfill = three_towns("backfill", "--all-cities", *days, env=few)
    assert as_a_backfill.exit_code == FAILED
    assert "PARTITIONS_DAYS" in as_a_backfill.output
    for made in (9, 0):  # a job that is active stays
        result = three_towns("backfill", "--all-cities", *days, "--enqueue", env=few)
        assert result.exit_code == 0, result.output
        assert f"\n{made} jobs are enqueued" in result.output
    assert dagster.requests == []
    engine = create_engine(f"sqlite:///{tmp_path}/staging.gpkg")
    jobs = runs.active(engine, "PENDING", limit=20)
    engine.dispose()
    assert {(job.city_slug, str(job.day)) for job in jobs} == {
        (f"town-{town}", f"2024-01-0{day}") for town in (0, 1, 2) for day in (1, 2, 3)
    }
    assert {job.trigger for job in jobs} == {"backfill"}


@pytest.mark.server
def test_a_group_plans_its_own_cities_only(three_towns: Invoke, tmp_path: Path) -> None:
    cities = [
        TOWN | {"slug": "in", "group": "north"},
        TOWN | {"slug": "out", "bbox": [11, 50, 12, 51]},
    ]
    write_cities(tmp_path / "cities.toml", cities)
    north = {"CITY_GROUP": "north"}
    plan = three_towns("backfill", "--all-cities", *ONE_DAY, "--dry-run", env=north)
    assert "1 city-days: 1 to run" in plan.output
    other = three_towns("backfill", "--city", "out", *ONE_DAY, "--dry-run", env=north)
    assert other.exit_code == WRONG_USAGE
    assert "has no city 'out' in group north (CITY_GROUP)" in other.output


@pytest.mark.server
def test_a_year_of_three_cities_is_one_backfill(
    three_towns: Invoke, dagster: OverpassServer
) -> None:
    result = three_towns("backfill", "--all-cities", *DAYS_OF_2024)
    assert result.exit_code == 0, result.output
    of_towns = [line for line in result.output.splitlines() if line.startswith("town-")]
    assert [line.split()[:5] for line in of_towns] == [
        [f"town-{n}", "2024-01-01", "2024-12-30", "365", "dated"] for n in (0, 1, 2)
    ]
    assert "1,095 city-days: 1,095 to run, 0 staged already, 0 without" in result.output
    assert f"Backfill abcdefgh of 1,095 runs: {dagster.url[:-16]}/runs/b/abcdefgh" in result.output
    parameters = submitted(dagster)
    assert len(set(parameters["partitionNames"])) == 1095
    assert parameters["partitionNames"][0] == "town-0|2024-01-01"
    assert [asset["path"] for asset in parameters["assetSelection"]] == [
        ["osm_snapshot"],
        ["osm_pois"],
        ["poi_staging"],
    ]
    assert parameters["tags"] == [{"key": "ingestion/trigger", "value": "backfill"}]


@pytest.mark.server
def test_a_dry_run_submits_nothing(three_towns: Invoke, dagster: OverpassServer) -> None:
    result = three_towns("backfill", "--city", "town-1", *DAYS_OF_2024, "--dry-run")
    assert result.exit_code == 0
    assert "365 to run" in result.output
    assert dagster.requests == []


@pytest.mark.server
def test_what_is_staged_or_cannot_be_had_is_left_out_and_told(
    three_towns: Invoke, dagster: OverpassServer, tmp_path: Path
) -> None:
    with installed(
        tmp_path,
        f"sqlite:///{tmp_path}/staging.gpkg",
        cities=[TOWN],
        osm_source="extract",
        osm_extract=str(write_extract(tmp_path / "town.osm.pbf", {1: "A"})),
    ) as here:
        assert here.run("town|2024-06-01").success
    arguments = ("backfill", "--city", "town", "--from", "2023-12-31", "--to", "2024-06-02")
    result = three_towns(*arguments)
    assert result.exit_code == 0, result.output
    assert "155 city-days: 153 to run, 1 staged already, 1 without" in result.output
    assert "town  2024-06-01  2024-06-01  1     staged" in result.output
    assert "set PARTITIONS_START" in " ".join(result.output.split())
    asked = submitted(dagster)["partitionNames"]
    assert asked[0] == "town|2024-01-01"
    assert asked[-1] == "town|2024-06-02"
    assert "town|2024-06-01" not in asked
    dagster.requests.clear()
    assert "154 to run" in three_towns(*arguments, "--all").output
    assert "town|2024-06-01" in submitted(dagster)["partitionNames"]


@pytest.mark.server
@pytest.mark.parametrize(
    ("day", "exit_code"), [("2024-06-01", 0), ("2024-06-02", FAILED)], ids=["staged", "none"]
)
def test_where_nothing_is_left_to_submit_the_exit_code_tells_whether_that_is_good(
    three_towns: Invoke, dagster: OverpassServer, tmp_path: Path, day: str, exit_code: int
) -> None:
    extract = str(write_extract(tmp_path / "town.osm.pbf", {1: "A"}))
    with installed(
        tmp_path,
        f"sqlite:///{tmp_path}/staging.gpkg",
        cities=[TOWN],
        osm_source="extract",
        osm_extract=extract,
    ) as here:
        assert here.run("town|2024-06-01").success
    arguments = ("backfill", "--city", "town", "--from", day, "--to", day)
    result = three_towns(*arguments, env={"OSM_EXTRACT": extract})
    assert result.exit_code == exit_code
    assert result.output.endswith("Nothing to submit\n")
    assert dagster.requests == []


@pytest.mark.server
def test_a_webserver_that_is_not_there_is_told_with_the_code_for_later(
    three_towns: Invoke,
) -> None:
    result = three_towns(
        "backfill", "--all-cities", *DAYS_OF_2024, env={"DAGSTER_URL": refusing_url()}
    )
    assert result.exit_code == TRY_LATER
    assert "Error (dagster_unavailable): " in result.output


# export


def exported(sample: Path, tmp_path: Path, form: str) -> Path:
    path = tmp_path / "new folder" / f"out.{form}"
    for _ in range(2):  # the second time the file is replaced
        result = invoke_in(sample, "export", *SAMPLE, "--format", form, "--output", str(path))
        assert result.exit_code == 0, result.output
        assert result.output == f"2,370 POIs of helsinki on 2019-04-21 written to {path}\n"
    return path


def staged_geometry(sample: Path) -> dict[str, shapely.Geometry]:
    engine = create_engine(f"sqlite:///{sample}/staging.gpkg")
    target = Slice("helsinki", "poi", "osm", date(2019, 4, 21))
    rows = read_day(engine, target, ["source_ref", "geometry"]) or []
    engine.dispose()
    return {row["source_ref"]: shapely.from_wkb(row["geometry"]) for row in rows}


@pytest.mark.parametrize("form", ["geojson", "gpkg", "parquet", "fgb"])
def test_an_exported_day_is_what_is_staged(sample: Path, tmp_path: Path, form: str) -> None:
    path = exported(sample, tmp_path, form)
    frame = gpd.read_parquet(path) if form == "parquet" else gpd.read_file(path)
    assert len(frame) == 2370
    assert frame.crs.to_epsg() == 4326
    assert set(frame["day"].astype(str).str[:10]) == {"2019-04-21"}
    assert set(frame["as_of"].astype(str).str[:19].str.replace(" ", "T")) == {"2019-04-21T09:50:14"}
    assert set(frame["attribution"]) == {"© OpenStreetMap contributors"}
    assert "id" not in frame.columns
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    staged = staged_geometry(sample)
    for ref, geometry in zip(frame["source_ref"], frame.geometry, strict=True):
        assert shapely.normalize(geometry) == shapely.normalize(staged[ref])


def test_exported_geojson_is_rfc_7946(sample: Path, tmp_path: Path) -> None:
    document = json.loads(exported(sample, tmp_path, "geojson").read_text(encoding="utf-8"))
    assert "crs" not in document
    kinds = set()
    for feature in document["features"]:
        assert isinstance(feature["properties"]["tags"], dict)
        assert isinstance(feature["properties"]["categories"], list)
        assert type(feature["properties"]["osm_version"]) is int
        geometry = shapely.geometry.shape(feature["geometry"])
        kinds.add(geometry.geom_type)
        for part in shapely.get_parts(geometry):
            if part.geom_type == "Polygon":
                assert shapely.is_ccw(part.exterior)
                assert not any(shapely.is_ccw(ring) for ring in part.interiors)
    assert {"Point", "LineString", "Polygon", "MultiPolygon", "GeometryCollection"} <= kinds


def test_exported_csv_has_whole_geometries_and_json_as_text(sample: Path, tmp_path: Path) -> None:
    with exported(sample, tmp_path, "csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2370
    staged = staged_geometry(sample)
    for row in rows:
        assert shapely.normalize(shapely.from_wkt(row["geometry"])) == shapely.normalize(
            staged[row["source_ref"]]
        )
        assert isinstance(json.loads(row["tags"]), dict)
    assert {row["as_of"] for row in rows} == {"2019-04-21T09:50:14+00:00"}


def test_an_export_names_its_file_by_city_and_day(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke_in(sample, "export", *SAMPLE, "--format", "csv").exit_code == 0
    assert (tmp_path / "helsinki-2019-04-21.csv").exists()


@pytest.mark.parametrize("form", get_args(Format))
def test_helper_places_are_exported_by_source(
    two_days: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    engine = create_engine(f"sqlite:///{tmp_path}/staging.gpkg")
    sources = {"osm": {"node/1#toilets": "a"}, "feed:wc": {"1#toilets": "b", "2#atm": "c"}}
    stage_helpers(engine, "town", date(2024, 6, 1), sources)
    engine.dispose()
    day = ["--city", "town", "--day", "2024-06-01", "--dataset", "helper", "--format", form]
    assert two_days("export", *day).exit_code == 0
    result = two_days("export", *day, "--source", "feed:wc")
    name = f"town-helper-feed-wc-2024-06-01.{form}"
    assert result.output == f"2 helper places of town on 2024-06-01 written to {name}\n"
    assert (tmp_path / f"town-helper-2024-06-01.{form}").exists()
    if form == "csv":
        with (tmp_path / name).open(encoding="utf-8", newline="") as file:
            kinds = [row["kind"] for row in csv.DictReader(file)]
    else:
        read = gpd.read_parquet if form == "parquet" else gpd.read_file
        kinds = list(read(tmp_path / name)["kind"])
    assert sorted(kinds) == ["atm", "toilets"]


@pytest.mark.parametrize("form", get_args(Format))
def test_a_file_that_cannot_be_written_is_named(sample: Path, tmp_path: Path, form: str) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / f"out.{form}"
    result = invoke_in(sample, "export", *SAMPLE, "--format", form, "--output", str(path))
    assert result.exit_code == FAILED
    assert result.output.startswith(f"Error (file_not_written): {path} cannot be written")


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        (["run", "--city", "nowhere", "--day", "2024-06-01"], {}, "has no city 'nowhere'"),
        (["run", "--city", "town", "--day", "1.6.2024"], {}, "Use YYYY-MM-DD"),
        (["run", "--city", "town", "--day", "2001-01-01"], {}, "has no partition"),
        (["run", "--city", "town", "--day", "2999-01-01"], {}, "has no partition"),
        (["run", "--city", "town"], {}, "--day"),
        (["cities"], {"OSM_SOURCE": "floppy"}, "OSM_SOURCE"),
        (["cities"], {"CITIES_FILE": "/nowhere/cities.toml"}, "cannot be read"),
        (["runs"], {"DATABASE_URL": "", "DATA_DIR": "s3://bucket/lake"}, "DATABASE_URL"),
        (["export", "--city", "town", "--day", "2024-06-01", "--format", "shp"], {}, "shp"),
        (["do"], {}, "No such command"),
        (["backfill", "--all-cities", "--from", "2024-01-02", "--to", "2024-01-01"], {}, "--to"),
        (["backfill", *ONE_DAY], {}, "--all-cities"),
        (["backfill", *ONE_DAY, "--all-cities", "--city", "town"], {}, "--all-cities"),
        (["backfill", *ONE_DAY, "--city", "nowhere"], {}, "has no city 'nowhere'"),
    ],
)
def test_wrong_usage_is_told_in_a_sentence(
    invoke: Invoke, arguments: list[str], env: dict[str, str], words: str
) -> None:
    result = invoke(*arguments, env=env)
    assert result.exit_code == WRONG_USAGE
    assert words in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("url", "code", "exit_code"),
    [
        ("mysql://u:Unspeakable@h/db", "unsupported_database", FAILED),
        ("postgresql://u:Unspeakable@127.0.0.1:1/db", "database_unavailable", TRY_LATER),
    ],
)
def test_a_database_that_cannot_be_used_is_told_without_its_password(
    invoke: Invoke, url: str, code: str, exit_code: int
) -> None:
    result = invoke("runs", env={"DATABASE_URL": url})
    assert result.exit_code == exit_code
    assert result.output.startswith(f"Error ({code}): ")
    assert "Unspeakable" not in result.output


def test_a_database_without_tables_says_to_migrate(invoke: Invoke) -> None:
    result = invoke("runs")
    assert result.exit_code == FAILED
    assert "Run 'poi-ingest migrate'" in result.output


# run, where it cannot begin


def test_a_run_that_does_not_start_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    @dg.resource
    def without_processes() -> None:
        raise OSError("/proc is not mounted")

    @dg.op(required_resource_keys={"pipeline"})
    def work() -> None:
        raise AssertionError

    @dg.job(resource_defs={"pipeline": without_processes})
    def job() -> None:
        work()

    with pytest.raises(SystemExit) as left:
        run._report_failure(job.execute_in_process(raise_on_error=False))
    assert left.value.code == FAILED
    said = capsys.readouterr().err.splitlines()
    assert "Error: the run did not start: OSError: /proc is not mounted" in said


# notice


def test_a_notice_names_the_sources_of_what_is_staged(sample: Path) -> None:
    result = invoke_in(sample, "notice", "--city", "helsinki")
    assert result.exit_code == 0, result.output
    assert result.output == (
        "Data of Helsinki\n"
        "\n"
        "© OpenStreetMap contributors\n"
        "  For: poi from osm\n"
        "  Licence: Open Data Commons Open Database License v1.0 (ODbL-1.0), "
        "https://opendatacommons.org/licenses/odbl/1-0/\n"
        "  A database that is made from it and published has the same licence.\n"
    )


def test_a_notice_of_nothing_says_so(invoke: Invoke) -> None:
    invoke("migrate")
    result = invoke("notice", "--city", "town")
    assert result.exit_code == FAILED
    assert result.output == "No data of town is staged\n"


# run, where a check stops the day


@pytest.mark.server
def test_a_day_that_a_check_stops_is_staged_with_a_reason_and_shown_as_accepted(
    tmp_path: Path,
) -> None:
    extract = tmp_path / "town.osm.pbf"
    town = TOWN | {"osm_source": "extract", "osm_extract": str(extract)}
    write_cities(tmp_path / "cities.toml", [town])
    invoke_in(tmp_path, "migrate")
    cafes = {number: f"Café {number}" for number in range(1, 101)}
    write_extract(extract, cafes, spread=0.0005)
    good = invoke_in(tmp_path, "run", "--city", "town", "--day", "2024-06-01")
    assert good.exit_code == 0, good.output
    assert "\ncheck" not in good.output
    next_day = ["run", "--city", "town", "--day", "2024-06-02"]
    few = {number: name for number, name in cafes.items() if number <= 40}
    write_extract(extract, few, spread=0.0005, at=NOON + timedelta(days=1))
    stopped = invoke_in(tmp_path, *next_day)
    assert stopped.exit_code == FAILED
    assert "Error (stopped_by_check): town poi from osm on 2024-06-02 is not staged" in (
        stopped.output
    )
    blank = invoke_in(tmp_path, *next_day, "--accept", " ")
    assert blank.exit_code == WRONG_USAGE
    assert "say why the day's data is right" in blank.output
    accepted = invoke_in(tmp_path, *next_day, "--accept", "the quarter was torn down")
    assert accepted.exit_code == 0, accepted.output
    assert "counts: too few features: all 40" in accepted.output
    assert "the quarter was torn down" in accepted.output
    statuses = re.findall(r" (FAILED|SUCCEEDED) ", invoke_in(tmp_path, "runs").output)
    assert statuses == ["SUCCEEDED", "FAILED", "SUCCEEDED"]


# run, where feeds fail


def feed_at(path: Path, slug: str) -> dict[str, Any]:
    """Write the table of a feed that is a file."""
    return {**FOUNTAINS, "slug": slug, "location": str(path), "as_of": "record:changed"}


def write_fountains(path: Path, count: int = 20, *, broken: int = 0) -> None:
    """Write a CSV of fountains; the last ones have no id."""
    rows = [
        f"{number if number <= count - broken else ''};Well {number};"
        f"{24.91 + number / 500:.4f};60.17;2024-05-31"
        for number in range(1, count + 1)
    ]
    path.write_text("\n".join(["nr;название;x;y;changed", *rows]), encoding="cp1251")


@pytest.fixture
def fountains_twice(tmp_path: Path) -> Callable[[], Result]:
    """Run the helper places of a town with two feeds."""
    extract = write_nodes(tmp_path / "town.osm.pbf", {1: (24.95, 60.19, {"amenity": "toilets"})})
    feeds = [feed_at(tmp_path / f"{slug}.csv", slug) for slug in ("north", "south")]
    town = TOWN | {"osm_source": "extract", "osm_extract": str(extract), "feed": feeds}
    write_cities(tmp_path / "cities.toml", [town | {"bbox": list(BBOX)}])
    invoke_in(tmp_path, "migrate")
    command = ["run", "--job", "helpers_import", "--city", "town", "--day", f"{NOON:%Y-%m-%d}"]
    return lambda: invoke_in(tmp_path, *command)


@pytest.mark.server
def test_a_run_reports_each_source_as_the_ledger_does(
    fountains_twice: Callable[[], Result], tmp_path: Path
) -> None:
    write_fountains(tmp_path / "north.csv")
    write_fountains(tmp_path / "south.csv", 30, broken=4)
    whole = fountains_twice()
    assert whole.exit_code == 0, whole.output
    assert re.search(r"^rejected +4 objects$", whole.output, re.MULTILINE)
    assert re.search(r"^staged +47 helper places \(47 rows written\)", whole.output, re.MULTILINE)
    assert re.search(r"^compared +47 added, 0 changed", whole.output, re.MULTILINE)
    table = whole.output.partition("the sources:\n")[2].splitlines()
    assert [line.split() for line in table[:4]] == [
        ["source", "rows", "added", "changed", "removed", "rejected", "as", "of", "state"],
        ["osm", "1", "1", "0", "0", "0", "2024-06-01", "good"],
        ["feed:north", "20", "20", "0", "0", "0", "2024-05-31", "good"],
        ["feed:south", "26", "26", "0", "0", "4", "2024-05-31", "good"],
    ]
    assert max(map(len, table[:4])) <= 80


@pytest.mark.server
@pytest.mark.parametrize(
    ("there", "code", "words"),
    [
        (("north",), SOME_FEEDS_FAILED, "SUCCEEDED, but some of its feeds failed"),
        ((), ALL_FEEDS_FAILED, "SUCCEEDED, but all of its feeds failed"),
    ],
)
def test_a_run_tells_that_feeds_failed_and_why_and_by_its_exit_code(
    fountains_twice: Callable[[], Result],
    tmp_path: Path,
    there: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    for slug in there:
        write_fountains(tmp_path / f"{slug}.csv")
    result = fountains_twice()
    assert result.exit_code == code
    assert f"Town, 2024-06-01: {words}\n" in result.output
    report = result.output.partition("the sources:\n")[2]
    south = report[report.index("feed:south") :]
    assert south.splitlines()[0].split()[-2:] == ["-", "missing"]
    assert "feed_not_found: " in south
    listed = " ".join(invoke_in(tmp_path, "runs").output.split())
    assert ("partial: feed:south" if there else "feeds_failed: feed:north, feed:south") in listed


# Upstream servers


def test_what_servers_were_asked_for_is_listed_with_their_budgets(
    invoke: Invoke, tmp_path: Path
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/staging.gpkg")
    migrate(engine)
    now = SystemClock().now()
    server = Server("overpass", "overpass.example:443")
    for moment in (now - timedelta(days=7), now - timedelta(days=6), now):
        upstream.count_request(engine, server, Budget(), now=moment)
    upstream.count_bytes(engine, server, 1234, now=now)
    engine.dispose()
    result = invoke("upstream", env={"OVERPASS_DAILY_BYTES": "0"})
    assert result.exit_code == 0
    _, *lines = result.output.splitlines()
    assert [line.split() for line in lines if "overpass" in line] == [
        [f"{now:%Y-%m-%d}", *server, "1", "10,000", "1,234", "-"],
        [f"{now - timedelta(days=6):%Y-%m-%d}", *server, "1", "10,000", "0", "-"],
    ]
    assert "in progress" not in result.output
