"""The selection table and what is built from it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ingestion_pipeline.datasets import HELPER
from ingestion_pipeline.osm.acquire import Area, Bbox
from ingestion_pipeline.osm.selection import (
    LIFECYCLE_PREFIXES,
    OPEN_KEYS,
    POIS,
    Selection,
    is_answered_wrongly,
    overpass_query,
)

if TYPE_CHECKING:
    from pathlib import Path

BBOX = Bbox(24.93, 60.16, 24.96, 60.18)


def query(
    relation: int | None = None,
    *,
    with_boundary: bool = True,
    date: str | None = None,
    selection: Selection = POIS,
) -> str:
    return overpass_query(
        Area(BBOX, relation),
        bbox=BBOX,
        with_boundary=with_boundary,
        timeout_s=180,
        maxsize_bytes=1 << 28,
        date=date,
        selection=selection,
    )


@pytest.mark.parametrize(
    "tags",
    [
        {"amenity": "cafe"},
        {"shop": "anything at all"},
        {"disused:amenity": "pub"},
        {"highway": "bus_stop"},
        {"railway": "station"},
        {"natural": "peak", "name": "x"},
    ],
)
def test_pois_are_selected(tags: dict[str, str]) -> None:
    assert POIS.selects(tags)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"highway": "residential"},
        {"building": "yes", "addr:street": "x"},
        {"disused:highway": "bus_stop"},
        {"xamenity": "cafe"},
        {"railway": "rail"},
    ],
)
def test_everything_else_is_not(tags: dict[str, str]) -> None:
    assert not POIS.selects(tags)


def test_the_query_and_the_predicate_say_the_same() -> None:
    text = query()
    (keys,) = re.findall(r'nwr\[~"(.*?)"~"\."\]', text)
    for key in POIS.any_value_keys:
        assert re.search(keys, key), key
        assert POIS.selects({key: "x"})
    for key in ("name", "xamenity", "amenity2", "disused:", "disused:highway"):
        assert not re.search(keys, key), key
        assert not POIS.selects({key: "x"})
    pairs = {
        (key, value)
        for key, values in re.findall(r'nwr\["(\w+)"~"\^\((.*?)\)\$"\]', text)
        for value in values.split("|")
    }
    assert pairs == set(POIS.closed_pairs)


@pytest.mark.parametrize("selection", [POIS, HELPER.selection], ids=["poi", "helper"])
def test_a_dated_query_names_every_key_plainly(selection: Selection) -> None:
    text = query(date="2026-11-19T23:59:59Z", selection=selection)
    assert not is_answered_wrongly(text)
    conditions = re.findall(r"nwr\[(.*?)\]\(", text)
    plain = [condition for condition in conditions if "~" not in condition]
    assert plain == [f'"{key}"' for key in selection.any_value_keys]
    assert [c for c in conditions if "~" in c] == [
        c for c in re.findall(r"nwr\[(.*?)\]\(", query(selection=selection)) if c[0] == '"'
    ]


def test_a_dated_regex_on_keys_is_answered_wrongly() -> None:
    regex = query()
    assert "[~" in regex
    assert not is_answered_wrongly(regex)
    assert is_answered_wrongly(regex.replace("];", '][date:"2026-11-19T23:59:59Z"];', 1))


@pytest.mark.real_data
def test_a_recorded_regex_on_keys_lacks_what_a_plain_key_finds(osm_test_data: Path) -> None:
    """The same moment of the same database, asked in both ways."""
    folder = osm_test_data / "overpass"
    asked, found = {}, {}
    for name in ("110-attic-shop-plain-key", "111-attic-shop-key-regex"):
        asked[name[:3]] = (folder / f"{name}.request.txt").read_text()
        body = (folder / f"{name}.body.json").read_text()
        found[name[:3]] = set(re.findall(r'"type": "(\w+)",\s*"id": (\d+)', body))
    assert (len(found["110"]), len(found["111"])) == (98, 96)
    assert found["111"] < found["110"]
    assert is_answered_wrongly(asked["111"])
    assert not is_answered_wrongly(asked["110"])
    ours = query(date="2016-08-09T23:59:59Z", selection=Selection(("shop",)))
    assert re.findall(r"nwr\[.*?\]", asked["110"]) == re.findall(r"nwr\[.*?\]", ours)[:1]


def test_a_selection_has_the_same_digest_for_ever() -> None:
    of_one = Selection(("amenity",), {"shop": ("a", "b")})
    assert of_one.digest == "41a94be0b4a66d3ca50e889fa25cd067"
    assert replace(of_one, in_lists=True).digest == "447b5651f15d92e82f906fc62ebf1c69"


def test_the_query_counts_before_it_gives() -> None:
    assert query().index(".p out count;") < query().index(".p out meta geom;")


def test_the_query_asks_for_the_boundary_in_the_same_snapshot() -> None:
    assert "rel(34914)->.b;\n.b out count;\n.b out meta geom;" in query(34914)
    assert "rel(" not in query(34914, with_boundary=False)
    assert "rel(" not in query()


def test_the_query_names_bbox_limits_and_date() -> None:
    text = query(date="2026-11-19T23:59:59Z")
    assert text.startswith(
        '[out:json][timeout:180][maxsize:268435456][date:"2026-11-19T23:59:59Z"];'
    )
    assert "(60.1600000,24.9300000,60.1800000,24.9600000)" in text


def test_no_key_is_named_twice() -> None:
    assert len(set(POIS.any_value_keys)) == len(OPEN_KEYS) * (1 + len(LIFECYCLE_PREFIXES))
    assert len(set(POIS.closed_pairs)) == len(POIS.closed_pairs)
    assert not {key for key, _ in POIS.closed_pairs} & set(OPEN_KEYS)
