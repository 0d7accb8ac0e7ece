"""The frame of a city-day: shaped from its snapshot, and stored if the dataset has a frame asset.

This module also decides whether a stored frame is still current. The rows are defined in
`datasets/`, the file format in `lake/frames.py`.
"""

import logging
from dataclasses import replace

from ingestion_pipeline.core.evidence import SliceEvidence
from ingestion_pipeline.core.frame import Frame
from ingestion_pipeline.datasets.base import Dataset, DayRead
from ingestion_pipeline.datasets.provenance import evidence_of
from ingestion_pipeline.defs import metadata, snapshots
from ingestion_pipeline.defs.extract_coverage import require_covered
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.defs.work import ClaimedPartition
from ingestion_pipeline.lake.errors import FrameOutdated, SnapshotDamaged, SnapshotMissing
from ingestion_pipeline.lake.frames import frame_key, read_evidence, read_frame, write_frame
from ingestion_pipeline.lake.snapshots import Manifest
from ingestion_pipeline.staging import runs

# The command line prints it; `managed_python_loggers` in dagster.yaml adds it to the run's log.
log = logging.getLogger(__name__)

MANY_FEATURES = 50_000
"""From here on the log says that rows are being shaped, which takes several seconds."""


def store_frame(
    pipeline: PipelineResources, work: ClaimedPartition, dataset: Dataset
) -> tuple[Frame, bool]:
    """Shape and store the day's frame, unless the stored one is current.

    Returns:
        The frame, and whether the stored one was reused.
    """
    manifest = snapshots.obtained(pipeline, work, dataset)
    evidence = evidence_of(work.city, manifest)
    with snapshots.reading_candidate(pipeline, work, manifest):
        frame = _stored(pipeline, work, dataset, evidence)
        reused = frame is not None
        if frame is None:
            frame = _shaped(pipeline, work, dataset, manifest, evidence)
            runs.require(pipeline.engine, work.claim)
            write_frame(pipeline.lake, _key(work, dataset), frame)
    log.info(metadata.sentence_on_frame(frame, dataset, reused=reused))
    return frame, reused


def current_evidence(
    pipeline: PipelineResources, work: ClaimedPartition, dataset: Dataset
) -> SliceEvidence:
    """Return the evidence of the day's rows without reading or shaping them.

    Raises:
        SnapshotMissing: The day has no frame.
        FrameOutdated: The snapshot, the rules, or the settings of the city differ from the frame's.
    """
    if dataset.frame_asset is None:
        return evidence_of(work.city, snapshots.obtained(pipeline, work, dataset))
    evidence = read_evidence(pipeline.lake, _key(work, dataset))
    manifest = snapshots.stored(pipeline, work, dataset)
    if (
        manifest is not None
        and evidence_of(work.city, manifest).inputs_digest != evidence.inputs_digest
    ):
        raise FrameOutdated(
            f"the frame of {work.city.slug} on {work.day} was made from another snapshot than the "
            "day has now, by other rules, or with other settings of the city; materialize "
            f"{dataset.frame_asset} of this partition first"
        )
    return evidence


def current_frame(pipeline: PipelineResources, work: ClaimedPartition, dataset: Dataset) -> Frame:
    """Return the day's frame: the stored one, or a new one if the dataset stores no frames."""
    if dataset.frame_asset is not None:
        return read_frame(pipeline.lake, _key(work, dataset))
    manifest = snapshots.obtained(pipeline, work, dataset)
    with snapshots.reading_candidate(pipeline, work, manifest):
        return _shaped(pipeline, work, dataset, manifest, evidence_of(work.city, manifest))


def address_of(pipeline: PipelineResources, work: ClaimedPartition, dataset: Dataset) -> str:
    """Return the address of the day's frame in the lake."""
    return pipeline.lake.address(_key(work, dataset))


def _shaped(
    pipeline: PipelineResources,
    work: ClaimedPartition,
    dataset: Dataset,
    manifest: Manifest,
    evidence: SliceEvidence,
) -> Frame:
    """Return the frame of a snapshot.

    Raises:
        OsmError: The snapshot cannot be read, belongs to another city, or does not cover the city.
        TooFewPois: The rows are fewer than the city's asserted minimum.
    """
    reading = snapshots.read(pipeline, work, manifest, dataset)
    boundary = snapshots.boundary_in(reading, work)
    coverage = require_covered(pipeline, work, manifest, boundary)
    evidence = replace(evidence, coverage=coverage)
    if len(reading.features) >= MANY_FEATURES:
        log.info("shaping rows of %s features", f"{len(reading.features):,}")
    frame = dataset.shape(DayRead(reading, work.city, work.day, boundary, evidence))
    snapshots.require_enough_rows(frame.rows.num_rows, work, dataset)
    return frame


def _stored(
    pipeline: PipelineResources, work: ClaimedPartition, dataset: Dataset, evidence: SliceEvidence
) -> Frame | None:
    """Return the stored frame of the day if its evidence is current."""
    try:
        stored = read_evidence(pipeline.lake, _key(work, dataset))
        # The coverage is not known before the rows are shaped.
        if stored != replace(evidence, coverage=stored.coverage):
            return None
        return read_frame(pipeline.lake, _key(work, dataset))
    except (SnapshotMissing, SnapshotDamaged, FrameOutdated):
        return None


def _key(work: ClaimedPartition, dataset: Dataset) -> str:
    return frame_key(dataset.name, work.city.slug, work.city.boundary_key, work.day)
