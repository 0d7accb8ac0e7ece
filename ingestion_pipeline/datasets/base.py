"""The type of a dataset, which declares everything in which it differs from other datasets.

Each dataset has its own module and is listed in `registry.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ingestion_pipeline.config.sources import SOURCE_CODE
from ingestion_pipeline.datasets.rules import Rules, named_libraries, rules_of
from ingestion_pipeline.quality.catalogue import CHECKS

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
    from ingestion_pipeline.staging.days import Slice

SOURCE = "osm"
"""The source of slices from OpenStreetMap."""

READERS = (
    "ingestion_pipeline.osm.boundary:boundary_of",
    "ingestion_pipeline.osm.boundary:known_boundary",
    "ingestion_pipeline.sources.city_clip:from_table",
    "ingestion_pipeline.sources.city_clip:to_table",
    *(reader for source in SOURCE_CODE.values() for reader in source.readers),
)
"""The definitions that read raw bytes, as `package.module:name`."""


class DayRead(NamedTuple):
    """The input from which the rows of a city-day are shaped.

    Attributes:
        reading: The features that were read from the raw bytes.
        city: The city.
        day: The UTC day; dates in tags are compared with it.
        boundary: The city's boundary.
        evidence: The evidence of the rows.
    """

    reading: Reading
    city: City
    day: date
    boundary: Boundary
    evidence: SliceEvidence


class Counted(NamedTuple):
    """A column whose values are counted in the metadata of a materialization."""

    column: str
    heading: str


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset from OpenStreetMap.

    Its table, class column, views and job type are declared with `staging.tables.version_table`.

    Attributes:
        name: The name in keys, slices and manifests.
        things: The name of its rows in texts.
        classes: The name of its classes in texts.
        meanings: Returns a function that returns the English meaning of a class.
        minimum_key: The key of the cities file that asserts the minimum number of rows.
        selection: The selection of objects.
        shape: Returns the frame of a city-day.
        tables: Returns the names and releases of the data tables that `shape` uses.
        checks: The checks of a day, in display order.
        group: The Dagster group of its assets.
        snapshot_asset: The asset that fetches the raw bytes.
        frame_asset: The asset that shapes the rows and stores them in the lake; None if the
            staging asset shapes them.
        staging_asset: The asset that stages.
        feeds_asset: The asset that fetches the city's feeds; None if the dataset has no feeds.
        counted: The columns whose values are counted, by metadata key.
        counts: The metadata key of each count of the frame.
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
        """The definitions that shape its rows; their dependencies are found from them."""
        return (*READERS, f"{self.shape.__module__}:{self.shape.__qualname__}")

    @property
    def rules(self) -> Rules:
        """The rules that shape its rows."""
        return rules_of(self.name, self.code, self.selection.digest)

    @property
    def rules_version(self) -> str:
        """The name of its rules, with the releases of tables and libraries."""
        return "; ".join((self.rules.name, *self.tables(), named_libraries()))

    @property
    def table(self) -> sa.Table:
        """Its table of versions."""
        from ingestion_pipeline.staging.tables import VERSION_TABLES

        return VERSION_TABLES[self.name]

    @property
    def class_column(self) -> str:
        """The column with the class of a row."""
        from ingestion_pipeline.staging.tables import CLASS_COLUMNS

        return CLASS_COLUMNS[self.name]

    @property
    def job_type(self) -> str:
        """The job that stages it."""
        from ingestion_pipeline.staging.tables import JOB_TYPES

        return JOB_TYPES[self.name]

    @property
    def chain(self) -> tuple[str, ...]:
        """The assets of its job, in order; the first fetches, the last stages."""
        assets = (self.feeds_asset, self.snapshot_asset, self.frame_asset, self.staging_asset)
        return tuple(asset for asset in assets if asset is not None)

    def minimum_of(self, city: City) -> int:
        """Return the asserted minimum of a city; 0 if the cities file has none."""
        minimum: int = getattr(city, self.minimum_key, 0)
        return minimum

    def slice_of(self, city_slug: str, day: date) -> Slice:
        """Return the OpenStreetMap slice of a city-day."""
        from ingestion_pipeline.staging.days import Slice

        return Slice(city_slug, self.name, SOURCE, day)
