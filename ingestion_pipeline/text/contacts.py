"""Contacts of a set of tags in usable forms: phone numbers, e-mail addresses and websites.

Each form follows a standard: E.164 by libphonenumber's rules, e-mail by RFC 5321 and 5322, URLs as
a browser reads them (WHATWG). A value that cannot be parsed is kept unchanged under its own key.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.text.phones import phones

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FAX = "fax"
PHONES = ("phone", "mobile", FAX)
WEBSITES = ("website", "url")
KINDS = (*PHONES, "email", *WEBSITES)
"""Kinds that are normalized, and that are contacts with and without the prefix `contact:`."""

NOT_UNDERSTOOD = "not_understood"
"""The key of values of `KINDS` that cannot be parsed."""

Values = tuple[str, ...]
Reading = tuple[Values, Values]
"""Parsed values, and text that cannot be parsed."""

_PREFIX = "contact:"
_PLAIN_KEYS = frozenset(KINDS)
_KEYS = {kind: (kind, _PREFIX + kind) for kind in KINDS}
_TAKEN = frozenset({"", NOT_UNDERSTOOD, *KINDS})
_SEMICOLON = re.compile(";")
_BETWEEN_ADDRESSES = re.compile(r"[;,\s/]+")
# Matches only at the first of several blanks; otherwise each would scan the rest.
_BETWEEN_URLS = re.compile(r"(?:[;,]|(?<!\s)\s)\s*(?=https?://|www\.)", re.IGNORECASE)
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_HOST = re.compile(r"([a-z0-9_-]+\.)+([a-z]{2,}|xn--[a-z0-9-]+)\.?")


def contacts(tags: Mapping[str, str], *, country: str) -> dict[str, Any]:
    """Return the contacts of a feature.

    `phone` and `contact:phone` are one kind, with the plain key's values first. The values of a tag
    keep their order, without duplicates. A phone number is a fax number if the words beside it say
    so; it follows the numbers that are mapped as such.

    Args:
        tags: The tags of a feature.
        country: ISO 3166-1 alpha-2, for numbers without a country's prefix.

    Returns:
        `{kind: [text, ...]}`, without empty lists. `phone`, `mobile` and `fax` in E.164, with
        `;ext=` (RFC 3966) for an explicit extension; `email`, `website` and `url` normalized; any
        other `contact:<kind>` unchanged. `not_understood` is `{kind: [text, ...]}` of values that
        cannot be parsed.
    """
    there = frozenset([key for key in tags if key in _PLAIN_KEYS or key.startswith(_PREFIX)])
    if not there:  # most places
        return {}
    kinds, others = _kinds_of(there)
    found: dict[str, Any] = {}
    failed: dict[str, list[str]] = {}
    faxes: list[Values] = []
    for kind, keys in kinds:
        if kind in PHONES:
            numbers, of_faxes, rest = zip(
                *(phones(tags[key], country=country) for key in keys), strict=True
            )
            _put(found, kind, numbers)
            faxes += of_faxes
        else:
            read = emails if kind == "email" else websites
            understood, rest = zip(*(read(tags[key]) for key in keys), strict=True)
            _put(found, kind, understood)
        _put(failed, kind, rest)
    if faxes:
        _put(found, FAX, [found.get(FAX, ()), *faxes])
    for kind, key in others:
        _put(found, kind, [tuple(_parts(_SEMICOLON, tags[key]))])
    if failed:
        found[NOT_UNDERSTOOD] = failed
    return found


@lru_cache(maxsize=65_536)
def _kinds_of(
    keys: frozenset[str],
) -> tuple[Sequence[tuple[str, Sequence[str]]], Sequence[tuple[str, str]]]:
    """Return the normalized kinds of contacts with their keys, and the others with theirs.

    Cached: many places have the same of these keys, and each has its own contacts.
    """
    kinds = [
        (kind, there) for kind, of in _KEYS.items() if (there := [key for key in of if key in keys])
    ]
    prefixed = ((key.removeprefix(_PREFIX), key) for key in sorted(keys) if key.startswith(_PREFIX))
    return kinds, [(kind, key) for kind, key in prefixed if kind not in _TAKEN]


def _put(found: dict[str, Any], kind: str, values: Sequence[Values]) -> None:
    if each_once := list(dict.fromkeys(value for some in values for value in some)):
        found[kind] = each_once


@lru_cache(maxsize=100_000)
def emails(text: str) -> Reading:
    """Parse e-mail addresses.

    Returns:
        Valid addresses, with the domain in lower case and in ASCII (IDNA), not checked for
        existence; and the rest.
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
    """Parse URLs of websites.

    Returns:
        URLs that a browser could open at a public host, with scheme and host in lower case and the
        host in ASCII (IDNA), and `http://` added where there is no scheme; and the rest.
    """
    return _read_each(_parts(_BETWEEN_URLS, text), _website)


def _website(text: str) -> str | None:
    from ada_url import URL

    try:
        url = URL(text if _SCHEME.match(text) else f"http://{text}")
    except ValueError:
        return None
    # A URL with a password, or a host without a domain, is not a public website.
    if url.username or url.password or not _HOST.fullmatch(url.hostname):
        return None
    return url.href


def _parts(separator: re.Pattern[str], text: str) -> list[str]:
    return [part for part in map(str.strip, separator.split(text)) if part]


def _read_each(parts: list[str], read: Callable[[str], str | None]) -> Reading:
    results = {part: read(part) for part in parts}
    understood = tuple(value for value in results.values() if value is not None)
    return understood, tuple(part for part, value in results.items() if value is None)
