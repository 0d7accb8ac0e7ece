"""The benchmarks' own parts: large inputs, turns, and what is told of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import osmium
import pytest

from benchmarks import overpass_bodies, report
from benchmarks.__main__ import SCENARIOS, main
from benchmarks.harness import ROOT, Comparison, Contender, Outcome, Words, compare, process
from benchmarks.inputs import Inputs
from benchmarks.peers import missing_package, osm2pgsql_style, tags
from benchmarks.replicate import ID_OFFSET, STEP_EAST, merge, replicate
from benchmarks.rows import changed, replicated
from ingestion_pipeline.osm.selection import POIS
from ingestion_pipeline.sources.overpass.answer import decode, sections
from ingestion_pipeline_tests.support.staged import poi_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SMALL = """\
n1 v2 t2026-11-20T10:00:00Z Tamenity=cafe,name=Sun x1.5 y2.5
n2 v1 t2026-11-20T10:00:00Z Tamenity=bench x1.6 y2.5
n3 v1 t2026-11-20T10:00:00Z Tname=cafe x1.6 y2.6
w5 v1 t2026-11-20T10:00:00Z Tshop=yes,name:en=Moon Nn1,n2,n3,n1
w6 v1 t2026-11-20T10:00:00Z T Nn1,n2
r7 v1 t2026-11-20T10:00:00Z Ttype=site,tourism=museum,name=Stars Mn1@,w6@outer
"""
OLDER = """\
n1 v1 t2025-11-20T10:00:00Z Tamenity=cafe,name=Old x1.5 y2.5
n9 v1 t2025-11-20T10:00:00Z Tamenity=pub x1.5 y2.5
"""


def pbf(path: Path, opl: str) -> Path:
    with osmium.SimpleWriter(str(path)) as writer:
        for item in osmium.FileProcessor(osmium.io.FileBuffer(opl.encode(), "opl")):
            writer.add(item)
    return path


def objects(path: Path) -> list[str]:
    """Every object as a line, without what a line cannot be compared by."""
    return [_line(item) for item in osmium.FileProcessor(str(path))]


def _line(item: Any) -> str:
    words = [f"{item.type_str()}{item.id} v{item.version}", str(dict(item.tags))]
    if item.is_node():
        words.append(f"{item.location.lon:.7f} {item.location.lat:.7f}")
    elif item.is_way():
        words.append(str([node.ref for node in item.nodes]))
    else:
        words.append(str([(member.type, member.ref, member.role) for member in item.members]))
    return " ".join(words)


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    sources = [pbf(tmp_path / "small.osm.pbf", SMALL), pbf(tmp_path / "older.osm.pbf", OLDER)]
    merge(sources, tmp_path / "merged.osm.pbf")
    return tmp_path / "merged.osm.pbf"


def test_a_merged_file_has_each_object_once_in_its_newest_version(merged: Path) -> None:
    found = objects(merged)
    assert [line.split()[0] for line in found] == ["n1", "n2", "n3", "n9", "w5", "w6", "r7"]
    assert found[0].startswith("n1 v2 {'amenity': 'cafe', 'name': 'Sun'}")


def test_copies_are_sorted_disjoint_and_refer_to_their_own(merged: Path, tmp_path: Path) -> None:
    replicate(merged, tmp_path / "x3.osm.pbf", copies=3, renamed=True)
    found = objects(tmp_path / "x3.osm.pbf")
    source = objects(merged)
    nodes = [1, 2, 3, 9]
    assert [line.split()[0] for line in found] == [
        *(f"n{node + copy * ID_OFFSET}" for copy in range(3) for node in nodes),
        *(f"w{way + copy * ID_OFFSET}" for copy in range(3) for way in (5, 6)),
        *(f"r{7 + copy * ID_OFFSET}" for copy in range(3)),
    ]
    assert [found[place] for place in (0, 1, 2, 3, 12, 13, 18)] == source
    one, two = ID_OFFSET, 2 * ID_OFFSET
    assert found[4] == (
        f"n{1 + one} v2 {{'amenity': 'cafe', 'name': 'Sun 1'}} {1.5 + STEP_EAST:.7f} 2.5000000"
    )
    assert found[14] == (
        f"w{5 + one} v1 {{'shop': 'yes', 'name:en': 'Moon 1'}} "
        f"{[1 + one, 2 + one, 3 + one, 1 + one]}"
    )
    assert found[20] == (
        f"r{7 + two} v1 {{'type': 'site', 'tourism': 'museum', 'name': 'Stars 2'}} "
        f"{[('n', 1 + two, ''), ('w', 6 + two, 'outer')]}"
    )


def test_what_is_also_no_name_keeps_its_words_in_a_copy(merged: Path, tmp_path: Path) -> None:
    # A node is called "cafe" here, and "cafe" is what another one is.
    replicate(merged, tmp_path / "x2.osm.pbf", copies=2, renamed=True)
    third = objects(tmp_path / "x2.osm.pbf")[6]
    assert "{'name': 'cafe'}" in third


@pytest.mark.process
@pytest.mark.parametrize(
    ("target", "installed"),
    [
        (".venv/.run", "--require-hashes --requirement requirements/deploy.txt"),
        (".venv/.dev", "--require-hashes --requirement requirements/dev.txt"),
        (".venv/.bench", "--editable '.[bench]'"),
    ],
)
def test_make_installs_what_is_locked_with_uv_or_pip(target: str, installed: str) -> None:
    plan = subprocess.run(
        ["make", "--dry-run", "--always-make", target],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},  # not what a make around these tests was told
        capture_output=True,
        text=True,
        check=True,
    )
    assert plan.stdout.count(installed) == 2


def test_the_same_copies_are_the_same_bytes(merged: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        replicate(merged, tmp_path / name, copies=2, renamed=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_copies_that_are_not_renamed_have_the_tags_of_the_source(
    merged: Path, tmp_path: Path
) -> None:
    replicate(merged, tmp_path / "x2.osm.pbf", copies=2, renamed=False)
    found = objects(tmp_path / "x2.osm.pbf")
    assert found[4] == (
        f"n{1 + ID_OFFSET} v2 {{'amenity': 'cafe', 'name': 'Sun'}} {1.5 + STEP_EAST:.7f} 2.5000000"
    )


def test_an_answer_made_of_an_extract_is_whole(merged: Path, tmp_path: Path) -> None:
    overpass_bodies.write_bodies(merged, tmp_path / "geom.json", tmp_path / "recursed.json")
    (section,) = sections(decode((tmp_path / "geom.json").read_bytes()))
    assert [node.id for node in section.nodes] == [1, 2, 9]
    assert [len(way.geometry) for way in section.ways] == [4]
    (relation,) = section.relations
    assert (relation.members[0].lon, relation.members[0].lat) == (1.5, 2.5)
    assert len(relation.members[1].geometry) == 2
    assert overpass_bodies.count(merged) == 5
    recursed = json.loads((tmp_path / "recursed.json").read_text())["elements"]
    found = sorted(f"{element['type']} {element['id']}" for element in recursed)
    assert found == ["node 1", "node 2", "node 3", "node 9", "relation 7", "way 5", "way 6"]


def test_an_input_is_made_once(merged: Path, tmp_path: Path) -> None:
    inputs = Inputs(tmp_path / "kept", merged, {})
    large = inputs.large(10)
    assert large.pois == 2 * inputs.sample().pois == 10
    before = large.path.stat().st_mtime_ns
    assert inputs.large(10).path == large.path
    assert large.path.stat().st_mtime_ns == before
    assert inputs.large(15).path != large.path
    assert inputs.large(10, renamed=True).path != large.path


def test_rows_to_stage_are_all_different_and_change_by_half_a_percent() -> None:
    table = replicated(poi_rows({f"node/{number}": "café" for number in range(1, 151)}), 400)
    refs = table["source_ref"].to_pylist()
    assert len(set(refs)) == len(refs) == 400
    assert refs[150] == f"node/{1 + ID_OFFSET}"
    later = changed(table, 1)
    differing = [
        number
        for number, (old, new) in enumerate(zip(table.to_pylist(), later.to_pylist(), strict=True))
        if old != new
    ]
    assert differing == [1, 201]
    names = {"name", "source_hash", "content_hash"}
    assert later.drop_columns(list(names)).equals(table.drop_columns(list(names)))


def test_contenders_take_turns_and_are_told_beside_the_first() -> None:
    turns: list[str] = []
    seconds: Iterator[float] = iter([2.0, 1.0, 4.0, 8.0, 3.0, 3.0, 1.0, 1.0])

    def contender(name: str) -> Contender:
        def run() -> dict[str, float]:
            turns.append(name)
            return {"wall s": next(seconds), "rows": 5}

        return Contender(name, run)

    comparison = Comparison(Words("a file"), [contender("ours"), contender("theirs")])
    ours, theirs = compare(comparison, runs=3)
    assert turns == ["ours", "theirs"] * 3
    assert ours.medians() == {"wall s": 3.0, "rows": 5}
    assert theirs.medians()["wall s"] == 3.0
    assert theirs.beside(ours, ("wall s",)) == {"wall s": 1.0}  # of 0.5, 2 and 1
    assert len(compare(replace(comparison, runs=1), runs=3)[0].values) == 1


@pytest.mark.process
def test_a_process_is_measured_by_itself_and_tells_figures_of_its_own() -> None:
    big, small = (
        process("p", [sys.executable, "-c", f"x = b'x' * {size}; print('{{\"rows\": 3}}')"]).run()
        for size in (100_000_000, 1)
    )
    assert big["rows"] == 3
    assert big["wall s"] > 0
    assert big["CPU s"] > 0
    # What this process of tests itself takes counts for neither.
    assert big["peak MB"] - small["peak MB"] == pytest.approx(100_000_000 / 2**20, rel=0.1)


@pytest.mark.process
def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="broken on purpose"):
        process("p", [sys.executable, "-c", "raise SystemExit('broken on purpose')"]).run()


@pytest.mark.process
def test_a_peer_that_is_not_installed_is_told_as_absent(tmp_path: Path) -> None:
    missing = missing_package("no-such-peer")
    contenders = [
        Contender("ours", lambda: {"wall s": 2.0, "rows": 7}),
        process("no-such-peer", ["no-such-program"], missing=missing),
        Contender("another", lambda: {"wall s": 3.0}),
    ]
    comparison = Comparison(Words("a file"), contenders)
    table = report.Table("A title", [(comparison, compare(comparison, runs=2))])
    text = report.write(tmp_path, [table], runs=2)
    assert text == (tmp_path / "results.md").read_text()
    assert "| a file | no-such-peer | absent: pip install no-such-peer" in text
    assert "| input | what | wall s | × wall s | rows |" in text
    assert "| a file | ours | 2 | 1 | 7 |" in text
    assert "| a file | another | 3 | 1.50 |  |" in text
    record = json.loads((tmp_path / "results.json").read_text())
    assert {"machine", "versions", "runs", "tables"} == set(record)
    (told,) = record["tables"][0]["comparisons"]
    ours, absent, another = told["contenders"]
    assert ours["runs"] == [{"wall s": 2.0, "rows": 7}] * 2
    assert (absent["runs"], absent["missing"]) == ([], missing)
    assert another["beside_the_first"] == {"wall s": 1.5}


def test_a_table_without_any_figure_is_still_a_table() -> None:
    absent = Outcome(Contender("ours", dict, missing="install it"))
    table = report.Table("A title", [(Comparison(Words("x"), [absent.contender]), [absent])])
    assert "| x | ours | absent: install it |" in table.markdown()


def test_an_unknown_scenario_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "no-such"])
    assert "there is no no-such; there are extract, overpass" in capsys.readouterr().err


def test_every_scenario_is_documented_in_its_place() -> None:
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE) == list(SCENARIOS)


def test_peers_are_asked_for_the_same_selection() -> None:
    assert POIS.selects({"amenity": "cafe"})
    asked = tags()
    assert set(asked) == {*POIS.any_value_keys, *POIS.listed_values}
    style = osm2pgsql_style()
    assert all(f'["{key}"]=true' in style for key in POIS.any_value_keys)
    assert all(f'["{key}={value}"]=true' in style for key, value in POIS.closed_pairs)
