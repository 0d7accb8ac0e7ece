"""The dataset of points of interest.

Its rules are in `osm/`, its table in `staging/tables.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingestion_pipeline.core.frame import Frame
from ingestion_pipeline.datasets.base import Counted, Dataset, DayRead
from ingestion_pipeline.osm.selection import POIS

if TYPE_CHECKING:
    from collections.abc import Callable

_COUNTS = {
    "outside": "outside_boundary",
    "generic": "only_generic_category",
    "unparsed_opening_hours": "opening_hours_not_understood",
    "unparsed_contacts": "contacts_not_understood",
    "transliterated_names": "transliterated_names",
}


def shape(read: DayRead) -> Frame:
    """Return the frame of a day's POIs."""
    from ingestion_pipeline.osm.normalize import normalize
    from ingestion_pipeline.osm.taxonomy import Taxonomy

    pois = normalize(
        read.reading.features,
        boundary=read.boundary,
        day=read.day,
        languages=read.city.languages,
        local_language=read.city.local_language,
        country=read.city.country,
        taxonomy=Taxonomy.load(),
        licence=read.evidence.licence,
        attribution=read.evidence.attribution,
    )
    return Frame(
        pois.table,
        read.evidence,
        read.boundary,
        read.reading.rejections + pois.rejections,
        {name: getattr(pois, name) for name in _COUNTS},
    )


def _tables() -> tuple[str, ...]:
    from ingestion_pipeline.osm.taxonomy import TAXONOMY_VERSION

    return (TAXONOMY_VERSION,)


def _meanings() -> Callable[[str], str | None]:
    from ingestion_pipeline.osm.taxonomy import Taxonomy

    taxonomy = Taxonomy.load()
    return lambda category: taxonomy.label(category, "en")


POI = Dataset(
    name="poi",
    things="POIs",
    classes="categories",
    meanings=_meanings,
    minimum_key="minimum_pois",
    selection=POIS,
    shape=shape,
    tables=_tables,
    group="osm",
    snapshot_asset="osm_snapshot",
    frame_asset="osm_pois",
    staging_asset="poi_staging",
    counted={
        "categories": Counted("category", "category"),
        "geometry_quality": Counted("geom_quality", "quality"),
        "point_source": Counted("point_source", "point from"),
        "status": Counted("status", "status"),
    },
    counts=_COUNTS,
)
