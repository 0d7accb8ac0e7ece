import numpy as np

from ingestion_pipeline.columns.tag_sets import TagSets

BENCH = {"amenity": "bench"}
CAFE = {"amenity": "cafe", "name": "Aino"}
TURNED = {"name": "Aino", "amenity": "cafe"}


def test_equal_tags_are_held_once_and_read_back_one_by_one() -> None:
    tags = TagSets.of([BENCH, CAFE, BENCH, TURNED])

    assert list(tags.sets) == [BENCH, CAFE]
    assert list(tags) == [BENCH, CAFE, BENCH, CAFE]
    assert tags[-1] == CAFE
    assert list(tags[1:3]) == [CAFE, BENCH]


def test_some_objects_keep_their_own_sets_alone() -> None:
    tags = TagSets.of([BENCH, CAFE, {}, CAFE])

    by_mask = tags.take(np.array([False, True, False, True]))
    by_position = tags.take(np.array([3, 0]))

    assert list(by_mask) == [CAFE, CAFE]
    assert len(by_mask.sets) == 1
    assert list(by_position) == [CAFE, BENCH]


def test_containers_are_joined_in_their_order() -> None:
    parts = [TagSets.of([BENCH]), TagSets.of([]), TagSets.of([CAFE, BENCH])]

    assert list(TagSets.joined(parts)) == [BENCH, CAFE, BENCH]
    assert list(TagSets.joined([])) == []
