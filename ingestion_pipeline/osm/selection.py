"""Which OpenStreetMap objects are POIs: one table, from which every filter is built.

Belongs here: the table of keys, and its translations to Overpass QL, to filters of tags and to a
predicate. Does not belong here: categories (`taxonomy.py`), and asking (`overpass.py`).

An object is selected when one of its tags is selected: its key is one of `OPEN_KEYS`, with any
value; or one of these behind a lifecycle prefix (`disused:amenity`), with any value; or the tag is
in `CLOSED_TAGS`, with one of the listed values. Source of the keys: "Map features" of the OSM wiki.
A selected object whose only main tags say `no` is no POI; the normalizer rejects it by name
(`no_main_tag`), so that nothing is dropped unseen.
"""

from collections.abc import Mapping

from ingestion_pipeline.hashing import row_hashes
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

PREFIXED_KEYS: tuple[str, ...] = tuple(
    f"{prefix}:{key}" for prefix in LIFECYCLE_PREFIXES for key in OPEN_KEYS
)
ANY_VALUE_KEYS: tuple[str, ...] = OPEN_KEYS + PREFIXED_KEYS
CLOSED_PAIRS: tuple[tuple[str, str], ...] = tuple(
    (key, value) for key, values in CLOSED_TAGS.items() for value in values
)

SELECTION_DIGEST = row_hashes([[ANY_VALUE_KEYS], [CLOSED_PAIRS]])[0]
"""What tells whether an Overpass answer was asked for with this very table."""

_ANY_VALUE = frozenset(ANY_VALUE_KEYS)
_PAIRS = frozenset(CLOSED_PAIRS)


def is_selected(tags: Mapping[str, str]) -> bool:
    """Tell whether an object with these tags is selected."""
    return not _ANY_VALUE.isdisjoint(tags) or not _PAIRS.isdisjoint(tags.items())


def overpass_query(
    area: Area,
    *,
    bbox: Bbox,
    with_boundary: bool,
    timeout_s: int,
    maxsize_bytes: int,
    date: str | None = None,
) -> str:
    """Build the Overpass QL of one part of a city.

    The answer holds, in this order: a count, the selected elements of `bbox` with metadata and
    geometry; and, where `with_boundary` is set, another count and the boundary relation.

    Args:
        area: The city's area.
        bbox: The part of `area.bbox` to ask for.
        with_boundary: Whether to ask for the boundary relation in the same query, so that it
            comes from the same snapshot.
        timeout_s: The server's own limit of time, in seconds.
        maxsize_bytes: The server's own limit of memory, in bytes.
        date: The moment (`2026-11-19T23:59:59Z`) whose state is asked for, or None for now.
    """
    keys = "|".join(OPEN_KEYS)
    prefixes = "|".join(LIFECYCLE_PREFIXES)
    box = f"{bbox.south:.7f},{bbox.west:.7f},{bbox.north:.7f},{bbox.east:.7f}"
    settings = f"[out:json][timeout:{timeout_s}][maxsize:{maxsize_bytes}]"
    if date is not None:
        settings += f'[date:"{date}"]'
    statements = [f'nwr[~"^(({prefixes}):)?({keys})$"~"."]({box});']
    for key, values in CLOSED_TAGS.items():
        statements.append(f'nwr["{key}"~"^({"|".join(values)})$"]({box});')
    query = f"{settings};\n({' '.join(statements)})->.p;\n.p out count;\n.p out meta geom;\n"
    if with_boundary and area.boundary_relation is not None:
        query += f"rel({area.boundary_relation})->.b;\n.b out count;\n.b out meta geom;\n"
    return query
