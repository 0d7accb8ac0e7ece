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
    from collections.abc import Callable, Mapping, Sequence

    from ingestion_pipeline.core.arrays import BoolArray, FloatArray, IntArray, ObjectArray
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


Identifiers = tuple[tuple[str, frozenset[str]], ...]
"""Kinds of identifiers and their values, by kind."""


class Known(NamedTuple):
    """What is compared of a place."""

    categories: tuple[str, ...]
    names: tuple[str, ...]
    identifiers: Identifiers
    details: frozenset[tuple[str, str]]


class Identified(NamedTuple):
    """How the identifiers of two places go together.

    Attributes:
        same: Kinds that agree.
        different: Kinds that both have, and that do not agree.
        bits: What that is worth.
    """

    same: tuple[str, ...]
    different: tuple[str, ...]
    bits: float


class Compared(NamedTuple):
    """What P pairs of places have in common.

    Attributes:
        near: The pairs, and how they lie.
        relation: (P,) How their categories go together.
        similarity: (P,) Of their names, from 0 to 1; None if one of them has none.
        unnamed: (P,) How many of the two have no name.
        identified: (P,) How their identifiers go together.
        details: (P,) How many details agree.
        crowded: (P,) Whether one of them is a thing of which many are in a row.
        shares_name: (P,) Whether one of them has the name of what is around it.
        bearers: (P,) How many features of one side have the rarest name of one of the two.
    """

    near: Near
    relation: ObjectArray
    similarity: ObjectArray
    unnamed: IntArray
    identified: ObjectArray
    details: IntArray
    crowded: BoolArray
    shares_name: BoolArray
    bearers: IntArray


def compare(left: Sequence[Known], right: Sequence[Known], near: Near) -> Compared:
    """Return what pairs have in common, without those that cannot reach the threshold."""
    left, right = _with_own_contacts(left), _with_own_contacts(right)
    relation = _of_pairs(likeness.relation, near, left, right, "categories")
    identified = _of_pairs(identified_by, near, left, right, "identifiers")
    (hopeful,) = np.nonzero(_most_bits(near, relation, identified) > THRESHOLD_BITS)
    near = near.at(hopeful)
    return Compared(
        near,
        relation[hopeful],
        _of_pairs(likeness.best_similarity, near, left, right, "names"),
        _of_either(lambda place: not place.names, near, left, right, np.add),
        identified[hopeful],
        _of_pairs(_shared, near, left, right, "details").astype(np.int64),
        _of_either(_is_crowded, near, left, right, np.maximum).astype(np.bool_),
        _of_either(_has_shared_name, near, left, right, np.maximum).astype(np.bool_),
        np.maximum(_bearers(left)[near.left], _bearers(right)[near.right]),
    )


def bits_of(compared: Compared) -> FloatArray:
    """Return the bits of evidence that each pair is one place, 2 decimals."""
    near = compared.near
    unnamed = np.where(compared.unnamed == 1, ONE_UNNAMED_BITS, BOTH_UNNAMED_BITS)
    metres = near.metres / np.where(compared.crowded, CROWDED_NEAR_M, NEAR_M)
    total: FloatArray = (
        _bits_of_relation(compared.relation)
        + np.where(compared.unnamed > 0, unnamed, _bits_of_names(compared))
        + NEAREST_BITS
        - np.log2(1 + metres**2)
        + INSIDE_BITS * near.inside
        + np.where(np.isnan(near.overlap), 0.0, _interpolated(near.overlap, OVERLAP_BITS))
        + DETAIL_BITS * np.minimum(compared.details, likeness.MOST_DETAILS)
        + _bits_of_identifiers(compared.identified)
    )
    return np.round(total, 2)


def score_of(bits: FloatArray) -> FloatArray:
    """Return bits as a score from 0 to 1, 3 decimals: 0.5 at the threshold."""
    score: FloatArray = np.round(1 / (1 + np.exp2(THRESHOLD_BITS - bits)), 3)
    return score


def numbers_of(compared: Compared, bits: FloatArray, pair: int) -> dict[str, Any]:
    """Return the evidence of a pair, as JSON has it.

    Returns:
        `metres` between the geometries, `category` (see `likeness.Relation`), `name_similarity`
        from 0 to 1 (null if one of the two has no name) and `bits`; and, where there are any,
        `inside` (one has the point of the other in it), `overlap` of two areas from 0 to 1,
        `same_details` (how many), `same` and `different` (kinds of identifiers).
    """
    near = compared.near
    facts: dict[str, Any] = {
        "metres": float(near.metres[pair]),
        "category": compared.relation[pair],
        "name_similarity": compared.similarity[pair],
        "bits": float(bits[pair]),
    }
    if near.inside[pair]:
        facts["inside"] = True
    if near.overlap[pair] > 0:
        facts["overlap"] = float(near.overlap[pair])
    if compared.details[pair]:
        facts["same_details"] = int(compared.details[pair])
    identified = compared.identified[pair]
    for word, kinds in (("same", identified.same), ("different", identified.different)):
        if kinds:
            facts[word] = list(kinds)
    return facts


def identified_by(one: Identifiers, other: Identifiers) -> Identified:
    """Return how the identifiers of two places go together."""
    ones, others = dict(one), dict(other)
    kinds = [kind for kind in ones if kind in others]
    same = tuple(kind for kind in kinds if not ones[kind].isdisjoint(others[kind]))
    different = tuple(kind for kind in kinds if kind not in same)
    agreed = sum(SAME_BITS.get(kind, OTHER_SAME_BITS) for kind in same)
    contradicted = sum(DIFFERENT_BITS.get(kind, OTHER_DIFFERENT_BITS) for kind in different)
    return Identified(same, different, min(agreed, MOST_SAME_BITS) + contradicted)


def _of_pairs(
    compare_two: Callable[[Any, Any], Any],
    near: Near,
    left: Sequence[Known],
    right: Sequence[Known],
    what: str,
) -> ObjectArray:
    """Return the comparison of one attribute for each pair; equal values are compared once."""
    ones, one = _coded([getattr(place, what) for place in left])
    others, other = _coded([getattr(place, what) for place in right])
    distinct, inverse = np.unique(
        one[near.left] * len(others) + other[near.right], return_inverse=True
    )
    results = np.empty(len(distinct), dtype=object)
    for index, code in enumerate(distinct.tolist()):
        results[index] = compare_two(ones[code // len(others)], others[code % len(others)])
    return results[inverse]


def _coded(values: Sequence[Any]) -> tuple[list[Any], IntArray]:
    """Return the distinct values, and the index of each value among them."""
    code: dict[Any, int] = {}
    codes = np.array([code.setdefault(value, len(code)) for value in values], dtype=np.int64)
    return list(code), codes


def _of_either(
    test: Callable[[Known], bool],
    near: Near,
    left: Sequence[Known],
    right: Sequence[Known],
    joined: np.ufunc,
) -> IntArray:
    """Return what is joined from a test of both places of each pair, 0 or 1 each."""
    ones, others = (np.array([*map(test, side)], dtype=np.int64) for side in (left, right))
    both: IntArray = joined(ones[near.left], others[near.right])
    return both


def _shared(one: frozenset[Any], other: frozenset[Any]) -> int:
    return len(one & other)


def _most_bits(near: Near, relation: ObjectArray, identified: ObjectArray) -> FloatArray:
    """Return the bits of pairs if names, details and overlap agreed as well as they can."""
    touching = INSIDE_BITS + max(bits for _, bits in OVERLAP_BITS)
    most: FloatArray = (
        _bits_of_relation(relation)
        + _bits_of_identifiers(identified)
        + max(bits for _, bits in NAME_BITS)
        + NEAREST_BITS
        - np.log2(1 + (near.metres / NEAR_M) ** 2)
        + np.where(near.metres == 0, touching, 0.0)
        + DETAIL_BITS * likeness.MOST_DETAILS
    )
    return most


def _bits_of_relation(relation: ObjectArray) -> FloatArray:
    return np.array([CATEGORY_BITS[each] for each in relation], dtype=np.float64)


def _bits_of_names(compared: Compared) -> FloatArray:
    similarity = np.array([each or 0.0 for each in compared.similarity], dtype=np.float64)
    bits = _interpolated(similarity, NAME_BITS)
    rare = np.maximum(bits + COMMON_NAME_BITS * np.log2(compared.bearers), BOTH_UNNAMED_BITS)
    bits = np.where(bits > 0, rare, bits)
    return np.where(compared.shares_name, np.minimum(bits, MOST_SHARED_NAME_BITS), bits)


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
        (kind, value) for place in places for kind, values in place.identifiers for value in values
    )

    def own(place: Known) -> Known:
        kept = [
            (kind, values)
            if kind not in CONTACTS
            else (kind, frozenset(value for value in values if count[kind, value] == 1))
            for kind, values in place.identifiers
        ]
        return place._replace(identifiers=tuple((kind, values) for kind, values in kept if values))

    return [own(place) for place in places]


def _is_crowded(place: Known) -> bool:
    return any("/".join(each.split("/")[:2]) in CROWDED for each in place.categories)


def _has_shared_name(place: Known) -> bool:
    return place.categories[0].startswith(SHARED_NAMES)


def _bits_of_identifiers(identified: ObjectArray) -> FloatArray:
    return np.array([each.bits for each in identified], dtype=np.float64)
