"""What a run staged of each source, and how complete it is."""

from __future__ import annotations

from typing import Any

import pytest

from ingestion_pipeline.staging.outcomes import (
    COUNTS,
    SourceOutcome,
    counts_of_run,
    outcome_of,
    sources_of,
)
from ingestion_pipeline.staging.slices import SliceResult

OSM = SliceResult(rows=5, added=5, changed=0, removed=0, rejected=0, written=5).counts()
WC = SliceResult(rows=3, added=1, changed=1, removed=2, rejected=252, written=4).counts()
NONE = dict.fromkeys(COUNTS, 0)


def test_the_names_are_those_of_a_slices_counts() -> None:
    assert list(OSM) == list(COUNTS)


def test_the_counts_of_one_source_have_no_sources() -> None:
    counts = counts_of_run({"osm": OSM}, stale=(), failed={})
    assert counts == OSM
    assert sources_of(counts) == {}
    assert outcome_of(counts) == "complete"


def test_the_sums_are_those_of_all_sources() -> None:
    counts = counts_of_run({"osm": OSM, "feed:wc": WC}, stale=(), failed={})
    assert {name: counts[name] for name in COUNTS} == {
        "rows": 8,
        "added": 6,
        "changed": 1,
        "removed": 2,
        "rejected": 252,
        "written": 9,
    }
    assert counts["sources"]["feed:wc"] == {**WC, "state": "good"}


@pytest.mark.parametrize(
    ("results", "stale", "failed", "states", "outcome"),
    [
        (("osm", "feed:a"), (), (), {"osm": "good", "feed:a": "good"}, "complete"),
        (("osm", "feed:a"), (), ("feed:a",), {"osm": "good", "feed:a": "kept"}, "feeds_failed"),
        (
            ("osm", "feed:a"),
            ("feed:a",),
            ("feed:a",),
            {"osm": "good", "feed:a": "stale"},
            "feeds_failed",
        ),
        (("osm",), ("feed:a",), ("feed:a",), {"osm": "good", "feed:a": "missing"}, "feeds_failed"),
        (
            ("osm", "feed:b"),
            (),
            ("feed:a",),
            {"osm": "good", "feed:a": "missing", "feed:b": "good"},
            "partial",
        ),
        (
            ("osm", "feed:b"),
            ("feed:b",),
            ("feed:a", "feed:b"),
            {"osm": "good", "feed:a": "missing", "feed:b": "stale"},
            "feeds_failed",
        ),
    ],
)
def test_each_source_has_a_state_and_the_run_an_outcome(
    results: tuple[str, ...],
    stale: tuple[str, ...],
    failed: tuple[str, ...],
    states: dict[str, str],
    outcome: str,
) -> None:
    reasons = {source: f"feed_stale: {source} is old" for source in failed}
    counts = counts_of_run(dict.fromkeys(results, WC), stale=stale, failed=reasons)
    sources = sources_of(counts)
    assert list(sources) == list(states)
    assert {source: each.state for source, each in sources.items()} == states
    assert {source: each.reason for source, each in sources.items() if each.reason} == reasons
    assert outcome_of(counts) == outcome


@pytest.mark.parametrize(
    ("counts", "sources", "outcome"),
    [
        (OSM, {}, "complete"),
        (
            {**OSM, "sources": {"osm": OSM, "feed:a": WC}, "failed": {"feed:a": "old"}},
            {"osm": SourceOutcome(OSM, "good", None), "feed:a": SourceOutcome(WC, "stale", "old")},
            "feeds_failed",
        ),
        (
            {**OSM, "failed": {"feed:a": "x"}},
            {"feed:a": SourceOutcome(NONE, "missing", "x")},
            "feeds_failed",
        ),
    ],
)
def test_the_counts_of_an_earlier_version_are_understood(
    counts: dict[str, Any], sources: dict[str, SourceOutcome], outcome: str
) -> None:
    assert sources_of(counts) == sources
    assert outcome_of(counts) == outcome
