"""Telephone numbers in E.164, out of what people write into tags.

Belongs here: which digits of a text are a number, an extension, or a fax's number. Does not belong
here: which keys hold numbers (`contacts.py`).

A number is read whole or not at all: all digits between two words are its digits, with nothing
before them but an exit code or a trunk prefix. Where there is a doubt, nothing is understood.
libphonenumber says which numbers there are, but its matcher is not used: it finds numbers within
the digits of others.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

RANGE = 100
"""So far apart may the first and the last number of a range be, as in `06221 1234-1239`."""

DIRECT_DIALLING = frozenset({43, 49, 352})
"""Codes of the countries where what follows the last hyphen is dialled like the rest (Austria,
Germany, Luxembourg). Elsewhere it may be an extension that somebody must be asked for."""

NEARLY_ALL_ARE_NUMBERS = frozenset({352})
"""Codes of the countries in whose plan most foreign numbers are numbers too (Luxembourg: 4 to 11
digits, no area's code), so that a plus is not doubtful for it."""

LONGEST_TEXT = 500
"""A longer text is not read. A tag's value in OSM has at most 255 characters."""

_DASHES = r"‐-―−－-"
_EXTENSION_WORD = (
    r"(?:ext(?:ension|n)?|доб(?:авочный)?|внутр?|вн|wewn?|dw|durchwahl|nst|kl(?:appe)?|interno|int"
    r"|poste|anexo|linka|x|\#)[\s.:=№]*\d"
)
_EXTENSION = re.compile(
    rf"[\s;,(]*(?={_EXTENSION_WORD})\D+(?P<digits>\d{{1,8}})(?!\w|[\s().-]*\d)\)?",
    re.IGNORECASE,
)
# The comma of `0,14 €`, after one to four digits that stand apart.
_GROUPS = "|".join(rf"(?<=[\s(]\d{{{length}}})" for length in range(1, 5))
_DECIMALS = rf"(?:{_GROUPS}),\d\d?(?!\d)"
_BETWEEN = re.compile(rf"(?!{_DECIMALS})[;,\n](?!\s*{_EXTENSION_WORD})", re.IGNORECASE)
# A plus begins a number, also with blanks after it. Two dots are of a range.
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
    """What a text says.

    Attributes:
        numbers: Valid numbers in E.164, with `;ext=` (RFC 3966) where a word names an extension.
        faxes: Those that the words beside them say to be a fax's.
        rest: What is none, as written.
    """

    numbers: tuple[str, ...]
    faxes: tuple[str, ...]
    rest: tuple[str, ...]


class _Run(NamedTuple):
    """Digits, and what may stand among the digits of a number, from one word to the next.

    Attributes:
        text: As written.
        extension: The digits after a word for an extension, if there is one.
        is_whole: False where a word goes on in it: then it is a part of something else.
        is_fax: Whether the words around it name a fax.
        has_unit: Whether a word or a sign goes on after it, so that its last digits may be counted
            or measured by it, as in `24 h`, `1. Stock`, `8:00`.
    """

    text: str
    extension: str | None
    is_whole: bool
    is_fax: bool
    has_unit: bool


@lru_cache(maxsize=100_000)
def phones(text: str, *, country: str) -> Phones:
    """Read telephone numbers.

    Args:
        text: One or several numbers, with `;`, `,` or `/` or words between them.
        country: ISO 3166-1 alpha-2; a number without a country's prefix is one of it.
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
    """Return whether a word or an address goes on in the digits after it, unlike `TEL03`."""
    last = before[-1:]
    if _LABEL_AT_END.search(before):
        return False
    return _is_cased(last) or (last != "" and last in _PARTS_OF_AN_ADDRESS)


def _is_cased(letter: str) -> bool:
    """Return whether blanks separate words in this letter's script, so that it is none of ours."""
    return letter.lower() != letter.upper()


def _names_a_fax(words: str) -> bool:
    """Return whether words name a fax and no telephone, unlike `Tel./Fax`."""
    others, count = _FAX.subn("", words)
    return count > 0 and not _TELEPHONE.search(others)


def _numbers_of(run: _Run, country: str) -> tuple[list[str], list[str]]:
    """Read the number of a run, or several at its slashes, unless these stand within one number.

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
    """Return whether a piece's last digits may be no number's: `24 h`, `7/7`."""
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
    """Read a number that takes up all of a text; None where there is a doubt."""
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
    """Return whether a text's digits are an exit code, a country's code, a trunk prefix, a number.

    The library leaves out and inserts digits as the habits of a country have it. It also takes a
    country's code from digits that are written apart: `+42(0)323...` is no number of +420.
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
    """Return whether a foreign number would be one of the country without the plus before it.

    `+8 495 1234567` is a common slip for +7 or 8 in Russia, and +84 is Vietnam. `+1800 425 1234`
    is one in India, which writes such numbers without a trunk prefix, and `+51 99999-1234` in
    Brazil, where 51 is an area's code. A foreign code that stands alone is none where the country's
    number would not begin with it, or where the rest has the groups of the foreign country.
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

    What follows is then of another number (`06221 1234-1239`, ` - ` between blanks), an extension,
    or a note (`030 1234567 (24)`, `030 1234567 8-18`). Hours alone are no number.
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
    """Write the digits of any script as 0 to 9."""
    return text if text.isascii() else _DIGIT.sub(lambda digit: str(int(digit.group())), text)
