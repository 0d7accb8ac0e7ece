"""Which OpenStreetMap objects are asked for: a table of tags, from which every filter is built.

Belongs here: selections, that of the POIs, and their translations to Overpass QL, to filters of
tags and to a predicate. Does not belong here: categories (`taxonomy.py`), which tags make a helper
place (`helpers/kinds.py`), and asking (`overpass.py`).

An object is selected as a POI when one of its tags is selected: its key is one of `OPEN_KEYS`, with
any value; or one of these behind a lifecycle prefix (`disused:amenity`), with any value; or the tag
is in `CLOSED_TAGS`, with one of the listed values. Source of the keys: "Map features" of the OSM
wiki. A selected object whose only main tags say `no` is no POI; the normalizer rejects it by name
(`no_main_tag`), so that nothing is dropped unseen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ingestion_pipeline.hashing import digest_of_bytes
from ingestion_pipeline.osm.acquire import Area, Bbox

OPEN_KEYS: tuple[str, ...] = (
    "amenity",
    "attraction",
    "club",
    "craft",
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
    "disused",
    "planned",
    "proposed",
    "razed",
    "removed",
    "was",
)
"""Prefixes of a main key that tell that the POI is not, or not yet, or no longer, operating.

Source: "Lifecycle prefix" of the OSM wiki."""

CLOSED_TAGS: dict[str, tuple[str, ...]] = {
    "aerialway": ("station",),
    "aeroway": ("aerodrome", "heliport", "terminal"),
    "emergency": (
        "ambulance_station",
        "assembly_point",
        "defibrillator",
        "drinking_water",
        "landing_site",
        "lifeguard",
        "mountain_rescue",
        "phone",
    ),
    "highway": ("bus_stop", "rest_area", "services"),
    "landuse": ("cemetery", "recreation_ground", "religious"),
    "man_made": (
        "cross",
        "lighthouse",
        "obelisk",
        "observatory",
        "observation_tower",
        "pier",
        "telescope",
        "water_tap",
        "water_well",
        "watermill",
        "windmill",
    ),
    "natural": (
        "arch",
        "beach",
        "cave_entrance",
        "geyser",
        "hot_spring",
        "peak",
        "spring",
        "volcano",
    ),
    "place": ("square",),
    "railway": ("halt", "station", "subway_entrance", "tram_stop"),
    "waterway": ("waterfall",),
}
"""Keys that make a POI only with one of the listed values."""


@dataclass(frozen=True)
class Selection:
    """Tags, one of which an object must have.

    Attributes:
        open_keys: Keys that select with any value, also behind a lifecycle prefix.
        closed_tags: Keys that select with one of the listed values only.
        in_lists: Whether a closed value also counts as one of several (`atm;bank`).
    """

    open_keys: tuple[str, ...] = ()
    closed_tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    in_lists: bool = False

    @cached_property
    def any_value_keys(self) -> tuple[str, ...]:
        """Name the keys that select with any value, those with a prefix too."""
        prefixed = (f"{prefix}:{key}" for prefix in LIFECYCLE_PREFIXES for key in self.open_keys)
        return (*self.open_keys, *prefixed)

    @cached_property
    def closed_pairs(self) -> tuple[tuple[str, str], ...]:
        """Name the tags that select as they are."""
        return tuple((key, value) for key, values in self.closed_tags.items() for value in values)

    @cached_property
    def digest(self) -> str:
        """Tell whether an Overpass answer was asked for with this very table."""
        # Stored answers name it in this form; in another one all would be asked for again.
        in_lists = ("in lists",) if self.in_lists else ()
        return digest_of_bytes(ascii((self.any_value_keys, self.closed_pairs, *in_lists)).encode())

    def selects(self, tags: Mapping[str, str]) -> bool:
        """Tell whether an object with these tags is selected."""
        if not self._any_value.isdisjoint(tags) or not self._pairs.isdisjoint(tags.items()):
            return True
        return self.in_lists and any(
            value in values_of(tags[key])
            for key, values in self.closed_tags.items()
            if ";" in tags.get(key, "")
            for value in values
        )

    @cached_property
    def _any_value(self) -> frozenset[str]:
        return frozenset(self.any_value_keys)

    @cached_property
    def _pairs(self) -> frozenset[tuple[str, str]]:
        return frozenset(self.closed_pairs)


def values_of(value: str) -> list[str]:
    """Take a value of several apart: `atm;bank`."""
    return [part for each in value.split(";") if (part := each.strip())]


POIS = Selection(OPEN_KEYS, CLOSED_TAGS)

NOTHING = Selection(closed_tags={"boundary": ("none of this name",)})
"""Selects no object, for whoever asks for a boundary alone."""


def overpass_query(
    area: Area,
    *,
    bbox: Bbox,
    with_boundary: bool,
    timeout_s: int,
    maxsize_bytes: int,
    date: str | None = None,
    selection: Selection = POIS,
    asked: Mapping[str, str] | None = None,
) -> str:
    """Build the Overpass QL of one part of a city.

    The answer holds, in this order: an element that repeats `asked`; a count, the selected elements
    of `bbox` with metadata and geometry; and, where `with_boundary` is set, another count and the
    boundary relation.

    A dated query names each key in a statement of its own. Overpass (0.7.62 and 0.7.62.2 measured)
    answers a dated regular expression on keys from the current tags: it leaves out objects that
    lost the key since then, and returns some that did not have it yet
    (https://github.com/drolbr/Overpass-API/issues/510). Undated ones are right, and several times
    cheaper.

    Args:
        area: The city's area.
        bbox: The part of `area.bbox` to ask for.
        with_boundary: Whether to ask for the boundary relation in the same query, so that it
            comes from the same snapshot.
        timeout_s: The server's own limit of time, in seconds.
        maxsize_bytes: The server's own limit of memory, in bytes.
        date: The moment (`2026-11-19T23:59:59Z`) whose state is asked for, or None for now.
        selection: Which objects to ask for.
        asked: What the answer repeats, so that it cannot be taken for that of another question.
    """
    box = overpass_box(bbox)
    settings = f"[out:json][timeout:{timeout_s}][maxsize:{maxsize_bytes}]"
    if date is not None:
        settings += f'[date:"{date}"]'
    statements = [
        f"nwr[{condition}]({box});" for condition in _conditions(selection, dated=date is not None)
    ]
    query = f"{settings};\n{repeating(asked)}({' '.join(statements)})->.p;\n"
    query += ".p out count;\n.p out meta geom;\n"
    if with_boundary and area.boundary_relation is not None:
        query += f"rel({area.boundary_relation})->.b;\n.b out count;\n.b out meta geom;\n"
    return query


def overpass_box(bbox: Bbox) -> str:
    """Write a bbox as Overpass reads it."""
    return f"{bbox.south:.7f},{bbox.west:.7f},{bbox.north:.7f},{bbox.east:.7f}"


def repeating(asked: Mapping[str, str] | None) -> str:
    """Write the statement that has Overpass repeat texts (without quotes) in its answer."""
    if not asked:
        return ""
    texts = ",".join(f'{key}="{text}"' for key, text in asked.items())
    return f"make asked {texts};out;\n"


def is_answered_wrongly(query: str) -> bool:
    """Return whether Overpass gives a wrong answer to this query: a dated regex on keys.

    Earlier versions of this project asked so; see `overpass_query`.
    """
    return "[date:" in query and "[~" in query


def _conditions(selection: Selection, *, dated: bool) -> list[str]:
    """Write the conditions, one of which an object must meet."""
    conditions = []
    if dated:
        conditions += [f'"{key}"' for key in selection.any_value_keys]
    elif selection.open_keys:
        keys, prefixes = "|".join(selection.open_keys), "|".join(LIFECYCLE_PREFIXES)
        conditions.append(f'~"^(({prefixes}):)?({keys})$"~"."')
    before, after = ("(^|; *)", "( *;|$)") if selection.in_lists else ("^", "$")
    for key, values in selection.closed_tags.items():
        conditions.append(f'"{key}"~"{before}({"|".join(values)}){after}"')
    return conditions
