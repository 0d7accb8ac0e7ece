"""The dataset of helper places, such as toilets, drinking water and cash machines.

Its rules are in `helpers/`, its table in `staging/tables.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingestion_pipeline.core.frame import Frame
from ingestion_pipeline.datasets.base import Counted, Dataset, DayRead
from ingestion_pipeline.helpers import kinds
from ingestion_pipeline.osm.selection import Selection
from ingestion_pipeline.quality.catalogue import CHECKS, UNCLASSIFIED

if TYPE_CHECKING:
    from collections.abc import Callable


def shape(read: DayRead) -> Frame:
    """Return the frame of a day's helper places."""
    import numpy as np

    from ingestion_pipeline.helpers.derive import derive
    from ingestion_pipeline.osm.locate import locate
    from ingestion_pipeline.text.names import Namer

    located = locate(read.reading.features, read.boundary)
    features = located.features
    helpers = derive(
        located.columns(np.arange(len(features))),
        list(features.tags),
        day=read.day,
        namer=Namer(read.city.languages, read.city.local_language),
        licence=read.evidence.licence,
        attribution=read.evidence.attribution,
    )
    table = helpers.table
    return Frame(
        table,
        read.evidence,
        read.boundary,
        read.reading.rejections + located.rejections,
        {
            "derived": table.num_rows - table.column("parent_ref").null_count,
            "unparsed_opening_hours": helpers.unparsed_opening_hours,
            "unparsed_values": helpers.unparsed_values,
            "outside": located.outside,
        },
    )


def _meanings() -> Callable[[str], str | None]:
    return lambda kind: kinds.KINDS[kind].meaning


HELPER = Dataset(
    name="helper",
    things="helper places",
    classes="kinds",
    meanings=_meanings,
    minimum_key="minimum_helpers",
    selection=Selection(closed_tags=kinds.CLOSED_TAGS),
    shape=shape,
    # Kinds have no hierarchy, so none is unclassified.
    checks=tuple(check for check in CHECKS if check != UNCLASSIFIED),
    group="helpers",
    snapshot_asset="helper_snapshot",
    staging_asset="helper_places",
    feeds_asset="helper_feeds",
    counted={"kinds": Counted("kind", "kind")},
    counts={
        "derived": "derived",
        "unparsed_opening_hours": "opening_hours_not_understood",
        "unparsed_values": "values_not_understood",
        "outside": "outside_boundary",
    },
)
