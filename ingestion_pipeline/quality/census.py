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
"""The number of accepted days in a row that define a new level of the city."""


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
