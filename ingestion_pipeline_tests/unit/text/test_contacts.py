"""Contacts in the forms in which they can be used."""

from __future__ import annotations

from time import process_time

import pytest

from ingestion_pipeline.text.contacts import contacts, emails, websites


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


@pytest.mark.parametrize("unit", [" ", "1", "+", "(", "-", ";", "\n", ", ", "0-", "w", " www"])
def test_a_long_text_is_read_in_a_time_that_grows_as_its_length(unit: str) -> None:
    text = f"{unit * (60_000 // len(unit))}x"
    start = process_time()
    contacts({"phone": text, "website": text, "email": text}, country="DE")
    assert process_time() - start < 4


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
    tags = {"phone": "+7 495 123-45-67, 68", "mobile": "ask", "contact:website": "x"}
    assert contacts(tags, country="RU") == {
        "phone": ["+74951234567"],
        "not_understood": {"phone": ["68"], "mobile": ["ask"], "website": ["x"]},
    }


def test_a_fax_number_among_the_phones_is_a_fax_after_those_of_its_own_key() -> None:
    tags = {
        "phone": "+7 495 123-45-67; факс: +7 495 123-45-68",
        "contact:mobile": "Fax +7 495 123-45-69",
        "fax": "+7 495 123-45-60",
        "contact:fax": "Fax: +7 495 123-45-68",
    }
    assert contacts(tags, country="RU") == {
        "phone": ["+74951234567"],
        "fax": ["+74951234560", "+74951234568", "+74951234569"],
    }
    assert contacts({"phone": "факс 8 495 123-45-68"}, country="RU") == {"fax": ["+74951234568"]}


def test_no_contacts_are_an_empty_object() -> None:
    assert contacts({"amenity": "cafe", "phone": " ; ", "contact:": "x"}, country="RU") == {}


def test_no_tag_can_pretend_to_be_what_was_not_understood() -> None:
    assert contacts({"contact:not_understood": "x"}, country="RU") == {}
