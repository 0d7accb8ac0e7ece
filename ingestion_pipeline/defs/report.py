"""The terminal report of a successful run, from its materializations and its row of the ledger."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from ingestion_pipeline.datasets.base import Dataset

Line = tuple[str, str, str]
"""The step in a word, what happened in a sentence, and the seconds it took, or nothing."""

HEAD: Line = ("step", "what happened", "seconds")


def nothing_to_do(result: dg.ExecuteInProcessResult, chain: Sequence[str]) -> str | None:
    """Return why the run had nothing to do; None if it did work."""
    why: str | None = _metadata_of(result, chain[0]).get("nothing_to_do")
    return why


def lines(
    result: dg.ExecuteInProcessResult, dataset: Dataset, counts: Mapping[str, Any]
) -> Iterator[Line]:
    """Yield the lines of the report, in the order of the dataset's chain.

    Args:
        result: The run.
        dataset: Its dataset.
        counts: What it staged of all sources, as in the ledger.
    """
    seconds = {
        event.step_key: f"{event.step_success_data.duration_ms / 1000:.1f}"
        for event in result.all_events
        if event.is_step_success
    }
    *before, last = dataset.chain
    count = f"{dataset.class_column}_count"
    for name in before:
        reported = _metadata_of(result, name)
        if "replayed" in reported:
            as_of = datetime.fromtimestamp(reported["as_of"], UTC).strftime("%Y-%m-%d %H:%M:%S")
            yield (
                "replayed" if reported["replayed"] else "fetched",
                (
                    f"{reported['raw_bytes']:,} bytes from {_short(reported['location'])}, "
                    f"as of {as_of} UTC"
                ),
                seconds[name],
            )
        if count in reported:
            yield (
                "normalized",
                (
                    f"{reported['dagster/row_count']:,} {dataset.things} "
                    f"in {reported[count]} {dataset.classes}"
                ),
                seconds[name],
            )
    staged = _metadata_of(result, last)
    yield "rejected", f"{counts['rejected']:,} objects", ""
    yield (
        "staged",
        f"{counts['rows']:,} {dataset.things} ({counts['written']:,} rows written"
        + (")" if counts["written"] else ": nothing has changed)"),
        seconds[last],
    )
    compared = ", ".join(f"{counts[name]:,} {name}" for name in ("added", "changed", "removed"))
    yield "compared", f"{compared} against the staged day before", ""
    for found in result.get_asset_check_evaluations():
        if not found.passed:
            yield "check", f"{found.check_name}: {found.description}", ""
    if "accepted_reason" in staged:
        yield "accepted", staged["accepted_reason"], ""


def _metadata_of(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (materialization,) = result.asset_materializations_for_node(asset)
    return {name: entry.value for name, entry in materialization.metadata.items()}


def _short(location: str) -> str:
    """Return a URL unchanged, and only the file name of a path; the log has the full path."""
    return location if "://" in location else location.rpartition("/")[2]
