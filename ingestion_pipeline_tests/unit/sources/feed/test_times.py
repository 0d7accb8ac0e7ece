"""Times that feeds state, in the forms in which publishers have them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline.sources.feed.errors import FeedWithoutTime
from ingestion_pipeline.sources.feed.records import read_records
from ingestion_pipeline.sources.feed.times import time_of_document, time_of_records
from ingestion_pipeline_tests.support.feed_server import TOILETS, feed_of

if TYPE_CHECKING:
    from pathlib import Path


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("stated", "form", "moment"),
    [
        ("2026-11-20", None, at(2026, 11, 20)),
        ("2026-11-20T09:30:00+03:00", None, at(2026, 11, 20, 6, 30)),
        ("2025-02-13T16:12:45.000000", None, at(2025, 2, 13, 16, 12, 45)),
        (1744069887, "epoch", at(2025, 4, 7, 23, 51, 27)),
        ("1744069887", "epoch", at(2025, 4, 7, 23, 51, 27)),
        (1744069887123, "epoch_ms", datetime(2025, 4, 7, 23, 51, 27, 123000, UTC)),
        ("30/08/2016", "%d/%m/%Y", at(2016, 8, 30)),
        ("08.11.2025 14:05", "%d.%m.%Y %H:%M", at(2025, 11, 8, 14, 5)),
        ("2025-11-08 14:05 +0200", "%Y-%m-%d %H:%M %z", at(2025, 11, 8, 12, 5)),
    ],
    ids=str,
)
def test_a_time_is_read_in_its_form(stated: Any, form: str | None, moment: datetime) -> None:
    feed = feed_of(TOILETS, as_of="document:meta.at", time_format=form)
    assert time_of_document({"meta": {"at": stated}}, feed) == moment


@pytest.mark.parametrize(
    ("stated", "form", "said"),
    [
        (1744069887, None, "found '1744069887'. Set time_format = \"epoch\"."),
        ("1744069887123", None, 'Set time_format = "epoch_ms".'),
        ("30/08/2016", None, 'Set time_format = "%d/%m/%Y".'),
        ("08/30/2016", None, 'Set time_format = "%m/%d/%Y".'),
        ("30.8.2016 14:05", None, 'Set time_format = "%d.%m.%Y", and directives for the rest'),
        ("yesterday", None, "Set the feed's time_format, or correct its as_of."),
        ("30/08/2016", "%Y/%m/%d", 'Set time_format = "%d/%m/%Y".'),
        (True, "epoch", "is not a time (epoch)"),
        (1e30, "epoch", "is not a time (epoch)"),
        (None, None, "Correct the feed's as_of."),
        ("", None, "Correct the feed's as_of."),
    ],
    ids=str,
)
def test_a_value_that_is_not_a_time_is_refused_with_the_key_to_set(
    stated: Any, form: str | None, said: str
) -> None:
    feed = feed_of(TOILETS, as_of="document:at", time_format=form)
    with pytest.raises(FeedWithoutTime) as caught:
        time_of_document({"at": stated}, feed)
    assert said in str(caught.value)


def test_the_latest_time_of_the_records_counts(tmp_path: Path) -> None:
    path = tmp_path / "feed"
    records = [{"id": 1, "p": [1, 2], "at": each} for each in ("30/08/2016", "", "02/09/2016")]
    path.write_text(json.dumps(records))
    feed = feed_of(
        TOILETS,
        format="json",
        record_id="id",
        lat_lon="p",
        kind="toilets",
        as_of="record:at",
        time_format="%d/%m/%Y",
        **dict.fromkeys(["kinds", "kind_field", "values", "attributes", "fields"]),
    )
    assert time_of_records(read_records(path, feed), feed) == at(2016, 9, 2)
