"""Telephone numbers: read whole, or not at all."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import national_significant_number, parse

from ingestion_pipeline.text.phones import LONGEST_TEXT, Phones, phones


@pytest.mark.parametrize(
    ("text", "country", "number"),
    [
        ("+7 495 123-45-67", "RU", "+74951234567"),
        ("8 (495) 123-45-67", "RU", "+74951234567"),
        ("(495)123-45-67", "RU", "+74951234567"),
        ("74951234567", "RU", "+74951234567"),
        ("8 (800) 555-35-35", "RU", "+78005553535"),
        ("tel:+7-843-292-12-12", "RU", "+78432921212"),
        ("тел.8(843)292-12-12", "RU", "+78432921212"),
        ("тел8(843)292-12-12", "RU", "+78432921212"),
        ("+7 843 ２９２-12-12", "RU", "+78432921212"),
        ("+7 (843) 292-12-12 (офис)", "RU", "+78432921212"),
        ("06221/12345", "DE", "+49622112345"),
        ("0 62 24 / 76 70 41", "DE", "+496224767041"),
        ("+49 (0) 6221 1234-0", "DE", "+49622112340"),
        ("(+49) 6203 - 63909", "DE", "+49620363909"),
        ("09 1234567", "FI", "+35891234567"),
        ("+358 9 1234567", "RU", "+35891234567"),
        ("00358 9 123456", "DE", "+3589123456"),
        ("+ 358 45 1350152", "DE", "+358451350152"),
        ("тел. + (358) 45 1350152", "RU", "+358451350152"),
        ("8-10-49-6221-12345", "RU", "+49622112345"),
        ("0037 6807222", "AD", "+376807222"),
        ("06 1 234 5678", "HU", "+3612345678"),
        ("+44 (0)20 7946 0958", "GB", "+442079460958"),
        ("TEL03-1234-5678", "JP", "+81312345678"),
        ("電話03-1234-5678(代表)", "JP", "+81312345678"),
        ("０３－３５８１－４１１１", "JP", "+81335814111"),
        ("+49 30 12 34 56 78", "DE", "+493012345678"),
        ("+49 30 12 34 56 (Praxis)", "DE", "+4930123456"),
        ("+49 30 1234567 24/7", "DE", "+49301234567"),
        ("030 1234567 (24/7)", "DE", "+49301234567"),
        ("+39 06 1234567 24/24", "IT", "+39061234567"),
        # A plus names the country where the code stands alone, and where there is no other reading.
        ("+1 800 425 1234", "IN", "+18004251234"),
        ("+12125552368", "IN", "+12125552368"),
        ("+51 912 345 678", "BR", "+51912345678"),
        ("+32 2 512 12 12", "IT", "+3225121212"),
        ("+41446681800", "DE", "+41446681800"),
        ("+4930123456", "LU", "+4930123456"),
    ],
)
def test_a_number_is_written_in_e164(text: str, country: str, number: str) -> None:
    assert phones(text, country=country) == Phones((number,), (), ())


@pytest.mark.parametrize(
    "between", ["; ", ",", " / ", "/", "\n", ", тел. ", " или ", " & ", " (Ivan) "]
)
def test_several_numbers_are_read_whatever_stands_between_them(between: str) -> None:
    text = between.join(["+7 495 123-45-67", "8 843 292-12-12"])
    assert phones(text, country="RU") == Phones(("+74951234567", "+78432921212"), (), ())


@pytest.mark.parametrize(
    "text",
    [
        "+7 495 123-45-67 доб. 12",
        "+7 495 123-45-67, доб. 12",
        "8 (495) 123-45-67 (доб. 12)",
        "+7 495 123-45-67 вн. 12",
        "+74951234567;ext=12",
        "+7 495 123-45-67 ext. 12",
        "+7 495 123-45-67 #12",
        "+7 495 123-45-67x12",
        "+7 495 123-45-67 wew. 12",
        "+7 495 123-45-67 DW １２",
    ],
)
def test_an_extension_that_a_word_names_stands_after_the_number(text: str) -> None:
    assert phones(text, country="RU") == Phones(("+74951234567;ext=12",), (), ())


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("ask", "RU"),
        ("112", "RU"),
        ("292-12-12", "RU"),
        ("+7 843 292-12-12-1", "RU"),
        ("/", "RU"),
        ("*555", "RU"),
        ("доб. 12", "RU"),
        # The digits after the last hyphen are an extension, not the end of a mobile number.
        ("+7 495 912-34-56-726", "RU"),
        ("+7 495 9123456-726", "RU"),
        ("+7 495 123-45-67 (12)", "RU"),
        ("010-12345678-801", "CN"),
        ("+39 06 1234567-12", "IT"),
        # +84 is Vietnam and +420 Czechia, which these texts do not name.
        ("+8 495 123-45-67", "RU"),
        ("+84951234567", "RU"),
        ("+42(0)32350300", "LI"),
        # India's own toll-free numbers begin with 1800, and 51 is an area's code in Brazil.
        ("+1800 425 1234", "IN"),
        ("+18004251234", "IN"),
        ("+1800 425 1234", "SG"),
        ("+1800 425 1234", "PH"),
        ("+51 99999-1234", "BR"),
        ("+51 9 9999-1234", "BR"),
        ("+51999991234", "BR"),
        # Hours, prices, floors, and how many lines there are.
        ("+49 30 1234567 (8:00-18:00)", "DE"),
        ("+49 30 1234567 8:00-18:00", "DE"),
        ("+49 30 1234567 (8-18 Uhr)", "DE"),
        ("030 1234567 9-17 Uhr", "DE"),
        ("030 1234567 9-17", "DE"),
        ("030 1234567 8.30-17", "DE"),
        ("+49 30 1234567 24 h", "DE"),
        ("+49 30 1234567 24h", "DE"),
        ("+49 30 1234567 24-Stunden-Dienst", "DE"),
        ("+49 30 12 34 56 24/7", "DE"),
        ("030 1234567 24/7 8", "DE"),
        ("030 1234567 (18 Uhr)", "DE"),
        ("030 1234567 (18)", "DE"),
        ("030 1234567 18 °C", "DE"),
        ("0180 5123456 (14 ct/min)", "DE"),
        ("0180 5123456 (0,14 €/min)", "DE"),
        ("0180 5123456 0,14 €/min", "DE"),
        ("+49 30 1234567 (2 Leitungen)", "DE"),
        ("+49 30 1234567 1. Stock", "DE"),
        ("0471 123456 2 piano", "IT"),
        ("+39 06 1234567 7/7", "IT"),
        ("24/24", "LU"),
        ("24/7 030 1234567", "DE"),
        ("24/24 56 78", "LU"),
        ("+358 9 123456 (24 h)", "FI"),
        ("02-123-4567 24시간", "KR"),
        # Ranges at slashes.
        ("06221/123456/57", "DE"),
        ("030/1234567/8", "DE"),
        ("030/1234567/8/9", "DE"),
        ("+49 30/1234567/68", "DE"),
        ("06/1234567/8", "IT"),
        # No tag's value is so long.
        ("8 495 123-45-67 " + "1" * LONGEST_TEXT, "RU"),
        # Ranges, and several numbers with nothing between them.
        ("06221 1234-1239", "DE"),
        ("06221 1234 - 39", "DE"),
        ("12-34-56/57", "RU"),
        ("8 495 123-45-67 - 8 495 123-45-69", "RU"),
        ("8 495 123-45-67 8 843 292-12-12", "RU"),
        # The digits are a part of something else.
        ("https://t.me/79991234567", "RU"),
        ("wa.me/79991234567", "RU"),
        ("A4951234567", "RU"),
        ("+7 495 123 45 6O", "RU"),
        # Letters are no digits, and a carrier is none of a number.
        ("1-800-FLOWERS", "US"),
        ("0 21 11 2345-6789", "BR"),
    ],
)
def test_what_is_no_number_beyond_doubt_is_not_understood(text: str, country: str) -> None:
    assert phones(text, country=country) == Phones((), (), (text,))


@pytest.mark.parametrize(
    ("text", "country", "number", "rest"),
    [
        ("+49 6221 123456/57", "DE", "+496221123456", ("57",)),
        ("+7 (495) 123-45-67/68/69", "RU", "+74951234567", ("68", "69")),
        ("+7 (495) 123-45-67, 68", "RU", "+74951234567", ("68",)),
        ("+1 212-555-2368..70", "US", "+12125552368", ("+1 212-555-2368..70",)),
        ("+7 495 123-45-67 офис 36", "RU", "+74951234567", ("+7 495 123-45-67 офис 36",)),
    ],
)
def test_a_shortened_second_number_is_not_taken_for_the_end_of_the_first(
    text: str, country: str, number: str, rest: tuple[str, ...]
) -> None:
    assert phones(text, country=country) == Phones((number,), (), rest)


def test_a_number_without_its_countrys_prefix_needs_the_country() -> None:
    assert phones("8 495 123-45-67", country="AQ").rest == ("8 495 123-45-67",)
    assert phones("+7 495 123-45-67", country="AQ").numbers == ("+74951234567",)
    assert phones("+84 24 3825 3531", country="RU").numbers == ("+842438253531",)


@pytest.mark.parametrize(
    "text",
    [
        "fax: 8 495 123-45-67",
        "Fax 8 495 123-45-67",
        "Telefax: 8 495 123-45-67",
        "факс 8 495 123-45-67",
        "8 495 123-45-67 (факс)",
        "8 495 123-45-67 - fax",
    ],
)
def test_a_number_that_the_words_beside_it_call_a_fax_is_a_fax(text: str) -> None:
    assert phones(text, country="RU") == Phones((), ("+74951234567",), ())


@pytest.mark.parametrize("text", ["тел./факс: 8 495 123-45-67", "8 495 123-45-67 (tel+fax)"])
def test_a_number_for_telephone_and_fax_is_a_telephones(text: str) -> None:
    assert phones(text, country="RU") == Phones(("+74951234567",), (), ())


@pytest.mark.parametrize(
    "text",
    [
        "Tel: 06221 123456, Fax: 06221 123457",
        "Telefon 06221 123456 Telefax 06221 123457",
        "Tel. 06221 123456 / Fax 06221 123457",
        "06221 123457 (Fax), 06221 123456",
        "06221 123457 (Fax) 06221 123456 (Tel.)",
    ],
)
def test_only_that_number_is_a_fax_that_the_word_belongs_to(text: str) -> None:
    assert phones(text, country="DE") == Phones(("+496221123456",), ("+496221123457",), ())


NUMBERS = ["+7 495 1234567", "8 (495) 123-45-67", "06221 123456", "+49 6221 1234", "+1 212 5552368"]
DIGITS = ["+7", "8", "495", "+8", "+49", "0", "6221", "(0)", "00", "1234567", "123456", "912"]
PIECES = st.one_of(
    st.integers(min_value=0, max_value=9_999_999).map(str),
    st.sampled_from([*NUMBERS, *DIGITS]),
)
MARKS = ["", " ", "-", " - ", "–", "/", ", ", ";", ".", "..", "+", "(", ") ", "\n", "～"]
WORDS = [" доб. ", ";ext=", " x", "#", " DW ", " fax ", "Tel.", " (Fax) ", "a", "٣"]
BETWEEN = st.sampled_from([*MARKS, *WORDS])
TEXTS = st.lists(st.tuples(PIECES, BETWEEN), min_size=1, max_size=6).map(
    lambda pairs: "".join(piece + between for piece, between in pairs)
)


def _digits(text: str) -> str:
    return "".join(str(int(each)) for each in text if each.isdecimal())


def _as_dialled_within_its_country(number: str) -> str:
    main, _, extension = number.partition(";ext=")
    return national_significant_number(parse(main)) + extension


@settings(max_examples=500)
@given(text=TEXTS, country=st.sampled_from(["RU", "DE", "FI", "US", "IT", "LI", "PL"]))
def test_no_digit_is_invented_moved_or_lost(text: str, country: str) -> None:
    numbers, faxes, rest = phones(text, country=country)
    nationals = [_as_dialled_within_its_country(each) for each in (*numbers, *faxes)]
    for national in nationals:
        assert national in _digits(text)
    left = text
    for piece in rest:
        a_part = rf"(^|[;,\n/])\s*{re.escape(piece)}(?=\s*($|[;,\n/]))"
        left, count = re.subn(a_part, r"\1|", left, count=1)
        assert count == 1
    # Before a number may stand an exit code, the country's code and a trunk prefix.
    numbers_alone = re.compile(rf"(?:\d{{0,6}}(?:{'|'.join(nationals)}))*" if nationals else "")
    assert numbers_alone.fullmatch(_digits(left)), (numbers, faxes, rest)


NOTES = [
    *("24/7", "24 h", "24h", "8-18 Uhr", "8:00-18:00", "8.30-17", "8 - 18 Uhr", "0,14 €/min"),
    *("14 ct/min", "1. Stock", "2 Leitungen", "2 piano", "18°", "24/24", "7/7", "24시간", "5 %"),
]
VALID = [
    ("+49 30 1234567", "DE", "+49301234567"),
    ("06221/123456", "DE", "+496221123456"),
    ("0180-5123456", "DE", "+491805123456"),
    ("+43 1 58858", "AT", "+43158858"),
    ("0471 123456", "IT", "+390471123456"),
    ("+352 27 12 34 56", "LU", "+35227123456"),
    ("08 123 456", "SE", "+468123456"),
    ("02 123 456", "BG", "+3592123456"),
    ("+381 11 1234567", "RS", "+381111234567"),
    ("02-123-4567", "KR", "+8221234567"),
    ("+62 21 8350123", "ID", "+62218350123"),
    ("+358 9 123456", "FI", "+3589123456"),
]


@settings(max_examples=500)
@given(
    valid=st.sampled_from(VALID),
    before=st.sampled_from([" ", "  ", " (", ", ", "\n", "; ", " ~ "]),
    note=st.sampled_from(NOTES)
    | st.tuples(
        # Four digits alone are a number in Luxembourg.
        st.integers(min_value=0, max_value=999).map(str),
        st.sampled_from([" ", ". ", ":", " - ", ",5 ", "-"]),
        st.sampled_from(["h", "Uhr", "€", "°", "piano", "эт.", "%"]),
    ).map("".join),
)
def test_no_digit_of_a_note_becomes_a_numbers(
    valid: tuple[str, str, str], before: str, note: str
) -> None:
    text, country, number = valid
    found = phones(f"{text}{before}{note}{')' if '(' in before else ''}", country=country)
    assert found.numbers in {(), (number,)}
    if found.numbers == ():
        assert text in " ".join(found.rest)


@given(
    more=st.text("0123456789", min_size=1, max_size=8),
    between=st.sampled_from(["", " ", "-", ".", " (", ") ", " - ", "–"]),
)
def test_a_number_is_never_taken_out_of_more_digits(more: str, between: str) -> None:
    assert phones(f"8 495 123-45-67{between}{more}", country="RU").numbers == ()
    if more not in {"7", "8", "78", "8107", "81078"}:  # country code, trunk prefix, exit code
        assert phones(f"{more}{between}495 123-45-67", country="RU").numbers == ()


def test_every_prefix_of_a_text_with_two_numbers_adds_digits_only_at_its_end() -> None:
    text = "+7 495 123-45-67 доб. 12; 8 843 292-12-12"
    found = [phones(text[:length], country="RU").numbers for length in range(len(text) + 1)]
    for before, after in pairwise(found):
        assert len(before) <= len(after) or before[:-1] == after
    assert {number for numbers in found for number in numbers} == {
        "+74951234567",
        "+74951234567;ext=1",
        "+74951234567;ext=12",
        "+78432921212",
    }
