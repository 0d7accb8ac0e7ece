"""The category and the status of an object, and the labels of categories.

The table, `taxonomy.json`, is built by `scripts/build_taxonomy.py` from id-tagging-schema, the
tagging model of the iD editor. A category is the id of one of its presets, such as
`amenity/restaurant/pizza`; docs/categories.md says what a reader may rely on. Steps:

1. *Status.* The main tags (those that make a POI by `selection.py`) are split at `;`, without
   blanks around a value and in lower case, and every value has a status: from its key's lifecycle
   prefix (`disused:shop`), from a value that is a lifecycle word (`shop=vacant`), otherwise
   operating. If the tag of such a word has the value (`railway=construction`,
   `construction=station`), that value is used. `no` is not a value. Only the main tags of the first
   status in the order of `Status` count: a café in a former bank is a café. If these are operating,
   a flag (`disused=yes`, `construction=yes`) sets the status. `FALLBACK_TAGS` count only if there
   is no other main tag.
2. *Upgrade.* Deprecated tags are replaced, unless nothing that makes a POI would remain.
3. *Match.* Each main tag gets the category of the most specific rule: the one with the most exact
   tags, then with iD's highest matchScore, and the generic rule of its key last. Other tags may be
   lists too (`cuisine=pizza;kebab`); the first value is preferred. iD's restrictions to geometries
   and countries are ignored.
4. *Order.* The most specific category is the primary one, except that places where vehicles stop
   come last. Ties are decided by `MAIN_KEYS`, then by the position in a list of values, then by the
   category's id. A category is left out if a better one includes it: by its rule's tags, by its
   implied tags (amenity=doctors implies healthcare=doctor), or because its id extends the other's.
5. *Places.* An object with only generic categories is not a POI if another tag makes it a road, a
   railway, a river or a route (`highway=residential` with `historic=yes`): the main tag then only
   qualifies that object.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self, get_args

from ingestion_pipeline.osm.selection import (
    CLOSED_TAGS,
    FALLBACK_TAGS,
    LIFECYCLE_WORDS,
)
from ingestion_pipeline.text.value_lists import folded_values, split_values

Status = Literal["operating", "construction", "disused", "abandoned", "proposed", "demolished"]
"""Whether the place is in use, ordered by how much of it exists (wiki: "Lifecycle prefix")."""

STATUS_OF_PREFIX: dict[str, Status] = {
    "abandoned": "abandoned",
    "closed": "disused",
    "construction": "construction",
    "demolished": "demolished",
    "destroyed": "demolished",
    "dismantled": "demolished",
    "disused": "disused",
    "historic": "disused",
    "planned": "proposed",
    "proposed": "proposed",
    "razed": "demolished",
    "removed": "demolished",
    "ruins": "abandoned",
    "vacant": "disused",
    "was": "disused",
}
"""The status of a prefix of a main key."""

STATUS_OF_WORD: dict[str, Status] = {word: STATUS_OF_PREFIX[word] for word in LIFECYCLE_WORDS}
"""The status of a word as the value of a main key, or as a key with `yes`."""

MAIN_KEYS: tuple[str, ...] = (
    "tourism",
    "amenity",
    "shop",
    "leisure",
    "historic",
    "healthcare",
    "education",
    "craft",
    "office",
    "club",
    "public_transport",
    "railway",
    "highway",
    "aeroway",
    "aerialway",
    "emergency",
    "natural",
    "waterway",
    "attraction",
    "man_made",
    "landuse",
    "place",
    "memorial",
    "climbing",
    "golf",
    "military",
    "police",
    "power",
    "telecom",
    "barrier",
    "building",
)
"""All keys of `selection.py`. Of two equally specific main tags, that of the earlier key is
primary: tourism is first because a hotel with a restaurant is a hotel."""

_TABLE: dict[str, Any] = json.loads(
    Path(__file__).with_name("taxonomy.json").read_text(encoding="utf-8")
)

TAXONOMY_VERSION: str = f"id-tagging-schema {_TABLE['header']['version']}"
"""The release of the categories; recorded with every row."""

_ORDER_OF_KEY = {key: order for order, key in enumerate(MAIN_KEYS)}
_ORDER_OF_STATUS = {status: order for order, status in enumerate(get_args(Status))}
_CLOSED_VALUES = {key: frozenset(values) for key, values in CLOSED_TAGS.items()}
_FALLBACKS = {(key, value) for key, values in FALLBACK_TAGS.items() for value in values}
_PREFIXED = {
    f"{word}:{key}": (status, key) for word, status in STATUS_OF_PREFIX.items() for key in MAIN_KEYS
}
_WAYS = ("highway", "railway", "route", "waterway")
"""Keys of objects that are no places, even if they are historic or worth a visit."""
_TYPES_OF_WAYS = frozenset({"network", "route", "route_master"})
_MEMORY = 65_536  # distinct sets of relevant tags; the 4,577 POIs of Andorra have 654

Tag = tuple[str, str]


@dataclass(frozen=True)
class Classification:
    """The categories and the status of an object.

    Attributes:
        category: The primary category; never a building, a road or an address.
        categories: All categories, the primary one first.
        status: Whether it is in use.
        is_specific: Whether the primary category is more than its key's generic one (`shop`),
            which is used for `yes` and for values that the schema does not have.
    """

    category: str
    categories: tuple[str, ...]
    status: Status
    is_specific: bool


@dataclass(frozen=True)
class _Rule:
    """Tags that give an object a category; `*` is any value.

    `says` are the main tags that this category includes. A rule that is `last` gives the primary
    category only if no other matches.
    """

    category: str
    tags: tuple[Tag, ...]
    says: frozenset[Tag]
    score: float
    last: bool

    @property
    def exact(self) -> int:
        """Return how many tags must have a certain value."""
        return sum(value != "*" for _, value in self.tags)

    def place(self, values: Mapping[str, list[str]]) -> int | None:
        """Return the last position of the rule's values in lists (0: first), or None: no match."""
        place = 0
        for key, value in self.tags:
            present = values.get(key, [])
            if value in present:
                place += present.index(value)
            elif value != "*" or present in ([], ["no"]):
                return None
        return place


@dataclass(frozen=True)
class _Deprecation:
    """Deprecated tags and their replacement; `$1` is the value of the old tag that is `*`."""

    order: int
    old: dict[str, str]
    replace: dict[str, str]

    def apply(self, tags: Mapping[str, str]) -> dict[str, str] | None:
        """Return the tags with the old ones replaced.

        Returns:
            None if the old tags are missing, nothing would change, or another tag would be
            overwritten.
        """
        upgraded = dict(tags)
        captured = ""
        for key, value in self.old.items():
            if key not in tags:
                return None
            if value == "*":
                captured = upgraded.pop(key)
                continue
            parts = [value] if tags[key] == value else split_values(tags[key])
            if value not in parts:
                return None
            new = self.replace.get(key)
            kept = [new if part == value else part for part in parts]
            joined = ";".join(dict.fromkeys(part for part in kept if part is not None))
            if joined:
                upgraded[key] = joined
            else:
                del upgraded[key]
        for key, value in self.replace.items():
            if value == "*":
                upgraded.setdefault(key, "yes")
            elif key not in self.old or self.old[key] == "*":
                new = captured if value == "$1" else value
                if upgraded.setdefault(key, new) != new:
                    return None
        return None if upgraded == tags else upgraded


@dataclass(frozen=True, order=True)
class _Match:
    """A rule that matches because of a main tag; the best match is the smallest."""

    fewer_exact: int
    lower_score: float
    order_of_key: int
    place: int
    category: str
    tag: Tag
    rule: _Rule = field(compare=False)


class Taxonomy:
    """The indexed category table."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        """Index a table of the form of `taxonomy.json`; `load` returns the packaged one."""
        self._labels: dict[str, dict[str, str]] = {
            category["id"]: category["labels"] for category in table["categories"]
        }
        rules = [
            _Rule(
                category=category["id"],
                tags=tuple(rule["tags"].items()),
                says=frozenset({**rule["tags"], **rule.get("implies", {})}.items()),
                score=rule.get("score", 1.0),
                last=rule.get("last", False),
            )
            for category in table["categories"]
            for rule in category["rules"]
        ]
        self._rules_of: dict[Tag, list[_Rule]] = {}
        for rule in rules:
            for tag in rule.tags:
                self._rules_of.setdefault(tag, []).append(rule)
        self._deprecations = [
            _Deprecation(order, item["old"], item["replace"])
            for order, item in enumerate(table["deprecations"])
        ]
        self._deprecations_of: dict[str, dict[str, list[_Deprecation]]] = {}
        for deprecation in self._deprecations:
            key, value = next(iter(deprecation.old.items()))
            by_value = self._deprecations_of.setdefault(key, {})
            by_value.setdefault(value, []).append(deprecation)
        self._relevant = self._relevant_keys({key for rule in rules for key, _ in rule.tags})
        self._classify_relevant = lru_cache(maxsize=_MEMORY)(self._classify)

    @classmethod
    @cache
    def load(cls) -> Self:
        """Return the packaged table, indexed once per process."""
        return cls(_TABLE)

    def classify(self, tags: Mapping[str, str]) -> Classification | None:
        """Return the classification of an object with these tags.

        The order of the tags does not matter. Deprecated tags are upgraded.

        Returns:
            None if it is not a POI; `why_not` returns the reason.
        """
        relevant = self._relevant.intersection(tags)
        return self._classify_relevant(frozenset([(key, tags[key]) for key in relevant]))

    @staticmethod
    def why_not(tags: Mapping[str, str]) -> Literal["no_main_tag", "not_a_place"]:
        """Return why an object with these tags is not a POI, if it is none."""
        _, current = _current_tags(tags)
        has_main_tag = any(_main_tags({key: split_values(text) for key, text in current.items()}))
        return "not_a_place" if has_main_tag else "no_main_tag"

    def upgrade(self, tags: Mapping[str, str]) -> dict[str, str]:
        """Return the tags with deprecated ones replaced.

        Values in lists are replaced one by one. An upgrade that would overwrite another value is
        skipped.
        """
        upgraded = dict(tags)
        for _ in self._deprecations:  # the longest possible chain, so the loop ends
            for deprecation in self._candidates(upgraded):
                step = deprecation.apply(upgraded)
                if step is not None:
                    upgraded = step
                    break
            else:
                break
        return upgraded

    def label(self, category: str, language: str) -> str | None:
        """Return the label of a category.

        Args:
            category: A category's id.
            language: A BCP 47 tag. Falls back from `pt-BR` to `pt`, then to English.

        Returns:
            None for an unknown category.
        """
        labels = self._labels.get(category, {})
        for candidate in (language, language.partition("-")[0], "en"):
            if candidate in labels:
                return labels[candidate]
        return None

    def _relevant_keys(self, rule_keys: set[str]) -> frozenset[str]:
        """Return the keys whose tags can change a classification; the cache ignores others."""
        relevant = {*rule_keys, *MAIN_KEYS}
        before = 0
        while len(relevant) > before:
            before = len(relevant)
            for deprecation in self._deprecations:
                keys = {*deprecation.old, *deprecation.replace}
                if not relevant.isdisjoint(keys):
                    relevant |= keys
        return frozenset({*relevant, *_PREFIXED, *STATUS_OF_WORD, *_WAYS, "type"})

    def _classify(self, tags: frozenset[Tag]) -> Classification | None:
        status, current = _current_tags(dict(tags))
        found = self._match(self.upgrade(current)) or self._match(current)
        generic = all(category in _ORDER_OF_KEY for category in found)
        if not found or (generic and _is_way(current)):
            return None
        return Classification(
            category=found[0],
            categories=tuple(found),
            status=status,
            is_specific=found[0] not in _ORDER_OF_KEY,
        )

    def _match(self, tags: Mapping[str, str]) -> list[str]:
        """Return the categories of up-to-date tags, the primary one first."""
        values = {key: split_values(text) for key, text in tags.items()}
        main_tags = list(_main_tags(values))
        best = [self._best_match(values, *tag) for tag in _primary(main_tags) or main_tags]
        matches = sorted(filter(None, best), key=lambda match: (match.rule.last, match))
        categories: list[str] = []
        said: set[Tag] = set()
        for match in matches:
            if match.category not in categories and match.tag not in said:
                categories.append(match.category)
                said |= match.rule.says
        return [one for one in categories if not any(_refines(other, one) for other in categories)]

    def _best_match(self, values: Mapping[str, list[str]], key: str, value: str) -> _Match | None:
        """Return the most specific match of one main tag.

        Returns:
            None for a value without a rule: a key with closed values has no generic category, and
            an upgrade of a deprecated value may be skipped (`natural=waterfall` on a
            `waterway=stream`).
        """
        matches = (
            _Match(
                -rule.exact,
                -rule.score,
                _ORDER_OF_KEY[key],
                place,
                rule.category,
                (key, value),
                rule,
            )
            for rule in self._rules_of.get((key, value), []) + self._rules_of.get((key, "*"), [])
            if (place := rule.place(values)) is not None
        )
        return min(matches, default=None)

    def _candidates(self, tags: Mapping[str, str]) -> list[_Deprecation]:
        """Return the deprecations whose first old tag is present, in their order."""
        by_key = self._deprecations_of
        found: list[_Deprecation] = []
        for key in tags:
            if key in by_key:
                for value in {"*", tags[key], *split_values(tags[key])}:
                    found += by_key[key].get(value, ())
        return sorted(found, key=lambda deprecation: deprecation.order)


def _refines(category: str, other: str) -> bool:
    """Return whether a category is a kind of the other, by its id."""
    return category.startswith(f"{other}/")


def _is_main(key: str, value: str) -> bool:
    """Return whether a tag makes a POI; its key must be in `MAIN_KEYS`."""
    return value != "no" and (key not in _CLOSED_VALUES or value in _CLOSED_VALUES[key])


def _main_tags(values: Mapping[str, list[str]]) -> Iterator[Tag]:
    """Yield the tags that make a POI, value by value."""
    for key in MAIN_KEYS:
        for value in values.get(key, ()):
            if _is_main(key, value):
                yield key, value


def _is_way(tags: Mapping[str, str]) -> bool:
    """Return whether a tag other than a main tag makes an object no place."""
    return tags.get("type") in _TYPES_OF_WAYS or any(
        not _is_main(key, value) and value != "no"
        for key in _WAYS
        for value in folded_values(tags.get(key, ""))
    )


def _primary(main_tags: Iterable[Tag]) -> list[Tag]:
    """Return the tags without fallback tags, if there are others."""
    return [tag for tag in main_tags if tag not in _FALLBACKS]


def _current_tags(tags: Mapping[str, str]) -> tuple[Status, dict[str, str]]:
    """Return an object's status, and its tags with only the main tags of that status."""
    main: dict[Status, list[Tag]] = {}
    current: dict[str, str] = {}
    for tag_key, text in sorted(tags.items()):
        prefix_status, key = _PREFIXED.get(tag_key, (None, tag_key))
        if key not in _ORDER_OF_KEY:
            current[key] = text
            continue
        meant = list(_meant(key, prefix_status, tags, text))
        for status, value in meant:
            main.setdefault(status, []).append((key, value))
        if not meant and prefix_status is None:
            current[key] = ";".join(folded_values(text))
    if not _FALLBACKS.isdisjoint(chain(*main.values())) and any(map(_primary, main.values())):
        for key in FALLBACK_TAGS.keys() & tags.keys():
            current[key] = tags[key]
        main = {status: left for status, each in main.items() if (left := _primary(each))}
    status = min(main, key=_ORDER_OF_STATUS.__getitem__, default="operating")
    values: dict[str, list[str]] = {}
    for key, value in main.get(status, ()):
        values.setdefault(key, []).append(value)
    current |= {key: ";".join(each) for key, each in values.items()}
    if status == "operating":
        flags = [flag for word, flag in STATUS_OF_WORD.items() if tags.get(word) == "yes"]
        status = min(flags, key=_ORDER_OF_STATUS.__getitem__, default="operating")
    return status, current


def _meant(
    key: str, prefix_status: Status | None, tags: Mapping[str, str], text: str
) -> Iterator[tuple[Status, str]]:
    """Return the values of a main key that make a POI, each with its status."""
    for value in folded_values(text):
        status = prefix_status or STATUS_OF_WORD.get(value, "operating")
        named = folded_values(tags.get(value, "")) if value in STATUS_OF_WORD else []
        meant = [each for each in named if each not in {"yes", "no"} and _is_main(key, each)]
        for each in meant or [value]:
            if _is_main(key, each):
                yield status, each
