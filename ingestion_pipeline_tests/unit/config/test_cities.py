"""The file of cities: what is accepted, and what is said of every mistake."""

from __future__ import annotations

import hashlib
import pickle
import re
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import shapely
from jsonschema_rs import Draft202012Validator

from ingestion_pipeline.config.cities import (
    MISTAKES_SHOWN,
    SHIPPED_FILE,
    Cities,
    CitiesFileError,
    City,
    UnknownCity,
    boundary_names_match,
    country_codes,
    load_cities,
)
from ingestion_pipeline.config.toml_tables import Location, Mistake, written
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.area import Area
from scripts.build_cities_schema import TARGET, page, schema

KAZAN = {
    "slug": '"kazan"',
    "name": '{ en = "Kazan", ru = "Казань" }',
    "country": '"RU"',
    "timezone": '"Europe/Moscow"',
    "bbox": "[48.93, 55.69, 49.3, 55.92]",
    "boundary_ref": '"bbox"',
    "languages": '["ru", "en"]',
    "minimum_pois": "1000",
    "enabled": "true",
}
TVER = KAZAN | {
    "slug": '"tver"',
    "name": '{ en = "Tver", ru = "Тверь" }',
    "bbox": "[35.7, 56.75, 36.1, 56.95]",
}
CITY = schema()["$defs"]["City"]
MANUAL = Path(__file__).parents[3] / "docs" / "adding-a-city.md"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cities.toml"


def toml(*cities: dict[str, str]) -> str:
    return "\n".join(
        "[[city]]\n" + "".join(f"{key} = {value}\n" for key, value in city.items())
        for city in cities
    )


def load(file: Path, *cities: dict[str, str]) -> Cities:
    file.write_text(toml(*cities), "utf-8")
    return load_cities(file)


def one(file: Path, **changes: str) -> City:
    return load(file, KAZAN | changes).get("kazan")


def mistakes(file: Path, *cities: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(CitiesFileError) as caught:
        load(file, *cities)
    assert caught.value.path == file
    for mistake in caught.value.mistakes:
        assert mistake in str(caught.value)
    return tuple(re.sub(r"^line \d+: ", "", mistake) for mistake in caught.value.mistakes)


# What is accepted


def test_a_city_has_what_the_file_says(file: Path) -> None:
    city = one(
        file,
        boundary_ref='"relation/34914"',
        osm_source='"extract"',
        osm_extract='"https://example.org/{region}-{day}.osm.pbf"',
        osm_region='"russia/kazan"',
        local_language='"ru"',
        minimum_helpers="150",
        maximum_age_hours="48",
    )
    assert city == City(
        slug="kazan",
        name={"en": "Kazan", "ru": "Казань"},
        country="RU",
        timezone="Europe/Moscow",
        bbox=Bbox(48.93, 55.69, 49.3, 55.92),
        boundary_ref="relation/34914",
        osm_source="extract",
        osm_extract="https://example.org/{region}-{day}.osm.pbf",
        osm_region="russia/kazan",
        languages=("ru", "en"),
        local_language="ru",
        minimum_pois=1000,
        minimum_helpers=150,
        maximum_age_hours=48,
        enabled=True,
    )
    assert city.boundary_relation == 34914
    assert city.boundary_key == "relation/34914"
    assert city.area == Area(Bbox(48.93, 55.69, 49.3, 55.92), 34914)
    assert city.maximum_age == timedelta(hours=48)


def test_what_is_left_out_has_its_default(file: Path) -> None:
    city = one(file)
    assert city.osm_source is None
    assert city.minimum_helpers == 1
    assert city.osm_extract is None
    assert city.osm_region == "kazan"
    assert city.maximum_age == timedelta(hours=36)
    assert city.boundary_relation is None
    assert city.area.boundary_relation is None


SQUARE = b"square\n1\n 49 55.7\n 49.2 55.7\n 49.2 55.9\n 49 55.9\nEND\nEND\n"
DIGEST = hashlib.sha256(SQUARE).hexdigest()
FILE = {"boundary_ref": '"file"', "boundary_file": '"square.poly"'}


def test_a_boundary_file_is_found_beside_the_cities_file_and_its_digest_is_the_key(
    file: Path,
) -> None:
    (file.parent / "square.poly").write_bytes(SQUARE)
    city = one(file, **FILE)
    assert city.boundary_ref == "file"
    assert city.boundary_key == f"file:{DIGEST[:32]}"
    assert city.boundary_relation is None
    assert city.area.boundary_name == str(file.parent / "square.poly")
    assert city.boundary_file is not None
    assert shapely.bounds(city.boundary_file.polygon).tolist() == [49, 55.7, 49.2, 55.9]
    assert pickle.loads(pickle.dumps(city)) == city
    assert "square" not in repr(city)


def test_another_content_of_the_boundary_file_is_another_key(file: Path) -> None:
    (file.parent / "square.poly").write_bytes(SQUARE)
    before = one(file, **FILE)
    (file.parent / "square.poly").write_bytes(SQUARE.replace(b"49.2", b"49.25"))
    after = one(file, **FILE)
    assert after.boundary_key != before.boundary_key
    # What was read stays what it was: digest and polygon are of the same bytes.
    assert before.boundary_file is not None
    assert shapely.bounds(before.boundary_file.polygon).tolist() == [49, 55.7, 49.2, 55.9]


def test_a_boundary_file_far_away_is_known_by_its_digest_and_not_asked_for(file: Path) -> None:
    location = "https://user:hush@nowhere.invalid/kazan.geojson?token=hush"
    city = one(file, **FILE | {"boundary_file": f'"{location}#sha256={DIGEST}"'})
    assert city.boundary_key == f"file:{DIGEST[:32]}"
    assert city.area.boundary_name == "https://nowhere.invalid/kazan.geojson"
    assert "hush" not in repr(city)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"boundary_file": '"nowhere.poly"'}, "nowhere.poly cannot be read: No such file"),
        ({"boundary_file": '"broken.poly"'}, "broken.poly cannot be used: it is neither GeoJSON"),
        ({"boundary_file": '"."'}, "cannot be read: Is a directory"),
        ({"boundary_file": '"https://a.example/b"'}, "a URL must include the digest of its bytes"),
        ({"boundary_file": "5"}, "expected the path of a GeoJSON or .poly file"),
        ({"boundary_ref": '"bbox"'}, 'is required by boundary_ref = "file", and by no other'),
        ({"boundary_ref": '"relation/5"'}, 'is required by boundary_ref = "file"'),
    ],
)
def test_a_boundary_file_that_cannot_be_used_is_a_mistake(
    changes: dict[str, str], said: str, file: Path
) -> None:
    (file.parent / "square.poly").write_bytes(SQUARE)
    (file.parent / "broken.poly").write_bytes(SQUARE[:-5])
    (mistake,) = mistakes(file, KAZAN | FILE | changes)
    assert mistake.startswith('city[1] "kazan": boundary_file: ')
    assert said in mistake


def test_a_boundary_from_a_file_needs_the_file(file: Path) -> None:
    (mistake,) = mistakes(file, KAZAN | {"boundary_ref": '"file"'})
    assert "give both or neither" in mistake


def test_the_same_boundary_file_for_two_cities_is_a_mistake(file: Path) -> None:
    (file.parent / "square.poly").write_bytes(SQUARE)
    (file.parent / "copy.poly").write_bytes(SQUARE)
    (mistake,) = mistakes(file, KAZAN | FILE, TVER | FILE | {"boundary_file": '"copy.poly"'})
    assert "boundary_file: this and that of city[1]" in mistake
    (file.parent / "copy.poly").write_bytes(SQUARE.replace(b"49.2", b"49.25"))
    assert len(load(file, KAZAN | FILE, TVER | FILE | {"boundary_file": '"copy.poly"'})) == 2


def test_a_city_can_be_hashed_and_pickled(file: Path) -> None:
    city = one(file)
    assert pickle.loads(pickle.dumps(city)) == city
    assert {city: 1}[one(file)] == 1


@pytest.mark.parametrize(
    ("bbox", "key"),
    [
        ("[24.93, 60.16, 24.96, 60.18]", "bbox:24.93,60.16,24.96,60.18"),
        ("[24.930, 60.160, 24.9600, 60.18]", "bbox:24.93,60.16,24.96,60.18"),
        ("[24, 60.0, 25, 61]", "bbox:24,60,25,61"),
        ("[-0.0, -1, 1e0, 0]", "bbox:0,-1,1,0"),
        ("[1e-7, 1e-5, 0.1, 20e-1]", "bbox:0.0000001,0.00001,0.1,2"),
        ("[100, 20, 101, 21]", "bbox:100,20,101,21"),
    ],
)
def test_the_key_of_a_bbox_is_the_same_however_its_numbers_are_written(
    file: Path, bbox: str, key: str
) -> None:
    city = one(file, bbox=bbox)
    assert city.boundary_key == key
    assert Bbox(*map(float, key.removeprefix("bbox:").split(","))) == city.bbox


@pytest.mark.parametrize(
    "extract",
    [
        "sample:helsinki",
        "/data/kazan.osm.pbf",
        "s3://bucket/{region}/{day}.osm.pbf",
        "https://example.org/{region}-latest.osm.pbf",
        "https://example.org/{region}-{day:%y%m%d}.osm.pbf",
    ],
)
def test_an_extract_is_a_path_a_url_a_template_or_a_sample(file: Path, extract: str) -> None:
    assert one(file, osm_extract=f'"{extract}"').osm_extract == extract


def test_the_registry_keeps_the_order_and_knows_the_enabled_ones(file: Path) -> None:
    cities = load(file, TVER | {"enabled": "false"}, KAZAN)
    assert [city.slug for city in cities] == ["tver", "kazan"]
    assert len(cities) == 2
    assert [city.slug for city in cities.enabled()] == ["kazan"]


def test_a_file_without_an_enabled_city_is_for_runs_by_hand(file: Path) -> None:
    cities = load(file, KAZAN | {"enabled": "false"})
    assert [city.slug for city in cities] == ["kazan"]
    assert cities.enabled() == ()


def test_of_thousands_of_mistakes_a_message_lists_some(file: Path) -> None:
    many = [KAZAN | {"slug": f'"kazan-{number}"'} for number in range(60)]
    with pytest.raises(CitiesFileError) as refused:
        load(file, *many)
    assert len(refused.value.mistakes) == 60 * 59 // 2
    lines = str(refused.value).splitlines()
    assert len(lines) == 1 + MISTAKES_SHOWN + 1
    assert lines[-1] == "- ... and 1,750 more"


@pytest.mark.parametrize(
    ("bbox", "said"),
    [
        ("[177.0, -18.5, -178.5, -16.0]", "one side of the antimeridian"),
        ("[179.9, 51.0, -179.0, 52.0]", "one side of the antimeridian"),
        ("[37.8, 55.5, 37.3, 56.0]", "does latitude come before longitude"),
        ("[-73.9, 40.7, -74.1, 40.9]", "does latitude come before longitude"),
    ],
)
def test_a_bbox_with_its_west_in_the_east_is_refused_with_the_likely_reason(
    file: Path, bbox: str, said: str
) -> None:
    (mistake,) = mistakes(file, TVER, KAZAN | {"bbox": bbox})
    assert said in mistake


def test_an_unknown_city_is_refused_with_those_that_there_are(file: Path) -> None:
    with pytest.raises(
        UnknownCity, match=r"no city 'kazna'; did you mean 'kazan'\?; it has kazan, tver"
    ):
        load(file, TVER, KAZAN).get("kazna")


def test_an_unknown_city_that_resembles_none_gets_no_suggestion(file: Path) -> None:
    with pytest.raises(UnknownCity, match=r"no city 'xyz'; it has kazan$"):
        load(file, KAZAN).get("xyz")


# What is refused


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("slug", '"Kazan"', "expected lower-case letters, digits and hyphens"),
        ("slug", '"ka|zan"', "expected lower-case letters, digits and hyphens"),
        ("slug", "5", "digit; found 5"),
        ("name", '"Kazan"', "expected at least one name by language"),
        ("name", "{}", "expected at least one name by language"),
        ("name", '{ en = " " }', "expected at least one name by language"),
        ("name", '{ English = "Kazan" }', "expected at least one name by language"),
        ("name", "{ en = 1 }", "expected at least one name by language"),
        (
            "country",
            '"RUS"',
            'expected an ISO 3166-1 alpha-2 code in capitals, such as "RU"; found "RUS"',
        ),
        ("country", '"ru"', "expected an ISO 3166-1 alpha-2 code"),
        ("country", '"UK"', "expected an ISO 3166-1 alpha-2 code"),
        ("country", "7", "expected an ISO 3166-1 alpha-2 code"),
        (
            "timezone",
            '"Europe/Moskow"',
            'such as "Europe/Moscow"; found "Europe/Moskow"; did you mean \'Europe/Moscow\'?',
        ),
        ("timezone", '"Europe"', "expected an IANA time zone"),
        ("timezone", '"../Moscow"', "expected an IANA time zone"),
        ("timezone", '""', "expected an IANA time zone"),
        ("timezone", "3", "expected an IANA time zone"),
        ("bbox", '"24,60,25,61"', "four numbers"),
        ("bbox", "[24, 60, 25]", "four numbers"),
        ("bbox", '[24, 60, 25, "61"]', "four numbers"),
        ("bbox", "[true, 60, 2, 61]", "four numbers"),
        ("bbox", "[nan, 60, 25, 61]", "longitudes are from -180 to 180"),
        ("bbox", "[24, 60, inf, 61]", "longitudes are from -180 to 180"),
        ("bbox", f"[24, 60, 1{'0' * 400}, 61]", "longitudes are from -180 to 180"),
        ("bbox", "[179.9, 60, 180.1, 61]", "longitudes are from -180 to 180"),
        ("bbox", "[24, 89.9, 25, 90.1]", "latitudes from -90 to 90"),
        ("bbox", "[25, 60, 24, 61]", "west must be less than east"),
        ("bbox", "[24, 61, 25, 60]", "south less than north"),
        ("bbox", "[24, 60, 24, 61]", "west must be less than east"),
        ("bbox", "[24, 60, 25, 60]", "south less than north"),
        ("bbox", "[24, 60, 27.01, 61]", "at most 3 degrees wide and high"),
        ("bbox", "[24, 60, 25, 63.01]", "at most 3 degrees wide and high"),
        ("boundary_ref", '"way/5"', 'expected "bbox", an OSM relation'),
        ("boundary_ref", '"relation/0"', 'expected "bbox", an OSM relation'),
        ("boundary_ref", '"relation/12x"', 'expected "bbox", an OSM relation'),
        ("boundary_ref", '"relation/1|2"', 'expected "bbox", an OSM relation'),
        ("boundary_ref", "102269", 'expected "bbox", an OSM relation'),
        ("osm_source", '"pbf"', 'expected "overpass" or "extract"'),
        ("osm_source", "true", 'expected "overpass" or "extract"'),
        ("osm_extract", '""', "expected a path, a URL, a template"),
        ("osm_extract", "1", "expected a path, a URL, a template"),
        ("osm_extract", '"sample:"', "expected a path, a URL, a template"),
        (
            "osm_extract",
            '"{city}.osm.pbf"',
            "use {region} and {day}, and nothing else in braces",
        ),
        ("osm_extract", '"{}.osm.pbf"', "nothing else in braces"),
        ("osm_extract", '"{day:%H}.osm.pbf"', "nothing else in braces but a form of the day"),
        ("osm_extract", '"{region:>9}.osm.pbf"', "nothing else in braces"),
        ("osm_extract", '"{day!r}.osm.pbf"', "nothing else in braces"),
        ("osm_extract", '"{region.osm.pbf"', "expected '}'"),
        ("osm_region", '"../etc"', 'parts joined by "/"'),
        ("osm_region", '"/russia"', 'parts joined by "/"'),
        ("osm_region", "1", 'parts joined by "/"'),
        ("languages", "[]", "expected different language codes"),
        ("languages", '"ru"', "expected different language codes"),
        ("languages", '["ru", "ru"]', "expected different language codes"),
        ("languages", '["russian"]', "expected different language codes"),
        ("languages", "[1]", "expected different language codes"),
        ("minimum_pois", "0", "expected a whole number, at least 1; found 0"),
        ("minimum_pois", "true", "expected a whole number, at least 1; found true"),
        ("minimum_pois", "1000.0", "expected a whole number, at least 1"),
        ("maximum_age_hours", "0", "expected a whole number from 1 to 48"),
        ("maximum_age_hours", "49", "expected a whole number from 1 to 48"),
        ("maximum_age_hours", '"36"', "expected a whole number from 1 to 48"),
        (
            "osm_extract",
            '"https://user:hush@example.org/{regoin}.pbf?key=hush"',
            'found "https://...example.org/{regoin}.pbf..."; use {region}',
        ),
        ("local_language", '"Russian"', "expected a language code of two or three letters"),
        ("enabled", "1", "expected true or false; found 1"),
        ("enabled", '"yes"', "expected true or false"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place_and_what_is_allowed(
    file: Path, key: str, value: str, said: str
) -> None:
    (mistake,) = mistakes(file, TVER, KAZAN | {key: value})
    slug = "" if value == "5" else f' "{value[1:-1]}"' if key == "slug" else ' "kazan"'
    assert mistake.startswith(f"city[2]{slug}: {key}: expected ")
    assert said in mistake


@pytest.mark.parametrize("key", CITY["required"])
def test_a_required_key_may_not_be_missing(file: Path, key: str) -> None:
    city = {name: value for name, value in KAZAN.items() if name != key}
    place = "city[1]" if key == "slug" else 'city[1] "kazan"'
    (mistake,) = mistakes(file, city)
    assert mistake.startswith(f"{place}: {key}: is missing; expected ")


def test_an_unknown_key_is_refused_with_the_one_that_was_meant(file: Path) -> None:
    assert mistakes(file, KAZAN | {"time_zone": '"Europe/Moscow"', "zzz": "1"}) == (
        "city[1] \"kazan\": time_zone: unknown key; did you mean 'timezone'?",
        'city[1] "kazan": zzz: unknown key',
    )


def test_all_mistakes_of_all_cities_are_named_at_once(file: Path) -> None:
    found = mistakes(
        file,
        KAZAN | {"country": '"XX"', "minimum_pois": "0", "colour": "1"},
        TVER | {"timezone": '"Tver"', "bbox": KAZAN["bbox"]},
        KAZAN | {"boundary_ref": '"relation/1"', "enabled": "2"},
    )
    assert [re.sub(r": (expected|unknown|this) .*", "", mistake) for mistake in found] == [
        'city[1] "kazan": country',
        'city[1] "kazan": minimum_pois',
        'city[1] "kazan": colour',
        'city[2] "tver": timezone',
        'city[2] "tver": bbox',
        'city[3] "kazan": slug',
        'city[3] "kazan": enabled',
    ]


@pytest.mark.parametrize(
    "bbox",
    [
        pytest.param("[49.0, 55.7, 49.1, 55.8]", id="inside"),
        pytest.param("[49.2, 55.9, 49.5, 56.1]", id="at a corner"),
    ],
)
def test_bboxes_that_are_boundaries_may_not_overlap(file: Path, bbox: str) -> None:
    (mistake,) = mistakes(file, KAZAN, TVER | {"bbox": bbox})
    assert "belongs to exactly one city" in mistake


def test_bboxes_may_share_an_edge_which_belongs_to_one_of_them(file: Path) -> None:
    assert len(load(file, KAZAN, TVER | {"bbox": "[49.3, 55.69, 49.5, 55.92]"})) == 2


def test_bboxes_may_overlap_where_a_relation_is_the_boundary(file: Path) -> None:
    assert (
        len(load(file, KAZAN, TVER | {"bbox": KAZAN["bbox"], "boundary_ref": '"relation/1"'})) == 2
    )


def test_two_cities_may_not_have_the_same_relation(file: Path) -> None:
    relation = {"boundary_ref": '"relation/102269"'}
    assert mistakes(file, KAZAN | relation, TVER | relation) == (
        (
            'city[2] "tver": boundary_ref: this and that of city[1] "kazan" are the same; '
            "a feature belongs to exactly one city"
        ),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected tables; begin each with [[city]]"),
        ("city = []", "expected tables; begin each with [[city]]"),
        ("[city]\nslug = 'kazan'", "begin each with [[city]], in two brackets"),
        ("city = ['kazan']", "begin each with [[city]], in two brackets"),
        ("version = 1\n[[city]]", "line 1: version: unknown key"),
        (
            "[[cities]]\nslug = 'kazan'",
            "line 1: cities: unknown key; did you mean 'city'?",
        ),
        ("[[city]]\nslug = kazan\nenabled = true", "line 2"),
        ("[[city]]\nslug = 'a'\nslug = 'b'\nenabled = true", "line 3"),
        (f"city = 1{'0' * 5000}", "the file is not TOML"),
    ],
)
def test_a_file_of_another_form_is_refused(file: Path, text: str, said: str) -> None:
    file.write_text(text, "utf-8")
    with pytest.raises(CitiesFileError, match=re.escape(said)):
        load_cities(file)


def test_a_file_that_is_not_utf_8_is_refused(file: Path) -> None:
    file.write_bytes(toml(KAZAN).encode("cp1251"))
    with pytest.raises(CitiesFileError, match="not TOML in UTF-8"):
        load_cities(file)


def test_a_file_that_is_not_there_is_refused(file: Path) -> None:
    with pytest.raises(CitiesFileError, match="cannot be read: No such file"):
        load_cities(file)


# Names of boundaries


@pytest.mark.parametrize(
    "names",
    [
        ["Казань"],
        ["KAZAN"],
        ["Қазан", "казань"],
        ["городской округ Казань"],
        ["Городской  округ город Казань"],
        ["муниципальное образование город Казань"],
        ["City of Kazan"],
        ["Ｋａｚａｎ"],
    ],
)
def test_a_boundary_matches_by_a_whole_name(file: Path, names: list[str]) -> None:
    assert boundary_names_match(one(file), names)


@pytest.mark.parametrize(
    "names",
    [
        [],
        [""],
        ["город "],
        ["Казанка"],
        ["Казань-2"],
        ["Старая Казань"],
        ["Казанский район"],
        ["Kazan Kremlin"],
        ["Ka"],
        ["район города Казань"],
        ["Татарстан", "Tatarstan"],
    ],
)
def test_a_boundary_does_not_match_by_a_part_of_a_name(file: Path, names: list[str]) -> None:
    assert not boundary_names_match(one(file), names)


def test_yo_and_ye_are_the_same_letter_in_names(file: Path) -> None:
    city = one(file, name='{ ru = "Орёл" }')
    assert boundary_names_match(city, ["город Орел"])
    assert boundary_names_match(city, ["Оре\N{COMBINING DIAERESIS}л"])
    assert boundary_names_match(one(file, name='{ ru = "Орел" }'), ["Орёл"])


def test_a_type_word_in_the_citys_own_name_is_kept(file: Path) -> None:
    city = one(file, name='{ en = "City of London" }')
    assert boundary_names_match(city, ["City of London"])
    assert not boundary_names_match(city, ["London", "Greater London"])


# The shipped file


def test_the_shipped_file_is_in_order() -> None:
    cities = load_cities(None)
    assert len({city.slug for city in cities}) == len(cities) >= 9
    assert {city.slug for city in cities.enabled()} == {"moscow", "saint-petersburg"}
    assert cities.get("moscow").boundary_relation == 102269
    assert cities.get("saint-petersburg").boundary_relation == 337422
    for city in cities.enabled():
        assert city.osm_source is not None


def test_the_shipped_monaco_is_the_sample() -> None:
    monaco = load_cities(None).get("monaco")
    assert monaco.osm_extract == "sample:monaco"
    assert monaco.boundary_key == "bbox:7.409205,43.72335,7.448637,43.75169"
    assert not monaco.enabled


def test_the_shipped_helsinki_is_the_sample_of_tests() -> None:
    helsinki = load_cities(None).get("helsinki")
    assert helsinki.osm_extract == "sample:helsinki"
    assert helsinki.boundary_key == "bbox:24.9351762,60.164155,24.9534145,60.179113"
    assert helsinki.minimum_pois == 1000


@pytest.mark.parametrize(
    ("slug", "limits"),
    [
        ("moscow", Bbox(36.8031012, 55.1421745, 37.9674277, 56.0212238)),
        ("saint-petersburg", Bbox(29.4257576, 59.6337832, 30.7594934, 60.2448369)),
        ("samara", Bbox(49.7313889, 53.0919014, 50.3903893, 53.5509321)),
    ],
)
def test_a_shipped_bbox_encloses_the_known_limits_of_its_boundary(slug: str, limits: Bbox) -> None:
    bbox = load_cities(None).get(slug).bbox
    assert bbox.west < limits.west < limits.east < bbox.east
    assert bbox.south < limits.south < limits.north < bbox.north


@pytest.mark.process
def test_the_cities_are_read_without_geometry_libraries() -> None:
    code = (
        "import sys; from ingestion_pipeline.config.cities import load_cities; load_cities(None); "
        "sys.exit(bool({'shapely', 'osmium', 'pandas', 'dagster'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_there_are_249_countries() -> None:
    assert len(country_codes()) == 249
    assert all(re.fullmatch("[A-Z]{2}", code) for code in country_codes())


# Lines


@pytest.mark.parametrize(
    ("text", "location", "line"),
    [
        ("[[city]]\nslug = 'a'\n\n[[city]]\nslug = 'b'", ("city", 1, "slug"), 5),
        ("# c\n\n[[city]] # d\nslug = 'a'", ("city", 0), 3),
        ("[[city]]\nslug = 'a'", ("city", 0, "name"), 1),
        ('[[city]]\nx = """\n[[city]]\nslug = 1\n"""\nslug = 2', ("city", 0, "slug"), 6),
        ("[[city]]\nx = '''\n[[city]]'''\n[[city]]\ny = 1", ("city", 1, "y"), 5),
        ("[[city]]\nx = [\n  1, # ]\n  2,\n]\ny = 1", ("city", 0, "y"), 6),
        ("[[city]]\nx = [\n  1,\n  2,\n]\ny = 1", ("city", 0, "x"), 2),
        ("[[city]]\r\nx = 1\r\ny = 1\r\n", ("city", 0, "y"), 3),
        ("[[city]]\nx = 'a\x85b\u2028c'\ny = 1\n", ("city", 0, "y"), 3),
        ("[[city]]\nx.en = 1\nx.ru = 1", ("city", 0, "x", "ru"), 3),
        ("[[city]]\nx.en = 1\nx.ru = 1", ("city", 0, "x"), 2),
        ("[[city]]\n[city.x]\nen = 1", ("city", 0, "x", "en"), 3),
        ('[[city]]\n"x" = 1\n', ("city", 0, "x"), 2),
        ("[[city]]\n[[city]]\n[[city.feed]]\n[[city.feed]]\na = 1", ("city", 1, "feed", 1, "a"), 5),
        ("[[city]]\n[[city.feed]]\n[city.feed.x]\na = 1", ("city", 0, "feed", 0, "x", "a"), 4),
        ("a = 1\ncity = [\n  { x = 1 },\n]", ("city", 0, "x"), 2),
        ("", ("city",), 1),
    ],
)
def test_a_mistake_has_the_line_of_its_key_or_of_the_table_around_it(
    text: str, location: Location, line: int
) -> None:
    tomllib.loads(text)
    (message,) = written([Mistake(location, "is wrong")], text, stub_of(location))
    assert message.startswith(f"line {line}: ")
    assert message.endswith("is wrong")


def stub_of(location: Location) -> Any:
    """A document that has a table at every number of a location."""
    if not location:
        return {}
    first, *rest = location
    inside = stub_of(tuple(rest))
    return {first: inside} if isinstance(first, str) else [inside] * (first + 1)


def test_the_key_of_feeds_is_feed(file: Path) -> None:
    assert mistakes(file, KAZAN | {"feeds": "[]"}) == (
        "city[1] \"kazan\": feeds: unknown key; did you mean 'feed'?",
    )


@pytest.mark.parametrize("code", ["jp", "ua", "xx"])
def test_a_code_that_no_language_has_is_refused(file: Path, code: str) -> None:
    (mistake,) = mistakes(file, KAZAN | {"languages": f'["{code}"]'})
    assert f"{code!r} is not the code of a language" in mistake


# The JSON Schema


def test_the_schema_for_editors_is_up_to_date() -> None:
    assert TARGET.read_text("utf-8") == page(), "run scripts/build_cities_schema.py"


def test_the_shipped_file_names_the_schema() -> None:
    first = SHIPPED_FILE.read_text("utf-8").partition("\n")[0]
    assert (SHIPPED_FILE.parent / first.removeprefix("#:schema ")).resolve() == TARGET


@pytest.mark.parametrize("table", ["City", "Feed"])
def test_the_schema_describes_every_key_and_what_it_accepts(table: str) -> None:
    for key in schema()["$defs"][table]["properties"].values():
        assert re.match(r"[A-Z].*\. Expected: .+\.$", key["description"])


def feed_with(keys: str) -> str:
    """Return the table of a feed with an example's keys for its mapping."""
    table = {
        "slug": '"mapped"',
        "location": '"https://data.example.org/toilets.csv"',
        "format": '"csv"',
        "record_id": '"ID"',
        "kind": '"toilets"',
        "lon": '"x"',
        "lat": '"y"',
        "licence": '"CC0-1.0"',
        "attribution": '"Town"',
        "as_of": '"last_modified"',
        "maximum_age_days": "30",
        "minimum": "1",
    }
    given = set(re.findall(r"^(\w+) =", keys.partition("\n[")[0], re.MULTILINE))
    left_out = given | ({"kind"} if "kind_field" in given else set())
    lines = (f"{key} = {value}\n" for key, value in table.items() if key not in left_out)
    return f"[[city.feed]]\n{''.join(lines)}{keys}"


def test_the_shipped_file_and_the_examples_satisfy_the_schema() -> None:
    validator = Draft202012Validator(schema())
    examples = re.findall(r"```toml\n(.*?)```", MANUAL.read_text("utf-8"), re.DOTALL)
    city, _, _, feeds, *mappings = examples
    tables = (city + feed_with(keys) for keys in mappings)
    for text in (SHIPPED_FILE.read_text("utf-8"), city + feeds, *tables):
        validator.validate(tomllib.loads(text))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("slug", "Kazan"),
        ("country", "XX"),
        ("bbox", [1, 2, 3]),
        ("boundary_ref", "way/5"),
        ("osm_source", "pbf"),
        ("languages", ["ru", "ru"]),
        ("minimum_pois", 0),
        ("maximum_age_hours", 49),
        ("enabled", "yes"),
        ("colour", "red"),
    ],
)
def test_the_schema_refuses_what_the_models_refuse(key: str, value: Any) -> None:
    document = tomllib.loads(toml(KAZAN))
    validator = Draft202012Validator(schema())
    validator.validate(document)
    document["city"][0][key] = value
    assert not validator.is_valid(document)


# The manual


def documented_keys() -> dict[str, str]:
    """The keys of the manual's table, with what stands in the column of defaults."""
    manual = MANUAL.read_text("utf-8").partition("## Feeds of helper places")[0]
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in manual.splitlines()
        if line.startswith("| `")
    ]
    return {row[0].strip("`"): row[3] for row in rows}


def test_the_manual_has_every_key_and_no_other() -> None:
    assert [*documented_keys(), "feed"] == list(CITY["properties"])


def test_the_manual_says_which_keys_are_required() -> None:
    assert {key for key, default in documented_keys().items() if default == "required"} == {
        *CITY["required"]
    }


def test_the_manuals_examples_are_accepted(file: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", MANUAL.read_text("utf-8"), re.DOTALL)
    city, by_path, url, feeds, *mappings = examples
    assert len(mappings) == 7
    for keys in mappings:
        file.write_text(city + feed_with(keys), "utf-8")
        ((feed,),) = (each.feeds for each in load_cities(file))
        assert feed.slug == "mapped"
    file.write_text(city + feeds, "utf-8")
    (tver,) = load_cities(file)
    assert [feed.source for feed in tver.feeds] == ["feed:city-toilets", "feed:fountains"]
    (file.parent / "boundaries").mkdir()
    (file.parent / "boundaries" / "monaco.geojson").write_bytes(SQUARE)
    by_url = 'boundary_ref = "file"\n' + url.replace("<64 hexadecimal digits>", DIGEST)
    for bounded in (by_path, by_url):
        file.write_text(city.replace('boundary_ref = "bbox"\n', bounded), "utf-8")
        (tver,) = load_cities(file)
        assert tver.boundary_key == f"file:{DIGEST[:32]}"
