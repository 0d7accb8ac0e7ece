"""Reading the event feed, page after page, from the view `poi_feed` alone.

Belongs here: positions in a city's feed. Does not belong here: what an event is (`events.py`).

Only a promotion that happened has events in the view, all at once, and after those of the city's
earlier promotions. So a position stays valid, and nothing is inserted before it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from ingestion_pipeline.promotion.errors import UnknownPromotion
from ingestion_pipeline.promotion.ledger import DATASET
from ingestion_pipeline.staging.views import view

LAST = 2**31 - 1
"""A number after that of any event."""


class Position(NamedTuple):
    """A position in a city's feed: after an event, or with `LAST` after a promotion."""

    promotion_id: str
    number: int = LAST


def events_after(
    connection: sa.Connection, city_slug: str, position: Position | None, *, limit: int
) -> list[dict[str, Any]]:
    """Return events of a city in their order, as rows of the view.

    Args:
        connection: In a transaction.
        city_slug: The city.
        position: Where to continue; None for the beginning.
        limit: The maximum number of events.

    Raises:
        UnknownPromotion: The city's feed has no event of the position's promotion.
    """
    feed = view("poi_feed")
    of_city = (feed.c.city_slug == city_slug, feed.c.dataset == DATASET)
    query = sa.select(feed).where(*of_city).order_by(feed.c.sequence, feed.c.number).limit(limit)
    if position is not None:
        sequence = connection.execute(
            sa.select(feed.c.sequence)
            .where(*of_city, feed.c.promotion_id == position.promotion_id)
            .limit(1)
        ).scalar_one_or_none()
        if sequence is None:
            raise UnknownPromotion(
                f"City {city_slug!r} has no public event of promotion {position.promotion_id}. "
                "Use the promotion_id of an event, or read from the beginning."
            )
        # The first condition alone bounds what the index on the sequence gives.
        query = query.where(
            feed.c.sequence >= sequence,
            sa.or_(feed.c.sequence > sequence, feed.c.number > position.number),
        )
    return [dict(row) for row in connection.execute(query).mappings()]
