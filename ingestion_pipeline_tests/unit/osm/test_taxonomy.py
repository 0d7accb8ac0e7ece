"""Categories, statuses and labels, on hand-checked examples and on real extracts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_pipeline.osm import taxonomy as module
from ingestion_pipeline.osm.selection import (
    CLOSED_TAGS,
    LIFECYCLE_PREFIXES,
    LIFECYCLE_WORDS,
    OPEN_KEYS,
    POIS,
)
from ingestion_pipeline.osm.taxonomy import (
    MAIN_KEYS,
    STATUS_OF_PREFIX,
    STATUS_OF_WORD,
    TAXONOMY_VERSION,
    Classification,
    Taxonomy,
)

ROOT = Path(__file__).parents[3]
TABLE: dict[str, Any] = json.loads(
    Path(module.__file__).with_name("taxonomy.json").read_text(encoding="utf-8")
)
RULES: list[tuple[str, dict[str, str]]] = [
    (category["id"], rule["tags"]) for category in TABLE["categories"] for rule in category["rules"]
]
ANOTHER = Taxonomy(TABLE)
"""A second table with a memory of its own."""


def tags_of(text: str) -> dict[str, str]:
    """Read tags from `key=value, key=value`."""
    return dict(tag.split("=", 1) for tag in text.split(", "))


def classify(text: str) -> Classification:
    classification = Taxonomy.load().classify(tags_of(text))
    assert classification is not None
    return classification


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("amenity=restaurant, name=Mario", "amenity/restaurant"),
        ("amenity=restaurant, cuisine=pizza", "amenity/restaurant/pizza"),
        ("amenity=restaurant, cuisine=pizza;kebab", "amenity/restaurant/pizza"),
        ("amenity=restaurant, cuisine=regional", "amenity/restaurant"),
        ("amenity=fast_food, cuisine=burger", "amenity/fast_food/burger"),
        ("tourism=hotel, building=yes, addr:street=X", "tourism/hotel"),
        ("tourism=viewpoint", "tourism/viewpoint"),
        ("tourism=museum", "tourism/museum"),
        ("tourism=artwork", "tourism/artwork"),
        ("tourism=artwork, artwork_type=statue", "tourism/artwork/statue"),
        ("tourism=information, information=guidepost", "tourism/information/guidepost"),
        ("historic=memorial", "historic/memorial"),
        ("historic=memorial, memorial=plaque", "historic/memorial/plaque"),
        ("historic=memorial, memorial=unheard_of", "historic/memorial"),
        ("memorial=bench", "historic/memorial"),
        ("amenity=place_of_worship", "amenity/place_of_worship"),
        (
            "amenity=place_of_worship, religion=christian, building=church",
            "amenity/place_of_worship/christian",
        ),
        ("amenity=place_of_worship, religion=muslim", "amenity/place_of_worship/muslim"),
        ("leisure=park", "leisure/park"),
        ("highway=bus_stop", "public_transport/platform/bus_point"),
        ("public_transport=platform, bus=yes", "public_transport/platform/bus_point"),
        ("railway=station", "public_transport/station_train"),
        ("railway=station, public_transport=station", "public_transport/station_train"),
        ("railway=station, station=subway", "public_transport/station_subway"),
        ("railway=station, subway=yes", "public_transport/station_subway"),
        ("railway=tram_stop", "public_transport/stop_position_tram"),
        ("railway=platform", "public_transport/platform_point"),
        (
            "highway=platform, public_transport=platform, bus=yes",
            "public_transport/platform/bus_point",
        ),
        ("amenity=Restaurant", "amenity/restaurant"),
        ("amenity= cafe ", "amenity/cafe"),
        ("railway= Station ;", "public_transport/station_train"),
        ("education=kindergarten", "amenity/kindergarten"),
        ("amenity=school, education=school", "amenity/school"),
        ("man_made=tower, tower:type=observation", "man_made/tower/observation"),
        ("man_made=communications_tower", "man_made/tower/communication"),
        ("aeroway=helipad", "aeroway/helipad"),
        ("aeroway=heliport", "aeroway/heliport"),
        ("building=church", "building/church"),
        ("building=church, amenity=library", "amenity/library"),
        ("building=church, historic=building", "historic/building"),
        ("barrier=city_wall", "barrier/city_wall"),
        ("barrier=city_wall, leisure=playground", "leisure/playground"),
        ("historic=citywalls, barrier=city_wall", "barrier/city_wall"),
        ("shop=estate_agent", "office/estate_agent"),
        ("amenity=public_building", "amenity/public_building"),
        ("man_made=jetty", "man_made/pier"),
        ("emergency=lifeboat_station", "emergency/lifeboat_station"),
        ("natural=waterfall", "waterway/waterfall"),
        ("amenity=ferry_terminal", "public_transport/station_ferry"),
        ("railway=subway_entrance", "railway/subway_entrance"),
        ("amenity=pharmacy", "amenity/pharmacy"),
        ("amenity=toilets", "amenity/toilets"),
        ("amenity=atm", "amenity/atm"),
        ("amenity=bank, atm=yes", "amenity/bank"),
        ("amenity=charging_station", "amenity/charging_station"),
        (
            "amenity=charging_station, bicycle=yes, motorcar=no",
            "amenity/charging_station/charging_station_bicycle",
        ),
        ("amenity=cafe, toilets=yes, building=yes", "amenity/cafe"),
        ("healthcare=doctor", "amenity/doctors"),
        ("emergency=drinking_water", "amenity/drinking_water"),
        ("man_made=lighthouse", "man_made/lighthouse"),
        ("natural=peak, ele=2562", "natural/peak"),
    ],
)
def test_a_known_kind_gets_its_category_alone(text: str, category: str) -> None:
    assert classify(text) == Classification(category, (category,), "operating", is_specific=True)


@pytest.mark.parametrize(
    ("text", "categories"),
    [
        ("amenity=restaurant, tourism=hotel", ("tourism/hotel", "amenity/restaurant")),
        ("shop=bakery, amenity=cafe", ("amenity/cafe", "shop/bakery")),
        ("tourism=attraction, historic=castle", ("historic/castle", "tourism/attraction")),
        (
            "tourism=hotel, amenity=restaurant, cuisine=italian",
            ("amenity/restaurant/italian", "tourism/hotel"),
        ),
        ("amenity=restaurant;bar", ("amenity/restaurant", "amenity/bar")),
        ("amenity=bar; restaurant", ("amenity/bar", "amenity/restaurant")),
        ("amenity=cafe;no", ("amenity/cafe",)),
        ("amenity=cafe, shop=coffee beans", ("amenity/cafe", "shop")),
        ("amenity=cafe;unheard_of", ("amenity/cafe",)),
        ("amenity=doctors, healthcare=doctor", ("amenity/doctors",)),
        ("historic=memorial, memorial=blue_plaque", ("historic/memorial/blue_plaque-GB-IE",)),
        ("highway=bus_stop, public_transport=platform", ("public_transport/platform/bus_point",)),
        ("amenity=toilet;bench", ("amenity/toilets", "amenity/bench")),
        ("amenity=pub, tourism=no", ("amenity/pub",)),
        ("emergency=defibrillator;phone", ("emergency/defibrillator", "emergency/phone")),
        (
            "amenity=ferry_terminal, public_transport=stop_position, ferry=yes",
            ("public_transport/station_ferry", "public_transport/stop_position_ferry"),
        ),
        (
            "railway=station, public_transport=stop_position, train=yes",
            ("public_transport/station_train", "public_transport/stop_position_train"),
        ),
        ("public_transport=stop_position, bus=yes", ("public_transport/stop_position_bus",)),
    ],
)
def test_all_categories_are_kept_with_the_primary_one_first(
    text: str, categories: tuple[str, ...]
) -> None:
    assert classify(text).categories == categories
    assert classify(text).category == categories[0]


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("shop=unheard_of", "shop"),
        ("shop=yes", "shop"),
        ("public_transport=network", "public_transport"),
        ("amenity=shop", "shop"),
        ("amenity=fire_hydrant", "amenity"),
        ("shop=yes, barrier=fence", "shop"),
        ("historic=yes, building=yes", "historic"),
    ],
)
def test_an_unknown_kind_gets_the_generic_category_of_its_key(text: str, category: str) -> None:
    assert classify(text) == Classification(category, (category,), "operating", is_specific=False)


@pytest.mark.parametrize(
    "text",
    ["amenity=no", "amenity=No", "amenity=", "shop=no, disused:shop=no", "building=yes", "name=X"],
)
def test_an_object_without_a_main_tag_is_no_poi(text: str) -> None:
    assert Taxonomy.load().classify(tags_of(text)) is None
    assert Taxonomy.load().why_not(tags_of(text)) == "no_main_tag"


@pytest.mark.parametrize(
    "text",
    [
        "highway=residential, historic=yes",
        "railway=razed, historic=yes",
        "highway=track, historic=heritage, bridge=yes",
        "type=route, route=foot, tourism=citytour",
        "type=network, public_transport=network",
        "waterway=river, tourism=yes",
    ],
)
def test_a_way_of_which_a_main_tag_only_says_something_is_no_place(text: str) -> None:
    assert Taxonomy.load().classify(tags_of(text)) is None
    assert Taxonomy.load().why_not(tags_of(text)) == "not_a_place"


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("highway=steps, tourism=attraction", "tourism/attraction"),
        ("highway=pedestrian, place=square, historic=yes", "place/square"),
        ("highway=bus_stop, shop=yes", "public_transport/platform/bus_point"),
        ("railway=station, historic=yes", "public_transport/station_train"),
    ],
)
def test_a_way_that_is_a_place_is_one(text: str, category: str) -> None:
    assert classify(text).category == category


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("amenity=embassy", "office/diplomatic"),
        ("shop=fashion", "shop/clothes"),
        ("tourism=bed_and_breakfast", "tourism/guest_house"),
        ("amenity=youth_centre", "amenity/community_centre/youth_centre"),
        ("memorial:type=stolperstein, historic=memorial", "historic/memorial/stolperstein-EU"),
        ("disused:amenity=hotel", "tourism/hotel"),
    ],
)
def test_deprecated_tags_are_upgraded_before_they_are_matched(text: str, category: str) -> None:
    assert classify(text).categories == (category,)


@pytest.mark.parametrize(
    ("text", "category", "status"),
    [
        ("disused:amenity=pub", "amenity/pub", "disused"),
        ("was:shop=books", "shop/books", "disused"),
        ("closed:shop=books", "shop/books", "disused"),
        ("abandoned:tourism=hotel", "tourism/hotel", "abandoned"),
        ("razed:leisure=playground", "leisure/playground", "demolished"),
        ("removed:amenity=bench", "amenity/bench", "demolished"),
        ("construction:amenity=school", "amenity/school", "construction"),
        ("planned:leisure=park", "leisure/park", "proposed"),
        ("disused:railway=station", "public_transport/station_train", "disused"),
        ("amenity=pub, disused=yes", "amenity/pub", "disused"),
        ("amenity=pub, disused=no", "amenity/pub", "operating"),
        ("railway=station, disused=yes", "public_transport/station_train", "disused"),
        ("tourism=hotel, abandoned=yes", "tourism/hotel", "abandoned"),
        ("amenity=school, construction=yes", "amenity/school", "construction"),
        ("amenity=school, opening_date=2027-01-01", "amenity/school", "operating"),
        ("shop=vacant", "shop/vacant", "disused"),
        ("shop=closed", "shop", "disused"),
        ("amenity=cafe, disused:shop=books", "amenity/cafe", "operating"),
        ("amenity=cafe, shop=vacant", "amenity/cafe", "operating"),
        ("amenity=no, disused:amenity=pub", "amenity/pub", "disused"),
        ("disused:amenity=pub, demolished:shop=books", "amenity/pub", "disused"),
        ("dismantled:amenity=pub", "amenity/pub", "demolished"),
        ("ruins:amenity=pub", "amenity/pub", "abandoned"),
        ("historic:amenity=pub", "amenity/pub", "disused"),
        ("construction:railway=station", "public_transport/station_train", "construction"),
        (
            "railway=construction, construction=station, station=subway",
            "public_transport/station_subway",
            "construction",
        ),
        ("railway=proposed, proposed=station", "public_transport/station_train", "proposed"),
        ("railway=disused, disused=station", "public_transport/station_train", "disused"),
        ("railway=abandoned, abandoned=station", "public_transport/station_train", "abandoned"),
        ("amenity=construction, construction=school", "amenity/school", "construction"),
        ("amenity=construction, construction=yes", "amenity", "construction"),
        ("disused:man_made=lighthouse", "man_made/lighthouse", "disused"),
        ("shop= Vacant", "shop/vacant", "disused"),
        ("historic=ruins", "historic/ruins", "operating"),
        ("historic=castle, ruins=yes", "historic/castle", "operating"),
        (
            "disused:amenity=place_of_worship, building=church",
            "amenity/place_of_worship",
            "disused",
        ),
        ("disused:building=church", "building/church", "disused"),
    ],
)
def test_lifecycle_tags_give_a_status_and_not_another_place(
    text: str, category: str, status: str
) -> None:
    classification = classify(text)
    assert (classification.categories, classification.status) == ((category,), status)


def test_the_upgrade_keeps_what_is_not_deprecated() -> None:
    upgraded = Taxonomy.load().upgrade(
        tags_of("amenity=youth_centre, name=A;B, place_name=C, opening_hours=Mo 10:00; Tu off")
    )
    assert upgraded == tags_of(
        "amenity=community_centre, community_centre=youth_centre, name=A;B, place_name=C, "
        "opening_hours=Mo 10:00; Tu off"
    )


def test_the_upgrade_carries_the_value_of_a_wildcard_over() -> None:
    assert Taxonomy.load().upgrade({"place_name": "Kazan"}) == {"name": "Kazan"}


def test_the_upgrade_does_not_touch_its_argument() -> None:
    tags = {"amenity": "embassy"}
    Taxonomy.load().upgrade(tags)
    assert tags == {"amenity": "embassy"}


def test_every_upgrade_ends_and_leaves_nothing_to_upgrade() -> None:
    taxonomy = Taxonomy.load()
    assert len(TABLE["deprecations"]) > 400
    for item in TABLE["deprecations"]:
        old = {key: "anything" if value == "*" else value for key, value in item["old"].items()}
        upgraded = taxonomy.upgrade(old)
        assert upgraded != old, item
        assert taxonomy.upgrade(upgraded) == upgraded, item


@pytest.mark.parametrize(
    ("category", "language", "label"),
    [
        ("tourism/museum", "en", "Museum"),
        ("tourism/museum", "ru", "Музей"),
        ("tourism/museum", "ru-RU", "Музей"),
        ("tourism/museum", "fi", "Museum"),
        ("amenity/kitchen", "ru", "Communal Kitchen"),
        ("public_transport", "ru", "Объект общественного транспорта"),
        ("unheard/of", "en", None),
    ],
)
def test_a_label_falls_back_to_english(category: str, language: str, label: str | None) -> None:
    assert Taxonomy.load().label(category, language) == label


def _sampled(values: list[str]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True).map(";".join)


MIXED_TAGS = st.dictionaries(
    keys=st.sampled_from(
        [*MAIN_KEYS, "disused:amenity", "was:amenity", "demolished:shop", "disused", "cuisine"]
    ),
    values=_sampled(
        ["no", "yes", "vacant", "unheard_of", "pizza"]
        + [value for _, tags in RULES for value in tags.values() if value != "*"]
    ),
    min_size=1,
    max_size=6,
)


@given(tags=MIXED_TAGS, data=st.data())
def test_the_order_of_tags_makes_no_difference(tags: dict[str, str], data: st.DataObject) -> None:
    shuffled = dict(data.draw(st.permutations(list(tags.items()))))
    assert ANOTHER.classify(shuffled) == Taxonomy.load().classify(tags)


@given(tags=MIXED_TAGS)
def test_no_category_is_said_twice(tags: dict[str, str]) -> None:
    classification = Taxonomy.load().classify(tags)
    if classification is not None:
        assert classification.category == classification.categories[0]
        assert len({*classification.categories}) == len(classification.categories)


@pytest.mark.parametrize("prefix", ["", *(f"{prefix}:" for prefix in LIFECYCLE_PREFIXES)])
def test_every_selected_object_has_a_category(prefix: str) -> None:
    taxonomy = Taxonomy.load()
    pairs = [(key, value) for key in OPEN_KEYS for value in ("unheard_of", "yes", "vacant", "a;b")]
    listed = [(key, value) for key, values in CLOSED_TAGS.items() for value in values]
    for key, value in [*pairs, *listed]:
        assert taxonomy.classify({f"{prefix}{key}": value}) is not None, (prefix, key, value)


def test_every_rule_gives_its_category() -> None:
    taxonomy = Taxonomy.load()
    missed = []
    for category, rule_tags in RULES:
        (key, value), *others = rule_tags.items()
        values = CLOSED_TAGS.get(key, ("unheard_of",)) if value == "*" else (value,)
        rest = {other: "unheard_of" if value == "*" else value for other, value in others}
        found = [taxonomy.classify({key: one, **rest}) for one in values]
        if category not in [one.category for one in found if one is not None]:
            missed.append((category, rule_tags, found))
    assert missed == []


def test_the_table_is_sorted_and_labelled() -> None:
    ids = [category["id"] for category in TABLE["categories"]]
    assert ids == sorted(set(ids))
    assert all("en" in category["labels"] for category in TABLE["categories"])
    russian = sum("ru" in category["labels"] for category in TABLE["categories"])
    assert russian > 0.9 * len(ids)


def test_every_rule_names_a_main_tag() -> None:
    for category, tags in RULES:
        assert any(
            value in CLOSED_TAGS[key] if key in CLOSED_TAGS and value != "*" else key in MAIN_KEYS
            for key, value in tags.items()
        ), category


def test_main_keys_and_lifecycle_words_are_those_of_the_selection() -> None:
    assert sorted(MAIN_KEYS) == sorted({*OPEN_KEYS, *CLOSED_TAGS})
    assert set(LIFECYCLE_PREFIXES) == set(STATUS_OF_PREFIX)
    assert set(LIFECYCLE_WORDS) == set(STATUS_OF_WORD)


def test_the_version_is_the_same_wherever_it_is_named() -> None:
    version = TABLE["header"]["version"]
    assert f"id-tagging-schema {version}" == TAXONOMY_VERSION
    for name in ("NOTICE", "docs/categories.md", "scripts/build_taxonomy.py"):
        assert version in (ROOT / name).read_text(encoding="utf-8"), name


def test_the_notice_holds_the_copyright_of_the_table() -> None:
    assert TABLE["header"]["copyright"] in (ROOT / "NOTICE").read_text(encoding="utf-8")


@pytest.mark.process
def test_the_table_is_not_built_from_another_release(tmp_path: Path) -> None:
    tarball = tmp_path / "other.tgz"
    tarball.write_bytes(b"another release")
    script = ROOT / "scripts" / "build_taxonomy.py"
    result = subprocess.run(
        [sys.executable, str(script), "--check", "--tarball", str(tarball)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "is not @openstreetmap/id-tagging-schema" in result.stderr


def _specific_share(extract: Path) -> float:
    """Give the share of specific categories among an extract's POIs; there must be POIs."""
    import osmium  # noqa: PLC0415
    from osmium.filter import EmptyTagFilter  # noqa: PLC0415

    taxonomy = Taxonomy.load()
    found = [
        taxonomy.classify(tags)
        for element in osmium.FileProcessor(str(extract)).with_filter(EmptyTagFilter())
        if POIS.selects(tags := {tag.k: tag.v for tag in element.tags})
    ]
    pois = [classification for classification in found if classification is not None]
    assert len(pois) > 1000
    return sum(classification.is_specific for classification in pois) / len(pois)


def test_nearly_all_pois_of_helsinki_have_a_specific_category(helsinki_pbf: Path) -> None:
    # Nearly half of the others are shop=yes.
    assert _specific_share(helsinki_pbf) > 0.96


@pytest.mark.real_data
def test_nearly_all_pois_of_every_extract_have_a_specific_category(osm_test_data: Path) -> None:
    shares = {path.name: _specific_share(path) for path in osm_test_data.glob("extracts/*.pbf")}
    assert shares
    assert min(shares.values()) > 0.97, shares


def test_a_deprecated_tag_without_a_category_of_its_own_rejects_only_its_object() -> None:
    taxonomy = Taxonomy.load()
    tags = {"natural": "waterfall", "waterway": "stream"}
    assert taxonomy.upgrade(tags) == tags
    assert taxonomy.classify(tags) is None
    assert taxonomy.why_not(tags) == "not_a_place"


def test_every_selected_value_is_classified_or_refused_whatever_its_upgrade_meets() -> None:
    taxonomy = Taxonomy.load()
    table = json.loads(Path(module.__file__).with_name("taxonomy.json").read_text("utf-8"))
    for deprecation in table["deprecations"]:
        for key in deprecation["replace"]:
            for value in ("yes", "stream"):
                taxonomy.classify({**deprecation["old"], key: value})
