"""The catalogue of checks: names, descriptions, and which of them block staging.

`counts.py`, `frames.py`, `shares.py`, `parity.py` and `coverage.py` implement them. A test compares
this catalogue with docs/checks.md.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """A check of a city-day.

    Attributes:
        name: Its name in Dagster and the documentation.
        blocking: Whether a failure keeps the day out of staging.
        description: The condition that it checks.
        what_to_do: What an operator does when it fails.
        acceptable: Whether an operator can stage a day that fails it, because the data may be right
            all the same. An invalid row is never staged.
    """

    name: str
    blocking: bool
    description: str
    what_to_do: str
    acceptable: bool = False


_BUG = (
    "If the day has a frame, delete it (the page of osm_pois has its path). Run the day again. If "
    "the finding occurs again, it is a bug: report it."
)

COUNTS = Check(
    "counts",
    blocking=True,
    description="The day has about as many features as the city's earlier days, overall and in "
    "every sizeable category. A fall below the band stops the day. A rise, and a fall of a "
    "category after a change of rules, warns.",
    what_to_do="Check the snapshot and the map of the day. If upstream was wrong, run the day "
    "again with refetch. If the day is right, accept it with a reason: accept.reason in the run "
    "config, or poi-ingest run --accept.",
    acceptable=True,
)
GEOMETRY = Check(
    "geometry",
    blocking=True,
    description="Every feature has a geometry that can be read, is not empty, and is valid.",
    what_to_do=_BUG,
)
POSITION = Check(
    "position",
    blocking=True,
    description="The point of every feature lies inside the city's boundary and on its geometry.",
    what_to_do=_BUG,
)
UNIQUE_REFS = Check(
    "unique_refs",
    blocking=True,
    description="No feature occurs twice: every source_ref is unique.",
    what_to_do=_BUG,
)
LICENCE = Check(
    "licence",
    blocking=True,
    description="Every row has a licence and an attribution.",
    what_to_do=_BUG,
)
UNCLASSIFIED = Check(
    "unclassified",
    blocking=False,
    description="The share of features with only the generic category of their key is about that "
    "of the city's earlier days, or smaller.",
    what_to_do="Check the categories on the page of osm_pois. Add a new tag to the table of "
    "categories.",
)
OPENING_HOURS = Check(
    "opening_hours",
    blocking=False,
    description="The share of mapped opening hours that cannot be parsed is about that of the "
    "city's earlier days, or smaller.",
    what_to_do="Check the rows with opening_hours among their tags and null in the column.",
)
NAMES = Check(
    "names",
    blocking=False,
    description="The share of named features with a name in one of the city's languages is about "
    "that of the city's earlier days, or greater.",
    what_to_do="Compare with the day before: poi-ingest diff.",
)
PARITY = Check(
    "parity",
    blocking=False,
    description="If the day is staged from the other source (Overpass, extract) already, both have "
    "the same features, categories and positions, except for edits between their moments.",
    what_to_do="Compare the listed features in both sources. Possible causes are other keys in the "
    "query, and an extract that cuts objects at its border.",
)

CHECKS = (
    COUNTS,
    GEOMETRY,
    POSITION,
    UNIQUE_REFS,
    LICENCE,
    UNCLASSIFIED,
    OPENING_HOURS,
    NAMES,
    PARITY,
)
"""The checks of a city-day, in display order."""


COVERAGE = Check(
    "coverage",
    blocking=False,
    description="Every enabled city has its latest due day staged.",
    what_to_do="Check the runs of the listed cities: poi-ingest runs --city SLUG. Stage missed "
    "days with poi-ingest backfill.",
)
"""The check of the whole installation, one for each job."""
