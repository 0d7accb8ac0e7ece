"""The asset `poi`, its job, and the sensor that promotes what was staged.

`promotion/` does the work. The asset belongs to the same partitions as `poi_staging`.
"""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

import dagster as dg

from ingestion_pipeline.core.identity import CityDay
from ingestion_pipeline.datasets.poi import POI
from ingestion_pipeline.defs import specs
from ingestion_pipeline.defs.jobs import JOBS, IngestionJob
from ingestion_pipeline.defs.metadata import cell_of
from ingestion_pipeline.defs.partitions import key_and_tags
from ingestion_pipeline.defs.resources import LEDGER_RESOURCES, PipelineResources, pipeline_of
from ingestion_pipeline.defs.work import (
    TRIGGER_TAG,
    ClaimedPartition,
    NothingToDo,
    claimed,
    nothing_to_do,
)
from ingestion_pipeline.promotion.due import Due, due
from ingestion_pipeline.promotion.ledger import JOB_TYPE, Promotion

ASSET = "poi"

GROUP = "public"
"""A group of its own: who materializes the group of staging does not promote."""

SENSOR = "promotion_sensor"

INTERVAL_S = 30
"""A promotion may wait that long after its day was staged."""


class PromotionConfig(dg.Config):
    """The configuration of the asset `poi`."""

    again: bool = False
    """Propose the day again although it was rejected."""


class PromotionJob(NamedTuple):
    """The job that promotes a staged day, in the form of `IngestionJob`."""

    job_type: str
    chain: tuple[str, ...]
    definition: Any

    def run_config(self, *, refetch: bool) -> dict[str, Any]:
        """Return the run config of a run: to do a day again is to propose it again."""
        return {"ops": {ASSET: {"config": {"again": refetch}}}}


PROMOTION = PromotionJob(
    JOB_TYPE,
    (ASSET,),
    dg.define_asset_job(
        JOB_TYPE,
        selection=dg.AssetSelection.assets(ASSET),
        description="Make a staged day of a city's POIs public, or propose it.",
    ),
)


def requested_jobs() -> Mapping[str, IngestionJob | PromotionJob]:
    """Return the jobs that the ledger can request, by type."""
    return {**JOBS, JOB_TYPE: PROMOTION}


def build_promotion(
    partitions: dg.PartitionsDefinition, pipeline: PipelineResources
) -> dg.AssetsDefinition:
    """Return the asset of the public places; see `build_assets` for the arguments."""
    attributes = specs.attributes_of(
        POI,
        "public",
        pipeline,
        kinds={specs.database_kind(pipeline), "table"},
        code=[_promote],
        metadata=specs.of_public_table(pipeline),
    )

    @dg.asset(
        name=ASSET,
        partitions_def=partitions,
        deps=[dg.AssetKey(POI.staging_asset)],
        required_resource_keys=set(LEDGER_RESOURCES),
        **attributes | {"group_name": GROUP},
    )
    def poi(
        context: dg.AssetExecutionContext, config: PromotionConfig
    ) -> dg.MaterializeResult[None]:
        """The public places of a city, with stable ids.

        Makes the staged day public if its gates and the city's policy allow, or proposes it. An
        approved proposal of the day becomes public. Set `again` in the run config to propose a
        rejected day again.
        """
        pipeline = pipeline_of(context)
        with claimed(context, pipeline, PROMOTION) as work:
            if isinstance(work, NothingToDo):
                return nothing_to_do(work)
            done = _promote(pipeline, work, again=config.again)
            return dg.MaterializeResult(metadata=_metadata(done))

    return poi


def build_promotion_sensor() -> dg.SensorDefinition:
    """Return the sensor that requests a promotion for each newest staged day.

    A day is requested once for each time it was staged, whatever became of it. The cursor has the
    keys that were requested. Dagster also starts one run for each key, so a tick that dies before
    its cursor is stored is made up for by the next one.
    """

    @dg.sensor(
        name=SENSOR,
        job=PROMOTION.definition,
        minimum_interval_seconds=INTERVAL_S,
        required_resource_keys=set(LEDGER_RESOURCES),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Promotes or proposes the newest staged day of each city whose promotion is "
        "not off.",
    )
    def promotion_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        pipeline = pipeline_of(context)
        first = pipeline.settings.first_partition
        own = pipeline.own_cities
        requests = [_request(each, first=first) for each in due(pipeline.engine, own)]
        requested = json.loads(context.cursor or "[]")
        return dg.SensorResult(
            run_requests=[each for each in requests if each.run_key not in requested],
            cursor=json.dumps([each.run_key for each in requests]),
        )

    return promotion_sensor


def _request(staged: Due, *, first: date) -> dg.RunRequest:
    key, tags = key_and_tags(CityDay(staged.city_slug, staged.day), first=first)
    return dg.RunRequest(
        run_key=f"{JOB_TYPE}:{staged.city_slug}:{staged.day}:{staged.run_id}",
        partition_key=key,
        tags={TRIGGER_TAG: "schedule", **tags},
    )


def _promote(pipeline: PipelineResources, work: ClaimedPartition, *, again: bool) -> Promotion:
    from ingestion_pipeline.promotion.promote import Terms, promote

    return promote(
        pipeline.engine,
        POI.slice_of(work.city.slug, work.day),
        Terms(policy=work.city.promotion, memory_days=work.city.identity_memory_days),
        claim=work.claim,
        now=pipeline.ledger_now(),
        again=again,
    )


def _metadata(done: Promotion) -> dict[str, dg.MetadataValue]:
    """Return what the page of a run shows of a promotion."""
    lines = ["| gate | verdict | |", "|---|---|---|"]
    lines += [
        f"| {gate.name} | {gate.verdict} | {cell_of(gate.sentence)} |" for gate in done.judged
    ]
    # The log of a run shows the first entries; the others are a click away.
    shown: dict[str, dg.MetadataValue] = {"status": dg.MetadataValue.text(done.status)}
    if done.status == "PROPOSED":
        shown["decide_with"] = dg.MetadataValue.text(f"poi-ingest promotions {done.id}")
    if done.decided_by is not None:
        shown["decided"] = dg.MetadataValue.text(f"by {done.decided_by}: {done.decision_reason}")
    shown["gates"] = dg.MetadataValue.md("\n".join(lines))
    if asking := " ".join(gate.sentence for gate in done.judged if gate.verdict == "review"):
        shown["review"] = dg.MetadataValue.text(asking)
    places = "public_places" if done.status == "PROMOTED" else "public_places_if_approved"
    return shown | {
        "promotion": dg.MetadataValue.text(done.id),
        places: dg.MetadataValue.int(sum(done.totals.values())),
        "events": dg.MetadataValue.json(dict(done.counts)),
    }
