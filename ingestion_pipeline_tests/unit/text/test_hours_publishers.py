"""Opening hours as publishers write them: what is read, and what is not certain.

The reference implementation, opening_hours.js 3.15, reads every published text here without a
warning, and gives it the same times as the publisher's text wherever it can read that one, but for
words that it takes for those of another language.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_pipeline.text.folding import folded
from ingestion_pipeline.text.hours import normalized_hours
from ingestion_pipeline.text.hours_languages import LANGUAGES, words_of
from ingestion_pipeline.text.hours_publishers import published_hours
from ingestion_pipeline.text.hours_words import WEEKDAYS
from ingestion_pipeline_tests.unit.text.test_hours import ONE, intervals_of

if TYPE_CHECKING:
    from pathlib import Path

SPELLINGS = {
    "24/7": [
        *("24/7", "24 / 7", "24 h / 24", "24h/24", "24/24", "24 hours.", "Open 24 hours", "24hrs"),
        *("00:00-24:00 Uhr", "0-24 Uhr", "rund um die Uhr", "jour et nuit", "24 horas", "H24"),
        *("24 ore su 24", "24 uur", "Dygnet runt", "Døgnet rundt", "ympäri vuorokauden", "nonstop"),
        *("całodobowo", "nepřetržitě", "круглосуточно", "24 часа", "7j/7 24h/24", "always open"),
    ],
    "09:00-17:00": [
        *("9am-5pm", "9 am - 5 pm", "9:00 AM to 5:00 PM", "9 a.m. to 5 p.m.", "9-5pm", "0900-1700"),
        *("9-17 Uhr", "9.00 bis 17.00 Uhr", "9h-17h", "de 9h à 17h", "9 h - 17 h", "9h00 - 17h00"),
        *("de 9:00 a 17:00 h", "dalle 9 alle 17", "das 9h às 17h", "9 tot 17 uur", "kl. 9-17"),
        *("klo 9-17", "od 9 do 17", "с 9 до 17", "9am-5pm daily", "daily 9am-5pm", "09:00-17:00"),
        *("Mo-So 9-17 Uhr", "tous les jours 9h-17h", "ma-su 9-17", "codziennie 9-17", "9am-17:00"),
    ],
    "Mo-Fr 08:00-18:00": [
        *(
            "Mo-Fr 08:00-18:00",
            "Mo.-Fr. 8-18 Uhr",
            "Montag bis Freitag 8-18 Uhr",
            "Mon - Fri 8am-6pm",
        ),
        *("Monday to Friday: 8am to 6pm", "8am-6pm weekdays", "lundi au vendredi 8h-18h"),
        *("lun.-ven. 8h-18h", "lunes a viernes 8:00-18:00", "L-V 8:00-18:00", "seg-sex 8h-18h"),
        *("dal lunedì al venerdì 8-18", "maandag t/m vrijdag 8.00-18.00 uur", "mån-fre 8-18"),
        *("mandag til fredag kl. 8-18", "ma-pe 8-18", "maanantaisin-perjantaisin klo 8-18"),
        *("pon-pt 8-18", "Po-Pá 8:00-18:00", "Пн-Пт 8:00-18:00", "с понедельника по пятницу 8-18"),
        *("Mo-Fr 8-18 Uhr, Sa und So geschlossen", "8-18 Mon-Fri; Sat, Sun closed"),
    ],
    "06:00-01:00": ["6 h - 1 h", "6h-1h", "06:00-01:00", "6am-1am", "6:00 a.m. - 1:00 a.m."],
    "10:00-24:00": ["10am - midnight", "10am-12am", "10-24 Uhr", "10h à minuit", "10:00-00:00"],
    "12:00-18:00": ["noon-6pm", "12pm - 6pm", "12-6pm", "12 noon to 6pm"],
    "08:00-12:00,14:00-18:00": [
        *("8-12 und 14-18 Uhr", "8h-12h et 14h-18h", "8:00-12:00, 14:00-18:00", "8-12, 14-18"),
    ],
    "Mo-Th 10:00-19:00; Fr 10:00-17:00; Sa 11:00-17:00": [
        "Mon-Thu 10am-7pm, Fri 10am-5pm, Sat 11am-5pm, Sun closed.",
        "Mon-Thu 10am-7pm\nFri 10am-5pm\nSat 11am-5pm",
        "Lu-Je 10h-19h; Ve 10h-17h; Sa 11h-17h",
    ],
    "Nov 1-May 31 09:00-18:00, Jun 1-Oct 31 09:00-20:00": [
        "1st Nov–31st May 9am-6pm. 1st Jun–31st Oct  9am-8pm, 7 days.",
        "1. November bis 31. Mai 9-18 Uhr; 1. Juni bis 31. Oktober 9-20 Uhr",
        "du 1er novembre au 31 mai 9h-18h, du 1er juin au 31 octobre 9h-20h",
    ],
    "Apr-Oct 08:00-20:00": [
        "Apr-Oct 8am-8pm",
        "April bis Oktober 8-20 Uhr",
        "avril à octobre 8h-20h",
    ],
    "dawn-dusk": ["Dawn to Dusk", "dawn - dusk"],
    "07:00-dusk": ["7:00 am - Dusk", "7am-dusk", "Mon-Sun 7am-dusk."],
    "sunrise-sunset": ["Daylight hours", "sunrise to sunset", "Sonnenaufgang bis Sonnenuntergang"],
    "Tu-Sa 09:00-20:00": ["Tue - Sat 9:00 am - 8:00 pm", "Di-Sa 9-20 Uhr", "вт-сб 9-20"],
    "Mo-Fr,Su 09:00-17:00; Sa 10:00-14:00": ["9am-5pm\nSat 10am-2pm", "daily 9-17; Sat 10-14"],
    "Tu-Su 10:00-18:00": ["10-18, ma stängt", "Di-So 10-18 Uhr, Mo geschlossen"],
    "Mo-Fr 06:00-24:00; Sa-Su 00:00-24:00": ["Mon-Fri 6am-midnight, Sat-Sun 24 hours"],
    "Mo-Fr 09:00-14:00,16:00-20:00": ["L-V de 9 a 14 y de 16 a 20"],
    "closed": ["closed", "Geschlossen", "fermé", "Cerrado", "suljettu", "закрыто", "nieczynne"],
}


@pytest.mark.parametrize(
    ("text", "hours"), [(text, hours) for hours, texts in SPELLINGS.items() for text in texts]
)
def test_a_spelling_has_one_meaning(text: str, hours: str) -> None:
    assert published_hours(text) == hours
    assert normalized_hours(hours) == hours


@pytest.mark.parametrize(
    "text",
    [
        *("2-5pm", "9-5", "9:00-5:00", "09:00-05:00", "8-12", "7:00-8:00", "9am-11", "10-2am"),
        *("Di 10:00-12:00", "So 8:00-12:00", "Mar 10:00-12:00", "Mar 8-14", "00:00-00:00"),
        *("open 24 hours Mon-Fri, weekends closed", "9-17 Sat, Sun closed", "closed Mon; 9-17"),
        *("Sat 10-14; daily 9-17", "Mo-Fr 9-17; Fr-Su closed", "Nov-Feb closed", "PH off"),
        *("9-17 May", "May 9-17", "8am-6pm except Sundays", "Mo-Fr 8-18 (Sa 9-12)", "from 9am"),
        *("9am - 5pm, closed 12-1pm", "Sun 12-6", "9am-9am", "M-F 9am-5pm", "Mon 9-5pm, Mon 6-8pm"),
        *("10:00", "Mo 10:00", "08:00,18:00", "08:00 18:00"),
        *("24/07/2016", "2016", "8.10.-1.12. 9-17", "31.05.", "7 days", "Mo-Fr", "Mai bis Oktober"),
        *("park opening hours", "spring to fall", "View outdoor rink hours", "Summer 8-20", "8am"),
        *("9am-7pm (Summer), 9am-4pm (Winter).", "Closed on Sundays", "daily 9-17, Sun 10-12"),
        *("Generally available 2100-0330 on a Friday and Saturday Night", "Apr-Oct 8-20, Sa 10-12"),
        *(
            "9am-5pm Mon-Fri 10am-4pm",
            "13pm-15pm",
            "25:00-26:00",
            "8-12, 10-14",
            "",
            " ",
            "-",
            "; ;",
        ),
    ],
)
def test_what_is_not_certain_is_not_read(text: str) -> None:
    assert published_hours(text) is None


@pytest.mark.parametrize(
    ("text", "language", "hours"),
    [
        ("Di 10:00-12:00", "de", "Tu 10:00-12:00"),
        ("Di 10:00-12:00", "fr", "Su 10:00-12:00"),
        ("So 8:00-12:00", "de", "Su 08:00-12:00"),
        ("So 8:00-12:00", "cs", "Sa 08:00-12:00"),
        ("Mo-So 8:00-12:00", "cs", None),
        ("Mar 10:00-14:00", "es", "Tu 10:00-14:00"),
        ("Mar 10:00-14:00", "de", "Mar 10:00-14:00"),
        ("ma 9-17", "fi", "Mo 09:00-17:00"),
        ("ma 9h-17h", "fr", "Tu 09:00-17:00"),
        ("8-12", "de", "08:00-12:00"),
        ("8-12", "en", None),
        ("9am-5pm", "fr", "09:00-17:00"),
        ("Mo-Fr 09:00-17:00; PH off", "cs", "Mo-Fr 09:00-17:00; PH closed"),
        ("Fr-Sa 20:00-02:00; Su 10:00-18:00", "de", "Fr-Sa 20:00-02:00; Su 10:00-18:00"),
    ],
)
def test_the_language_decides_what_a_word_means(
    text: str, language: str, hours: str | None
) -> None:
    assert published_hours(text, language) == hours


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_has_its_weekdays_and_months_and_words_for_open_and_closed(
    code: str,
) -> None:
    language = LANGUAGES[code]
    for number, words in enumerate(language.weekdays):
        for word in words.split("|"):
            hours = published_hours(f"{word} 09:00-17:00", code)
            assert hours == f"{WEEKDAYS[number]} 09:00-17:00", word
    known = words_of(code)
    for number, words in enumerate(language.months):
        assert {known[folded(word)].own for word in words.split("|")} == {number}
    for closed in language.closed.split("|"):
        assert published_hours(closed, code) == "closed"
    for all_day in language.all_day.split("|"):
        assert published_hours(all_day, code) == "24/7"
    to = language.to.split("|")[0] or "-"  # Finnish has none
    assert published_hours(f"8:30 {to} 17:45", code) == "08:30-17:45"
    for daily in language.daily.split("|"):
        assert published_hours(f"{daily} 8:30-17:45", code) == "08:30-17:45"


HOUR = st.integers(1, 12)
HALF = st.sampled_from(("am", "pm"))


@given(HOUR, HALF, HOUR, HALF)
def test_hours_with_halves_are_those_of_the_clock(
    first: int, half: str, last: int, other: str
) -> None:
    start, end = first % 12 + 12 * (half == "pm"), last % 12 + 12 * (other == "pm")
    published = published_hours(f"{first}{half}-{last}{other}")
    if start == end or (7 <= start <= 12 and 4 < end < start):
        assert published is None
    else:
        assert published == f"{start:02}:00-{end or 24:02}:00"


@given(
    st.text("MoTuDiFrluve 0123456789:-,;.hampmUhrà", max_size=40), st.sampled_from(list(LANGUAGES))
)
def test_no_text_is_published_in_another_form_than_the_canonical_one(
    text: str, language: str
) -> None:
    for published in (published_hours(text), published_hours(text, language)):
        assert published is None or normalized_hours(published) == published


@pytest.mark.real_data
def test_real_hours_have_the_opening_times_of_the_reference(osm_test_data: Path) -> None:
    lines = (osm_test_data / "cases" / "hours.jsonl").read_text("utf-8").splitlines()
    reference = {each["text"]: each["intervals"] for each in map(json.loads, lines)}
    forms = {normalized_hours(text): each for text, each in reference.items()}
    readable = [text for text in reference if normalized_hours(text) is not None]
    published = {text: published_hours(text) for text in readable}
    assert sum(each is not None for each in published.values()) >= 0.975 * len(readable)
    weekly = re.compile(rf"{ONE}(; {ONE})*")
    compared = 0
    for text, form in published.items():
        if form is None:
            continue
        if form in forms:
            assert forms[form] == reference[text], text
            compared += 1
        elif weekly.fullmatch(form):
            assert intervals_of(form) == reference[text], text
            compared += 1
    assert compared > 750
