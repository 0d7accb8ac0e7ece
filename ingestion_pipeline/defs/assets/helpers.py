"""Helper places, from raw bytes to staged rows.

Belongs here: the assets `helper_snapshot -> helper_places`, each of which gets, shapes, stores and
reports. Does not belong here: how any of that is done (`defs/snapshots.py`, `helpers/`,
`staging/`), and what is reported (`defs/metadata.py`).
"""

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import dagster as dg

from ingestion_pipeline.datasets import HELPER
from ingestion_pipeline.defs import metadata, snapshots
from ingestion_pipeline.defs.resources import Workshop
from ingestion_pipeline.defs.snapshots import SnapshotConfig, take_snapshot
from ingestion_pipeline.defs.work import Work, city_day_step
from ingestion_pipeline.lake.snapshots import Manifest
from ingestion_pipeline.provenance import evidence_of
from ingestion_pipeline.staging.days import Slice
from ingestion_pipeline.staging.slices import RejectedObject, confirm_slice, replace_slice

if TYPE_CHECKING:
    from ingestion_pipeline.helpers.derive import Helpers, OsmObjects
    from ingestion_pipeline.osm.features import Rejection
    from ingestion_pipeline.osm.locate import Located

# Shown by the command line, and kept with the run by `managed_python_loggers` in dagster.yaml.
log = logging.getLogger(__name__)

SOURCE = "osm"
JOB: Final = "helpers_import"
CHAIN = ("helper_snapshot", "helper_places")


def build_helper_assets(
    partitions: dg.PartitionsDefinition, *, upstream_pool: str | None
) -> Sequence[dg.AssetsDefinition]:
    """Define both assets for the given partitions, and for the pool of those that fetch."""
    step = partial(city_day_step, job_type=JOB, chain=CHAIN)

    @dg.asset(
        partitions_def=partitions,
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
        return step(
            context, workshop, partial(take_snapshot, dataset=HELPER), refetch=config.refetch
        )

    @dg.asset(
        partitions_def=partitions,
        deps=[helper_snapshot],
        group_name="helpers",
        kinds={"sql"},
        description="The day's slice of `helper_place`: versions of what a traveller needs "
        "(toilets, drinking water, cash, ...), derived ones with their parents. Writes only what "
        "changed, in one transaction with the run's SUCCEEDED.",
    )
    def helper_places(
        context: dg.AssetExecutionContext, workshop: dg.ResourceParam[Workshop]
    ) -> dg.MaterializeResult[None]:
        return step(context, workshop, stage_helpers)

    return [helper_snapshot, helper_places]


def stage_helpers(workshop: Workshop, work: Work) -> dg.MaterializeResult[None]:
    """Make the day's slice equal to the helper places of its snapshot."""
    manifest = snapshots.require_stored(workshop, work, HELPER, asset=CHAIN[0])
    evidence = evidence_of(work.city, manifest)
    target = Slice(work.city.slug, HELPER.name, SOURCE, work.day)
    now = workshop.clock.now()
    result = confirm_slice(workshop.engine, target, evidence=evidence, claim=work.claim, now=now)
    described: dict[str, dg.MetadataValue] = {}
    if result is None:
        with snapshots.on_trial(workshop, work, manifest):
            helpers, located, rejections = _derived(workshop, work, manifest)
        described = metadata.of_helpers(helpers, outside=located.outside, window=work.city.bbox)
        result = replace_slice(
            workshop.engine,
            target,
            helpers.table,
            rejections=[RejectedObject(**vars(rejection)) for rejection in rejections],
            evidence=evidence,
            claim=work.claim,
            now=now,
        )
    log.info(metadata.sentence_on_slice(result, what="helper places"))
    return dg.MaterializeResult(
        metadata=described | metadata.of_slice(result, evidence, database=workshop.database_address)
    )


def _derived(
    workshop: Workshop, work: Work, manifest: Manifest
) -> "tuple[Helpers, Located, Sequence[Rejection]]":
    from ingestion_pipeline.helpers.derive import derive
    from ingestion_pipeline.osm.locate import locate
    from ingestion_pipeline.text.names import Namer

    reading = snapshots.read(workshop, work, manifest, HELPER)
    located = locate(reading.features, snapshots.boundary_in(reading, work))
    helpers = derive(
        _objects(located),
        namer=Namer(work.city.languages, work.city.local_language),
        licence=manifest.licence,
        attribution=manifest.attribution,
    )
    return helpers, located, reading.rejections


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
        tags=features.tags,
        geometry=shapely.to_wkb(features.geometry, byte_order=1).tolist(),
        geom_quality=features.geom_quality.tolist(),
        lon=located.lon.tolist(),
        lat=located.lat.tolist(),
        point_source=located.point_source.tolist(),
    )
