"""Contacts in the forms in which they can be used: dialled, written to, opened.

Belongs here: telephone numbers, e-mail addresses and websites of a set of tags. Does not belong
here: keeping the tags as they were mapped (the rows' `tags` do).

Every form is that of a library that follows its standard: E.164 by libphonenumber's rules, e-mail
by RFC 5321 and 5322, URLs as a browser reads them (WHATWG). What cannot be understood is kept as it
was written, under its own key, so that nothing is claimed of it.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phonenumbers import PhoneNumber

PHONES = ("phone", "mobile", "fax")
WEBSITES = ("website", "url")
KINDS = (*PHONES, "email", *WEBSITES)
"""What is normalized, and is a contact with and without the prefix `contact:`."""

NOT_UNDERSTOOD = "not_understood"
"""The key of what was mapped as one of `KINDS` and is none, as it was written."""

Values = tuple[str, ...]
Reading = tuple[Values, Values]
"""What was understood of a text, and what was not."""

_PREFIX = "contact:"
_KEYS = {kind: (kind, _PREFIX + kind) for kind in KINDS}
_TAKEN = frozenset({"", NOT_UNDERSTOOD, *KINDS})
_BETWEEN_NUMBERS = re.compile("[;,\n]")
_SLASH = re.compile("/")
_SEMICOLON = re.compile(";")
_BETWEEN_ADDRESSES = re.compile(r"[;,\s/]+")
_BETWEEN_URLS = re.compile(r"[;,\s]\s*(?=https?://|www\.)", re.IGNORECASE)
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_HOST = re.compile(r"([a-z0-9_-]+\.)+([a-z]{2,}|xn--[a-z0-9-]+)\.?")


def contacts(tags: Mapping[str, str], *, country: str) -> dict[str, Any]:
    """Collect the contacts of a feature.

    `phone` and `contact:phone` are one kind, the plain key's values first. Several values of a tag
    stand in the order in which they are written, each once.

    Args:
        tags: The tags of a feature.
        country: ISO 3166-1 alpha-2; a number without a country's prefix is one of it.

    Returns:
        `{kind: [text, ...]}`, without empty lists. `phone`, `mobile` and `fax` in E.164, with
        `;ext=` (RFC 3966) where an extension is mapped; `email`, `website` and `url` normalized;
        any other `contact:<kind>` as written. `not_understood` is `{kind: [text, ...]}` of what is
        no such number, address or URL.
    """
    kinds, others = _kinds_of(frozenset(tags))
    found: dict[str, Any] = {}
    failed: dict[str, list[str]] = {}
    for kind, keys in kinds:
        read = _reader(kind, country)
        understood, rest = zip(*(read(tags[key]) for key in keys), strict=True)
        _put(found, kind, understood)
        _put(failed, kind, rest)
    for kind, key in others:
        _put(found, kind, [tuple(_parts(_SEMICOLON, tags[key]))])
    if failed:
        found[NOT_UNDERSTOOD] = failed
    return found


@lru_cache(maxsize=65_536)
def _kinds_of(
    keys: frozenset[str],
) -> tuple[Sequence[tuple[str, Sequence[str]]], Sequence[tuple[str, str]]]:
    """List the kinds of contacts that are normalized, with their keys; and the others, with theirs.

    Many places have the same keys, and each has its own contacts.
    """
    kinds = [
        (kind, there) for kind, of in _KEYS.items() if (there := [key for key in of if key in keys])
    ]
    prefixed = ((key.removeprefix(_PREFIX), key) for key in sorted(keys) if key.startswith(_PREFIX))
    return kinds, [(kind, key) for kind, key in prefixed if kind not in _TAKEN]


def _put(found: dict[str, Any], kind: str, values: Sequence[Values]) -> None:
    if each_once := list(dict.fromkeys(value for some in values for value in some)):
        found[kind] = each_once


def _reader(kind: str, country: str) -> Callable[[str], Reading]:
    if kind in PHONES:
        return partial(phones, country=country)
    return emails if kind == "email" else websites


@lru_cache(maxsize=100_000)
def phones(text: str, *, country: str) -> Reading:
    """Read telephone numbers.

    Args:
        text: One or several numbers, with `;`, `,` or `/` between them.
        country: ISO 3166-1 alpha-2; a number without a country's prefix is one of it.

    Returns:
        The valid ones in E.164, with `;ext=` where there is an extension; and what is none.
    """
    understood: list[str] = []
    rest: list[str] = []
    for part in _parts(_BETWEEN_NUMBERS, text):
        for piece in _at_slashes(part, country):
            number = _number(piece, country)
            if number is not None:
                understood.append(number)
                continue
            found, is_all = _numbers_within(piece, country)
            understood += found
            if not is_all:
                rest.append(piece)
    return tuple(understood), tuple(rest)


def _at_slashes(text: str, country: str) -> list[str]:
    """Split a text at its slashes, unless they stand within one number, as in `06221/12345`."""
    pieces = _parts(_SLASH, text)
    if len(pieces) > 1 and _number(pieces[0], country) is not None:
        return pieces
    return [text]


def _number(text: str, country: str) -> str | None:
    from phonenumbers import NumberParseException, is_valid_number, parse

    try:
        number = parse(text, country)
    except NumberParseException:
        return None
    return _e164(number) if is_valid_number(number) else None


def _numbers_within(text: str, country: str) -> tuple[list[str], bool]:
    """Find the numbers between words; also tell whether no other digits are left."""
    from phonenumbers import PhoneNumberMatcher

    matches = list(PhoneNumberMatcher(text, country))
    left = text
    for match in matches:
        left = left.replace(match.raw_string, " ")
    is_all = bool(matches) and not any(map(str.isdigit, left))
    return [_e164(match.number) for match in matches], is_all


def _e164(number: PhoneNumber) -> str:
    from phonenumbers import PhoneNumberFormat, format_number

    extension = f";ext={number.extension}" if number.extension else ""
    return format_number(number, PhoneNumberFormat.E164) + extension


@lru_cache(maxsize=100_000)
def emails(text: str) -> Reading:
    """Read e-mail addresses.

    Returns:
        Those that can be addresses, with the domain in small letters and in ASCII (IDNA); nobody
        is asked whether they exist. And what is none.
    """
    return _read_each(_parts(_BETWEEN_ADDRESSES, text), _email)


def _email(text: str) -> str | None:
    from email_validator import EmailNotValidError, validate_email

    try:
        address = validate_email(text.removeprefix("mailto:"), check_deliverability=False)
    except EmailNotValidError:
        return None
    return f"{address.local_part}@{address.ascii_domain}"


@lru_cache(maxsize=100_000)
def websites(text: str) -> Reading:
    """Read URLs of websites.

    Returns:
        Those that a browser could open at a public host, with scheme and host in small letters
        and the host in ASCII (IDNA); `http://` stands before one that has no scheme. And what is
        none.
    """
    return _read_each(_parts(_BETWEEN_URLS, text), _website)


def _website(text: str) -> str | None:
    from ada_url import URL

    try:
        url = URL(text if _SCHEME.match(text) else f"http://{text}")
    except ValueError:
        return None
    # A name and a password are nobody's website; neither is a host without a domain.
    if url.username or url.password or not _HOST.fullmatch(url.hostname):
        return None
    return url.href


def _parts(separator: re.Pattern[str], text: str) -> list[str]:
    return [part for part in map(str.strip, separator.split(text)) if part]


def _read_each(parts: list[str], read: Callable[[str], str | None]) -> Reading:
    results = {part: read(part) for part in parts}
    understood = tuple(value for value in results.values() if value is not None)
    return understood, tuple(part for part, value in results.items() if value is None)
