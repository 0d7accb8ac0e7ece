"""Words of opening hours, with the specification's symbols for them.

Only words that the reference implementation, opening_hours.js, reads in the same way everywhere,
and German abbreviations (`Mo-So`), which it reads where German is spoken or no place is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

WEEKDAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

ENGLISH = "en"
"""The language of the specification."""

_WEEKDAYS = {
    ENGLISH: (
        "m mo mon monday mondays",
        "tu tue tues tuesday tuesdays",
        "w we wed weds wednesday wednesdays",
        "th thur thurs thursday thursdays",
        "f fr fri friday fridays",
        "sa sat saturday saturdays",
        "su sun sunday sundays",
    ),
    "de": (
        "mo montag montags",
        "di dienstag dienstags",
        "mi mittwoch mittwochs",
        "do donnerstag donnerstags",
        "fr freitag freitags",
        "sa samstag samstags",
        "so sonntag sonntags",
    ),
    "fr": ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
    "es": ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
    "it": ("lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato", "domenica"),
    "ru": (
        "пн понедельник",
        "вт вторник",
        "ср среда",
        "чт четверг",
        "пт пятница",
        "сб суббота",
        "вс воскресенье",
    ),
}

_MONTHS = {
    ENGLISH: (
        *("jan", "feb", "mar", "apr", "may", "jun june"),
        *("jul july", "aug", "sep", "oct", "nov", "dec"),
    ),
    "de": (
        *("jan januar", "feb februar", "mär märz", "apr", "mai", "jun juni"),
        *("jul juli", "aug", "sep", "okt oktober", "nov", "dez dezember"),
    ),
}


def _by_word(languages: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, int]]:
    """Return word -> language -> number, counted from 0."""
    found: dict[str, dict[str, int]] = {}
    for language, names in languages.items():
        for number, words in enumerate(names):
            for word in words.split():
                found.setdefault(word, {})[language] = number
    return found


WEEKDAY_WORDS = _by_word(_WEEKDAYS)
MONTH_WORDS = _by_word(_MONTHS)

NEEDS_GERMAN = ("di", "do")
"""Tuesday and Thursday in German, but Sunday in French and in Spanish."""

ONLY_GERMAN = (
    r"so\b",
    *(f"{day}s?\\b" for day in ("montag", "dienstag", "mittwoch", "donnerstag", "freitag")),
    *(r"(?:sams|sonn)tags?\b", r"uhr\b", "geschlossen", "ruhetag", "feiertag"),
)
"""Words that occur only in German, as regular expressions."""

SYMBOLS = {
    **dict.fromkeys(("to", "till", "til", "until", "through", "bis", "до"), "-"),
    **dict.fromkeys(("and", "und", "et"), ","),
    **dict.fromkeys(("off", "closed", "geschlossen", "ruhetag", "fermé"), "closed"),
    **dict.fromkeys(("ph", "holiday", "holidays", "feiertag", "feiertage"), "PH"),
    **dict.fromkeys(("sh", "schulferien", "ferien"), "SH"),
    **dict.fromkeys(("daily", "everyday", "täglich"), "Mo-Su"),
    **dict.fromkeys(("weekday", "weekdays"), "Mo-Fr"),
    **dict.fromkeys(("weekend", "weekends"), "Sa,Su"),
    **dict.fromkeys(("always", "nonstop"), "24/7"),
    **dict.fromkeys(("uhr", "h", "hrs", "hours", "from", "von", "durchgehend"), ""),
    **dict.fromkeys(("day", "days"), "day"),
    "open": "open",
    "unknown": "unknown",
    "sunrise": "sunrise",
    "sunset": "sunset",
    "dawn": "dawn",
    "dusk": "dusk",
    "daylight": "sunrise-sunset",
    "easter": "easter",
    "week": "week",
    "midday": "12:00",
    "midnight": "00:00",
}
"""The specification's text by word, in lower case."""

PHRASES = {
    r"opening_hours\s*=": "",
    r"24 ?hours": "00:00-24:00",
    r"24x7": "24/7",
    r"7 ?days(?: a |/)week": "Mo-Su",
    r"(?:every day|all days)": "Mo-Su",
    r"public holidays?": "PH",
    r"school ?holidays?": "SH",
    r"by appointments?": '"by appointment"',
    r"on appointments?": '"on appointment"',
    r"nach vereinbarung": '"Nach Vereinbarung"',
    r"(?:-|\btill?|\bbis)? ?\b(?:open ?end|late)": "+",
}
"""The specification's text by phrase, a regular expression."""
