"""Rejections: objects that were selected and cannot be staged.

Belongs here: the one type, and OpenStreetMap's reasons. Does not belong here: who rejects (`osm/`,
`sources/`), and how rejections are stored (`staging/rejections.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

RejectionReason = Literal[
    "no_geometry",
    "missing_nodes",
    "invalid_coordinates",
    "no_main_tag",
    "invalid_text",
    "invalid_version",
    "not_a_place",
    "too_much_text",
]
"""Why an object of OpenStreetMap is not staged (documented in docs/data-dictionary.md).

- `missing_nodes`: a way none of whose nodes the source has (Overpass: `geometry: []`).
- `no_geometry`: a relation none of whose members, nor of theirs, has a geometry.
- `invalid_coordinates`: a coordinate outside -180..180 / -90..90, or not a number.
- `no_main_tag`: nothing is left that makes it a POI (`amenity=no`).
- `not_a_place`: a road, a railway, a river or a route, of which a main tag only says something
  (`highway=residential` with `historic=yes`).
- `too_much_text`: its tags are longer together than `complexity.MAX_TEXT`.
- `invalid_text`: a tag that no database stores (`core/characters.py`).
- `invalid_version`: a version above 32 bits.
"""


@dataclass(frozen=True)
class Rejection:
    """An object that was selected upstream and cannot be staged.

    The attributes are columns of `ingestion_rejection`.

    Attributes:
        source_ref: `node/123`, `way/123`, `relation/123`, or `record/<number>` of a feed.
        reason: Why: a word that the source documents, such as `RejectionReason`.
        detail: A sentence for a person.
        raw: What upstream said of the object (storable JSON; no user names, no uids).
    """

    source_ref: str
    reason: str
    detail: str
    raw: dict[str, Any]
