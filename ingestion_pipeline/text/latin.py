"""Transliteration of names to Latin letters, by the standard of their script.

| script | standard |
|---|---|
| kana | Modified Hepburn: `ビッグエコー` is `Bigguekō` |
| Hangul | Revised Romanization of Korean, of 2000: `국민은행` is `Gungmineunhaeng` |
| Greek | ELOT 743, its transcription (ISO 843, type 2) without accents: `Κουμπί` is `Koumpi` |
| simplified Chinese | Hanyu Pinyin (ISO 7098), by the phrases that pypinyin knows |
| Thai, Lao | none: vowels are written before the consonants that they follow |
| any other | AnyAscii, letter by letter |

The rules of the first three are short and closed, and no usable package has them: ICU writes Hangul
without assimilation and `ヴィ` as `vu~i`; others are under the GPL or get examples of the standards
wrong. The rules know letters, not words: the spelling does not show where a Korean compound gains a
sound between its words (`학여울`, Hangnyeoul), where two Japanese vowels meet there, or where `は`
is a particle (wa).

Chinese characters are transliterated only if they are certainly Chinese and simplified, because the
phrases that distinguish readings of a character are simplified. A Japanese name with one of them
has several readings. Kana outside the blocks Hiragana and Katakana, which are archaic or Ainu, are
not transliterated.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import regex

MANDARIN = frozenset({"cmn", "zh"})
"""Languages whose Chinese characters are transliterated as Hanyu Pinyin."""

OTHER_READINGS = frozenset(
    {"cdo", "gan", "hak", "hsn", "ja", "ko", "mnp", "nan", "vi", "wuu", "yue"}
)
"""Languages with other readings of Chinese characters."""

_ACUTE, _DIAERESIS, _MACRON, _VOICED = "\u0301", "\u0308", "\u0304", "\u3099"
_COMBINING = str.maketrans({"゛": _VOICED, "゜": "\u309a"})
"""Standalone marks of kana, and those that combine with the preceding letter."""


def in_latin_letters(name: str, language: str | None) -> str | None:
    """Transliterate a name to Latin letters.

    Args:
        name: In any script.
        language: Its language (BCP 47), if known.

    Returns:
        The name; each word of a script without upper case is capitalized. None if the reading is
        uncertain.
    """
    normal = unicodedata.normalize("NFKC", name.translate(_COMBINING))
    runs = [(str(match.lastgroup), match.group()) for match in _runs().finditer(normal)]
    if any(script == "kana" for script, _ in runs):
        language = "ja"
    written = ""
    is_after_caseless = False
    for script, run in runs:
        if script == "unread" or (script == "han" and not _is_mandarin(run, language)):
            return None
        latin = _WRITERS[script](run)
        is_caseless = script in _CASELESS
        if is_caseless and not written[-1:].isdigit():
            latin = _capitalized(latin)
        meets = written[-1:].isalpha() and latin[:1].isalpha()
        written += f" {latin}" if meets and (is_caseless or is_after_caseless) else latin
        is_after_caseless = is_caseless
    return " ".join(written.split()) or None


@cache
def _runs() -> regex.Pattern[str]:
    """Return the pattern of a run of one script; all scripts of AnyAscii are one."""
    import regex

    scripts = {
        "kana": r"\u3041-\u30ff",
        "unread": r"\p{sc=Thai}\p{sc=Laoo}\p{sc=Hira}\p{sc=Kana}々",  # other kana
        "hangul": r"가-힣",
        "han": r"\p{sc=Hani}",
        "greek": r"\p{sc=Grek}",
        "latin": r"\p{sc=Latn}",
    }
    runs = "|".join(
        rf"(?P<{name}>[{letters}][{letters}\p{{M}}]*)" for name, letters in scripts.items()
    )
    return regex.compile(rf"{runs}|(?P<other>[^{''.join(scripts.values())}]+)")


def _capitalized(words: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in words.split(" "))


def _letter_by_letter(run: str) -> str:
    from anyascii import anyascii

    return anyascii(run)


def _words(text: str) -> list[str]:
    return text.split(" ")


# Chinese


def _is_mandarin(characters: str, language: str | None) -> bool:
    """Return whether Chinese characters are simplified and certainly Mandarin.

    If the language is not written in them, this follows from characters that were simplified in
    China and not in Japan: they are in GB 2312 and not in JIS X 0213.
    """
    if not _is_in("gb2312", characters):
        return False
    primary = language.partition("-")[0] if language else None
    if primary in MANDARIN or primary in OTHER_READINGS:
        return primary in MANDARIN
    return not _is_in("euc_jis_2004", characters)


def _is_in(character_set: str, text: str) -> bool:
    try:
        text.encode(character_set)
    except UnicodeEncodeError:
        return False
    return True


def _pinyin(run: str) -> str:
    """Transliterate Mandarin with tones; characters between words of pypinyin form one word."""
    from pypinyin import Style, lazy_pinyin
    from pypinyin.seg.mmseg import seg

    syllables = iter(lazy_pinyin(run, style=Style.TONE))
    words: list[str] = []
    is_between = False
    for part in seg.cut(run):
        spelt = [next(syllables) for _ in part]
        if len(part) == 1 and is_between:
            words[-1] = _joined([words[-1], *spelt])
        else:
            words.append(_joined(spelt))
        is_between = len(part) == 1
    return " ".join(words)


def _joined(syllables: list[str]) -> str:
    """Join syllables to a word, with an apostrophe before one that begins with a vowel."""
    word, *others = syllables
    for syllable in others:
        begins = unicodedata.normalize("NFD", syllable)[:1]
        word += f"'{syllable}" if begins in "aeo" else syllable
    return word


# Japanese

_HEPBURN = {
    "si": "shi",
    "ti": "chi",
    "tu": "tsu",
    "hu": "fu",
    "zi": "ji",
    "di": "ji",
    "du": "zu",
} | {f"w{vowel}": vowel for vowel in "ieo"}
"""Syllables where Hepburn differs from the letters' Unicode names."""

_GLIDES = {"u": "w", "ku": "kw", "gu": "gw", "i": "y"}
"""Letters before a small vowel: `ウィ` is wi."""

_TAKES_ANY_VOWEL = frozenset(_words("si ti zi di su zu tu du te de to do hu ho vu"))
"""Letters whose vowel a small one replaces: `ティ` is ti."""

_SMALL = frozenset(f"small {vowel}" for vowel in _words("a i u e o ya yu yo wa"))
"""Letters that change the preceding one; `ヶ` and `ヵ` are read unchanged."""

_LONG = frozenset({"aa", "uu", "ee", "oo", "ou"})
_REPEATED = re.compile("(.)([ゝヽゞヾ])")
_DOUBLING, _PROLONGING, _NASAL, _DOT = "っ", "ー", "n", "・"


def _hepburn(run: str) -> str:
    written = ""
    is_doubled = False
    for mora in _morae(_REPEATED.sub(_repeat, run)):
        vowel = written[-1:]
        if mora == _DOUBLING:
            is_doubled = True
        elif (mora == _PROLONGING and vowel in set("aeiou")) or f"{vowel}{mora}" in _LONG:
            written += _MACRON
        elif mora == _DOT:
            written += " "
        elif mora != _PROLONGING:
            is_apart = vowel == _NASAL and mora[0] in "aeiouy"
            if is_apart:
                written += "'"
            elif is_doubled and mora[0] not in "aeiou":
                written += "t" if mora[0] == "c" else mora[0]
            written += mora
            is_doubled = False
    return unicodedata.normalize("NFC", written)


def _repeat(match: re.Match[str]) -> str:
    """Replace a mark that repeats the preceding letter, possibly voiced."""
    letter, mark = match.groups()
    return letter + (unicodedata.normalize("NFC", letter + _VOICED) if mark in "ゞヾ" else letter)


def _morae(run: str) -> list[str]:
    """Spell each letter together with a following small letter; marks are kept."""
    morae: list[str] = []
    base = ""
    for letter in run:
        name = unicodedata.name(letter, "").lower().partition(" letter ")[2]
        if letter in (_PROLONGING, _DOT):
            morae.append(letter)
            base = ""
        elif name == "small tu":
            morae.append(_DOUBLING)
            base = ""
        elif base and name in _SMALL:
            morae[-1] = _with_small(base, name.removeprefix("small "))
            base = ""
        elif name:
            base = name.removeprefix("small ")
            morae.append(_HEPBURN.get(base, base))
    return morae


def _with_small(base: str, small: str) -> str:
    """Spell a letter and a small one, both by their Unicode names."""
    spelt = _HEPBURN.get(base, base)
    stem = spelt[:-1]
    if len(small) > 1:  # ya, yu, yo; wa
        return stem + (small[1:] if stem in {"sh", "ch", "j"} else small)
    if base in _GLIDES and base != small:
        return _GLIDES[base] + small
    if base in _TAKES_ANY_VOWEL:
        return stem + small
    return f"{stem}y{small}" if base[-1] == "i" and small != "i" and stem else spelt + small


# Korean

_ONSETS = _words("g kk n d tt r m b pp s ss  j jj ch k t p h")
_VOWELS = _words("a ae ya yae eo e yeo ye o wa wae oe yo u wo we wi yu eu ui i")
_FINALS = [
    final.split("-")
    for final in _words(
        "-- k--g k--kk k-k-s n--n n-n-j n--n t--d l--r k-l-g m-l-m l-l-b l-l-s l-l-t p-l-p l--r "
        "m--m p--b p-p-s t--s t--ss ng-ng- t--j t--ch k--k t--t p--p t--"
    )
]
"""For each final consonant in the order of Unicode, the first being none: how it ends a syllable;
and before a vowel, the part that stays and the part that moves to the next syllable."""

_WITH_H = frozenset({6, 15, 27})
"""The finals `ㄶ`, `ㅀ`, `ㅎ`."""

_WITH_J = frozenset({5, 22})
"""The finals `ㄵ`, `ㅈ`. Others merge with a following `ㅎ` in verbs, but not in nouns, so not in
names: `묵호` is Mukho."""

_ASPIRATED = {"g": "k", "d": "t", "j": "ch"}
_PALATAL = {"d": "j", "t": "ch"}
_NASAL_OF = {"k": "ng", "t": "n", "p": "m"}
_FIRST_SYLLABLE = ord("가")
_MARKED = re.compile("[^가-힣]")
"""A mark combined with a syllable; it is not spoken."""


def _revised(run: str) -> str:
    written = ""
    final = 0
    for syllable in _MARKED.sub("", run):
        rest, next_final = divmod(ord(syllable) - _FIRST_SYLLABLE, len(_FINALS))
        onset, vowel = divmod(rest, len(_VOWELS))
        written += "".join(_between(final, _ONSETS[onset], _VOWELS[vowel])) + _VOWELS[vowel]
        final = next_final
    return written + _FINALS[final][0]


def _between(final: int, onset: str, vowel: str) -> tuple[str, str]:
    """Spell the consonants before a vowel as spoken: those of the last syllable, and its own."""
    coda, stays, goes_over = _FINALS[final]
    if not onset:
        return stays, _PALATAL.get(goes_over, goes_over) if vowel == "i" else goes_over
    if final in _WITH_H and onset in _ASPIRATED:
        return coda.removesuffix("t"), _ASPIRATED[onset]
    if final in _WITH_J and onset == "h":
        return coda.removesuffix("t"), "ch"
    if (coda, onset) in {("l", "r"), ("l", "n"), ("n", "r")}:
        return "l", "l"
    if onset == "r" and coda:
        onset = "n"
    return _NASAL_OF.get(coda, coda) if onset in {"n", "m"} else coda, onset


# Greek

_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξοπρσςτυφχψω",
        _words("a v g d e z i th i k l m n x o p r s s t y f ch ps o"),
        strict=True,
    )
)
_WITHIN = r"[\w\u0301\u0308]"
_SOUND = re.compile(
    r"(?P<fricative>[αεη]υ(?!\u0308)(?P<is_voiced>(?=\u0301?[αεηιουωβγδζλμνρ]))?)"
    rf"|(?P<ou>ου(?!\u0308))|(?P<n>γ(?=[γξχ]))|(?P<b>(?<!{_WITHIN})μπ|μπ(?!{_WITHIN}))|[α-ω]",
    re.IGNORECASE,
)
_OTHER_MARKS = re.compile("[\u0300\u0302-\u0307\u0309-\u036f]")
_MARKS = re.compile(f"[{_ACUTE}{_DIAERESIS}]")


def _elot_743(run: str) -> str:
    """Transcribe Greek; an accent or a diaeresis separates vowels and is not written.

    Letters of other periods, which the standard does not have, are left to AnyAscii.
    """
    letters = _OTHER_MARKS.sub("", unicodedata.normalize("NFD", run))
    return _letter_by_letter(_MARKS.sub("", _SOUND.sub(_transcribed, letters)))


def _transcribed(match: re.Match[str]) -> str:
    sound = match.group().lower()
    if match["fricative"]:
        latin = _GREEK[sound[0]] + ("v" if match["is_voiced"] is not None else "f")
    elif match["ou"] or match["n"] or match["b"]:
        latin = str(match.lastgroup)
    else:
        latin = _GREEK[sound]
    if not match.group()[0].isupper():
        return latin
    around = (
        _MARKS.sub("", match.string[match.start() + 1 :])[:1] or match.string[: match.start()][-1:]
    )
    return latin.upper() if around.isupper() else latin.capitalize()


_CASELESS = frozenset({"kana", "hangul", "han"})
_WRITERS: dict[str, Callable[[str], str]] = {
    "kana": _hepburn,
    "hangul": _revised,
    "greek": _elot_743,
    "han": _pinyin,
    "latin": str,
    "other": _letter_by_letter,
}
