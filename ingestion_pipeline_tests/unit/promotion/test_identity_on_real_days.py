"""Links between real days, compared with what became of each feature in the eyes of a person."""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import osmium
import pytest

from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.normalize import normalize
from ingestion_pipeline.osm.taxonomy import Taxonomy
from ingestion_pipeline.promotion.identity import Matching, Place, match, twins
from ingestion_pipeline.sources.pbf import extract
from testbed.places import place_of_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

pytestmark = pytest.mark.real_data

VERDICTS = Path(__file__).parents[2] / "support" / "continuations.tsv"
COUNTRIES = {"andorra": "AD", "equatorial-guinea": "GQ", "liechtenstein": "LI", "monaco": "MC"}
WORLD = Area(Bbox(-180, -90, 180, 90), boundary_relation=None)


class Verdict(NamedTuple):
    """What became of a feature; see the head of the file."""

    place: str
    before: date
    after: date
    part: str
    gone: str
    verdict: str
    refs: frozenset[str]


class Pair(NamedTuple):
    """Two days of a place, and what the matcher made of them."""

    before: Mapping[str, Place]
    after: Mapping[str, Place]
    gone: Sequence[Place]
    new: Sequence[Place]
    matching: Matching


def read_verdicts() -> list[Verdict]:
    with VERDICTS.open(encoding="utf-8", newline="") as file:
        lines = [line for line in file if not line.startswith("#")]
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
        for row in csv.DictReader(lines, delimiter="\t")
    ]


def files_of_days(history: Path, days: Sequence[date], folder: Path) -> dict[date, Path]:
    """Write what a history says of the first moment of each day."""
    versions: dict[date, dict[tuple[str, int], int]] = {day: {} for day in days}
    moments = {day: datetime.combine(day, time(), UTC) for day in days}
    for item in _objects(history):
        for day, moment in moments.items():
            if item.timestamp <= moment:
                versions[day][item.type_str(), item.id] = item.version
    paths = {day: folder / f"{history.name}-{day}.osm.pbf" for day in days}
    writers = {day: osmium.SimpleWriter(str(path)) for day, path in paths.items()}
    for item in _objects(history):
        for day, writer in writers.items():
            if item.visible and versions[day].get((item.type_str(), item.id)) == item.version:
                writer.add(item)
    for writer in writers.values():
        writer.close()
    return paths


def _objects(path: Path) -> Iterator[Any]:
    yield from osmium.FileProcessor(str(path))


def places_of(path: Path, day: date, country: str) -> dict[str, Place]:
    """Read an extract as the pipeline does; return its POIs by their refs."""
    pois = normalize(
        extract.read(path, area=WORLD).features,
        boundary=BboxBoundary(WORLD.bbox),
        day=day,
        languages=["en"],
        local_language=None,
        country=country,
        taxonomy=Taxonomy.load(),
    )
    return {row["source_ref"]: place_of_frame(row) for row in pois.table.to_pylist()}


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    return read_verdicts()


@pytest.fixture(scope="module")
def pairs(
    verdicts: list[Verdict], osm_test_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, date, date], Pair]:
    """Each pair of days that has verdicts."""
    days: dict[str, set[date]] = defaultdict(set)
    for each in verdicts:
        days[each.place] |= {each.before, each.after}
    places: dict[tuple[str, date], dict[str, Place]] = {}
    for place, wanted in days.items():
        paths = {day: osm_test_data / "extracts" / f"{place}-{day}.osm.pbf" for day in wanted}
        missing = sorted(day for day, path in paths.items() if not path.exists())
        if missing:
            history = osm_test_data / "history" / place / f"{place}.osh.pbf"
            paths |= files_of_days(history, missing, tmp_path_factory.mktemp(place))
        for day, path in paths.items():
            places[place, day] = places_of(path, day, COUNTRIES[place])
    keys = sorted({(each.place, each.before, each.after) for each in verdicts})
    return {key: pair_of(places[key[0], key[1]], places[key[0], key[2]]) for key in keys}


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
