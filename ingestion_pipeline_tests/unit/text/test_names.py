"""Which name is shown to a city's readers."""

from __future__ import annotations

import pytest

from ingestion_pipeline.text.names import Namer, names_by_language, scripts_of


def shown(
    tags: dict[str, str], *languages: str, local_language: str | None = None
) -> tuple[str | None, str | None]:
    return tuple(Namer(languages, local_language).display_name(tags))  # type: ignore[return-value]


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


def test_a_place_without_a_name_has_that_of_its_brand_or_operator() -> None:
    assert shown({"brand": "Cofix", "operator": "Firm"}, "en") == ("Cofix", "brand")
    assert shown({"operator": "Firm"}, "en") == ("Firm", "operator")
    assert shown({"name": "  "}, "en") == (None, None)
    assert shown({}, "en") == (None, None)


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
        ("北京饭店", "BeiJingFanDian"),
        ("مطعم", "mt`m"),
        ("Ηράκλειο", "Irakleio"),
        ("ქართული ღვინო", "kartuli ghvino"),
        ("서울역", "SeoUlYeog"),
    ],
)
def test_a_name_in_a_strange_script_is_transliterated(name: str, latin: str) -> None:
    assert shown({"name": name}, "ru") == (latin, "transliterated:name")


def test_a_name_is_read_in_the_script_that_most_of_its_letters_have() -> None:
    assert shown({"name": "中環 Central"}, "en") == ("中環 Central", "name")
    assert shown({"name": "北京饭店 B"}, "en")[1] == "transliterated:name"


def test_who_reads_chinese_japanese_or_korean_reads_their_scripts() -> None:
    assert shown({"name": "北京饭店"}, "zh") == ("北京饭店", "name")
    assert shown({"name": "東京タワー"}, "ja") == ("東京タワー", "name")
    assert shown({"name": "서울역"}, "ko") == ("서울역", "name")


def test_chinese_characters_in_a_japanese_name_are_not_read_as_chinese() -> None:
    assert shown({"name": "東京タワー"}, "en") == ("東京タワー", "name")
    assert shown({"name": "東京"}, "en", local_language="ja") == ("東京", "name")
    assert shown({"name": "タワー"}, "en", local_language="ja")[1] == "transliterated:name"


def test_scripts_are_those_that_unicode_knows() -> None:
    assert scripts_of(["ru", "sr"]) == {"Latn", "Cyrl"}
    assert scripts_of(["ja"]) == {"Latn", "Hani", "Hira", "Kana"}
    assert scripts_of(["zz"]) == {"Latn"}


def test_names_are_kept_by_language_and_nothing_else_is_a_language() -> None:
    tags = {"name": "a", "name:en": "b", "name:zh-Hant": "c", "name:etymology": "d", "name:": "e"}
    assert names_by_language(tags) == {"und": "a", "en": "b", "zh-Hant": "c"}
