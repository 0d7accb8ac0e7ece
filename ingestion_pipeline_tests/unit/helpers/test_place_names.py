"""Names as evidence, and the table of words that name no place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ingestion_pipeline.helpers.kinds import KINDS
from ingestion_pipeline.helpers.place_names import Likeness, likeness

ROOT = Path(__file__).parents[3]
TABLE = json.loads(
    (ROOT / "ingestion_pipeline" / "helpers" / "generic_words.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (["Main Square"], ["main square"], Likeness(1.0)),
        (["Square, Main"], ["Main Square"], Likeness(1.0)),
        (["Café Zürich"], ["Cafe Zurich"], Likeness(1.0)),
        (["Kamppi"], ["Kamppi Metro Gate"], Likeness(0.85)),
        (["Platz 1"], ["Platz 2"], Likeness(0.0, is_other_number=True)),
        (["Platz"], ["Platz 2"], Likeness(0.0)),
        (["1"], ["2"], Likeness(0.0, is_other_number=True)),
        (["North Gate 3"], ["Harbour 4"], Likeness(0.0)),
        ([], ["Main Square"], Likeness(None)),
        (["Toilet", "WC"], ["Main Square"], Likeness(None)),
        (["Toilet", "Market"], ["Marché", "market"], Likeness(1.0)),
    ],
)
def test_the_two_names_that_are_most_alike_count(
    ours: list[str], theirs: list[str], expected: Likeness
) -> None:
    assert likeness(ours, theirs, "toilets") == expected
    assert likeness(theirs, ours, "toilets") == expected


def test_a_word_may_name_a_place_of_another_kind() -> None:
    assert likeness(["Dock"], ["Dock"], "bicycle_rental").similarity is None
    assert likeness(["Dock"], ["Dock"], "pharmacy").similarity == 1.0


def test_most_kinds_have_words_of_many_languages() -> None:
    words = {kind: found for kind, found in TABLE["words"].items() if kind != "any"}
    assert words.keys() <= KINDS.keys()
    assert len(words) >= len(KINDS) - 5  # a new kind may have none yet
    assert all("en" in found for found in words.values())
    assert sum(len(found) >= 15 for found in words.values()) >= len(words) - 2


def test_the_table_names_its_source_and_the_notice_its_copyright() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    assert TABLE["header"]["copyright"] in notice
    assert TABLE["header"]["version"] in notice
    assert "generic_words.json" in notice


@pytest.mark.process
def test_the_table_is_not_built_from_another_release(tmp_path: Path) -> None:
    tarball = tmp_path / "other.tgz"
    tarball.write_bytes(b"another release")
    result = subprocess.run(
        [sys.executable, "-m", "scripts.build_generic_words", "--check", "--tarball", str(tarball)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "is not @openstreetmap/id-tagging-schema" in result.stderr
