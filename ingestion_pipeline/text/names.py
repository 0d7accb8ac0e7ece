"""Display names for a city's readers, and all names by language.

A name is shown only to people who can read it: readers of one of the city's languages read its
script, and everyone reads Latin letters. If a place has no such name, its name is transliterated
(`latin.py`), and `name_source` records it. A name whose reading is uncertain stays unchanged.

An operator does not name a place. Schools, post boxes and charging stations have operators, and
Nominatim does not use an operator as a name either (osm-search/Nominatim#2639).
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ingestion_pipeline.text.value_lists import split_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import regex

NAME_KEYS = ("name", "int_name", "official_name", "short_name")
"""Keys for the name if none in one of the city's languages is mapped."""

LESSER_KEYS = ("alt_name", "loc_name", "reg_name", "nat_name")
"""Keys for a place without another name. Each may be a list, whose first name is shown."""

FORMER_KEY = "old_name"
"""The key of the name of a former place without another name; possibly a list."""

PREFIXES_OF_THE_FUTURE = ("construction", "proposed", "planned")
PREFIXES_OF_THE_PAST = (
    *("disused", "was", "abandoned", "closed", "vacant", "historic", "ruins"),
    *("demolished", "destroyed", "dismantled", "razed", "removed"),
)
"""The prefixes of names of places that are not in use, as in `disused:name`."""

NO_LANGUAGES = frozenset(
    {"adj", "bus", "cat", "int", "loc", "map", "nat", "new", "not", "old", "reg", "was"}
    | {"mis", "mul", "und", "zxx"}
)
"""Language codes (ISO 639) with another meaning after `name:`, and those of no single language.
`name:old` is an old name, not one in Mochi."""

ROMANIZED = re.compile("([a-z]{2,3})_rm")
"""Keys of romanizations that predate the use of BCP 47, such as `name:ja_rm`."""

OTHER_SPELLINGS = {
    "ja_hira": "ja-Hira",
    "ja_kana": "ja-Hrkt",
    "ja_romaji": "ja-Latn",
    "zh_pinyin": "zh-Latn-pinyin",
    "zh_zhuyin": "zh-Bopo",
}
"""More of them, with the language in BCP 47."""

OPERATING = "operating"
"""The status of a place that is in use."""

UNDETERMINED = "und"
"""The language of a plain `name` (BCP 47)."""

TRANSLITERATED = "transliterated:"
"""Precedes the key in `name_source` for a transliterated name."""

_PREFIX = "name:"
_LISTS = frozenset({*LESSER_KEYS, FORMER_KEY})
_PREFIXES_OF_STATUS = {
    "construction": PREFIXES_OF_THE_FUTURE,
    "proposed": PREFIXES_OF_THE_FUTURE,
    "disused": PREFIXES_OF_THE_PAST,
    "abandoned": PREFIXES_OF_THE_PAST,
    "demolished": PREFIXES_OF_THE_PAST,
}
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that change the direction of the following text (Unicode, UAX
#9)."""
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_SECOND_LETTERS = {
    "a": "abefkmnrsvyz",
    "b": "aeghimnors",
    "c": "aehorsuvy",
    "d": "aevz",
    "e": "elnostu",
    "f": "afijory",
    "g": "adlnuv",
    "h": "aeiortuyz",
    "i": "adegiknostuw",
    "j": "aivw",
    "k": "agijklmnorsuvwy",
    "l": "abginotuv",
    "m": "ghiklnorsty",
    "n": "abdeglnorvy",
    "o": "cjmrs",
    "p": "ailst",
    "q": "u",
    "r": "mnouw",
    "s": "acdeghiklmnoqrstuvw",
    "t": "aeghiklnorstwy",
    "u": "gkrz",
    "v": "eio",
    "w": "ao",
    "x": "h",
    "y": "io",
    "z": "ahu",
}
LANGUAGES_OF_TWO_LETTERS = frozenset(
    first + second for first, letters in _SECOND_LETTERS.items() for second in letters
)
"""Codes of ISO 639-1, of today and of the past. Most places have names in no other languages, and
langcodes, which knows them all, takes 20 ms to import; a test compares the two."""

_BEYOND_LATIN = "\u0250"
"""The end of the block Latin Extended-B; every letter before it is Latin or of no script."""
_SEVERAL = {
    "Jpan": ("Hani", "Hira", "Kana"),
    "Kore": ("Hang", "Hani"),
    "Hans": ("Hani",),
    "Hant": ("Hani",),
}
"""ISO 15924 codes that denote several scripts or a variant of one."""


class DisplayName(NamedTuple):
    """A name to show, and its key; both None if the place has no name."""

    name: str | None
    source: str | None

    @property
    def is_transliterated(self) -> bool:
        """Whether it was transliterated, not mapped."""
        return self.source is not None and self.source.startswith(TRANSLITERATED)


class Namer:
    """Chooses the names for a city's readers."""

    def __init__(self, languages: Iterable[str], local_language: str | None) -> None:
        """Prepare for a city.

        Args:
            languages: The city's languages, best first.
            local_language: The language of a plain `name` in the city, if known. It is seldom
                mapped as `name:<language>`.
        """
        self._languages = tuple(languages)
        self._local_language = local_language
        self._is_readable = lru_cache(maxsize=100_000)(self._can_be_read)
        self._in_latin_letters = lru_cache(maxsize=100_000)(_in_latin_letters)
        keys: list[str] = []
        for language in self._languages:
            keys.append(_PREFIX + language)
            if language == local_language:
                keys.append("name")
        self._name_keys = (*keys, *NAME_KEYS)
        # Many places have the same keys, but few the same name.
        self._in_order = lru_cache(maxsize=65_536)(self._keys)
        self._brand_keys = (*(f"brand:{language}" for language in self._languages), "brand")

    def display_name(self, tags: Mapping[str, str], status: str = OPERATING) -> DisplayName:
        """Return the name to show for a place.

        The first readable name is used, or else the first that can be transliterated, in this
        order: names for the status of the place (`disused:name`), names in the city's languages,
        the plain name, names in other languages (English first, then romanizations, then
        alphabetically), its brand's, and its lesser names.

        Args:
            tags: The tags of the place.
            status: Whether it is in use; a status of a POI or of a helper place.
        """
        unreadable: list[tuple[str, str]] = []
        among = frozenset([key for key in tags if "name" in key or "brand" in key])
        for key in self._in_order(among, status):
            name = _cleaned(_first_of(tags[key]) if key in _LISTS else tags[key])
            if name and self._is_readable(name):
                return DisplayName(name, key)
            if name:
                unreadable.append((name, key))
        for name, key in unreadable:
            if latin := self._in_latin_letters(name, self._language_of(key)):
                return DisplayName(latin, f"{TRANSLITERATED}{key}")
        return DisplayName(*unreadable[0]) if unreadable else DisplayName(None, None)

    def _keys(self, among: frozenset[str], status: str) -> Sequence[str]:
        """Return the keys of a place's own names and of its brand's, the best first.

        Args:
            among: The keys of the place; at least those that contain "name" or "brand".
            status: Whether it is in use.
        """
        others = sorted((key for key in among if _language(key) is not None), key=self._rank)
        own = (*self._name_keys, *others)
        prefixes = _PREFIXES_OF_STATUS.get(status, ())
        prefixed = [f"{prefix}:{key}" for prefix in prefixes for key in own]
        former = [FORMER_KEY] if prefixes == PREFIXES_OF_THE_PAST else []
        keys = (*prefixed, *own, *self._brand_keys, *LESSER_KEYS, *former)
        return [key for key in dict.fromkeys(keys) if key in among]

    def _rank(self, key: str) -> tuple[bool, bool, bool, str]:
        """Return the rank of a name in a language that is not the city's; the lowest is best."""
        language = str(_language(key))
        is_local = language.partition("-")[0] == self._local_language
        return (key != "name:en", "-Latn" not in language, not is_local, key)

    def _language_of(self, key: str) -> str | None:
        """Return the language of a key's name, if known."""
        return _language(_PREFIX + key.rpartition(":")[2]) or self._local_language

    def _can_be_read(self, name: str) -> bool:
        """Return whether at least half of a name's letters are of scripts that the readers know."""
        if max(name) < _BEYOND_LATIN:
            return True
        letters, foreign = self._letters
        return 2 * len(foreign.findall(name)) <= len(letters.findall(name))

    @cached_property
    def _letters(self) -> tuple[regex.Pattern[str], regex.Pattern[str]]:
        """Patterns of any letter, and of letters that the readers do not know."""
        import regex

        known = "".join(rf"\p{{sc={script}}}" for script in sorted(scripts_of(self._languages)))
        return (
            # Letters without a script, such as `ー` and `ﾞ`, belong to that of their neighbours.
            regex.compile(r"[\p{L}--[\p{sc=Zyyy}\p{sc=Zinh}]]", regex.VERSION1),
            regex.compile(rf"[\p{{L}}--[{known}\p{{sc=Zyyy}}\p{{sc=Zinh}}]]", regex.VERSION1),
        )


def scripts_of(languages: Iterable[str]) -> frozenset[str]:
    """Return the scripts that readers of these languages know, Latin always among them.

    Returns:
        ISO 15924 codes that Unicode uses for scripts, by CLDR's likely subtags.
    """
    from langcodes import Language

    likely = (str(Language.get(language).maximize().script) for language in languages)
    return frozenset({"Latn"}.union(*(_SEVERAL.get(script, (script,)) for script in likely)))


def names_by_language(tags: Mapping[str, str]) -> dict[str, str]:
    """Return names by language; the plain `name` has an undetermined one."""
    keys = frozenset([key for key in tags if key.startswith(_PREFIX)])
    names = {language: tags[key] for key, language in _languages_of(keys)}
    if "name" in tags:
        names[UNDETERMINED] = tags["name"]
    return names


@lru_cache(maxsize=65_536)
def _languages_of(keys: frozenset[str]) -> Sequence[tuple[str, str]]:
    """Return the keys `name:<language>` with the language; a key in BCP 47 is the last."""
    found = [(key, language) for key in sorted(keys) if (language := _language(key)) is not None]
    return sorted(found, key=lambda each: each[0] == _PREFIX + each[1])


@lru_cache(maxsize=65_536)
def _language(key: str) -> str | None:
    """Return the language (BCP 47) of a key `name:<language>`; None for other keys."""
    if not key.startswith(_PREFIX):
        return None
    code = key.removeprefix(_PREFIX)
    if romanized := ROMANIZED.fullmatch(code):
        code = f"{romanized[1]}-Latn"
    code = OTHER_SPELLINGS.get(code, code)
    return code if _LANGUAGE.fullmatch(code) and _is_language(code.partition("-")[0]) else None


def _is_language(code: str) -> bool:
    if code in LANGUAGES_OF_TWO_LETTERS:
        return True
    from langcodes import tag_is_valid

    return code not in NO_LANGUAGES and bool(tag_is_valid(code))


def _in_latin_letters(name: str, language: str | None) -> str | None:
    from ingestion_pipeline.text.latin import in_latin_letters  # most cities need none of it

    return in_latin_letters(name, language)


def _first_of(names: str) -> str:
    return next(iter(split_values(names)), "")


def _cleaned(name: str) -> str:
    """Return a name without characters that would reverse the surrounding text."""
    return name.strip() if name.isprintable() else _CONTROLS.sub("", name).strip()
