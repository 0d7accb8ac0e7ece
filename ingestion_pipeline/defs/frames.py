"""A day's frame: made of its snapshot, and kept in the lake where the dataset has an asset for it.

Belongs here: making frames, and whether a stored one is still right. Does not belong here: what the
rows are (`datasets/`), and the file (`lake/frames.py`).
"""

import logging
from dataclasses import replace

from ingestion_pipeline.core.evidence import SliceEvidence
from ingestion_pipeline.core.frame import Frame
from ingestion_pipeline.datasets.base import Dataset, DayRead
from ingestion_pipeline.datasets.provenance import evidence_of
from ingestion_pipeline.defs import metadata, snapshots
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.defs.work import ClaimedPartition
from ingestion_pipeline.lake.errors import FrameOutdated, SnapshotDamaged, SnapshotMissing
from ingestion_pipeline.lake.frames import frame_key, read_evidence, read_frame, write_frame
from ingestion_pipeline.lake.snapshots import Manifest
from ingestion_pipeline.staging import runs

# Shown by the command line, and kept with the run by `managed_python_loggers` in dagster.yaml.
log = logging.getLogger(__name__)


def store_frame(
    pipeline: PipelineResources, work: ClaimedPartition, dataset: Dataset
) -> tuple[Frame, bool]:
    """Make the day's frame out of its snapshot, unless it has been made from the very same.

    Returns:
        The frame, and whether it was there already.
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
    """Return the evidence of the day's rows, before they are read or made.

    Raises:
        SnapshotMissing: The day has no frame.
        FrameOutdated: It was made from another snapshot, by other code, or for another city.
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
    """Return the day's frame: the stored one, or a new one where the dataset stores none."""
    if dataset.frame_asset is not None:
        return read_frame(pipeline.lake, _key(work, dataset))
    manifest = snapshots.obtained(pipeline, work, dataset)
    with snapshots.reading_candidate(pipeline, work, manifest):
        return _shaped(pipeline, work, dataset, manifest, evidence_of(work.city, manifest))


def address_of(pipeline: PipelineResources, work: ClaimedPartition, dataset: Dataset) -> str:
    """Return where the day's frame is in the lake."""
    return pipeline.lake.address(_key(work, dataset))


def _shaped(
    pipeline: PipelineResources,
    work: ClaimedPartition,
    dataset: Dataset,
    manifest: Manifest,
    evidence: SliceEvidence,
) -> Frame:
    """Make the rows of a snapshot.

    Raises:
        OsmError: It cannot be read, is not the city's, or does not cover it.
        TooFewPois: It gives fewer rows than the city's asserted minimum.
    """
    reading = snapshots.read(pipeline, work, manifest, dataset)
    boundary = snapshots.boundary_in(reading, work)
    coverage = snapshots.require_covered(pipeline, work, manifest, boundary)
    evidence = replace(evidence, coverage=coverage)
    frame = dataset.shape(DayRead(reading, work.city, work.day, boundary, evidence))
    snapshots.require_enough_rows(frame.rows.num_rows, work, dataset)
    return frame


def _stored(
    pipeline: PipelineResources, work: ClaimedPartition, dataset: Dataset, evidence: SliceEvidence
) -> Frame | None:
    """Return the day's frame, if it is what would be made again."""
    try:
        stored = read_evidence(pipeline.lake, _key(work, dataset))
        # What covers the city is found out with its rows.
        if stored != replace(evidence, coverage=stored.coverage):
            return None
        return read_frame(pipeline.lake, _key(work, dataset))
    except (SnapshotMissing, SnapshotDamaged, FrameOutdated):
        return None


def _key(work: ClaimedPartition, dataset: Dataset) -> str:
    return frame_key(dataset.name, work.city.slug, work.city.boundary_key, work.day)
