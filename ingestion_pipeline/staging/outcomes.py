"""What a run staged of each source, and how complete its day is: the counts of the ledger.

A feed that fails does not fail the run, because the other sources are staged. So SUCCEEDED alone
does not mean that a day has all its sources.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

State = Literal["good", "kept", "stale", "missing"]
"""What a source has on the day (documented in docs/data-dictionary.md).

- `good`: the rows of the day.
- `kept`: the rows of the day, which an earlier run had fetched; this run's refetch failed.
- `stale`: the rows of an earlier day.
- `missing`: nothing.
"""

Outcome = Literal["complete", "partial", "feeds_failed"]
"""How complete a run is that succeeded (documented in docs/data-dictionary.md).

- `complete`: no source failed.
- `partial`: some of the feeds failed.
- `feeds_failed`: all feeds failed, and only OpenStreetMap was staged anew.
"""

COUNTS = ("rows", "added", "changed", "removed", "rejected", "written")
"""The names of the counts of a slice."""


class SourceOutcome(NamedTuple):
    """What a run staged of a source.

    Attributes:
        counts: By name, see `COUNTS`; all 0 if nothing was staged.
        state: What the source has.
        reason: Why it failed: the code and the message of the error. None for `good`.
    """

    counts: Mapping[str, int]
    state: State
    reason: str | None


def counts_of_run(
    results: Mapping[str, Mapping[str, int]],
    *,
    stale: Collection[str],
    failed: Mapping[str, str],
) -> dict[str, Any]:
    """Return the counts of a run, as the ledger stores them.

    Args:
        results: The counts of each staged source.
        stale: The sources whose rows are those of an earlier day.
        failed: The reasons of sources that failed.

    Returns:
        The sums; and if there are several sources, the counts and the state of each (`sources`),
        and the reasons (`failed`).
    """
    counts: dict[str, Any] = {name: sum(each[name] for each in results.values()) for name in COUNTS}
    sources = {*results, *failed}
    if len(sources) > 1:
        counts["sources"] = {
            source: {
                **results.get(source, dict.fromkeys(COUNTS, 0)),
                "state": _state(source, results, stale=stale, failed=failed),
            }
            for source in (*results, *sorted(failed.keys() - results.keys()))
        }
    if failed:
        counts["failed"] = dict(failed)
    return counts


def sources_of(counts: Mapping[str, Any]) -> dict[str, SourceOutcome]:
    """Return what a run staged of each source, from its counts in the ledger; OpenStreetMap first.

    It is empty if there is one source only. Counts of earlier versions have no state; a source
    that failed then counts as stale.
    """
    failed: Mapping[str, str] = counts.get("failed", {})
    staged: Mapping[str, Any] = counts.get("sources", {})
    sources = {source: {"state": "missing"} for source in failed} | dict(staged)
    return {
        source: SourceOutcome(
            counts={name: each.get(name, 0) for name in COUNTS},
            state=each.get("state", "stale" if source in failed else "good"),
            reason=failed.get(source),
        )
        # The source of a feed has a colon.
        for source, each in sorted(sources.items(), key=lambda item: (":" in item[0], item[0]))
    }


def outcome_of(counts: Mapping[str, Any]) -> Outcome:
    """Return how complete a run is, from its counts in the ledger."""
    sources = sources_of(counts).values()
    if all(each.reason is None for each in sources):
        return "complete"
    # OpenStreetMap never fails in a run that succeeds.
    good = sum(each.reason is None for each in sources)
    return "partial" if good > 1 else "feeds_failed"


def _state(
    source: str,
    results: Collection[str],
    *,
    stale: Collection[str],
    failed: Collection[str],
) -> State:
    if source not in results:
        return "missing"
    if source in stale:
        return "stale"
    return "kept" if source in failed else "good"
