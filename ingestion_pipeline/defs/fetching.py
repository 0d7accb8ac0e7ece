"""New raw bytes of a city-day: fetched from upstream, or taken from another dataset or city.

Belongs here: who asks upstream, storing what came, and its manifest. Does not belong here: whether
new bytes are needed (`snapshots.py`), and requests (`sources/`).
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.datasets.base import Dataset
from ingestion_pipeline.datasets.registry import DATASETS, selection_of_all
from ingestion_pipeline.defs.extract_coverage import require_covering
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.defs.work import ClaimedPartition
from ingestion_pipeline.lake.errors import SnapshotDamaged
from ingestion_pipeline.lake.scratch import scratch_folder
from ingestion_pipeline.lake.snapshots import Manifest, Part
from ingestion_pipeline.osm.boundary import known_boundary
from ingestion_pipeline.osm.errors import WrongSnapshotDate
from ingestion_pipeline.sources import registry as sources
from ingestion_pipeline.sources import shared_extracts
from ingestion_pipeline.sources.as_of import require_true_on
from ingestion_pipeline.sources.base import Asked
from ingestion_pipeline.staging import runs

if TYPE_CHECKING:
    from ingestion_pipeline.core.evidence import SnapshotEvidence
    from ingestion_pipeline.osm.selection import AnyOf, Selection
    from ingestion_pipeline.sources.base import RawPart, Source

log = logging.getLogger(__name__)


def fetch(pipeline: PipelineResources, work: ClaimedPartition, dataset: Dataset) -> Manifest:
    """Return a new candidate of the day: what another dataset has fetched, or new raw bytes."""
    source = sources.source_for(work.city, pipeline.settings)
    if source.shared:
        return _fetch_new(pipeline, work, dataset, source)
    city = work.city
    # A job of another dataset that runs at the same time fetches for both.
    with pipeline.gate.alone(f"fetch of {city.slug} {city.boundary_key} on {work.day}"):
        manifest = None if work.claim.refetch else _of_another(pipeline, work, dataset, source)
        if manifest is None:
            return _fetch_new(pipeline, work, dataset, source)
        runs.require(pipeline.engine, work.claim)
        pipeline.lake.propose_candidate(manifest)
        return manifest


def _of_another(
    pipeline: PipelineResources, work: ClaimedPartition, dataset: Dataset, source: "Source"
) -> Manifest | None:
    """Return the snapshot of the day that another dataset has, if it serves this one as well.

    It has to come from the server that would be asked now, to hold what would be asked for, to be
    of the day by the rule for new data, and not to be one that was quarantined here.
    """
    city = work.city
    for other in (name for name in DATASETS if name != dataset.name):
        with suppress(SnapshotDamaged, WrongSnapshotDate):
            found = pipeline.lake.manifest(other, city.slug, city.boundary_key, work.day)
            ours = found and replace(found, dataset=dataset.name)
            if (
                ours is None
                or (ours.obtained, ours.location) != (source.kind, source.location(work.day))
                or not sources.holds_what_is_asked(ours, city)
                or pipeline.lake.is_quarantined(ours)
            ):
                continue
            require_true_on(
                work.day,
                as_of=ours.as_of,
                now=pipeline.clock.now(),
                maximum_age=city.maximum_age,
                origin=ours.location,
            )
            log.info("Using the snapshot of the day that dataset %s has fetched", other)
            return ours
    return None


def _fetch_new(
    pipeline: PipelineResources, work: ClaimedPartition, dataset: Dataset, source: "Source"
) -> Manifest:
    """Fetch the raw bytes and store them; propose them as the day's candidate only afterwards.

    A server is asked for the objects of all datasets at once.
    """
    boundary = known_boundary(work.city.area, city=work.city.slug)
    selection = dataset.selection if source.shared else selection_of_all()
    acquire = _acquire_shared if source.shared else _acquire
    evidence, parts = acquire(pipeline, work, selection, source)
    if evidence.coverage is not None and boundary is not None:
        require_covering(work, boundary, evidence.coverage, evidence.location)
    manifest = manifest_of(
        evidence,
        parts,
        work,
        dataset=dataset.name,
        selection=selection.digest,
        selected=None if source.shared else selection.as_json(),
    )
    runs.require(pipeline.engine, work.claim)
    pipeline.lake.propose_candidate(manifest)
    return manifest


def _acquire_shared(
    pipeline: PipelineResources,
    work: ClaimedPartition,
    selection: "Selection | AnyOf",
    source: "Source",
) -> "tuple[SnapshotEvidence, tuple[Part, ...]]":
    """Return the extract that another run has fetched, or fetch it; others wait meanwhile."""
    location, lock_dir = source.location(work.day), pipeline.settings.state_dir / "locks"
    with shared_extracts.fetching(pipeline.lake, location, lock_dir=lock_dir):
        known = None
        if not work.claim.refetch:
            known = shared_extracts.known(
                pipeline.lake,
                source,
                work.day,
                clock=pipeline.clock,
                maximum_age=work.city.maximum_age,
            )
        return known or _acquire(pipeline, work, selection, source)


def _acquire(
    pipeline: PipelineResources,
    work: ClaimedPartition,
    selection: "Selection | AnyOf",
    source: "Source",
) -> "tuple[SnapshotEvidence, tuple[Part, ...]]":
    """Fetch the raw bytes from upstream and store them; record those that other cities share."""
    state = source.state(work.day) if source.shared else None
    with scratch_folder() as folder:
        acquired = source.acquire(
            work.day,
            Asked(
                selection,
                pipeline.clock,
                folder,
                pipeline.gate,
                histories=_histories(pipeline, work),
                caller_retries=pipeline.retrying.waits,
            ),
        )
        evidence = acquired.evidence
        parts = tuple(
            store_part(pipeline, part, origin=evidence.location) for part in acquired.parts
        )
    # A file that was replaced during the download may have either state.
    if state and state == source.state(work.day):
        shared_extracts.keep(pipeline.lake, source.location(work.day), state, evidence, *parts)
    return evidence, parts


def store_part(pipeline: PipelineResources, part: "RawPart", *, origin: str) -> Part:
    """Store one file of raw bytes in the lake."""
    return pipeline.lake.store(
        part.path,
        query=part.query,
        requested_at=part.requested_at,
        received_at=part.received_at,
        sha256=part.sha256,
        origin=origin,
    )


def _histories(pipeline: PipelineResources, work: ClaimedPartition) -> dict[str, str]:
    """Return, by server, the proof of history that another dataset's snapshot of the day has."""
    if work.claim.refetch:
        return {}
    city = work.city
    histories = {}
    for dataset in DATASETS:
        with suppress(SnapshotDamaged):  # then the source proves it again
            kept = pipeline.lake.manifest(dataset, city.slug, city.boundary_key, work.day)
            if kept is not None and kept.history is not None:
                histories[kept.location] = kept.history
    return histories


def manifest_of(
    evidence: "SnapshotEvidence",
    parts: tuple[Part, ...],
    work: ClaimedPartition,
    *,
    dataset: str,
    selection: str,
    selected: Mapping[str, Any] | None = None,
) -> Manifest:
    """Return the manifest of a day's raw bytes, of OpenStreetMap or of a feed.

    Args:
        evidence: The evidence of the bytes.
        parts: The bytes, in the lake.
        work: The city-day.
        dataset: The dataset's name, or a feed's name in the lake.
        selection: The digest of what was requested.
        selected: The selection itself, if the bytes contain nothing else.
    """
    return Manifest(
        **vars(evidence),
        dataset=dataset,
        city_slug=work.city.slug,
        boundary_ref=work.city.boundary_key,
        day=work.day,
        bbox=work.city.bbox,
        selection=selection,
        parts=parts,
        selected=selected,
    )
