"""OpenStreetMap's POIs, from raw bytes to staged rows.

Belongs here: the assets `osm_snapshot -> osm_pois -> poi_staging`, each of which gets, shapes,
stores and reports. Does not belong here: how any of that is done (`sources/`, `osm/`, `lake/`,
`staging/`), and what is reported (`defs/metadata.py`).
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from ingestion_pipeline.core.identity import CityDay
from ingestion_pipeline.datasets.provenance import evidence_of
from ingestion_pipeline.datasets.registry import POI
from ingestion_pipeline.defs import metadata, snapshots
from ingestion_pipeline.defs.checks import (
    Acceptance,
    StagingConfig,
    build_check_specs,
    examine_slice,
    results_of,
    with_check_results,
)
from ingestion_pipeline.defs.partitions import city_day
from ingestion_pipeline.defs.resources import Workshop
from ingestion_pipeline.defs.snapshots import SnapshotConfig, take_snapshot
from ingestion_pipeline.defs.work import Work, city_day_step
from ingestion_pipeline.lake.errors import FrameOutdated, SnapshotDamaged, SnapshotMissing
from ingestion_pipeline.lake.frames import describe_frame, frame_key, read_frame, write_frame
from ingestion_pipeline.lake.snapshots import Manifest
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.days import Slice
from ingestion_pipeline.staging.history import stored_check_results
from ingestion_pipeline.staging.slices import (
    RejectedObject,
    SliceEvidence,
    confirm_slice,
    replace_slice,
)

if TYPE_CHECKING:
    import shapely

    from ingestion_pipeline.osm.normalize import Pois
    from ingestion_pipeline.quality.findings import Finding

# Shown by the command line, and kept with the run by `managed_python_loggers` in dagster.yaml.
log = logging.getLogger(__name__)

SOURCE = "osm"
JOB: Final = "osm_import"
CHAIN = ("osm_snapshot", "osm_pois", "poi_staging")

UPSTREAM_POOL = "osm_upstream"
"""Dagster's concurrency pool of what asks an upstream server; `dagster.yaml` has its limit."""

_COUNTS = (
    "outside",
    "generic",
    "unparsed_opening_hours",
    "unparsed_contacts",
    "transliterated_names",
)


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
        return step(context, workshop, partial(take_snapshot, dataset=POI), refetch=config.refetch)

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
        check_specs=build_check_specs("poi_staging", partitions, dataset=POI.name),
    )
    def poi_staging(
        context: dg.AssetExecutionContext,
        config: StagingConfig,
        workshop: dg.ResourceParam[Workshop],
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        yield from with_check_results(
            lambda: step(context, workshop, partial(stage_pois, accept=config.accept)),
            kept=lambda: stored_check_results(workshop.engine, _slice(city_day(context))),
            dataset=POI.name,
        )

    return [osm_snapshot, osm_pois, poi_staging]


def shape_pois(workshop: Workshop, work: Work) -> dg.MaterializeResult[None]:
    """Make the day's frame out of its snapshot, unless it has been made from the very same."""
    manifest = snapshots.obtained(workshop, work, POI)
    evidence = evidence_of(work.city, manifest)
    with snapshots.reading_candidate(workshop, work, manifest):
        pois = _already_shaped(workshop, work, evidence)
        reused = pois is not None
        if pois is None:
            pois, boundary, coverage = _normalized(workshop, work, manifest)
            runs.require(workshop.engine, work.claim)
            _write(workshop, work, pois, replace(evidence, coverage=coverage), boundary)
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
    from ingestion_pipeline.quality.examine import reason_of, require_accepted, warnings_of

    reason = reason_of(accept.reason) if accept else None
    described = describe_frame(workshop.lake, _frame_key(work))
    stated = described["evidence"]
    evidence = SliceEvidence(**stated | {"as_of": datetime.fromisoformat(stated["as_of"])})
    _require_current(workshop, work, described, evidence)
    target = _slice(CityDay(work.city.slug, work.day))
    now = workshop.ledger_now()
    findings: list[Finding] = []
    result = confirm_slice(workshop.engine, target, evidence=evidence, claim=work.claim, now=now)
    if result is None:
        frame = read_frame(workshop.lake, _frame_key(work))
        findings = examine_slice(
            workshop, work, target, frame, evidence, boundary=_boundary_in(described)
        )
        reason = require_accepted(findings, reason, what=str(target))
        evidence = replace(evidence, accepted_reason=reason, warnings=warnings_of(findings))
        result = replace_slice(
            workshop.engine,
            target,
            frame,
            rejections=[RejectedObject(**rejected) for rejected in described["rejections"]],
            evidence=evidence,
            claim=work.claim,
            now=now,
        )
    log.info(metadata.sentence_on_slice(result, what="POIs"))
    return dg.MaterializeResult(
        metadata=metadata.of_slice(result, evidence, database=workshop.database_address),
        check_results=results_of(findings, stopped=False, accepted_reason=evidence.accepted_reason),
    )


def _normalized(
    workshop: Workshop, work: Work, manifest: Manifest
) -> "tuple[Pois, shapely.Geometry, Mapping[str, Any] | None]":
    from ingestion_pipeline.osm import normalize
    from ingestion_pipeline.osm.taxonomy import Taxonomy

    city = work.city
    reading = snapshots.read(workshop, work, manifest, POI)
    boundary = snapshots.boundary_in(reading, work)
    coverage = snapshots.require_covered(workshop, work, manifest, boundary)
    pois = normalize.normalize(
        reading.features,
        boundary=boundary,
        day=work.day,
        languages=city.languages,
        local_language=city.local_language,
        country=city.country,
        taxonomy=Taxonomy.load(),
    )
    snapshots.require_enough_rows(pois.table.num_rows, work, POI)
    pois = replace(pois, rejections=reading.rejections + pois.rejections)
    return pois, boundary.area, coverage


def _write(
    workshop: Workshop,
    work: Work,
    pois: "Pois",
    evidence: SliceEvidence,
    boundary: "shapely.Geometry",
) -> None:
    import shapely

    write_frame(
        workshop.lake,
        _frame_key(work),
        pois.table,
        {
            "evidence": _plain(evidence),
            "boundary": shapely.to_wkb(boundary, hex=True, byte_order=1),
            "rejections": [asdict(rejection) for rejection in pois.rejections],
            "counts": {name: getattr(pois, name) for name in _COUNTS},
        },
    )


def _already_shaped(workshop: Workshop, work: Work, evidence: SliceEvidence) -> "Pois | None":
    """Give the day's frame, if it is what would be made again."""
    from ingestion_pipeline.core.rejection import Rejection
    from ingestion_pipeline.osm.normalize import Pois

    try:
        described = describe_frame(workshop.lake, _frame_key(work))
        kept = described["evidence"]
        # Whatever covers the city is found out with its rows.
        expected = _plain(evidence) | {"coverage": kept.get("coverage")}
        if kept != expected or "boundary" not in described:
            return None
        table = read_frame(workshop.lake, _frame_key(work))
    except (SnapshotMissing, SnapshotDamaged):
        return None
    rejections = [Rejection(**rejected) for rejected in described["rejections"]]
    return Pois(table, rejections, **described["counts"])


def _plain(evidence: SliceEvidence) -> dict[str, Any]:
    return asdict(evidence) | {"as_of": evidence.as_of.isoformat()}


def _boundary_in(described: Mapping[str, Any]) -> "shapely.Geometry":
    import shapely

    boundary: shapely.Geometry = shapely.from_wkb(described["boundary"])
    return boundary


def _require_current(
    workshop: Workshop, work: Work, described: Mapping[str, Any], evidence: SliceEvidence
) -> None:
    """Refuse a frame that was made from another snapshot, by other code, or for another city."""
    manifest = snapshots.stored(workshop, work, POI)
    if "boundary" not in described or (
        manifest is not None
        and evidence_of(work.city, manifest).inputs_digest != evidence.inputs_digest
    ):
        raise FrameOutdated(
            f"the frame of {work.city.slug} on {work.day} was made from another snapshot than the "
            "day has now, by other rules, or with other settings of the city; materialize osm_pois "
            "of this partition first"
        )


def _slice(partition: CityDay) -> Slice:
    return Slice(partition.city, POI.name, SOURCE, partition.day)


def _frame_key(work: Work) -> str:
    return frame_key(POI.name, work.city.slug, work.city.boundary_key, work.day)
