"""The census: the row counts of a slice.

`quality/census.py` counts rows before they are staged, and `staging/history.py` counts staged rows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date


@dataclass(frozen=True)
class Census:
    """The row counts of a slice.

    Attributes:
        day: The UTC day.
        rules_version: The rules that shaped its rows.
        accepted: Whether an operator accepted the day although a check stopped it.
        counts: Rows by class: category of POIs, or kind of helper places.
        with_hours: Rows with opening hours as mapped.
        unparsed_hours: Of these, rows whose opening hours could not be parsed.
        named: Rows with a display name.
        in_languages: Of these, rows with a name in one of the city's languages.
    """

    day: date
    rules_version: str
    accepted: bool
    counts: Mapping[str, int]
    with_hours: int
    unparsed_hours: int
    named: int
    in_languages: int

    @property
    def total(self) -> int:
        """The number of rows."""
        return sum(self.counts.values())

    @property
    def unclassified(self) -> int:
        """The number of rows with only the generic category of their key, such as `shop`."""
        return sum(count for category, count in self.counts.items() if "/" not in category)

    def with_what_is_beneath(self) -> Counter[str]:
        """Return the counts by category, each including its subcategories.

        A pizzeria counts for `amenity/restaurant/pizza`, `amenity/restaurant` and `amenity`. So a
        restaurant whose cuisine is added still counts for the categories that it had.
        """
        counts: Counter[str] = Counter()
        for category, count in self.counts.items():
            parts = category.split("/")
            for depth in range(1, len(parts) + 1):
                counts["/".join(parts[:depth])] += count
        return counts
