"""Positions in all the forms in which publishers have them, and ids that come from positions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod

from ingestion_pipeline.sources.feed.positions import (
    Anchor,
    ids_by_position,
    in_wgs84,
    number_of,
    pair_of,
)
from ingestion_pipeline_tests.support.feed_server import TOILETS, feed_of


@pytest.mark.parametrize(
    ("value", "decimal", "number"),
    [
        ("52.5", ".", 52.5),
        (" -0.18195 ", ".", -0.18195),
        ("1.2e1", ".", 12.0),
        (".5", ".", 0.5),
        ("52,5", ",", 52.5),
        ("-13", ",", -13.0),
        (52, ".", 52.0),
        (52.5, ",", 52.5),
        ("52,5", ".", None),
        ("52.5", ",", None),
        ("392.672,488", ",", None),
        ("52.5 O", ".", None),
        ("1_000", ".", None),
        ("nan", ".", None),
        ("inf", ".", None),
        ("", ".", None),
        (True, ".", None),
        (None, ".", None),
        ([1], ".", None),
    ],
)
def test_a_coordinate_is_a_number_with_the_decimal_mark(
    value: Any, decimal: str, number: float | None
) -> None:
    assert number_of(value, decimal) == number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        # 45 minutes are 0.75 degrees, 36 seconds 0.01.
        ("52°45'36\"N", 52.76),
        ("52° 45' 36.0\" N", 52.76),
        ("52°45′36″N", 52.76),
        ("52°45'36''S", -52.76),
        ("13°45' E", 13.75),
        ("0°45,0' W", -0.75),
        ("13º45´36´´ E", 13.76),
        ("N 52°45'", 52.75),
        ("W0°45.0'", -0.75),
        ("13.5° E", 13.5),
        ("13,5 W", -13.5),
        ("13°45'36\"", 13.76),
        ("-13°45'", -13.75),
        ("13°45'36\" O", None),
        ("13°75' E", None),
        ('13°36" E', None),
        ("13.5°30' E", None),
        ("-13°45' W", None),
        ("N 13°45' E", None),
        ("13 45' E", None),
        ("13 45 36", None),
    ],
)
def test_a_coordinate_may_be_in_degrees_minutes_and_seconds(
    value: str, number: float | None
) -> None:
    assert number_of(value, ".") == (None if number is None else pytest.approx(number, abs=1e-9))


@pytest.mark.parametrize(
    ("value", "decimal", "pair"),
    [
        ("48.84, 2.30", ".", [48.84, 2.30]),
        ("48.84,2.30", ".", [48.84, 2.30]),
        ("(40.6867, -73.9902)", ".", [40.6867, -73.9902]),
        ("[40.6867; -73.9902]", ".", [40.6867, -73.9902]),
        ("48.84 2.30", ".", [48.84, 2.30]),
        ("123 Main St\nNew York, NY 10001\n(40.6867, -73.9902)", ".", [40.6867, -73.9902]),
        ("52,5; 13,4", ",", [52.5, 13.4]),
        ("52,5 13,4", ",", [52.5, 13.4]),
        ("52,5, 13,4", ",", [52.5, 13.4]),
        ([48.84, 2.30], ".", [48.84, 2.30]),
        (["48.84", "2.30"], ".", [48.84, 2.30]),
        ("48.84", ".", []),
        ("48.84, 2.30, 7", ".", []),
        ("POINT (2.30 48.84)", ".", []),
        ("somewhere", ".", []),
        (None, ".", []),
        ({"lat": 48.84, "lon": 2.30}, ".", []),
        ("1" * 2000 + ",2", ".", []),
    ],
    ids=lambda value: str(value)[:30],
)
def test_two_coordinates_may_be_in_one_text(
    value: Any, decimal: str, pair: list[float | None]
) -> None:
    assert pair_of(value, decimal) == pair


@pytest.mark.parametrize(
    "text",
    [
        "60°10'12\"N 24°56'15\"E",
        "60° 10' 12.0\" N, 24° 56' 15.0\" E",
        "60°10′12″N / 24°56′15″E",
        "(60º10´12´´N; 24º56´15´´E)",
        "N 60°10'12\" E 24°56'15\"",
        "N60°10.2' E24°56.25'",
        "60°10'12\", 24°56'15\"",
        "60.17° N, 24.9375° E",
        "60,17° N, 24,9375° E",
        "60.17N 24.9375E",
        "24°56'15\"E 60°10'12\"N",
    ],
)
def test_two_angles_may_be_in_one_text_and_their_letters_say_which_is_which(text: str) -> None:
    expected = pytest.approx([60.17, 24.9375], abs=1e-9)
    assert pair_of(text, ".") == pair_of(text, ",") == expected
    if "E" in text:
        assert pair_of(text, ".", latitude_first=False)[::-1] == expected


@pytest.mark.parametrize(
    "text", ["60°10'N 61°10'N", "60°10'N", "60°10'N 24°56'O", "60°10' N 24°75' E", "N 60 E"]
)
def test_two_angles_that_are_no_position_are_none(text: str) -> None:
    assert pair_of(text, ".") == []


def test_a_text_of_many_digits_takes_no_time() -> None:
    assert pair_of("1" * 999 + "x", ".") == []
    assert pair_of("1°" + " " * 990 + "x", ".") == []
    assert number_of("1" * 60_000 + "x", ".") is None


# pyproj tries whether an array of one is a number, which NumPy 1.26 only deprecates.
@pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning")
@pytest.mark.parametrize(
    ("crs", "xy", "lon_lat"),
    [
        # By gdaltransform; EPSG:27700 by the example of Ordnance Survey's guide (in WGS 84).
        ("EPSG:25833", (392672.488, 5817675.476), (13.4189326, 52.4986383)),
        ("EPSG:3067", (386255.153827798, 6672109.47543698), (24.95, 60.17)),
        ("EPSG:2393", (3386379.0, 6674909.0), (24.95, 60.17)),
        ("EPSG:27700", (651409.903, 313177.270), (1.716052, 52.657979)),
        ("urn:ogc:def:crs:EPSG::4258", (24.95, 60.17), (24.95, 60.17)),
        ("OGC:CRS84", (24.95, 60.17), (24.95, 60.17)),
    ],
)
def test_x_is_the_easting_whatever_order_of_axes_the_system_defines(
    crs: str, xy: tuple[float, float], lon_lat: tuple[float, float]
) -> None:
    (point,) = in_wgs84(np.array([shapely.Point(*xy)], dtype=object), crs, feed_of(TOILETS))
    # Without PROJ's grids, old national systems are exact to some metres.
    assert (point.x, point.y) == pytest.approx(lon_lat, abs=1e-4)


def ids(*places: tuple[float, float], kinds: list[str] | None = None) -> list[str | None]:
    lon, lat = np.array(places).T
    return ids_by_position(
        kinds or ["toilets"] * len(places), lon, lat, [str(place) for place in places]
    )


def test_an_id_is_the_centre_of_a_cell() -> None:
    assert ids((2.300281, 48.840906)) == ["48.8410,2.3004"]
    assert ids((-0.00001, -0.00001)) == ["0.0000,0.0000"]


def test_places_of_a_kind_in_a_cell_are_numbered_from_south_to_north() -> None:
    north, south = (24.95, 60.17003), (24.95, 60.16999)
    assert ids(north, south) == ["60.1700,24.9501/2", "60.1700,24.9501"]
    assert ids(south, north) == ["60.1700,24.9501", "60.1700,24.9501/2"]
    assert ids(south, north, kinds=["toilets", "shower"]) == ["60.1700,24.9501"] * 2


def test_a_record_that_repeats_another_one_gets_its_id() -> None:
    place = (24.95, 60.17)
    assert ids(place, place) == ["60.1700,24.9501"] * 2
    lon, lat = np.array([place, place]).T
    assert len({*ids_by_position(["toilets"] * 2, lon, lat, ["a", "b"])}) == 2


def test_a_record_without_a_position_gets_no_id() -> None:
    assert ids((math.nan, math.nan), (24.95, 60.17)) == [None, "60.1700,24.9501"]


def anchored(places: list[tuple[float, float]], known: list[Anchor]) -> list[str | None]:
    lon, lat = np.array(places).T
    texts = [str(number) for number in range(len(places))]
    return ids_by_position(["toilets"] * len(places), lon, lat, texts, known=known)


@given(st.integers(0, 2**32 - 1))
def test_a_place_within_some_metres_of_where_it_was_keeps_its_id(seed: int) -> None:
    random = np.random.default_rng(seed)
    # 200 places at least 20 m from each other, each of which moves by less than 5 m.
    lon = 24.9 + np.arange(200) % 20 * 5e-4
    lat = 60.17 + np.arange(200) // 20 * 2.5e-4
    places = list(zip(lon.tolist(), lat.tolist(), strict=True))
    before = anchored(places, [])
    known = [Anchor(str(id_), "toilets", *place) for id_, place in zip(before, places, strict=True)]
    angle, metres = random.uniform(0, 2 * np.pi, 200), random.uniform(0, 4.9, 200)
    _lon, _lat, _ = Geod(ellps="WGS84").fwd(lon, lat, np.degrees(angle), metres)
    order = random.permutation(200)
    moved = [(float(_lon[number]), float(_lat[number])) for number in order]
    assert anchored(moved, known) == [before[number] for number in order]


def test_the_nearest_place_keeps_the_id_and_another_gets_the_next_number() -> None:
    known = [Anchor("60.1700,24.9501", "toilets", 24.95, 60.17)]
    near, nearer = (24.95, 60.17003), (24.95, 60.17001)
    assert anchored([near, nearer], known) == ["60.1700,24.9501/2", "60.1700,24.9501"]
    assert anchored([(24.95, 60.1701)], known) == ["60.1700,24.9501"]  # the cell's, 11 m away
    other = [Anchor("60.1700,24.9501", "shower", 24.95, 60.17)]
    assert anchored([nearer], other) == ["60.1700,24.9501"]


def test_an_id_that_a_known_place_keeps_is_not_given_again() -> None:
    """The place that the cell is named after has moved out of it, and a new one came."""
    known = [Anchor("60.1700,24.9501", "toilets", 24.95, 60.17009)]
    moved, new = (24.95, 60.17012), (24.95, 60.16995)
    assert anchored([moved, new], known) == ["60.1700,24.9501", "60.1700,24.9501/2"]


@given(st.permutations(range(30)))
def test_ids_do_not_depend_on_the_order_of_records(order: list[int]) -> None:
    places = [(24.95 + (n % 6) * 1e-4, 60.17 + (n // 6) * 1e-4) for n in range(30)]
    expected = dict(zip(places, ids(*places), strict=True))
    shuffled = [places[number] for number in order]
    assert dict(zip(shuffled, ids(*shuffled), strict=True)) == expected
    assert len(set(expected.values())) == len(places)


@pytest.mark.parametrize(("metres", "most"), [(0.01, 0.005), (1, 0.1), (5, 0.4)])
def test_few_ids_change_if_places_move_a_little(metres: float, most: float) -> None:
    """The shares that docs/feeds.md names."""
    random = np.random.default_rng(7)
    lon, lat = random.uniform(2.2, 2.5, 4000), random.uniform(48.8, 48.95, 4000)
    angle = random.uniform(0, 2 * np.pi, 4000)
    degree = 111_200
    moved_lat = lat + metres * np.sin(angle) / degree
    moved_lon = lon + metres * np.cos(angle) / degree / np.cos(np.radians(lat))
    kinds, texts = ["toilets"] * 4000, [str(number) for number in range(4000)]
    before, after = (
        ids_by_position(kinds, *place, texts) for place in ((lon, lat), (moved_lon, moved_lat))
    )
    changed = sum(one != other for one, other in zip(before, after, strict=True)) / 4000
    assert changed < most
