"""The picture of a day on a run's page: who is where, in which colour, and how big it is."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import shapely
from PIL import Image

from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.core.legend import POIS, Group
from ingestion_pipeline.defs.preview import Places, picture_of_day

WINDOW = Bbox(7.0, 43.0, 7.2, 43.2)
AREA = shapely.box(7.05, 43.05, 7.15, 43.15)
CLASSES = {
    "food": "amenity/cafe",
    "shop": "shop/bakery",
    "health": "amenity/pharmacy",
    "transport": "railway/station",
    "culture": "tourism/museum",
    "leisure": "leisure/park",
    "office": "office/company",
    "amenity": "amenity/bench",
    "other": "man_made/tower",
}


def drawn(lon: list[float], lat: list[float], classes: list[str]) -> tuple[Image.Image, str]:
    markdown = picture_of_day(
        Places(np.array(lon), np.array(lat), classes),
        legend=POIS,
        boundary=AREA,
        window=WINDOW,
        things="POIs",
    )
    found = re.fullmatch(r"!\[([\d,]+ POIs)\]\(data:image/png;base64,([\w+/=]+)\)", markdown)
    assert found is not None
    return Image.open(io.BytesIO(base64.b64decode(found[2]))).convert("RGB"), found[1]


def near(picture: Image.Image, x: float, y: float) -> set[tuple[int, ...]]:
    """The colours in a few pixels."""
    around = range(-2, 3)
    found = (picture.getpixel((round(x) + dx, round(y) + dy)) for dx in around for dy in around)
    return {colour for colour in found if isinstance(colour, tuple)}


def is_like(colours: set[tuple[int, ...]], wanted: str) -> bool:
    """Return whether one of the colours is the wanted one, as far as the palette has it."""
    target = [int(wanted[at : at + 2], 16) for at in (1, 3, 5)]
    return any(
        max(abs(one - other) for one, other in zip(colour, target, strict=True)) < 24
        for colour in colours
    )


@pytest.mark.parametrize("group", POIS.all, ids=lambda group: group.key)
def test_a_place_is_where_it_is_in_the_colour_of_its_group(group: Group) -> None:
    picture, title = drawn([7.1], [43.15], [CLASSES[group.key]])
    assert title == "1 POIs"
    width = picture.width
    narrow = np.cos(np.radians(43.1))
    height = round(width / narrow)
    assert is_like(near(picture, width / 2, height / 4), group.colour)
    assert is_like(near(picture, width / 4, height / 2), "#555555"), "the boundary"
    assert not is_like(near(picture, width * 0.6, height * 0.6), group.colour)


def test_the_legend_has_the_groups_that_there_are_and_their_number() -> None:
    few, _ = drawn([7.1], [43.1], ["amenity/cafe"])
    all_of_them, _ = drawn([7.1] * 9, [43.1] * 9, list(CLASSES.values()))
    assert all_of_them.height - few.height == 2 * 20  # nine groups in three columns
    below = all_of_them.crop((0, few.height - 28, all_of_them.width, all_of_them.height))
    colours = {colour for _, colour in below.getcolors(100_000) or [] if isinstance(colour, tuple)}
    assert [group.key for group in POIS.all if not is_like(colours, group.colour)] == []


@pytest.mark.parametrize(("places", "most"), [(0, 12_000), (2_000, 40_000), (100_000, 120_000)])
def test_the_picture_is_small_for_any_number_of_places(places: int, most: int) -> None:
    random = np.random.default_rng(0)
    lon, lat = random.normal(7.1, 0.03, places), random.normal(43.1, 0.03, places)
    classes = random.choice(list(CLASSES.values()), places).tolist()
    markdown = picture_of_day(
        Places(lon, lat, classes), legend=POIS, boundary=AREA, window=WINDOW, things="POIs"
    )
    assert len(markdown) < most
