"""Which helper places an object gives, told a second time, to compare the pipeline with.

Belongs here: plain `if`s over the words of docs/helper-kinds.md. Does not belong here: anything
imported from `ingestion_pipeline`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PRESENT = "yes customers designated limited permissive public"


def kinds_of(tags: Mapping[str, str]) -> set[str]:  # noqa: C901, PLR0912, PLR0915 - plain on purpose
    """Name the kinds of an object's helpers."""

    def says(key: str, words: str) -> bool:
        if key not in tags:
            return False
        return any(value.strip() in words.split() for value in tags[key].split(";"))

    found = set()
    for key, words in (
        ("amenity", "hospital dentist police bank taxi fuel parking bench shelter shower pharmacy"),
        ("amenity", "toilets drinking_water atm bureau_de_change bicycle_parking bicycle_rental"),
        ("amenity", "charging_station post_office post_box clinic waste_basket embassy laundry"),
        ("shop", "supermarket convenience laundry"),
        ("healthcare", "pharmacy hospital dentist clinic"),
        ("emergency", "defibrillator"),
        ("highway", "elevator"),
        ("amenity", "car_rental"),
        ("leisure", "picnic_table"),
        ("building", "toilets"),
    ):
        if key in tags:
            found |= {word for word in words.split() if says(key, word)}
    if says("amenity", "water_point"):
        found.add("drinking_water")
    if says("amenity", "baby_changing nursing_room"):
        found.add("baby_change")
    if says("amenity", "doctors") or says("healthcare", "doctor centre"):
        found.add("clinic")
    if says("emergency", "phone"):
        found.add("emergency_phone")
    if says("office", "diplomatic") or says("diplomatic", "embassy consulate"):
        found.add("embassy")
    if says("tourism", "information") and says(
        "information", "office visitor_centre visitor_center"
    ):
        found.add("tourist_information")
    if says("tourism", "information") and says("information", "map board tactile_map"):
        found.add("tourist_map")
    if says("amenity", "internet_cafe"):
        found.add("internet_access")
    if says("amenity", "telephone"):
        found.add("public_phone")
    if says("amenity", "device_charging_station"):
        found.add("device_charging")
    if says("shop", "mobile_phone"):
        found.add("mobile_phone_shop")
    if says("amenity", "luggage_locker left_luggage luggage_storage"):
        found.add("luggage_storage")
    if says("amenity", "lost_property_office"):
        found.add("lost_property")
    if (
        says("highway", "bus_stop platform")
        or says("public_transport", "platform station")
        or says("railway", "tram_stop halt station platform")
        or says("amenity", "bus_station ferry_terminal")
        or says("aerialway", "station")
    ):
        found.add("public_transport_stop")
    if says("amenity", "vending_machine") and says("vending", "public_transport_tickets"):
        found.add("ticket_machine")
    if says("amenity", "bicycle_repair_station"):
        found.add("bicycle_repair")
    if says("railway", "subway_entrance train_station_entrance"):
        found.add("station_entrance")
    if says("tourism", "wilderness_hut"):
        found.add("shelter")
    if says("amenity", "car_sharing"):
        found.add("car_rental")
    if says("amenity", "parking_entrance"):
        found.add("parking")
    for kind, key, words in (
        ("toilets", "toilets", PRESENT),
        ("toilets", "toilets:wheelchair", "yes limited designated"),
        ("drinking_water", "drinking_water", "yes treated chlorinated"),
        ("drinking_water", "drinking_water:refill", "yes"),
        ("drinking_water", "free_water", "yes customers"),
        ("drinking_water", "fountain", "drinking bubbler drinking_fountain"),
        ("shower", "shower", PRESENT + " hot cold outdoor indoor"),
        ("baby_change", "changing_table", "yes limited customers"),
        ("baby_change", "diaper", "yes room bench"),
        ("baby_change", "baby_changing", "yes"),
        ("bench", "bench", "yes"),
        ("picnic_table", "picnic_table", "yes"),
        ("shelter", "shelter", "yes"),
        ("waste_basket", "bin", "yes"),
        ("waste_basket", "waste_basket", "yes"),
        ("waste_basket", "waste_bin", "yes"),
        ("post_office", "post_office", "yes bureau post_annex post_partner"),
        ("laundry", "washing_machine", "yes"),
        ("pharmacy", "pharmacy", "yes"),
        ("defibrillator", "defibrillator", "yes"),
        ("emergency_phone", "emergency_telephone", "yes"),
        ("atm", "atm", "yes"),
        ("bureau_de_change", "bureau_de_change", "yes"),
        ("bureau_de_change", "currency_exchange", "yes"),
        ("internet_access", "internet_access", "yes wlan wifi public terminal wired service"),
        ("internet_access", "wifi", "yes free"),
        ("device_charging", "device_charging", "yes"),
        ("device_charging", "power_supply", "yes"),
        ("luggage_storage", "luggage_locker", "yes"),
        ("luggage_storage", "luggage_storage", "yes"),
        ("bicycle_rental", "service:bicycle:rental", "yes"),
        ("bicycle_repair", "service:bicycle:repair", "yes"),
        ("bicycle_repair", "service:bicycle:diy", "yes"),
        ("charging_station", "fuel:electricity", "yes"),
    ):
        if says(key, words):
            found.add(kind)
    for kind in tuple(found):
        deciding = {"baby_change": "changing_table", "emergency_phone": "emergency_telephone"}
        if says(deciding.get(kind, kind), "no"):
            found.remove(kind)
    return found
