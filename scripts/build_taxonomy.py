"""Build `ingestion_pipeline/osm/taxonomy.json` from a pinned release of id-tagging-schema.

    python scripts/build_taxonomy.py             # get the release through npm, write the file
    python scripts/build_taxonomy.py --check     # only compare; exit status 1 where it differs
    python scripts/build_taxonomy.py --tarball openstreetmap-id-tagging-schema-7.2.0.tgz

Converts iD's presets, translations and deprecations to the table of `osm/taxonomy.py`, and decides
which of them are used.

The output depends only on the release, `osm/selection.py`, the languages, this file,
`not_selected.toml`, and `taxonomy_aliases.toml`, which has tags that the schema lacks. It is
sorted, one category or deprecation per line, so the diff of a new release shows categories. The
format of the release: SCHEMA.md in its tarball.
"""

import argparse
import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ingestion_pipeline.osm.selection import (
    CLOSED_TAGS,
    DEPRECATED_TAGS,
    LIFECYCLE_PREFIXES,
    OPEN_KEYS,
)

PACKAGE = "@openstreetmap/id-tagging-schema"
VERSION = "7.2.0"
SHA512 = "7hjV8Xl3CoaO0u+M/Po0u33YIRahL8jEJtOzho189VOqqQQB3L9UGv2o93o/T4G3I0z5sFvQhn0apOz6+j253w=="
OUTPUT = Path(__file__).resolve().parents[1] / "ingestion_pipeline" / "osm" / "taxonomy.json"

MAIN_KEYS = frozenset({*OPEN_KEYS, *CLOSED_TAGS})

Tags = dict[str, str]

ALIASES_FILE = Path(__file__).with_name("taxonomy_aliases.toml")

NOT_SELECTED: dict[str, str] = tomllib.loads(
    Path(__file__).with_name("not_selected.toml").read_text(encoding="utf-8")
)

LAST = ("public_transport", "stop_position")
"""The tag of where a vehicle stops. Categories by it are primary only where there is no other: a
ferry terminal is a ferry terminal, though its node is on the ferry's route as well."""


class BuildError(Exception):
    """The release is not the pinned one, or has unsupported content."""


def tags_of(text: str) -> Tags:
    """Parse tags from `key=value&key=value`."""
    return dict(tag.split("=", 1) for tag in text.split("&"))


def aliases() -> list[tuple[Tags, str]]:
    """Return tags equivalent to a preset that iD matches only by other tags."""
    return [(tags_of(item["tags"]), item["category"]) for item in _aliases()["alias"]]


def own_categories() -> dict[str, tuple[Tags, Tags]]:
    """Return the categories without an iD preset: their tags and labels."""
    return {item["category"]: (tags_of(item["tags"]), item["labels"]) for item in _aliases()["own"]}


def _aliases() -> dict[str, list[dict[str, Any]]]:
    read: dict[str, list[dict[str, Any]]] = tomllib.loads(ALIASES_FILE.read_text(encoding="utf-8"))
    for item in (*read["alias"], *read["own"]):
        if not item["source"]:
            raise BuildError(f"{ALIASES_FILE} has no source for {item['tags']}; add one")
    return read


@dataclass(frozen=True)
class Release:
    """One release of the schema.

    Attributes:
        presets: Presets by id.
        deprecated: Upgrades of deprecated tags: `old` and, if there is one, `replace`.
        labels: By language, the names of presets by preset id.
    """

    presets: dict[str, dict[str, Any]]
    deprecated: list[dict[str, Tags]]
    labels: dict[str, Tags]

    @classmethod
    def read(cls, tarball: Path, languages: Sequence[str]) -> Self:
        """Read a tarball as `npm pack` writes it.

        Raises:
            BuildError: It is not the pinned release, or lacks a language.
        """
        digest = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
        if digest != SHA512:
            raise BuildError(
                f"{tarball} is not {PACKAGE} {VERSION}: its SHA-512 is {digest}; to move to "
                "another release, change VERSION and SHA512 and read the diff of the table"
            )
        with tarfile.open(tarball) as archive:

            def load(name: str) -> Any:
                try:
                    file = archive.extractfile(f"package/dist/{name}.json")
                except KeyError:
                    raise BuildError(f"{PACKAGE} {VERSION} has no {name}.json") from None
                assert file is not None
                return json.load(file)

            translations = {
                language: load(f"translations/{language}")[language]["presets"]["presets"]
                for language in languages
            }
            return cls(
                presets=load("presets"),
                deprecated=load("deprecated"),
                labels={
                    language: {
                        preset: text["name"] for preset, text in texts.items() if "name" in text
                    }
                    for language, texts in translations.items()
                },
            )

    def labels_of(self, preset: str) -> Tags:
        """Return a preset's labels by language, without languages that have none."""
        return {
            language: names[preset] for language, names in self.labels.items() if preset in names
        }


def is_main(key: str, value: str) -> bool:
    """Return whether a tag with exactly this value makes an object a POI."""
    return value != "*" and (key in OPEN_KEYS or value in CLOSED_TAGS.get(key, ()))


def is_used(preset: str, tags: Mapping[str, str]) -> bool:
    """Return whether a preset can be the category of a POI.

    It can if it has a main tag, or is the generic preset of a main key. `shop=yes` means the same
    as its key, so the generic presets replace those of `yes`.
    """
    if preset in MAIN_KEYS:
        return tags == {preset: "*"}
    return any(is_main(key, value) for key, value in tags.items()) and not (
        len(tags) == 1 and "yes" in tags.values()
    )


def rule(tags: Tags, preset: Mapping[str, Any], score: float = 1) -> dict[str, Any]:
    """Build one rule of a category.

    Args:
        tags: The tags that must be there; `*` is any value.
        preset: The preset that gives the category. The main tags that an object of it has, or that
            iD would add to it, are implied by the rule: they say nothing more.
        score: iD's `matchScore` of the tags.
    """
    has = {**preset["tags"], **preset.get("addTags", {})}
    implied = {key: has[key] for key in sorted(has) if key not in tags and is_main(key, has[key])}
    built: dict[str, Any] = {"tags": dict(sorted(tags.items()))}
    if implied:
        built["implies"] = implied
    if score != 1:
        built["score"] = score
    if LAST in tags.items():
        built["last"] = True
    return built


def chosen_presets(
    presets: Mapping[str, dict[str, Any]], deprecated: Sequence[Mapping[str, Tags]]
) -> dict[str, str]:
    """Choose the presets that concern our POIs, one for any set of tags.

    Presets of tags that are upgraded to other main tags are left out: they would never match.

    Where iD tells the point from the area of a platform by geometry alone, which we ignore, the
    point's preset stands for both: its label is the more general one ("stop / platform").

    Returns:
        Preset ids by tags (as JSON).

    Raises:
        BuildError: Several presets have the same tags, and geometry does not tell them apart.
    """
    upgraded = [
        item["old"]
        for item in deprecated
        if not item["old"].items() <= item["replace"].items()
        and not MAIN_KEYS.isdisjoint(item["replace"])
    ]
    candidates: dict[str, list[str]] = defaultdict(list)
    for name, preset in sorted(presets.items()):
        if is_used(name, preset["tags"]) and preset["tags"] not in upgraded:
            candidates[one_line(dict(sorted(preset["tags"].items())))].append(name)
    chosen = {}
    for tags, names in candidates.items():
        points = [name for name in names if "point" in presets[name]["geometry"]]
        if len(names) > 1 and len(points) != 1:
            raise BuildError(f"{', '.join(names)} all match {tags}; decide which to keep")
        chosen[tags] = points[0] if len(names) > 1 else names[0]
    return chosen


def lone_implications(presets: Mapping[str, dict[str, Any]]) -> list[tuple[Tags, str]]:
    """Find main tags that a preset of a single tag adds to it, such as healthcare=doctor.

    amenity=doctors and healthcare=doctor name the same thing, so that the second alone is of the
    same category.
    """
    return [
        ({key: value}, name)
        for name, preset in sorted(presets.items())
        if len(preset["tags"]) == 1 and is_used(name, preset["tags"])
        for key, value in preset.get("addTags", {}).items()
        if key in OPEN_KEYS and key not in preset["tags"]
    ]


def rules_by_category(
    presets: Mapping[str, dict[str, Any]], deprecated: Sequence[Mapping[str, Tags]]
) -> dict[str, list[dict[str, Any]]]:
    """Turn the presets that concern our POIs, and our own additions, into rules.

    Raises:
        BuildError: A selected tag would be left without a category.
    """
    rules: dict[str, list[dict[str, Any]]] = defaultdict(list)
    chosen = chosen_presets(presets, deprecated)
    require_decided(presets)
    ours = [tags for tags, _ in aliases()]
    for name in chosen.values():
        preset = presets[name]
        # A preset that iD wants replaced (highway=bus_stop) is another way to tag the replacement.
        category = preset.get("replacement", name)
        if preset["tags"] not in ours:
            added = rule(preset["tags"], presets[category], preset.get("matchScore", 1))
            rules[category].append(added)
    for tags, category in lone_implications(presets):
        if one_line(tags) not in chosen:
            rules[category].append(rule(tags, presets[category]))
    for tags, category in aliases():
        if category not in presets:
            raise BuildError(f"{ALIASES_FILE} names {category}, which is no preset of {VERSION}")
        rules[category].append(rule(tags, presets[category]))
    for category, (tags, _) in own_categories().items():
        rules[category].append(rule(tags, {"tags": tags}))
    require_complete(rules)
    return {
        name: rules[name] for name in rules if name not in CLOSED_TAGS or is_needed(name, rules)
    }


def require_decided(presets: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a release with a key of which `osm/selection.py` does not say whether it is a place's.

    The key of a preset is that of its first tag; templates and the preset of nothing have none.
    """
    keys = {next(iter(preset["tags"]), "*") for preset in presets.values()}
    missing = sorted(
        key
        for key in keys - MAIN_KEYS - NOT_SELECTED.keys()
        if "*" not in key
        and not key.startswith("@")
        # `addr:interpolation`, `disused:shop`
        and key.partition(":")[0] not in {"addr", *LIFECYCLE_PREFIXES}
    )
    if missing:
        raise BuildError(
            f"osm/selection.py says nothing of {', '.join(missing)}; select its places, or add it "
            "to not_selected.toml"
        )


def upgraded_tags() -> set[tuple[str, str]]:
    """List the selected tags that are replaced before they are matched."""
    return {(key, value) for key, values in DEPRECATED_TAGS.items() for value in values}


def is_needed(key: str, rules: Mapping[str, list[dict[str, Any]]]) -> bool:
    """Return whether one of a closed key's values has no category but the key's generic one."""
    known = lone_tags(rules) | upgraded_tags()
    return any((key, value) not in known for value in CLOSED_TAGS[key])


def lone_tags(rules: Mapping[str, list[dict[str, Any]]]) -> set[tuple[str, str]]:
    """List the tags that are enough for a category."""
    return {
        next(iter(rule["tags"].items()))
        for category_rules in rules.values()
        for rule in category_rules
        if len(rule["tags"]) == 1
    }


def require_complete(rules: Mapping[str, list[dict[str, Any]]]) -> None:
    """Refuse a table in which some selected tag has no category at all."""
    matched = lone_tags(rules)
    missing = [f"{key}=*" for key in OPEN_KEYS if (key, "*") not in matched] + [
        f"{key}={value}"
        for key, values in CLOSED_TAGS.items()
        for value in values
        if not (matched | upgraded_tags()) & {(key, value), (key, "*")}
    ]
    if missing:
        raise BuildError(f"no category for {', '.join(missing)}; add it to {ALIASES_FILE.name}")


def deprecations(release: Release) -> list[dict[str, Tags]]:
    """List the upgrades of deprecated tags, those of most tags first, then in the schema's order.

    Left out are the three that hide a main tag behind a lifecycle prefix because of another tag
    (`railway=station` with `disused=yes`): a status is not a matter of deprecated tags.

    Raises:
        BuildError: An upgrade has a form that `osm/taxonomy.py` does not know.
    """
    listed: list[dict[str, Tags]] = []
    for item in release.deprecated:
        old, new = item["old"], item.get("replace", {})
        if any(key.partition(":")[0] in LIFECYCLE_PREFIXES and ":" in key for key in new):
            continue
        wildcards = [key for key, value in old.items() if value == "*"]
        captured = [value for value in new.values() if "$" in value]
        literal = [key for key in new if key in old and old[key] != "*"]
        understood = (
            set(item) <= {"old", "replace"}
            and len(wildcards) <= 1
            and all(value == "$1" for value in captured)
            and (not captured or wildcards)
            and not any(new[key] in {"*", "$1"} for key in literal)
        )
        if not understood:
            raise BuildError(f"the deprecation {item} has a form that is not understood")
        listed.append({"old": old, "replace": new})
    return sorted(listed, key=lambda item: -len(item["old"]))


def build(release: Release, languages: Sequence[str]) -> str:
    """Write the table as text."""
    categories: list[dict[str, Any]] = []
    upgrades = deprecations(release)
    for category, rules in sorted(rules_by_category(release.presets, upgrades).items()):
        own = own_categories().get(category)
        labels = own[1] if own else release.labels_of(category)
        categories.append(
            {
                "id": category,
                "labels": {key: labels[key] for key in languages if key in labels},
                "rules": sorted(rules, key=lambda rule: json.dumps(rule["tags"])),
            }
        )
    header = {
        "source": PACKAGE,
        "version": VERSION,
        "licence": "ISC",
        "copyright": "Copyright (c) iD Contributors",
        "generated_by": "scripts/build_taxonomy.py",
        "languages": list(languages),
    }
    listed: dict[str, Sequence[object]] = {
        "categories": categories,
        "deprecations": upgrades,
    }
    parts = [f'"header": {one_line(header)}']
    for name, items in listed.items():
        lines = ",\n".join(map(one_line, items))
        parts.append(f'"{name}": [\n{lines}\n]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def one_line(value: object) -> str:
    """Write a value as JSON on one line, Cyrillic as it is."""
    return json.dumps(value, ensure_ascii=False)


def fetch(folder: Path) -> Path:
    """Let npm download the pinned release into a folder."""
    npm = shutil.which("npm")
    if npm is None:
        raise BuildError("npm is not installed; install it, or name a tarball with --tarball")
    subprocess.run(  # noqa: S603  # a fixed command
        [npm, "pack", "--silent", "--pack-destination", str(folder), f"{PACKAGE}@{VERSION}"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return next(folder.glob("*.tgz"))


def main() -> int:
    """Build the table; write it or compare it."""
    parser = argparse.ArgumentParser(description=f"Build {OUTPUT.name} from {PACKAGE} {VERSION}.")
    parser.add_argument("--tarball", type=Path, help="the release as a file, instead of npm")
    parser.add_argument(
        "--languages", default="en,ru", help="languages of the labels (default: %(default)s)"
    )
    parser.add_argument("--check", action="store_true", help="only compare with the committed file")
    arguments = parser.parse_args()
    languages = arguments.languages.split(",")
    with tempfile.TemporaryDirectory() as folder:
        tarball = arguments.tarball or fetch(Path(folder))
        text = build(Release.read(tarball, languages), languages)
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
