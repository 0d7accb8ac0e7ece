"""Which staged days wait to be promoted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ingestion_pipeline.datasets.base import SOURCE
from ingestion_pipeline.promotion.ledger import DATASET
from ingestion_pipeline.staging.days import slices_of_day
from ingestion_pipeline.staging.history import newest_days

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    import sqlalchemy as sa

    from ingestion_pipeline.config.cities import City


class Due(NamedTuple):
    """The newest staged day of a city that is promoted.

    Attributes:
        city_slug: The city.
        day: The day.
        run_id: The run that staged it; another one where it was staged again from other inputs.
    """

    city_slug: str
    day: date
    run_id: str


def due(engine: sa.Engine, cities: Iterable[City]) -> list[Due]:
    """Return the newest staged day of each city whose policy is not `off`.

    Promoting one that is public or proposed already changes nothing. A city that is `off` is not
    asked for in the database.
    """
    promoted = {(city.slug, city.boundary_key) for city in cities if city.promotion != "off"}
    if not promoted:
        return []
    slugs = sorted(slug for slug, _ in promoted)
    newest = newest_days(engine, dataset=DATASET, source=SOURCE, slugs=slugs)
    return [
        Due(slug, day, staged["run_id"])
        for (slug, boundary), day in sorted(newest.items())
        if (slug, boundary) in promoted
        for staged in slices_of_day(engine, slug, day, dataset=DATASET)
        if staged["source"] == SOURCE
    ]
