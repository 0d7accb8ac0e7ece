"""The commands on one feed: `feed try`, `feed suggest`."""

from __future__ import annotations

import base64
import csv
import gzip
import json
import re
import time
import tomllib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from ingestion_pipeline.cli import main as cli
from ingestion_pipeline.cli.output import FAILED, TRY_LATER, WRONG_USAGE
from ingestion_pipeline_tests.support.feed_server import BBOX, FOUNTAINS, FeedServer, fountains
from ingestion_pipeline_tests.support.overpass_server import Reply
from testbed.towns import TOWN, write_cities

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    Invoke = Callable[..., Result]

SECRET = "Unspeakable-Secret-7"
UTF_8 = {"encoding": "utf-8", "fields": {"name": "name"}}


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run a command on a town whose feed is changed; no database is there."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, feed: dict[str, Any] | None = None) -> Result:
        file = tmp_path / f"{datetime.now(UTC):%Y-%m-%d}.csv"
        if not file.exists():
            file.write_bytes(fountains(encoding="utf-8", columns=("nr", "name", "x", "y")))
        table = {**FOUNTAINS, "location": f"{tmp_path}/{{day}}.csv", **UTF_8, **(feed or {})}
        town = TOWN | {"bbox": list(BBOX), "feed": [table]}
        write_cities(tmp_path / "cities.toml", [town])
        env = {"CITIES_FILE": str(tmp_path / "cities.toml"), "DATA_DIR": str(tmp_path / "lake")}
        result = CliRunner().invoke(cli.main, ["feed", *arguments, "--city", "town"], env=env)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert not (tmp_path / "lake").exists()
        return result

    return run


def test_a_good_feed_is_shown_and_nothing_is_staged(invoke: Invoke) -> None:
    result = invoke("try", "--feed", "fountains")
    assert result.exit_code == 0, result.output
    words = " ".join(result.output.split())
    assert words.startswith("feed fountains of town: good")
    assert '20 records; format = "csv", delimiter = ";"' in words
    assert "(day_in_location)" in words
    assert "20 in town; 0 records outside, 0 rejected" in words
    assert "name 20 20 name" in words
    assert "the first 5 of 20 places: 1#drinking_water 24.912000 60.170000" in words
    assert words.endswith("s; nothing was staged; a map of the places: town-feed-fountains.html")
    shown = [line for line in result.output.splitlines() if not line.startswith("location")]
    assert max(map(len, shown)) <= 80


def test_a_bad_feed_shows_the_rejections_and_every_problem(invoke: Invoke) -> None:
    result = invoke("try", "--feed", "fountains", feed={"lon": "name", "minimum": 30})
    assert result.exit_code == FAILED
    words = " ".join(result.output.split())
    assert words.startswith("feed fountains of town: refused")
    assert "20 no_geometry record/1: " in words
    assert "Error (feed_shrunken): " in words


def test_a_feed_whose_licence_bars_it_is_refused_and_shown(invoke: Invoke) -> None:
    result = invoke("try", "--feed", "fountains", feed={"licence": "CC-BY-SA-4.0"})
    assert result.exit_code == FAILED
    assert "Error (licence_conflict): " in result.output
    assert "20 in town" in " ".join(result.output.split())


def shown_by_map(path: Path) -> dict[str, Any]:
    """Return the data of a map."""
    (packed,) = re.findall(r'<script id="data"[^>]*>([^<]*)</script>', path.read_text("utf-8"))
    data: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return data


HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07",
    "</script><script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "\u202efdp.exe",
    "{{data}} ${x} `y`",
    "x" * 5000,
]


def test_a_map_has_the_places_and_hostile_names_stay_texts(invoke: Invoke, tmp_path: Path) -> None:
    with (tmp_path / f"{datetime.now(UTC):%Y-%m-%d}.csv").open("w", encoding="utf-8") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(["nr", "x", "y", "name"])
        rows.writerows([n, 24.91 + n / 500, 60.17, name] for n, name in enumerate(HOSTILE))
    result = invoke("try", "--feed", "fountains", "--out", "maps/it.html")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "maps/it.html"
    assert not {"\x1b", "\x07", "\u202e"} & {*result.output}
    assert "\\x1b[2J\\x1b]0;owned\\x07" in "".join(result.output.split())
    data = shown_by_map(tmp_path / "maps/it.html")
    assert sorted(tags["name"] for tags in data["columns"]["tags"]) == sorted(HOSTILE)
    ref = data["columns"]["source_ref"].index("4#drinking_water")
    assert data["columns"]["lon"][ref] == pytest.approx(24.918)
    assert data["columns"]["name"][ref] == HOSTILE[4]
    assert data["columns"]["source"][ref] == "feed:fountains"
    assert list(data["asOf"]) == [data["day"]]
    page = (tmp_path / "maps/it.html").read_text("utf-8")
    assert not any(name in page for name in HOSTILE[:4])


def test_five_thousand_records_and_their_map_take_less_than_five_seconds(
    invoke: Invoke, tmp_path: Path
) -> None:
    rows = "".join(
        f"{number};Well {number};{24.9 + number / 60_000:.6f};{60.151 + number % 97 / 2500:.6f};"
        f"Mo-Fr 0{number % 9}:00-1{number % 7}:00;text {number % 13};{'x' * (number % 40)}\n"
        for number in range(1, 5001)
    )
    today = tmp_path / f"{datetime.now(UTC):%Y-%m-%d}.csv"
    today.write_text(f"nr;name;x;y;hours;more;much\n{rows}")
    started = time.process_time()
    result = invoke(
        *("try", "--feed", "fountains", "--json"),
        feed={"fields": {"name": "name", "opening_hours": "hours"}},
    )
    assert time.process_time() - started < 5
    shown = json.loads(result.output)
    assert shown["places"] == 5000
    assert len(shown_by_map(tmp_path / shown["map"])["columns"]["name"]) == 5000


def test_a_trial_is_one_json_object_with_the_path_of_its_map(
    invoke: Invoke, tmp_path: Path
) -> None:
    result = invoke("try", "--feed", "fountains", "--json", feed={"minimum": 30})
    assert result.exit_code == FAILED
    shown = json.loads(result.output)
    assert (shown["state"], shown["records"], shown["places"]) == ("refused", 20, 20)
    assert [each["code"] for each in shown["problems"]] == ["feed_shrunken"]
    assert shown["first_places"][0]["source_ref"] == "1#drinking_water"
    assert shown["map"] == "town-feed-fountains.html"
    assert len(shown_by_map(tmp_path / shown["map"])["columns"]["name"]) == 20


def test_without_places_there_is_no_map(invoke: Invoke, tmp_path: Path) -> None:
    # Bytes that are no text are shown all the same.
    today = tmp_path / f"{datetime.now(UTC):%Y-%m-%d}.csv"
    today.write_bytes("nr;name;x;y\n1;é\n".encode() + b"2;\xe9\xc3\xa9\xc3\xa9;-;-\n" * 9)
    shown = json.loads(invoke("try", "--feed", "fountains", "--json").output)
    assert (shown["map"], shown["places"]) == (None, None)
    assert list(tmp_path.glob("*.html")) == []
    result = invoke("try", "--feed", "fountains")
    assert result.output.splitlines()[-1].endswith("nothing was staged, and no place is on a map")


def test_a_suggestion_is_toml_whatever_the_file_has(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "wells.json"
    name = 'a"\\\x1b[2J\x7f\x9b\u202e\n]]'
    records = [{"id": n, name: f"x\n[[city]]\n{n}\x1b", "lon": 24.95, "lat": 60.17} for n in (1, 2)]
    path.write_text(json.dumps(records), "utf-8")
    result = invoke("suggest", str(path))
    assert result.exit_code == 0, result.output
    ((table,),) = (city["feed"] for city in tomllib.loads(f"[[city]]\n{result.output}")["city"])
    assert table["record_id"] == "id"
    assert not {"\x1b", "\x9b", "\u202e"} & {*result.output}


def test_an_unknown_feed_is_wrong_usage_and_a_similar_one_is_named(invoke: Invoke) -> None:
    result = invoke("try", "--feed", "fountain")
    assert result.exit_code == WRONG_USAGE
    assert "did you mean 'fountains'? It has: fountains." in " ".join(result.output.split())


@pytest.mark.server
def test_what_may_pass_by_itself_has_its_exit_code_and_secrets_are_not_shown(
    invoke: Invoke,
) -> None:
    with FeedServer(lambda _: Reply(503, "", "text/plain")) as server:
        address = server.address("x-{day}.csv").replace("http://", f"http://town:{SECRET}@")
        result = invoke("try", "--feed", "fountains", feed={"location": f"{address}?key={SECRET}"})
    assert result.exit_code == TRY_LATER
    assert "Error (feed_unreachable): " in result.output
    assert SECRET not in result.output


def test_a_suggestion_is_toml_with_what_is_left_to_do(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "drinking-fountains.csv"
    path.write_bytes(fountains(encoding="utf-8", columns=("nr", "name", "x", "y")))
    result = invoke("suggest", str(path))
    assert result.exit_code == 0, result.output
    (table,) = tomllib.loads(f"[[city]]\n{result.output}")["city"][0]["feed"]
    assert table["location"] == str(path)
    assert (table["lon"], table["lat"], table["minimum"]) == ("x", "y", 10)
    assert (table["kind"], table["licence"], table["attribution"]) == ("TODO", "TODO", "")
    assert "# kind: drinking_water" in result.output
    assert "#   name: 20, such as " in result.output
    assert "poi-ingest feed try --city town --feed drinking-fountains" in result.output


def test_a_file_of_no_known_format_has_no_suggestion(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"\0\1\2\3")
    result = invoke("suggest", str(path))
    assert result.exit_code == FAILED
    assert "Error (feed_unreadable): " in result.output
