"""What kind of place an object is: its category, its status, and the labels of categories.

Belongs here: matching tags against the category table, upgrading deprecated tags, and the status
that lifecycle tags tell. Does not belong here: which tags make a POI (`selection.py`), and how the
table was made (`scripts/build_taxonomy.py`).

The table, `taxonomy.json`, derives from id-tagging-schema, the tagging model of the iD editor. A
category is the id of one of its presets, such as `amenity/restaurant/pizza`; docs/categories.md
tells what a reader may rely on. How an object gets its categories:

1. *Status.* The main tags (those that make a POI by `selection.py`) are split at `;`, without
   blanks around a value and its letter case, and every value has a status: by its key's lifecycle
   prefix (`disused:shop`), by a value that is a lifecycle word itself (`shop=vacant`), otherwise
   operating. Where the tag of such a word names what is meant (`railway=construction`,
   `construction=station`), that is the value. `no` is not a value. Only the main tags of the first
   status in the order of `Status` count: a café in a former bank is a café. Where these are
   operating, a flag (`disused=yes`, `construction=yes`) gives the status. `FALLBACK_TAGS` count
   where there is no other main tag.
2. *Upgrade.* Deprecated tags are replaced, unless that would leave nothing that makes a POI.
3. *Match.* Each main tag gets the category of the most specific rule: that with the most exact
   tags, then with iD's higher matchScore, and the generic rule of its key last. Other tags may
   hold lists too (`cuisine=pizza;kebab`); the value that is listed first is preferred. iD's
   restrictions to geometries and countries are ignored.
4. *Order.* The most specific category is the primary one, but where a vehicle stops comes after
   what is there. Ties are decided by `MAIN_KEYS`, then by the place in a list of values, then by
   the category's id. A category is left out where a better one says as much: by its rule's tags, by
   what it implies (amenity=doctors implies healthcare=doctor), or because its id continues the
   other's.
5. *Places.* An object whose categories are all generic ones is no POI where another tag makes it a
   road, a railway, a river or a route (`highway=residential` with `historic=yes`): then the main
   tag only says something of that.
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
    values_of,
)

Status = Literal["operating", "construction", "disused", "abandoned", "proposed", "demolished"]
"""Whether the place is in use, from the most to the least there (wiki: "Lifecycle prefix")."""

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
"""The status that a word tells as prefix of a main key."""

STATUS_OF_WORD: dict[str, Status] = {word: STATUS_OF_PREFIX[word] for word in LIFECYCLE_WORDS}
"""The status that a word tells as the value of a main key, or as a key with `yes`."""

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
"""All keys of `selection.py`. Of two equally specific main tags the earlier key's is primary:
tourism comes first because a hotel that has a restaurant is a hotel."""

_TABLE: dict[str, Any] = json.loads(
    Path(__file__).with_name("taxonomy.json").read_text(encoding="utf-8")
)

TAXONOMY_VERSION: str = f"id-tagging-schema {_TABLE['header']['version']}"
"""The release that the categories are from; evidence for every row."""

_ORDER_OF_KEY = {key: order for order, key in enumerate(MAIN_KEYS)}
_ORDER_OF_STATUS = {status: order for order, status in enumerate(get_args(Status))}
_CLOSED_VALUES = {key: frozenset(values) for key, values in CLOSED_TAGS.items()}
_FALLBACKS = {(key, value) for key, values in FALLBACK_TAGS.items() for value in values}
_PREFIXED = {
    f"{word}:{key}": (status, key) for word, status in STATUS_OF_PREFIX.items() for key in MAIN_KEYS
}
_WAYS = ("highway", "railway", "route", "waterway")
"""Keys of what is no place, though it may be historic, or worth a visit."""
_TYPES_OF_WAYS = frozenset({"network", "route", "route_master"})
_MEMORY = 65_536  # distinct sets of relevant tags; the 4,577 POIs of Andorra have 654

Tag = tuple[str, str]


@dataclass(frozen=True)
class Classification:
    """What an object is.

    Attributes:
        category: The primary category; never a building, a road or an address.
        categories: All categories, the primary one first.
        status: Whether it is in use.
        is_specific: Whether the primary category is more than its key's generic one (`shop`),
            which stands for values that the schema does not know, and for `yes`.
    """

    category: str
    categories: tuple[str, ...]
    status: Status
    is_specific: bool


@dataclass(frozen=True)
class _Rule:
    """Tags that make an object one of a category; `*` is any value.

    `says` are the main tags that need no category of their own beside this one. A rule that is
    `last` gives the primary category only where no other matches.
    """

    category: str
    tags: tuple[Tag, ...]
    says: frozenset[Tag]
    score: float
    last: bool

    @property
    def exact(self) -> int:
        """Give how many tags must have a certain value."""
        return sum(value != "*" for _, value in self.tags)

    def place(self, values: Mapping[str, list[str]]) -> int | None:
        """Tell how far back in lists the rule's values stand (0: nowhere), or None: no match."""
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
    """Old tags and what replaces them; `$1` is the value of the old tag that is `*`."""

    order: int
    old: dict[str, str]
    replace: dict[str, str]

    def apply(self, tags: Mapping[str, str]) -> dict[str, str] | None:
        """Give the tags with the old ones replaced.

        Returns:
            None where the old tags are not there, nothing would change, or a tag that is neither
            old nor equal would be overwritten.
        """
        upgraded = dict(tags)
        captured = ""
        for key, value in self.old.items():
            if key not in tags:
                return None
            if value == "*":
                captured = upgraded.pop(key)
                continue
            parts = [value] if tags[key] == value else _split(tags[key])
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
    """The category table, ready to be asked."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        """Index a table of the form of `taxonomy.json`; use `load` for ours."""
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
        """Give the table that comes with the package, indexed once per process."""
        return cls(_TABLE)

    def classify(self, tags: Mapping[str, str]) -> Classification | None:
        """Tell what an object with these tags is; the module's docstring tells how.

        The order of the tags does not matter. Deprecated tags may be given as they are.

        Returns:
            None for an object that is no POI; `why_not` tells why.
        """
        relevant = self._relevant.intersection(tags)
        return self._classify_relevant(frozenset([(key, tags[key]) for key in relevant]))

    @staticmethod
    def why_not(tags: Mapping[str, str]) -> Literal["no_main_tag", "not_a_place"]:
        """Tell why an object with these tags is no POI, if it is none."""
        _, current = _current_tags(tags)
        has_main_tag = any(_main_tags({key: _split(text) for key, text in current.items()}))
        return "not_a_place" if has_main_tag else "no_main_tag"

    def upgrade(self, tags: Mapping[str, str]) -> dict[str, str]:
        """Replace deprecated tags; the caller keeps the raw ones.

        Values in lists are replaced one by one. An upgrade that would overwrite another value is
        not made.
        """
        upgraded = dict(tags)
        for _ in self._deprecations:  # no chain is longer, so that this always ends
            for deprecation in self._candidates(upgraded):
                step = deprecation.apply(upgraded)
                if step is not None:
                    upgraded = step
                    break
            else:
                break
        return upgraded

    def label(self, category: str, language: str) -> str | None:
        """Give a category's name for people.

        Args:
            category: A category's id.
            language: A BCP 47 tag. Where there is no label in `pt-BR`, that in `pt` is given, and
                otherwise the English one.

        Returns:
            None for an unknown category.
        """
        labels = self._labels.get(category, {})
        for candidate in (language, language.partition("-")[0], "en"):
            if candidate in labels:
                return labels[candidate]
        return None

    def _relevant_keys(self, rule_keys: set[str]) -> frozenset[str]:
        """List the keys whose tags can change a classification: the rest need not be remembered."""
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
        """List the categories of tags that are up to date, the primary one first."""
        values = {key: _split(text) for key, text in tags.items()}
        main_tags = list(_main_tags(values))
        best = [self._best_match(values, *tag) for tag in _primary(main_tags) or main_tags]
        matches = sorted(best, key=lambda match: (match.rule.last, match))
        categories: list[str] = []
        said: set[Tag] = set()
        for match in matches:
            if match.category not in categories and match.tag not in said:
                categories.append(match.category)
                said |= match.rule.says
        return [one for one in categories if not any(_refines(other, one) for other in categories)]

    def _best_match(self, values: Mapping[str, list[str]], key: str, value: str) -> _Match:
        """Find the most specific rule for one main tag; its key's generic rule always matches."""
        return min(
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

    def _candidates(self, tags: Mapping[str, str]) -> list[_Deprecation]:
        """List the deprecations of which at least the first old tag is there, in their order."""
        by_key = self._deprecations_of
        found: list[_Deprecation] = []
        for key in tags:
            if key in by_key:
                for value in {"*", tags[key], *_split(tags[key])}:
                    found += by_key[key].get(value, ())
        return sorted(found, key=lambda deprecation: deprecation.order)


def _split(text: str) -> list[str]:
    """Split a tag's value at semicolons (wiki: "Semi-colon value separator")."""
    if ";" not in text:
        return [stripped] if (stripped := text.strip()) else []
    return [part for each in text.split(";") if (part := each.strip())]


def _refines(category: str, other: str) -> bool:
    """Tell whether a category is a kind of the other, by its id."""
    return category.startswith(f"{other}/")


def _is_main(key: str, value: str) -> bool:
    """Tell whether a tag makes a POI, its key being one of `MAIN_KEYS`."""
    return value != "no" and (key not in _CLOSED_VALUES or value in _CLOSED_VALUES[key])


def _main_tags(values: Mapping[str, list[str]]) -> Iterator[Tag]:
    """Give the tags that make a POI, value by value."""
    for key in MAIN_KEYS:
        for value in values.get(key, ()):
            if _is_main(key, value):
                yield key, value


def _is_way(tags: Mapping[str, str]) -> bool:
    """Tell whether a tag that is not a main one makes an object what is no place."""
    return tags.get("type") in _TYPES_OF_WAYS or any(
        not _is_main(key, value) and value != "no"
        for key in _WAYS
        for value in values_of(tags.get(key, ""))
    )


def _primary(main_tags: Iterable[Tag]) -> list[Tag]:
    """Leave out the tags that make a POI only where no other does."""
    return [tag for tag in main_tags if tag not in _FALLBACKS]


def _current_tags(tags: Mapping[str, str]) -> tuple[Status, dict[str, str]]:
    """Give an object's status, and its tags with those main tags alone that have this status."""
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
            current[key] = ";".join(values_of(text))
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
    """Give what the text of a main key says that makes a POI: values, each with its status."""
    for value in values_of(text):
        status = prefix_status or STATUS_OF_WORD.get(value, "operating")
        named = values_of(tags.get(value, "")) if value in STATUS_OF_WORD else []
        meant = [each for each in named if each not in {"yes", "no"} and _is_main(key, each)]
        for each in meant or [value]:
            if _is_main(key, each):
                yield status, each
