"""What two places have in common: categories, names, identifiers."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import pytest

from ingestion_pipeline.osm import taxonomy
from ingestion_pipeline.promotion.likeness import (
    BELOW,
    FAMILIES,
    best_similarity,
    details,
    fold,
    identifiers,
    names_of,
    relation,
    similarity,
    specific,
)

TABLE = json.loads(Path(taxonomy.__file__).with_name("taxonomy.json").read_text(encoding="utf-8"))
RULES = {
    category["id"]: [frozenset(rule["tags"].items()) for rule in category["rules"]]
    for category in TABLE["categories"]
}


def exists(category: str) -> bool:
    return any(f"{known}/".startswith(f"{category}/") for known in [*RULES, *BELOW.values()])


def test_every_category_of_a_family_exists() -> None:
    assert [category for category in FAMILIES.split() if not exists(category)] == []
    assert [category for category in BELOW if category not in RULES] == []


def test_a_category_whose_tags_include_those_of_another_is_equal_to_it() -> None:
    # The tags are those of id-tagging-schema. A stop of buses and trams is below that of buses.
    both = "public_transport/platform/bus_tram_point"
    included = [
        (general, special)
        for general, special in permutations(RULES, 2)
        if "/" in general and special != both
        for one in RULES[general]
        for other in RULES[special]
        if one < other and "*" not in dict(one).values()
    ]
    assert len(included) > 300
    assert [pair for pair in included if relation(pair[:1], pair[1:]) != "equal"] == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (["amenity/cafe"], ["amenity/cafe"], "equal"),
        (["amenity/restaurant"], ["amenity/restaurant/pizza"], "equal"),
        (["amenity/restaurant/pizza"], ["amenity/restaurant/sushi"], "sibling"),
        (["tourism/hotel", "amenity/restaurant"], ["amenity/restaurant"], "equal"),
        (["tourism/hotel", "amenity/restaurant"], ["amenity/cafe"], "sibling"),
        (["amenity/parking_surface"], ["amenity/parking"], "equal"),
        (["amenity/cafe"], ["amenity/restaurant"], "sibling"),
        (["shop/bakery"], ["shop/kiosk"], "sibling"),
        (["shop/yes"], ["shop/kiosk"], "sibling"),
        (["building/church"], ["amenity/place_of_worship/christian"], "sibling"),
        (["amenity/cafe"], ["amenity/bank"], "contradicting"),
        (["amenity/bench"], ["amenity/waste_basket"], "contradicting"),
        (
            ["public_transport/stop_position_bus"],
            ["public_transport/platform_point"],
            "contradicting",
        ),
        (["amenity/unknown"], ["amenity/other"], "contradicting"),
    ],
)
def test_categories_are_equal_siblings_or_contradict(
    one: list[str], other: list[str], expected: str
) -> None:
    assert relation(one, other) == relation(other, one) == expected


def test_a_category_that_is_only_a_key_is_as_special_as_its_tag() -> None:
    assert specific(["shop", "amenity/cafe", "shop"], {"shop": "odd"}) == (
        "shop/odd",
        "amenity/cafe",
    )
    assert specific(["shop"], {"disused:shop": "odd"}) == ("shop/",)


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("Café Rösli", "cafe rosli"),
        ("L'Été-Bar", "l ete bar"),
        ("ÖZGÜR (Kebap)", "ozgur kebap"),
        ("北京烤鸭", "北京烤鸭"),
        ("Йод №1", "иод no1"),
        ("—", ""),
    ],
)
def test_names_are_compared_without_case_accents_and_punctuation(name: str, folded: str) -> None:
    assert fold(name) == folded


@pytest.mark.parametrize(
    ("one", "other", "least", "most"),
    [
        ("Central Pharmacy", "Pharmacy Central", 1.0, 1.0),
        ("Löwen", "Restaurant Löwen", 0.9, 0.9),
        ("Pur", "Restaurant Pur", 0.8, 0.8),
        ("Coll de Vall Civera", "Port de Vallcibera", 0.6, 0.8),
        ("Schule 1", "Schule 2", 0.0, 0.0),
        ("Schule", "Schule 2", 0.9, 0.9),
        ("Löwen", "Krone", 0.0, 0.5),
    ],
)
def test_similarity_of_names(one: str, other: str, least: float, most: float) -> None:
    assert least <= similarity(fold(one), fold(other)) <= most
    assert similarity(fold(one), fold(other)) == similarity(fold(other), fold(one))


def test_all_names_of_a_place_are_compared() -> None:
    tags = {"name": "Neu", "old_name": "Alt;Uralt", "brand": "Kette", "alt_name": "Neu", "ref": "7"}
    names = names_of("Neu", {"und": "Neu", "en": "New"}, tags)
    assert names == ("alt", "kette", "neu", "new", "uralt")
    assert best_similarity(names, ("kette", "x")) == 1.0
    assert best_similarity((), names) is None


def test_what_identifies_a_place_is_compared_in_one_form() -> None:
    found = identifiers(
        {
            "ref": "12; 13",
            "operator": "Die Post",
            "ref:FR:SIRET": "123",
            "uic_ref": "8509",
            "addr:street": "Am Markt",
            "addr:housenumber": "3A",
        },
        {
            "phone": ["+41443"],
            "mobile": ["+41799"],
            "website": ["https://www.Sonne.example/"],
            "url": ["http://sonne.example/en"],
            "not_understood": {"phone": ["x"]},
        },
        "Q1",
    )
    assert dict(found) == {
        "address": {"am markt 3a"},
        "operator+ref": {"die post 12", "die post 13"},
        "phone": {"+41443", "+41799"},
        "ref:FR:SIRET": {"123"},
        "uic_ref": {"8509"},
        "website": {"sonne.example", "sonne.example/en"},
        "wikidata": {"Q1"},
    }
    assert [kind for kind, _ in found] == sorted(kind for kind, _ in found)


def test_a_ref_without_an_operator_is_a_weaker_identifier() -> None:
    assert dict(identifiers({"ref": "12"}, {}, None)) == {"ref": {"12"}}


def test_details_are_tags_that_seldom_agree_by_chance() -> None:
    tags = {
        "ele": "2250",
        "operator": "Gemeinde Schaan",
        "amenity": "cafe 1",
        "addr:street": "Am Markt",
        "contact:phone": "+41 443",
        "backrest": "yes",
        "surface": "asphalt",
        "level": "1",
    }
    assert details(tags) == {("ele", "2250"), ("operator", "Gemeinde Schaan")}
