"""The list of sources of OpenStreetMap data, to which a new one is added.

The code of a source is named and not imported: settings and rules need only its name, and it is
above them (`sources/`).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple


class SourceCode(NamedTuple):
    """The code of a source.

    Attributes:
        implementation: Its class, as `package.module:name`.
        readers: The definitions that read its raw bytes, in the same form. Code that fetches is not
            included, because it does not shape rows.
    """

    implementation: str
    readers: tuple[str, ...]


SOURCE_CODE: Mapping[str, SourceCode] = {
    "overpass": SourceCode(
        "ingestion_pipeline.sources.overpass.source:OverpassSource",
        ("ingestion_pipeline.sources.overpass.client:read",),
    ),
    "extract": SourceCode(
        "ingestion_pipeline.sources.pbf.source:ExtractSource",
        (
            "ingestion_pipeline.sources.pbf.extract:read",
            "ingestion_pipeline.sources.pbf.extract:read_each",
        ),
    ),
}
"""The code of each source, by the name in settings, in the cities file and in evidence."""

if TYPE_CHECKING:
    SourceKind = str
else:
    SourceKind = Literal[tuple(SOURCE_CODE)]
