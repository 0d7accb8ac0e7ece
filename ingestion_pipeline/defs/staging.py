"""Stage a city-day: its frame and its feeds become slices if the checks or an operator pass it.

This module has the order of the steps. The steps are in `frames.py`, `feeds.py`, `checks.py` and
`staging/slices.py`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import dagster as dg

from ingestion_pipeline.core.evidence import SliceEvidence
from ingestion_pipeline.datasets.base import SOURCE, Dataset
from ingestion_pipeline.defs import frames, metadata
from ingestion_pipeline.defs.checks import Acceptance, examine_slice, results_of
from ingestion_pipeline.defs.feeds import FeedOfDay, failures_of, feeds_of_day, slices_of_feeds
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.defs.work import ClaimedPartition
from ingestion_pipeline.staging.days import Slice
from ingestion_pipeline.staging.outcomes import counts_of_run
from ingestion_pipeline.staging.slices import (
    SliceInput,
    SliceResult,
    confirm_slices,
    replace_slices,
)

# The command line prints it; `managed_python_loggers` in dagster.yaml adds it to the run's log.
log = logging.getLogger(__name__)


def stage(
    pipeline: PipelineResources,
    work: ClaimedPartition,
    dataset: Dataset,
    *,
    accept: Acceptance | None = None,
) -> dg.MaterializeResult[None]:
    """Stage the day's frame and feeds as slices; compare nothing if their inputs are unchanged."""
    from ingestion_pipeline.quality.examine import reason_of, require_accepted, warnings_of

    reason = reason_of(accept.reason) if accept else None
    target = dataset.slice_of(work.city.slug, work.day)
    evidence = frames.current_evidence(pipeline, work, dataset)
    feeds = feeds_of_day(pipeline, work) if dataset.feeds_asset else []
    now = pipeline.ledger_now()
    planned = {target: evidence} | {
        replace(target, source=given.feed.source): given.evidence(work.city, beside=evidence)
        for given in feeds
        if given.manifest is not None
    }
    confirmed = confirm_slices(
        pipeline.engine, planned, claim=work.claim, now=now, failed=failures_of(feeds)
    )
    if confirmed is not None:
        return dg.MaterializeResult(
            metadata=_reported(pipeline, dataset, confirmed, evidence, feeds=feeds)
        )
    frame = frames.current_frame(pipeline, work, dataset)
    findings = examine_slice(pipeline, work, dataset, frame)
    accepted = require_accepted(findings, reason, what=str(target))
    evidence = replace(frame.evidence, accepted_reason=accepted, warnings=warnings_of(findings))
    feeds, of_feeds = slices_of_feeds(
        pipeline, work, feeds, frame=frame, beside=evidence, reason=reason
    )
    results = replace_slices(
        pipeline.engine,
        [SliceInput(target, frame.rows, frame.rejections, evidence), *of_feeds],
        claim=work.claim,
        now=now,
        failed=failures_of(feeds),
    )
    reported = _reported(pipeline, dataset, results, evidence, feeds=feeds)
    if dataset.frame_asset is None:
        reported |= metadata.of_frame(frame, dataset, window=work.city.bbox)
    return dg.MaterializeResult(
        metadata=reported,
        check_results=results_of(findings, stopped=False, accepted_reason=accepted),
    )


def _reported(
    pipeline: PipelineResources,
    dataset: Dataset,
    results: Mapping[Slice, SliceResult],
    evidence: SliceEvidence,
    *,
    feeds: Sequence[FeedOfDay],
) -> dict[str, dg.MetadataValue]:
    """Return the metadata of the staged slices, and log a sentence for each."""
    for each, result in results.items():
        what = f"{dataset.things} of {each.source}" if dataset.feeds_asset else dataset.things
        log.info(metadata.sentence_on_slice(result, what=what))
    (target,) = (each for each in results if each.source == SOURCE)
    counts = counts_of_run(
        {each.source: result.counts() for each, result in results.items()},
        stale={given.feed.source for given in feeds if given.stale_reason},
        failed=failures_of(feeds),
    )
    return {
        **metadata.of_counts(counts),
        **metadata.of_evidence(evidence, database=pipeline.database_address),
        **metadata.of_map(target),
        **metadata.of_feeds(feeds),
    }
