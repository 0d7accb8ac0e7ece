"""The rules that make a dataset's rows: their name for people, and their identity.

Belongs here: which code and which releases of libraries make rows. Does not belong here: finding
the code (`code_digest.py`), and the evidence of a day (`provenance.py`).

Code is identified by its digest. `proven_rules.json` names a digest whose code was proven to make
the rows of an earlier release: then the name and the identity are those of that release, and days
that it staged stay staged. A change of the code ends that by itself. `scripts/prove_rules.py`
renews the file, and CONTRIBUTING.md tells when.
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
"""What has a hand in the rows; where one is another, a day is made again and compared."""

LIBRARIES_OF_FEEDS = ("rapidfuzz",)

FEED_CODE = (
    "ingestion_pipeline.helpers.link:link",
    "ingestion_pipeline.sources.feed.read:read_feed",
    "ingestion_pipeline.text.names:Namer",
)
"""The definitions that shape the rows of feeds, beside those of helper places."""

NAMED_LIBRARIES = ("phonenumbers", "anyascii", "pypinyin", "langcodes", "GEOS")
"""Libraries that decide what a reader sees: those that write telephone numbers and Latin letters,
the one that knows languages, and the one that finds points on surfaces."""


class Rules(NamedTuple):
    """What makes a dataset's rows out of raw bytes.

    Attributes:
        name: For people; kept with every staged day.
        identity: Equal for rules that are known to make equal rows.
        digest: Of the installed code and data.
    """

    name: str
    identity: tuple[str, ...]
    digest: str


@cache
def rules_of(dataset: str, code: Sequence[str], *data: str) -> Rules:
    """Return the rules of a dataset.

    Args:
        dataset: Its name; `feed` for all feeds.
        code: The definitions that shape its rows; see `code_digest.Code.needed`.
        data: Digests of what else shapes them.
    """
    packages = {"ingestion_pipeline", *(entry.partition(".")[0] for entry in code)}
    found = digest([_installed(frozenset(packages)).digest(code), *data])
    known = proven_rules().get(dataset)
    if known is not None and known["digest"] == found:
        return Rules(known["name"], tuple(known["identity"]), found)
    return Rules(f"{dataset} rules {found[:12]}", (found,), found)


def rules_of_feeds() -> Rules:
    """Return the rules that make the rows of feeds."""
    return rules_of("feed", FEED_CODE)


def proven_rules() -> dict[str, dict[str, Any]]:
    """Return by dataset which digest is proven, and the name and the identity that it has."""
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
    """Name the libraries that decide what a reader sees, with their releases."""
    releases = versions_of(NAMED_LIBRARIES)
    return "; ".join(map(" ".join, zip(NAMED_LIBRARIES, releases, strict=True)))
