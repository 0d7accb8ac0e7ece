"""Opening hours in the one form of the OSM specification.

Belongs here: the library that reads them. Does not belong here: where the text is from.
"""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=100_000)
def normalized_hours(raw: str) -> str | None:
    """Write opening hours in the one form of the OSM specification; None if not understood."""
    from opening_hours.opening_hours import OpeningHours, ParserError

    try:
        return str(OpeningHours(raw).normalize())
    except ParserError:
        return None
