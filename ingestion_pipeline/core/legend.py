"""Legends: the groups of classes that maps show, each with a colour, a shape and a letter.

Belongs here: what all maps have in common, which are the HTML page (`maps/`), the picture in
Dagster (`defs/preview.py`) and the stored styles of a GeoPackage (`staging/geopackage_styles.py`).
Does not belong here: how they draw.

The colours are those of Okabe and Ito, "Color Universal Design" (2008), which people with any
colour vision tell apart, and a grey with a tint, which no edge of black on white has. Shape and
letter say the same without colour.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Shape = Literal[
    "circle", "square", "diamond", "triangle", "pentagon", "hexagon", "star", "cross", "octagon"
]

ORANGE, SKY, GREEN, YELLOW = "#e69f00", "#56b4e9", "#009e73", "#f0e442"
BLUE, VERMILION, PURPLE, BLACK, GREY = "#0072b2", "#d55e00", "#cc79a7", "#000000", "#98968c"


class Group(NamedTuple):
    """A group of classes.

    Attributes:
        key: Its name in data.
        label: Its name for people.
        colour: Its colour as `#rrggbb`.
        shape: The shape of its symbol.
        letter: The letter in its symbol; unique in a legend.
        classes: Its classes. `shop` is also every class below it, such as `shop/bakery`.
    """

    key: str
    label: str
    colour: str
    shape: Shape
    letter: str
    classes: tuple[str, ...] = ()


class Legend(NamedTuple):
    """The groups of a dataset, in display order.

    Attributes:
        groups: The groups that name their classes.
        other: The group of all other classes.
    """

    groups: tuple[Group, ...] = ()
    other: Group = Group("other", "Other places", GREY, "circle", "O")

    @property
    def all(self) -> tuple[Group, ...]:
        """All groups, `other` last."""
        return (*self.groups, self.other)

    def group_of(self, class_: str) -> Group:
        """Return the group that names the class, or else the nearest class above it."""
        by_class = {each: group for group in self.groups for each in group.classes}
        while class_:
            if class_ in by_class:
                return by_class[class_]
            class_ = class_.rpartition("/")[0]
        return self.other


def _amenities(*names: str) -> tuple[str, ...]:
    return tuple(f"amenity/{name}" for name in names)


POIS = Legend(
    (
        Group(
            *("food", "Food and drink", VERMILION, "circle", "F"),
            _amenities(
                *("restaurant", "cafe", "bar", "pub", "fast_food", "ice_cream", "food_court"),
                "biergarten",
            ),
        ),
        Group("shop", "Shops", BLUE, "square", "S", ("shop",)),
        Group(
            *("health", "Health and emergency", GREEN, "cross", "H"),
            (
                "healthcare",
                "emergency",
                *_amenities("hospital", "clinic", "doctors", "dentist", "pharmacy"),
                *_amenities("nursing_home", "social_facility", "fire_station", "police"),
                "police",
            ),
        ),
        Group(
            *("transport", "Transport", SKY, "diamond", "T"),
            (
                *("public_transport", "railway", "highway", "aeroway", "aerialway"),
                *_amenities("parking", "parking_entrance", "parking_space", "motorcycle_parking"),
                *_amenities("bicycle_parking", "bicycle_rental", "bicycle_repair_station"),
                *_amenities("car_rental", "car_sharing", "car_wash", "taxi", "fuel"),
                *_amenities("charging_station"),
            ),
        ),
        Group(
            *("culture", "Tourism and culture", PURPLE, "star", "C"),
            (
                *("tourism", "historic", "attraction", "memorial"),
                *_amenities("arts_centre", "cinema", "theatre", "place_of_worship", "library"),
                *_amenities("fountain", "townhall"),
            ),
        ),
        Group(
            *("leisure", "Leisure and nature", YELLOW, "triangle", "L"),
            ("leisure", "natural", "waterway", "golf", "climbing"),
        ),
        Group(
            *("office", "Offices, crafts, education", ORANGE, "hexagon", "W"),
            (
                *("office", "craft", "education", "club"),
                *_amenities("school", "kindergarten", "university", "college", "bank"),
                *_amenities("post_office", "courthouse"),
            ),
        ),
        Group("amenity", "Other amenities", BLACK, "pentagon", "A", ("amenity",)),
    )
)
"""The legend of points of interest, whose classes are the categories of `osm/taxonomy.py`."""

HELPERS = Legend(
    (
        Group(
            *("hygiene", "Toilets and hygiene", BLUE, "square", "T"),
            ("toilets", "shower", "baby_change", "laundry"),
        ),
        Group("water", "Drinking water", SKY, "diamond", "W", ("drinking_water",)),
        Group(
            *("health", "Health and emergency", GREEN, "cross", "H"),
            (
                *("pharmacy", "hospital", "clinic", "dentist", "defibrillator"),
                *("emergency_phone", "police", "embassy"),
            ),
        ),
        Group(
            *("money", "Money", YELLOW, "hexagon", "M"),
            ("atm", "bank", "bureau_de_change"),
        ),
        Group(
            *("rest", "Rest and shelter", ORANGE, "triangle", "R"),
            ("bench", "picnic_table", "shelter", "waste_basket"),
        ),
        Group(
            *("information", "Information, phone, post", PURPLE, "star", "I"),
            (
                *("tourist_information", "tourist_map", "internet_access", "public_phone"),
                *("device_charging", "mobile_phone_shop", "post_office", "post_box"),
                *("luggage_storage", "lost_property"),
            ),
        ),
        Group(
            *("transport", "Transport", VERMILION, "circle", "P"),
            (
                *("public_transport_stop", "station_entrance", "elevator", "taxi"),
                *("ticket_machine", "bicycle_parking", "bicycle_rental", "bicycle_repair"),
                *("car_rental", "charging_station", "fuel", "parking"),
            ),
        ),
        Group(
            *("shop", "Food shops", BLACK, "pentagon", "S"),
            ("supermarket", "convenience"),
        ),
    )
)
"""The legend of helper places, whose classes are the kinds of `helpers/kinds.py`."""

CHANGES = Legend(
    (
        Group("added", "Added", GREEN, "cross", "+"),
        Group("removed", "Removed", VERMILION, "square", "\N{MINUS SIGN}"),
        Group("moved", "Moved", PURPLE, "diamond", "\N{RIGHTWARDS ARROW}"),
        Group("changed", "Changed in place", BLUE, "circle", "\N{ALMOST EQUAL TO}"),
    )
)
"""The legend of a difference between two days; its groups are kinds of change."""
