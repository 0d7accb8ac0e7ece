"""OpenStreetMap's POIs, from raw bytes to staged rows.

Belongs here: the assets `osm_snapshot -> osm_pois -> poi_staging`, each of which gets, shapes,
stores and reports. Does not belong here: how any of that is done (`sources.py`, `osm/`, `lake/`,
`staging/`), and what is reported (`defs/metadata.py`).
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from ingestion_pipeline import sources
from ingestion_pipeline.cities import boundary_names_match
from ingestion_pipeline.defs import metadata
from ingestion_pipeline.defs.checks import (
    Acceptance,
    build_check_specs,
    examine_slice,
    results_of,
    results_of_nothing,
)
from ingestion_pipeline.defs.resources import Workshop
from ingestion_pipeline.defs.work import Work, city_day_step
from ingestion_pipeline.lake.errors import FrameOutdated, SnapshotDamaged, SnapshotMissing
from ingestion_pipeline.lake.frames import describe_frame, frame_key, read_frame, write_frame
from ingestion_pipeline.lake.snapshots import Manifest
from ingestion_pipeline.osm.acquire import Acquisition
from ingestion_pipeline.osm.boundary import boundary_of
from ingestion_pipeline.osm.errors import OsmError
from ingestion_pipeline.osm.honesty import require_enough
from ingestion_pipeline.osm.selection import SELECTION_DIGEST
from ingestion_pipeline.provenance import evidence_of, holds_what_is_asked
from ingestion_pipeline.quality.errors import StoppedByCheck
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.days import Slice
from ingestion_pipeline.staging.history import accepted_reason
from ingestion_pipeline.staging.slices import (
    RejectedObject,
    SliceEvidence,
    confirm_slice,
    replace_slice,
)

if TYPE_CHECKING:
    from ingestion_pipeline.osm.features import Reading
    from ingestion_pipeline.osm.normalize import Pois

# Shown by the command line, and kept with the run by `managed_python_loggers` in dagster.yaml.
log = logging.getLogger(__name__)

DATASET = "poi"
SOURCE = "osm"
JOB: Final = "osm_import"
CHAIN = ("osm_snapshot", "osm_pois", "poi_staging")

UPSTREAM_POOL = "osm_upstream"
"""Dagster's concurrency pool of what asks an upstream server; `dagster.yaml` has its limit."""

_COUNTS = ("outside", "generic", "unparsed_opening_hours")


class SnapshotConfig(dg.Config):
    """How raw bytes are got."""

    refetch: bool = False
    """Ask upstream again, even where the day has a stored snapshot."""


class StagingConfig(dg.Config):
    """How a day is staged."""

    accept: Acceptance | None = None
    """Stage the day though a check stops it."""


def build_osm_assets(
    partitions: dg.PartitionsDefinition, *, upstream_pool: str | None
) -> Sequence[dg.AssetsDefinition]:
    """Define the three assets for the given partitions, and for the pool of those that fetch."""
    step = partial(city_day_step, job_type=JOB, chain=CHAIN)

    @dg.asset(
        partitions_def=partitions,
        group_name="osm",
        kinds={"openstreetmap"},
        pool=upstream_pool,
        description="The raw bytes of a city's day, as OpenStreetMap sent them, stored by their "
        "digest with a manifest. A day that has a snapshot is replayed from it; set `refetch` in "
        "the run config to ask upstream again.",
    )
    def osm_snapshot(
        context: dg.AssetExecutionContext,
        config: SnapshotConfig,
        workshop: dg.ResourceParam[Workshop],
    ) -> dg.MaterializeResult[None]:
        return step(context, workshop, take_snapshot, refetch=config.refetch)

    @dg.asset(
        partitions_def=partitions,
        deps=[osm_snapshot],
        group_name="osm",
        kinds={"geoparquet"},
        description="The city's POIs of the day, normalized and classified: GeoParquet in the "
        "lake, with the evidence of its rows inside.",
    )
    def osm_pois(
        context: dg.AssetExecutionContext, workshop: dg.ResourceParam[Workshop]
    ) -> dg.MaterializeResult[None]:
        return step(context, workshop, shape_pois)

    @dg.asset(
        partitions_def=partitions,
        deps=[osm_pois],
        group_name="osm",
        kinds={"sql"},
        description="The day's slice of `poi_ingestion_staging`: versions of POIs with their "
        "validity. Writes only what changed, in one transaction with the run's SUCCEEDED. The "
        "checks come first; set `accept.reason` in the run config to stage a day that they stop.",
        check_specs=build_check_specs("poi_staging", partitions),
    )
    def poi_staging(
        context: dg.AssetExecutionContext,
        config: StagingConfig,
        workshop: dg.ResourceParam[Workshop],
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        try:
            staged = step(context, workshop, partial(stage_pois, accept=config.accept))
        except dg.Failure as failure:
            # The ledger knows; now the partition's page shows what the checks found.
            if isinstance(failure.__cause__, StoppedByCheck):
                yield from results_of(failure.__cause__.findings, stopped=True)
            raise
        yield staged
        if not staged.check_results:
            yield from results_of_nothing(str((staged.metadata or {})["nothing_to_do"]))

    return [osm_snapshot, osm_pois, poi_staging]


def take_snapshot(workshop: Workshop, work: Work) -> dg.MaterializeResult[None]:
    """Give the day its raw bytes: those that are stored, or else those that upstream has."""
    manifest = None if work.claim.refetch else _stored(workshop, work)
    replayed = manifest is not None
    if manifest is None:
        manifest = _fetch(workshop, work)
    log.info(metadata.sentence_on_snapshot(manifest, replayed=replayed))
    return dg.MaterializeResult(
        metadata=metadata.of_snapshot(manifest, replayed=replayed),
        data_version=dg.DataVersion(manifest.digest),
    )


def shape_pois(workshop: Workshop, work: Work) -> dg.MaterializeResult[None]:
    """Make the day's frame out of its snapshot, unless it has been made from the very same."""
    manifest = _stored(workshop, work)
    if manifest is None:
        raise SnapshotMissing(
            f"no snapshot is stored for {work.city.slug} on {work.day}; materialize "
            "osm_snapshot of this partition first"
        )
    evidence = evidence_of(work.city, manifest)
    with _on_trial(workshop, work, manifest):
        pois = _already_shaped(workshop, work, evidence)
        reused = pois is not None
        if pois is None:
            pois = _normalized(workshop, work, manifest)
            runs.require(workshop.engine, work.claim)
            _write(workshop, work, pois, evidence)
    log.info(metadata.sentence_on_pois(pois, reused=reused))
    return dg.MaterializeResult(
        metadata=metadata.of_pois(
            pois,
            reused=reused,
            boundary=work.city.bbox,
            address=workshop.lake.address(_frame_key(work)),
        )
    )


def stage_pois(
    workshop: Workshop, work: Work, *, accept: Acceptance | None = None
) -> dg.MaterializeResult[None]:
    """Make the day's slice equal to its frame, if the checks or an operator let it pass."""
    from ingestion_pipeline.quality.examine import reason_of, require_accepted

    reason = reason_of(accept.reason) if accept else None
    described = describe_frame(workshop.lake, _frame_key(work))
    stated = described["evidence"]
    evidence = SliceEvidence(**stated | {"as_of": datetime.fromisoformat(stated["as_of"])})
    _require_current(workshop, work, evidence)
    target = Slice(work.city.slug, DATASET, SOURCE, work.day)
    frame = read_frame(workshop.lake, _frame_key(work))
    findings = examine_slice(workshop, work, target, frame, evidence)
    once_accepted = accepted_reason(workshop.engine, target)
    now = workshop.clock.now()
    result = confirm_slice(workshop.engine, target, evidence=evidence, claim=work.claim, now=now)
    if result is not None:
        reason = once_accepted
    else:
        reason = require_accepted(findings, reason, what=str(target))
        result = replace_slice(
            workshop.engine,
            target,
            frame,
            rejections=[RejectedObject(**rejected) for rejected in described["rejections"]],
            evidence=replace(evidence, accepted_reason=reason),
            claim=work.claim,
            now=now,
        )
    log.info(metadata.sentence_on_slice(result))
    return dg.MaterializeResult(
        metadata=metadata.of_slice(
            result, replace(evidence, accepted_reason=reason), database=workshop.database_address
        ),
        check_results=results_of(findings, stopped=False, accepted_reason=reason),
    )


def _stored(workshop: Workshop, work: Work) -> Manifest | None:
    """Give the day's snapshot, if it holds what is asked for now."""
    city = work.city
    manifest = workshop.lake.manifest(DATASET, city.slug, city.boundary_key, work.day)
    if manifest is not None and not holds_what_is_asked(manifest, city):
        log.warning(
            "The stored snapshot of %s on %s was asked for with another bbox or selection of tags; "
            "it is not used",
            city.slug,
            work.day,
        )
        return None
    return manifest


def _fetch(workshop: Workshop, work: Work) -> Manifest:
    """Get the raw bytes, store them, and only then put them on trial for the day."""
    with TemporaryDirectory(prefix="ingestion-") as folder:
        acquired = sources.acquire(
            work.city,
            work.day,
            settings=workshop.settings,
            clock=workshop.clock,
            workdir=Path(folder),
        )
        manifest = _manifest_of(acquired, workshop, work)
    runs.require(workshop.engine, work.claim)
    workshop.lake.propose(manifest)
    return manifest


def _normalized(workshop: Workshop, work: Work, manifest: Manifest) -> "Pois":
    from ingestion_pipeline.osm import normalize
    from ingestion_pipeline.osm.taxonomy import Taxonomy

    city = work.city
    reading = _read(workshop, work, manifest)
    pois = normalize.normalize(
        reading.features,
        boundary=boundary_of(
            reading,
            city.area,
            city=city.slug,
            names_match=lambda names: boundary_names_match(city, names),
        ),
        languages=city.languages,
        local_language=city.local_language,
        taxonomy=Taxonomy.load(),
    )
    require_enough(pois.table.num_rows, minimum=city.minimum_pois, city=city.slug, day=work.day)
    return replace(pois, rejections=reading.rejections + pois.rejections)


def _write(workshop: Workshop, work: Work, pois: "Pois", evidence: SliceEvidence) -> None:
    write_frame(
        workshop.lake,
        _frame_key(work),
        pois.table,
        {
            "evidence": _plain(evidence),
            "rejections": [asdict(rejection) for rejection in pois.rejections],
            "counts": {name: getattr(pois, name) for name in _COUNTS},
        },
    )


def _already_shaped(workshop: Workshop, work: Work, evidence: SliceEvidence) -> "Pois | None":
    """Give the day's frame, if it is what would be made again."""
    from ingestion_pipeline.osm.features import Rejection
    from ingestion_pipeline.osm.normalize import Pois

    try:
        described = describe_frame(workshop.lake, _frame_key(work))
        if described["evidence"] != _plain(evidence):
            return None
        table = read_frame(workshop.lake, _frame_key(work))
    except (SnapshotMissing, SnapshotDamaged):
        return None
    rejections = [Rejection(**rejected) for rejected in described["rejections"]]
    return Pois(table, rejections, **described["counts"])


def _plain(evidence: SliceEvidence) -> dict[str, Any]:
    return asdict(evidence) | {"as_of": evidence.as_of.isoformat()}


def _read(workshop: Workshop, work: Work, manifest: Manifest) -> "Reading":
    with TemporaryDirectory(prefix="ingestion-") as folder:
        paths = [workshop.lake.restore(part, Path(folder)) for part in manifest.parts]
        return sources.read(manifest.obtained, paths, area=work.city.area)


@contextmanager
def _on_trial(workshop: Workshop, work: Work, manifest: Manifest) -> Iterator[None]:
    """Accept the day's snapshot if it can be read as the city's, and refuse a new one if not.

    Without the refusal the next run would replay it, and fail again for ever. A snapshot that was
    accepted once stays: then it is the city's settings that have changed.
    """
    try:
        yield
    except OsmError as error:
        runs.require(workshop.engine, work.claim)
        kept = workshop.lake.refuse(manifest)
        if kept is None:
            raise
        refused = type(error)(
            f"{error}. What was fetched does not stand for the day: its manifest was set aside as "
            f"{kept}, and the next run asks upstream again"
        )
        refused.should_retry = False  # this step would find nothing to read
        raise refused from error
    runs.require(workshop.engine, work.claim)
    workshop.lake.accept(manifest)


def _require_current(workshop: Workshop, work: Work, evidence: SliceEvidence) -> None:
    """Refuse a frame that was made from another snapshot, by other code, or for another city."""
    manifest = _stored(workshop, work)
    if (
        manifest is not None
        and evidence_of(work.city, manifest).inputs_digest != evidence.inputs_digest
    ):
        raise FrameOutdated(
            f"the frame of {work.city.slug} on {work.day} was made from another snapshot than the "
            "day has now, by other rules, or with other settings of the city; materialize osm_pois "
            "of this partition first"
        )


def _manifest_of(acquired: Acquisition, workshop: Workshop, work: Work) -> Manifest:
    evidence = acquired.evidence
    return Manifest(
        dataset=DATASET,
        city_slug=work.city.slug,
        boundary_ref=work.city.boundary_key,
        day=work.day,
        as_of=evidence.as_of,
        as_of_source=evidence.as_of_source,
        obtained=evidence.obtained,
        location=evidence.location,
        bbox=work.city.bbox,
        selection=SELECTION_DIGEST,
        licence=evidence.licence,
        attribution=evidence.attribution,
        parts=tuple(
            workshop.lake.store(
                part.path,
                query=part.query,
                requested_at=part.requested_at,
                received_at=part.received_at,
            )
            for part in acquired.parts
        ),
    )


def _frame_key(work: Work) -> str:
    return frame_key(DATASET, work.city.slug, work.city.boundary_key, work.day)
