"""Names: which one to show to a city's readers, and all of them by language.

Belongs here: the order in which names are looked for, who can read a script, and the last resort
of transliteration. Does not belong here: keeping the tags as they were mapped (the rows' `tags`
do).

A name is shown only to those who can read it: who reads one of the city's languages reads its
script, and everybody reads Latin letters. Where a place has no such name at all, the one that it
has is written in Latin letters, and `name_source` says so.

Transliteration is that of AnyAscii: context-free, the same on every machine. It reads Chinese
characters as Mandarin without tones, and Arabic and Hebrew without the vowels that are not written.
A Chinese character in a Japanese name would be read wrongly, so such a name stays as it is.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import regex

NAME_KEYS = ("name", "int_name", "official_name", "short_name")
"""Where the name comes from when none in one of the city's languages is mapped."""

UNDETERMINED = "und"
"""The language of a plain `name` (BCP 47)."""

TRANSLITERATED = "transliterated:"
"""What stands in `name_source` before the key of a name that was written in Latin letters."""

_PREFIX = "name:"
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_BEYOND_LATIN = "\u0250"
"""Every letter before it, to the end of the block Latin Extended-B, is Latin or of no script."""
_SEVERAL = {
    "Jpan": ("Hani", "Hira", "Kana"),
    "Kore": ("Hang", "Hani"),
    "Hans": ("Hani",),
    "Hant": ("Hani",),
}
"""Codes of ISO 15924 that stand for several scripts, or for a variant of one."""


class DisplayName(NamedTuple):
    """A name to show, and the key that it comes from; both None where nothing names the place."""

    name: str | None
    source: str | None

    @property
    def is_transliterated(self) -> bool:
        """Whether nobody mapped it so."""
        return self.source is not None and self.source.startswith(TRANSLITERATED)


class Namer:
    """Chooses the names that are shown to a city's readers."""

    def __init__(self, languages: Iterable[str], local_language: str | None) -> None:
        """Prepare for a city.

        Args:
            languages: The city's languages, best first.
            local_language: The language of a plain `name` in the city, where that is known. It is
                seldom mapped as `name:<language>`.
        """
        self._languages = tuple(languages)
        self._local_language = local_language
        self._is_readable = lru_cache(maxsize=100_000)(self._can_be_read)
        self._in_latin_letters = lru_cache(maxsize=100_000)(self._transliterated)
        keys: list[str] = []
        for language in self._languages:
            keys.append(_PREFIX + language)
            if language == local_language:
                keys.append("name")
        self._name_keys = (*keys, *NAME_KEYS)
        # Many places have the same keys, and each has its own name.
        self._in_order = lru_cache(maxsize=65_536)(self._keys)
        self._brand_keys = (*(f"brand:{language}" for language in self._languages), "brand")

    def display_name(self, tags: Mapping[str, str]) -> DisplayName:
        """Choose the name to show for a place.

        The names of the place come first: in the city's languages, as mapped, in any other
        language (English first, then by the alphabet), and its brand's. The first that can be read
        is taken, or else the first that can be transliterated. Who operates a place is its name
        only where it has no other.
        """
        return (
            self._best(tags, self._in_order(frozenset(tags)))
            or self._best(tags, ("operator",) if "operator" in tags else ())
            or DisplayName(None, None)
        )

    def _best(self, tags: Mapping[str, str], keys: Iterable[str]) -> DisplayName | None:
        unreadable: list[tuple[str, str]] = []
        for key in keys:
            name = tags[key].strip()
            if name and self._is_readable(name):
                return DisplayName(name, key)
            if name:
                unreadable.append((name, key))
        for name, key in unreadable:
            if latin := self._in_latin_letters(name):
                return DisplayName(latin, f"{TRANSLITERATED}{key}")
        return DisplayName(*unreadable[0]) if unreadable else None

    def _keys(self, among: frozenset[str]) -> Sequence[str]:
        """Give the keys of a place's own names and of its brand's, the best first."""
        others = sorted(
            (key for key in among if _language(key) is not None),
            key=lambda key: (key != "name:en", key),
        )
        return [key for key in (*self._name_keys, *others, *self._brand_keys) if key in among]

    def _can_be_read(self, name: str) -> bool:
        """Tell whether at least half of a name's letters are of scripts that the readers know."""
        if max(name) < _BEYOND_LATIN:
            return True
        letters, foreign = self._letters
        return 2 * len(foreign.findall(name)) <= len(letters.findall(name))

    @cached_property
    def _letters(self) -> tuple[regex.Pattern[str], regex.Pattern[str]]:
        """Patterns of any letter, and of the letters that the readers do not know."""
        import regex

        known = "".join(rf"\p{{sc={script}}}" for script in sorted(scripts_of(self._languages)))
        return (
            regex.compile(r"\p{L}"),
            regex.compile(rf"[\p{{L}}--[{known}\p{{sc=Zyyy}}\p{{sc=Zinh}}]]", regex.VERSION1),
        )

    def _transliterated(self, name: str) -> str | None:
        from anyascii import anyascii

        if self._is_japanese(name):
            return None
        return " ".join(anyascii(name).split()) or None

    def _is_japanese(self, name: str) -> bool:
        import regex

        return regex.search(r"\p{sc=Hani}", name) is not None and (
            self._local_language == "ja"
            or regex.search(r"[\p{sc=Hira}\p{sc=Kana}]", name) is not None
        )


def scripts_of(languages: Iterable[str]) -> frozenset[str]:
    """Name the scripts that readers of these languages know, Latin always among them.

    Returns:
        Codes of ISO 15924 that Unicode knows as scripts, by CLDR's likely subtags.
    """
    from langcodes import Language

    likely = (str(Language.get(language).maximize().script) for language in languages)
    return frozenset({"Latn"}.union(*(_SEVERAL.get(script, (script,)) for script in likely)))


def names_by_language(tags: Mapping[str, str]) -> dict[str, str]:
    """Collect names by language; the plain `name` has an undetermined one."""
    names = {language: tags[key] for key, language in _languages_of(frozenset(tags))}
    if "name" in tags:
        names[UNDETERMINED] = tags["name"]
    return names


@lru_cache(maxsize=65_536)
def _languages_of(keys: frozenset[str]) -> Sequence[tuple[str, str]]:
    """List those keys that are `name:<language>`, and the language."""
    return [(key, language) for key in sorted(keys) if (language := _language(key)) is not None]


def _language(key: str) -> str | None:
    """Give the language of a key `name:<language>`; None where it is no such key."""
    if not key.startswith(_PREFIX):
        return None
    language = key.removeprefix(_PREFIX)
    return language if _LANGUAGE.fullmatch(language) else None
