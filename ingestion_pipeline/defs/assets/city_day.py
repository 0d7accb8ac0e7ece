"""The assets of a dataset: `[feeds ->] snapshot -> [frame ->] staging`.

The steps are implemented in `defs/feeds.py`, `defs/snapshots.py`, `defs/fetching.py`,
`defs/frames.py` and `defs/staging.py`, the reported metadata in `defs/metadata.py`. `datasets/`
declares how datasets differ.
"""

from collections.abc import Iterator, Sequence

import dagster as dg

from ingestion_pipeline.datasets.base import Dataset
from ingestion_pipeline.defs import feeds, frames, metadata, snapshots, specs
from ingestion_pipeline.defs.checks import (
    StagingConfig,
    build_check_specs,
    results_of_staging,
    results_of_stop,
)
from ingestion_pipeline.defs.partitions import city_day
from ingestion_pipeline.defs.resources import (
    OSM_RESOURCES,
    STORED_RESOURCES,
    PipelineResources,
    pipeline_of,
)
from ingestion_pipeline.defs.snapshots import SnapshotConfig
from ingestion_pipeline.defs.staging import stage
from ingestion_pipeline.defs.work import NothingToDo, claimed, nothing_to_do
from ingestion_pipeline.staging.history import stored_check_results

UPSTREAM_POOL = "osm_upstream"
"""The concurrency pool of assets that fetch OpenStreetMap data; `dagster.yaml` sets its limit."""

FEEDS_POOL = "feed_upstream"
"""The concurrency pool of assets that fetch feeds. It is separate, so that a feed that is down does
not block other sources."""


def build_assets(
    dataset: Dataset,
    partitions: dg.PartitionsDefinition,
    pipeline: PipelineResources,
    *,
    upstream_pool: str | None,
    feeds_pool: str | None,
) -> Sequence[dg.AssetsDefinition]:
    """Return a dataset's assets for the given partitions and concurrency pools.

    `pipeline` has what they show of the installation. Runs get their resources from Dagster.
    """
    # Feeds come first. OpenStreetMap can be queried again on a later day, but the bytes that a feed
    # has today cannot be fetched then.
    feeds_asset = [_feeds(dataset, partitions, pipeline, feeds_pool)] if dataset.feeds_asset else []
    frame_asset = (
        [_frame(dataset, partitions, pipeline, upstream_pool)] if dataset.frame_asset else []
    )
    snapshot_asset = _snapshot(dataset, partitions, pipeline, upstream_pool)
    staging_asset = _staging(dataset, partitions, pipeline, upstream_pool)
    return [*feeds_asset, snapshot_asset, *frame_asset, staging_asset]


def _feeds(
    dataset: Dataset,
    partitions: dg.PartitionsDefinition,
    pipeline: PipelineResources,
    pool: str | None,
) -> dg.AssetsDefinition:
    attributes = specs.attributes_of(
        dataset,
        "feeds",
        pipeline,
        kinds={"file"},
        code=[feeds.take_feeds],
        metadata=specs.stored_at(pipeline, "snapshots"),
    )

    @dg.asset(
        name=dataset.feeds_asset,
        partitions_def=partitions,
        deps=specs.upstream_of("feeds", dataset, pipeline),
        required_resource_keys=set(STORED_RESOURCES),
        pool=pool,
        **attributes,
    )
    def feeds_of_day(
        context: dg.AssetExecutionContext,
        config: SnapshotConfig,
    ) -> dg.MaterializeResult[None]:
        """The raw bytes of each of a city's feeds of the day, or the reason why there are none.

        A feed that has bytes is replayed from them. Set `refetch` in the run config to ask all
        of them, and OpenStreetMap, again.
        """
        pipeline = pipeline_of(context)
        with claimed(context, pipeline, dataset, refetch=config.refetch) as work:
            if isinstance(work, NothingToDo):
                return nothing_to_do(work)
            feeds.take_feeds(pipeline, work, retry_number=context.retry_number)
            given = feeds.feeds_of_day(pipeline, work)
            return dg.MaterializeResult(metadata=metadata.of_feeds(given))

    return feeds_of_day


def _snapshot(
    dataset: Dataset,
    partitions: dg.PartitionsDefinition,
    pipeline: PipelineResources,
    pool: str | None,
) -> dg.AssetsDefinition:
    attributes = specs.attributes_of(
        dataset,
        "snapshot",
        pipeline,
        kinds={"file"},
        code=[snapshots.take],
        metadata=specs.stored_at(pipeline, "snapshots", dataset.name),
        code_version=f"selection {dataset.selection.digest[:12]}",
    )
    upstream = specs.upstream_of("snapshot", dataset, pipeline)

    @dg.asset(
        name=dataset.snapshot_asset,
        partitions_def=partitions,
        deps=[*_before(dataset, dataset.snapshot_asset), *upstream],
        required_resource_keys=set(OSM_RESOURCES),
        pool=pool,
        **attributes,
    )
    def snapshot(
        context: dg.AssetExecutionContext,
        config: SnapshotConfig,
    ) -> dg.MaterializeResult[None]:
        """The raw bytes of a city's day, as upstream sent them, stored by digest with a manifest.

        A day that has a snapshot is replayed from it. Set `refetch` in the run config to ask
        upstream again.
        """
        pipeline = pipeline_of(context)
        with claimed(context, pipeline, dataset, refetch=config.refetch) as work:
            if isinstance(work, NothingToDo):
                return nothing_to_do(work)
            manifest, replayed = snapshots.take(pipeline, work, dataset)
            usage = {} if replayed else snapshots.usage_today(pipeline, work)
            return dg.MaterializeResult(
                metadata=metadata.of_snapshot(manifest, replayed=replayed) | usage,
                data_version=dg.DataVersion(manifest.digest),
            )

    return snapshot


def _frame(
    dataset: Dataset,
    partitions: dg.PartitionsDefinition,
    pipeline: PipelineResources,
    pool: str | None,
) -> dg.AssetsDefinition:
    attributes = specs.attributes_of(
        dataset,
        "frame",
        pipeline,
        kinds={"parquet"},
        code=[frames.store_frame, dataset.shape],
        metadata=specs.stored_at(pipeline, "frames", dataset.name) | specs.of_frame(dataset),
        code_version=dataset.rules.name,
    )

    @dg.asset(
        name=dataset.frame_asset,
        partitions_def=partitions,
        deps=_before(dataset, dataset.frame_asset),
        # A snapshot that was quarantined is fetched again here.
        required_resource_keys=set(OSM_RESOURCES),
        **attributes,
    )
    def frame(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        """The city's rows of the day, normalized and classified.

        GeoParquet in the lake, with the evidence of its rows inside.
        """
        pipeline = pipeline_of(context)
        with claimed(context, pipeline, dataset, pool=pool) as work:
            if isinstance(work, NothingToDo):
                return nothing_to_do(work)
            shaped, reused = frames.store_frame(pipeline, work, dataset)
            return dg.MaterializeResult(
                metadata=metadata.of_stored_frame(
                    shaped,
                    dataset,
                    reused=reused,
                    window=work.city.bbox,
                    address=frames.address_of(pipeline, work, dataset),
                )
            )

    return frame


def _staging(
    dataset: Dataset,
    partitions: dg.PartitionsDefinition,
    pipeline: PipelineResources,
    pool: str | None,
) -> dg.AssetsDefinition:
    attributes = specs.attributes_of(
        dataset,
        "staging",
        pipeline,
        kinds={specs.database_kind(pipeline), "table"},
        code=[stage, dataset.shape],
        metadata=specs.of_version_table(dataset, pipeline),
        code_version=dataset.rules.name,
    )

    @dg.asset(
        name=dataset.staging_asset,
        partitions_def=partitions,
        deps=_before(dataset, dataset.staging_asset),
        required_resource_keys=set(STORED_RESOURCES if dataset.frame_asset else OSM_RESOURCES),
        freshness_policy=specs.FRESHNESS,
        **attributes,
        check_specs=build_check_specs(dataset, partitions),
    )
    def staging(
        context: dg.AssetExecutionContext,
        config: StagingConfig,
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        """The day's slice of the dataset's table: versions of features with their validity.

        Writes only what changed, in one transaction with the run's SUCCEEDED. The checks run
        first. Set `accept.reason` in the run config to stage a day that they stop.
        """
        pipeline = pipeline_of(context)
        try:
            with claimed(context, pipeline, dataset, pool=pool) as work:
                if isinstance(work, NothingToDo):
                    staged = nothing_to_do(work)
                else:
                    staged = stage(pipeline, work, dataset, accept=config.accept)
        except dg.Failure as failure:
            yield from results_of_stop(failure)
            raise
        partition = city_day(context)
        target = dataset.slice_of(partition.city, partition.day)
        yield from results_of_staging(
            staged, dataset, stored=lambda: stored_check_results(pipeline.engine, target)
        )

    return staging


def _before(dataset: Dataset, asset: str | None) -> list[dg.AssetKey]:
    """Return the asset that precedes another in the chain, if any."""
    before = dict(zip(dataset.chain[1:], dataset.chain, strict=False))
    return [dg.AssetKey(before[asset])] if asset in before else []
