"""The census: a day of a slice in numbers.

Belongs here: the one type, for days that are staged and for those that would be. Does not belong
here: counting rows (`quality/census.py`), reading staged days (`staging/history.py`), and what
follows from the numbers (`quality/`).
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
    """A day of a slice in numbers.

    Attributes:
        day: The UTC day.
        rules_version: The rules that its rows were made by.
        accepted: Whether an operator accepted it against a check.
        counts: Rows by class: category, or `kind` of helper places.
        with_hours: Rows with opening hours as mapped.
        unparsed_hours: Of these, rows whose hours were not understood.
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
        """All rows."""
        return sum(self.counts.values())

    @property
    def unclassified(self) -> int:
        """Rows that have only their key's generic category, such as `shop`."""
        return sum(count for category, count in self.counts.items() if "/" not in category)

    def with_what_is_beneath(self) -> Counter[str]:
        """Count rows by category, each with everything more special.

        A pizzeria counts for `amenity/restaurant/pizza`, `amenity/restaurant` and `amenity`: a
        restaurant that gets its cuisine mapped leaves no category.
        """
        counts: Counter[str] = Counter()
        for category, count in self.counts.items():
            parts = category.split("/")
            for depth in range(1, len(parts) + 1):
                counts["/".join(parts[:depth])] += count
        return counts
