"""Phone numbers in E.164, from the text of tags.

A number is parsed completely or not at all: all digits between two words belong to it, with only an
exit code or a trunk prefix before them. Ambiguous text is not parsed. libphonenumber validates the
numbers, but its matcher is not used, because it finds numbers within the digits of others.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

RANGE = 100
"""The largest difference of the numbers of a range, as in `06221 1234-1239`."""

DIRECT_DIALLING = frozenset({43, 49, 352})
"""Codes of countries where digits after the last hyphen are dialled like the rest (Austria,
Germany, Luxembourg). Elsewhere they may be an extension that an operator connects."""

NEARLY_ALL_ARE_NUMBERS = frozenset({352})
"""Codes of countries in whose plan most foreign numbers are valid too (Luxembourg: 4 to 11 digits,
no area codes), so that a plus is not doubtful."""

LONGEST_TEXT = 500
"""The longest text that is parsed. A tag's value in OSM has at most 255 characters."""

_DASHES = r"‐-―−－-"
_EXTENSION_WORD = (
    r"(?:ext(?:ension|n)?|доб(?:авочный)?|внутр?|вн|wewn?|dw|durchwahl|nst|kl(?:appe)?|interno|int"
    r"|poste|anexo|linka|x|\#)[\s.:=№]*\d"
)
_EXTENSION = re.compile(
    rf"[\s;,(]*(?={_EXTENSION_WORD})\D+(?P<digits>\d{{1,8}})(?!\w|[\s().-]*\d)\)?",
    re.IGNORECASE,
)
# The comma of `0,14 €`, after one to four separate digits.
_GROUPS = "|".join(rf"(?<=[\s(]\d{{{length}}})" for length in range(1, 5))
_DECIMALS = rf"(?:{_GROUPS}),\d\d?(?!\d)"
_BETWEEN = re.compile(rf"(?!{_DECIMALS})[;,\n](?!\s*{_EXTENSION_WORD})", re.IGNORECASE)
# A plus begins a number, even before blanks. Two dots are a range.
_RUN = re.compile(rf"(?:[+＋(]\s*)*\d(?:(?:(?!\.\.)[\d\s().·/{_DASHES}])*\d)?")
_ALWAYS_OPEN = re.compile(rf"(?:^|(?<=[\s(]))24/(?:24|7)(?!\d|\s*[/+(.{_DASHES}]?\s*\d)")
_OPENS_WITH_HOURS = re.compile(r"24/(?:24|7)\s")
_NOTE = re.compile(r"\s*\([^()\d]*\)")
_FAX = re.compile(
    r"(?:tele|теле)?-?(?:fa(?:x|ks)|факс|φαξ)|传真|傳真|팩스|ファ(?:ックス|クス)", re.IGNORECASE
)
_TELEPHONE = re.compile(r"tel|phone|fon|mob|тел|моб|τηλ|电话|電話|전화", re.IGNORECASE)
_END_OF_NUMBER = re.compile(
    rf"[\s.]*(?:$|[()]|[/&{_DASHES}]?\s*(?:{_FAX.pattern}|{_TELEPHONE.pattern}))", re.IGNORECASE
)
_LABEL_AT_END = re.compile(rf"(?:{_FAX.pattern}|tel|т|тел)$", re.IGNORECASE)
_PARTS_OF_AN_ADDRESS = "/@=#&?%*_-"
_AFTER_DASH = re.compile(rf"(?P<before>\d+)(?P<apart>\s+)?[{_DASHES}](?(apart)\s+|)(?P<after>\d+)$")
_HOURS = re.compile(rf"(?:^|\s)(?P<opens>\d\d?)(?:\.\d\d)?[{_DASHES}](?P<closes>\d\d?)(?:\.\d\d)?$")
_MIDNIGHT = 24
_SHORT_GROUP = re.compile(r"\s\d\d?$")
_GAP = re.compile(r"(?<!\s)\s")
_BRACKET = re.compile(r"(?<!^)\(")
_SHORTEST_LOCAL, _LONGEST_EXTENSION = 5, 3
_DIGIT = re.compile(r"\d")
_DIGITS = re.compile(r"\d+")
_NO_DIGIT = re.compile(r"\D")


class Phones(NamedTuple):
    """The numbers in a text.

    Attributes:
        numbers: Valid numbers in E.164, with `;ext=` (RFC 3966) for an explicit extension.
        faxes: Those with a word for fax beside them.
        rest: The text that is not a number, unchanged.
    """

    numbers: tuple[str, ...]
    faxes: tuple[str, ...]
    rest: tuple[str, ...]


class _Run(NamedTuple):
    """Digits, and the characters that may occur within a number, between two words.

    Attributes:
        text: Unchanged.
        extension: The digits after a word for an extension, if there is one.
        is_whole: False if a word continues in it, so that it is part of something else.
        is_fax: Whether the words around it denote a fax.
        has_unit: Whether a word or a sign follows, so that its last digits may be a count or a
            measure, as in `24 h`, `1. Stock`, `8:00`.
    """

    text: str
    extension: str | None
    is_whole: bool
    is_fax: bool
    has_unit: bool


@lru_cache(maxsize=100_000)
def phones(text: str, *, country: str) -> Phones:
    """Parse phone numbers.

    Args:
        text: One or several numbers, separated by `;`, `,`, `/` or words.
        country: ISO 3166-1 alpha-2, for numbers without a country's prefix.
    """
    numbers: list[str] = []
    faxes: list[str] = []
    rest: list[str] = []
    if len(text) > LONGEST_TEXT:
        return Phones((), (), (text,))
    for part in filter(None, map(str.strip, _BETWEEN.split(text))):
        runs = _runs(_ALWAYS_OPEN.sub("~~~~", part))
        failed: list[str] = []
        for run in runs:
            understood, not_understood = _numbers_of(run, country)
            (faxes if run.is_fax else numbers).extend(understood)
            failed += not_understood
        if failed and runs[0].text == part:
            rest += failed
        elif failed or not runs:
            rest.append(part)
    return Phones(tuple(numbers), tuple(faxes), tuple(rest))


def _runs(part: str) -> list[_Run]:
    if _RUN.fullmatch(part):
        return [_Run(part, extension=None, is_whole=True, is_fax=False, has_unit=False)]
    runs: list[_Run] = []
    position = 0
    while match := _RUN.search(part, position):
        extension = _EXTENSION.match(part, match.end())
        end = (extension or match).end()
        is_last = _RUN.search(part, end) is None
        note = None if is_last else _NOTE.match(part, end)
        after = part[end:] if is_last else note.group() if note else ""
        before = part[position : match.start()]
        runs.append(
            _Run(
                text=match.group(),
                extension=extension["digits"] if extension else None,
                is_whole=not _goes_on(before) and not _is_cased(part[end : end + 1]),
                is_fax=_names_a_fax(f"{before} {after}"),
                has_unit=extension is None and not _END_OF_NUMBER.match(part, end),
            )
        )
        position = end + len(after)
    return runs


def _goes_on(before: str) -> bool:
    """Return whether a word or an address continues in the following digits, unlike `TEL03`."""
    last = before[-1:]
    if _LABEL_AT_END.search(before):
        return False
    return _is_cased(last) or (last != "" and last in _PARTS_OF_AN_ADDRESS)


def _is_cased(letter: str) -> bool:
    """Return whether a letter's script separates words by blanks."""
    return letter.lower() != letter.upper()


def _names_a_fax(words: str) -> bool:
    """Return whether words denote a fax and not a telephone, unlike `Tel./Fax`."""
    others, count = _FAX.subn("", words)
    return count > 0 and not _TELEPHONE.search(others)


def _numbers_of(run: _Run, country: str) -> tuple[list[str], list[str]]:
    """Parse the number of a run, or several separated by slashes.

    Slashes within one number do not separate numbers.

    Returns:
        The numbers; and the pieces that are none.
    """
    if not run.is_whole or _OPENS_WITH_HOURS.match(run.text):
        return [], [run.text]
    pieces = [piece for piece in map(str.strip, run.text.split("/")) if piece]
    if len(pieces) > 1 and _number(pieces[0], country) is None:  # as in `06221/12345`
        if _number("/".join(pieces[:-1]), country) is not None:  # `06221/123456/57` is a range
            return [], [run.text]
        pieces = [run.text]
    if _ends_in_a_measure(pieces, country, has_unit=run.has_unit):
        return [], [run.text]
    found = [(piece, _number(piece, country)) for piece in pieces]
    numbers = [number for _, number in found if number is not None]
    failed = [piece for piece, number in found if number is None]
    if run.extension is not None and numbers and not failed:
        numbers[-1] += f";ext={_in_ascii(run.extension)}"
    return numbers, failed


def _ends_in_a_measure(pieces: list[str], country: str, *, has_unit: bool) -> bool:
    """Return whether a piece's last digits may not belong to a number: `24 h`, `7/7`."""
    doubtful = [pieces[-1]] if has_unit else []
    doubtful += [
        piece
        for piece, following in pairwise(pieces)
        if _SHORT_GROUP.search(piece) and _number(following, country) is None
    ]
    return any(
        _number(piece[: gap.start()], country) is not None
        for piece in doubtful
        for gap in _GAP.finditer(piece)
    )


@lru_cache(maxsize=100_000)
def _number(text: str, country: str) -> str | None:
    """Return the number that a whole text is; None if there is a doubt."""
    import phonenumbers

    text = _in_ascii(text)
    number = _valid(text, country)
    if number is None or not _has_all_digits(number, text, country):
        return None
    if _is_slip(number, text, country) or _may_end_sooner(number, text, country):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _valid(text: str, country: str) -> PhoneNumber | None:
    import phonenumbers

    try:
        number = phonenumbers.parse(text, country, keep_raw_input=True)
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_valid_number(number) else None


def _has_all_digits(number: PhoneNumber, text: str, country: str) -> bool:
    """Return whether the digits are an exit code, a country's code, a trunk prefix and the number.

    The library removes and inserts digits by the customs of a country. It also finds a country's
    code in separate digits: `+42(0)323...` is not a number of +420.
    """
    import phonenumbers

    digits = _NO_DIGIT.sub("", text)
    code = str(number.country_code)
    significant = phonenumbers.national_significant_number(number)
    if text.startswith(f"+{code}") and digits == code + significant:
        return True
    if not digits.endswith(significant):
        return False
    head = digits.removesuffix(significant)
    region = phonenumbers.region_code_for_country_code(int(code))
    trunk = phonenumbers.ndd_prefix_for_region(region, True) or ""
    source = phonenumbers.CountryCodeSource
    if number.country_code_source == source.FROM_DEFAULT_COUNTRY:
        return head in {"", trunk}
    exit_code, has_code, between = head.rpartition(code)
    is_dialled = number.country_code_source == source.FROM_NUMBER_WITH_IDD
    if not has_code or between not in {"", trunk} or (exit_code and not is_dialled):
        return False
    is_at_home = number.country_code == phonenumbers.country_code_for_region(country)
    return is_at_home or re.match(r"\D*".join(["", *exit_code, code]), text) is not None


def _is_slip(number: PhoneNumber, text: str, country: str) -> bool:
    """Return whether a foreign number would be a domestic one without its plus.

    `+8 495 1234567` is a common slip for +7 or 8 in Russia, and +84 is Vietnam. `+1800 425 1234`
    is one in India, which writes such numbers without a trunk prefix, and `+51 99999-1234` in
    Brazil, where 51 is an area code. A separate foreign code is not a slip if the domestic number
    would not begin with it, or if the rest is grouped as in the foreign country.
    """
    import phonenumbers

    source = phonenumbers.CountryCodeSource.FROM_NUMBER_WITH_PLUS_SIGN
    home_code = phonenumbers.country_code_for_region(country)
    if number.country_code == home_code or number.country_code_source != source:
        return False
    digits = _NO_DIGIT.sub("", text)
    at_home = _valid(digits, country)
    if at_home is None:
        return False
    trunk = phonenumbers.ndd_prefix_for_region(country, True) or ""
    if trunk and digits.startswith(trunk):
        return True
    as_at_home, as_abroad = (
        _DIGITS.findall(phonenumbers.format_number(each, form))
        for each, form in (
            (at_home, phonenumbers.PhoneNumberFormat.NATIONAL),
            (number, phonenumbers.PhoneNumberFormat.INTERNATIONAL),
        )
    )
    if "".join(as_at_home) != digits or home_code in NEARLY_ALL_ARE_NUMBERS:
        return False
    groups = _DIGITS.findall(text)
    is_code_alone = groups[0] == str(number.country_code)
    return not (is_code_alone and (as_at_home[0] != groups[0] or groups == as_abroad))


def _may_end_sooner(number: PhoneNumber, text: str, country: str) -> bool:
    """Return whether a number may end before the last dash, before a bracket, or before hours.

    The rest then belongs to another number (`06221 1234-1239`, ` - ` between blanks), an extension,
    or a note (`030 1234567 (24)`, `030 1234567 8-18`). Hours alone are not a number.
    """
    ends = [bracket.start() for bracket in _BRACKET.finditer(text)]
    hours = _HOURS.search(text)
    if hours and int(hours["opens"]) < int(hours["closes"]) <= _MIDNIGHT:
        ends.append(hours.start())
    dash = _AFTER_DASH.search(text)
    if dash and _is_doubtful_dash(dash, number.country_code):
        ends.append(dash.end("before"))
    return any(end == 0 or _number(text[:end], country) is not None for end in ends)


def _is_doubtful_dash(dash: re.Match[str], country_code: int | None) -> bool:
    before, after = dash["before"], dash["after"]
    return (
        dash["apart"] is not None
        or (len(before) == len(after) and 0 < int(after) - int(before) < RANGE)
        or (
            len(before) >= _SHORTEST_LOCAL
            and len(after) <= _LONGEST_EXTENSION
            and country_code not in DIRECT_DIALLING
        )
    )


def _in_ascii(text: str) -> str:
    """Return a text with the digits of any script as 0 to 9."""
    return text if text.isascii() else _DIGIT.sub(lambda digit: str(int(digit.group())), text)
