"""The frame: a day's rows with everything that staging needs to know of them.

Belongs here: the one type that goes from shaping to staging. Does not belong here: making one
(`datasets/`), and how it is stored between two assets (`lake/frames.py`).
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
        evidence: Of what time the rows are, and what they were made of.
        boundary: The city's boundary on that day. One that is read from the lake owns its edge.
        rejections: What was selected and cannot be staged.
        counts: What was counted while the rows were made, such as `outside`.
    """

    rows: pa.Table
    evidence: SliceEvidence
    boundary: Boundary
    rejections: Sequence[Rejection]
    counts: Mapping[str, int]
