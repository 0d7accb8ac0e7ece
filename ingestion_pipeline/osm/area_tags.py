"""Which closed ways are areas and which are lines, by their tags."""

from collections.abc import Mapping

from ingestion_pipeline.osm.selection import LIFECYCLE_PREFIXES

LINEAR_TAGS: dict[str, frozenset[str]] = {
    "aeroway": frozenset({"parking_position", "runway", "taxiway"}),
    "attraction": frozenset(
        {
            "alpine_coaster",
            "log_flume",
            "river_rafting",
            "roller_coaster",
            "summer_toboggan",
            "train",
            "water_slide",
        }
    ),
    "barrier": frozenset(
        {
            "cable_barrier",
            "chain",
            "city_wall",
            "ditch",
            "fence",
            "guard_rail",
            "handrail",
            "hedge",
            "jersey_barrier",
            "kerb",
            "retaining_wall",
            "rope",
            "wall",
            "wire_fence",
        }
    ),
    "historic": frozenset({"aqueduct", "city_wall", "citywalls", "railway", "road", "tramway"}),
    "leisure": frozenset({"slipway", "track"}),
    "man_made": frozenset(
        {"cutline", "dyke", "embankment", "goods_conveyor", "groyne", "pipeline"}
    ),
    "natural": frozenset({"arete", "cliff", "coastline", "earth_bank", "ridge", "tree_row"}),
    "power": frozenset({"cable", "line", "minor_line"}),
    "railway": frozenset(
        {
            "abandoned",
            "construction",
            "disused",
            "funicular",
            "light_rail",
            "miniature",
            "monorail",
            "narrow_gauge",
            "preserved",
            "proposed",
            "rail",
            "razed",
            "subway",
            "tram",
        }
    ),
    "waterway": frozenset(
        {
            "canal",
            "ditch",
            "drain",
            "fairway",
            "fish_pass",
            "pressurised",
            "river",
            "stream",
            "tidal_channel",
            "weir",
        }
    ),
}
"""Tags that make even a closed way a line, such as a wall around a garden.

Source: the pages of these keys, "Key:area" and "Overpass turbo/Polygon Features" of the OSM wiki.
Where they differ (a closed `barrier=wall` or `leisure=track`), "Key:area" applies."""

LINEAR_KEYS: dict[str, frozenset[str]] = {
    "aerialway": frozenset({"station"}),
    "highway": frozenset({"elevator", "platform", "rest_area", "services"}),
    "route": frozenset(),
}
"""Keys that make even a closed way a line with any value except the listed ones. Same sources."""

_AREAL_KEYS = (
    "amenity",
    "area:highway",
    "building",
    "building:part",
    "club",
    "craft",
    "education",
    "healthcare",
    "historic",
    "landuse",
    "leisure",
    "military",
    "office",
    "place",
    "power",
    "public_transport",
    "shop",
    "tourism",
)
AREAL_KEYS = frozenset(_AREAL_KEYS) | {
    f"{prefix}:{key}" for prefix in LIFECYCLE_PREFIXES for key in _AREAL_KEYS
}
"""Keys whose closed ways are areas even beside a linear tag: a school with `barrier=fence` is the
ground within the fence."""

GENERIC_TAGS = frozenset(
    {
        ("historic", "heritage"),
        ("historic", "memorial"),
        ("historic", "monument"),
        ("historic", "ruins"),
        ("historic", "wall"),
        ("historic", "yes"),
        ("tourism", "artwork"),
        ("tourism", "attraction"),
        ("tourism", "yes"),
    }
)
"""Tags of areal keys that can be added to any object, lines included: a wall that is an
attraction."""


def is_area(tags: Mapping[str, str]) -> bool:
    """Return whether a closed way with these tags is an area.

    It is one, unless it has `area=no`, or is linear (`LINEAR_TAGS`, `LINEAR_KEYS`) and has neither
    `area=yes` nor an areal tag (`AREAL_KEYS`).
    """
    if tags.get("area") in {"yes", "no"}:
        return tags["area"] == "yes"
    return not _is_linear(tags) or any(
        key in AREAL_KEYS
        and value != "no"
        and (key, value) not in GENERIC_TAGS
        and value not in LINEAR_TAGS.get(key, ())
        for key, value in tags.items()
    )


def _is_linear(tags: Mapping[str, str]) -> bool:
    return any(
        value in LINEAR_TAGS.get(key, ()) or (key in LINEAR_KEYS and value not in LINEAR_KEYS[key])
        for key, value in tags.items()
    )
