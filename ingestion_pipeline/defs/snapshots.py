"""The snapshot of a city-day: fetched, stored and read; a candidate until it has been validated.

The assets of all OpenStreetMap datasets share this module. `sources/` fetches raw bytes, `lake/`
stores them, and `datasets/` shapes rows from them.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg

from ingestion_pipeline.config.cities import City, boundary_names_match
from ingestion_pipeline.core.boundary import Boundary
from ingestion_pipeline.core.errors import IngestionError, described
from ingestion_pipeline.core.evidence import Coverage
from ingestion_pipeline.core.parallel import ProcessDied
from ingestion_pipeline.dagster_runtime.private import RunInterrupted
from ingestion_pipeline.datasets.base import Dataset
from ingestion_pipeline.datasets.registry import DATASETS, selection_of_all
from ingestion_pipeline.defs import metadata
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.defs.work import ClaimedPartition
from ingestion_pipeline.lake.errors import LakeUnavailable, SnapshotDamaged, SnapshotNotUnderstood
from ingestion_pipeline.lake.scratch import scratch_folder
from ingestion_pipeline.lake.snapshots import Manifest, Part
from ingestion_pipeline.osm.boundary import boundary_of, known_boundary
from ingestion_pipeline.osm.errors import ExtractDoesNotCover, OsmError, WrongSnapshotDate
from ingestion_pipeline.sources import registry as sources
from ingestion_pipeline.sources import shared_extracts
from ingestion_pipeline.sources.as_of import require_enough, require_true_on
from ingestion_pipeline.sources.base import Asked
from ingestion_pipeline.sources.gate import budgets_of
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.upstream import usage_since

if TYPE_CHECKING:
    from ingestion_pipeline.core.evidence import SnapshotEvidence
    from ingestion_pipeline.osm.features import Reading
    from ingestion_pipeline.osm.selection import AnyOf, Selection
    from ingestion_pipeline.sources.base import RawPart, Source

# The command line prints it; `managed_python_loggers` in dagster.yaml adds it to the run's log.
log = logging.getLogger(__name__)


class SnapshotConfig(dg.Config):
    """Run config of the assets that fetch."""

    refetch: bool = False
    """Ask upstream again, even if the day has a stored snapshot."""


def take(
    pipeline: PipelineResources, work: ClaimedPartition, dataset: Dataset
) -> tuple[Manifest, bool]:
    """Return the day's snapshot, and whether it was already stored."""
    manifest = None if work.claim.refetch else stored(pipeline, work, dataset)
    replayed = manifest is not None
    if manifest is None:
        manifest = _fetch(pipeline, work, dataset)
    log.info(metadata.sentence_on_snapshot(manifest, replayed=replayed))
    return manifest, replayed


def usage_today(pipeline: PipelineResources, work: ClaimedPartition) -> dict[str, dg.MetadataValue]:
    """Return the metadata of what the servers of the city's kind of source were asked for today."""
    kind = _source(pipeline, work).kind
    usage = usage_since(pipeline.engine, pipeline.ledger_now().date())
    of_kind = [each for each in usage if each.source == kind]
    return metadata.of_usage(of_kind, budgets_of(pipeline.settings))


def obtained(pipeline: PipelineResources, work: ClaimedPartition, dataset: Dataset) -> Manifest:
    """Return the day's snapshot for a step that reads it; fetch it if none is stored.

    The snapshot of an earlier step may have been quarantined since. If a person executes only the
    later steps again, Dagster does not run the snapshot asset again.

    Raises:
        IngestionError: No snapshot is stored, and upstream has none either.
    """
    manifest = stored(pipeline, work, dataset)
    if manifest is not None:
        return manifest
    log.info(
        "No snapshot of dataset %s is stored for %s on %s; asking upstream",
        dataset.name,
        work.city.slug,
        work.day,
    )
    with work.slot():
        return _fetch(pipeline, work, dataset)


def stored(
    pipeline: PipelineResources, work: ClaimedPartition, dataset: Dataset
) -> Manifest | None:
    """Return the day's stored snapshot if it covers the current query of the city."""
    city = work.city
    manifest = pipeline.lake.manifest(dataset.name, city.slug, city.boundary_key, work.day)
    if manifest is not None and not sources.holds_what_is_asked(manifest, city):
        log.warning(
            "The stored snapshot of %s on %s was asked for with another bbox or selection of tags, "
            "or by a dated query that Overpass answers incompletely; it is not used",
            city.slug,
            work.day,
        )
        return None
    return manifest


def read(
    pipeline: PipelineResources, work: ClaimedPartition, manifest: Manifest, dataset: Dataset
) -> "Reading":
    """Read a snapshot's selected features, and the city's boundary.

    Raises:
        OsmError: The snapshot cannot be read, or does not contain the boundary.
    """
    others = _sharing(pipeline, work, manifest)
    if others:
        return shared_extracts.read(
            pipeline.lake,
            manifest,
            dataset,
            work.city,
            others,
            lock_dir=pipeline.settings.state_dir / "locks",
            today=pipeline.clock.now().astimezone(UTC).date(),
        )
    with scratch_folder() as folder:
        return sources.read(
            manifest.obtained,
            [pipeline.lake.restore(part, folder) for part in manifest.parts],
            area=work.city.area,
            selection=dataset.selection,
            origin=manifest.location,
        )


def _sharing(pipeline: PipelineResources, work: ClaimedPartition, manifest: Manifest) -> list[City]:
    """Return the cities that share the city's currently configured source."""
    source = _source(pipeline, work)
    if not source.shared or source.kind != manifest.obtained:
        return []  # the snapshot comes from another configuration
    return shared_extracts.sharing(
        work.city, work.day, cities=pipeline.cities, settings=pipeline.settings
    )


def _source(pipeline: PipelineResources, work: ClaimedPartition) -> "Source":
    return sources.source_for(work.city, pipeline.settings)


def boundary_in(reading: "Reading", work: ClaimedPartition) -> Boundary:
    """Return the city's boundary from a reading.

    Raises:
        OsmError: The boundary belongs to another place.
    """
    city = work.city
    return boundary_of(
        reading,
        city.area,
        city=city.slug,
        names_match=lambda names: boundary_names_match(city, names),
    )


def require_covered(
    pipeline: PipelineResources, work: ClaimedPartition, manifest: Manifest, boundary: Boundary
) -> "dict[str, Any] | None":
    """Return how much of the city the snapshot's extract covers; None for Overpass.

    Raises:
        ExtractDoesNotCover: The extract does not cover the city.
    """
    coverage = manifest.coverage or _coverage_of_stored(pipeline, manifest)
    if coverage is None:
        return None
    try:
        covered = _require_covered(work, boundary, coverage, manifest.location)
    except ExtractDoesNotCover as error:
        day = (manifest.dataset, manifest.city_slug, manifest.boundary_ref, manifest.day)
        if pipeline.lake.accepted(*day) != manifest:
            raise
        raise ExtractDoesNotCover(
            f"{str(error).rstrip('.')}. It is the accepted snapshot of the day: run the day with "
            "a refetch once another extract is configured"
        ) from error
    if coverage.how == "nodes":
        log.warning(
            "The extract %s has no box in its header and no .poly file beside it; by the box "
            "around its nodes, an estimate, it covers %.0f %% of %s",
            manifest.location,
            100 * covered["share"],
            work.city.slug,
        )
    return covered


def _coverage_of_stored(pipeline: PipelineResources, manifest: Manifest) -> Coverage | None:
    """Return the coverage of an extract that was fetched by a version that did not store it."""
    source = sources.SOURCES[manifest.obtained]
    if not source.shared:
        return None
    (part,) = manifest.parts
    with scratch_folder() as folder:
        return source.coverage_of(pipeline.lake.restore(part, folder))


def _require_covered(
    work: ClaimedPartition, boundary: Boundary, coverage: Coverage, origin: str
) -> dict[str, Any]:
    from ingestion_pipeline.sources.pbf.coverage import require_covered

    what = f"the boundary {work.city.area.boundary_name} of {work.city.slug}"
    return require_covered(boundary.area, coverage, what=what, origin=origin)


def require_enough_rows(rows: int, work: ClaimedPartition, dataset: Dataset) -> None:
    """Require at least the city's asserted minimum of rows.

    Raises:
        TooFewPois: There are fewer rows.
    """
    require_enough(
        rows,
        minimum=dataset.minimum_of(work.city),
        city=work.city.slug,
        day=work.day,
        things=dataset.things,
        key=dataset.minimum_key,
    )


MAX_CANDIDATE_READS = 3
"""The number of killed runs after which the candidate that they read is quarantined."""


@contextmanager
def reading_candidate(
    pipeline: PipelineResources, work: ClaimedPartition, manifest: Manifest
) -> Iterator[None]:
    """Accept the day's candidate if its reading succeeds, and quarantine it if it fails validation.

    Without quarantine the next run would replay it and fail again. An accepted snapshot is never
    quarantined, because then the city's settings or this code have changed. Errors of the machine
    (database, lake, memory) do not quarantine a candidate either.
    """
    run_id = work.claim.dagster_run_id
    killed = pipeline.lake.begin_candidate_read(manifest, run_id)
    if killed >= MAX_CANDIDATE_READS:
        error = SnapshotNotUnderstood(
            f"{killed} runs ended without a word while they read the snapshot of {manifest}: "
            "they were killed, or the machine had too little memory"
        )
        raise _quarantined(pipeline, work, manifest, error) or error
    try:
        yield
    except (OsmError, SnapshotDamaged) as error:
        refused = _quarantined(pipeline, work, manifest, error)
        if refused is None:
            raise
        raise refused from error
    except (IngestionError, OSError, MemoryError) as error:
        if not isinstance(error, (ProcessDied, MemoryError)):
            with suppress(LakeUnavailable):  # the step's own error matters more
                pipeline.lake.end_candidate_read(manifest, run_id)
        raise
    except (RunInterrupted, KeyboardInterrupt):
        with suppress(LakeUnavailable):
            pipeline.lake.end_candidate_read(manifest, run_id)
        raise
    except Exception as error:
        unknown = SnapshotNotUnderstood(
            f"the snapshot of {manifest} could not be read: {described(error)}. This is an error "
            f"in the pipeline: report it, with the run's log and {_files(pipeline, manifest)}"
        )
        raise _quarantined(pipeline, work, manifest, unknown) or unknown from error
    runs.require(pipeline.engine, work.claim)
    pipeline.lake.accept(manifest)


Error = TypeVar("Error", bound=IngestionError)


def _quarantined(
    pipeline: PipelineResources, work: ClaimedPartition, manifest: Manifest, error: Error
) -> Error | None:
    """Quarantine a candidate, and return the error with that fact; None if it was accepted."""
    runs.require(pipeline.engine, work.claim)
    kept = pipeline.lake.quarantine(manifest)
    if kept is None:
        return None
    refused = type(error)(
        f"{str(error).rstrip('.')}. The new snapshot is quarantined: its manifest was set aside as "
        f"{kept}, and the next run asks upstream again"
    )
    refused.should_retry = False  # this step would find nothing to read
    return refused


def _files(pipeline: PipelineResources, manifest: Manifest) -> str:
    return ", ".join(pipeline.lake.address(part.key) for part in manifest.parts)


def _fetch(pipeline: PipelineResources, work: ClaimedPartition, dataset: Dataset) -> Manifest:
    """Return a new candidate of the day: what another dataset has fetched, or new raw bytes."""
    source = _source(pipeline, work)
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
        _require_covered(work, boundary, evidence.coverage, evidence.location)
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
