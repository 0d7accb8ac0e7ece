"""The command that writes a map."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ingestion_pipeline.cli.output import FAILED, WRONG_USAGE
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline_tests.support.staged import stage, stage_helpers
from ingestion_pipeline_tests.unit.cli.test_main import invoke_in
from testbed.towns import TOWN, write_cities

if TYPE_CHECKING:
    from click.testing import Result

FIRST, SECOND = date(2024, 6, 1), date(2024, 6, 2)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in whose database two days are staged."""
    monkeypatch.chdir(tmp_path)
    write_cities(tmp_path / "cities.toml", [TOWN])
    engine = create_engine(f"sqlite:///{tmp_path}/staging.gpkg")
    migrate(engine)
    stage(engine, "town", FIRST, {"node/1": "a", "node/2": "b"})
    stage(engine, "town", SECOND, {"node/1": "A", "node/3": "c"})
    stage_helpers(engine, "town", FIRST, {"feed:wc": {"1#toilets": "wc"}})
    engine.dispose()
    return tmp_path


def write(folder: Path, *arguments: str) -> Result:
    return invoke_in(folder, "map", "--city", "town", *arguments)


def test_the_map_of_a_day_is_named_by_city_and_day_and_its_path_comes_last(folder: Path) -> None:
    result = write(folder, "--day", str(FIRST))
    assert result.exit_code == 0
    assert result.output == "a map of 2 POIs of town on 2024-06-01:\ntown-2024-06-01.html\n"
    assert "<title>Town, 2024-06-01</title>" in Path("town-2024-06-01.html").read_text("utf-8")


def test_the_map_of_a_difference_counts_as_diff_does(folder: Path) -> None:
    result = write(folder, "--from", str(FIRST), "--day", str(SECOND))
    *sentence, path = result.output.splitlines()
    assert " ".join(" ".join(sentence).split()) == (
        "a map of what changed in town, 2024-06-01 to 2024-06-02: 1 added, 1 changed (0 of them "
        "moved), 1 removed:"
    )
    assert path == "town-2024-06-01-2024-06-02.html"
    assert Path(path).exists()


def test_the_map_of_a_feed_has_its_source_in_the_name(folder: Path) -> None:
    result = write(folder, "--day", str(FIRST), "--dataset", "helper", "--source", "feed:wc")
    assert result.output.splitlines()[-1] == "town-helper-feed-wc-2024-06-01.html"


@pytest.mark.parametrize("earlier", [SECOND, FIRST])
def test_the_earlier_day_must_be_earlier(folder: Path, earlier: date) -> None:
    result = write(folder, "--from", str(earlier), "--day", str(FIRST))
    assert result.exit_code == WRONG_USAGE
    assert "is not earlier than 2024-06-01" in result.output


def test_a_day_that_is_not_staged_is_named_and_nothing_is_written(folder: Path) -> None:
    result = write(folder, "--day", "2024-06-03")
    assert result.exit_code == FAILED
    assert "Error (day_not_staged)" in result.output
    assert list(folder.glob("*.html")) == []


def test_a_map_that_cannot_be_written_is_named_with_the_option(folder: Path) -> None:
    (folder / "file").write_text("")
    result = write(folder, "--day", str(FIRST), "--out", "file/map.html")
    assert result.exit_code == FAILED
    assert "Error (file_not_written): file/map.html cannot be written" in result.output
    assert "choose another --out" in result.output


def test_a_bad_address_of_a_basemap_is_refused(folder: Path) -> None:
    result = invoke_in(
        folder, "map", "--city", "town", "--day", str(FIRST), env={"BASEMAP_STYLE_URL": "ftp://x"}
    )
    assert result.exit_code == WRONG_USAGE
    assert "BASEMAP_STYLE_URL" in result.output
