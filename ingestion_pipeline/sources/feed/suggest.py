"""A feed's table for a file that has none: the keys that its content suggests.

What the content does not say stays to be done: the licence, the attribution, and the kind, for
which there are candidates. These keys are not valid until somebody sets them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, product
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

from ingestion_pipeline.config.feeds import POSITION_ID, Feed, is_http
from ingestion_pipeline.core.locations import is_dated
from ingestion_pipeline.core.manual import manual_url
from ingestion_pipeline.helpers.kinds import KINDS
from ingestion_pipeline.helpers.licences import LICENCES
from ingestion_pipeline.helpers.place_names import kinds_named_in
from ingestion_pipeline.sources.feed.describe import fields_of
from ingestion_pipeline.sources.feed.errors import FeedError
from ingestion_pipeline.sources.feed.fetch import Fetched, fetch
from ingestion_pipeline.sources.feed.hints import systems_of
from ingestion_pipeline.sources.feed.positions import number_of
from ingestion_pipeline.sources.feed.records import read_content, read_records
from ingestion_pipeline.sources.feed.times import time_format_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import httpx

    from ingestion_pipeline.core.arrays import FloatArray
    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.sources.feed.content import Content
    from ingestion_pipeline.sources.feed.describe import Description, Field

TODO = "TODO"
"""The value of a key that somebody has to set. It is no kind and no licence."""

_EAST = frozenset(
    {
        *("lon", "lng", "long", "longitude", "longitud", "longitudine", "x", "e", "easting"),
        *("eastings", "länge", "laenge", "längengrad", "laengengrad", "ostwert", "rechtswert"),
        *("rechts", "lengtegraad", "længdegrad", "pituus", "pituusaste", "długość", "dlugosc"),
        *("délka", "долгота", "経度", "hosszúság", "itä"),
    }
)
_NORTH = frozenset(
    {
        *("lat", "latitude", "latitud", "latitudine", "y", "n", "northing", "northings", "breite"),
        *("breitengrad", "nordwert", "hochwert", "hoch", "breedtegraad", "breddegrad", "leveys"),
        *("leveysaste", "szerokość", "szerokosc", "šířka", "широта", "緯度", "szélesség"),
        "pohjoinen",
    }
)
"""Words in the names of fields with a coordinate, in the languages of publishers."""

_OF_AXIS = re.compile(
    r"(?:c?oord|koord|geo|utm|pos|point|gps|rd)([xy])|([xy])(?:c?oord|koord|utm|rd)\w*"
)
_NAME = re.compile(
    r"name|title|titel|tit(o|u|ú)lo|(.*[ _])?(nom|nombre|nome|naam|nimi|namn|navn|nazwa)"
    r"|n(á|a)zev|denominazione|denominaci(ó|o)n|bezeichnung|anzeigename|libell?e"
    r"|standort(bezeichnung)?|название|имя|名称|.*[ _]name|.*name"
)
_LANGUAGE_OF: Mapping[str, str] = {
    "name": "en",
    "nom": "fr",
    "nombre": "es",
    "nome": "it",
    "nazwa": "pl",
    "naam": "nl",
    "nimi": "fi",
    "namn": "sv",
    "navn": "da",
    "bezeichnung": "de",
    "название": "ru",
}
"""The language of the word for a name. Several such fields are one name in several languages."""

_LANGUAGE = re.compile(r"(?:name|nom|title)[ _:-]([a-z]{2})")
_TRANSLATION = re.compile(r"(.*)(?:\[\?language=='([a-z]{2})[^']*'\]\.text \| \[0\]|\.([a-z]{2}))")
"""The path of a name in a language: of a list of translations, or of an object by languages."""

_TRANSLATIONS = re.compile(r"\[(?:0|\?language==[^\]]*)\]\.text(?: \| \[0\])?$")
_ID = re.compile(
    r"(.*[ _-])?(id|uuid|uprn|code|ref|number|numbers?|num(é|e|m)ero|nummer|nr|pk|@?key|identifier"
    r"|identificador|kennung|kod|c(ó|o)digo|codice|tunnus|no|.*id\d?)\.?"
)
_POOR_ID = re.compile(
    r"o?g?c?_?fid|objectid.*|_id|row_?(id|number)|cartodb_id|.*parent.*|(lfd|l)\W*(nr|p)\W*"
)
"""Numbers of rows, which change when the file is made anew; and ids of something else."""
_TARGETS: Mapping[str, re.Pattern[str]] = {
    "opening_hours": re.compile(
        r".*(opening|hours|horair|heures|horario|orari|(ö|oe)ffnung|openingstijd|öppet|aukiolo"
        r"|godzin|часы|режим|disp_h).*"
    ),
    "wheelchair": re.compile(
        r".*(wheel|acc?ess?ib|pmr|handicap|barrierefrei|rollstuhl|rolstoel|esteet).*"
    ),
    "fee": re.compile(r"(.*[ _])?(fee|charge|chargeamount|price|kosten|tarif|paid)"),
    "operator": re.compile(
        r"(.*[ _])?(operator|operateur|betreiber|operaattor.*|gestionnaire|gestore?|beheerder)"
    ),
    "level": re.compile(r"level|floor|etage|kerros|stockwerk"),
}
"""The names of fields with the columns of a helper place."""

_UPDATED = re.compile(r".*(updat|modif|edit|extract|stand|aktual|mise.a.jour|(last|data).*date).*")
"""The names of fields with the time of the data; others, such as "built", have another time."""

_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("yes", "y", "oui", "ja", "si", "sí", "sim", "kyllä", "true", "да"), "yes"),
    **dict.fromkeys(("no", "n", "non", "nein", "nee", "ei", "nej", "não", "false", "нет"), "no"),
}
_AS_THEY_ARE = frozenset({"yes", "no", "limited", "designated"})
_OBEYED = re.compile("[\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")
_FEW, _MANY = 2, 12
_KINDS_SHOWN = 3
_DEGREES = 180.0
_POINTS = 50
_MOST_WAYS = 20
"""How many ways of position are tried; each reads the file."""

_AGE_OF: Mapping[str, int] = {"fetched": 1, "day_in_location": 2, "document": 30}
_LONGEST_AGE = 366
_WIDTH = 96


class Entry(NamedTuple):
    """A key of a feed's table.

    Attributes:
        key: The key.
        value: Its value; `TODO` or an empty text if somebody has to set it.
        comment: What to know of it, or None.
    """

    key: str
    value: Any
    comment: str | None = None


@dataclass(frozen=True)
class Suggestion:
    """A suggested table.

    Attributes:
        entries: Its keys.
        fields: The fields of the file, as the table names them.
        records: The number of records.
        inside: How many of them are in the city's window.
    """

    entries: Sequence[Entry]
    fields: Sequence[Field]
    records: int
    inside: int

    @property
    def table(self) -> dict[str, Any]:
        """The table as plain values."""
        return {entry.key: entry.value for entry in self.entries}


def fetched_from(location: str, *, http: httpx.Client, clock: Clock, workdir: Path) -> Fetched:
    """Fetch a file that is not in the cities file.

    Args:
        location: A URL or a path; `{day}` in it is the current day.
        http: Sends requests.
        clock: The current time.
        workdir: An empty folder for the bytes.

    Raises:
        FeedError: See `sources/feed/errors.py`.
    """
    probe = _probe({"location": location, "format": "csv", "lon": "x", "lat": "y"})
    fetched = fetch(probe, clock.now().date(), http=http, clock=clock, workdir=workdir)
    assert isinstance(fetched, Fetched)  # nothing is known of it, so it is not unchanged
    return fetched


def suggest(
    description: Description,
    path: Path,
    *,
    location: str,
    bbox: Sequence[float],
    last_modified: str | None,
) -> Suggestion:
    """Suggest the table of a feed.

    Args:
        description: What its file has.
        path: The file.
        location: Where it is.
        bbox: The city's window: west, south, east, north in WGS 84 degrees.
        last_modified: The header `Last-Modified` of the response, if there is one.
    """
    position, inside = _position(description, path, bbox)
    fields: Sequence[Field] = description.fields
    records = description.records
    if "columns" in position:
        fields, records = _without_header(position, path)
    named = set(map(str, position.values()))
    free = [each for each in fields if each.name not in named]
    names = _names(free)
    targets = _targets([each for each in free if each.name not in names.values()])
    kinds = next(filter(None, map(kinds_named_in, _hints_of_kind(location, free))), [])
    unused = [each for each in free if each.name not in {*names.values(), *targets.values()}]
    entries = [
        Entry("slug", _slug(location)),
        Entry("location", location),
        *(Entry(key, value, _others(description, key)) for key, value in description.keys.items()),
        *(Entry(key, value) for key, value in position.items()),
        *(() if position or description.has_geometry else _no_position(description)),
        _record_id(free, records),
        Entry("kind", TODO, _kinds_in_words(kinds, unused, records)),
        *(
            [Entry("fields", {**names, **targets}, _rivals(targets, free))]
            if names or targets
            else []
        ),
        *_values(targets, free),
        Entry("licence", TODO, f"as the publisher states it: one of {', '.join(LICENCES)}"),
        Entry("attribution", "", "the text that the publisher asks for"),
        *_as_of(description, free, location=location, last_modified=last_modified),
        Entry("minimum", max(1, inside // 2), f"half of the {inside:,} places in the city's box"),
    ]
    return Suggestion(entries, fields, records, inside)


def in_toml(suggestion: Suggestion) -> str:
    """Return a suggestion as a table of the cities file, with its comments."""
    lines = ["[[city.feed]]"]
    for entry in suggestion.entries:
        if entry.comment is not None:
            comment = f"{entry.key}: {entry.comment}"
            lines += [f"# {line}" for line in wrap(comment, _WIDTH, break_on_hyphens=False)]
        lines.append(f"{entry.key} = {_toml(entry.value)}")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_toml_key(key)} = {_toml(each)}" for key, each in value.items())
        return f"{{ {inner} }}"
    # Texts and numbers of JSON are those of TOML, but for the character DEL; and a terminal obeys
    # some characters.
    text = json.dumps(value, ensure_ascii=False)
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml(key)


def _slug(location: str) -> str:
    name = _file_name(location).partition(".")[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-")[:40] or "feed"


def _file_name(location: str) -> str:
    return location.partition("?")[0].rstrip("/").rpartition("/")[2]


def _others(description: Description, key: str) -> str | None:
    """Return what else the file has for a key, as a comment."""
    if key == "format":
        return None
    others = [each for each in description.choices.get(key, ()) if each != description.keys[key]]
    return f"or {', '.join(map(repr, others[:5]))}" if others else None


def _position(
    description: Description, path: Path, bbox: Sequence[float]
) -> tuple[dict[str, Any], int]:
    """Return the keys of the position, and how many records they place in the city's window."""
    best: tuple[dict[str, Any], int] = ({}, 0)
    for ways in (_ways(description), _ways_by_values(description, path, bbox)):
        for keys in islice(ways, _MOST_WAYS):
            found = _placed(description, path, keys, bbox)
            if found is not None and (found[1] > best[1] or not (best[1] or best[0])):
                best = found
            if best[1] == description.records:
                return best
        if best[1]:
            break
    return best


def _placed(
    description: Description, path: Path, keys: dict[str, Any], bbox: Sequence[float]
) -> tuple[dict[str, Any], int] | None:
    """Return keys, with the coordinate system that they need, and how many records are inside."""
    points = _points(description, path, keys)
    if points is None or not len(points):
        return None
    inside = _inside(points, bbox)
    off = _off_earth(points)
    if inside or not len(off):
        return keys, inside
    for system in _systems(description, off, bbox):
        moved = _points(description, path, {**keys, "crs": system})
        if moved is not None and _inside(moved, bbox):
            return {**keys, "crs": system}, _inside(moved, bbox)
    return keys, 0


def _systems(description: Description, points: FloatArray, bbox: Sequence[float]) -> Iterator[str]:
    """Yield the coordinate system that a document of Esri names, then the likeliest."""
    for name in ("latestWkid", "wkid"):
        code = description.members.get(f"spatialReference.{name}")
        if code is not None:
            yield f"EPSG:{code}"
    yield from (code for code, _, _ in systems_of(points[:_POINTS], bbox)[:1])


def _ways(description: Description) -> Iterator[dict[str, str]]:
    """Yield the keys of each way of position that the fields may have; the likeliest first."""
    if description.has_geometry:
        yield {}
    numbers = [each for each in description.fields if each.position in ("number", "comma")]
    east, north = (
        [each for each in numbers if words & _words_of(each.name)] for words in (_EAST, _NORTH)
    )
    # Names of one form belong together, and degrees come before a grid.
    pairs = sorted(
        product(east, north),
        key=lambda pair: (_are_large(pair), _form_of_name(pair[0]) != _form_of_name(pair[1])),
    )
    for one, other in pairs:
        is_comma = "comma" in (one.position, other.position)
        yield {"lon": one.name, "lat": other.name, **({"decimal": ","} if is_comma else {})}
    for each in description.fields:
        if each.position in ("pair", "pair with comma"):
            decimal = {"decimal": ","} if each.position == "pair with comma" else {}
            yield {"lat_lon": each.name, **decimal}
            yield {"lon_lat": each.name, **decimal}
        elif each.position == "geometry":
            yield {"geometry": each.name}


def _words_of(name: str) -> set[str]:
    """Return the words of a field's name that say which coordinate it has."""
    parted = re.sub("(?<=[a-zä-ü])(?=[A-Z])", " ", _part(name))
    words = {word.lower() for word in re.findall(r"[^\W\d_]+", parted)}
    found = (_OF_AXIS.fullmatch(word) for word in {*words, "".join(words)})
    return words | {axis[1] or axis[2] for axis in found if axis}


def _are_large(fields: Sequence[Field]) -> bool:
    """Return whether fields have numbers that are no degrees."""
    samples = (number_of(text, mark) for each in fields for text in each.samples for mark in ".,")
    return any(abs(number) > _DEGREES for number in samples if number is not None)


def _form_of_name(field: Field) -> str:
    """Return a field's name without the words of its axis."""
    axes = "|".join(sorted(_EAST | _NORTH, key=len, reverse=True))
    return re.sub(axes, "", _part(field.name).lower())


def _ways_by_values(
    description: Description, path: Path, bbox: Sequence[float]
) -> Iterator[dict[str, Any]]:
    """Yield pairs of fields, whatever their names, whose numbers are in the city's window.

    A CSV without a header has values for names; its columns are then numbered.
    """
    columns: dict[str, Any] = {}
    names = [each.name for each in description.fields]
    if description.keys["format"] == "csv" and sum(map(_is_number, names)) >= _FEW:
        columns = {"columns": [f"column_{number + 1}" for number in range(len(names))]}
    with suppress(FeedError):
        keys = {**description.keys, **columns}
        content = read_content(path, _probe({**keys, "lon": "-", "lat": "-"}))
        west, south, east, north = bbox
        for mark in ".,":
            decimal = {"decimal": ","} if mark == "," else {}
            for one in _fields_between(content, west, east, mark):
                for other in _fields_between(content, south, north, mark):
                    yield {**columns, "lon": one, "lat": other, **decimal}


def _fields_between(content: Content, least: float, most: float, mark: str) -> list[str]:
    """Return the fields most of whose values are numbers between two."""
    found = []
    for name in content.names:
        values = [number_of(each[name], mark) for each in content.properties if name in each]
        between = sum(value is not None and least <= value <= most for value in values)
        if between * 2 > len(content.properties):
            found.append(name)
    return found


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*[-+]?\d+([.]\d+)?\s*", text) is not None


def _without_header(position: Mapping[str, Any], path: Path) -> tuple[Sequence[Field], int]:
    """Return the fields of a CSV without a header, and the number of its records."""
    content = read_content(path, _probe({"format": "csv", **position}))
    return tuple(fields_of(content)), len(content.properties)


def _last(name: str) -> str:
    """Return the last part of a path, without case and prefix: `position.lng`, `stop_lat`."""
    part = _part(name).lower()
    return re.sub("^(?:stop|geo|gps|[a-z])_", "", part)


def _part(name: str) -> str:
    """Return the last part of a path; that of translations is the name of their list."""
    return _TRANSLATIONS.sub("", name).rstrip(". ").rpartition(".")[2].strip(' "')


def _points(description: Description, path: Path, keys: Mapping[str, str]) -> FloatArray | None:
    """Return (N, 2) the coordinates that keys give; None if they give none."""
    import shapely

    named: dict[str, Any] = {**description.keys, **keys}
    with suppress(FeedError):
        records = read_records(path, _probe(named))
        geometry = records.geometry[~shapely.is_missing(records.geometry)]
        points: FloatArray = shapely.get_coordinates(shapely.centroid(geometry))
        return points
    return None


def _probe(keys: Mapping[str, Any]) -> Feed:
    """Return a feed that has nothing but what reading positions needs."""
    needed: dict[str, Any] = {
        "slug": "file",
        "location": "file",
        "record_id": POSITION_ID,
        "kind": next(iter(KINDS)),
        "licence": next(iter(LICENCES)),
        "attribution": "-",
        "as_of": "fetched",
        "maximum_age_days": 1,
        "minimum": 1,
    }
    return Feed(**{**needed, **keys})


def _inside(points: FloatArray, bbox: Sequence[float]) -> int:
    west, south, east, north = bbox
    lon, lat = points.T
    return int(((west <= lon) & (lon <= east) & (south <= lat) & (lat <= north)).sum())


def _off_earth(points: FloatArray) -> FloatArray:
    import numpy as np

    off: FloatArray = points[(np.abs(points) > _DEGREES).any(axis=1)]
    return off[np.isfinite(off).all(axis=1)]


def _record_id(fields: Sequence[Field], records: int) -> Entry:
    """Return the field with an id: unique in each record, and rather a code than a row's number."""
    unique = [
        each
        for each in fields
        if each.is_unique(records) and not all("." in text for text in each.samples)
    ]

    def rank(each: Field) -> tuple[bool, bool]:
        name = _last(each.name)
        return (_POOR_ID.fullmatch(name) is not None, _ID.fullmatch(name) is None)

    best = sorted(unique, key=rank)[:1]
    if not best or (rank(best[0])[1] and not _NAME.fullmatch(_last(best[0].name))):
        best = [each for each in unique if not rank(each)[1]][:1]
    if not best:
        why = "no field identifies a record: derived from kind and position"
        if unique:
            several = ", ".join(each.name for each in unique)[:60]
            why = f"derived from kind and position; better a field, if one is an id: {several}"
        return Entry("record_id", POSITION_ID, why)
    others = ", ".join(each.name for each in unique if each is not best[0])
    comment = f"different in all records, as {others[:60]}" if others else None
    return Entry("record_id", best[0].name, comment)


def _hints_of_kind(location: str, fields: Sequence[Field]) -> Iterator[str]:
    """Yield what may name the kind: the file, a value that all records have, the fields."""
    yield _file_name(location)
    yield " ".join(text for each in fields if each.distinct == 1 for text in each.samples)
    yield " ".join(each.name for each in fields)


def _kinds_in_words(kinds: Sequence[str], fields: Sequence[Field], records: int) -> str:
    likely = f"{' or '.join(kinds[:_KINDS_SHOWN])}, or another " if kinds else ""
    words = f"{likely}one of {manual_url('helper-kinds')}"
    by_field = [
        each.name
        for each in fields
        if _FEW <= each.distinct <= _MANY
        and each.filled == records > each.distinct
        and not all(re.fullmatch(r"[\d.,]*", text) for text in each.samples)
    ]
    if by_field:
        words += f"; or kind_field with kinds, such as by {', '.join(by_field[:3])}"
    return words


def _names(fields: Sequence[Field]) -> dict[str, str]:
    """Return the fields with names, by their keys."""
    found: dict[str, str] = {}
    for each in fields:
        language = _language_of(each.name)
        if language is not None and each.filled:
            found.setdefault(f"name:{language}", each.name)
    words = {_last(each.name): each.name for each in fields if each.filled}
    several = {f"name:{code}": words[word] for word, code in _LANGUAGE_OF.items() if word in words}
    if len(several) > 1:
        return {"name": next(iter(several.values())), **several, **found}
    plain = [
        each
        for each in fields
        if each.filled and each.name not in found.values() and _NAME.fullmatch(_last(each.name))
    ]
    if not plain and found:
        found = {"name": next(iter(found.values())), **found}
    if plain:
        shortest = min(plain, key=lambda each: (len(_last(each.name)), -each.distinct))
        found = {"name": shortest.name, **found}
    return found


def _language_of(name: str) -> str | None:
    """Return the language of a field with a name, or None."""
    translation = _TRANSLATION.fullmatch(name)
    if translation is not None and _NAME.fullmatch(_last(translation[1])):
        return translation[2] or translation[3]
    language = _LANGUAGE.fullmatch(_last(name)) or _LANGUAGE.fullmatch(name.lower())
    return None if language is None else language[1]


def _targets(fields: Sequence[Field]) -> dict[str, str]:
    """Return the fields with other columns of a helper place, by their keys."""
    found = {}
    for target, pattern in _TARGETS.items():
        of_target = [
            each.name for each in fields if each.filled and pattern.fullmatch(_last(each.name))
        ]
        if of_target:
            found[target] = of_target[0]
    return found


def _no_position(description: Description) -> Iterator[Entry]:
    """Yield the keys of a position that somebody has to find."""
    further = ", or skip_lines if the header is further down"
    why = "no position is recognized; set lon and lat, or lat_lon, lon_lat or geometry instead"
    yield Entry("lon", TODO, why + (further if description.keys["format"] != "json" else ""))
    yield Entry("lat", TODO)


def _rivals(targets: Mapping[str, str], fields: Sequence[Field]) -> str | None:
    """Return which other fields may have a column, as a comment."""
    found = [
        f"{target} may be in {each.name} too"
        for target, name in targets.items()
        for each in fields
        if each.filled and each.name != name and _TARGETS[target].fullmatch(_last(each.name))
    ]
    if any(each.startswith("opening_hours") for each in found):
        found.append("of weekdays or seasons, see hours")
    return "; ".join(found) or None


def _values(targets: Mapping[str, str], fields: Sequence[Field]) -> Iterator[Entry]:
    """Yield the table of values, where words of other languages or forms are understood."""
    by_name = {each.name: each for each in fields}
    found = {}
    for target in ("wheelchair", "fee"):
        samples = by_name[targets[target]].samples if target in targets else ()
        meanings = {text: _WORDS[text.lower()] for text in samples if text.lower() in _WORDS}
        if meanings and not _AS_THEY_ARE.issuperset(samples):
            found[target] = meanings
    if found:
        yield Entry("values", found, "look at the other values of these fields too")


def _as_of(
    description: Description,
    fields: Sequence[Field],
    *,
    location: str,
    last_modified: str | None,
) -> Iterator[Entry]:
    rule, form, why = _time_rule(description, fields, location=location, modified=last_modified)
    yield Entry("as_of", rule, why)
    if form is not None:
        yield Entry("time_format", form)
    age = _AGE_OF.get(rule.partition(":")[0], _LONGEST_AGE)
    yield Entry("maximum_age_days", age, "how old the data may be")


def _time_rule(
    description: Description,
    fields: Sequence[Field],
    *,
    location: str,
    modified: str | None,
) -> tuple[str, str | None, str]:
    """Return the rule for the time of the data, the form of times, and why."""
    if is_dated(location):
        return "day_in_location", None, "the day in the location"
    for name, text in description.members.items():
        form = _form_of([text])
        if _UPDATED.fullmatch(name.lower()) and form is not None:
            return f"document:{name}", form or None, f"such as {text[:30]!r}"
    if is_http(location) and modified is not None:
        return "last_modified", None, f"the server says {modified!r}"
    for each in fields:
        form = _form_of(each.samples)
        if _UPDATED.fullmatch(_last(each.name)) and form is not None:
            return f"record:{each.name}", form or None, f"such as {each.samples[0]!r}"
    return "fetched", None, "no time is known: for the current day only"


def _form_of(samples: Sequence[str]) -> str | None:
    """Return the form of times: an empty text for ISO 8601; None if they are no times."""
    with suppress(ValueError):
        for text in samples:
            datetime.fromisoformat(text.strip())
        return "" if samples and all(len(text) >= len("2026-11-20") for text in samples) else None
    form, has_more = time_format_of(samples)
    return None if has_more else form
