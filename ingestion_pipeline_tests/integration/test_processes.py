"""The installed command in processes of its own: side by side, killed, terminated."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from ingestion_pipeline.cli.output import FAILED, INTERRUPTED, KEY_HELD, TRY_LATER
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.tables import (
    ingestion_run,
    poi_ingestion_staging,
    staged_partition,
)
from ingestion_pipeline_tests.support.installation import TODAY, contents, overpass_cafes
from ingestion_pipeline_tests.support.overpass_server import (
    OverpassServer,
    Reply,
    overpass_json,
    refusing_url,
)
from ingestion_pipeline_tests.support.staged import poi_rows
from testbed.claims import claim_key, evidence_of, replace_slice, slice_of
from testbed.towns import NOON, TOWN, write_cities, write_extract

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ingestion_pipeline_tests.support.overpass_server import Request

POI_INGEST = Path(sys.executable).with_name("poi-ingest")
LONG_ENOUGH_S = 120


@dataclass(frozen=True)
class Desk:
    """Where a person has the command installed, with settings in the environment."""

    folder: Path
    database_url: str
    settings: Mapping[str, str]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command."""
        own = {"DATABASE_URL", "DATA_DIR", "CITIES_FILE", "OSM_SOURCE", "OSM_EXTRACT"}
        own |= {"OVERPASS_URL", "OVERPASS_CONTACT", "PARTITIONS_START"}
        environment = {name: value for name, value in os.environ.items() if name not in own}
        environment |= {
            "DATABASE_URL": self.database_url,
            "DATA_DIR": str(self.folder / "lake"),
            "CITIES_FILE": str(self.folder / "cities.toml"),
            "DAGSTER_HOME": str(self.folder / "dagster_home"),
            "STATE_DIR": str(self.folder / "state"),
        }
        return subprocess.Popen(
            [POI_INGEST, *arguments],
            env=environment | dict(self.settings),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ledger(self) -> list[tuple[str, str | None]]:
        """Give the status and the error of every run, in the order in which they were started."""
        with self.engine() as engine, engine.connect() as connection:
            query = sa.select(ingestion_run.c.status, ingestion_run.c.error_code)
            rows = connection.execute(query.order_by(ingestion_run.c.requested_at))
            return [(row.status, row.error_code) for row in rows]

    def staged(self) -> dict[str, list[str]]:
        with self.engine() as engine:
            return contents(engine, tables=[poi_ingestion_staging, staged_partition])

    @contextmanager
    def engine(self) -> Iterator[sa.Engine]:
        engine = create_engine(self.database_url)
        yield engine
        engine.dispose()


def desk_in(folder: Path, database_url: str, **settings: str) -> Desk:
    """Set a desk up: a migrated database and the invented town."""
    desk = Desk(folder, database_url, settings)
    write_cities(folder / "cities.toml", [TOWN])
    with desk.engine() as engine:
        migrate(engine)
    return desk


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a process; give its exit code, and what it wrote."""
    output, errors = process.communicate(timeout=LONG_ENOUGH_S)
    assert "Traceback" not in errors
    assert "Warning" not in errors
    return process.returncode, output, errors


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def good_reply() -> Reply:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Reply(body=overpass_json(overpass_cafes({1: "A", 2: "B"}), base=now))


class Gate:
    """An upstream that lets every request wait until the test opens it."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.opened = threading.Event()

    def __call__(self, request: Request) -> Reply:
        del request
        self.asked.set()
        assert self.opened.wait(LONG_ENOUGH_S)
        return good_reply()


# Side by side


def test_of_two_processes_for_one_city_day_one_works_and_the_other_names_it(
    tmp_path: Path, database_url: str
) -> None:
    gate = Gate()
    with OverpassServer(gate) as server:
        desk = desk_in(tmp_path, database_url, OVERPASS_URL=server.url)
        first = desk.start("run", "--city", "town", "--day", (day := today()))
        assert gate.asked.wait(LONG_ENOUGH_S)
        code, output, errors = ended(desk.start("run", "--city", "town", "--day", day))
        with desk.engine() as engine, engine.connect() as connection:
            holding = sa.select(ingestion_run).where(ingestion_run.c.status == "RUNNING")
            (holder,) = connection.execute(holding).all()
        gate.opened.set()
        assert code == KEY_HELD
        assert output == ""
        assert "Error (key_held)" in errors
        assert holder.dagster_run_id in errors
        code, output, _ = ended(first)
        assert code == 0
        assert "SUCCEEDED" in output
        assert len(server.requests) == 1
    assert desk.ledger() == [("SUCCEEDED", None), ("FAILED", "key_held")]


def test_two_processes_at_the_same_moment_stage_the_day_once(
    tmp_path: Path, postgis_url: str
) -> None:
    with OverpassServer(lambda _: good_reply()) as server:
        desk = desk_in(tmp_path, postgis_url, OVERPASS_URL=server.url)
        both = [desk.start("run", "--city", "town", "--day", today()) for _ in range(2)]
        ends = [ended(process) for process in both]
        codes = sorted(code for code, _, _ in ends)
        assert codes in ([0, 0], [0, KEY_HELD]), ends
        assert len(server.requests) == 1
    with desk.engine() as engine, engine.connect() as connection:
        came = connection.execute(sa.select(ingestion_run)).all()
    first, second = sorted((run.counts or {}).get("written", 0) for run in came)
    assert (first, second) == (0, 2)
    # The other one met it at work, waited for its commit, or came when all was over.
    others = (
        {("FAILED", "key_held")}
        if KEY_HELD in codes
        else {
            ("CANCELED", "already_staged"),
            ("SUCCEEDED", None),
        }
    )
    ledger = desk.ledger()
    ledger.remove(("SUCCEEDED", None))
    assert set(ledger) <= others


def test_a_process_whose_day_another_one_stages_meanwhile_says_so_and_ends_well(
    tmp_path: Path,
) -> None:
    desk = desk_in(tmp_path, f"sqlite:///{tmp_path}/staging.gpkg", OVERPASS_URL=refusing_url())
    with desk.engine() as engine:
        # A little ahead, so that it ended after the process below is started; not so far that
        # nobody believes it.
        later = datetime.now(UTC) + timedelta(seconds=45)
        held = claim_key(engine, "town", TODAY, boundary_ref="bbox:10,50,10.1,50.1")
        replace_slice(
            engine,
            slice_of("town", TODAY),
            poi_rows({"node/1": "a"}),
            rejections=(),
            evidence=evidence_of(TODAY),
            claim=held,
            now=later,
        )
    code, output, errors = ended(desk.start("run", "--city", "town", "--day", str(TODAY)))
    assert code == 0, errors
    assert output.startswith(f"\nTown, {TODAY}: nothing to do: osm_import|town|bbox:")
    assert f"was staged by Dagster run {held.dagster_run_id}" in output
    assert sorted(desk.ledger()) == [("CANCELED", "already_staged"), ("SUCCEEDED", None)]


# Terminated


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_terminated_process_ends_its_run_as_canceled(
    tmp_path: Path, number: signal.Signals
) -> None:
    gate = Gate()
    with OverpassServer(gate) as server:
        desk = desk_in(tmp_path, f"sqlite:///{tmp_path}/staging.gpkg", OVERPASS_URL=server.url)
        process = desk.start("run", "--city", "town", "--day", today())
        assert gate.asked.wait(LONG_ENOUGH_S)
        process.send_signal(number)
        code, output, errors = ended(process)
        gate.opened.set()
    assert (code, output) == (INTERRUPTED, "")
    assert errors.rstrip().endswith("Interrupted: nothing was staged")
    assert desk.ledger() == [("CANCELED", "interrupted")]


# Killed

CAFES = 6_000
KILLS = 4


@dataclass(frozen=True)
class Pace:
    """How long an undisturbed run takes, in seconds from its start."""

    normalized: float
    staged: float


def start_refetch(desk: Desk, edition: int) -> subprocess.Popen[str]:
    """Start a run of a day whose extract has a new name for every café."""
    cafes = {number: f"{edition}-{number}" for number in range(1, CAFES + 1)}
    write_extract(desk.folder / "town.osm.pbf", cafes, at=NOON, spread=0.09 / CAFES)
    return desk.start("run", "--city", "town", "--day", str(TODAY), "--refetch")


def seconds_until(process: subprocess.Popen[str], word: str) -> float:
    """Read what a process tells of its work until a word comes; give how long that took."""
    begun = time.monotonic()
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return time.monotonic() - begun
    raise AssertionError(f"the process ended without a word of {word!r}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[str]], Pace]:
    """What a run that nobody kills makes of the last edition, and how fast."""
    folder = tmp_path_factory.mktemp("undisturbed")
    extract = str(folder / "town.osm.pbf")
    desk = desk_in(folder, f"sqlite:///{folder}/staging.gpkg", **from_extract(extract))
    process = start_refetch(desk, KILLS)
    normalized = seconds_until(process, "normalized")
    staged = normalized + seconds_until(process, "staged")
    assert ended(process)[0] == 0
    return without_place(desk.staged(), extract), Pace(normalized, staged)


def from_extract(path: str) -> dict[str, str]:
    return {"OSM_SOURCE": "extract", "OSM_EXTRACT": path}


def without_place(tables: dict[str, list[str]], path: str) -> dict[str, list[str]]:
    """Take out of the evidence where the extract was."""
    return {name: [row.replace(path, "") for row in rows] for name, rows in tables.items()}


def test_whenever_a_process_is_killed_the_next_one_puts_everything_right(
    tmp_path: Path, database_url: str, undisturbed: tuple[dict[str, list[str]], Pace]
) -> None:
    expected, pace = undisturbed
    extract = str(tmp_path / "town.osm.pbf")
    desk = desk_in(tmp_path, database_url, **from_extract(extract))
    chance = random.Random(20240601)
    for edition in range(KILLS):
        process = start_refetch(desk, edition)
        if edition % 2:  # before the rows are written, which no pace of the machine can change
            seconds_until(process, "fetched" if edition == 1 else "normalized")
        else:  # while they are written, or about when that is committed
            seconds_until(process, "normalized")
            time.sleep(chance.uniform(0.5, 1.05) * (pace.staged - pace.normalized))
        process.kill()
        process.communicate(timeout=LONG_ENOUGH_S)
    code, output, _ = ended(start_refetch(desk, KILLS))
    assert code == 0
    assert f"{CAFES:,} POIs" in output
    assert without_place(desk.staged(), extract) == expected
    *killed, last = desk.ledger()
    assert last == ("SUCCEEDED", None)
    # A run that was killed after its commit has succeeded, and the ledger says so.
    assert set(killed) <= {("FAILED", "run_died"), ("SUCCEEDED", None)}
    assert ("FAILED", "run_died") in killed


# What a person sees


def test_the_sample_is_staged_from_the_empty_folder_on(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "", {"CITIES_FILE": ""})
    days = ("2021-04-21", "2023-12-26")
    sample = ["--city", "monaco", "--day", days[1]]
    code, output, errors = ended(desk.start("run", *sample))
    assert (code, output) == (FAILED, "")
    assert "Error (database_not_migrated)" in errors
    assert "poi-ingest migrate" in errors
    code, output, _ = ended(desk.start("migrate"))
    assert (code, output) == (0, f"sqlite:///{tmp_path}/lake/staging.gpkg is at head\n")
    assert ended(desk.start("run", "--city", "monaco", "--day", days[0]))[0] == 0
    code, output, errors = ended(desk.start("run", *sample))
    assert code == 0
    assert "Monaco, 2023-12-26: SUCCEEDED" in output
    assert "431 added, 619 changed, 62 removed against the staged day" in output
    *table, place = output.rsplit("the rows are in", 1)
    assert place.split() == [
        *(f"sqlite:///{tmp_path}/lake/staging.gpkg,", "table", "poi_ingestion_staging"),
    ]
    words = re.findall(r"^\d\d:\d\d:\d\d (\w+)", errors, re.MULTILINE)
    assert words == ["fetched", "normalized", "staged"]
    assert max(map(len, table[0].splitlines())) <= 80
    file = tmp_path / "monaco.html"
    code, output, _ = ended(desk.start("map", *sample, "--from", days[0], "--out", str(file)))
    assert code == 0
    *sentence, path = output.splitlines()
    assert Path(path) == file
    assert file.read_text("utf-8").startswith("<!doctype html>")
    assert " ".join(" ".join(sentence).split()) == (
        "a map of what changed in monaco, 2021-04-21 to 2023-12-26: 431 added, 619 changed "
        "(241 of them moved), 62 removed:"
    )
    code, output, _ = ended(desk.start("run", *sample))
    assert code == 0
    assert "(0 rows written: nothing has changed)" in output
    assert (tmp_path / "dagster_home" / "dagster.yaml").exists()


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({}, FAILED, "Error (overpass_not_configured): town uses Overpass"),
        ({"OVERPASS_URL": "stale"}, TRY_LATER, "Error (stale_upstream): "),
        ({"OSM_SOURCE": "extract", "OSM_EXTRACT": refusing_url()}, TRY_LATER, "unreachable"),
        ({"OSM_SOURCE": "extract", "OSM_EXTRACT": "gone.osm.pbf"}, FAILED, "not_found"),
    ],
    ids=["nothing configured", "stale", "unreachable", "no such file"],
)
def test_a_run_that_fails_says_why_in_a_sentence_and_by_its_exit_code(
    tmp_path: Path, settings: dict[str, str], code: int, words: str
) -> None:
    stale = Reply(body=overpass_json(overpass_cafes({1: "A"}), base="2020-01-01T00:00:00Z"))
    with OverpassServer(stale) as server:
        if "OVERPASS_URL" in settings:
            settings = {"OVERPASS_URL": server.url}
        desk = desk_in(tmp_path, f"sqlite:///{tmp_path}/staging.gpkg", **settings)
        told, output, errors = ended(desk.start("run", "--city", "town", "--day", today()))
    assert told == code
    assert output == ""
    assert words in errors.splitlines()[-1]
    assert len(errors.splitlines()) == 1, errors
    assert [status for status, _ in desk.ledger()] == ["FAILED"]
