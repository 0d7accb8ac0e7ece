"""The rules that shape a dataset's rows: their readable name and their identity.

Code is identified by its digest (`code_digest.py`). `proven_rules.json` lists digests of code that
was proven to shape the same rows as an earlier release. Such rules have the name and the identity
of that release, so days that it staged stay staged. Any change of the code changes its digest, and
the entry no longer applies. `scripts/previous_release.py` renews the file; CONTRIBUTING.md explains
when to run it.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from ingestion_pipeline.columns.hashing import digest
from ingestion_pipeline.datasets.code_digest import Code

if TYPE_CHECKING:
    from collections.abc import Sequence

PROVEN_FILE = "proven_rules.json"

LIBRARIES = (
    *("shapely", "pyproj", "numpy", "protobuf", "msgspec", "pyarrow"),
    *("email-validator", "idna", "ada-url", "regex", "langcodes"),
)
"""Libraries that affect rows. If a release changes, a day is shaped again and compared."""

LIBRARIES_OF_FEEDS = ("rapidfuzz",)
"""Libraries that affect rows of feeds. Repairs by ftfy are used only where they are certain, so
another release makes the same."""

LIBRARIES_OF_GEODATA = ("pyogrio",)
"""Libraries that affect rows of feeds in the formats that GDAL reads."""

FEED_CODE = (
    "ingestion_pipeline.helpers.link:link",
    "ingestion_pipeline.sources.feed.read:read_feed",
    "ingestion_pipeline.text.names:Namer",
)
"""The definitions that shape the rows of feeds, in addition to those of helper places."""

NAMED_LIBRARIES = ("phonenumbers", "anyascii", "pypinyin", "langcodes", "GEOS")
"""Libraries whose output is visible in rows: phone numbers, transliteration, languages, and
representative points."""


class Rules(NamedTuple):
    """The rules that shape a dataset's rows from raw bytes.

    Attributes:
        name: A readable name, which is stored with every staged day.
        identity: Equal for rules that are known to shape equal rows.
        digest: The digest of the installed code and data.
    """

    name: str
    identity: tuple[str, ...]
    digest: str


@cache
def rules_of(dataset: str, code: Sequence[str], *data: str) -> Rules:
    """Return the rules of a dataset.

    Args:
        dataset: The dataset's name; `feed` for all feeds.
        code: The definitions that shape its rows; see `code_digest.Code.needed`.
        data: Digests of other data that shapes them.
    """
    packages = {"ingestion_pipeline", *(entry.partition(".")[0] for entry in code)}
    found = digest([_installed(frozenset(packages)).digest(code), *data])
    known = proven_rules().get(dataset)
    if known is not None and known["digest"] == found:
        return Rules(known["name"], tuple(known["identity"]), found)
    return Rules(f"{dataset} rules {found[:12]}", (found,), found)


def rules_of_feeds() -> Rules:
    """Return the rules that shape the rows of feeds."""
    return rules_of("feed", FEED_CODE)


def proven_rules() -> dict[str, dict[str, Any]]:
    """Return the proven digest of each dataset, with its name and identity."""
    file = files("ingestion_pipeline.datasets").joinpath(PROVEN_FILE)
    proven: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return proven


@cache
def _installed(packages: frozenset[str]) -> Code:
    return Code(packages)


def versions_of(libraries: Sequence[str]) -> tuple[str, ...]:
    """Return the installed release of each library."""
    return tuple(map(_version_of, libraries))


@cache
def _version_of(library: str) -> str:
    if library == "GEOS":
        import shapely

        return ".".join(map(str, shapely.geos_version))
    return version(library)


def named_libraries() -> str:
    """Return the names and releases of `NAMED_LIBRARIES`."""
    releases = versions_of(NAMED_LIBRARIES)
    return "; ".join(map(" ".join, zip(NAMED_LIBRARIES, releases, strict=True)))
