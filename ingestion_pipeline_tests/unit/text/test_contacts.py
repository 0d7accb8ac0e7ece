"""Contacts in the forms in which they can be used."""

from __future__ import annotations

import pytest

from ingestion_pipeline.text.contacts import contacts, emails, phones, websites


@pytest.mark.parametrize(
    ("text", "country", "number"),
    [
        ("+7 495 123-45-67", "RU", "+74951234567"),
        ("8 (495) 123-45-67", "RU", "+74951234567"),
        ("(495)123-45-67", "RU", "+74951234567"),
        ("tel:+7-843-292-12-12", "RU", "+78432921212"),
        ("+7 843 ２９２-12-12", "RU", "+78432921212"),
        ("06221/12345", "DE", "+49622112345"),
        ("0 62 24 / 76 70 41", "DE", "+496224767041"),
        ("09 1234567", "FI", "+35891234567"),
        ("+358 9 1234567", "RU", "+35891234567"),
        ("+7 495 123-45-67 доб. 12", "RU", "+74951234567;ext=12"),
        ("+7 (843) 292-12-12 (офис)", "RU", "+78432921212"),
    ],
)
def test_a_number_is_written_in_e164(text: str, country: str, number: str) -> None:
    assert phones(text, country=country) == ((number,), ())


@pytest.mark.parametrize("between", ["; ", ",", " / ", "/", "\n", ", тел. "])
def test_several_numbers_are_read_whatever_stands_between_them(between: str) -> None:
    text = between.join(["+7 495 123-45-67", "8 843 292-12-12"])
    assert phones(text, country="RU") == (("+74951234567", "+78432921212"), ())


@pytest.mark.parametrize("text", ["ask", "112", "292-12-12", "+7 843 292-12-12-1", "/", "*555"])
def test_what_is_no_valid_number_is_not_understood(text: str) -> None:
    assert phones(text, country="RU") == ((), (text,))


def test_a_shortened_second_number_is_not_taken_for_the_end_of_the_first() -> None:
    assert phones("+49 6221 123456/57", country="DE") == (("+496221123456",), ("57",))


def test_a_number_without_its_countrys_prefix_needs_the_country() -> None:
    assert phones("8 495 123-45-67", country="AQ") == ((), ("8 495 123-45-67",))
    assert phones("+7 495 123-45-67", country="AQ") == (("+74951234567",), ())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Info@EXAMPLE.com", "info@example.com"),
        ("John.Doe@Example.com", "John.Doe@example.com"),
        ("mailto:a@example.com", "a@example.com"),
        ("info@пример.рф", "info@xn--e1afmkfd.xn--p1ai"),
    ],
)
def test_an_address_has_its_domain_in_one_form(text: str, address: str) -> None:
    assert emails(text) == ((address,), ())


def test_several_addresses_are_read_and_what_is_none_is_told() -> None:
    assert emails("a@example.com; b@example.com, c at example.com") == (
        ("a@example.com", "b@example.com"),
        ("c", "at", "example.com"),
    )


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("HTTPS://WWW.Example.com/Path?Q=a;b", "https://www.example.com/Path?Q=a;b"),
        ("http://example.com", "http://example.com/"),
        ("http://example.com:80/", "http://example.com/"),
        ("example.com/menu", "http://example.com/menu"),
        ("http://Пример.РФ/путь", "http://xn--e1afmkfd.xn--p1ai/%D0%BF%D1%83%D1%82%D1%8C"),
    ],
)
def test_a_website_has_its_scheme_and_host_in_one_form(text: str, url: str) -> None:
    assert websites(text) == ((url,), ())


@pytest.mark.parametrize("between", [";", "; ", ", ", " "])
def test_several_websites_are_read(between: str) -> None:
    assert websites(f"https://a.example{between}www.b.example") == (
        ("https://a.example/", "http://www.b.example/"),
        (),
    )


@pytest.mark.parametrize(
    "text",
    [
        "Mohr GmbH",
        "ftp://example.com",
        "http://http://example.com",
        "http://localhost/",
        "12.5",
        "http://",
        "info@example.com",
        "https://user:secret@example.com/",
    ],
)
def test_what_no_browser_would_open_in_public_is_not_understood(text: str) -> None:
    assert websites(text) == ((), (text,))


def test_contacts_are_lists_with_the_plain_key_first_and_each_value_once() -> None:
    tags = {
        "contact:phone": "+7 843 292-12-12; +7 495 123-45-67",
        "phone": "8 495 123-45-67",
        "contact:email": "a@example.com",
        "contact:vk": "https://vk.com/a; https://vk.com/b",
    }
    assert contacts(tags, country="RU") == {
        "phone": ["+74951234567", "+78432921212"],
        "email": ["a@example.com"],
        "vk": ["https://vk.com/a", "https://vk.com/b"],
    }


def test_what_is_not_understood_stands_beside_what_is() -> None:
    tags = {"phone": "+7 495 123-45-67, доб. 12", "mobile": "ask", "contact:website": "x"}
    assert contacts(tags, country="RU") == {
        "phone": ["+74951234567"],
        "not_understood": {"phone": ["доб. 12"], "mobile": ["ask"], "website": ["x"]},
    }


def test_no_contacts_are_an_empty_object() -> None:
    assert contacts({"amenity": "cafe", "phone": " ; ", "contact:": "x"}, country="RU") == {}


def test_no_tag_can_pretend_to_be_what_was_not_understood() -> None:
    assert contacts({"contact:not_understood": "x"}, country="RU") == {}
