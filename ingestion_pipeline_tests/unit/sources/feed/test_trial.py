"""A feed that is read alone: what is shown of good and of bad ones."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.sources.feed.trial import Town, try_feed
from ingestion_pipeline.text.names import Namer
from ingestion_pipeline_tests.support.feed_server import (
    BBOX,
    FOUNTAINS,
    TOILETS,
    FeedServer,
    feed_of,
    fountains,
    geojson,
    served,
    toilet,
)
from ingestion_pipeline_tests.support.installation import ScriptedClock
from ingestion_pipeline_tests.support.overpass_server import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ingestion_pipeline.sources.feed.trial import Trial

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TOWN = Town(BBOX, BboxBoundary(Bbox(*BBOX)), Namer(["en"], None))


def trial_of(
    folder: Path, table: Mapping[str, Any], *, day: date | None = None, **changes: Any
) -> Trial:
    workdir = folder / "work"
    workdir.mkdir(parents=True)
    with httpx.Client() as http:
        return try_feed(
            feed_of(table, **changes),
            day or NOW.date(),
            TOWN,
            http=http,
            clock=ScriptedClock(NOW),
            workdir=workdir,
            secrets={},
        )


def file_of(folder: Path, body: bytes, **changes: Any) -> dict[str, Any]:
    """Return the table of fountains in a file of today."""
    path = folder / f"{NOW:%Y-%m-%d}.csv"
    path.write_bytes(body)
    return {**FOUNTAINS, "location": f"{folder}/{{day}}.csv", **changes}


def codes(trial: Trial) -> list[str]:
    return [problem.code for problem in trial.problems]


def test_a_good_feed_is_shown_with_its_fields_and_places(tmp_path: Path) -> None:
    body = fountains(encoding="utf-8", columns=("nr", "name", "x", "y"))
    table = file_of(tmp_path, body, encoding="utf-8", fields={"name": "name"})
    trial = trial_of(tmp_path, table)
    assert codes(trial) == []
    assert (list(trial.rejections), trial.hint) == ([], "")
    assert trial.as_of == datetime(2026, 11, 20, tzinfo=UTC)
    assert trial.bytes == len(body)
    assert trial.description is not None
    assert trial.description.keys == {"format": "csv", "delimiter": ";"}
    assert [(each.name, each.filled) for each in trial.description.fields] == [
        ("nr", 20),
        ("name", 20),
        ("x", 20),
        ("y", 20),
    ]
    assert trial.used == {"nr": "record_id", "name": "name", "x": "lon", "y": "lat"}
    assert trial.places is not None
    assert trial.places.table.num_rows == 20


@pytest.mark.server
def test_rejections_are_counted_and_the_key_that_helps_is_named(tmp_path: Path) -> None:
    body = geojson([toilet(number, TYPE="WC" if number > 3 else "UR") for number in range(1, 21)])
    reply = served(body)
    with FeedServer(lambda _: reply) as server:
        trial = trial_of(tmp_path, TOILETS, location=server.address("t.geojson"))
    assert codes(trial) == []
    assert [(each.reason, each.count) for each in trial.rejections] == [("unknown_kind", 3)]
    assert "'UR' (3)" in trial.hint
    assert "Add them to kinds" in trial.hint
    assert trial.places is not None
    assert trial.places.table.num_rows == 17


def test_all_problems_are_found_and_not_only_the_first(tmp_path: Path) -> None:
    # Old, with a coordinate that is none, and with too few places.
    body = b"nr;name;x;y;changed\n1;A;24.91;60.17;2020-01-01\n2;B;-;60.17;2020-01-01\n"
    table = file_of(tmp_path, body, encoding="utf-8", fields={"name": "name"})
    trial = trial_of(tmp_path, table | {"as_of": "record:changed"})
    assert codes(trial) == ["feed_stale", "feed_shrunken"]
    assert [(each.reason, each.count) for each in trial.rejections] == [("no_geometry", 1)]
    assert trial.places is not None
    assert trial.places.table.column("source_ref").to_pylist() == ["1#drinking_water"]


def test_a_file_that_the_table_does_not_fit_is_described_all_the_same(tmp_path: Path) -> None:
    body = fountains(encoding="utf-8", columns=("nr", "name", "lon", "lat"))
    trial = trial_of(tmp_path, file_of(tmp_path, body, encoding="utf-8"))
    assert codes(trial) == ["feed_unreadable"]
    assert "without the field" in str(trial.problems[0])
    assert trial.description is not None
    assert [each.name for each in trial.description.fields] == ["nr", "name", "lon", "lat"]
    assert trial.places is None


@pytest.mark.server
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(404, "", "text/plain"), "feed_not_found"),
        (Reply(503, "", "text/plain"), "feed_unreachable"),
        (Reply(200, "<html>log in</html>", "text/html"), "feed_not_data"),
    ],
)
def test_what_cannot_be_fetched_says_so_and_nothing_else(
    tmp_path: Path, reply: Reply, code: str
) -> None:
    with FeedServer(lambda _: reply) as server:
        trial = trial_of(tmp_path, TOILETS, location=server.address("t.geojson"))
    assert codes(trial) == [code]
    assert (trial.bytes, trial.description, trial.places) == (None, None, None)


def test_a_feed_without_a_time_is_not_asked_for_a_past_day(tmp_path: Path) -> None:
    table = file_of(tmp_path, fountains(), as_of="fetched")
    trial = trial_of(tmp_path, table, day=date(2026, 11, 19))
    assert codes(trial) == ["feed_not_of_day"]
    assert trial.bytes is None


@pytest.mark.parametrize(
    ("before", "keys"),
    [
        ("", {"columns": ["id", "what", "x", "y"]}),
        ("Town of Exempel\n\nid,what,x,y\n", {"skip_lines": 2}),
    ],
    ids=["no header", "a header further down"],
)
def test_the_fields_have_the_names_that_the_table_gives_them(
    tmp_path: Path, before: str, keys: Mapping[str, Any]
) -> None:
    rows = "\n".join(f"{n},WC {n},{24.91 + n / 500:.3f},60.16" for n in range(1, 9))
    table = file_of(
        tmp_path,
        f"{before}{rows}".encode(),
        record_id="id",
        fields={"name": "what"},
        delimiter=",",
        encoding="utf-8",
        **keys,
    )
    trial = trial_of(tmp_path, table)
    assert trial.description is not None
    assert [each.name for each in trial.description.fields] == ["id", "what", "x", "y"]
    assert (trial.description.records, codes(trial)) == (8, [])


@pytest.mark.server
def test_a_feed_of_several_pages_is_read_without_a_description(tmp_path: Path) -> None:
    page = geojson(map(toilet, range(1, 21)))
    empty = geojson([])
    with FeedServer(lambda asked: served(page if "o=0" in asked.path else empty)) as server:
        trial = trial_of(
            tmp_path,
            TOILETS,
            location=server.address("t.geojson"),
            pages={"offset": "o", "limit": "l"},
            as_of="fetched",
        )
    assert codes(trial) == []
    assert trial.description is None
    assert trial.places is not None
    assert trial.places.table.num_rows == 20
