"""Documents and code say the same."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import tomllib
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_type_hints

import click
import numpy as np
import pyarrow as pa
import pytest
import shapely
import sqlalchemy as sa
from click.testing import CliRunner

import ingestion_pipeline
from ingestion_pipeline.admin_api import problems
from ingestion_pipeline.cli import main as cli
from ingestion_pipeline.cli.output import (
    ALL_FEEDS_FAILED,
    FAILED,
    INTERRUPTED,
    KEY_HELD,
    SOME_FEEDS_FAILED,
    TRY_LATER,
    WRONG_USAGE,
)
from ingestion_pipeline.columns.hashing import with_content_hash
from ingestion_pipeline.config.feeds import AsOfSource
from ingestion_pipeline.config.settings import Settings
from ingestion_pipeline.core import evidence, rejection
from ingestion_pipeline.core.errors import IngestionError
from ingestion_pipeline.core.manual import codes
from ingestion_pipeline.core.rejection import Rejection
from ingestion_pipeline.datasets.base import SOURCE
from ingestion_pipeline.defs import reconcile, work
from ingestion_pipeline.defs.coverage import HOUR
from ingestion_pipeline.geometry.points import representative_points
from ingestion_pipeline.helpers import vocabulary
from ingestion_pipeline.helpers.licences import LICENCES
from ingestion_pipeline.osm import features
from ingestion_pipeline.osm.taxonomy import Status
from ingestion_pipeline.quality.catalogue import CHECKS, COVERAGE
from ingestion_pipeline.quality.census import NEW_LEVEL_DAYS
from ingestion_pipeline.quality.counts import (
    CHANGE_PER_DAY,
    LARGEST_WANDER,
    LEAST_REACH,
    LEAST_REACH_OF_CATEGORY,
    SIZEABLE,
    STRICTNESS,
)
from ingestion_pipeline.sources.feed.read import FeedRejectionReason
from ingestion_pipeline.sources.registry import SOURCES
from ingestion_pipeline.staging import outcomes, runs, tables
from ingestion_pipeline.staging.days import Change
from ingestion_pipeline.staging.errors import DatabaseUnavailable
from ingestion_pipeline.staging.history import HISTORY_DAYS
from ingestion_pipeline.staging.tables import VIEWS
from ingestion_pipeline.staging.views import definitions
from ingestion_pipeline_tests.support.feed_server import TOILETS, feed_of
from ingestion_pipeline_tests.support.staged import poi_rows, stage_helpers
from scripts.build_cities_schema import schema as cities_schema
from testbed.claims import NOW, claim_key, evidence_of, replace_slice, slice_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
BASE_URLS = ("http://", "https://", "mailto:")
SOURCE_SUFFIXES = {".md", ".py", ".toml", ".yaml", ".yml", ".json", ".txt", ".cfg", ""}
SOURCE_FOLDERS = ("ingestion_pipeline", "ingestion_pipeline_tests", "migrations", "scripts",
                  "benchmarks", "testbed", "docs", ".ci")  # fmt: skip


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


OPERATIONS = text_of(DOCS / "operations.md")
ERRORS = text_of(DOCS / "errors.md")
DICTIONARY = text_of(DOCS / "data-dictionary.md")


def without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def section(text: str, heading: str) -> str:
    """Give what stands between a heading and the next one of its level or above."""
    lines = without_fences(text).splitlines()
    start = lines.index(heading)
    level = heading.index(" ")
    for end in range(start + 1, len(lines)):
        if re.match(rf"#{{1,{level}}} ", lines[end]):
            return "\n".join(lines[start:end])
    return "\n".join(lines[start:])


def rows_of(text: str) -> list[list[str]]:
    """Give the cells of all tables of a text, without their heads."""
    rows = []
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        is_rule = re.fullmatch(r"\|[-|: ]+\|", line)
        is_head = re.fullmatch(r"\|[-|: ]+\|", following)
        if line.startswith("|") and not is_rule and not is_head:
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def first_words(text: str) -> list[str]:
    """Give the first cell of each row, without its backticks."""
    return [row[0].strip("`") for row in rows_of(text)]


@cache
def error_classes() -> frozenset[type[IngestionError]]:
    """Give every error of the project that is not merely the root of others."""
    for module in pkgutil.walk_packages(ingestion_pipeline.__path__, "ingestion_pipeline."):
        importlib.import_module(module.name)

    def below(error: type[IngestionError]) -> Iterator[type[IngestionError]]:
        yield error
        for child in error.__subclasses__():
            yield from below(child)

    ours = {error for error in below(IngestionError) if is_ours(error)}
    roots = {e for e in ours if any(is_ours(child) for child in e.__subclasses__())}
    return frozenset(ours - roots) | {DatabaseUnavailable}  # raised itself, and the root of others


def is_ours(error: type[IngestionError]) -> bool:
    return error.__module__.startswith("ingestion_pipeline.")


def ledger_codes() -> set[str]:
    """Give the codes that are written to the ledger without an error that has them."""
    written = re.findall(r'\b_end\(\s*\w+,\s*claim,\s*"(\w+)"', inspect.getsource(work))
    named = [
        code
        for module in (runs, reconcile)
        for code in re.findall(r'^[A-Z_]+ = "(\w+)"$', inspect.getsource(module), re.MULTILINE)
    ]
    return {*written, *named} - {error.code for error in error_classes()}


class TestSettings:
    def test_the_table_has_one_row_for_each_setting(self) -> None:
        documented = first_words(section(OPERATIONS, "## Settings"))
        assert documented == [name.upper() for name in Settings.model_fields]

    def test_the_table_tells_the_defaults(self) -> None:
        documented = {row[0].strip("`"): row[1] for row in rows_of(OPERATIONS) if len(row) == 3}
        for name, field in Settings.model_fields.items():
            expected = "unset" if field.default is None else f"`{field.default}`"
            assert documented[name.upper()] == expected, name


def commands_of(group: click.Group, *before: str) -> Iterator[tuple[str, click.Command]]:
    """Give every command with its whole name, a group's own first."""
    for name, command in group.commands.items():
        yield " ".join([*before, name]), command
        if isinstance(command, click.Group):
            yield from commands_of(command, *before, name)


class TestCommandLine:
    def test_every_command_and_option_is_documented_and_no_other(self) -> None:
        documented = {
            row[0].strip("`").removeprefix("poi-ingest "): set(re.findall(r"`(--[\w-]+)`", row[1]))
            for row in rows_of(section(OPERATIONS, "## Commands"))
        }
        actual = {
            name: {
                option
                for parameter in command.params
                if isinstance(parameter, click.Option)
                for option in parameter.opts
                if option.startswith("--")
            }
            for name, command in commands_of(cli.main)
        }
        assert documented == actual

    def test_the_choices_of_an_option_are_documented(self) -> None:
        choices = {
            choice
            for parameter in cli.main.commands["export"].params
            if isinstance(parameter.type, click.Choice)
            for choice in parameter.type.choices
        }
        assert choices >= {"csv", "helper"}
        commands = section(OPERATIONS, "## Commands")
        assert all(f"`{name}`" in commands for name in choices)

    def test_the_exit_codes_are_documented_and_no_other(self) -> None:
        staged = {0, SOME_FEEDS_FAILED, ALL_FEEDS_FAILED}
        failed = {FAILED, WRONG_USAGE, KEY_HELD, TRY_LATER, INTERRUPTED}
        documented = set(map(int, first_words(section(OPERATIONS, "## Exit codes"))))
        assert documented == staged | failed


class TestErrors:
    def test_every_code_is_in_the_table_once_and_no_other(self) -> None:
        documented = first_words(ERRORS)
        assert len(documented) == len(set(documented))
        assert set(documented) == {error.code for error in error_classes()} | ledger_codes()

    def test_the_table_tells_which_errors_a_later_try_may_mend(self) -> None:
        documented = {
            row[0].strip("`"): row[1] for row in rows_of(ERRORS) if row[1] in {"yes", "no"}
        }
        assert documented == {
            error.code: "yes" if error.should_retry else "no" for error in error_classes()
        }

    def test_the_table_is_what_the_command_prints(self) -> None:
        known = codes()
        assert {error.code for error in error_classes()} | ledger_codes() <= set(known)
        for code, entry in known.items():
            result = CliRunner().invoke(cli.main, ["error", code])
            assert result.exit_code == 0, code
            printed = " ".join(result.output.split())
            assert entry.what_happened in printed
            assert entry.what_to_do in printed
            assert not re.search(r"`|\]\(|\.md\b", printed), code

    def test_every_code_of_the_admin_api_is_known_to_the_command(self) -> None:
        types = (each for each in vars(problems).values() if isinstance(each, problems.ProblemType))
        kinds = {each.code for each in types}
        assert kinds <= set(codes())

    def test_the_command_lists_every_code(self) -> None:
        result = CliRunner().invoke(cli.main, ["error"])
        assert [line.split()[0] for line in result.output.splitlines()] == list(codes())

    def test_an_unknown_code_is_wrong_usage_and_a_similar_one_is_named(self) -> None:
        result = CliRunner().invoke(cli.main, ["error", "key_hold"])
        assert result.exit_code == WRONG_USAGE
        assert "did you mean 'key_held'?" in result.output

    def test_each_error_has_a_code_of_its_own(self) -> None:
        codes = [error.code for error in error_classes()]
        assert len(codes) == len(set(codes))

    def test_the_ledgers_own_codes_are_found_in_the_source(self) -> None:
        assert ledger_codes() == {
            "already_staged",
            "interrupted",
            "never_started",
            "no_such_job",
            "not_staged",
            "run_died",
            "unexpected_error",
        }


def source_of_feeds() -> str:
    """Give the source of a feed's places, with `<slug>` where the feed's slug stands."""
    feed = feed_of(TOILETS)
    return feed.source.replace(feed.slug, "<slug>")


class TestDataDictionary:
    @pytest.mark.parametrize("table", tables.metadata.sorted_tables, ids=lambda table: table.name)
    def test_every_column_of_a_table_is_documented_in_order(self, table: sa.Table) -> None:
        heading = f"## `{table.name}`"
        before_subsections = section(DICTIONARY, heading).split("\n### ")[0]
        assert first_words(before_subsections) == [column.name for column in table.columns]

    @pytest.mark.parametrize("table", tables.metadata.sorted_tables, ids=lambda table: table.name)
    def test_the_dictionary_tells_which_columns_are_never_null(self, table: sa.Table) -> None:
        for row in rows_of(section(DICTIONARY, f"## `{table.name}`").split("\n### ")[0]):
            column = table.columns[row[0].strip("`")]
            assert (row[3] == "never") == (not column.nullable), column.name

    def test_no_other_table_is_documented(self) -> None:
        headings = set(re.findall(r"^## `(\w+)`$", DICTIONARY, re.MULTILINE))
        assert headings == set(tables.metadata.tables)

    @pytest.mark.parametrize("dataset", VIEWS)
    @pytest.mark.parametrize(
        ("heading", "kind"),
        [("### Current", "current"), ("### Days", "day"), ("### Changes", "change")],
    )
    def test_every_column_of_a_view_is_documented_in_order(
        self, dataset: str, heading: str, kind: str
    ) -> None:
        name = getattr(VIEWS[dataset], kind)
        content = tables.content_columns(tables.VERSION_TABLES[dataset])
        stand_for = {"*content*": content, "*class*": (tables.CLASS_COLUMNS[dataset],)}
        documented = [
            column
            for word in first_words(section(DICTIONARY, heading))
            for column in stand_for.get(word, (word,))
        ]
        assert documented == definitions()[name].selected_columns.keys()
        assert f"`{name}`" in section(DICTIONARY, heading)

    @pytest.mark.parametrize(
        ("heading", "values"),
        [
            ("### `geom_quality`", get_args(features.GeomQuality)),
            ("### `status`", get_args(Status)),
            ("### `access`", get_args(vocabulary.Access)),
            ("### `fee`", get_args(vocabulary.Fee)),
            ("### `wheelchair`", get_args(vocabulary.Wheelchair)),
            ("### Status of a helper place", get_args(vocabulary.Status)),
            ("### Source of a helper place", (SOURCE, source_of_feeds())),
            (
                "### `reason`",
                {*get_args(rejection.RejectionReason), *get_args(FeedRejectionReason)},
            ),
            (
                "### `as_of_source`",
                {*get_args(evidence.OsmAsOfSource), *get_args(AsOfSource)},
            ),
            ("### `obtained`", {*SOURCES, "feed"}),
            ("### Run status", get_args(runs.Status)),
            ("### `trigger`", get_args(runs.Trigger)),
            ("### Outcome of a run", get_args(outcomes.Outcome)),
            ("### State of a source", get_args(outcomes.State)),
            ("### `cause`", get_args(get_type_hints(Change)["cause"])),
        ],
    )
    def test_a_vocabulary_is_documented_and_no_other_word(
        self, heading: str, values: Collection[str]
    ) -> None:
        assert sorted(first_words(section(DICTIONARY, heading))) == sorted(values)

    def test_the_sources_of_a_point_are_documented(self) -> None:
        shapes = np.array(
            [shapely.Point(1, 1), shapely.LineString([(0, 0), (1, 1)]), shapely.box(0, 0, 1, 1)]
        )
        *_, sources = representative_points(shapes)
        assert sorted(first_words(section(DICTIONARY, "### `point_source`"))) == sorted(sources)


class Query(NamedTuple):
    kind: str
    sql: str


QUERIES = [
    Query(kind.strip(), sql)
    for kind, sql in re.findall(r"^```sql(.*?)\n(.*?)^```$", DICTIONARY, re.MULTILINE | re.DOTALL)
]


class TestExampleQueries:
    def test_there_are_some_for_both_databases(self) -> None:
        assert {query.kind for query in QUERIES} == {"", "postgis"}

    def test_every_query_finds_something(self, engine: sa.Engine) -> None:
        stage_two_days(engine)
        with engine.connect() as connection:
            for query in QUERIES:
                if query.kind == "postgis" and engine.dialect.name != "postgresql":
                    continue
                assert connection.execute(sa.text(query.sql)).all(), query.sql

    def test_the_rows_of_a_day_are_what_was_staged(self, engine: sa.Engine) -> None:
        stage_two_days(engine)
        view, table = QUERIES[:2]
        with engine.connect() as connection:
            rows = connection.execute(sa.text(view.sql)).all()
            assert connection.execute(sa.text(table.sql)).all() == rows
        assert [(row[0], row[2]) for row in rows] == [
            ("node/267901573", "before"),
            ("node/7", "stays"),
        ]

    def test_the_difference_of_two_days_is_what_changed(self, engine: sa.Engine) -> None:
        stage_two_days(engine)
        feed, newest = (query for query in QUERIES if "FROM poi_change" in query.sql)
        with engine.connect() as connection:
            changes = connection.execute(sa.text(feed.sql)).all()
            brought = connection.execute(sa.text(newest.sql)).all()
        assert [(row.source_ref, row.change, row.cause, row.name) for row in changes] == [
            ("node/267901573", "changed", "upstream", "after"),
            ("node/8", "added", "upstream", "new"),
        ]
        assert [(row.source_ref, row.name_before, row.name) for row in brought] == [
            ("node/267901573", "before", "after"),
            ("node/8", None, "new"),
        ]


def stage_two_days(engine: sa.Engine) -> None:
    """Stage the days of the example queries, with one rejection."""
    broken = Rejection("way/9", "missing_nodes", "the source has none of its nodes", {})
    for day, names in {
        date(2021, 4, 21): {"node/267901573": "before", "node/7": "stays"},
        date(2023, 12, 26): {"node/267901573": "after", "node/7": "stays", "node/8": "new"},
    }.items():
        replace_slice(
            engine,
            slice_of("monaco", day),
            in_monaco(poi_rows(names)),
            rejections=[broken],
            evidence=evidence_of(day),
            claim=claim_key(engine, "monaco", day),
            now=NOW,
        )
    toilets = {"osm": {"node/9#toilets": "wc"}, "feed:city": {"1#toilets": "WC"}}
    stage_helpers(engine, "monaco", date(2023, 12, 26), toilets)


def in_monaco(rows: pa.Table) -> pa.Table:
    """Move invented POIs to where the example queries look; one of them is disused."""
    place = shapely.to_wkb(shapely.Point(7.4246, 43.7384), byte_order=1)
    names = rows.column("name").to_pylist()
    changed: dict[str, pa.Array[Any]] = {
        "geometry": pa.array([place] * len(names), pa.binary()),
        "lon": pa.array([7.4246] * len(names)),
        "lat": pa.array([43.7384] * len(names)),
        "category": pa.array(["amenity/restaurant/pizza"] * len(names)),
        "status": pa.array(["disused" if name == "stays" else "operating" for name in names]),
    }
    for name, values in changed.items():
        rows = rows.set_column(rows.column_names.index(name), name, values)
    return with_content_hash(rows)


def anchors_of(document: Path) -> set[str]:
    """Give the anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", without_fences(text_of(document)), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def relative_links(document: Path) -> list[str]:
    links = re.findall(r"\]\(([^)\s]+)\)", without_fences(text_of(document)))
    return [link for link in links if not link.startswith(BASE_URLS)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for link in relative_links(document):
        target, _, anchor = link.partition("#")
        path = (document.parent / target).resolve() if target else document
        assert path.exists(), link
        assert not anchor or anchor in anchors_of(path), link


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        document = waiting.pop()
        reached.add(document)
        for link in relative_links(document):
            path = (document.parent / link.partition("#")[0]).resolve()
            if path.suffix == ".md" and path not in reached:
                waiting.append(path)
    assert set(DOCUMENTS) <= reached


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*##", text_of(ROOT / "Makefile"), re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_mentions_only_make_targets_that_exist(document: Path) -> None:
    mentioned = set(re.findall(r"(?:`|^)make ([a-z-]+)", text_of(document), re.MULTILINE))
    assert mentioned <= make_targets()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_is_mentioned(document: str) -> None:
    text = text_of(ROOT / document)
    assert [target for target in sorted(make_targets()) if f"make {target}" not in text] == []


def test_the_changelog_has_the_packages_version() -> None:
    version = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]["version"]
    assert re.search(rf"^## \[{re.escape(version)}\]", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)


def test_the_readme_names_columns_of_a_row_that_exist() -> None:
    # The data dictionary has all of them.
    table = section(text_of(ROOT / "README.md"), "## What is in a row")
    rows = "\n".join(line for line in table.splitlines() if line.startswith("|"))
    shown = set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", rows)))
    assert shown
    assert shown <= {column.name for column in tables.poi_ingestion_staging.columns}


def test_every_check_is_documented_with_whether_it_blocks_and_no_other() -> None:
    text = text_of(DOCS / "checks.md")
    for heading, checks in (
        ("## Checks of a city-day", CHECKS),
        ("## Check of the whole installation", (COVERAGE,)),
    ):
        rows = rows_of(section(text, heading))
        assert [(row[0].strip("`"), row[1]) for row in rows] == [
            (check.name, "yes" if check.blocking else "no") for check in checks
        ]
        assert all(cell for row in rows for cell in row)


def test_the_numbers_of_the_documents_are_those_of_the_checks() -> None:
    text = text_of(DOCS / "checks.md")
    assert f"the last {HISTORY_DAYS} staged days" in text
    assert f"of a usual {SIZEABLE} or more" in text
    assert f"at {HOUR:02}:00 UTC" in text
    assert NEW_LEVEL_DAYS == 3
    assert "After three accepted days in a row" in text
    decision = section(text_of(DOCS / "adr" / "010-checks.md"), "## Decision")
    for number in (HISTORY_DAYS, LARGEST_WANDER, CHANGE_PER_DAY, SIZEABLE):
        assert re.search(rf"^\| {number}\b", decision, re.MULTILINE), number
    assert f"{STRICTNESS:g} x (1 + 1/days) x spread" in decision
    assert f"{LEAST_REACH} for the whole, {LEAST_REACH_OF_CATEGORY} for a category" in decision


def test_the_index_of_decisions_lists_every_record() -> None:
    records = {path.name for path in (DOCS / "adr").glob("[0-9]*.md")}
    assert set(relative_links(DOCS / "adr" / "README.md")) == records


def test_the_manual_of_cities_lists_every_key_of_a_city() -> None:
    documented = first_words(section(text_of(DOCS / "adding-a-city.md"), "## A table"))
    assert [*documented, "feed"] == list(cities_schema()["$defs"]["City"]["properties"])


def test_the_manual_of_cities_lists_every_key_of_a_feed() -> None:
    documented = rows_of(section(text_of(DOCS / "adding-a-city.md"), "### A feed's table"))
    keys = cities_schema()["$defs"]["Feed"]
    assert [row[0].strip("`") for row in documented] == list(keys["properties"])
    required = {row[0].strip("`") for row in documented if row[3] == "required"}
    assert required == set(keys["required"])


def test_the_record_on_licences_tells_the_table_of_the_code() -> None:
    record = section(text_of(DOCS / "adr" / "009-licences.md"), "## Decision")
    documented = [row for row in rows_of(record) if len(row) == 6]
    assert documented == [
        [
            f"`{licence.id}`",
            *(
                "yes" if answer else "no"
                for answer in (
                    licence.attribution,
                    licence.share_alike,
                    licence.database_right,
                    "ODbL-1.0" in licence.goes_into,
                    "CC-BY-SA-4.0" in licence.goes_into,
                )
            ),
        ]
        for licence in LICENCES.values()
    ]


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    files = [
        path
        for folder in SOURCE_FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in SOURCE_SUFFIXES
    ]
    files += [path for path in ROOT.iterdir() if path.is_file() and path.suffix in SOURCE_SUFFIXES]
    files = [path for path in files if path.name != ".git"]  # in a worktree it is a file
    machine = re.compile(r"(?<![\w.~}-])/(?:home|Users|work|tmp)/[\w-]")
    assert [str(path) for path in files if machine.search(text_of(path))] == []
