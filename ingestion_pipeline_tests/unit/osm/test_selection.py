"""The selection table and what is built from it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.datasets.helper import HELPER
from ingestion_pipeline.osm import taxonomy
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.selection import (
    CLOSED_TAGS,
    DEPRECATED_TAGS,
    FALLBACK_TAGS,
    LIFECYCLE_PREFIXES,
    OPEN_KEYS,
    POIS,
    AnyOf,
    Selection,
    any_of,
    is_answered_wrongly,
    overpass_query,
)
from ingestion_pipeline.osm.selection import is_asked_for as is_recorded
from ingestion_pipeline.osm.taxonomy import Taxonomy
from ingestion_pipeline.text.value_lists import folded_values
from ingestion_pipeline_tests.support.independent import is_selected
from scripts.build_selection_page import NOT_SELECTED, TARGET, page

BBOX = Bbox(24.93, 60.16, 24.96, 60.18)


def query(
    relation: int | None = None,
    *,
    with_boundary: bool = True,
    date: str | None = None,
    selection: Selection | AnyOf = POIS,
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
        {"amenity": " cafe "},
        {"disused:amenity": "pub"},
        {"dismantled:amenity": "pub"},
        {"ruins:amenity": "pub"},
        {"historic:amenity": "pub"},
        {"highway": "bus_stop"},
        {"highway": "bus_stop;platform"},
        {"emergency": "defibrillator;phone"},
        {"railway": "station"},
        {"railway": "station;tram_stop"},
        {"railway": "rail; station"},
        {"railway": " Station "},
        {"disused:railway": "station"},
        {"construction:railway": "halt;station"},
        {"razed:railway": "station"},
        {"disused:man_made": "lighthouse"},
        {"railway": "construction", "construction": "station"},
        {"railway": "proposed", "proposed": "station"},
        {"railway": "disused", "disused": "Station"},
        {"railway": "abandoned;rail", "abandoned": "rail;station"},
        {"natural": "peak", "name": "x"},
        {"building": "church"},
        {"education": "kindergarten"},
        {"aeroway": "helipad"},
        {"man_made": "weighting machine"},
    ],
    ids=str,
)
def test_pois_are_selected(tags: dict[str, str]) -> None:
    assert POIS.selects(tags)
    assert is_selected(tags)
    assert is_asked_for(tags)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"amenity": ""},
        {"amenity": " ; "},
        {"amenity ": "cafe"},
        {"Amenity": "cafe"},
        {"not:amenity": "cafe"},
        {"no:amenity": "cafe"},
        {"highway": "residential"},
        {"highway": "street_lamp"},
        {"natural": "tree"},
        {"playground": "slide"},
        {"building": "yes", "addr:street": "x"},
        {"disused:highway": "residential"},
        {"xamenity": "cafe"},
        {"railway": "rail"},
        {"railway": "substation"},
        {"railway": "construction"},
        {"railway": "construction", "construction": "rail"},
        {"railway": "construction", "proposed": "station"},
        {"highway": "construction", "construction": "station"},
        {"railway": "disused", "disused": "yes"},
        {"building": "ruins", "ruins": "church"},
    ],
    ids=str,
)
def test_everything_else_is_not(tags: dict[str, str]) -> None:
    assert not POIS.selects(tags)
    assert not is_selected(tags)


def is_asked_for(tags: dict[str, str], selection: Selection | AnyOf = POIS) -> bool:
    """Tell whether a server that keeps to the query, dated or not, sends such an object."""
    return all(
        any(
            _meets(tags, *condition)
            for condition in re.findall(r'nwr\[(~?)"([^"]*)"(?:~"([^"]*)"(,i)?)?\]', text)
        )
        for text in (
            query(selection=selection),
            query(date="2026-11-19T23:59:59Z", selection=selection),
        )
    )


def _meets(tags: dict[str, str], by_pattern: str, key: str, value: str, any_case: str) -> bool:
    flags = re.IGNORECASE if any_case else re.NOFLAG
    return any(
        text and re.search(value, text, flags)
        for name, text in tags.items()
        if (re.search(key, name, flags) if by_pattern else name == key)
    )


SELECTABLE = st.dictionaries(
    st.one_of(
        st.sampled_from((*POIS.any_value_keys, *POIS.listed_values, *POIS.words)),
        st.sampled_from(("railway", "construction", "disused:railway", "amenity")),
    ),
    st.lists(
        st.sampled_from(
            [
                *("", " ", "no", "yes", "rail", "Station", " station ", "construction", "disused"),
                *(value for _, value in POIS.closed_pairs),
            ]
        ),
        min_size=1,
        max_size=3,
    ).map(";".join),
    max_size=4,
)


@given(SELECTABLE)
def test_a_server_sends_all_that_is_selected(tags: dict[str, str]) -> None:
    assert POIS.selects(tags) == is_selected(tags)
    assert is_asked_for(tags) or not POIS.selects(tags)


@given(SELECTABLE)
def test_what_is_selected_is_a_poi_or_is_rejected_and_nothing_else_is_a_poi(
    tags: dict[str, str],
) -> None:
    known = Taxonomy.load()
    if not POIS.selects(tags):
        assert known.classify(tags) is None
    elif known.classify(tags) is None:
        values = [folded_values(tags[key]) for key in POIS.any_value_keys if key in tags]
        no_more_than_no = all(set(each) <= {"no"} for each in values)
        assert known.why_not(tags) == ("no_main_tag" if no_more_than_no else "not_a_place")


def test_the_query_asks_for_all_keys_of_the_table() -> None:
    for key in POIS.any_value_keys:
        assert is_asked_for({key: "x"})
    for pair in POIS.closed_pairs:
        assert is_asked_for(dict([pair]))
    for key in ("name", "xamenity", "amenity2", "disused:", "disused:name", "building"):
        assert not is_asked_for({key: "x"})


@pytest.mark.parametrize("selection", [POIS, HELPER.selection], ids=["poi", "helper"])
def test_a_dated_query_names_every_key_plainly(selection: Selection) -> None:
    text = query(date="2026-11-19T23:59:59Z", selection=selection)
    assert not is_answered_wrongly(text)
    conditions = re.findall(r"nwr\[(.*?)\]\(", text)
    plain = [condition for condition in conditions if "~" not in condition]
    assert plain == [f'"{key}"' for key in selection.any_value_keys]
    assert {condition.split('"')[1] for condition in conditions if "~" in condition} == {
        *selection.listed_values,
        *selection.words,
    }


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
    assert of_one.digest == "3a18d6194d97e4ab2ff6e1e4779ee5ca"
    assert replace(of_one, prefixes=("was",)).digest == "dc63c3a1446de890f929753174ce05a8"
    assert replace(of_one, words=("was",)).digest == "5c268d4801efc1863050aec77ea5d6e4"


SELECTIONS = st.builds(
    Selection,
    open_keys=st.lists(st.sampled_from("abc"), unique=True).map(tuple),
    closed_tags=st.dictionaries(
        st.sampled_from(["c", "d", "x:a", "was"]),
        st.lists(st.sampled_from("123"), min_size=1, unique=True).map(tuple),
    ),
    prefixes=st.lists(st.sampled_from("xy"), unique=True).map(tuple),
    words=st.lists(st.sampled_from(["was", "1"]), unique=True).map(tuple),
)
ANY_TAGS = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "x:a", "x:d", "y:c", "was", "1"]),
    st.sampled_from(["", "1", "2", "3; 1", "was", "other"]),
)


@given(narrower=SELECTIONS, wider=SELECTIONS, tags=ANY_TAGS)
def test_a_selection_is_within_another_only_if_that_selects_every_object_too(
    narrower: Selection, wider: Selection, tags: dict[str, str]
) -> None:
    if narrower.is_within(wider.as_json()) and narrower.selects(tags):
        assert wider.selects(tags)


@given(selection=SELECTIONS)
def test_a_selection_is_within_itself(selection: Selection) -> None:
    stated = selection.as_json()
    assert selection.is_within(stated)
    assert selection.is_within(json.loads(json.dumps(stated)))
    assert Selection().is_within(stated)


@pytest.mark.parametrize(
    ("wider", "is_within"),
    [
        (POIS, True),
        (replace(POIS, open_keys=(*OPEN_KEYS, "power")), True),
        (replace(POIS, open_keys=OPEN_KEYS[:-1]), False),
        (replace(POIS, closed_tags={**CLOSED_TAGS, "power": ("plant", "generator")}), True),
        (replace(POIS, closed_tags={**CLOSED_TAGS, "power": ("generator",)}), False),
        (replace(POIS, prefixes=(*LIFECYCLE_PREFIXES, "gone")), True),
        (replace(POIS, prefixes=LIFECYCLE_PREFIXES[:-1]), False),
        (replace(POIS, words=()), False),
        (HELPER.selection, False),
    ],
)
def test_the_pois_are_within_what_was_asked_for(wider: Selection, is_within: bool) -> None:
    assert POIS.is_within(wider.as_json()) is is_within


BOTH = any_of([POIS, HELPER.selection])

HELPED = st.dictionaries(
    st.sampled_from((*HELPER.selection.listed_values, "amenity", "disused:amenity", "railway")),
    st.sampled_from(["", "no", " YES ", *(value for _, value in HELPER.selection.closed_pairs)]),
    max_size=3,
)


@given(SELECTABLE, HELPED)
def test_one_query_asks_for_all_that_either_dataset_selects(
    tags: dict[str, str], others: dict[str, str]
) -> None:
    for each in (tags, others, tags | others):
        if POIS.selects(each) or HELPER.selection.selects(each):
            assert is_asked_for(each, BOTH)


@pytest.mark.parametrize("date", [None, "2026-11-19T23:59:59Z"])
def test_one_query_for_both_names_nothing_twice(date: str | None) -> None:
    conditions = re.findall(r"nwr\[(.*?)\]\(", query(date=date, selection=BOTH))
    assert len(conditions) == len(set(conditions))
    assert not any(condition.startswith('"amenity"~') for condition in conditions)


@given(selections=st.lists(SELECTIONS, min_size=1, max_size=3), tags=ANY_TAGS)
def test_several_selections_hold_each_of_them_and_no_more(
    selections: list[Selection], tags: dict[str, str]
) -> None:
    union = any_of(selections)
    recorded = json.loads(json.dumps(union.as_json()))
    assert all(is_recorded(each, recorded) for each in selections)
    members = [union] if isinstance(union, Selection) else list(union.members)
    assert any(each.selects(tags) for each in selections) == any(
        each.selects(tags) for each in members
    )


def test_a_selection_that_another_holds_adds_nothing() -> None:
    narrower = replace(POIS, open_keys=OPEN_KEYS[:-1])
    assert any_of([narrower, POIS]) == any_of([POIS, narrower]) == POIS
    assert any_of([POIS, HELPER.selection, narrower]) == BOTH
    assert not is_recorded(POIS, any_of([narrower, HELPER.selection]).as_json())


def test_several_selections_have_the_same_digest_for_ever() -> None:
    union = any_of([Selection(("amenity",)), Selection(("shop",))])
    assert union.digest == "4c46471e1c2321f8555925848a546bcb"


def test_a_selection_by_another_rule_of_values_holds_nothing() -> None:
    assert not POIS.is_within({**POIS.as_json(), "values": "as they are written"})


def test_every_listed_value_is_written_as_it_is_compared() -> None:
    for _, value in (*POIS.closed_pairs, *HELPER.selection.closed_pairs):
        assert folded_values(value) == [value]


def test_the_schema_replaces_every_deprecated_tag_and_no_other_of_the_same_keys() -> None:
    table = json.loads(Path(taxonomy.__file__).with_name("taxonomy.json").read_text("utf-8"))
    replaced = {
        (key, value.lower())
        for item in table["deprecations"]
        for key, value in item["old"].items()
        if len(item["old"]) == 1
        and POIS.selects(item["replace"])
        and not item["old"].items() <= item["replace"].items()
    }
    ours = {(key, value) for key, values in DEPRECATED_TAGS.items() for value in values}
    assert ours == {(key, value) for key, value in replaced if key in CLOSED_TAGS}


def test_no_key_is_selected_and_left_out() -> None:
    assert not NOT_SELECTED.keys() & {*OPEN_KEYS, *CLOSED_TAGS}
    assert all(NOT_SELECTED.values())
    for key, values in FALLBACK_TAGS.items():
        assert set(values) <= set(CLOSED_TAGS[key])


def test_the_page_of_the_selection_is_made_of_the_tables() -> None:
    assert TARGET.read_text(encoding="utf-8") == page(), "run scripts/build_selection_page.py"
    for key, value in POIS.closed_pairs:
        if ":" not in key:
            assert f"`{value}`" in page(), (key, value)


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
    assert not {key for key, _ in POIS.closed_pairs} & set(POIS.any_value_keys)
