"""The assets of a dataset: `[feeds ->] snapshot -> [frame ->] staging`.

The steps are implemented in `defs/feeds.py`, `defs/snapshots.py`, `defs/frames.py` and
`defs/staging.py`, the reported metadata in `defs/metadata.py`. `datasets/` declares how datasets
differ.
"""

from collections.abc import Iterator, Sequence

import dagster as dg

from ingestion_pipeline.datasets.base import Dataset
from ingestion_pipeline.defs import feeds, frames, metadata, snapshots
from ingestion_pipeline.defs.checks import (
    StagingConfig,
    build_check_specs,
    results_of_staging,
    results_of_stop,
)
from ingestion_pipeline.defs.partitions import city_day
from ingestion_pipeline.defs.resources import PipelineResources
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
    *,
    upstream_pool: str | None,
    feeds_pool: str | None,
) -> Sequence[dg.AssetsDefinition]:
    """Return a dataset's assets for the given partitions and concurrency pools."""
    # Feeds come first. OpenStreetMap can be queried again on a later day, but the bytes that a feed
    # has today cannot be fetched then.
    feeds_asset = [_feeds(dataset, partitions, feeds_pool)] if dataset.feeds_asset else []
    frame_asset = [_frame(dataset, partitions)] if dataset.frame_asset else []
    snapshot_asset = _snapshot(dataset, partitions, upstream_pool)
    return [*feeds_asset, snapshot_asset, *frame_asset, _staging(dataset, partitions)]


def _feeds(
    dataset: Dataset, partitions: dg.PartitionsDefinition, pool: str | None
) -> dg.AssetsDefinition:
    @dg.asset(
        name=dataset.feeds_asset,
        partitions_def=partitions,
        group_name=dataset.group,
        kinds={"http"},
        pool=pool,
    )
    def feeds_of_day(
        context: dg.AssetExecutionContext,
        config: SnapshotConfig,
        pipeline: dg.ResourceParam[PipelineResources],
    ) -> dg.MaterializeResult[None]:
        """The raw bytes of each of a city's feeds of the day, or the reason why there are none.

        A feed that has bytes is replayed from them. Set `refetch` in the run config to ask all
        of them, and OpenStreetMap, again.
        """
        with claimed(context, pipeline, dataset, refetch=config.refetch) as work:
            if isinstance(work, NothingToDo):
                return nothing_to_do(work)
            feeds.take_feeds(pipeline, work, retry_number=context.retry_number)
            given = feeds.feeds_of_day(pipeline, work)
            return dg.MaterializeResult(metadata=metadata.of_feeds(given))

    return feeds_of_day


def _snapshot(
    dataset: Dataset, partitions: dg.PartitionsDefinition, pool: str | None
) -> dg.AssetsDefinition:
    @dg.asset(
        name=dataset.snapshot_asset,
        partitions_def=partitions,
        deps=_before(dataset, dataset.snapshot_asset),
        group_name=dataset.group,
        kinds={"openstreetmap"},
        pool=pool,
    )
    def snapshot(
        context: dg.AssetExecutionContext,
        config: SnapshotConfig,
        pipeline: dg.ResourceParam[PipelineResources],
    ) -> dg.MaterializeResult[None]:
        """The raw bytes of a city's day, as upstream sent them, stored by digest with a manifest.

        A day that has a snapshot is replayed from it. Set `refetch` in the run config to ask
        upstream again.
        """
        with claimed(context, pipeline, dataset, refetch=config.refetch) as work:
            if isinstance(work, NothingToDo):
                return nothing_to_do(work)
            manifest, replayed = snapshots.take(pipeline, work, dataset)
            return dg.MaterializeResult(
                metadata=metadata.of_snapshot(manifest, replayed=replayed),
                data_version=dg.DataVersion(manifest.digest),
            )

    return snapshot


def _frame(dataset: Dataset, partitions: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        name=dataset.frame_asset,
        partitions_def=partitions,
        deps=_before(dataset, dataset.frame_asset),
        group_name=dataset.group,
        kinds={"geoparquet"},
    )
    def frame(
        context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[PipelineResources]
    ) -> dg.MaterializeResult[None]:
        """The city's rows of the day, normalized and classified.

        GeoParquet in the lake, with the evidence of its rows inside.
        """
        with claimed(context, pipeline, dataset) as work:
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


def _staging(dataset: Dataset, partitions: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        name=dataset.staging_asset,
        partitions_def=partitions,
        deps=_before(dataset, dataset.staging_asset),
        group_name=dataset.group,
        kinds={"sql"},
        check_specs=build_check_specs(dataset, partitions),
    )
    def staging(
        context: dg.AssetExecutionContext,
        config: StagingConfig,
        pipeline: dg.ResourceParam[PipelineResources],
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        """The day's slice of the dataset's table: versions of features with their validity.

        Writes only what changed, in one transaction with the run's SUCCEEDED. The checks run
        first. Set `accept.reason` in the run config to stage a day that they stop.
        """
        try:
            with claimed(context, pipeline, dataset) as work:
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
