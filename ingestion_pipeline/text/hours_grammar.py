"""The grammar of opening hours, as the reference implementation reads it.

The specification is https://wiki.openstreetmap.org/wiki/Key:opening_hours/specification, the
reference implementation is opening_hours.js. Text that is parsed here has the same opening times
there. Ambiguous text is rejected, even if the reference implementation reads it: it takes
`Mo-Fr 09:00-18:00 Sa 10:00-14:00` for one rule of both days, and `9-5` for a night.

A symbol has a kind of one letter. The kinds of a text form a string, and the grammar consists of
regular expressions over it: `Mo-Fr 10:00-18:00` is `W-WN:N-N:N`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ingestion_pipeline.text import hours_words as words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DAY = 24 * 60
"""Minutes of a day."""

WEEK = frozenset(range(7))
"""The weekdays, from 0 for Monday."""

_HOUR = 60
_NOON = 12
_LAST_NUMBER_THAT_IS_NO_YEAR = 1900
_LAST_WEEK = 53
_LONGEST_PERIOD = 26
_LAST_IN_MONTH = 5
_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FARTHEST = {"E": 200, "W": 6, "H": 1}
"""The largest offset in days from a date."""
_LARGEST_SHIFT = 4
"""The largest offset in hours from sunrise or sunset that stays within the day."""


class NotUnderstood(ValueError):
    """A text that the reference implementation does not read, or that is ambiguous."""


class Symbol(NamedTuple):
    """A symbol of the grammar.

    Attributes:
        kind: `W` weekday, `M` month, `H` holiday, `E` easter, `K` week, `D` day, `Y` year, `N`
            number, `V` event of the sun, `A` 24/7, `S` state, `C` comment, or the sign itself.
        text: As the specification writes it; a comment without quotes; `am` or `pm` of an hour.
        value: Of a number, a year, a weekday or a month; the last two from 0.
        languages: Meanings of a word by language; empty except for weekdays and months.
    """

    kind: str
    text: str
    value: int = 0
    languages: tuple[tuple[str, int], ...] = ()


class Span(NamedTuple):
    """A span of a day, or a point in time.

    Attributes:
        text: As the specification writes it.
        minutes: Start and end, if the end is known and on the same day.
    """

    text: str
    minutes: tuple[int, int] | None = None

    @property
    def follows_sun(self) -> bool:
        """Whether it depends on the sun."""
        return self.minutes is None and any(map(str.isalpha, self.text))

    @property
    def has_open_end(self) -> bool:
        """Whether it has no end."""
        return self.text.endswith("+")


class Days(NamedTuple):
    """The days of a rule.

    Attributes:
        plain: Weekdays, from 0 for Monday.
        others: `PH`, `SH`, `Su[-1]` and the like.
    """

    plain: frozenset[int]
    others: tuple[str, ...] = ()


class Rule(NamedTuple):
    """A rule: its days and times, and its state.

    Attributes:
        separator: The separator before it. `; ` overrides earlier rules on its days, `, ` adds to
            them, and ` || ` applies to times without a rule.
        dates: Years, months, weeks, and a holiday that limits `days`.
        days: None for every day.
        spans: Empty for the whole day.
        state: `open`, `closed` or `unknown`.
        comment: Without quotes.
    """

    separator: str
    dates: tuple[str, ...] = ()
    days: Days | None = None
    spans: tuple[Span, ...] = ()
    state: str = "open"
    comment: str | None = None

    @property
    def is_dated(self) -> bool:
        """Whether it applies to certain days only."""
        return bool(self.dates) or self.days is not None


def rules_of(text: str) -> tuple[Rule, ...]:
    """Parse opening hours.

    Raises:
        NotUnderstood: They cannot be parsed unambiguously.
    """
    if len(text) > _LONGEST:
        raise NotUnderstood("too long")
    as_written = is_german = False
    if not _PLAIN.fullmatch(text):
        pieces = _COMMENT.split(text)
        pieces[::2] = map(_with_plain_signs, pieces[::2])
        text = "".join(pieces)
        as_written = _SUN.search(text) is not None
        is_german = _GERMAN.search(text) is not None
    rules = _rules(text, as_written=as_written, is_german=is_german)
    if not as_written and depends_on_form(rules):
        return _rules(text, as_written=True, is_german=is_german)
    return rules


def depends_on_form(rules: Sequence[Rule]) -> bool:
    """Return whether the reference implementation's result may depend on how days are written.

    That is so where times follow the sun, where a day is an offset from a weekday of a month
    (`Tu[1] -2 days`), and where `||` follows an open end.
    """
    spans = [span for rule in rules for span in rule.spans]
    others = [day for rule in rules if rule.days is not None for day in rule.days.others]
    return (
        any(span.follows_sun for span in spans)
        or any(_SHIFTED.search(day) for day in others)
        or (
            any(rule.separator == " || " for rule in rules)
            and any(span.has_open_end for span in spans)
        )
    )


_SHIFTED = re.compile(r"\].*day")


def _rules(text: str, *, as_written: bool, is_german: bool) -> tuple[Rule, ...]:
    found: list[Rule] = []
    before = ";"
    for part, after in _parts(text):
        if part:
            first, *others = _rules_of_part(part, as_written=as_written, is_german=is_german)
            found += (first if before == ";" else first._replace(separator=" || "), *others)
        elif "||" in {before, after}:
            raise NotUnderstood("|| without a rule on either side")
        before = after
    if not found:
        raise NotUnderstood("nothing")
    return tuple(found)


_PLAIN = re.compile("(?:[-0-9:;,+ ]|Mo|Tu|We|Th|Fr|Sa|Su|PH|SH|off|closed)*")
"""The usual symbols; text of these alone needs no further search."""
_GERMAN = re.compile(rf"\b(?:{'|'.join(words.ONLY_GERMAN)})", re.IGNORECASE)
_SUN = re.compile("sunrise|sunset|dawn|dusk|daylight", re.IGNORECASE)
_COMMENT = re.compile(r'("[^"]+")')
_PART = re.compile(r'((?:"[^"]*"|[^";|])*)(;|\|\||$)')
_LONGEST = 1000
"""Letters. Tags have at most 255; feeds have no limit."""


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """Yield the parts between semicolons and `||`, and the separator after each; `;` at the end."""
    at = 0
    while at <= len(text):
        match = _PART.match(text, at)
        if match is None:
            raise NotUnderstood(text[at:])
        yield match[1].strip(), match[2] or ";"
        at = match.end() + (not match[2])


# Symbols

_SCANNER = re.compile(
    r"""
    (?P<comment>"[^"]+")
    | (?P<quoted>["'„“‚‘’«「『][^"'“”‘’»」』;|]+["'”“‘’»」』])
    | (?P<half>[ap]\.?m\b\.?)
    | (?P<always>24/7(?![0-9]))
    | (?P<word>[^\W\d_]+)\.?
    | (?P<number>[0-9]+)(?:\.(?=[^0-9]))?
    | (?P<sign>[-,:.+/()\[\]])
    | (?P<blank>\s+)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SIGNS = str.maketrans(dict.fromkeys("‐‑‒–—−ー~～→", "-") | {"：": ":", "&": ",", "␣": " "})
_HAS_PHRASE = re.compile("|".join(words.PHRASES), re.IGNORECASE)
_KIND_OF_WORD = {
    **dict.fromkeys(("sunrise", "sunset", "dawn", "dusk"), "V"),
    **dict.fromkeys(("open", "closed", "unknown"), "S"),
    **dict.fromkeys(("PH", "SH"), "H"),
    "easter": "E",
    "week": "K",
    "day": "D",
}


def _with_plain_signs(text: str) -> str:
    text = text.translate(_SIGNS)
    if _HAS_PHRASE.search(text):
        for phrase, meant in words.PHRASES.items():
            text = re.sub(phrase, f" {meant} ", text, flags=re.IGNORECASE)
    return text


def _symbols(text: str) -> list[Symbol]:
    found: list[Symbol] = []
    end = 0
    for match in _SCANNER.finditer(text):
        if match.start() != end:
            break
        end = match.end()
        kind = str(match.lastgroup)
        if kind == "half":
            _set_half(found, match["half"][0].lower() + "m")
        else:
            found += _symbols_of_piece(kind, match[kind])
    if end < len(text):
        raise NotUnderstood(text[end])
    return found


@lru_cache(maxsize=10_000)
def _symbols_of_piece(kind: str, piece: str) -> tuple[Symbol, ...]:
    match kind:
        case "word":
            return _symbols_of_word(piece.lower())
        case "number":
            number = int(piece)
            return (Symbol("Y" if number > _LAST_NUMBER_THAT_IS_NO_YEAR else "N", "", number),)
        case "sign":
            sign = ":" if piece == "." else piece
            return (Symbol(sign, sign),)
        case "comment" | "quoted":
            comment = " ".join(piece[1:-1].split())
            if not comment:
                raise NotUnderstood("an empty comment")
            return (Symbol("C", comment),)
        case "always":
            return (Symbol("A", "24/7"),)
        case _:
            return ()


def _symbols_of_word(word: str) -> tuple[Symbol, ...]:
    for kind, known in (("W", words.WEEKDAY_WORDS), ("M", words.MONTH_WORDS)):
        if word in known:
            return (Symbol(kind, word, languages=tuple(known[word].items())),)
    if word not in words.SYMBOLS:
        raise NotUnderstood(word)
    text = words.SYMBOLS[word]
    kind_of_word = _KIND_OF_WORD.get(text)
    return (Symbol(kind_of_word, text),) if kind_of_word else tuple(_symbols(text))


def _set_half(found: list[Symbol], half: str) -> None:
    """Convert the preceding time to the morning (`am`) or the afternoon (`pm`)."""
    kinds = _kinds(found[-3:])
    if not kinds.endswith("N"):
        raise NotUnderstood(f"{half} without a time")
    at = -3 if kinds == "N:N" else -1
    hour = found[at].value
    if half == "pm" and hour < _NOON:
        hour += _NOON
    elif half == "am" and hour == _NOON:
        hour = 0
    found[at] = Symbol("N", half, hour)


def _in_one_language(part: list[Symbol], kind: str, *, is_german: bool) -> list[Symbol]:
    """Return the part, with weekdays or months as the specification writes them.

    A word may belong to several languages (`Mo`, `Sa`). All words of a part must belong to one, and
    if they belong to several, these must agree.
    """
    readings = [dict(symbol.languages) for symbol in part if symbol.kind == kind]
    shared = set.intersection(*map(set, readings))
    if words.ENGLISH in shared:
        shared = {words.ENGLISH}
    elif not is_german and any(symbol.text in words.NEEDS_GERMAN for symbol in part):
        raise NotUnderstood("a weekday that is another day in French or Spanish")
    meanings = {tuple(reading[language] for reading in readings) for language in shared}
    if len(meanings) != 1:
        raise NotUnderstood("weekdays or months of several languages")
    names = words.WEEKDAYS if kind == "W" else words.MONTHS
    numbers = iter(meanings.pop())
    return [
        Symbol(kind, names[number := next(numbers)], number) if symbol.kind == kind else symbol
        for symbol in part
    ]


def _kinds(symbols: Sequence[Symbol]) -> str:
    return "".join([symbol.kind for symbol in symbols])


# Rules

_NO_TIME = r"(?!:N(?!:))"
"""After a number that is not an hour, as in `Apr 1-5: 10:00-12:00`."""
_TIME = r"(?:N:N|V|\(V[-+]N:N\))"
_SPAN = rf"(?:{_TIME}(?:-{_TIME}(?:\+|/N(?::N)?)?|\+)?|N-N{_NO_TIME})"
_OFFSET = r"(?:[-+]ND)?"
_NTH = r"(?:-N|N(?:-N)?)"
_WEEKDAY = rf"(?:W\[{_NTH}(?:,{_NTH})*\]{_OFFSET}|W(?:-W)?(?!\[)|H{_OFFSET})"
# After a single date the reference implementation reads a colon as part of a time.
_DATE = rf"(?:MN(?!:)|E{_OFFSET}|MW\[-?N\]{_OFFSET})"
_LAST_DATE = rf"(?:MN{_NO_TIME}|E{_OFFSET}|MW\[-?N\]{_OFFSET})"
_DATES = (
    rf"(?:Y{_DATE}-Y{_LAST_DATE}|{_DATE}-{_LAST_DATE}"
    rf"|Y?MN(?:-N{_NO_TIME}|(?!:))(?!-)(?:,N(?:-N{_NO_TIME}|(?!:))(?!-))*|Y?E{_OFFSET}|M(?:-M)?)"
)
_YEARS = r"Y(?:-Y(?:/N)?|\+|(?!MN))"  # that of a date is part of the date
_WEEKS = rf"N(?:-N(?:/N)?)?{_NO_TIME}"
_SELECTORS = {
    "spans": re.compile(rf"{_SPAN}(?:,{_SPAN})*"),
    "holiday": re.compile(rf"H{_OFFSET}(?!,)"),
    "days": re.compile(rf"{_WEEKDAY}(?:,{_WEEKDAY})*"),
    "months": re.compile(rf"{_DATES}(?:,{_DATES})*"),
    "years": re.compile(rf"{_YEARS}(?:,{_YEARS})*"),
    "weeks": re.compile(rf"K{_WEEKS}(?:,K?{_WEEKS})*"),
    "state": re.compile("S"),
    "comment": re.compile("C"),
    "always": re.compile("A"),
}
"""The parts of a rule, in the order in which they are tried."""
_BEFORE_ANOTHER_RULE = {"spans", "state", "comment"}
"""Symbols after which a comma begins another rule."""
_PLAIN_DAYS = "(?:{0})(?:-(?:{0}))?".format("|".join(words.WEEKDAYS))
_PLAIN_SPAN = "[0-9][0-9]?:[0-9][0-9]-[0-9][0-9]?:[0-9][0-9]"
_DAYS_AND_TIMES = re.compile(
    f"({_PLAIN_DAYS}(?:,{_PLAIN_DAYS})*) ({_PLAIN_SPAN}(?:,{_PLAIN_SPAN})*)"
)
"""The form of most rules. Its days and its times have the same meaning when parsed separately."""


@lru_cache(maxsize=50_000)
def _rules_of_part(text: str, *, as_written: bool, is_german: bool) -> tuple[Rule, ...]:
    """Return the rules between two semicolons: one, and additional ones after commas.

    Args:
        text: The text between them.
        as_written: Keep the form of weekdays and lists of times, on which the reference
            implementation's result may depend (`depends_on_form`). Beside dates, weekdays always
            keep their form.
        is_german: The whole text has a word that is only German.
    """
    if usual := _DAYS_AND_TIMES.fullmatch(text):  # different rules share days, and times
        (of_days,), (of_times,) = (
            _rules_of_part(each, as_written=as_written, is_german=is_german)
            for each in usual.groups()
        )
        return (of_days._replace(spans=of_times.spans),)
    separator = "; "
    part = _symbols(text)
    kinds = _kinds(part)
    for kind in "WM":
        if kind in kinds:
            part = _in_one_language(part, kind, is_german=is_german)
    found: list[Rule] = []
    group: dict[str, list[Symbol]] = {}
    last = ""
    at = 0
    while at < len(kinds):
        if kinds[at] == "," and last in _BEFORE_ANOTHER_RULE:
            found.append(_rule(group, separator, as_written=as_written))
            group, separator, last = {}, ", ", ""
            at += 1
            continue
        if kinds[at] == ":" and last not in {"", "spans"} and at < len(kinds) - 1:
            at += 1
            continue
        last, end = _selector(kinds, at)
        if last in group and last != "spans":
            raise NotUnderstood("two rules without a separator")
        comma = [Symbol(",", ",")] if last in group else []
        group[last] = [*group.get(last, []), *comma, *part[at:end]]
        at = end
    if group:
        found.append(_rule(group, separator, as_written=as_written))
    if not found:
        raise NotUnderstood("a rule without a symbol")
    return tuple(found)


def _selector(kinds: str, at: int) -> tuple[str, int]:
    for name, pattern in _SELECTORS.items():
        match = pattern.match(kinds, at)
        if match:
            return name, match.end()
    raise NotUnderstood("a symbol in a wrong place")


def _rule(group: dict[str, list[Symbol]], separator: str, *, as_written: bool) -> Rule:
    names = list(group)
    if "always" in group and "spans" in group:
        raise NotUnderstood("24/7 beside times")
    if "comment" in group and "state" in names[names.index("comment") :]:
        raise NotUnderstood("a state after a comment")
    state = group["state"][0].text if "state" in group else None
    comment = group["comment"][0].text if "comment" in group else None
    if state is None:
        state = "open" if comment is None else "unknown"
    dates = [_WRITERS[name](group[name]) for name in ("years", "months", "weeks") if name in group]
    spans = _spans(group.get("spans", []), as_written=as_written)
    as_written = as_written or bool(dates) or "holiday" in group
    days = _days(tuple(group["days"]), as_written=as_written) if "days" in group else None
    if "holiday" in group:
        holiday = _dates(group["holiday"])
        if days is None:
            days = Days(frozenset(), (holiday,))
        else:
            dates.append(holiday)
    return Rule(separator, tuple(dates), days, spans, state, comment)


def _split(symbols: Sequence[Symbol], at: str = ",") -> list[list[Symbol]]:
    """Split at a sign that is not within brackets."""
    parts: list[list[Symbol]] = [[]]
    depth = 0
    for symbol in symbols:
        depth += {"[": 1, "]": -1}.get(symbol.kind, 0)
        if symbol.kind == at and depth == 0:
            parts.append([])
        else:
            parts[-1].append(symbol)
    return parts


# Days and dates


@lru_cache(maxsize=10_000)
def _days(symbols: tuple[Symbol, ...], *, as_written: bool) -> Days:
    items = _split(symbols)
    if as_written or not all(_kinds(item) in {"W", "W-W"} for item in items):
        if len(items) > 1 and len(items[0]) > 1 and items[0][0].kind == "H":
            raise NotUnderstood("a list that begins with a day beside a holiday")
        return Days(frozenset(), tuple(map(_dates, items)))
    ranges = [(item[0].value, item[-1].value) for item in items]
    return Days(
        frozenset(
            day % len(WEEK)
            for first, last in ranges
            for day in range(first, last + 1 + len(WEEK) * (last < first))
        )
    )


def _dates(symbols: Sequence[Symbol]) -> str:
    """Return dates and other days than plain weekdays as text."""
    kinds = _kinds(symbols)
    _check_dates(symbols, kinds)
    text = ""
    for at, symbol in enumerate(symbols):
        is_offset = symbol.kind in "-+" and kinds[at + 1 : at + 3] == "ND"
        is_spaced = is_offset or (
            at > 0 and symbol.kind in "NMEWD" and kinds[at - 1] in "MYN" and symbol.kind != ","
        )
        word = symbol.text
        if symbol.kind in "NY":
            word = str(symbol.value)
        elif symbol.kind == "D" and symbols[at - 1].value != 1:
            word = "days"
        text += f" {word}" if is_spaced else word
    return text


def _check_dates(symbols: Sequence[Symbol], kinds: str) -> None:
    if re.search(r"(?<!-)M(?:-M)?(?![NW])", kinds) and re.search("[EWY]", kinds):
        raise NotUnderstood("months beside numbered days")
    for match in re.finditer(r"([EHW\]])[-+](N)D", kinds):
        farthest = _FARTHEST[match[1].replace("]", "W")]
        if not 1 <= symbols[match.start(2)].value <= farthest:
            raise NotUnderstood("an offset of too many days")
        if match[1] == "H" and symbols[match.start()].text != "PH":
            raise NotUnderstood("a day beside school holidays")
    for match in re.finditer(r"M(N[-,N]*)(?!D)", kinds):
        longest = _DAYS_OF_MONTH[symbols[match.start()].value]
        _check_numbers(symbols[match.start(1) : match.end(1)], longest)
    for match in re.finditer(r"\[([-,N]+)\]", kinds):
        _check_numbers(symbols[match.start(1) : match.end(1)], _LAST_IN_MONTH)


def _check_numbers(symbols: Sequence[Symbol], largest: int) -> None:
    """Require numbers from 1 to the largest, and ranges from a smaller to a larger."""
    if any(symbol.kind == "N" and not 1 <= symbol.value <= largest for symbol in symbols):
        raise NotUnderstood("a day that the month does not have")
    for match in re.finditer("N-N", _kinds(symbols)):
        if symbols[match.start()].value >= symbols[match.end() - 1].value:
            raise NotUnderstood("days in descending order")


def _years(symbols: list[Symbol]) -> str:
    for item in _split(symbols):
        values = [symbol.value for symbol in item if symbol.kind in "YN"]
        if len(values) > 1 and values[0] >= values[1]:
            raise NotUnderstood("years in descending order")
        if len(values) > 2 and values[2] < 1:  # noqa: PLR2004 - the period
            raise NotUnderstood("a period of zero years")
    return "".join(symbol.text or str(symbol.value) for symbol in symbols)


def _weeks(symbols: list[Symbol]) -> str:
    items = []
    for item in _split([symbol for symbol in symbols if symbol.kind != "K"]):
        first, *rest = [symbol.value for symbol in item if symbol.kind == "N"]
        last = rest[0] if rest else first
        if not 1 <= first <= last <= _LAST_WEEK:
            raise NotUnderstood("weeks that a year does not have")
        if len(rest) > 1 and not 1 < rest[1] <= _LONGEST_PERIOD:
            raise NotUnderstood("a period of too many or zero weeks")
        period = f"/{rest[1]}" if len(rest) > 1 else ""
        items.append(f"{first:02}" + (f"-{last:02}{period}" if rest else ""))
    return "week " + ",".join(items)


_WRITERS = {"years": _years, "months": _dates, "weeks": _weeks}


# Times


def _spans(symbols: list[Symbol], *, as_written: bool) -> tuple[Span, ...]:
    if not symbols:
        return ()
    items = _split(symbols)
    if "+" in _kinds(symbols) and any(_kinds(item) == "N-N" for item in items):
        raise NotUnderstood("an open end beside hours without minutes")
    spans = tuple(_span(tuple(item)) for item in items)
    return spans if as_written and len(spans) > 1 else merged(spans)


def merged(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """Return plain spans in order, touching ones merged; empty if they cover the whole day.

    Other spans keep their order: the meaning of an open end depends on the following text.
    """
    if len(spans) == 1 and spans[0].minutes != (0, DAY):
        return spans
    plain = sorted(span.minutes for span in spans if span.minutes)
    if len(plain) < len(spans):
        return spans
    together: list[tuple[int, int]] = []
    for start, end in plain:
        if together and start <= together[-1][1]:
            together[-1] = (together[-1][0], max(end, together[-1][1]))
        else:
            together.append((start, end))
    if together == [(0, DAY)]:
        return ()
    return tuple(Span(f"{_clock(start)}-{_clock(end)}", (start, end)) for start, end in together)


@lru_cache(maxsize=50_000)
def _span(symbols: tuple[Symbol, ...]) -> Span:
    kinds = _kinds(symbols)
    if kinds == "N-N":
        return _span_of_hours(symbols[0], symbols[2])
    start, end, rest = _parts_of_span(symbols)
    if isinstance(start, int) and start >= DAY:
        raise NotUnderstood("a time that begins on another day")
    if end is None:
        return Span(_time(start) + rest)
    if isinstance(start, int) and isinstance(end, int):
        return _closed_span(start, end, rest)
    if rest == "+":
        raise NotUnderstood("an open end that follows the sun")
    return Span(f"{_time(start)}-{_time(end)}{rest}")


def _span_of_hours(first: Symbol, last: Symbol) -> Span:
    """Return the span of `9-17`."""
    start, end = first.value, last.value
    is_clear = bool(first.text or last.text) or start > _NOON or start < end or end == 0
    if start == end or not is_clear:
        raise NotUnderstood("hours that may be in the morning or in the afternoon")
    if start * _HOUR >= DAY:
        raise NotUnderstood("a time that begins on another day")
    return _closed_span(start * _HOUR, end * _HOUR, "")


def _closed_span(start: int, end: int, rest: str) -> Span:
    if end + DAY * (end <= start) > 2 * DAY:
        raise NotUnderstood("a time that ends after the next day")
    if rest and end <= start:
        raise NotUnderstood("an open end or a period on the next day")
    if rest:
        return Span(f"{_clock(start)}-{_clock(end)}{rest}")
    if end == 0:
        end = DAY
    return Span(f"{_clock(start)}-{_clock(end)}", (start, end) if start < end <= DAY else None)


_TIMES = re.compile(rf"({_TIME})(?:-({_TIME}))?(.*)")


def _parts_of_span(symbols: Sequence[Symbol]) -> tuple[int | str, int | str | None, str]:
    """Return the start, the end if there is one, and the rest."""
    kinds = _kinds(symbols)
    match = _TIMES.fullmatch(kinds)
    assert match is not None  # `_SPAN` has the same parts
    start, end = (
        None if match[each] is None else _moment(symbols[slice(*match.span(each))])
        for each in (1, 2)
    )
    assert start is not None
    after = symbols[match.start(3) :]
    if kinds[match.start(3) :].endswith(":N"):
        rest = "/" + _clock(_minutes(after[1:]))
    elif len(after) > 1:
        rest = f"/{after[1].value}"
    else:
        rest = "".join(symbol.text for symbol in after)
    if rest.startswith("/") and not any(symbol.value for symbol in after):
        raise NotUnderstood("a period of zero minutes")
    return start, end, rest


def _moment(symbols: Sequence[Symbol]) -> int | str:
    if symbols[0].kind == "N":
        return _minutes(symbols)
    if symbols[0].kind == "V":
        return symbols[0].text
    shift = _minutes(symbols[3:6])
    if shift > _LARGEST_SHIFT * _HOUR:
        raise NotUnderstood("a time too far from sunrise or sunset")
    return f"({symbols[1].text}{symbols[2].text}{_clock(shift)})"


def _minutes(symbols: Sequence[Symbol]) -> int:
    hour, _, minute = symbols
    if minute.value >= _HOUR:
        raise NotUnderstood("more than 59 minutes")
    return hour.value * _HOUR + minute.value


def _time(moment: int | str) -> str:
    return moment if isinstance(moment, str) else _clock(moment)


def _clock(minutes: int) -> str:
    return f"{minutes // _HOUR:02}:{minutes % _HOUR:02}"
