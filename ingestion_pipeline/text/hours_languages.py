"""Words of opening hours as publishers write them, by language.

Each language has one table. Texts are compared in lower case and without accents
(`text/folding.py`). Does not belong here: how a text is read (`text/hours_publishers.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ingestion_pipeline.text.folding import folded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Language(NamedTuple):
    """The words of a language; alternatives are separated by `|`, and may have blanks.

    Attributes:
        weekdays: Of each weekday, from Monday.
        months: Of each month, from January.
        to: Between the ends of a range.
        and_: Between the members of a list.
        closed: Not open.
        daily: Every day of the week.
        workdays: Monday to Friday.
        weekend: Saturday and Sunday.
        holidays: Public holidays.
        all_day: Open for 24 hours.
        oclock: Beside a time: hours of a 24-hour clock.
        ignored: Without a meaning of their own: `from`, `open`, `opening hours`.
        of: Between a day and its month.
        twelve: Whether times are usual on a 12-hour clock.
    """

    weekdays: tuple[str, ...]
    months: tuple[str, ...]
    to: str
    and_: str
    closed: str
    daily: str
    workdays: str = ""
    weekend: str = ""
    holidays: str = ""
    all_day: str = ""
    oclock: str = ""
    ignored: str = ""
    of: str = ""
    twelve: bool = False


LANGUAGES: Mapping[str, Language] = {
    "en": Language(
        weekdays=(
            *("monday|mondays|mon", "tuesday|tuesdays|tues|tue", "wednesday|wednesdays|weds|wed"),
            *("thursday|thursdays|thurs|thur|thu", "friday|fridays|fri", "saturday|saturdays|sat"),
            "sunday|sundays|sun",
        ),
        months=(
            *("january|jan", "february|feb", "march|mar", "april|apr", "may", "june|jun"),
            *("july|jul", "august|aug", "september|sept|sep", "october|oct", "november|nov"),
            "december|dec",
        ),
        to="to|til|till|until|through|thru",
        and_="and",
        closed="closed|off",
        daily="daily|every day|everyday|7 days|seven days|7 days a week|seven days a week|all week",
        workdays="weekdays|weekday",
        weekend="weekends|weekend",
        holidays="public holidays|public holiday|bank holidays|holidays|ph",
        all_day=(
            "24 hours|24 hour|24hours|24hrs|24 hrs|24hr|24 hr|24 hours a day|24hrs a day|always"
            "|always open|nonstop"
        ),
        oclock="hrs|hours",
        ignored="open|opening hours|opening times|hours of operation|from|on|between",
        of="of",
        twelve=True,
    ),
    "de": Language(
        weekdays=(
            *("montag|montags|mo", "dienstag|dienstags|di", "mittwoch|mittwochs|mi"),
            *("donnerstag|donnerstags|do", "freitag|freitags|fr", "samstag|samstags|sa"),
            "sonntag|sonntags|so",
        ),
        months=(
            *("januar|jan", "februar|feb", "märz|mrz|mär", "april|apr", "mai", "juni|jun"),
            *("juli|jul", "august|aug", "september|sept|sep", "oktober|okt", "november|nov"),
            "dezember|dez",
        ),
        to="bis",
        and_="und|u.",
        closed="geschlossen|ruhetag|zu",
        daily="täglich|tägl|jeden tag|alle tage",
        weekend="wochenende|am wochenende",
        holidays="feiertags|feiertage|feiertag|an feiertagen|ph",
        all_day="24 stunden|24 std|rund um die uhr|durchgehend geöffnet|24 stunden täglich",
        oclock="uhr|h|std",
        ignored="von|geöffnet|öffnungszeiten|betriebszeit|betriebszeiten|am|offen",
    ),
    "fr": Language(
        weekdays=(
            *("lundi|lundis|lun|lu", "mardi|mardis|mar|ma", "mercredi|mercredis|mer|me"),
            *("jeudi|jeudis|jeu|je", "vendredi|vendredis|ven|ve", "samedi|samedis|sam|sa"),
            "dimanche|dimanches|dim|di",
        ),
        months=(
            *("janvier|janv", "février|févr|fév", "mars", "avril|avr", "mai", "juin"),
            *("juillet|juil", "août", "septembre|sept", "octobre|oct", "novembre|nov"),
            "décembre|déc",
        ),
        to="à|au|jusqu'à|jusqu'au",
        and_="et",
        closed="fermé|fermée|fermeture",
        daily="tous les jours|7j/7|7 j/7|7/7|7j sur 7|7 jours sur 7|7 jours/7|chaque jour",
        workdays="en semaine",
        weekend="week-end|weekend|week-ends|le week-end",
        holidays="jours fériés|fériés|jour férié|les jours fériés|jf|ph",
        all_day=(
            "24h/24|24 h/24|24 h / 24|24h / 24|24/24|24h sur 24|24 h sur 24|24h|24 heures sur 24"
            "|24 heures|jour et nuit|24h/24h"
        ),
        oclock="heures|heure",
        ignored="de|du|le|les|ouvert|ouverte|horaires|horaires d'ouverture|ouverture|dès",
    ),
    "es": Language(
        weekdays=(
            *("lunes|lun|lu|l", "martes|mar|ma", "miércoles|mié|mi|x", "jueves|jue|ju|j"),
            *("viernes|vie|vi|v", "sábado|sábados|sáb|sá|s", "domingo|domingos|dom|do|d"),
        ),
        months=(
            *("enero|ene", "febrero|feb", "marzo", "abril|abr", "mayo", "junio|jun"),
            *("julio|jul", "agosto|ago", "septiembre|setiembre|sept|sep", "octubre|oct"),
            *("noviembre|nov", "diciembre|dic"),
        ),
        to="a|hasta|al",
        and_="y|e",
        closed="cerrado|cerrada",
        daily="todos los días|diario|diariamente|cada día|a diario",
        weekend="fines de semana|fin de semana",
        holidays="festivos|festivo|días festivos|ph",
        all_day="24 horas|24h|24 h|las 24 horas|24 horas al día|24h/24",
        oclock="h|horas|hs|hrs",
        ignored="de|desde|los|las|el|la|del|abierto|abierta|horario",
        of="de",
    ),
    "it": Language(
        weekdays=(
            *("lunedì|lun|lu", "martedì|mar|ma", "mercoledì|mer|me", "giovedì|gio|gi"),
            *("venerdì|ven|ve", "sabato|sab|sa", "domenica|domeniche|dom|do"),
        ),
        months=(
            *("gennaio|gen", "febbraio|feb", "marzo", "aprile|apr", "maggio|mag", "giugno|giu"),
            *("luglio|lug", "agosto|ago", "settembre|sett|set", "ottobre|ott", "novembre|nov"),
            "dicembre|dic",
        ),
        to="a|al|alle|fino alle",
        and_="e|ed",
        closed="chiuso|chiusa",
        daily="tutti i giorni|ogni giorno|giornaliero|7 giorni su 7|7/7",
        weekend="fine settimana|weekend|week-end",
        holidays="festivi|giorni festivi|festività|ph",
        all_day="24 ore|h24|24 ore su 24|24h su 24|24/24|24h|24 h|h 24",
        oclock="h|ore",
        ignored="dal|dalle|da|il|la|aperto|aperta|orario|orari|ore|di",
    ),
    "pt": Language(
        weekdays=(
            *("segunda-feira|segundas-feiras|segunda|seg", "terça-feira|terça|ter"),
            *("quarta-feira|quarta|qua", "quinta-feira|quinta|qui", "sexta-feira|sexta|sex"),
            *("sábado|sábados|sáb", "domingo|domingos|dom"),
        ),
        months=(
            *("janeiro|jan", "fevereiro|fev", "março|mar", "abril|abr", "maio|mai", "junho|jun"),
            *("julho|jul", "agosto|ago", "setembro|set", "outubro|out", "novembro|nov"),
            "dezembro|dez",
        ),
        to="a|às|até|até às|ao",
        and_="e",
        closed="fechado|fechada|encerrado|encerrada|encerra",
        daily="todos os dias|diariamente|diário|diária",
        weekend="fins de semana|fim de semana|fins-de-semana",
        holidays="feriados|feriado|ph",
        all_day="24 horas|24h|24 h|24 horas por dia|24h/24",
        oclock="h|horas|hrs",
        ignored="de|das|do|da|aos|os|aberto|aberta|horário",
        of="de",
    ),
    "nl": Language(
        weekdays=(
            *("maandag|maandags|ma", "dinsdag|di", "woensdag|wo", "donderdag|do", "vrijdag|vr"),
            *("zaterdag|za", "zondag|zo"),
        ),
        months=(
            *("januari|jan", "februari|feb", "maart|mrt", "april|apr", "mei", "juni|jun"),
            *("juli|jul", "augustus|aug", "september|sept|sep", "oktober|okt", "november|nov"),
            "december|dec",
        ),
        to="tot|t/m|tot en met|tm",
        and_="en",
        closed="gesloten|dicht",
        daily="dagelijks|elke dag|alle dagen|7 dagen per week",
        weekend="weekend|in het weekend",
        holidays="feestdagen|feestdag|ph",
        all_day="24 uur|24 uur per dag|24u|24/24|dag en nacht",
        oclock="uur|u",
        ignored="van|vanaf|open|geopend|openingstijden|op|om",
    ),
    "sv": Language(
        weekdays=(
            *("måndag|måndagar|mån|må", "tisdag|tisdagar|tis|ti", "onsdag|onsdagar|ons|on"),
            *("torsdag|torsdagar|tors|tor|to", "fredag|fredagar|fre|fr", "lördag|lördagar|lör|lö"),
            "söndag|söndagar|sön|sö",
        ),
        months=(
            *("januari|jan", "februari|feb", "mars|mar", "april|apr", "maj", "juni|jun"),
            *("juli|jul", "augusti|aug", "september|sept|sep", "oktober|okt", "november|nov"),
            "december|dec",
        ),
        to="till|t.o.m",
        and_="och|o",
        closed="stängt|stängd",
        daily="dagligen|varje dag|alla dagar",
        holidays="helgdagar|helgdag|ph",
        all_day="dygnet runt|24 timmar|24 tim|24 h|24h|dygnet runt alla dagar",
        oclock="h",
        ignored="kl|klockan|från|öppet|öppen|öppettider",
    ),
    "da": Language(
        weekdays=(
            *("mandag|mandage|man|ma", "tirsdag|tirsdage|tirs|tir|ti", "onsdag|onsdage|ons|on"),
            *("torsdag|torsdage|tors|tor|to", "fredag|fredage|fre|fr"),
            *("lørdag|lørdage|lør|lø", "søndag|søndage|søn|sø"),
        ),
        months=(
            *("januar|jan", "februar|feb", "marts|mar", "april|apr", "maj", "juni|jun"),
            *("juli|jul", "august|aug", "september|sept|sep", "oktober|okt", "november|nov"),
            "december|dec",
        ),
        to="til|til og med|t.o.m",
        and_="og",
        closed="lukket",
        daily="dagligt|hver dag|alle dage|alle ugens dage",
        weekend="weekend|weekender",
        holidays="helligdage|helligdag|ph",
        all_day="døgnet rundt|døgnåbent|24 timer|24 timer i døgnet",
        oclock="h",
        ignored="kl|klokken|fra|åben|åbent|åbningstider",
    ),
    "fi": Language(
        weekdays=(
            *(
                "maanantai|maanantaisin|ma",
                "tiistai|tiistaisin|ti",
                "keskiviikko|keskiviikkoisin|ke",
            ),
            *("torstai|torstaisin|to", "perjantai|perjantaisin|pe", "lauantai|lauantaisin|la"),
            "sunnuntai|sunnuntaisin|su",
        ),
        months=(
            *("tammikuu", "helmikuu", "maaliskuu", "huhtikuu", "toukokuu", "kesäkuu", "heinäkuu"),
            *("elokuu", "syyskuu", "lokakuu", "marraskuu", "joulukuu"),
        ),
        to="",
        and_="ja|sekä",
        closed="suljettu|kiinni",
        daily="päivittäin|joka päivä|kaikkina päivinä",
        weekend="viikonloppu|viikonloppuisin",
        holidays="pyhäpäivät|juhlapyhät|ph",
        all_day="24 h|24h|24 tuntia|ympäri vuorokauden|ympärivuorokautinen|vuorokauden ympäri",
        oclock="h",
        ignored="klo|kello|avoinna|auki|aukioloajat",
    ),
    "pl": Language(
        weekdays=(
            *("poniedziałek|poniedziałki|pon|pn", "wtorek|wtorki|wt", "środa|środy|śr"),
            *("czwartek|czwartki|czw|cz", "piątek|piątki|pt|pią", "sobota|soboty|sob|sb"),
            "niedziela|niedziele|niedz|nd|ndz",
        ),
        months=(
            *("styczeń|stycznia", "luty|lutego", "marzec|marca", "kwiecień|kwietnia", "maj|maja"),
            *("czerwiec|czerwca", "lipiec|lipca", "sierpień|sierpnia", "wrzesień|września"),
            *("październik|października", "listopad|listopada", "grudzień|grudnia"),
        ),
        to="do",
        and_="i|oraz",
        closed="nieczynne|zamknięte|nieczynny|nieczynna",
        daily="codziennie|każdego dnia|7 dni w tygodniu",
        weekend="weekend|weekendy",
        holidays="święta|ph",
        all_day="całodobowo|całą dobę|24h|24 h|24h/dobę|24 godziny|24 godz|czynne całą dobę",
        oclock="godz|h",
        ignored="od|w|czynne|otwarte|godziny otwarcia|w godz|w godzinach",
    ),
    "cs": Language(
        weekdays=(
            *("pondělí|po", "úterý|út", "středa|st", "čtvrtek|čt", "pátek|pá", "sobota|so"),
            "neděle|ne",
        ),
        months=(
            *("leden|ledna", "únor|února", "březen|března", "duben|dubna", "květen|května"),
            *("červen|června", "červenec|července", "srpen|srpna", "září", "říjen|října"),
            *("listopad|listopadu", "prosinec|prosince"),
        ),
        to="do|až",
        and_="a",
        closed="zavřeno|uzavřeno",
        daily="denně|každý den",
        weekend="víkend|o víkendu",
        holidays="svátky|státní svátky|ph",
        all_day="nonstop|non-stop|24 hodin|24 hodin denně|nepřetržitě|24 h|24h",
        oclock="hod|hodin|h",
        ignored="od|otevřeno|otevírací doba",
    ),
    "ru": Language(
        weekdays=(
            *("понедельник|понедельника|пн", "вторник|вторника|вт", "среда|среды|среду|ср"),
            *("четверг|четверга|чт", "пятница|пятницы|пятницу|пт", "суббота|субботы|субботу|сб"),
            "воскресенье|воскресенья|вс",
        ),
        months=(
            *("январь|января|янв", "февраль|февраля|фев", "март|марта|мар", "апрель|апреля|апр"),
            *("май|мая", "июнь|июня|июн", "июль|июля|июл", "август|августа|авг"),
            *("сентябрь|сентября|сен", "октябрь|октября|окт", "ноябрь|ноября|ноя"),
            "декабрь|декабря|дек",
        ),
        to="до|по",
        and_="и",
        closed="закрыто|выходной|выходные",
        daily="ежедневно|каждый день|без выходных",
        workdays="будни|по будням",
        holidays="праздники|праздничные дни|ph",
        all_day="круглосуточно|24 часа|24 ч|круглые сутки|24ч",
        oclock="ч|час|часов",
        ignored="с|со|открыто|часы работы|время работы|режим работы",
    ),
}
"""The languages by code."""

SPECIFICATION = Language(
    weekdays=("mo", "tu", "we", "th", "fr", "sa", "su"),
    months=("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    to="",
    and_="",
    closed="closed|off",
    daily="",
    holidays="ph",
    all_day="24/7|24 / 7|24x7|24 x 7|24-7|24h|24 h|0-24|0 - 24|00-24|00 - 24",
)
"""The words of the specification, which every language may use."""


class Word(NamedTuple):
    """The meaning of a word.

    Attributes:
        kind: `W` weekday, `M` month, `-` a range, `,` a list, `S` closed, `R` days of the week, `H`
            holidays, `A` all day, `U` o'clock, `O` of, `I` ignored.
        text: As the specification writes it, if it does not depend on the language.
        own: The number of a weekday or month in the language.
        specified: The number of a weekday in the specification.
    """

    kind: str
    text: str = ""
    own: int | None = None
    specified: int | None = None


def words_of(code: str) -> dict[str, Word]:
    """Return the meaning of each word of a language and of the specification, folded."""
    found: dict[str, Word] = {}
    for language in (SPECIFICATION, LANGUAGES[code]):
        for text, word in _words(language):
            before = found.get(text)
            if word.kind == "W" and before is not None and before.kind == "W":
                word = word._replace(specified=before.specified)  # noqa: PLW2901
            found[text] = word
    return found


def _words(language: Language) -> Iterator[tuple[str, Word]]:
    """Yield the words of a language; of two meanings of one word the later counts."""
    for word, texts in (
        (Word("I"), language.ignored),
        (Word("O"), language.of),
        (Word("U"), language.oclock),
        (Word("-", "-"), language.to),
        (Word(",", ","), language.and_),
        (Word("S", "closed"), language.closed),
        (Word("R", "Mo-Su"), language.daily),
        (Word("R", "Mo-Fr"), language.workdays),
        (Word("R", "Sa-Su"), language.weekend),
        (Word("H", "PH"), language.holidays),
        (Word("A"), language.all_day),
        *((_weekday(number, language), texts) for number, texts in enumerate(language.weekdays)),
        *((Word("M", own=number), texts) for number, texts in enumerate(language.months)),
    ):
        yield from ((folded(text), word) for text in texts.split("|") if text)


def _weekday(number: int, language: Language) -> Word:
    if language is SPECIFICATION:
        return Word("W", specified=number)
    return Word("W", own=number)


MOMENTS: Mapping[str, tuple[str, ...]] = {
    "12:00": (
        *("noon", "midday", "mittag", "midi", "mediodía", "mezzogiorno", "meio-dia"),
        *("12 noon", "полдень"),
    ),
    "24:00": (
        *("midnight", "12 midnight", "mitternacht", "minuit", "medianoche", "mezzanotte"),
        *("meia-noite", "middernacht", "midnatt", "keskiyö", "północ", "půlnoc", "полночь"),
    ),
    "dawn": ("dawn", "morgendämmerung"),
    "dusk": ("dusk", "abenddämmerung", "dämmerung"),
    "sunrise": ("sunrise", "sonnenaufgang", "lever du soleil", "amanecer", "alba", "soluppgång"),
    "sunset": ("sunset", "sonnenuntergang", "coucher du soleil", "solnedgång"),
    "sunrise-sunset": ("daylight", "daylight hours", "during daylight hours"),
}
"""Words for moments, which mean the same in every language that has them."""
