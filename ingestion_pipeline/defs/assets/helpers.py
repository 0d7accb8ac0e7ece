"""Helper places, from raw bytes to staged rows.

Belongs here: the assets `helper_feeds -> helper_snapshot -> helper_places`, each of which gets,
shapes, stores and reports. Does not belong here: how any of that is done (`defs/feeds.py`,
`defs/snapshots.py`, `helpers/`, `staging/`), and what is reported (`defs/metadata.py`).
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from ingestion_pipeline.core.identity import CityDay
from ingestion_pipeline.datasets.provenance import evidence_of
from ingestion_pipeline.datasets.registry import HELPER
from ingestion_pipeline.defs import metadata, snapshots
from ingestion_pipeline.defs.checks import (
    Acceptance,
    StagingConfig,
    build_check_specs,
    examine_slice,
    results_of,
    with_check_results,
)
from ingestion_pipeline.defs.feeds import (
    FeedOfDay,
    failures_of,
    feeds_of_day,
    slices_of_feeds,
    take_feeds,
)
from ingestion_pipeline.defs.partitions import city_day
from ingestion_pipeline.defs.resources import Workshop
from ingestion_pipeline.defs.snapshots import SnapshotConfig, take_snapshot
from ingestion_pipeline.defs.work import Work, city_day_step
from ingestion_pipeline.lake.snapshots import Manifest
from ingestion_pipeline.staging.days import Slice
from ingestion_pipeline.staging.history import stored_check_results
from ingestion_pipeline.staging.slices import (
    RejectedObject,
    SliceEvidence,
    SliceInput,
    SliceResult,
    confirm_slices,
    replace_slices,
)

if TYPE_CHECKING:
    from ingestion_pipeline.core.rejection import Rejection
    from ingestion_pipeline.helpers.derive import Helpers, OsmObjects
    from ingestion_pipeline.osm.boundary import Boundary
    from ingestion_pipeline.osm.locate import Located

# Shown by the command line, and kept with the run by `managed_python_loggers` in dagster.yaml.
log = logging.getLogger(__name__)

SOURCE = "osm"
JOB: Final = "helpers_import"
CHAIN = ("helper_feeds", "helper_snapshot", "helper_places")

FEEDS_POOL = "feed_upstream"
"""Dagster's concurrency pool of what asks feeds: a feed that is down keeps no other source waiting.
"""


def build_helper_assets(
    partitions: dg.PartitionsDefinition, *, upstream_pool: str | None, feeds_pool: str | None
) -> Sequence[dg.AssetsDefinition]:
    """Define the three assets for the given partitions, and for the pools of those that fetch."""
    step = partial(city_day_step, job_type=JOB, chain=CHAIN)

    @dg.asset(
        partitions_def=partitions,
        group_name="helpers",
        kinds={"http"},
        pool=feeds_pool,
        description="The raw bytes of each of a city's feeds of the day, or the reason why there "
        "are none. A feed that has bytes is replayed from them; set `refetch` in the run config to "
        "ask all of them, and OpenStreetMap, again.",
    )
    def helper_feeds(
        context: dg.AssetExecutionContext,
        config: SnapshotConfig,
        workshop: dg.ResourceParam[Workshop],
    ) -> dg.MaterializeResult[None]:
        take = partial(take_bytes_of_feeds, retry_number=context.retry_number)
        return step(context, workshop, take, refetch=config.refetch)

    # The feeds come first: where OpenStreetMap has to be asked again on a later day, what a feed
    # said on this one could not be had any more.
    @dg.asset(
        partitions_def=partitions,
        deps=[helper_feeds],
        group_name="helpers",
        kinds={"openstreetmap"},
        pool=upstream_pool,
        description="The raw bytes of a city's day from which its helper places are made, as "
        "upstream sent them, stored by their digest with a manifest. A day that has a snapshot is "
        "replayed from it; set `refetch` in the run config to ask upstream again.",
    )
    def helper_snapshot(
        context: dg.AssetExecutionContext,
        config: SnapshotConfig,
        workshop: dg.ResourceParam[Workshop],
    ) -> dg.MaterializeResult[None]:
        take = partial(take_snapshot, dataset=HELPER)
        return step(context, workshop, take, refetch=config.refetch)

    @dg.asset(
        partitions_def=partitions,
        deps=[helper_snapshot],
        group_name="helpers",
        kinds={"sql"},
        description="The day's slice of `helper_place`: versions of what a traveller needs "
        "(toilets, drinking water, cash, ...), derived ones with their parents. Writes only what "
        "changed, in one transaction with the run's SUCCEEDED. The checks come first; set "
        "`accept.reason` in the run config to stage a day that they stop.",
        check_specs=build_check_specs("helper_places", partitions, dataset=HELPER.name),
    )
    def helper_places(
        context: dg.AssetExecutionContext,
        config: StagingConfig,
        workshop: dg.ResourceParam[Workshop],
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        yield from with_check_results(
            lambda: step(context, workshop, partial(stage_helpers, accept=config.accept)),
            kept=lambda: stored_check_results(workshop.engine, _slice(city_day(context))),
            dataset=HELPER.name,
        )

    return [helper_feeds, helper_snapshot, helper_places]


def take_bytes_of_feeds(
    workshop: Workshop, work: Work, *, retry_number: int
) -> dg.MaterializeResult[None]:
    """Give each of the city's feeds its bytes of the day."""
    take_feeds(workshop, work, retry_number=retry_number)
    return dg.MaterializeResult(metadata=metadata.of_feeds(feeds_of_day(workshop, work)))


def stage_helpers(
    workshop: Workshop, work: Work, *, accept: Acceptance | None = None
) -> dg.MaterializeResult[None]:
    """Make the day's slices equal to the helper places of its snapshots."""
    from ingestion_pipeline.quality.examine import reason_of, require_accepted, warnings_of

    reason = reason_of(accept.reason) if accept else None
    manifest = snapshots.obtained(workshop, work, HELPER)
    evidence = evidence_of(work.city, manifest)
    target = _slice(CityDay(work.city.slug, work.day))
    feeds = feeds_of_day(workshop, work)
    now = workshop.ledger_now()
    planned = {target: evidence} | {
        replace(target, source=given.feed.source): given.evidence(work.city, beside=evidence)
        for given in feeds
        if given.manifest is not None
    }
    confirmed = confirm_slices(
        workshop.engine, planned, claim=work.claim, now=now, failed=failures_of(feeds)
    )
    if confirmed is not None:
        return _told(workshop, confirmed, target, evidence, feeds)
    with snapshots.reading_candidate(workshop, work, manifest):
        helpers, located, boundary, coverage, rejections = _derived(workshop, work, manifest)
    findings = examine_slice(
        workshop, work, target, helpers.table, evidence, boundary=boundary.area
    )
    accepted = require_accepted(findings, reason, what=str(target))
    evidence = replace(
        evidence,
        coverage=coverage,
        accepted_reason=accepted,
        warnings=warnings_of(findings),
    )
    feeds, of_feeds = slices_of_feeds(
        workshop,
        work,
        feeds,
        boundary=boundary,
        osm=helpers.table,
        beside=evidence,
        reason=reason,
    )
    of_osm = SliceInput(
        target=target,
        rows=helpers.table,
        rejections=[RejectedObject(**vars(rejection)) for rejection in rejections],
        evidence=evidence,
    )
    results = replace_slices(
        workshop.engine,
        [of_osm, *of_feeds],
        claim=work.claim,
        now=now,
        failed=failures_of(feeds),
    )
    told = _told(workshop, results, target, evidence, feeds)
    return dg.MaterializeResult(
        metadata={
            **(told.metadata or {}),
            **metadata.of_helpers(helpers, outside=located.outside, window=work.city.bbox),
        },
        check_results=results_of(findings, stopped=False, accepted_reason=accepted),
    )


def _slice(partition: CityDay) -> Slice:
    return Slice(partition.city, HELPER.name, SOURCE, partition.day)


def _told(
    workshop: Workshop,
    results: Mapping[Slice, SliceResult],
    target: Slice,
    evidence: SliceEvidence,
    feeds: Sequence[FeedOfDay],
) -> dg.MaterializeResult[None]:
    """Tell of what is staged."""
    for each, result in results.items():
        log.info(metadata.sentence_on_slice(result, what=f"helper places of {each.source}"))
    return dg.MaterializeResult(
        metadata={
            **metadata.of_slice(results[target], evidence, database=workshop.database_address),
            **metadata.of_feeds(feeds),
        }
    )


def _derived(
    workshop: Workshop, work: Work, manifest: Manifest
) -> "tuple[Helpers, Located, Boundary, Mapping[str, Any] | None, Sequence[Rejection]]":
    from ingestion_pipeline.helpers.derive import derive
    from ingestion_pipeline.osm.locate import locate
    from ingestion_pipeline.text.names import Namer

    reading = snapshots.read(workshop, work, manifest, HELPER)
    boundary = snapshots.boundary_in(reading, work)
    coverage = snapshots.require_covered(workshop, work, manifest, boundary)
    located = locate(reading.features, boundary)
    helpers = derive(
        _objects(located),
        day=work.day,
        namer=Namer(work.city.languages, work.city.local_language),
        licence=manifest.licence,
        attribution=manifest.attribution,
    )
    snapshots.require_enough_rows(helpers.table.num_rows, work, HELPER)
    return helpers, located, boundary, coverage, reading.rejections + located.rejections


def _objects(located: "Located") -> "OsmObjects":
    """Give features as the plain columns that helpers are derived from."""
    import shapely

    from ingestion_pipeline.helpers.derive import OsmObjects

    features = located.features
    return OsmObjects(
        source_ref=features.source_refs(),
        osm_type=features.osm_type.tolist(),
        osm_id=features.osm_id.tolist(),
        osm_version=[int(number) or None for number in features.version],
        osm_timestamp=features.timestamp.astype("datetime64[s]").tolist(),
        tags=list(features.tags),
        geometry=shapely.to_wkb(features.geometry, byte_order=1).tolist(),
        geom_quality=features.geom_quality.tolist(),
        lon=located.lon.tolist(),
        lat=located.lat.tolist(),
        point_source=located.point_source.tolist(),
    )
