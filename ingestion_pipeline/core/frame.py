"""The frame: the rows of a city-day with everything that staging needs.

`datasets/` shapes frames, and `lake/frames.py` stores them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from ingestion_pipeline.core.boundary import Boundary
    from ingestion_pipeline.core.evidence import SliceEvidence
    from ingestion_pipeline.core.rejection import Rejection


@dataclass(frozen=True)
class Frame:
    """The rows of one slice of a city-day.

    Attributes:
        rows: `source_ref`, `source_hash`, `content_hash` and the content columns of the dataset's
            table; WKB for geometries (EPSG:4326), canonical JSON text for JSON columns.
        evidence: The evidence of the rows.
        boundary: The city's boundary on that day. A boundary read from the lake owns its edge.
        rejections: The selected objects that cannot be staged.
        counts: Counts of the shaping, such as `outside`.
    """

    rows: pa.Table
    evidence: SliceEvidence
    boundary: Boundary
    rejections: Sequence[Rejection]
    counts: Mapping[str, int]
