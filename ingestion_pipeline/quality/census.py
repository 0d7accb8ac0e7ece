"""A day in numbers: what is counted of it, and which earlier days it is compared with.

Belongs here: counting a frame, and choosing the days of a city's history that say what is usual.
Does not belong here: reading the history (`staging/history.py`), and judging (`counts.py`,
`shares.py`).
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from ingestion_pipeline.core.census import Census

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import date

    import pyarrow as pa

NEW_LEVEL_DAYS = 3
"""So many accepted days in a row are the city's new level."""


def census_of(
    frame: pa.Table, *, day: date, rules_version: str, class_column: str, languages: Collection[str]
) -> Census:
    """Count a frame.

    Args:
        frame: The rows that would be staged.
        day: Their day.
        rules_version: The rules that they were made by.
        class_column: What they are counted by: `category`, or `kind` of helper places.
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
    """Give the keys of `names` that are in a city's languages.

    A plain name is `und` there; it is in the local language, where that is one of the city's.
    """
    return (*languages, "und") if local_language in languages else tuple(languages)


def usual(history: Sequence[Census]) -> list[Census]:
    """Choose the days that say what is usual in the city.

    A day that an operator accepted is none of them: one bad day must not open the door to the
    next. Several in a row are the city's new level, and what was before them is over. Where a
    city has no other days, they say as much as is known.

    Args:
        history: Staged days, the newest first.

    Returns:
        Days, the newest first.
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
