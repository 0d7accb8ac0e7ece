"""Where a public place comes from: everything that is stored, and nothing that is computed anew.

Belongs here: reading what the tables have of a place. Does not belong here: how it is shown
(`cli/promotion.py`, `admin_api/promotions.py`).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingestion_pipeline.promotion import ledger, overrides, table
from ingestion_pipeline.promotion.rows import Row, from_json, to_json
from ingestion_pipeline.staging.database import read_transaction
from ingestion_pipeline.staging.tables import poi_identity

_IDENTITY = ("source", "source_ref", "from_promotion_id", "to_promotion_id", "evidence")


def explain(engine: sa.Engine, poi_id: str) -> dict[str, Any]:
    """Return where a place comes from, as JSON.

    Returns:
        `place`: its row, or its last one. `public`: whether it is public. `source`: the raw bytes
        (digest, location, `as_of`) and rules of the promotion that last changed it. `category` and
        `name`: the choice, and the tags that it was made from. `identities`: which objects stood
        for it, with the evidence of each link. `overrides`: all of them. `promotion`: the gates and
        the decision. `events`: what became public of it, the oldest first.

    Raises:
        UnknownPlace: No place has or had this id.
    """
    with read_transaction(engine) as connection:
        public = table.rows_of(connection, [poi_id]).get(poi_id)
        events = table.event_summaries(connection, poi_id)
        if not events:
            raise overrides.unknown_place(poi_id)
        row = public or from_json(
            next(event["before"] for event in reversed(events) if event["after"] is None)
        )
        promotion = ledger.find(connection, row["promotion_id"])
        identities = connection.execute(
            sa.select(*(poi_identity.c[name] for name in _IDENTITY))
            .where(poi_identity.c.poi_id == poi_id)
            .order_by(poi_identity.c.source_ref, poi_identity.c.from_promotion_id)
        ).mappings()
        return {
            "poi_id": poi_id,
            "public": public is not None,
            "place": to_json(row),
            "source": dict(promotion.evidence),
            "category": {
                "category": row["category"],
                "categories": row["categories"],
                "tags": _tags_of_category(row),
            },
            "name": {
                "name": row["name"],
                "name_source": row["name_source"],
                "tag": row["tags"].get(row["name_source"]),
            },
            "identities": [dict(each) for each in identities],
            "overrides": [
                {name: ledger.plain(value) for name, value in vars(each).items()}
                for each in overrides.in_order(connection, poi_id)
            ],
            "promotion": {
                "id": promotion.id,
                "day": promotion.day.isoformat(),
                "sequence": promotion.sequence,
                "decided_by": promotion.decided_by,
                "decision_reason": promotion.decision_reason,
                "promoted_at": ledger.plain(promotion.promoted_at),
                "reverts": promotion.reverts,
                "attribution": promotion.attribution,
                "gates": list(promotion.gates),
            },
            "events": [
                {name: ledger.plain(value) for name, value in each.items()} for each in events
            ],
        }


def _tags_of_category(row: Row) -> dict[str, str]:
    """Return the tags whose key and value are in a category: those that gave it."""
    parts = [set(category.split("/")) for category in row["categories"]]
    return {
        key: value
        for key, value in sorted(row["tags"].items())
        if any(key in each and not each.isdisjoint(value.split(";")) for each in parts)
        or any(key not in each and value in each for each in parts)
    }
