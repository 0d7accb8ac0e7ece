"""How much the agreements of two places say about whether they are one.

Belongs here: the weight of each piece of evidence, and the numbers that a person reads. Does not
belong here: how places are compared (`likeness.py`, `nearness.py`), and who is linked
(`assignment.py`).

Each piece of evidence has a weight in bits (Fellegi and Sunter, "A Theory for Record Linkage",
1969): one more bit makes it twice as likely that the two are one place. The bits are added; with
`THRESHOLD_BITS` they are as likely one place as two.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ingestion_pipeline.promotion import likeness

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingestion_pipeline.core.arrays import BoolArray, FloatArray, IntArray
    from ingestion_pipeline.promotion.nearness import Near

THRESHOLD_BITS = 4.0
"""From here on two places are linked."""

MARGIN_BITS = 2.0
"""A pair is ambiguous if another one has at most so many bits less."""

CATEGORY_BITS: Mapping[likeness.Relation, float] = {
    "equal": 2.0,
    "sibling": -1.0,
    "contradicting": -8.0,
}

NAME_BITS = ((0.0, -8.0), (0.5, -8.0), (0.6, -3.0), (0.75, 1.5), (0.9, 5.0), (1.0, 8.0))
"""Similarity of the names and bits, with straight lines between."""

COMMON_NAME_BITS = -1.5
"""For a name that two features of one day have; twice as much for four, and so on."""

SHARED_NAMES = "public_transport"
MOST_SHARED_NAME_BITS = 3.0
"""The most bits for names of stops, because every stop and platform of a place has its name."""

ONE_UNNAMED_BITS = -0.5
BOTH_UNNAMED_BITS = 0.0

NEAREST_BITS = 3.0
NEAR_M = 10.0
"""Geometries that touch have `NEAREST_BITS`, one bit less at this distance in metres, and two bits
less for each doubling of a larger one."""

CROWDED = frozenset(
    {
        *("amenity/bench", "amenity/bicycle_parking", "amenity/parking_space"),
        *("amenity/vending_machine", "amenity/waste_basket", "leisure/picnic_table"),
    }
)
CROWDED_NEAR_M = 4.0
"""`NEAR_M` of things that are in rows: the next one is as near."""

INSIDE_BITS = 1.0
OVERLAP_BITS = ((0.0, -2.0), (0.1, -1.0), (0.6, 3.0), (1.0, 3.0))
"""Overlap of two areas and bits, with straight lines between."""

DETAIL_BITS = 1.0
"""For each detail that agrees, up to `likeness.MOST_DETAILS`."""

SAME_BITS: Mapping[str, float] = {
    "wikidata": 10.0,
    "wikipedia": 8.0,
    "operator+ref": 6.0,
    "phone": 8.0,
    "email": 8.0,
    "website": 8.0,
    "ref": 2.0,
    "address": 2.0,
}
OTHER_SAME_BITS = 6.0
"""For `ref:*` and the like."""

CONTACTS = ("phone", "email", "website")
"""What identifies a place only if no other feature of its side has the same."""

DIFFERENT_BITS: Mapping[str, float] = {
    "wikidata": -6.0,
    "operator+ref": -6.0,
    "ref": -6.0,
    "address": -2.0,
    "phone": -1.0,
    "email": 0.0,
    "website": 0.0,
    "wikipedia": -4.0,
}
OTHER_DIFFERENT_BITS = -6.0

MOST_SAME_BITS = 12.0
"""The most that identifiers count together, because several are often copied together."""


class Known(NamedTuple):
    """What is compared of a place."""

    categories: tuple[str, ...]
    names: tuple[str, ...]
    identifiers: Mapping[str, frozenset[str]]
    details: frozenset[tuple[str, str]]


class Compared(NamedTuple):
    """What the pairs of places have in common.

    Attributes:
        relation: (P,) How their categories go together.
        similarity: (P,) Of their names, from 0 to 1; NaN if one of them has none.
        unnamed: (P,) How many of the two have no name.
        same: (P,) Kinds of identifiers that agree.
        different: (P,) Kinds that both have, and that do not agree.
        details: (P,) How many details agree.
        crowded: (P,) Whether they are things that are in rows.
        shares_name: (P,) Whether they are things that have the name of what is around.
        bearers: (P,) How many features of one side have the rarest name of one of the two.
    """

    relation: list[likeness.Relation]
    similarity: FloatArray
    unnamed: IntArray
    same: list[tuple[str, ...]]
    different: list[tuple[str, ...]]
    details: IntArray
    crowded: BoolArray
    shares_name: BoolArray
    bearers: IntArray


def compare(left: Sequence[Known], right: Sequence[Known], near: Near) -> Compared:
    """Return what each pair has in common."""
    left, right = _with_own_contacts(left), _with_own_contacts(right)
    pairs = [
        (left[i], right[j]) for i, j in zip(near.left.tolist(), near.right.tolist(), strict=True)
    ]
    best = [likeness.best_similarity(one.names, other.names) for one, other in pairs]
    marks = [identified(one.identifiers, other.identifiers) for one, other in pairs]
    return Compared(
        [likeness.relation(one.categories, other.categories) for one, other in pairs],
        np.array([np.nan if each is None else each for each in best], dtype=np.float64),
        np.array([(not one.names) + (not other.names) for one, other in pairs], dtype=np.int64),
        [same for same, _ in marks],
        [different for _, different in marks],
        np.array([len(one.details & other.details) for one, other in pairs], dtype=np.int64),
        np.array([_is_crowded(one) for one, _ in pairs], dtype=bool),
        np.array([one.categories[0].startswith(SHARED_NAMES) for one, _ in pairs], dtype=bool),
        np.maximum(_bearers(left)[near.left], _bearers(right)[near.right]),
    )


def bits_of(near: Near, compared: Compared) -> FloatArray:
    """Return the bits of evidence that each pair is one place, 2 decimals."""
    named = _interpolated(np.nan_to_num(compared.similarity), NAME_BITS)
    named = named + np.where(named > 0, COMMON_NAME_BITS * np.log2(compared.bearers), 0.0)
    named = np.where(compared.shares_name, np.minimum(named, MOST_SHARED_NAME_BITS), named)
    unnamed = np.where(compared.unnamed == 1, ONE_UNNAMED_BITS, BOTH_UNNAMED_BITS)
    total: FloatArray = (
        np.array([CATEGORY_BITS[each] for each in compared.relation], dtype=np.float64)
        + np.where(compared.unnamed > 0, unnamed, named)
        + NEAREST_BITS
        - np.log2(1 + (near.metres / np.where(compared.crowded, CROWDED_NEAR_M, NEAR_M)) ** 2)
        + INSIDE_BITS * near.inside
        + np.where(np.isnan(near.overlap), 0.0, _interpolated(near.overlap, OVERLAP_BITS))
        + DETAIL_BITS * np.minimum(compared.details, likeness.MOST_DETAILS)
        + _bits_of_identifiers(compared)
    )
    return np.round(total, 2)


def score_of(bits: FloatArray) -> FloatArray:
    """Return bits as a score from 0 to 1, 3 decimals: 0.5 at the threshold."""
    score: FloatArray = np.round(1 / (1 + np.exp2(THRESHOLD_BITS - bits)), 3)
    return score


def told(near: Near, compared: Compared, bits: FloatArray, pair: int) -> dict[str, Any]:
    """Return the evidence of a pair, as JSON has it."""
    facts: dict[str, Any] = {
        "metres": float(near.metres[pair]),
        "category": compared.relation[pair],
        "name_similarity": None
        if compared.unnamed[pair]
        else round(float(compared.similarity[pair]), 2),
        "bits": float(bits[pair]),
    }
    if near.inside[pair]:
        facts["inside"] = True
    if near.overlap[pair] > 0:
        facts["overlap"] = float(near.overlap[pair])
    if compared.details[pair]:
        facts["same_details"] = int(compared.details[pair])
    for word, kinds in (("same", compared.same[pair]), ("different", compared.different[pair])):
        if kinds:
            facts[word] = list(kinds)
    return facts


def identified(
    one: Mapping[str, frozenset[str]], other: Mapping[str, frozenset[str]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the kinds of identifiers that agree, and those that both have and that do not."""
    kinds = sorted(one.keys() & other.keys())
    same = tuple(kind for kind in kinds if not one[kind].isdisjoint(other[kind]))
    return same, tuple(kind for kind in kinds if kind not in same)


def _interpolated(values: FloatArray, line: Sequence[tuple[float, float]]) -> FloatArray:
    known, worth = zip(*line, strict=True)
    bits: FloatArray = np.interp(values, known, worth)
    return bits


def _bearers(places: Sequence[Known]) -> IntArray:
    """Return how many places have the rarest name of each; 1 for a place without a name."""
    count = Counter(name for place in places for name in place.names)
    rarest = (min((count[name] for name in place.names), default=1) for place in places)
    return np.fromiter(rarest, dtype=np.int64, count=len(places))


def _with_own_contacts(places: Sequence[Known]) -> list[Known]:
    """Return the places without contacts that several of them have, as those of a chain."""
    count = Counter(
        (kind, value)
        for place in places
        for kind in CONTACTS
        for value in place.identifiers.get(kind, ())
    )

    def own(place: Known) -> Known:
        kept = {
            kind: values
            if kind not in CONTACTS
            else frozenset(value for value in values if count[kind, value] == 1)
            for kind, values in place.identifiers.items()
        }
        return place._replace(identifiers={kind: values for kind, values in kept.items() if values})

    return [own(place) for place in places]


def _is_crowded(place: Known) -> bool:
    return any("/".join(each.split("/")[:2]) in CROWDED for each in place.categories)


def _bits_of_identifiers(compared: Compared) -> FloatArray:
    same = [sum(SAME_BITS.get(kind, OTHER_SAME_BITS) for kind in each) for each in compared.same]
    different = [
        sum(DIFFERENT_BITS.get(kind, OTHER_DIFFERENT_BITS) for kind in each)
        for each in compared.different
    ]
    bits: FloatArray = np.minimum(same, MOST_SAME_BITS) + np.array(different, dtype=np.float64)
    return bits
