"""Places whose names, tags, contacts and licences are markup and worse."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa

from ingestion_pipeline.columns.hashing import with_content_hash
from ingestion_pipeline_tests.support.staged import poi_rows
from testbed.claims import claim_key, evidence_of, replace_slice, slice_of

if TYPE_CHECKING:
    from datetime import date

    import sqlalchemy as sa

MARKUP = '<img src=x onerror="document.title=1"><script>document.title = 2</script>'
LONG = "long " * 2000
NAMES = {
    "node/1": MARKUP,
    "node/2": "</script><script>document.title = 3</script>",
    "node/3": "<!--<script>",
    "node/4": LONG,
    "node/5": "مقهى القدس \u202e reversed",
    "node/6": "☕️ 👩‍👩‍👧‍👦 🇲🇨",
    "node/7": "{{data}} {{nonce}} \\u003c/script\\u003e ${1+1}",
    "node/8": "'\"`&amp;&lt;",
    "node/9": " \t\u2028\u2029 blank",
}
"""The names of places by their refs; the other texts of a place are its name."""

BEFORE = {"node/1": "a", "node/10": MARKUP}
"""Those of the earlier day."""


def stage_hostile(
    engine: sa.Engine, city: str, earlier: date, later: date, *, licence: str | None = None
) -> None:
    """Stage two days of a city; with a real licence, they can be promoted."""
    for day, names in ((earlier, BEFORE), (later, NAMES)):
        rows = poi_rows(names)
        texts = list(names.values())
        tags = [json.dumps({"amenity": "cafe", text[:250]: text}) for text in texts]
        website = json.dumps({"website": ["javascript:alert(1)", "https://example.org/"]})
        other = {
            "tags": tags,
            "names": [json.dumps({"ar": text, "x": text}) for text in texts],
            "contact": [website] * len(texts),
            "opening_hours": texts,
            "licence": [licence or text for text in texts],
            "attribution": texts,
        }
        for column, values in other.items():
            place = rows.column_names.index(column)
            rows = rows.set_column(place, column, pa.array(values, pa.string()))
        replace_slice(
            engine,
            slice_of(city, day),
            with_content_hash(rows.drop_columns(["content_hash"])),
            rejections=(),
            evidence=evidence_of(day),
            claim=claim_key(engine, city, day),
            now=evidence_of(day).as_of,
        )
