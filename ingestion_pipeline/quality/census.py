"""A day in numbers: what is counted of it, and which earlier days it is compared with.

Belongs here: counting a frame, and choosing the days of a city's history that say what is usual.
Does not belong here: reading the history (`staging/history.py`), and judging (`counts.py`,
`shares.py`).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date

    import pyarrow as pa

NEW_LEVEL_DAYS = 3
"""The number of accepted days in a row that define a new level of the city."""


@dataclass(frozen=True)
class Census:
    """A day of a slice in numbers.

    Attributes:
        day: The UTC day.
        rules_version: The rules that its rows were made by.
        accepted: Whether an operator accepted it against a check.
        counts: Rows by category (`kind` of helper places).
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


def census_of(
    frame: pa.Table, *, day: date, rules_version: str, class_column: str, languages: Collection[str]
) -> Census:
    """Count a frame.

    Args:
        frame: The rows to stage.
        day: Their day.
        rules_version: The rules version of the rows.
        class_column: The column to count by: `category`, or `kind` of helper places.
        languages: The keys of `names` that count as the city's languages; see `language_keys`.
    """
    column = {
        name: frame.column(name).to_pylist()
        for name in (class_column, "opening_hours", "tags", "name", "names")
    }
    hours = [
        understood
        for understood, tags in zip(column["opening_hours"], column["tags"], strict=True)
        if "opening_hours" in json.loads(str(tags))
    ]
    names = [
        json.loads(str(names))
        for name, names in zip(column["name"], column["names"], strict=True)
        if name is not None
    ]
    return Census(
        day=day,
        rules_version=rules_version,
        accepted=False,
        counts=Counter(map(str, column[class_column])),
        with_hours=len(hours),
        unparsed_hours=sum(understood is None for understood in hours),
        named=len(names),
        in_languages=sum(any(language in each for language in languages) for each in names),
    )


def language_keys(languages: Sequence[str], local_language: str | None) -> tuple[str, ...]:
    """Return the keys of `names` that are in a city's languages.

    A plain name has the key `und`; it counts if the local language is one of the city's.
    """
    return (*languages, "und") if local_language in languages else tuple(languages)


def usual(history: Sequence[Census]) -> list[Census]:
    """Return the days that define what is usual in the city, the newest first.

    Leaves out accepted days, so that one bad day does not let the next one pass. Several accepted
    days in a row are the city's new level and replace the days before them. A city with only
    accepted days uses those.

    Args:
        history: Staged days, the newest first.
    """
    chosen: list[Census] = []
    accepted: list[Census] = []
    for census in history:
        if not census.accepted:
            chosen.append(census)
            accepted = []
            continue
        accepted.append(census)
        if len(accepted) == NEW_LEVEL_DAYS:
            return chosen + accepted
    return chosen or accepted
