"""A city-day to stage invented rows for: its slice, evidence and claim; staging it.

Does not belong here: the rows.
"""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from ingestion_pipeline.core.evidence import SliceEvidence
from ingestion_pipeline.core.identity import JobKey, JobType
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.days import Slice
from ingestion_pipeline.staging.slices import SliceInput, SliceResult, replace_slices

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    import sqlalchemy as sa

    from ingestion_pipeline.core.rejection import Rejection

NOW = datetime(2026, 11, 20, 3, 4, 5, tzinfo=UTC)


def slice_of(city: str, day: date) -> Slice:
    """Name the slice of a city's POIs from OpenStreetMap."""
    return Slice(city, "poi", "osm", day)


def evidence_of(day: date, *, digest: str = "0" * 64, inputs: str = "0" * 32) -> SliceEvidence:
    """Evidence that depends on the day alone."""
    return SliceEvidence(
        boundary_ref="bbox:0,0,1,1",
        as_of=datetime(day.year, day.month, day.day, 21, tzinfo=UTC),
        as_of_source="replication_timestamp",
        obtained="extract",
        location="invented.osm.pbf",
        digest=digest,
        rules_version="test",
        licence="ODbL-1.0",
        attribution="© OpenStreetMap contributors",
        inputs_digest=inputs,
    )


def claim_key(
    engine: sa.Engine,
    city: str,
    day: date,
    *,
    job_type: JobType = "osm_import",
    boundary_ref: str = "bbox:0,0,1,1",
    now: datetime = NOW,
) -> runs.Claim:
    """Claim a city-day for a run of its own."""
    claimed = runs.claim(
        engine,
        JobKey(job_type, city, boundary_ref, day),
        dagster_run_id=str(uuid.uuid4()),
        worker="test",
        trigger="cli",
        is_alive=lambda _: True,
        now=now,
    )
    assert isinstance(claimed, runs.Claim)
    return claimed


def replace_slice(
    engine: sa.Engine,
    target: Slice,
    rows: pa.Table,
    *,
    rejections: Sequence[Rejection],
    evidence: SliceEvidence,
    claim: runs.Claim,
    now: datetime,
) -> SliceResult:
    """Stage the only slice of a day; see `replace_slices`."""
    slices = [SliceInput(target, rows, rejections, evidence)]
    return replace_slices(engine, slices, claim=claim, now=now)[target]
