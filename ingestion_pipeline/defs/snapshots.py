"""The snapshot of a city-day: taken, read, and a candidate until it has been validated.

The assets of all OpenStreetMap datasets share this module. `fetching.py` gets new raw bytes,
`extract_coverage.py` compares an extract with the city, and `datasets/` shapes rows.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC
from typing import TYPE_CHECKING, TypeVar

import dagster as dg

from ingestion_pipeline.config.cities import City, boundary_names_match
from ingestion_pipeline.core.boundary import Boundary
from ingestion_pipeline.core.errors import IngestionError, described
from ingestion_pipeline.core.parallel import ProcessDied
from ingestion_pipeline.dagster_runtime.private import RunInterrupted
from ingestion_pipeline.datasets.base import Dataset
from ingestion_pipeline.defs import metadata
from ingestion_pipeline.defs.fetching import fetch
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.defs.work import ClaimedPartition
from ingestion_pipeline.lake.errors import LakeUnavailable, SnapshotDamaged, SnapshotNotUnderstood
from ingestion_pipeline.lake.scratch import scratch_folder
from ingestion_pipeline.lake.snapshots import Manifest
from ingestion_pipeline.osm.boundary import boundary_of
from ingestion_pipeline.osm.errors import OsmError
from ingestion_pipeline.sources import registry as sources
from ingestion_pipeline.sources import shared_extracts
from ingestion_pipeline.sources.as_of import require_enough
from ingestion_pipeline.sources.gate import budgets_of
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.upstream import usage_since

if TYPE_CHECKING:
    from ingestion_pipeline.osm.features import Reading
    from ingestion_pipeline.sources.base import Source

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
        manifest = fetch(pipeline, work, dataset)
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
        return fetch(pipeline, work, dataset)


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
