"""A text that is none is read as such, and costs nothing else of an Overpass answer."""

from __future__ import annotations

import pytest

from ingestion_pipeline.core.characters import are_storable, storable
from ingestion_pipeline.osm.assemble import assemble
from ingestion_pipeline.sources.overpass import answer as overpass_json
from ingestion_pipeline.sources.overpass.answer import NotWholeError
from ingestion_pipeline_tests.support.overpass_server import overpass_json as written

CAFE = {"type": "node", "id": 1, "lat": 1.0, "lon": 2.0, "tags": {"amenity": "cafe", "name": "@@"}}
LINE = [{"lon": lon, "lat": lat} for lon, lat in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0))]
AREA = {
    "type": "relation",
    "id": 3,
    "members": [{"type": "way", "ref": 2, "role": "@@", "geometry": LINE}],
    "tags": {"type": "multipolygon", "leisure": "park"},
}

TEXTS = {
    rb"half \ud83d": r"half \ud83d",
    rb"the other half \uDE00": r"the other half \ude00",
    rb"a whole pair \ud83d\ude00": "a whole pair 😀",
    rb"\ud83d\ud83d\ude00": r"\ud83d😀",
    rb"no escape: \\ud83d": r"no escape: \ud83d",
    rb"nul \u0000": r"nul \u0000",
    b"caf\xe9": r"caf\xe9",
    ("я" * 128).encode()[:255]: "я" * 127 + r"\xd1",
    b"\xed\xa0\x80": r"\xed\xa0\x80",
    rb"\u0001 \ufffe": "\x01 \ufffe",
}
FINE = {rb"a whole pair \ud83d\ude00", rb"no escape: \\ud83d", rb"\u0001 \ufffe"}


def sections(raw: bytes) -> overpass_json.Section:
    (section,) = overpass_json.sections(overpass_json.decode(raw))
    return section


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_a_text_of_a_tag_is_read_and_known_for_what_it_is(text: bytes) -> None:
    section = sections(written([CAFE, CAFE | {"id": 2}]).replace(b"@@", text, 1))

    broken, fine = section.node_tags
    assert storable(broken["name"]) == TEXTS[text]
    assert are_storable(broken.values()) == (text in FINE)
    assert fine == CAFE["tags"]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_a_text_of_a_role_changes_no_geometry(text: bytes) -> None:
    section = sections(written([AREA]).replace(b"@@", text))

    features, rejections = assemble(overpass_json.to_elements([section]))
    assert features.source_refs() == ["relation/3"]
    assert features.geometry[0].area == 0.5
    assert rejections == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: raw.index(b"@@")] + b"\xff",
        lambda raw: raw.replace(b"@@", b"\xff")[:-10],
        lambda raw: raw.replace(b"@@", rb"\ud83"),
        lambda raw: raw.replace(b'"id"', b'"\xff'),
        lambda raw: raw.replace(b'"@@"', b'1, "x": "\xff"'),
    ],
)
def test_a_body_that_is_not_whole_stays_so(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(NotWholeError):
        sections(damage(written([CAFE])))


@pytest.mark.parametrize(
    "wrong",
    [
        {"timestamp": "2024-01-01T00:00:00"},  # of which zone?
        {"id": 2**63},
        {"id": -(2**63) - 1},
        {"version": 2**64},
    ],
)
def test_a_number_or_a_time_that_no_column_holds_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(NotWholeError, match="Expected"):
        sections(written([CAFE | wrong]))


def test_a_reference_that_no_column_holds_is_refused() -> None:
    member = {"type": "way", "ref": 2**63, "role": "outer"}
    for wrong in (
        AREA | {"members": [member]},
        {"type": "way", "id": 1, "nodes": [2**63], "tags": {}},
    ):
        with pytest.raises(NotWholeError, match="Expected"):
            sections(written([wrong]))
