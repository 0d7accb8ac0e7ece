"""The datasets: what is asked of OpenStreetMap for each, and what makes its rows.

Belongs here: one entry for each dataset. Does not belong here: their tables (`staging/tables.py`),
jobs (`defs/jobs.py`), and the rules themselves (`osm/`, `helpers/`).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

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
        rules_version: Names the rules that make rows out of them.
        code: The packages, whose code has a hand in the rows.
    """

    name: str
    things: str
    minimum_key: str
    selection: Selection
    rules_version: Callable[[], str]
    code: tuple[str, ...]

    def minimum_of(self, city: City) -> int:
        """Give the asserted minimum of a city."""
        minimum: int = getattr(city, self.minimum_key)
        return minimum


def _poi_rules() -> str:
    from ingestion_pipeline.osm.normalize import rules_version

    return rules_version()


def _helper_rules() -> str:
    from ingestion_pipeline.helpers.derive import rules_version

    return f"{rules_version()}; {_poi_rules()}"


_CODE = (
    "ingestion_pipeline.columns",
    "ingestion_pipeline.core",
    "ingestion_pipeline.geometry",
    "ingestion_pipeline.osm",
    "ingestion_pipeline.sources",
    "ingestion_pipeline.sources.feed",
    "ingestion_pipeline.sources.overpass",
    "ingestion_pipeline.sources.pbf",
    "ingestion_pipeline.staging",
    "ingestion_pipeline.text",
)

POI = Dataset("poi", "POIs", "minimum_pois", POIS, _poi_rules, _CODE)
HELPER = Dataset(
    "helper",
    "helper places",
    "minimum_helpers",
    Selection(closed_tags=kinds.CLOSED_TAGS),
    _helper_rules,
    (*_CODE, "ingestion_pipeline.helpers"),
)

DATASETS: Mapping[str, Dataset] = MappingProxyType({each.name: each for each in (POI, HELPER)})
"""All of them, by name."""
