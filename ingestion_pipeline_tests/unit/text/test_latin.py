"""Names in Latin letters, against the examples of each script's standard."""

from __future__ import annotations

import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from ingestion_pipeline.text.latin import in_latin_letters

REVISED_ROMANIZATION = """
구미 Gumi 영동 Yeongdong 백암 Baegam 옥천 Okcheon 합덕 Hapdeok 호법 Hobeop 월곶 Wolgot 벚꽃 Beotkkot
한밭 Hanbat 구리 Guri 설악 Seorak 칠곡 Chilgok 임실 Imsil 울릉 Ulleung 백마 Baengma 종로 Jongno
왕십리 Wangsimni 별내 Byeollae 신라 Silla 해돋이 Haedoji 같이 Gachi 맞히다 Machida 좋고 Joko
놓다 Nota 낳지 Nachi 묵호 Mukho 집현전 Jiphyeonjeon 압구정 Apgujeong 낙동강 Nakdonggang
죽변 Jukbyeon 낙성대 Nakseongdae 합정 Hapjeong 팔당 Paldang 샛별 Saetbyeol 울산 Ulsan 광희문
Gwanghuimun 남산 Namsan 속리산 Songnisan 금강 Geumgang 독도 Dokdo 경복궁 Gyeongbokgung 무량수전
Muryangsujeon 연화교 Yeonhwagyo 극락전 Geungnakjeon 안압지 Anapji 남한산성 Namhansanseong 화랑대
Hwarangdae 불국사 Bulguksa 현충사 Hyeonchungsa 독립문 Dongnimmun 오죽헌 Ojukheon 촉석루 Chokseongnu
종묘 Jongmyo 다보탑 Dabotap
"""
"""Examples of the standard (National Institute of Korean Language, 2000), each with its spelling.
It has three more whose spelling does not show how they are spoken: 신문로, 학여울, 알약."""

HEPBURN = """
しんばし Shinbashi とうきょう Tōkyō おおさか Ōsaka きょうと Kyōto まっちゃ Matcha がっこう Gakkō
けっか Kekka きっさ Kissa ざっし Zasshi じゅんいちろう Jun'ichirō きんえん Kin'en しんよう Shin'yō
おばあさん Obāsan おにいさん Oniisan おねえさん Onēsan すうがく Sūgaku せんせい Sensei
ふじ Fuji つづき Tsuzuki ちぢみ Chijimi いすゞ Isuzu こゝろ Kokoro ｶﾗｵｹ Karaoke
ビッグエコー Bigguekō ローソン Rōson ファミリーマート Famirīmāto サイゼリヤ Saizeriya
カフェ Kafe チェック Chekku ジェラート Jerāto シェフ Shefu ティー Tī ディスコ Disuko
トゥール Tūru デュオ Dyuo ヴィトン Viton ヴュー Vyū ウィーン Wīn ウェスト Wesuto
フォト Foto クォーター Kwōtā ツァイト Tsaito キャッツ Kyattsu ヱビス Ebisu
"""
"""Examples of Modified Hepburn, as in the table of ALA-LC, and loan words."""

ELOT_743 = """
Κουμπί Koumpi Ηράκλειο Irakleio Αθήνα Athina Θεσσαλονίκη Thessaloniki Πειραιάς Peiraias
Χανιά Chania Ψυχικό Psychiko Ξάνθη Xanthi Αυγό Avgo Ευρώπη Evropi Ευθυμία Efthymia Λευκάδα Lefkada
Εύβοια Evvoia Ηύρα Ivra Ναύπλιο Nafplio Μπάμπης Bampis ΜΠΑΡ BAR κλαμπ klab Λάμπα Lampa Γκάζι Gkazi
Άγκυρα Agkyra Αγγελόπουλος Angelopoulos Σφίγξ Sfinx Άγχος Anchos Νίντζα Nintza Ντίνος Ntinos
Μαϊμού Maimou Άυλος Aylos Ταΰγετος Taygetos Υιός Yios ΘΕΑΤΡΟ THEATRO Θέατρο Theatro ΨΑΡΙ PSARI
Ἀθῆναι Athinai ΕΛ.ΤΑ. EL.TA.
"""
"""Examples of the transcription of ELOT 743 (ISO 843, type 2), without accents."""


def pairs(table: str) -> list[tuple[str, str]]:
    words = table.split()
    return list(zip(words[::2], words[1::2], strict=True))


@pytest.mark.parametrize(("name", "latin"), pairs(REVISED_ROMANIZATION))
def test_hangul_is_written_by_the_revised_romanization(name: str, latin: str) -> None:
    assert in_latin_letters(name, "ko") == latin


@pytest.mark.parametrize(("name", "latin"), pairs(HEPBURN))
def test_kana_are_written_by_hepburn(name: str, latin: str) -> None:
    assert in_latin_letters(name, "ja") == latin


@pytest.mark.parametrize(("name", "latin"), pairs(ELOT_743))
def test_greek_is_written_by_elot_743(name: str, latin: str) -> None:
    assert in_latin_letters(name, "el") == latin


@pytest.mark.parametrize(
    ("name", "latin"),
    [
        ("北京饭店", "Běijīng Fàndiàn"),
        ("中国银行", "Zhōngguó Yínháng"),
        ("行政大厅", "Xíngzhèng Dàtīng"),
        ("重庆火锅", "Chóngqìng Huǒguō"),
        ("西安饭庄 2店", "Xī'ānfànzhuāng 2diàn"),
        ("星巴克Starbucks", "Xīngbākè Starbucks"),
    ],
)
def test_chinese_is_written_in_pinyin_by_its_phrases(name: str, latin: str) -> None:
    assert in_latin_letters(name, "zh-Hans") == latin


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("東京", "ja"),
        ("東京", None),
        ("寿司", "ru"),  # 寿 and 司 are Chinese characters, and Japanese ones
        ("東京タワー", "en"),
        ("ラーメン屋", "zh"),
        ("北京饭店", "ja"),
        ("国民", "ko"),
        ("肯德基", "yue"),
        ("中國銀行", "zh-Hant"),
        ("𠮷野家", "zh"),
        ("เชียงใหม่", "th"),
        ("วัด Wat", None),
        ("ວຽງຈັນ", "lo"),
        ("\U0001b000", "ja"),  # an archaic e
        ("\U0001b132", "ja"),
        ("サッポㇿ", "ja"),  # Ainu
        ("々々", "zh"),
    ],
)
def test_what_cannot_be_read_for_certain_is_not_read(name: str, language: str | None) -> None:
    assert in_latin_letters(name, language) is None


def test_characters_that_only_china_has_simplified_are_chinese_whatever_the_city() -> None:
    assert in_latin_letters("麦当劳", "ru") == "Màidāngláo"
    assert in_latin_letters("麦当劳", None) == "Màidāngláo"


@pytest.mark.parametrize(
    ("name", "latin"),
    [
        ("국민은행", "Gungmineunhaeng"),
        ("국민 은행", "Gungmin Eunhaeng"),
        ("GS25 편의점", "GS25 Pyeonuijeom"),
        ("서울2호점", "Seoul2hojeom"),
        ("イタリアン・トマト", "Itarian Tomato"),
        ("Café ビッグbar", "Café Biggu bar"),
        ("セブン-イレブン", "Sebun-Irebun"),
        ("Όμιλος ΟΤΕ", "Omilos OTE"),
        ("Café Ёлка", "Café Elka"),
        ("ッ", None),
        ("국\u0301민\u20e3", "Gungmin"),
        ("か゛っこう", "Gakkō"),
        ("アヶ", "Ake"),
    ],
)
def test_words_of_several_scripts_stay_apart_and_begin_with_capital_letters(
    name: str, latin: str | None
) -> None:
    assert in_latin_letters(name, None) == latin


LETTERS = {
    "kana": [chr(code) for code in (*range(0x3041, 0x3097), *range(0x30A1, 0x30FB), 0x30FC)],
    "hangul": [chr(code) for code in range(ord("가"), ord("힣") + 1)],
    "greek": [
        chr(code)
        for code in (*range(0x386, 0x3D0), *range(0x1F00, 0x2000))
        if unicodedata.category(chr(code)) in {"Lu", "Ll"}
    ],
}


@pytest.mark.parametrize("script", LETTERS)
def test_every_letter_of_a_script_has_a_spelling(script: str) -> None:
    unspelt = {"っ", "ッ", "ー"}  # they say something of the letters beside them
    for letter in LETTERS[script]:
        latin = in_latin_letters(letter, None)
        assert latin or letter in unspelt, letter
        assert latin is None or latin.isascii() or regex.fullmatch(r"\p{sc=Latn}+", latin)


@pytest.mark.parametrize("script", LETTERS)
def test_letters_beside_one_another_are_written_in_latin_letters_alone(script: str) -> None:
    @given(st.lists(st.sampled_from(LETTERS[script]), min_size=1, max_size=8).map("".join))
    def check(name: str) -> None:
        latin = in_latin_letters(name, None) or ""
        assert regex.fullmatch(r"[\p{sc=Latn}\p{M}\p{ASCII}]*", latin), latin
        assert latin == " ".join(latin.split()) == unicodedata.normalize("NFC", latin)

    check()
