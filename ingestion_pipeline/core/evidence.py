"""Evidence of raw bytes and of rows: the time that data describes, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

OSM_LICENCE = "ODbL-1.0"
OSM_ATTRIBUTION = "© OpenStreetMap contributors"

OsmAsOfSource = Literal[
    "timestamp_osm_base", "attic_date", "replication_timestamp", "newest_object"
]
"""How the time of OpenStreetMap's data is known; `newest_object` is inferred."""


class Coverage(NamedTuple):
    """The area that an extract covers.

    Attributes:
        how: From the `.poly` file beside the extract, the header's bounding box, or the nodes.
        wkt: The area (EPSG:4326) as well-known text.
    """

    how: Literal["poly", "header", "nodes"]
    wkt: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The time that data describes, and where the data comes from.

    Attributes:
        as_of: The moment (UTC, aware) whose state the data shows.
        as_of_source: How `as_of` is known: an `OsmAsOfSource`, or a word of another source.
        obtained: The kind of source (`sources/registry.py`), or `feed`.
        location: URL or path, without credentials.
        licence: SPDX identifier.
        attribution: The text that a product must show.
    """

    as_of: datetime
    as_of_source: str
    obtained: str
    location: str
    licence: str = OSM_LICENCE
    attribution: str = OSM_ATTRIBUTION


@dataclass(frozen=True, kw_only=True)
class SnapshotEvidence(Evidence):
    """The evidence of raw bytes.

    Attributes:
        history: An object whose version before its last change up to `as_of` the Overpass server
            still has: the proof that its history reaches back that far. None if no past state was
            requested, and in manifests of versions without this proof.
        coverage: The area that an extract covers. None for other sources, and in manifests of
            versions that did not store it.
    """

    history: str | None = None
    coverage: Coverage | None = None


@dataclass(frozen=True, kw_only=True)
class SliceEvidence(Evidence):
    """The evidence of a slice's rows, and the findings of its checks.

    Each attribute is a column of `staged_partition`.

    Attributes:
        boundary_ref: The city's boundary, as in the idempotency key.
        digest: The digest of the raw bytes.
        rules_version: The rules that shaped the rows.
        inputs_digest: The digest of everything that the rows depend on, including the code.
        stale_reason: The failure of this day, if the rows are those of an earlier day.
        accepted_reason: Why an operator accepted the day although a check stopped it.
        warnings: The findings of checks that did not pass, by the name of the check.
        coverage: The `share` of the city that its extract covers, and `how` that is known.
    """

    boundary_ref: str
    digest: str
    rules_version: str
    inputs_digest: str
    stale_reason: str | None = None
    accepted_reason: str | None = None
    warnings: Mapping[str, str] | None = None
    coverage: Mapping[str, Any] | None = None
