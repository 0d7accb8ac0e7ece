"""Which OpenStreetMap objects are selected: tables of tags, and the filters built from them.

The rule: a tag is selected if it describes a place, which is something with a position of its own
that people go to, where something is done or offered, or a landmark that they look for. Not
selected are equipment and parts of a place (a slide, a grave, a gate), roads and roadside objects,
land cover and land use, settlements and administrative areas, and buildings by their form.
`scripts/not_selected.toml` has the other keys of the schema of the categories. docs/selection.md
lists the result.

An object is selected as a POI when one of its tags is: its key is in `OPEN_KEYS`, with any value;
or the tag is in `CLOSED_TAGS`, with a listed value. The same holds for these keys with a lifecycle
prefix (`disused:amenity`, `construction:railway=station`), and for the pair
`railway=construction`, `construction=station`. A value matches in lists (`atm;bank`), in any letter
case, and with blanks around it; an empty one does not. Keys match exactly.

`Selection.selects` decides. A query may match more (`_conditions`), but its result is filtered by
`selects`, so Overpass and extracts give the same objects. A selected object that is not a POI is
rejected with a reason (`no_main_tag`, `not_a_place`), never dropped silently.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ingestion_pipeline.columns.hashing import digest_of_bytes
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.text.value_lists import folded_values

OPEN_KEYS: tuple[str, ...] = (
    "amenity",
    "attraction",
    "club",
    "craft",
    "education",
    "healthcare",
    "historic",
    "leisure",
    "memorial",
    "office",
    "public_transport",
    "shop",
    "tourism",
)
"""Keys that make a POI with any value."""

LIFECYCLE_PREFIXES: tuple[str, ...] = (
    "abandoned",
    "closed",
    "construction",
    "demolished",
    "destroyed",
    "dismantled",
    "disused",
    "historic",
    "planned",
    "proposed",
    "razed",
    "removed",
    "ruins",
    "vacant",
    "was",
)
"""Prefixes of a main key for a POI that is not, not yet, or no longer operating.

Source: "Lifecycle prefix" of the OSM wiki."""

LIFECYCLE_WORDS: tuple[str, ...] = tuple(
    word for word in LIFECYCLE_PREFIXES if word not in {"historic", "ruins"}
)
"""Those that also occur as a value or as a key. Ruins and historic places exist."""

_PLACES: dict[str, tuple[str, ...]] = {
    "aerialway": ("station",),
    "aeroway": ("aerodrome", "helipad", "heliport", "spaceport", "terminal"),
    "barrier": ("border_control", "city_wall", "toll_booth"),
    "building": (
        "cathedral",
        "chapel",
        "church",
        "fire_station",
        "hotel",
        "mosque",
        "stadium",
        "synagogue",
        "temple",
        "train_station",
    ),
    "climbing": ("area", "crag"),
    "emergency": (
        "ambulance_station",
        "assembly_point",
        "defibrillator",
        "disaster_response",
        "drinking_water",
        "landing_site",
        "lifeguard",
        "mountain_rescue",
        "phone",
        "water_rescue",
    ),
    "golf": ("clubhouse", "driving_range"),
    "highway": ("bus_stop", "platform", "rest_area", "services", "trailhead"),
    "landuse": (
        "allotments",
        "cemetery",
        "harbour",
        "recreation_ground",
        "religious",
        "winter_sports",
    ),
    "man_made": (
        "adit",
        "ceremonial_gate",
        "chimney",
        "communications_tower",
        "cross",
        "dovecote",
        "gasometer",
        "geoglyph",
        "lighthouse",
        "mineshaft",
        "obelisk",
        "observation_tower",
        "observatory",
        "pier",
        "ski_jump",
        "telescope",
        "tower",
        "wastewater_plant",
        "water_tap",
        "water_tower",
        "water_well",
        "water_works",
        "watermill",
        "windmill",
        "windpump",
        "works",
    ),
    "military": (
        "airfield",
        "barracks",
        "base",
        "bunker",
        "checkpoint",
        "obstacle_course",
        "office",
        "range",
        "training_area",
    ),
    "natural": (
        "arch",
        "beach",
        "cave_entrance",
        "geyser",
        "hot_spring",
        "peak",
        "saddle",
        "spring",
        "volcano",
    ),
    "place": ("square",),
    "police": ("checkpoint",),
    "power": ("plant",),
    "railway": ("halt", "platform", "station", "subway_entrance", "tram_stop"),
    "telecom": ("data_center", "exchange"),
    "waterway": (
        "access_point",
        "boatyard",
        "dam",
        "fuel",
        "sanitary_dump_station",
        "water_point",
        "waterfall",
    ),
}

DEPRECATED_TAGS: dict[str, tuple[str, ...]] = {
    "building": ("railway_station",),
    "emergency": (
        "lifeboat_station",
        "lifeguard_base",
        "lifeguard_platform",
        "lifeguard_tower",
        "marine_rescue",
        "ses_station",
        "water_rescue_station",
    ),
    "landuse": ("churchyard", "garden"),
    "man_made": (
        "jetty",
        "mdf",
        "paifang",
        "telephone_exchange",
        "torii",
        "village_pump",
        "weigh_bridge",
        "weighbridge",
        "weighing_machine",
        "weighing_scale",
        "weighting machine",
        "weighting_machine",
        "well",
        "winery",
    ),
    "natural": ("waterfall",),
}
"""Values of these keys that the schema replaces by selected tags; a test compares the two."""

CLOSED_TAGS: dict[str, tuple[str, ...]] = {
    key: tuple(sorted((*values, *DEPRECATED_TAGS.get(key, ())))) for key, values in _PLACES.items()
}
"""Keys that make a POI only with one of the listed values."""

FALLBACK_TAGS: dict[str, tuple[str, ...]] = {
    "barrier": ("city_wall",),
    "building": CLOSED_TAGS["building"],
    "highway": ("platform",),
    "railway": ("platform",),
}
"""Closed tags that make a POI only if no other tag does: a library in `building=church` is not a
church, a playground may be beside the city wall, and a platform by the old tags is one by
`public_transport`."""

_VALUES_COMPARED = "in lists, in any case"


@dataclass(frozen=True)
class Selection:
    """A set of tags; a selected object has at least one of them.

    Attributes:
        open_keys: Keys that select with any value.
        closed_tags: Keys that select only with one of the listed values.
        prefixes: Lifecycle prefixes, with which the same keys select as well.
        words: Lifecycle words that can replace the value of a closed key; the tag of that name then
            has the value: `railway=construction`, `construction=station`.
    """

    open_keys: tuple[str, ...] = ()
    closed_tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    prefixes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @cached_property
    def any_value_keys(self) -> tuple[str, ...]:
        """The keys that select with any value, also with prefixes."""
        prefixed = (f"{prefix}:{key}" for prefix in self.prefixes for key in self.open_keys)
        return (*self.open_keys, *prefixed)

    @cached_property
    def listed_values(self) -> dict[str, tuple[str, ...]]:
        """The values by the keys that select only with these, also with prefixes."""
        prefixed = {
            f"{prefix}:{key}": values
            for prefix in self.prefixes
            for key, values in self.closed_tags.items()
        }
        return {**self.closed_tags, **prefixed}

    @cached_property
    def closed_pairs(self) -> tuple[tuple[str, str], ...]:
        """The tags that select exactly."""
        return tuple((key, value) for key, values in self.listed_values.items() for value in values)

    @cached_property
    def digest(self) -> str:
        """The digest of the table; stored with Overpass responses to identify their query."""
        # Stored responses have this form; with another one, all would be fetched again.
        table = (self.any_value_keys, self.closed_pairs, self.words, _VALUES_COMPARED)
        return digest_of_bytes(ascii(table).encode())

    def as_json(self) -> dict[str, Any]:
        """Return the table as a JSON object; see `is_within`."""
        return {
            "open_keys": [*self.open_keys],
            "closed_tags": {key: [*values] for key, values in self.closed_tags.items()},
            "prefixes": [*self.prefixes],
            "words": [*self.words],
            "values": _VALUES_COMPARED,
        }

    def is_within(self, recorded: Mapping[str, Any]) -> bool:
        """Return whether a recorded selection selects every object that this one selects."""
        if recorded["values"] != _VALUES_COMPARED:
            return False
        wider = Selection(
            tuple(recorded["open_keys"]),
            {key: tuple(values) for key, values in recorded["closed_tags"].items()},
            tuple(recorded["prefixes"]),
            tuple(recorded["words"]),
        )
        return all(self._is_key_within(key, wider) for key in self._keys)

    def _is_key_within(self, key: str, wider: "Selection") -> bool:
        ours, theirs = self._listed.get(key), wider.listed_values.get(key)
        if theirs is None:
            return key in wider.any_value_keys
        if ours is None or not ours.issubset(theirs):
            return False
        words = self.words if key in self.closed_tags else ()
        return not words or (key in wider.closed_tags and {*words} <= {*wider.words})

    def selects(self, tags: Mapping[str, str]) -> bool:
        """Return whether an object with these tags is selected."""
        return any(self._selects(key, tags) for key in self._keys.intersection(tags))

    def _selects(self, key: str, tags: Mapping[str, str]) -> bool:
        values = folded_values(tags[key])
        listed = self._listed.get(key)
        if listed is None:
            return bool(values)
        return not listed.isdisjoint(values) or any(
            word in values and not listed.isdisjoint(folded_values(tags.get(word, "")))
            for word in (self.words if key in self.closed_tags else ())
        )

    @cached_property
    def _keys(self) -> frozenset[str]:
        return frozenset((*self.any_value_keys, *self.listed_values))

    @cached_property
    def _listed(self) -> dict[str, frozenset[str]]:
        return {key: frozenset(values) for key, values in self.listed_values.items()}


@dataclass(frozen=True)
class AnyOf:
    """Several selections that are asked for in one query; an object is in one of them at least.

    Attributes:
        members: The selections.
    """

    members: tuple[Selection, ...]

    @cached_property
    def digest(self) -> str:
        """The digest of all tables; stored with Overpass responses to identify their query."""
        return digest_of_bytes(" ".join(each.digest for each in self.members).encode())

    def as_json(self) -> dict[str, Any]:
        """Return the tables as a JSON object; see `is_asked_for`."""
        return {"any_of": [each.as_json() for each in self.members]}


def any_of(selections: Iterable[Selection]) -> Selection | AnyOf:
    """Return the smallest selection that has all objects of several ones."""
    members: list[Selection] = []
    for each in selections:
        if is_asked_for(each, AnyOf(tuple(members)).as_json()):
            continue
        members = [other for other in members if not other.is_within(each.as_json())]
        members.append(each)
    return members[0] if len(members) == 1 else AnyOf(tuple(members))


def is_asked_for(selection: Selection, recorded: Mapping[str, Any]) -> bool:
    """Return whether a recorded selection, or one of several, has every object of this one."""
    return any(selection.is_within(each) for each in recorded.get("any_of", [recorded]))


POIS = Selection(OPEN_KEYS, CLOSED_TAGS, LIFECYCLE_PREFIXES, LIFECYCLE_WORDS)

NOTHING = Selection(closed_tags={"boundary": ("none of this name",)})
"""Selects no object, for a query of a boundary alone."""


def overpass_query(
    area: Area,
    *,
    bbox: Bbox,
    with_boundary: bool,
    timeout_s: int,
    maxsize_bytes: int,
    date: str | None = None,
    selection: Selection | AnyOf = POIS,
    asked: Mapping[str, str] | None = None,
) -> str:
    """Return the Overpass QL of one part of a city.

    The response contains, in this order: an element that repeats `asked`; a count and the selected
    elements of `bbox` with metadata and geometry; and, with `with_boundary`, another count and the
    boundary relation.

    A dated query has one statement for each key. Overpass (0.7.62 and 0.7.62.2 measured) evaluates
    a dated regular expression on keys with the current tags: it omits objects that have lost the
    key since, and returns some that did not have it yet
    (https://github.com/drolbr/Overpass-API/issues/510). Without a date, regular expressions are
    correct and several times cheaper.

    Args:
        area: The city's area.
        bbox: The part of `area.bbox` to query.
        with_boundary: Whether to query the boundary relation too, so that it comes from the same
            snapshot.
        timeout_s: The server's time limit, in seconds.
        maxsize_bytes: The server's memory limit, in bytes.
        date: The time (`2026-11-19T23:59:59Z`) whose state is queried, or None for now.
        selection: The objects to query.
        asked: Texts that the response repeats, which identify it as the response to this query.
    """
    box = overpass_box(bbox)
    settings = f"[out:json][timeout:{timeout_s}][maxsize:{maxsize_bytes}]"
    if date is not None:
        settings += f'[date:"{date}"]'
    statements = [
        f"nwr[{condition}]({box});" for condition in _statements(selection, dated=date is not None)
    ]
    query = f"{settings};\n{repeating(asked)}({' '.join(statements)})->.p;\n"
    query += ".p out count;\n.p out meta geom;\n"
    if with_boundary and area.boundary_relation is not None:
        query += f"rel({area.boundary_relation})->.b;\n.b out count;\n.b out meta geom;\n"
    return query


def overpass_box(bbox: Bbox) -> str:
    """Return a bbox in the form of Overpass QL."""
    return f"{bbox.south:.7f},{bbox.west:.7f},{bbox.north:.7f},{bbox.east:.7f}"


def repeating(asked: Mapping[str, str] | None) -> str:
    """Return a statement that makes Overpass repeat texts (without quotes) in its response."""
    if not asked:
        return ""
    texts = ",".join(f'{key}="{text}"' for key, text in asked.items())
    return f"make asked {texts};out;\n"


def is_answered_wrongly(query: str) -> bool:
    """Return whether Overpass gives a wrong result for a query: a dated regex on keys.

    Earlier versions of this project sent such queries; see `overpass_query`.
    """
    return "[date:" in query and "[~" in query


def _statements(selection: Selection | AnyOf, *, dated: bool) -> list[str]:
    """Return the conditions of a selection, or of several without those that others imply."""
    if isinstance(selection, Selection):
        return _conditions(selection, dated=dated)
    conditions: dict[str, None] = {}
    for member in selection.members:
        any_value = {key for each in selection.members for key in each.any_value_keys}
        implied = any_value - {*member.any_value_keys}
        rest = {key: values for key, values in member.closed_tags.items() if key not in implied}
        if not (member.prefixes or member.words):  # where a condition has several keys
            member = replace(member, closed_tags=rest)  # noqa: PLW2901
        conditions |= dict.fromkeys(_conditions(member, dated=dated))
    return [*conditions]


def _conditions(selection: Selection, *, dated: bool) -> list[str]:
    """Return conditions; every selected object meets one of them, and others may too.

    Values match anywhere in the text. `Selection.selects` filters the elements of every response by
    exact values.

    Args:
        selection: The objects to query.
        dated: Whether a past state is queried, for which keys must not be matched by a pattern.
    """
    listed = "|".join(sorted({value for _, value in selection.closed_pairs}))
    if dated:
        return [
            *(f'"{key}"' for key in selection.any_value_keys),
            *(f'"{key}"~"{"|".join(each)}",i' for key, each in selection.listed_values.items()),
            *(f'"{word}"~"{listed}",i' for word in selection.words),
        ]
    keys, prefixes = "|".join(selection.closed_tags), "|".join(selection.prefixes)
    conditions = [f'"{key}"~"{"|".join(each)}",i' for key, each in selection.closed_tags.items()]
    if selection.open_keys:
        prefix = f"(({prefixes}):)?" if prefixes else ""
        conditions.append(f'~"^{prefix}({"|".join(selection.open_keys)})$"~"."')
    if prefixes and keys:
        conditions.append(f'~"^({prefixes}):({keys})$"~"{listed}",i')
    if selection.words and keys:
        conditions.append(f'~"^({"|".join(selection.words)})$"~"{listed}",i')
    return conditions
