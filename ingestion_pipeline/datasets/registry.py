"""The datasets: what is asked of OpenStreetMap for each, and what makes its rows.

Belongs here: one entry for each dataset. Does not belong here: their tables (`staging/tables.py`),
jobs (`defs/jobs.py`), and the rules themselves (`osm/`, `helpers/`).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from ingestion_pipeline.datasets.rules import Rules, named_libraries, rules_of
from ingestion_pipeline.helpers import kinds
from ingestion_pipeline.osm.selection import POIS, Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ingestion_pipeline.config.cities import City


@dataclass(frozen=True)
class Dataset:
    """A dataset out of OpenStreetMap.

    Attributes:
        name: Its name in keys, slices and manifests.
        things: What its rows are called.
        minimum_key: The key of the cities file that asserts how many there are at least.
        selection: Which objects are asked for.
        code: The definitions that shape its rows, as `package.module:name`: what is called from
            elsewhere, and the classes of arguments. What they need is found from them.
        tables: Names the releases of the data tables that its rows are made by.
    """

    name: str
    things: str
    minimum_key: str
    selection: Selection
    code: tuple[str, ...]
    tables: Callable[[], tuple[str, ...]] = tuple

    @property
    def rules(self) -> Rules:
        """The rules that make its rows."""
        return rules_of(self.name, self.code, self.selection.digest)

    @property
    def rules_version(self) -> str:
        """The name of its rules, with the releases of tables and libraries."""
        return "; ".join((self.rules.name, *self.tables(), named_libraries()))

    def minimum_of(self, city: City) -> int:
        """Give the asserted minimum of a city."""
        minimum: int = getattr(city, self.minimum_key)
        return minimum


def _taxonomy() -> tuple[str, ...]:
    from ingestion_pipeline.osm.taxonomy import TAXONOMY_VERSION

    return (TAXONOMY_VERSION,)


_READ = (
    "ingestion_pipeline.osm.boundary:boundary_of",
    "ingestion_pipeline.osm.boundary:known_boundary",
    "ingestion_pipeline.sources.city_clip:from_table",
    "ingestion_pipeline.sources.city_clip:to_table",
    "ingestion_pipeline.sources.overpass.client:read",
    "ingestion_pipeline.sources.pbf.extract:read",
    "ingestion_pipeline.sources.pbf.extract:read_each",
)

POI = Dataset(
    name="poi",
    things="POIs",
    minimum_key="minimum_pois",
    selection=POIS,
    code=(
        *_READ,
        "ingestion_pipeline.osm.normalize:normalize",
        "ingestion_pipeline.osm.taxonomy:Taxonomy",
    ),
    tables=_taxonomy,
)
HELPER = Dataset(
    name="helper",
    things="helper places",
    minimum_key="minimum_helpers",
    selection=Selection(closed_tags=kinds.CLOSED_TAGS),
    code=(
        *_READ,
        "ingestion_pipeline.defs.assets.helpers:_objects",
        "ingestion_pipeline.helpers.derive:derive",
        "ingestion_pipeline.osm.locate:locate",
        "ingestion_pipeline.text.names:Namer",
    ),
)

DATASETS: Mapping[str, Dataset] = MappingProxyType({each.name: each for each in (POI, HELPER)})
"""All of them, by name."""


FEED_CODE = (
    "ingestion_pipeline.helpers.link:link",
    "ingestion_pipeline.sources.feed.read:read_feed",
    "ingestion_pipeline.text.names:Namer",
)
"""The definitions that shape the rows of feeds, beside those of helper places."""


def rules_of_feeds() -> Rules:
    """Return the rules that make the rows of feeds."""
    return rules_of("feed", FEED_CODE)
