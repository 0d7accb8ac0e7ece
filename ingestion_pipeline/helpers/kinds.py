"""The kinds of helper places, and the OSM tags of each.

An object *is* a helper by its main tags (`amenity=toilets`). An object *has* one by a secondary tag
(`toilets=yes` on a café): the helper is then derived, and the object is its parent. A `no` of the
key that denies the kind overrides everything (`toilets=no`); a `no` of another key has no effect: a
place without a toilet for wheelchairs may have another one. Values of a list (`atm;bank`) count one
by one. Source of the tags: "Map features" and the pages of the keys in the OSM wiki.
docs/helper-kinds.md is generated from this table; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Tag = tuple[str, str]

PRESENT = ("yes", "customers", "designated", "limited", "permissive", "public")
"""Values of a secondary tag for something that is present."""


@dataclass(frozen=True)
class Kind:
    """A kind of helper places.

    Attributes:
        name: Its key.
        meaning: What a traveller finds there.
        main: An object is one if it has all tags of one of these.
        secondary: An object has one if it has one of these tags.
        denied_by: The secondary key whose `no` overrides all other tags.
        details: Keys whose values are kept as attributes, in addition to those of every kind
            (`derive.py`). A key that ends with `:` includes all keys with that prefix.
    """

    name: str
    meaning: str
    main: Sequence[Mapping[str, str]] = ()
    secondary: Mapping[str, Sequence[str]] = field(default_factory=dict)
    denied_by: str | None = None
    details: Sequence[str] = ()


def _all(*tags: str) -> tuple[Mapping[str, str], ...]:
    """Parse tags, each of which is enough; `&` joins tags that are required together."""
    return tuple(MappingProxyType(dict(_tag(tag) for tag in text.split("&"))) for text in tags)


def _tag(text: str) -> Tag:
    key, value = text.split("=", 1)
    return key, value


_KINDS = (
    # What a body needs
    Kind(
        "toilets",
        "A toilet that may be used.",
        main=_all("amenity=toilets", "building=toilets"),
        secondary={"toilets": PRESENT, "toilets:wheelchair": ("yes", "limited", "designated")},
        denied_by="toilets",
        details=("female", "male", "unisex", "gender_segregated", "changing_table", "toilets:"),
    ),
    Kind(
        "drinking_water",
        "Water that can be drunk, or a place that refills bottles.",
        main=_all("amenity=drinking_water", "amenity=water_point"),
        secondary={
            "drinking_water": ("yes", "treated", "chlorinated"),
            "drinking_water:refill": ("yes",),
            "free_water": ("yes", "customers"),
            "fountain": ("drinking", "bubbler", "drinking_fountain"),
        },
        denied_by="drinking_water",
        details=("bottle", "fountain", "drinking_water:", "free_water:"),
    ),
    Kind(
        "shower",
        "A shower.",
        main=_all("amenity=shower"),
        secondary={"shower": (*PRESENT, "hot", "cold", "outdoor", "indoor")},
        denied_by="shower",
        details=("female", "male", "unisex", "hot_water", "shower:"),
    ),
    Kind(
        "baby_change",
        "A place to change a baby.",
        main=_all("amenity=baby_changing", "amenity=nursing_room"),
        secondary={
            "changing_table": ("yes", "limited", "customers"),
            "diaper": ("yes", "room", "bench"),
            "baby_changing": ("yes",),
        },
        denied_by="changing_table",
        details=("changing_table:", "diaper:", "female", "male", "unisex"),
    ),
    Kind(
        "bench",
        "Something to sit on.",
        main=_all("amenity=bench"),
        secondary={"bench": ("yes",)},
        denied_by="bench",
        details=("backrest", "covered", "seats", "material"),
    ),
    Kind(
        "picnic_table",
        "A table outside, to eat at.",
        main=_all("leisure=picnic_table"),
        secondary={"picnic_table": ("yes",)},
        denied_by="picnic_table",
        details=("covered",),
    ),
    Kind(
        "shelter",
        "A roof against the weather.",
        main=_all("amenity=shelter", "tourism=wilderness_hut"),
        secondary={"shelter": ("yes",)},
        denied_by="shelter",
        details=("shelter_type", "covered", "bench"),
    ),
    Kind(
        "waste_basket",
        "A place for litter.",
        main=_all("amenity=waste_basket"),
        secondary={"bin": ("yes",), "waste_basket": ("yes",), "waste_bin": ("yes",)},
        denied_by="waste_basket",
        details=("waste",),
    ),
    # Health and emergencies
    Kind(
        "pharmacy",
        "Medicines.",
        main=_all("amenity=pharmacy", "healthcare=pharmacy"),
        secondary={"pharmacy": ("yes",)},
        denied_by="pharmacy",
        details=("dispensing", "drive_through"),
    ),
    Kind(
        "hospital",
        "A hospital.",
        main=_all("amenity=hospital", "healthcare=hospital"),
        details=("emergency", "healthcare:"),
    ),
    Kind(
        "clinic",
        "A doctor, or several.",
        main=_all(
            "amenity=clinic",
            "amenity=doctors",
            "healthcare=clinic",
            "healthcare=doctor",
            "healthcare=centre",
        ),
        details=("emergency", "healthcare:"),
    ),
    Kind(
        "dentist",
        "A dentist.",
        main=_all("amenity=dentist", "healthcare=dentist"),
        details=("emergency",),
    ),
    Kind(
        "defibrillator",
        "An automated external defibrillator.",
        main=_all("emergency=defibrillator"),
        secondary={"defibrillator": ("yes",)},
        denied_by="defibrillator",
        details=("indoor", "defibrillator:"),
    ),
    Kind(
        "emergency_phone",
        "A telephone for emergencies.",
        main=_all("emergency=phone"),
        secondary={"emergency_telephone": ("yes",)},
        denied_by="emergency_telephone",
        details=("emergency_telephone_code",),
    ),
    Kind("police", "The police.", main=_all("amenity=police")),
    Kind(
        "embassy",
        "An embassy or a consulate.",
        main=_all(
            "amenity=embassy", "office=diplomatic", "diplomatic=embassy", "diplomatic=consulate"
        ),
        details=("country", "target", "diplomatic", "embassy", "consulate"),
    ),
    # Money
    Kind(
        "atm",
        "Cash from a machine.",
        main=_all("amenity=atm"),
        secondary={"atm": ("yes",)},
        denied_by="atm",
        details=("cash_in", "currency:", "atm:", "network"),
    ),
    Kind("bank", "A bank.", main=_all("amenity=bank"), details=("currency:",)),
    Kind(
        "bureau_de_change",
        "Money of another country.",
        main=_all("amenity=bureau_de_change"),
        secondary={"bureau_de_change": ("yes",), "currency_exchange": ("yes",)},
        denied_by="bureau_de_change",
        details=("currency:",),
    ),
    # To find one's way, and to keep in touch
    Kind(
        "tourist_information",
        "People who know the place.",
        main=_all(
            "tourism=information&information=office",
            "tourism=information&information=visitor_centre",
            "tourism=information&information=visitor_center",
        ),
    ),
    Kind(
        "tourist_map",
        "A map or a board that explains the place.",
        main=_all(
            "tourism=information&information=map",
            "tourism=information&information=board",
            "tourism=information&information=tactile_map",
        ),
        details=("map_type", "map_size", "board_type"),
    ),
    Kind(
        "internet_access",
        "A way into the internet.",
        main=_all("amenity=internet_cafe"),
        secondary={
            "internet_access": ("yes", "wlan", "wifi", "public", "terminal", "wired", "service"),
            "wifi": ("yes", "free"),
        },
        denied_by="internet_access",
        details=("internet_access:",),
    ),
    Kind("public_phone", "A public telephone.", main=_all("amenity=telephone")),
    Kind(
        "device_charging",
        "A socket for a telephone.",
        main=_all("amenity=device_charging_station"),
        secondary={"device_charging": ("yes",), "power_supply": ("yes",)},
        denied_by="device_charging",
        details=("socket:", "power_supply:"),
    ),
    Kind("mobile_phone_shop", "A SIM card.", main=_all("shop=mobile_phone")),
    Kind(
        "post_office",
        "A post office, or a shop that does its work.",
        main=_all("amenity=post_office"),
        secondary={"post_office": ("yes", "bureau", "post_annex", "post_partner")},
        denied_by="post_office",
        details=("post_office:",),
    ),
    Kind("post_box", "A letter box.", main=_all("amenity=post_box"), details=("collection_times",)),
    Kind(
        "luggage_storage",
        "A place to leave luggage.",
        main=_all("amenity=luggage_locker", "amenity=left_luggage", "amenity=luggage_storage"),
        secondary={"luggage_locker": ("yes",), "luggage_storage": ("yes",)},
        denied_by="luggage_storage",
        details=("capacity",),
    ),
    Kind("lost_property", "What was lost and found.", main=_all("amenity=lost_property_office")),
    # To get on
    Kind(
        "public_transport_stop",
        "A stop or station of public transport.",
        main=_all(
            "highway=bus_stop",
            "public_transport=platform",
            "public_transport=station",
            "railway=tram_stop",
            "railway=halt",
            "railway=station",
            "railway=platform",
            "highway=platform",
            "amenity=bus_station",
            "amenity=ferry_terminal",
            "aerialway=station",
        ),
        details=(
            *("bus", "tram", "trolleybus", "train", "light_rail", "subway", "ferry", "monorail"),
            *("aerialway", "network", "ref", "local_ref", "shelter", "bench", "tactile_paving"),
        ),
    ),
    Kind(
        "station_entrance",
        "A way into a station, such as that from the street to the underground.",
        main=_all("railway=subway_entrance", "railway=train_station_entrance"),
        details=("ref", "entrance", "network", "tactile_paving"),
    ),
    Kind(
        "elevator",
        "A lift, for those with luggage, a pram or a wheelchair.",
        main=_all("highway=elevator"),
        details=("indoor", "capacity", "handrail", "tactile_paving"),
    ),
    Kind("taxi", "A rank of taxis.", main=_all("amenity=taxi"), details=("capacity",)),
    Kind(
        "ticket_machine",
        "A machine that sells tickets of public transport.",
        main=_all("amenity=vending_machine&vending=public_transport_tickets"),
    ),
    Kind(
        "bicycle_parking",
        "A place to leave a bicycle.",
        main=_all("amenity=bicycle_parking"),
        details=("bicycle_parking", "capacity", "covered", "cargo_bike", "supervised"),
    ),
    Kind(
        "bicycle_rental",
        "A bicycle to hire.",
        main=_all("amenity=bicycle_rental"),
        secondary={"service:bicycle:rental": ("yes",)},
        details=("capacity", "network", "bicycle_rental"),
    ),
    Kind(
        "bicycle_repair",
        "Tools or people to repair a bicycle.",
        main=_all("amenity=bicycle_repair_station"),
        secondary={"service:bicycle:repair": ("yes",), "service:bicycle:diy": ("yes",)},
        details=("service:bicycle:",),
    ),
    Kind(
        "car_rental",
        "A car to hire or to share.",
        main=_all("amenity=car_rental", "amenity=car_sharing"),
        details=("capacity", "network"),
    ),
    Kind(
        "charging_station",
        "Electricity for a vehicle.",
        main=_all("amenity=charging_station"),
        secondary={"fuel:electricity": ("yes",)},
        details=("socket:", "capacity", "bicycle", "car", "scooter", "network"),
    ),
    Kind("fuel", "Fuel for a vehicle.", main=_all("amenity=fuel"), details=("fuel:",)),
    Kind(
        "parking",
        "A place to leave a car.",
        main=_all("amenity=parking", "amenity=parking_entrance"),
        details=("parking", "capacity", "capacity:disabled", "maxstay"),
    ),
    # To buy
    Kind("supermarket", "A supermarket.", main=_all("shop=supermarket")),
    Kind("convenience", "A small shop for daily needs.", main=_all("shop=convenience")),
    Kind(
        "laundry",
        "Clean clothes.",
        main=_all("shop=laundry", "amenity=laundry"),
        secondary={"washing_machine": ("yes",)},
        details=("self_service",),
    ),
)

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _KINDS})
"""All kinds, by name."""


def _closed_tags() -> dict[str, tuple[str, ...]]:
    """Return tags of which every object that is or has a helper has at least one."""
    found: dict[str, dict[str, None]] = {}
    for kind in _KINDS:
        for rule in kind.main:
            key, value = next(iter(rule.items()))
            found.setdefault(key, {})[value] = None
        for key, values in kind.secondary.items():
            found.setdefault(key, {}).update(dict.fromkeys(values))
    return {key: tuple(sorted(found[key])) for key in sorted(found)}


CLOSED_TAGS: Mapping[str, tuple[str, ...]] = MappingProxyType(_closed_tags())
"""The tags to select in OSM."""
