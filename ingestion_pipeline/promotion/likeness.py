"""What two places have in common: category, names, identifiers.

Belongs here: what can be compared without a map. Does not belong here: how they lie
(`nearness.py`), and how much each agreement is worth (`evidence.py`).
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from ingestion_pipeline.osm.taxonomy import MAIN_KEYS
from ingestion_pipeline.text.names import FORMER_KEY, LESSER_KEYS, NAME_KEYS
from ingestion_pipeline.text.value_lists import split_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Relation = Literal["equal", "sibling", "contradicting"]
"""How the categories of two places go together."""

FAMILIES = """
amenity/bar amenity/biergarten amenity/cafe amenity/fast_food amenity/food_court amenity/ice_cream
amenity/nightclub amenity/pub amenity/restaurant
shop/bakery shop/coffee shop/confectionery shop/deli shop/pastry

amenity/shelter building/hotel leisure/resort tourism/alpine_hut tourism/apartment
tourism/camp_site tourism/caravan_site tourism/chalet tourism/guest_house tourism/hostel
tourism/hotel tourism/motel tourism/wilderness_hut

amenity/clinic amenity/dentist amenity/doctors amenity/hospital amenity/nursing_home
amenity/social_facility healthcare

amenity/childcare amenity/college amenity/kindergarten amenity/language_school amenity/music_school
amenity/school amenity/university education

amenity/courthouse amenity/fire_station amenity/police amenity/public_building amenity/townhall
building/fire_station office/diplomatic office/government police

amenity/monastery amenity/place_of_worship historic tourism/attraction
building/cathedral building/chapel building/church building/mosque building/synagogue
building/temple

historic man_made/tower tourism/artwork tourism/attraction tourism/museum tourism/viewpoint

amenity/arts_centre tourism/attraction tourism/gallery tourism/museum tourism/theme_park tourism/zoo

amenity/public_bath building/stadium landuse/recreation_ground leisure

amenity/bureau_de_change amenity/car_rental amenity/car_wash amenity/driving_school amenity/fuel
amenity/pharmacy amenity/veterinary craft shop

amenity/bank amenity/bureau_de_change amenity/coworking_space amenity/post_office amenity/studio
craft office shop/copyshop shop/travel_agency

aeroway/helipad aeroway/heliport

building/train_station public_transport/station

amenity/grave_yard landuse/cemetery

amenity/motorcycle_parking amenity/parking amenity/parking_entrance amenity/parking_space

amenity/recycling amenity/waste_disposal amenity/waste_transfer_station

amenity/drinking_water amenity/fountain amenity/water_point amenity/watering_place
man_made/water_tap man_made/water_well natural/spring

amenity/bbq amenity/shelter leisure/firepit leisure/picnic_table tourism/picnic_site

amenity/arts_centre amenity/cinema amenity/community_centre amenity/conference_centre
amenity/events_venue amenity/social_centre amenity/theatre club
leisure/sports_centre leisure/sports_hall
"""
"""Categories that mappers exchange for one place; each also covers the categories below it.
Families are separated by blank lines."""

BELOW: Mapping[str, str] = {
    "amenity/parking_surface": "amenity/parking/surface",
    "amenity/recycling_centre": "amenity/recycling/centre",
    "amenity/recycling_container": "amenity/recycling/container",
    "amenity/waste/dog_excrement": "amenity/waste_basket/dog_excrement",
    "healthcare/dentist/orthodontics": "amenity/dentist/orthodontics",
    "leisure/slipway_drivable": "leisure/slipway/drivable",
    "man_made/geoglyph_multilinestring": "man_made/geoglyph/multilinestring",
    "public_transport/platform_point": "public_transport/platform",
    "public_transport/station_train": "public_transport/station/train",
    "public_transport/station_train_halt": "public_transport/station/train/halt",
    "type/site/climbing/crag": "climbing/crag/site",
    **{
        f"public_transport/station_{of}": f"public_transport/station/train/{of}"
        for of in ("light_rail", "monorail", "subway")
    },
    **{
        f"public_transport/{kind}_{of}": f"public_transport/{kind}/{of}"
        for kind, several in {
            "station": "aerialway bus ferry tram trolleybus",
            "stop_position": "aerialway bus ferry light_rail monorail subway train tram trolleybus",
        }.items()
        for of in several.split()
    },
}
"""Categories that are below another one in the tree, which their ids do not show."""

OUTLINES: Mapping[str, tuple[str, ...]] = {
    "building/fire_station": ("amenity/fire_station",),
    "building/hotel": (
        *("leisure/resort", "tourism/apartment", "tourism/guest_house", "tourism/hostel"),
        *("tourism/hotel", "tourism/motel"),
    ),
    "building/train_station": ("public_transport/station",),
    **{
        f"building/{kind}": ("amenity/place_of_worship",)
        for kind in ("cathedral", "chapel", "church", "mosque", "synagogue", "temple")
    },
}
"""The categories of a node that says what an outline is of which only the building is mapped."""

IDENTIFIERS = frozenset(
    {"ele:ref", "fhrs:id", "gtfs:stop_id", "gtfs_id", "iata", "icao", "uic_ref", "wikipedia"}
)
"""Keys that identify a place everywhere, as `ref:*` does."""

_FAMILIES = [family.split() for family in FAMILIES.split("\n\n")]
_MORE_NAME_KEYS = ("brand", *LESSER_KEYS, FORMER_KEY)
_WORDS = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"\d+")
_SCHEME = re.compile(r"https?://(www\.)?", re.IGNORECASE)
_LEAST_LETTERS = 4
"""The fewest letters of a name that another one may merely contain."""

CONTAINED, SHORT_CONTAINED = 0.9, 0.8
"""The similarity of names of which one has all the words of the other and more; if the longest of
these has fewer than `_LEAST_LETTERS`, the second."""

MOST_DETAILS = 3
"""The most details that are counted."""

NO_DETAILS = frozenset(
    {
        *(
            *MAIN_KEYS,
            *NAME_KEYS,
            *LESSER_KEYS,
            FORMER_KEY,
            "brand",
            "ref",
            "wikidata",
            "wikipedia",
        ),
        *("addr", "contact", "phone", "mobile", "fax", "email", "website", "url", "is_in"),
        *("check_date", "created_by", "fixme", "level", "layer", "source", "survey"),
    }
)
"""Keys, without what follows a colon, whose tags are compared otherwise or are no detail."""

_TELLING = re.compile(r"\d|\S\s+\S")


def specific(categories: Iterable[str], tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return categories with the tag's value where a category is only its key: `shop/yes`."""
    return tuple(
        each if "/" in each else f"{each}/{tags.get(each, '')}"
        for each in dict.fromkeys(categories)
    )


def relation(one: Sequence[str], other: Sequence[str]) -> Relation:
    """Return how the categories of two places go together.

    Args:
        one: All categories of a place, the primary one first.
        other: Those of the other place.

    Returns:
        `equal` if one has the primary category of the other, or one that includes it; `sibling` if
        any of them are below one category that is more than a key, or in one family.
    """
    return _relation(tuple(one), tuple(other))


def is_outline(area: Sequence[str], node: Sequence[str]) -> bool:
    """Return whether an area is only the outline of a building of a node's category.

    Args:
        area: All categories of the area, the primary one first.
        node: Those of a node in it.
    """
    kinds = OUTLINES.get(area[0], ())
    return any(_includes(kind, each) for kind in kinds for each in _paths(tuple(node[:1])))


def could_be_twins(area: Sequence[str], node: Sequence[str]) -> bool:
    """Return whether an area and a node in it can be one place by their categories."""
    return relation(area, node) == "equal" or is_outline(area, node)


@lru_cache(maxsize=65_536)
def _relation(one: tuple[str, ...], other: tuple[str, ...]) -> Relation:
    one, other = _paths(one), _paths(other)
    if any(_includes(a, b) or _includes(b, a) for a in one[:1] for b in other) or any(
        _includes(a, b) or _includes(b, a) for a in one for b in other[:1]
    ):
        return "equal"
    if any(_is_sibling(a, b) for a, b in product(one, other)):
        return "sibling"
    return "contradicting"


def _paths(categories: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(BELOW.get(category, category) for category in categories)


def _includes(general: str, special: str) -> bool:
    return f"{special}/".startswith(f"{general}/")


def _is_sibling(one: str, other: str) -> bool:
    return _above(one) == _above(other) or not _families(one).isdisjoint(_families(other))


def _above(category: str) -> str:
    """Return the category of two levels (`amenity/cafe`) that includes it."""
    return "/".join(category.split("/")[:2])


@cache
def _families(category: str) -> frozenset[int]:
    return frozenset(
        number
        for number, family in enumerate(_FAMILIES)
        if any(_includes(member, category) for member in family)
    )


def names_of(
    name: str | None, names: Mapping[str, str], tags: Mapping[str, str]
) -> tuple[str, ...]:
    """Return all names of a place in the form in which they are compared, sorted.

    Args:
        name: The name that is shown, possibly transliterated.
        names: Names by language.
        tags: The tags, for lesser, former and brand names.
    """
    mapped = [tags[key] for key in NAME_KEYS if key in tags]
    lists = [each for key in _MORE_NAME_KEYS if key in tags for each in split_values(tags[key])]
    every = [*([name] if name else []), *names.values(), *mapped, *lists]
    return tuple(sorted({folded for each in every if (folded := fold(each))}))


@lru_cache(maxsize=100_000)
def fold(name: str) -> str:
    """Return the words of a name, in lower case and without accents: `cafe rosa`."""
    decomposed = unicodedata.normalize("NFKD", name)
    bare = "".join(each for each in decomposed if not unicodedata.combining(each))
    return " ".join(_WORDS.findall(bare.casefold()))


@lru_cache(maxsize=200_000)
def similarity(one: str, other: str) -> float:
    """Return the similarity of two folded names, from 0 to 1, 2 decimals.

    Names with different numbers have none: "School 1" is not "School 2".
    """
    from rapidfuzz import fuzz

    if one == other:
        return 1.0
    numbers = set(_NUMBER.findall(one)), set(_NUMBER.findall(other))
    if all(numbers) and numbers[0] != numbers[1]:
        return 0.0
    alike = max(fuzz.ratio(one, other), fuzz.token_sort_ratio(one, other)) / 100
    words = set(one.split()), set(other.split())
    if (shared := words[0] & words[1]) in words:
        is_short = max(map(len, shared)) < _LEAST_LETTERS
        alike = max(alike, SHORT_CONTAINED if is_short else CONTAINED)
    return round(alike, 2)


def best_similarity(ones: Iterable[str], others: Sequence[str]) -> float | None:
    """Return the similarity of the two most similar names; None if a place has none."""
    return max((similarity(one, other) for one in ones for other in others), default=None)


def identifiers(
    tags: Mapping[str, str], contact: Mapping[str, Any], wikidata: str | None
) -> tuple[tuple[str, frozenset[str]], ...]:
    """Return what identifies a place: kinds, sorted, with values that are compared as they are."""
    found: dict[str, Iterable[str]] = {
        key: split_values(tags[key]) for key in tags if key in IDENTIFIERS or key.startswith("ref:")
    }
    if wikidata:
        found["wikidata"] = [wikidata]
    if "ref" in tags:
        operator = fold(tags.get("operator", ""))
        found["operator+ref" if operator else "ref"] = [
            f"{operator} {ref}".strip() for ref in split_values(tags["ref"])
        ]
    found["phone"] = [*contact.get("phone", ()), *contact.get("mobile", ())]
    found["email"] = [each.casefold() for each in contact.get("email", ())]
    found["website"] = [
        _SCHEME.sub("", each).rstrip("/").casefold()
        for each in [*contact.get("website", ()), *contact.get("url", ())]
    ]
    if "addr:housenumber" in tags and (street := tags.get("addr:street") or tags.get("addr:place")):
        found["address"] = [f"{fold(street)} {tags['addr:housenumber'].casefold()}"]
    return tuple((kind, frozenset(found[kind])) for kind in sorted(found) if found[kind])


def details(tags: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """Return the tags whose values have numbers or several words, which seldom agree by chance."""
    return frozenset(
        (key, value)
        for key, value in tags.items()
        if key.partition(":")[0] not in NO_DETAILS and _TELLING.search(value)
    )
