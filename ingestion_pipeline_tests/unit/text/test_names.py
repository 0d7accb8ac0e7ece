"""Which name is shown to a city's readers."""

from __future__ import annotations

from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langcodes import tag_is_valid

from ingestion_pipeline.text.names import (
    LANGUAGES_OF_TWO_LETTERS,
    OPERATING,
    Namer,
    names_by_language,
    scripts_of,
)


def shown(
    tags: dict[str, str],
    *languages: str,
    local_language: str | None = None,
    status: str = OPERATING,
) -> tuple[str | None, str | None]:
    name, source = Namer(languages, local_language).display_name(tags, status)
    return name, source


def test_the_name_follows_the_citys_languages() -> None:
    tags = {"name": "Казань", "name:en": "Kazan", "name:tt": "Qazan"}
    assert shown(tags, "ru", "en") == ("Kazan", "name:en"), "no name:ru is mapped"
    assert shown(tags, "tt", "en") == ("Qazan", "name:tt")
    assert shown({"name": "a", "int_name": "b", "brand": "c"}, "en") == ("a", "name")


def test_a_plain_name_is_in_the_local_language() -> None:
    tags = {"name": "Третьяковская галерея", "name:en": "Tretyakov Gallery"}
    assert shown(tags, "ru", "en", local_language="ru")[1] == "name"
    assert shown(tags | {"name:ru": "Третьяковка"}, "ru", local_language="ru")[1] == "name:ru"
    assert shown(tags, "en", "ru", local_language="ru")[1] == "name:en"
    assert shown(tags, "ru", "en", local_language="fi")[1] == "name:en"


def test_a_place_without_a_name_has_that_of_its_brand() -> None:
    assert shown({"brand": "Cofix", "operator": "Firm"}, "en") == ("Cofix", "brand")
    assert shown({"name": "  "}, "en") == (None, None)
    assert shown({}, "en") == (None, None)


@pytest.mark.parametrize("amenity", ["school", "post_box", "charging_station", "atm"])
def test_who_operates_a_place_does_not_name_it(amenity: str) -> None:
    assert shown({"amenity": amenity, "operator": "Firm"}, "en") == (None, None)


@pytest.mark.parametrize("key", ["alt_name", "loc_name", "reg_name", "nat_name"])
def test_a_lesser_name_is_shown_where_there_is_no_other(key: str) -> None:
    tags = {key: " ; The Crown; The King's Head"}
    assert shown(tags, "en") == ("The Crown", key)
    assert shown(tags | {"name": "Пушкин"}, "en") == ("The Crown", key), "it can be read"
    for better in ("name", "official_name", "brand", "name:de"):
        assert shown(tags | {better: "Crown"}, "en") == ("Crown", better)


@pytest.mark.parametrize("status", ["disused", "abandoned", "demolished"])
def test_a_place_that_is_no_longer_there_has_the_name_that_it_had(status: str) -> None:
    was = {"was:name": "Skillnaden", "was:name:ru": "Эроттая"}
    assert shown(was, "ru", status=status) == ("Эроттая", "was:name:ru")
    assert shown(was, "en", status=status) == ("Skillnaden", "was:name")
    assert shown({"name": "Town Hall", "disused:name": "The Crown"}, "en", status=status) == (
        "The Crown",
        "disused:name",
    ), "the building goes by the plain name"
    assert shown({"old_name": "Books; Bookshop"}, "en", status=status) == ("Books", "old_name")
    assert shown({"old_name": "Books", "alt_name": "B"}, "en", status=status) == ("B", "alt_name")


@pytest.mark.parametrize("status", ["construction", "proposed"])
def test_a_place_that_is_not_there_yet_has_the_name_that_it_will_have(status: str) -> None:
    tags = {"proposed:name": "Tower", "old_name": "Yard", "was:name": "Yard"}
    assert shown(tags, "en", status=status) == ("Tower", "proposed:name")


def test_a_place_in_use_has_no_name_of_the_past_or_the_future() -> None:
    tags = {"disused:name": "a", "was:name": "b", "old_name": "c", "proposed:name": "d"}
    for status in (OPERATING, "out_of_order"):
        assert shown(tags, "en", status=status) == (None, None)


def test_a_name_does_not_change_the_direction_of_the_text_around_it() -> None:
    assert shown({"name": "\u202eabc\u202c\u0085"}, "en") == ("abc", "name")
    assert shown({"name": "نوروز\u200cآباد"}, "fa")[0] == "نوروز\u200cآباد", (
        "a letter's form is kept"
    )


def test_cyrillic_is_never_transliterated_for_who_reads_it() -> None:
    assert shown({"name": "Ёлка"}, "ru") == ("Ёлка", "name")
    assert shown({"name": "Ёлка"}, "en", "ru") == ("Ёлка", "name")
    assert shown({"name": "Кафе", "name:en": "北京"}, "en", "tt") == ("Кафе", "name")


def test_latin_letters_are_read_by_everybody() -> None:
    assert shown({"name": "Café Déjà"}, "ru") == ("Café Déjà", "name")
    assert shown({"name": "24/7"}, "ru") == ("24/7", "name")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"int_name": "Pushkin"}, ("Pushkin", "int_name")),
        ({"name:en": "Pushkin", "name:de": "Puschkin"}, ("Pushkin", "name:en")),
        ({"name:tr": "Puşkin", "name:de": "Puschkin"}, ("Puschkin", "name:de")),
        ({"name:sr": "Пушкин", "brand": "Pushkin's"}, ("Pushkin's", "brand")),
        ({"brand": "Пушкин", "brand:en": "Pushkin's"}, ("Pushkin's", "brand:en")),
        ({"name:ru-Latn": "Puškin", "name:fr": "Pouchkine"}, ("Puškin", "name:ru-Latn")),
        ({"name:ru-Latn": "Puškin", "name:en": "Pushkin"}, ("Pushkin", "name:en")),
        ({"operator": "Firm"}, ("Pushkin", "transliterated:name")),
        ({}, ("Pushkin", "transliterated:name")),
    ],
)
def test_a_name_is_transliterated_only_where_no_other_can_be_read(
    more: dict[str, str], expected: tuple[str, str]
) -> None:
    language = "de" if "name:de" in more and "name:en" not in more else "en"
    assert shown({"name": "Пушкин"} | more, language) == expected


@pytest.mark.parametrize(
    ("name", "latin"),
    [
        ("北京饭店", "Běijīng Fàndiàn"),
        ("مطعم", "mt`m"),
        ("Ηράκλειο", "Irakleio"),
        ("ქართული ღვინო", "kartuli ghvino"),
        ("국민은행", "Gungmineunhaeng"),
        ("ビッグエコー", "Bigguekō"),
    ],
)
def test_a_name_in_a_strange_script_is_transliterated(name: str, latin: str) -> None:
    assert shown({"name": name}, "ru") == (latin, "transliterated:name")


def test_a_name_is_read_in_the_script_that_most_of_its_letters_have() -> None:
    assert shown({"name": "中環 Central"}, "en") == ("中環 Central", "name")
    assert shown({"name": "北京饭店 B"}, "en")[1] == "transliterated:name"


@pytest.mark.parametrize(("name", "latin"), [("バー", "Bā"), ("かﾞ", "Ga"), ("カ゛ー", "Gā")])
def test_marks_without_a_script_do_not_make_a_name_readable(name: str, latin: str) -> None:
    assert shown({"name": name}, "en") == (latin, "transliterated:name")


def test_names_of_any_code_points_are_shown() -> None:
    assert shown({"name": "국민은행\ufe0f"}, "en") == ("Gungmineunhaeng", "transliterated:name")
    beside = "국か中α々"
    for code in (*range(0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE0200)):
        text = chr(code)
        name, _ = shown({"name": beside[code % 5] + text + beside[code % 3]}, "en")
        assert name, ascii(text)


@given(st.text(st.sampled_from("국힣かカっッーゝヾ々中αύ") | st.characters(categories=["M"])))
def test_names_with_any_combining_marks_are_shown(name: str) -> None:
    assert name == "" or shown({"name": f"국{name}か"}, "en")[0]


def test_who_reads_chinese_japanese_or_korean_reads_their_scripts() -> None:
    assert shown({"name": "北京饭店"}, "zh") == ("北京饭店", "name")
    assert shown({"name": "東京タワー"}, "ja") == ("東京タワー", "name")
    assert shown({"name": "서울역"}, "ko") == ("서울역", "name")


def test_chinese_characters_are_read_only_where_they_are_chinese_for_certain() -> None:
    assert shown({"name": "東京タワー"}, "en") == ("東京タワー", "name")
    assert shown({"name": "中国"}, "en", local_language="ja") == ("中国", "name")
    assert shown({"name": "中国"}, "en") == ("中国", "name")
    assert shown({"name": "中国"}, "en", local_language="zh") == (
        "Zhōngguó",
        "transliterated:name",
    )
    assert shown({"name": "中国", "name:zh": "中国"}, "en") == (
        "Zhōngguó",
        "transliterated:name:zh",
    )
    assert shown({"brand:zh": "中国", "brand": "中国"}, "en", "zh") == ("中国", "brand:zh")


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"name:ja-Latn": "Kissa", "name:ja_rm": "Kissa!"}, ("Kissa", "name:ja-Latn")),
        ({"name:ja_rm": "Kissa", "name:ja-Hira": "きっさ"}, ("Kissa", "name:ja_rm")),
        ({"name:ko_rm": "Kkikda", "name:ja_rm": "Kissa"}, ("Kissa", "name:ja_rm")),
        ({"name:zh_pinyin": "Chīchá", "name:de": "Teehaus"}, ("Chīchá", "name:zh_pinyin")),
        ({"name:ja-Hira": "きっさ"}, ("Kissa", "transliterated:name:ja-Hira")),
        ({"name:ja_kana": "キッサ"}, ("Kissa", "transliterated:name:ja_kana")),
        ({}, ("喫茶", "name")),
    ],
)
def test_how_the_mapper_wrote_or_read_a_name_goes_before_how_we_would(
    tags: dict[str, str], expected: tuple[str, str]
) -> None:
    assert shown({"name": "喫茶"} | tags, "en", local_language="ja") == expected


def test_scripts_are_those_that_unicode_knows() -> None:
    assert scripts_of(["ru", "sr"]) == {"Latn", "Cyrl"}
    assert scripts_of(["ja"]) == {"Latn", "Hani", "Hira", "Kana"}
    assert scripts_of(["zz"]) == {"Latn"}


def test_names_are_kept_by_language_and_nothing_else_is_a_language() -> None:
    tags = {"name": "a", "name:en": "b", "name:zh-Hant": "c", "name:etymology": "d", "name:": "e"}
    assert names_by_language(tags) == {"und": "a", "en": "b", "zh-Hant": "c"}


@pytest.mark.parametrize(
    "suffix",
    [
        "old",
        "new",
        "loc",
        "map",
        "cat",
        "bus",
        "mul",
        "zxx",
        "und",
        "mis",
        "left",
        "signed",
        "genitive",
        "pronunciation",
        "1",
        "etymology",
        "zz",
        "UN",
        "en ",
    ],
)
def test_what_is_said_of_a_name_is_no_language(suffix: str) -> None:
    assert names_by_language({f"name:{suffix}": "x"}) == {}
    assert shown({f"name:{suffix}": "x"}, "en") == (None, None)


@pytest.mark.parametrize(
    ("suffix", "language"),
    [
        ("be-tarask", "be-tarask"),
        ("sr-Latn", "sr-Latn"),
        ("zh-min-nan", "zh-min-nan"),
        ("bat-smg", "bat-smg"),
        ("alt", "alt"),
        ("ja_rm", "ja-Latn"),
        ("ko_rm", "ko-Latn"),
        ("zh_pinyin", "zh-Latn-pinyin"),
        ("ja_kana", "ja-Hrkt"),
    ],
)
def test_languages_are_in_bcp_47(suffix: str, language: str) -> None:
    assert names_by_language({f"name:{suffix}": "x"}) == {language: "x"}


def test_the_languages_of_two_letters_are_those_of_the_registry() -> None:
    codes = {first + second for first in ascii_lowercase for second in ascii_lowercase}
    assert {code for code in codes if tag_is_valid(code)} == LANGUAGES_OF_TWO_LETTERS


def test_of_two_keys_of_one_language_that_in_bcp_47_counts() -> None:
    assert names_by_language({"name:ja_rm": "a", "name:ja-Latn": "b"}) == {"ja-Latn": "b"}
