"""Opening hours in the one form of the OSM specification.

Belongs here: reading and writing them. Does not belong here: which rows have them, and keeping the
text as it was mapped (`osm/normalize.py`).
"""

from functools import lru_cache


@lru_cache(maxsize=100_000)
def normalized_hours(raw: str) -> str | None:
    """Write opening hours in the one form of the OSM specification; None if not understood."""
    from opening_hours.opening_hours import OpeningHours, ParserError

    try:
        return str(OpeningHours(raw).normalize())
    except ParserError:
        return None
