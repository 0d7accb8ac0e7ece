"""Metadata of materializations, and one sentence for the log.

This module selects and words them. Each area counts its own rows, and `defs/preview.py` draws maps.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from ingestion_pipeline.core.evidence import SliceEvidence
from ingestion_pipeline.core.frame import Frame
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.core.manual import manual_url
from ingestion_pipeline.datasets.base import Dataset
from ingestion_pipeline.defs.preview import Places, picture_of_day
from ingestion_pipeline.lake.snapshots import Manifest
from ingestion_pipeline.sources.gate import sentence_on_usage
from ingestion_pipeline.staging.days import Slice
from ingestion_pipeline.staging.outcomes import COUNTS, outcome_of, sources_of
from ingestion_pipeline.staging.slices import SliceResult
from ingestion_pipeline.staging.tables import LEGENDS
from ingestion_pipeline.staging.upstream import Budget, Usage

if TYPE_CHECKING:
    import pyarrow as pa

    from ingestion_pipeline.core.rejection import Rejection
    from ingestion_pipeline.defs.feeds import FeedOfDay

CLASSES_SHOWN = 50
SAMPLES_SHOWN = 10

_COLUMNS_DOC = dg.MetadataValue.path(manual_url("data-dictionary"))
_OPERATIONS_DOC = dg.MetadataValue.path(manual_url("operations"))


def sentence_on_snapshot(manifest: Manifest, *, replayed: bool) -> str:
    """Return a sentence on a snapshot."""
    how = "replayed" if replayed else "fetched"
    return (
        f"{how} {manifest.raw_bytes:,} raw bytes from {manifest.obtained} {manifest.location}, "
        f"as of {_text(manifest.as_of)} ({manifest.as_of_source})"
    )


def of_snapshot(manifest: Manifest, *, replayed: bool) -> dict[str, dg.MetadataValue]:
    """Return the metadata of a snapshot."""
    history = manifest.history
    return {
        "as_of": dg.MetadataValue.timestamp(manifest.as_of),
        "as_of_source": dg.MetadataValue.text(manifest.as_of_source),
        **({} if history is None else {"history": dg.MetadataValue.text(history)}),
        "obtained": dg.MetadataValue.text(manifest.obtained),
        "location": dg.MetadataValue.text(manifest.location),
        "replayed": dg.MetadataValue.bool(replayed),
        "fetched_at": dg.MetadataValue.timestamp(manifest.fetched_at),
        "raw_bytes": dg.MetadataValue.int(manifest.raw_bytes),
        "stored_bytes": dg.MetadataValue.int(sum(part.stored_bytes for part in manifest.parts)),
        "parts": dg.MetadataValue.int(len(manifest.parts)),
        "digest": dg.MetadataValue.text(manifest.digest),
        "query": dg.MetadataValue.md(_code(manifest.parts[0].query or "none: a file")),
        "licence": dg.MetadataValue.text(manifest.licence),
        "attribution": dg.MetadataValue.text(manifest.attribution),
        "runbook": _OPERATIONS_DOC,
    }


def of_usage(usage: Iterable[Usage], budgets: Mapping[str, Budget]) -> dict[str, dg.MetadataValue]:
    """Return the metadata of what servers were asked for today."""
    sentences = [sentence_on_usage(each, budgets[each.source]) for each in usage]
    return {"upstream_today": dg.MetadataValue.text("; ".join(sentences))} if sentences else {}


def sentence_on_frame(frame: Frame, dataset: Dataset, *, reused: bool) -> str:
    """Return a sentence on a frame."""
    how = "nothing to normalize again:" if reused else "normalized"
    outside = frame.counts.get("outside")
    return (
        f"{how} {frame.rows.num_rows:,} {dataset.things}; "
        + ("" if outside is None else f"{outside:,} features lie outside the boundary, ")
        + f"{len(frame.rejections):,} were rejected"
    )


def of_stored_frame(
    frame: Frame, dataset: Dataset, *, reused: bool, window: Bbox, address: str
) -> dict[str, dg.MetadataValue]:
    """Return the metadata of a frame that is stored in the lake."""
    return {
        "reused": dg.MetadataValue.bool(reused),
        "dagster/row_count": dg.MetadataValue.int(frame.rows.num_rows),
        f"{dataset.class_column}_count": dg.MetadataValue.int(
            len(set(frame.rows.column(dataset.class_column).to_pylist()))
        ),
        **of_frame(frame, dataset, window=window),
        "rejected": dg.MetadataValue.int(len(frame.rejections)),
        "rejections": dg.MetadataValue.md(_rejections(frame.rejections)),
        "frame": dg.MetadataValue.path(address),
        "columns": _COLUMNS_DOC,
    }


def of_frame(frame: Frame, dataset: Dataset, *, window: Bbox) -> dict[str, dg.MetadataValue]:
    """Return the metadata of a frame's rows: values, counts and a map."""
    from ingestion_pipeline.columns.arrow import doubles

    rows = frame.rows
    return {
        **{
            key: dg.MetadataValue.md(
                _table(counted.heading, _counts_of(rows, counted.column), of=dataset.things)
            )
            for key, counted in dataset.counted.items()
        },
        **{key: dg.MetadataValue.int(frame.counts[name]) for name, key in dataset.counts.items()},
        "map": dg.MetadataValue.md(
            picture_of_day(
                Places(
                    doubles(rows.column("lon")),
                    doubles(rows.column("lat")),
                    list(map(str, rows.column(dataset.class_column).to_pylist())),
                ),
                legend=LEGENDS[dataset.name],
                boundary=frame.boundary.area,
                window=window,
                things=dataset.things,
            )
        ),
    }


def _counts_of(rows: "pa.Table", column: str) -> dict[str, int]:
    """Return the most frequent values of a column with their counts."""
    values = map(str, rows.column(column).to_pylist())
    return dict(Counter(values).most_common(CLASSES_SHOWN))


def of_feeds(feeds: "Sequence[FeedOfDay]") -> dict[str, dg.MetadataValue]:
    """Return the metadata of a day's feeds."""
    if not feeds:
        return {}
    lines = [
        f"| `{given.feed.slug}` | {_text(given.manifest.as_of) if given.manifest else 'nothing'} | "
        f"{_standing_of(given)} |"
        for given in feeds
    ]
    table = "\n".join(["| feed | as of | |", "|---|---|---|", *lines])
    failed = sum(given.failure is not None for given in feeds)
    return {"feeds": dg.MetadataValue.md(table), "feeds_failed": dg.MetadataValue.int(failed)}


def _standing_of(given: "FeedOfDay") -> str:
    if given.failure is None:
        is_unchanged = given.manifest is not None and given.manifest.parts[0].query is not None
        return "good, unchanged since the last download" if is_unchanged else "good"
    if given.manifest is None:
        how = "nothing new"
    else:
        how = "the day's own, kept" if given.is_own else "stale"
    return f"{how}: {cell_of(str(given.failure))}"


def cell_of(text: str) -> str:
    """Return a text as a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def sentence_on_slice(result: SliceResult, *, what: str) -> str:
    """Return a sentence on a staged slice."""
    return (
        f"staged {result.rows:,} {what} ({result.written:,} rows written); against the staged day "
        f"before: {result.added:,} added, {result.changed:,} changed, "
        f"{result.removed:,} removed"
    )


def of_counts(counts: Mapping[str, Any]) -> dict[str, dg.MetadataValue]:
    """Return the metadata of what was staged: the counts of all sources together, and of each.

    Args:
        counts: As in the ledger.
    """
    totals: dict[str, dg.MetadataValue] = {
        "dagster/row_count" if name == "rows" else name: dg.MetadataValue.int(counts[name])
        for name in COUNTS
    }
    sources = sources_of(counts)
    if not sources:
        return totals
    head = ["source", *COUNTS, "state"]
    lines = [
        [f"`{source}`", *(f"{each.counts[name]:,}" for name in COUNTS), each.state]
        for source, each in sources.items()
    ]
    rule = ["---", *["---:"] * len(COUNTS), "---"]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))
    return {
        **totals,
        "outcome": dg.MetadataValue.text(outcome_of(counts)),
        "sources": dg.MetadataValue.md(table),
    }


def of_evidence(evidence: SliceEvidence, *, database: str) -> dict[str, dg.MetadataValue]:
    """Return the metadata of the evidence of the rows of OpenStreetMap."""
    return {
        "as_of": dg.MetadataValue.timestamp(evidence.as_of),
        "as_of_source": dg.MetadataValue.text(evidence.as_of_source),
        "digest": dg.MetadataValue.text(evidence.digest),
        "rules_version": dg.MetadataValue.text(evidence.rules_version),
        **_of_coverage(evidence.coverage),
        **of_acceptance(evidence.accepted_reason),
        "database": dg.MetadataValue.text(database),
        "columns": _COLUMNS_DOC,
    }


def of_map(target: Slice) -> dict[str, dg.MetadataValue]:
    """Return the command that writes an interactive map of a staged slice."""
    command = f"poi-ingest map --city {target.city_slug} --day {target.day}"
    if target.dataset != next(iter(LEGENDS)):
        command += f" --dataset {target.dataset}"
    return {"interactive_map": dg.MetadataValue.md(_code(command))}


def _of_coverage(coverage: Mapping[str, Any] | None) -> dict[str, dg.MetadataValue]:
    """Return the share of the city that the extract covers; nothing for other sources."""
    if coverage is None:
        return {}
    return {
        "covered_share": dg.MetadataValue.float(float(coverage["share"])),
        "covered_by": dg.MetadataValue.text(coverage["how"]),
    }


def of_acceptance(reason: str | None) -> dict[str, dg.MetadataValue]:
    """Return the reason of an acceptance; nothing if the day was not accepted."""
    return {"accepted_reason": dg.MetadataValue.text(reason)} if reason else {}


def _rejections(rejections: Sequence["Rejection"]) -> str:
    if not rejections:
        return "none"
    by_reason = _table(
        "reason", dict(Counter(r.reason for r in rejections).most_common()), of="objects"
    )
    samples = "\n".join(f"- `{r.source_ref}` {r.detail}" for r in rejections[:SAMPLES_SHOWN])
    return f"{by_reason}\n\n{samples}"


def _table(what: str, counts: dict[str, int], *, of: str) -> str:
    rows = "\n".join(f"| {name} | {count:,} |" for name, count in counts.items())
    return f"| {what} | {of} |\n|---|---:|\n{rows}"


def _code(text: str) -> str:
    return f"```\n{text}\n```"


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
