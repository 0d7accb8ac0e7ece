"""Legends: every class has a group, and groups are told apart without colour."""

from __future__ import annotations

import re
from itertools import combinations
from typing import get_args

import pytest

from ingestion_pipeline.core.legend import CHANGES, HELPERS, POIS, Legend, Shape
from ingestion_pipeline.helpers.kinds import KINDS
from ingestion_pipeline.osm.taxonomy import MAIN_KEYS, Taxonomy
from ingestion_pipeline.staging.tables import LEGENDS, VERSION_TABLES

LEGENDS_BY_NAME = {"pois": POIS, "helpers": HELPERS, "changes": CHANGES}


@pytest.mark.parametrize("legend", LEGENDS_BY_NAME.values(), ids=LEGENDS_BY_NAME)
def test_groups_differ_in_colour_shape_and_letter(legend: Legend) -> None:
    for one, other in combinations(legend.groups, 2):
        assert one.key != other.key
        assert one.label != other.label
        assert one.colour != other.colour
        assert one.shape != other.shape
        assert one.letter != other.letter
    for group in legend.all:
        assert re.fullmatch("#[0-9a-f]{6}", group.colour)
        assert len(group.letter) == 1
        assert group.shape in get_args(Shape)


@pytest.mark.parametrize("legend", LEGENDS_BY_NAME.values(), ids=LEGENDS_BY_NAME)
def test_a_class_is_in_one_group(legend: Legend) -> None:
    classes = [name for group in legend.groups for name in group.classes]
    assert len(classes) == len(set(classes))


def test_every_dataset_has_a_legend() -> None:
    assert set(LEGENDS) >= set(VERSION_TABLES)


def test_every_helper_kind_has_a_group_and_no_other_word_has() -> None:
    named = {name for group in HELPERS.groups for name in group.classes}
    assert named == set(KINDS)


def test_every_class_of_the_legend_of_pois_is_a_category_or_above_one() -> None:
    ids = set(Taxonomy.load()._labels)
    above = {each[:end] for each in ids for end in [m.start() for m in re.finditer("/", each)]}
    for group in POIS.groups:
        assert set(group.classes) <= ids | above | set(MAIN_KEYS), group.key


@pytest.mark.parametrize(
    ("category", "key"),
    [
        ("amenity/restaurant/pizza", "food"),
        ("amenity/pharmacy", "health"),
        ("shop/bakery", "shop"),
        ("shop", "shop"),
        ("amenity/bench", "amenity"),
        ("public_transport/platform/bus_point", "transport"),
        ("man_made/tower", "other"),
        ("shopping", "other"),
        ("", "other"),
    ],
)
def test_a_category_has_the_group_of_the_nearest_category_above_it(category: str, key: str) -> None:
    assert POIS.group_of(category).key == key
