"""What a dataset is: one entry says everything in which it differs from the others.

Belongs here: the type of an entry. Does not belong here: the entries (one module for each, listed
in `registry.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ingestion_pipeline.datasets.rules import Rules, named_libraries, rules_of
from ingestion_pipeline.quality.catalogue import CHECKS
from ingestion_pipeline.staging.days import Slice
from ingestion_pipeline.staging.tables import CLASS_COLUMNS, JOB_TYPES, VERSION_TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    import sqlalchemy as sa

    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline.core.boundary import Boundary
    from ingestion_pipeline.core.evidence import SliceEvidence
    from ingestion_pipeline.core.frame import Frame
    from ingestion_pipeline.osm.features import Reading
    from ingestion_pipeline.osm.selection import Selection
    from ingestion_pipeline.quality.catalogue import Check

SOURCE = "osm"
"""The source of the slices that are made of OpenStreetMap."""

READERS = (
    "ingestion_pipeline.osm.boundary:boundary_of",
    "ingestion_pipeline.osm.boundary:known_boundary",
    "ingestion_pipeline.sources.city_clip:from_table",
    "ingestion_pipeline.sources.city_clip:to_table",
    "ingestion_pipeline.sources.overpass.client:read",
    "ingestion_pipeline.sources.pbf.extract:read",
    "ingestion_pipeline.sources.pbf.extract:read_each",
)
"""The definitions that read raw bytes, as `package.module:name`; those of a source that shape rows.
"""


class DayRead(NamedTuple):
    """What the rows of a city-day are made of.

    Attributes:
        reading: What was read of the raw bytes.
        city: The city.
        day: The UTC day; dates in tags are compared with it.
        boundary: The city's boundary.
        evidence: Of the rows.
    """

    reading: Reading
    city: City
    day: date
    boundary: Boundary
    evidence: SliceEvidence


class Counted(NamedTuple):
    """A column that is counted by value on the page of a materialization."""

    column: str
    heading: str


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset out of OpenStreetMap.

    Its table, class column, views and job type are declared with `staging.tables.version_table`.

    Attributes:
        name: Its name in keys, slices and manifests.
        things: What its rows are called.
        classes: What its classes are called.
        meanings: Returns what says in English what a class means.
        minimum_key: The key of the cities file that asserts how many rows there are at least.
        selection: Which objects are asked for.
        shape: Makes the rows.
        tables: Names the releases of the data tables by which it does.
        checks: The checks of a day, in the order in which they are shown.
        group: The group of its assets in Dagster.
        snapshot_asset: The asset that gets the raw bytes.
        frame_asset: The asset that makes the rows and stores them in the lake; None where the
            asset that stages makes them.
        staging_asset: The asset that stages.
        feeds_asset: The asset that gets the bytes of the city's feeds; None where the dataset has
            none.
        counted: Of which columns the values are counted, by the key of the metadata.
        counts: Under which key of the metadata each count of the frame is shown.
    """

    name: str
    things: str
    classes: str
    meanings: Callable[[], Callable[[str], str | None]]
    minimum_key: str
    selection: Selection
    shape: Callable[[DayRead], Frame]
    tables: Callable[[], tuple[str, ...]] = tuple
    checks: tuple[Check, ...] = CHECKS
    group: str
    snapshot_asset: str
    frame_asset: str | None = None
    staging_asset: str
    feeds_asset: str | None = None
    counted: Mapping[str, Counted] = field(default_factory=lambda: MappingProxyType({}))
    counts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def code(self) -> tuple[str, ...]:
        """The definitions that shape its rows; what they need is found from them."""
        return (*READERS, f"{self.shape.__module__}:{self.shape.__qualname__}")

    @property
    def rules(self) -> Rules:
        """The rules that make its rows."""
        return rules_of(self.name, self.code, self.selection.digest)

    @property
    def rules_version(self) -> str:
        """The name of its rules, with the releases of tables and libraries."""
        return "; ".join((self.rules.name, *self.tables(), named_libraries()))

    @property
    def table(self) -> sa.Table:
        """Its table of versions."""
        return VERSION_TABLES[self.name]

    @property
    def class_column(self) -> str:
        """The column that says what a thing is."""
        return CLASS_COLUMNS[self.name]

    @property
    def job_type(self) -> str:
        """The job that stages it."""
        return JOB_TYPES[self.name]

    @property
    def chain(self) -> tuple[str, ...]:
        """The assets of its job, in order; the first one fetches, the last one stages."""
        assets = (self.feeds_asset, self.snapshot_asset, self.frame_asset, self.staging_asset)
        return tuple(asset for asset in assets if asset is not None)

    def minimum_of(self, city: City) -> int:
        """Return the asserted minimum of a city; 0 where the cities file has no such key."""
        minimum: int = getattr(city, self.minimum_key, 0)
        return minimum

    def slice_of(self, city_slug: str, day: date) -> Slice:
        """Return the slice of a city-day out of OpenStreetMap."""
        return Slice(city_slug, self.name, SOURCE, day)
