"""The checks: their names, what each one says, and which of them keep a day out of staging.

Belongs here: what is to be known of a check before it has run. Does not belong here: the checks
themselves (`counts.py`, `frames.py`, `shares.py`, `parity.py`, `coverage.py`). What an operator
does when one fails stands in docs/checks.md; a test compares the two.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """A check of a city-day.

    Attributes:
        name: Its name, in Dagster and in the documents.
        blocking: Whether a day that it stops is not staged.
        description: What it says when it passes.
        what_to_do: What an operator does when it does not.
        acceptable: Whether an operator can stage a day that it stops: where the world may be as
            the day says. A row with a fault is never staged.
    """

    name: str
    blocking: bool
    description: str
    what_to_do: str
    acceptable: bool = False


_OURS = (
    "If the day has a frame, delete it (its path stands on the page of osm_pois). Run the day "
    "again. If the finding comes back, it is a fault of ours: report it."
)


COUNTS = Check(
    "counts",
    blocking=True,
    description="The day has about as many features as the city's earlier days, overall and in "
    "every sizeable category. A fall beyond the band stops the day; a rise, and a fall of a "
    "category under other rules, warns.",
    what_to_do="Look at the snapshot and at the map of the day. If upstream was wrong, run the day "
    "again with refetch. If the day is right, accept it with a reason: accept.reason in the run "
    "config, or poi-ingest run --accept.",
    acceptable=True,
)
GEOMETRY = Check(
    "geometry",
    blocking=True,
    description="Every feature has a geometry that can be read, is not empty, and is valid.",
    what_to_do=_OURS,
)
POSITION = Check(
    "position",
    blocking=True,
    description="The point of every feature lies inside the city's boundary and on its geometry.",
    what_to_do=_OURS,
)
UNIQUE_REFS = Check(
    "unique_refs",
    blocking=True,
    description="No feature occurs twice: every source_ref stands once.",
    what_to_do=_OURS,
)
LICENCE = Check(
    "licence",
    blocking=True,
    description="Every row names its licence and its attribution.",
    what_to_do=_OURS,
)
UNCLASSIFIED = Check(
    "unclassified",
    blocking=False,
    description="The share of features that have only the generic category of their key is about "
    "that of the city's earlier days, or smaller.",
    what_to_do="Look which categories there are now, on the page of osm_pois. A new tag belongs "
    "into the table of categories.",
)
OPENING_HOURS = Check(
    "opening_hours",
    blocking=False,
    description="The share of mapped opening hours that cannot be understood is about that of the "
    "city's earlier days, or smaller.",
    what_to_do="Look at rows with opening_hours among their tags and null in the column.",
)
NAMES = Check(
    "names",
    blocking=False,
    description="The share of named features with a name in one of the city's languages is about "
    "that of the city's earlier days, or greater.",
    what_to_do="Look at what became of the names: poi-ingest diff compares with the day before.",
)
PARITY = Check(
    "parity",
    blocking=False,
    description="Where the day is staged from the other source (Overpass, extract) already, the "
    "two agree: the same features, categories and positions, but for what was edited between "
    "their moments.",
    what_to_do="Look at the features that are named, in both sources. Other keys in the query, or "
    "an extract that cuts objects at its border, show here.",
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
"""The checks of a city-day, in the order in which they are shown."""


COVERAGE = Check(
    "coverage",
    blocking=False,
    description="Every enabled city has its latest due day staged.",
    what_to_do="Look at the runs of the cities that are named: poi-ingest runs --city SLUG. "
    "poi-ingest backfill stages days that were missed.",
)
"""The check of the whole installation; there is one for each job."""
