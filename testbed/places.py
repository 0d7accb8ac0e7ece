"""Places as the matcher of promotion sees them, from the rows of a frame."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.promotion.rows import place_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingestion_pipeline.promotion.identity import Place

_JSON = ("categories", "names", "tags", "contact")
"""The columns that a frame holds as JSON text."""


def place_of_frame(row: Mapping[str, Any]) -> Place:
    """Return the place of a frame's row."""
    return place_of({**row, **{name: json.loads(row[name]) for name in _JSON}})
