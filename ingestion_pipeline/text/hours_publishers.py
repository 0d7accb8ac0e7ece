"""Opening hours as publishers write them, in the form of the OSM specification.

A text is read by the words of one language (`hours_languages.py`) into rules, which are written in
the specification's form. What is not certain is not read: `2-5pm` may begin at night, `9:00-5:00`
may end in the afternoon, and `Di` is a Tuesday in German and a Sunday in French. If the language is
not known, all languages that can read a text must read the same.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from itertools import pairwise
from typing import NamedTuple

from ingestion_pipeline.text.folding import folded
from ingestion_pipeline.text.hours import normalized_hours
from ingestion_pipeline.text.hours_languages import LANGUAGES, MOMENTS, Word, words_of
from ingestion_pipeline.text.hours_words import MONTHS, WEEKDAYS

_HOUR = 60
_NOON = 12 * _HOUR
_AFTERNOON = 13 * _HOUR
"""No 12-hour clock has this hour; from here on a text has a 24-hour clock."""
_DAY = 24 * _HOUR
_EARLIEST_OF_A_PLAIN_HOUR = 6 * _HOUR
_LAST_NUMBER_THAT_IS_NO_YEAR = 1900
_LONGEST = 500


class _Uncertain(ValueError):
    """A text that cannot be read, or that may mean something else."""


class _Ambiguous(_Uncertain):
    """A text with two meanings, such as one whose times may be in the morning or afternoon."""


_AMBIGUOUS = "?"
"""The reading of a text with two meanings in one language."""


class _Token(NamedTuple):
    """A piece of a text.

    Attributes:
        kind: A kind of `Word`, or `T` time, `V` event of the sun, `.` the end of a sentence, or the
            sign itself.
        word: The word, of `W`, `M`, `R` and `H`.
        text: The specification's text of an event of the sun.
        minutes: Of a time: since midnight.
        half: Of a time: `am`, `pm` or empty.
        form: Of a time: `hour` for a plain number, `minutes`, `padded` with a zero before, or
            `clock` with a word for a 24-hour clock.
        is_day: Whether a number is written as a day of a month.
    """

    kind: str
    word: Word | None = None
    text: str = ""
    minutes: int = 0
    half: str = ""
    form: str = ""
    is_day: bool = False


class _Item(NamedTuple):
    """A part of a rule.

    Attributes:
        kind: `D` days, `M` dates, `T` times, `S` closed.
        text: As the specification writes it.
        days: The weekdays of `D`.
        span: Start and end of `T` in minutes, if known.
        is_after_comma: Whether a comma is before it.
    """

    kind: str
    text: str
    days: frozenset[int] = frozenset()
    span: tuple[int, int] | None = None
    is_after_comma: bool = False


@lru_cache(maxsize=20_000)
def published_hours(text: str, language: str | None = None) -> str | None:
    """Return opening hours in the canonical form of the OSM specification.

    Args:
        text: As a publisher writes them.
        language: The language of the text, a key of `LANGUAGES`; None if it is not known.

    Returns:
        None if they cannot be read, or not with certainty.
    """
    if len(text) > _LONGEST:
        return None
    languages = tuple(LANGUAGES) if language is None else (language,)
    if _is_specified(text):
        others = {_reading(text, each) for each in languages if _has_other_meaning(text, each)}
        readings = others - {None} if language is not None else set()
        if not readings:
            readings = {normalized_hours(text), *others} - {None}
    else:
        readings = {_reading(text, each) for each in languages} - {None}
        if not readings and language is not None:
            readings = {_reading(text, "en")}
    found = readings.pop() if len(readings) == 1 else None
    if found is None or found == _AMBIGUOUS or _CLOSED_ON_SOME_DAYS.fullmatch(found):
        return None
    return found


_CLOSED_ON_SOME_DAYS = re.compile(r"(?:[^;,\"]|,(?! ))+ closed(?:[;,] (?:[^;,\"]|,(?! ))+ closed)*")
"""Hours that say nothing of the other days."""


_WORDS_OF_SPECIFICATION = frozenset(
    {
        *(*WEEKDAYS, *MONTHS, "PH", "SH", "off", "closed", "open", "unknown"),
        *("dawn", "dusk", "sunrise", "sunset", "week", "easter", "day", "days"),
    }
)
_TIMES_OR_STATE = re.compile(
    r"(?<!\d)\d\d:\d\d(?!\d)|24/7|off|closed|open|unknown|dawn|dusk|sunrise|sunset"
)
_NUMBERS_OF_DATES = re.compile(
    rf"(?:{'|'.join(MONTHS)}|week) ?\d+(?![\d:])(?:[-,/]\d+(?![\d:]))*"
    r"|\[[-,\d]+\]|[-+]\d+ days?|\b(?:19|20)\d\d\b"
)

_POINT_IN_TIME = re.compile(r"(?<![-+/\d])(?<![-/] )\d\d:\d\d(?! ?[-+/)])")


def _is_specified(text: str) -> bool:
    """Return whether a text is in the form of the specification, with hours of two digits."""
    bare = re.sub('"[^"]*"', "", text)
    words = set(re.findall(r"[^\W\d_]+", bare))
    rest = _NUMBERS_OF_DATES.sub("", bare)
    return (
        words <= _WORDS_OF_SPECIFICATION
        and (_TIMES_OR_STATE.search(rest) is not None or bare != text)
        and re.search(r"\d", _TIMES_OR_STATE.sub("", rest)) is None
        and _POINT_IN_TIME.search(bare) is None
        and re.search(r"(\d\d:\d\d) ?- ?\1", bare) is None  # the whole day, or no time at all
        and (bool(words) or not _has_night_from_morning(bare))
    )


def _has_other_meaning(text: str, language: str) -> bool:
    """Return whether a word of the specification is another day or month in a language."""
    known = words_of(language)
    return any(
        known[word].own not in (None, number) or known[word].kind != kind
        for kind, names in (("W", WEEKDAYS), ("M", MONTHS))
        for number, name in enumerate(names)
        if name in text and (word := name.lower()) in known
    )


def _has_night_from_morning(hours: str) -> bool:
    """Return whether a span begins in the morning and ends in the next: `09:00-05:00`."""
    for start, end in re.findall(r"(\d\d:\d\d)-(\d\d:\d\d)", hours):
        if "07:00" <= start <= "12:00" and "04:30" <= end < start:
            return True
    return False


def _reading(text: str, language: str) -> str | None:
    """Return what a text means if it is in a language, or `_AMBIGUOUS`."""
    try:
        rules = _rules(_tokens(text, language), language)
    except _Uncertain as error:
        return _AMBIGUOUS if isinstance(error, _Ambiguous) else None
    found = normalized_hours("".join(rules).removeprefix("; ").removeprefix(", "))
    return _AMBIGUOUS if found is not None and _has_night_from_morning(found) else found


# Tokens

_TIME = re.compile(
    r"(?P<hour>\d{1,2})(?:(?P<sign>\s?[hu]\s?|[:.])(?P<minute>[0-5]\d)(?::[0-5]\d)?(?!\d))?"
    r"(?P<clock>\s?h(?![^\W_]))?(?P<half>\s?[ap]\.?\s?m(?![^\W_])\.?)?(?![\d/])"
)
_FOUR_DIGITS = re.compile(r"([01]\d|2[0-4])([0-5]\d)(?!\d)")
_DAY_OF_MONTH = re.compile(r"(\d{1,2})(?:(?:st|nd|rd|th|er|o)(?![^\W_])|\.(?=\s?[^\W\d_]))")
_SIGNS = {
    **dict.fromkeys("-‐‑‒–—−~", "-"),
    **dict.fromkeys(",&", ","),
    **dict.fromkeys(";|", ";"),
    ":": ":",
    ".": ".",
}
_LINES = re.compile(r"\s*(?:[\r\n]+|<br ?/?>)\s*", re.IGNORECASE)


@cache
def _words(language: str) -> tuple[dict[str, Word], dict[str, str], re.Pattern[str]]:
    """Return the words of a language, those of moments, and the pattern of both."""
    moments = {folded(word): text for text, words in MOMENTS.items() for word in words}
    known = words_of(language)
    longest = sorted({*known, *moments}, key=len, reverse=True)
    pattern = re.compile(rf"(?:{'|'.join(map(re.escape, longest))})(?![^\W_])")
    return known, moments, pattern


def _tokens(text: str, language: str) -> list[_Token]:
    known, moments, words = _words(language)
    text = " ; ".join(map(folded, _LINES.split(text.strip())))
    found: list[_Token] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = words.match(text, at)
        # `8 - 24 h` ends at midnight, and is not open for 24 hours.
        if match and text[at].isdigit() and found and found[-1].kind == "-":
            match = None
        if match:
            found.append(_of_word(match[0], known, moments))
            at = match.end()
            if found[-1].kind not in ("S", "A") and text[at : at + 1] == ".":
                at += 1
            continue
        token, at = _of_number_or_sign(text, at, found)
        found.append(token)
    _require_one_vocabulary(found, language)
    return [token for token in found if token.kind not in ("I", ":")]


def _of_word(text: str, known: dict[str, Word], moments: dict[str, str]) -> _Token:
    if text in known:
        return _Token(known[text].kind, known[text])
    moment = moments[text]
    if moment[0].isdigit():
        return _Token("T", minutes=int(moment[:2]) * _HOUR, form="clock")
    return _Token("V", text=moment)


def _of_number_or_sign(text: str, at: int, before: list[_Token]) -> tuple[_Token, int]:
    if match := _FOUR_DIGITS.match(text, at):
        is_year = int(match[0]) >= _LAST_NUMBER_THAT_IS_NO_YEAR
        if is_year and not (before and before[-1].kind == "-"):
            raise _Uncertain("a year")
        minutes = int(match[1]) * _HOUR + int(match[2])
        return _Token("T", minutes=minutes, form="padded"), match.end()
    if match := _DAY_OF_MONTH.match(text, at):
        return _Token("T", minutes=int(match[1]) * _HOUR, form="hour", is_day=True), match.end()
    if match := _TIME.match(text, at):
        return _of_time(match), match.end()
    if text[at] in _SIGNS:
        return _Token(_SIGNS[text[at]]), at + 1
    raise _Uncertain(text[at:])


def _of_time(match: re.Match[str]) -> _Token:
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    half = "".join((match["half"] or "").replace(".", "").split())
    sign = (match["sign"] or "").strip()
    if match["clock"] or sign in ("h", "u"):
        form = "clock"
    elif match["minute"] is None:
        form = "hour"
    else:
        form = "padded" if match["hour"].startswith("0") or hour > 12 else "minutes"  # noqa: PLR2004
    return _Token("T", minutes=hour * _HOUR + minute, half=half, form=form)


def _require_one_vocabulary(tokens: list[_Token], language: str) -> None:
    """Require that all weekdays are of the language, or all of the specification.

    `So` is a Saturday in Czech and a Sunday in German, so that `Mo-So` is not Czech.
    """
    days = [token.word for token in tokens if token.kind == "W" and token.word is not None]
    if language == "en" or all(day.own is not None for day in days):
        return
    if not all(day.specified is not None for day in days):
        raise _Uncertain("weekdays of two languages")
    for number, token in enumerate(tokens):
        if token.kind == "W" and token.word is not None:
            tokens[number] = token._replace(word=token.word._replace(own=token.word.specified))


# Items

_RANGES = {"Mo-Su": frozenset(range(7)), "Mo-Fr": frozenset(range(5)), "Sa-Su": frozenset({5, 6})}
_HOLIDAYS = frozenset({7})
_END = _Token("end")


class _Rule(NamedTuple):
    """Days and dates, and the times or the state of them; `is_new` begins a statement."""

    items: tuple[_Item, ...]
    is_new: bool

    @property
    def days(self) -> frozenset[int]:
        """The weekdays, and 7 for holidays; all weekdays if none is named."""
        named = [item.days for item in self.items if item.kind == "D"]
        return frozenset().union(*named) if named else _RANGES["Mo-Su"]

    def texts(self, kind: str) -> tuple[str, ...]:
        """Return the texts of the items of a kind."""
        return tuple(item.text for item in self.items if item.kind == kind)

    @property
    def written(self) -> str:
        """The rule in the form of the specification."""
        parts = (",".join(self.texts(kind)) for kind in "MDTS")
        return " ".join(part for part in parts if part)


def _rules(tokens: list[_Token], language: str) -> list[str]:
    """Return the rules of a text in the form of the specification."""
    has_afternoon = any(
        token.kind == "T" and not token.half and token.minutes >= _AFTERNOON for token in tokens
    )
    statements = _statements(tokens, twelve=LANGUAGES[language].twelve and not has_afternoon)
    days = [item for statement in statements for item in statement if item.kind == "D"]
    if len(days) == 1 and days[0].text == "Mo-Su" and len(statements[-1]) > 1:
        # `9am-5pm, daily`
        statements = [[each for each in items if each.kind != "D"] for items in statements]
    rules = [rule for items in statements for rule in _of_statement(items)]
    if not rules:
        raise _Uncertain("nothing")
    _require_certain(rules)
    return [_separator(rules, at) + rule.written for at, rule in enumerate(rules)]


def _statements(tokens: list[_Token], *, twelve: bool) -> list[list[_Item]]:
    """Return the items between semicolons, lines and sentences."""
    statements: list[list[_Item]] = [[]]
    at = 0
    while at < len(tokens):
        kind = tokens[at].kind
        if kind in (";", "."):
            if kind == ";" or (statements[-1] and statements[-1][-1].kind in "TS"):
                statements.append([])
            at += 1
        elif kind in (",", "U", "O"):
            at += 1
        else:
            is_after_comma = at > 0 and tokens[at - 1].kind == "," and tokens[at - 1].word is None
            item, at = _item([*tokens, _END, _END, _END], at, twelve=twelve)
            statements[-1].append(item._replace(is_after_comma=is_after_comma))
    return [statement for statement in statements if statement]


def _item(tokens: list[_Token], at: int, *, twelve: bool) -> tuple[_Item, int]:
    token = tokens[at]
    if token.kind in ("T", "M"):
        date, end = _date(tokens, at)
        if date:
            return _dates(tokens, date, end)
    match token.kind:
        case "T" | "V":
            return _times(tokens, at, twelve=twelve)
        case "W":
            return _weekdays(tokens, at)
        case "A":
            return _Item("T", "00:00-24:00", span=(0, _DAY)), at + 1
        case "S":
            return _Item("S", "closed"), at + 1
        case "R" | "H" if token.word is not None:
            days = _RANGES.get(token.word.text, _HOLIDAYS)
            return _Item("D", token.word.text, days), at + 1
    raise _Uncertain(token.kind)


def _weekdays(tokens: list[_Token], at: int) -> tuple[_Item, int]:
    first = _number(tokens[at])
    if tokens[at + 1].kind != "-":
        return _Item("D", WEEKDAYS[first], frozenset({first})), at + 1
    if tokens[at + 2].kind != "W":
        raise _Uncertain("a range of days without an end")
    last = _number(tokens[at + 2])
    days = frozenset(day % 7 for day in range(first, last + 1 + 7 * (last < first)))
    return _Item("D", f"{WEEKDAYS[first]}-{WEEKDAYS[last]}", days), at + 3


def _number(token: _Token) -> int:
    """Return the number of a weekday or month."""
    assert token.word is not None
    number = token.word.specified if token.word.own is None else token.word.own
    assert number is not None
    return number


def _is_plain_number(token: _Token) -> bool:
    return token.kind == "T" and token.form == "hour" and not token.half


def _date(tokens: list[_Token], at: int) -> tuple[str, int]:
    """Return a month, or a day of a month, and where it ends; empty if there is none."""
    token = tokens[at]
    if token.kind == "M":
        month = MONTHS[_number(token)]
        if _is_plain_number(tokens[at + 1]) and _ends_date(tokens, at + 2):
            return f"{month} {tokens[at + 1].minutes // _HOUR}", at + 2
        return month, at + 1
    if _is_plain_number(token):
        month_at = at + 1 + (tokens[at + 1].kind == "O")
        if tokens[month_at].kind == "M":
            return f"{MONTHS[_number(tokens[month_at])]} {token.minutes // _HOUR}", month_at + 1
    return "", at


def _ends_date(tokens: list[_Token], at: int) -> bool:
    """Return whether a number before this is a day: `Oct 31 8am`, and not `Oct 8-20`."""
    if tokens[at].kind == "U":
        return False
    return tokens[at].kind != "-" or bool(_date(tokens, at + 1)[0])


def _dates(tokens: list[_Token], first: str, at: int) -> tuple[_Item, int]:
    if tokens[at].kind != "-":
        after = "".join(each.kind for each in tokens[at + 1 : at + 3])
        if _is_plain_number(tokens[at]) and after == "-T":
            raise _Ambiguous("numbers that may be days or hours")  # `Mar 8-14`
        return _Item("M", first), at
    last, end = _date(tokens, at + 1)
    if not last or (" " in first) != (" " in last):
        raise _Uncertain("a range of dates without an end")
    return _Item("M", f"{first}-{last}"), end


def _times(tokens: list[_Token], at: int, *, twelve: bool) -> tuple[_Item, int]:
    if tokens[at].text == "sunrise-sunset":
        return _Item("T", tokens[at].text), at + 1
    first, at = _with_clock(tokens, at)
    if tokens[at].kind != "-" or tokens[at + 1].kind not in ("T", "V"):
        raise _Uncertain("a time without an end")
    last, at = _with_clock(tokens, at + 1)
    if first.is_day or last.is_day:
        raise _Uncertain("a day without a month")
    if first.kind == last.kind == "T":
        if _is_plain_number(first) and _is_plain_number(last) and tokens[at].kind == "M":
            raise _Ambiguous("numbers that may be days or hours")  # `9-17 May`
        start, end = _ends(first, last, twelve=twelve)
        return _Item("T", f"{_clock(start)}-{_clock(end)}", span=(start, end)), at
    return _Item("T", f"{_moment(first, twelve=twelve)}-{_moment(last, twelve=twelve)}"), at


def _with_clock(tokens: list[_Token], at: int) -> tuple[_Token, int]:
    """Return a time with the word for a clock after it, and where it ends."""
    if tokens[at + 1].kind == "U":
        return tokens[at]._replace(form="clock"), at + 2
    return tokens[at], at + 1


def _moment(token: _Token, *, twelve: bool) -> str:
    """Return the start or the end of a span whose other end follows the sun."""
    if token.kind == "V":
        return token.text
    if token.half:
        return _clock(_of_half(token))
    if token.form == "hour" or (twelve and token.form == "minutes"):
        raise _Ambiguous("a time")
    return _clock(token.minutes)


def _ends(first: _Token, last: _Token, *, twelve: bool) -> tuple[int, int]:
    """Return the start and the end of a span in minutes."""
    if first.half or last.half:
        start, end = _ends_of_halves(first, last)
    else:
        start, end = first.minutes % _DAY, last.minutes or _DAY
        is_known = max(first.minutes, last.minutes) > _NOON
        if first.minutes == last.minutes or not (is_known or _is_sure(first, last, twelve=twelve)):
            raise _Ambiguous("two times")
    if start == end or not 0 <= start < _DAY or not 0 < end <= _DAY:
        raise _Uncertain("no span of a day")
    return start, end


def _is_sure(first: _Token, last: _Token, *, twelve: bool) -> bool:
    """Return whether a span of two times before noon is of a 24-hour clock."""
    if first.minutes < last.minutes:
        if twelve:
            return first.form in ("padded", "clock") or last.form == "clock"
        return first.form != "hour" or first.minutes >= _EARLIEST_OF_A_PLAIN_HOUR
    if twelve:
        return {first.form, last.form} <= {"padded", "clock"}
    return "hour" not in (first.form, last.form)


def _ends_of_halves(first: _Token, last: _Token) -> tuple[int, int]:
    """Return the ends of a span of which at least one has `am` or `pm`."""
    if last.half:
        end = _of_half(last)
        if first.half:
            start = _of_half(first)
            return start, end if start == end else end or _DAY
        start = first.minutes
        if first.form == "clock" or start >= _NOON:  # noon as a word, or 12 at noon
            return start % _DAY, end or _DAY
        is_earlier = start < end % _NOON
        if start == 0 or is_earlier != (last.half == "am"):
            raise _Ambiguous("a start")
        return start, end or _DAY
    if last.form != "clock" and last.minutes <= _NOON:
        raise _Ambiguous("an end")
    return _of_half(first), last.minutes


def _of_half(token: _Token) -> int:
    """Return the minutes of a time with `am` or `pm`."""
    hour, minute = divmod(token.minutes, _HOUR)
    if hour == 0 or hour > 12:  # noqa: PLR2004
        raise _Uncertain("an hour that has no half")
    return (hour % 12 + 12 * (token.half == "pm")) * _HOUR + minute


def _clock(minutes: int) -> str:
    return f"{minutes // _HOUR:02}:{minutes % _HOUR:02}"


# Rules

_ORDERS = re.compile(r"(?:X[TS])+|[TS]|(?:TX)+(?:SX)?|SX|(?:XT)+SX|T(?:XS)+")
"""The orders of days (X), times (T) and `closed` (S) that have one meaning."""


def _of_statement(items: list[_Item]) -> list[_Rule]:
    blocks: list[tuple[str, list[_Item]]] = []
    for item in items:
        letter = "X" if item.kind in "DM" else item.kind
        if blocks and blocks[-1][0] == letter:
            blocks[-1][1].append(item)
        else:
            blocks.append((letter, [item]))
    order = "".join(letter for letter, _ in blocks)
    if not _ORDERS.fullmatch(order):
        raise _Uncertain("days and times in an order that may mean two things")
    parts = [part for _, part in blocks]
    if re.fullmatch("T(?:XS)+", order):  # `9-17, Sunday closed`
        if any([item.is_after_comma for item in part] != [True] for part in parts[1::2]):
            raise _Uncertain("days that may be those of the times")  # `9-17 Mo-Fr, Sa closed`
        parts.insert(0, [])
    elif len(parts) == 1:
        parts.insert(0, [])
    return [
        _Rule((*parts[at], *parts[at + 1]), is_new=at == 0) for at in range(0, len(parts) - 1, 2)
    ]


def _separator(rules: list[_Rule], at: int) -> str:
    """Return the separator before a rule.

    A rule adds to others, so that it does not end their hours after midnight, unless it replaces
    them.
    """
    replaces = any(
        rules[at].texts("S") or (rules[at].days & rule.days and not rule.texts("M"))
        for rule in rules[:at]
    )
    return "; " if replaces else ", "


def _require_certain(rules: list[_Rule]) -> None:
    if all(rule.texts("S") and (rule.texts("D") or rule.texts("M")) for rule in rules):
        raise _Uncertain("closed on some days, and nothing about the others")
    if len({bool(rule.texts("M")) for rule in rules}) > 1:
        raise _Uncertain("rules with and without dates")
    for at, rule in enumerate(rules):
        for before in rules[:at]:
            if before.texts("M") == rule.texts("M") and before.days & rule.days:
                is_exception = rule.days < before.days and not before.texts("S")
                if not is_exception or not (rule.is_new or rule.texts("S")):
                    raise _Uncertain("days of two rules, of which neither is the exception")
        spans = [item.span for item in rule.items if item.kind == "T" and item.span is not None]
        if any(later[0] < earlier[1] for earlier, later in pairwise(spans)):
            raise _Uncertain("spans that are not in order")
        if len(rule.texts("S")) > 1:
            raise _Uncertain("closed twice")
