"""What the previous release staged counts as staged, and no row of it is written again.

`support/previous_release.zip` holds the database and the lake of an invented town as that release
left them. `scripts/previous_release.py fixture COMMIT` makes it.
"""

from __future__ import annotations

import json
import sys
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest
import sqlalchemy as sa

from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.datasets import rules
from ingestion_pipeline.datasets.code_digest import NOT_SHAPING, Code
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.datasets.rules import FEED_CODE, rules_of_feeds
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.selection import POIS
from ingestion_pipeline.plan import look, plan
from ingestion_pipeline.sources.overpass import client as overpass
from ingestion_pipeline.staging.tables import (
    helper_place,
    ingestion_rejection,
    poi_ingestion_staging,
    staged_partition,
)
from ingestion_pipeline_tests.support.installation import (
    Installation,
    ScriptedClock,
    contents,
    installed,
    overpass_cafes,
    town_boundary,
    why,
)
from ingestion_pipeline_tests.support.overpass_server import overpass_json
from testbed.towns import TOWN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

ARCHIVE = Path(__file__).parents[1] / "support" / "previous_release.zip"
SATURDAY, SUNDAY = date(2024, 6, 1), date(2024, 6, 2)
LATER = datetime(2024, 6, 20, 12, tzinfo=UTC)
TABLES = (poi_ingestion_staging, helper_place, ingestion_rejection, staged_partition)
STAGED = [("osm_import", SATURDAY), ("osm_import", SUNDAY), ("helpers_import", SATURDAY)]
RULES_OF = {"osm_import": {"poi"}, "helpers_import": {"helper", "feed"}}
SAME_ROWS = [each for each in STAGED if RULES_OF[each[0]] <= rules.proven_rules().keys()]
"""Those of which this release makes the rows of the previous one. It makes other rows of the rest
purpose; the changelog says which."""


@dataclass
class Upgraded:
    """The town as the previous release left it, under this one."""

    here: Installation

    def rows(self) -> dict[str, list[object]]:
        """All that is staged, the runs and times of it included."""
        return contents(self.here.engine, but=frozenset(), tables=TABLES)

    def frames(self) -> dict[str, bytes]:
        folder = self.here.folder / "lake" / "frames"
        return {str(path): path.read_bytes() for path in folder.rglob("*.parquet")}

    def written(self, job: str, day: date) -> int:
        """Run a job for a day; return how many rows it wrote."""
        earlier = {run.id for run in self.here.ledger()}
        result = self.here.run(f"town|{day}", job_type=job)
        assert result.success, why(result)
        (run,) = (run for run in self.here.ledger() if run.id not in earlier)
        assert run.status == "SUCCEEDED"
        assert run.counts is not None
        return int(run.counts["written"])

    def planned(self, job: str, day: date) -> str:
        city = self.here.workshop.cities.get("town")
        kept = look(
            self.here.workshop.lake,
            self.here.engine,
            city,
            [day],
            dataset=DATASETS["poi" if job == "osm_import" else "helper"],
        )
        settings = self.here.workshop.settings
        (planned,) = plan(city, [day], settings=settings, kept=kept, now=LATER)
        return planned.way


@pytest.fixture
def upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upgraded]:
    with ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    versions = json.loads((tmp_path / "versions.json").read_text())
    monkeypatch.setattr(rules, "_version_of", versions.__getitem__)
    cities = tomllib.loads((tmp_path / "town.toml").read_text(encoding="utf-8"))["city"]
    url = f"sqlite:///{tmp_path}/staging.gpkg"
    clock = ScriptedClock(LATER)
    with installed(tmp_path, url, cities=cities, clock=clock) as here:
        yield Upgraded(here)


@contextmanager
def other_rules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing be proven, as after a change of the code."""
    with monkeypatch.context() as patched:
        patched.setattr(rules, "proven_rules", dict)
        rules.rules_of.cache_clear()
        yield
    rules.rules_of.cache_clear()


@pytest.mark.parametrize(("job", "day"), SAME_ROWS)
def test_a_day_of_the_previous_release_counts_as_staged(
    upgraded: Upgraded, job: str, day: date
) -> None:
    assert upgraded.planned(job, day) == "staged"


@pytest.mark.parametrize(("job", "day"), SAME_ROWS)
def test_a_run_of_it_writes_nothing(upgraded: Upgraded, job: str, day: date) -> None:
    rows, frames = upgraded.rows(), upgraded.frames()
    assert upgraded.written(job, day) == 0
    assert upgraded.rows() == rows
    assert upgraded.frames() == frames


@pytest.mark.parametrize(("job", "day"), STAGED)
def test_a_day_whose_rows_change_on_purpose_is_made_again_from_its_snapshot(
    upgraded: Upgraded, job: str, day: date
) -> None:
    is_same = (job, day) in SAME_ROWS
    assert upgraded.planned(job, day) == ("staged" if is_same else "snapshot")
    upgraded.written(job, day)
    assert upgraded.planned(job, day) == "staged"
    assert upgraded.written(job, day) == 0


def test_its_days_and_those_of_this_release_are_made_by_the_same_rules(upgraded: Upgraded) -> None:
    table = staged_partition.c
    with upgraded.here.engine.connect() as connection:
        query = sa.select(table.dataset, table.source, table.rules_version).distinct()
        named = {(dataset, source): name for dataset, source, name in connection.execute(query)}
    poi, helper = (DATASETS[name].rules_version for name in ("poi", "helper"))
    now = {
        ("poi", "osm"): poi,
        ("helper", "osm"): helper,
        ("helper", "feed:fountains"): f"{rules_of_feeds().name}; {helper}",
    }
    same = {DATASETS["poi" if job == "osm_import" else "helper"].name for job, _ in SAME_ROWS}
    assert {key: name for key, name in named.items() if name == now[key]} == {
        key: name for key, name in now.items() if key[0] in same
    }


@pytest.mark.parametrize(("job", "day"), SAME_ROWS)
def test_under_other_rules_its_days_are_made_again_and_no_row_changes(
    upgraded: Upgraded, monkeypatch: pytest.MonkeyPatch, job: str, day: date
) -> None:
    versions = [each for each in TABLES if each is not staged_partition]
    detail = frozenset({"detail"})  # a message, whose wording is no rule
    rows = contents(upgraded.here.engine, but=detail, tables=versions)
    with other_rules(monkeypatch):
        assert upgraded.planned(job, day) == "snapshot"
        assert upgraded.written(job, day) == 0
        assert upgraded.planned(job, day) == "staged"
    assert contents(upgraded.here.engine, but=detail, tables=versions) == rows


IN_MESSAGES = {
    "ingestion_pipeline.config.feeds:Feed",
    "ingestion_pipeline.core.locations:_without_secrets",
    "ingestion_pipeline.core.locations:redacted",
}
"""What only writes the address of a feed without its secrets, for messages."""


@dataclass
class Calls:
    """What of the package is called while one of its entry points runs, by module and name.

    Attributes:
        entries: The entry points.
        called: What was called; the entry points themselves, where they were.
    """

    entries: frozenset[tuple[str, str]]
    called: set[tuple[str, str]] = field(default_factory=set)
    _running: int = 0

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event not in ("call", "return"):
            return
        place = (frame.f_globals.get("__name__", ""), frame.f_code.co_qualname.partition(".")[0])
        is_entry = place in self.entries
        if event == "return":
            self._running -= is_entry
            return
        self._running += is_entry
        if (
            self._running
            and place[0].startswith("ingestion_pipeline.")
            and "<"
            not in (
                place[1][:1]
                + frame.f_code.co_filename[:1]  # a module that is imported, generated code
            )
        ):
            self.called.add(place)


def test_all_that_is_called_while_rows_are_shaped_counts_as_rules(
    upgraded: Upgraded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = {*FEED_CODE, *(entry for each in DATASETS.values() for entry in each.code)}
    calls = Calls(
        frozenset((home, name) for home, _, name in (each.partition(":") for each in names))
    )
    answer = tmp_path / "answer.json"
    answer.write_bytes(overpass_json(overpass_cafes({1: "One"}), boundary=[town_boundary()]))
    with other_rules(monkeypatch):
        sys.setprofile(calls)
        try:
            for job, day in STAGED:
                upgraded.written(job, day)
            overpass.read([answer], area=Area(Bbox(*TOWN["bbox"]), 7), selection=POIS)
        finally:
            sys.setprofile(None)
    code = Code()
    needed = code.needed(names)
    unseen = {
        f"{home}:{name}"
        for home, name in calls.called
        if home not in NOT_SHAPING and not code.needed([f"{home}:{name}"]) <= needed
    }
    assert unseen == IN_MESSAGES
    assert len(calls.called) > 100
