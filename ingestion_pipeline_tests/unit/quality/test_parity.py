"""A day from Overpass beside the same day from an extract."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm import normalize
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.taxonomy import Taxonomy
from ingestion_pipeline.quality.parity import check_parity
from ingestion_pipeline.sources.overpass import client as overpass
from ingestion_pipeline.sources.pbf import extract
from ingestion_pipeline_tests.support.invented_days import frame

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from ingestion_pipeline.osm.features import Reading
    from ingestion_pipeline.quality.findings import Finding

REFS = [f"node/{number}" for number in range(1, 101)]
OLD = datetime(2020, 1, 1, tzinfo=UTC)
AS_OF = datetime(2026, 3, 1, 21, tzinfo=UTC)


def rows(refs: list[str], **edited: datetime) -> pa.Table:
    """Rows of features that were edited long ago, but for some."""
    stamps = [edited.get(ref.replace("/", ""), OLD) for ref in refs]
    return frame(refs, osm_timestamp=stamps)


def compare(one: pa.Table, other: pa.Table, *, hours_apart: float = 0) -> Finding:
    return check_parity(
        one,
        other,
        class_column="category",
        as_of=AS_OF + timedelta(hours=hours_apart),
        other_as_of=AS_OF,
    )


def test_equal_frames_agree() -> None:
    found = compare(rows(REFS), rows(REFS))
    assert found.verdict == "good"
    assert found.message.startswith("0 features differ, 0 are allowed; 100 are in both, ")


def test_differences_of_one_moment_warn_and_every_kind_is_named() -> None:
    one = rows(REFS[:-1])
    lon: list[Any] = one.column("lon").to_pylist()
    lon[4] += 2e-7
    category = ["amenity/cafe"] * 99
    category[6] = "amenity/bar"
    one = frame(REFS[:-1], lon=lon, category=category, osm_timestamp=[OLD] * 99)
    found = compare(one, rows(REFS[1:]))
    assert found.verdict == "warn"
    assert found.rows == [
        ("only in this one", "1", "node/1"),
        ("only in the staged one", "1", "node/100"),
        ("another category", "1", "node/7"),
        ("another position", "1", "node/5"),
    ]
    assert found.numbers == {"differing": 4, "edited": 0}


def test_what_was_edited_between_the_two_moments_is_no_difference() -> None:
    later = rows(REFS, node100=AS_OF + timedelta(hours=1))
    found = compare(later, rows(REFS[:-1]), hours_apart=6)
    assert found.verdict == "good"
    assert found.numbers == {"differing": 0, "edited": 1}


def test_so_many_features_may_be_gone_as_a_city_has_edits_in_that_time() -> None:
    one_less = rows(REFS[:-1])
    assert compare(one_less, rows(REFS)).verdict == "warn"
    assert compare(one_less, rows(REFS), hours_apart=6).verdict == "good"
    assert compare(rows(REFS[:-2]), rows(REFS), hours_apart=6).verdict == "warn"


def test_frames_without_a_common_feature_differ_wholly() -> None:
    found = compare(rows(["node/1"]), rows(["node/2"]))
    assert found.verdict == "warn"
    assert found.message.startswith(
        "2 features differ, 0 are allowed: only in this one: 1 (node/1); "
    )


MONACO = Bbox(7.409205, 43.72335, 7.448637, 43.75169)


def shaped(reading: Reading) -> pa.Table:
    return normalize.normalize(
        reading.features,
        boundary=BboxBoundary(MONACO),
        day=date(2023, 12, 26),
        languages=["en"],
        local_language=None,
        country="MC",
        taxonomy=Taxonomy.load(),
    ).table


@pytest.mark.real_data
def test_a_real_answer_and_a_real_extract_of_one_moment_differ_only_in_what_was_not_asked_for(
    osm_test_data: Path,
) -> None:
    area = Area(MONACO, boundary_relation=None)
    answer = osm_test_data / "overpass" / "05-monaco-count-then-geom.body.json"
    asked = shaped(overpass.read([answer], area=area))
    read = shaped(extract.read(osm_test_data / "extracts/monaco-2023-12-26.osm.pbf", area=area))
    moment = datetime.combine(date(2023, 12, 26), datetime.min.time(), UTC)
    found = check_parity(asked, read, class_column="category", as_of=moment, other_as_of=moment)
    numbers = {words: count for words, count, _ in found.rows}
    # The recorded query asked for fewer keys than ours, so all else is missing, and nothing else.
    assert found.verdict == "warn"
    assert int(numbers.pop("only in the staged one").replace(",", "")) > 300
    assert set(numbers.values()) == {"0"}
