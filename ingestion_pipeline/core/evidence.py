"""Evidence: the time that data describes, and where the data comes from.

Belongs here: the values that a source returns with its bytes. Does not belong here: how a source
obtains them (`sources/`), and where they are stored (`lake/`, `staging/`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

OSM_LICENCE = "ODbL-1.0"
OSM_ATTRIBUTION = "© OpenStreetMap contributors"


class Coverage(NamedTuple):
    """The area that an extract covers.

    Attributes:
        how: From the `.poly` file beside the extract, the header's bounding box, or the nodes.
        wkt: The area (EPSG:4326) as well-known text.
    """

    how: Literal["poly", "header", "nodes"]
    wkt: str


@dataclass(frozen=True)
class Evidence:
    """What the data itself says of when it was true, and where it came from.

    Attributes:
        as_of: The moment (UTC, aware) whose state the data shows.
        as_of_source: How `as_of` is known: `timestamp_osm_base`, `attic_date`,
            `replication_timestamp`, or `newest_object` (inferred).
        obtained: `overpass` or `extract`.
        location: URL or path, without credentials.
        query: The Overpass QL text (the first part's, where the bbox was split), or None.
        history: An object that the server still knows as it was before its last change up to
            `as_of`: the proof that its history reaches back that far. None where no state of the
            past was asked for.
        licence: SPDX identifier.
        attribution: The text that a product must show.
        coverage: What the extract covers; None of Overpass, which answers for what was asked.
    """

    as_of: datetime
    as_of_source: Literal[
        "timestamp_osm_base", "attic_date", "replication_timestamp", "newest_object"
    ]
    obtained: Literal["overpass", "extract"]
    location: str
    query: str | None
    history: str | None = None
    licence: str = OSM_LICENCE
    attribution: str = OSM_ATTRIBUTION
    coverage: Coverage | None = None
