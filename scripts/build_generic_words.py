"""Build `ingestion_pipeline/helpers/generic_words.json` from a pinned release of id-tagging-schema.

    python -m scripts.build_generic_words             # get the release through npm, write the file
    python -m scripts.build_generic_words --check     # only compare; exit status 1 where it differs
    python -m scripts.build_generic_words --tarball openstreetmap-id-tagging-schema-7.2.0.tgz

The words are those of the labels, aliases and search terms of the presets of each kind, and those
of `generic_words_extra.toml`, which has words that the schema lacks. The file has one line per kind
and language, so the diff of a new release shows words.
"""

import argparse
import json
import re
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ingestion_pipeline.helpers.kinds import KINDS, Kind
from scripts.build_taxonomy import PACKAGE, VERSION, BuildError, Release, fetch

OUTPUT = Path(__file__).parents[1] / "ingestion_pipeline" / "helpers" / "generic_words.json"
EXTRA_FILE = Path(__file__).with_name("generic_words_extra.toml")

LANGUAGES = (
    *("ar", "bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "he", "hr", "hu", "it"),
    *("ja", "ko", "lt", "lv", "nb", "nl", "pl", "pt", "ro", "ru", "sk", "sl", "sr", "sv", "tr"),
    *("uk", "vi", "zh-CN", "zh-TW"),
)


def words_of(texts: Iterable[str]) -> Iterator[str]:
    """Yield the words of texts: letters in lower case, no numbers, at least two letters."""
    for text in texts:
        for word in re.findall(r"[^\W\d_]+", text.lower().replace("i\u0307", "i")):
            if len(word) > 1:
                yield word


def presets_of(kind: Kind, presets: Mapping[str, Any]) -> list[str]:
    """Return the presets whose tags make an object a helper place of a kind."""
    return sorted(
        id_
        for id_, preset in presets.items()
        if any(rule.items() <= preset["tags"].items() for rule in kind.main)
    )


def build(tarball: Path) -> str:
    """Return the text of the table."""
    release = Release.read(tarball, ("en",))  # checks that it is the pinned one
    with tarfile.open(tarball) as archive:
        texts = {language: _texts(archive, language) for language in LANGUAGES}
    extra: Mapping[str, Mapping[str, str]] = tomllib.loads(EXTRA_FILE.read_text(encoding="utf-8"))
    words: dict[str, dict[str, str]] = {"any": _sorted_words(extra["any"])}
    for kind in KINDS.values():
        ids = presets_of(kind, release.presets)
        found = {language: " ".join(_texts_of(texts[language], ids)) for language in LANGUAGES}
        for language, more in extra.get(kind.name, {}).items():
            found[language] = f"{found.get(language, '')} {more}"
        words[kind.name] = _sorted_words(found)
    lines = [
        f"{json.dumps(kind)}: {{\n"
        + ",\n".join(f"  {json.dumps(each)}: {_json(text)}" for each, text in languages.items())
        + "\n}"
        for kind, languages in words.items()
    ]
    header = {
        "source": PACKAGE,
        "version": VERSION,
        "licence": "ISC",
        "copyright": "Copyright (c) iD Contributors",
        "generated_by": "scripts/build_generic_words.py",
    }
    return f'{{\n"header": {_json(header)},\n"words": {{\n' + ",\n".join(lines) + "\n}\n}\n"


def _texts(archive: tarfile.TarFile, language: str) -> Mapping[str, Any]:
    file = archive.extractfile(f"package/dist/translations/{language}.json")
    assert file is not None
    presets: Mapping[str, Any] = json.load(file)[language]["presets"]["presets"]
    return presets


def _texts_of(presets: Mapping[str, Any], ids: Iterable[str]) -> Iterator[str]:
    for id_ in ids:
        text = presets.get(id_, {})
        yield from (text.get("name", ""), *text.get("aliases", ()), *text.get("terms", ()))


def _sorted_words(texts: Mapping[str, str]) -> dict[str, str]:
    found = {language: " ".join(sorted(set(words_of([text])))) for language, text in texts.items()}
    return {language: found[language] for language in sorted(found) if found[language]}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def main() -> int:
    """Build the table; write it or compare it."""
    parser = argparse.ArgumentParser(description=f"Build {OUTPUT.name} from {PACKAGE} {VERSION}.")
    parser.add_argument("--tarball", type=Path, help="the release as a file, instead of npm")
    parser.add_argument("--check", action="store_true", help="only compare with the committed file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = build(arguments.tarball or fetch(Path(folder)))
    if not arguments.check:
        OUTPUT.write_text(text, encoding="utf-8")
        return 0
    if OUTPUT.read_text(encoding="utf-8") == text:
        return 0
    print(f"{OUTPUT} is not what this script builds; run it without --check", file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BuildError as error:
        sys.exit(f"error: {error}")
