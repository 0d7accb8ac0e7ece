"""How a domain error becomes what Dagster acts on."""

from __future__ import annotations

import pytest

from ingestion_pipeline.core.manual import codes
from ingestion_pipeline.defs.failures import Retrying, failure_of
from ingestion_pipeline.osm.errors import OverpassBusy, OverpassRejected


@pytest.mark.parametrize("retry_number", [0, 1, 2])
def test_each_wait_is_twice_as_long_and_spread_by_half(retry_number: int) -> None:
    requests = [
        Retrying(maximum=3, first_wait_s=60).of(OverpassBusy("no slot"), retry_number=retry_number)
        for _ in range(500)
    ]
    waits = [request.seconds_to_wait for request in requests if request is not None]
    middle = 60 * 2**retry_number
    assert len(waits) == 500
    assert all(wait is not None and 0.5 * middle <= wait <= 1.5 * middle for wait in waits)
    numbers = [wait for wait in waits if wait is not None]
    assert min(numbers) < 0.7 * middle
    assert max(numbers) > 1.3 * middle
    assert {request.max_retries for request in requests if request is not None} == {3}


def test_a_step_is_not_tried_again_for_ever() -> None:
    assert Retrying(maximum=3).of(OverpassBusy("no slot"), retry_number=3) is None
    assert Retrying(maximum=0).of(OverpassBusy("no slot"), retry_number=0) is None


def test_what_cannot_succeed_is_not_tried_again() -> None:
    assert Retrying().of(OverpassRejected("line 1: parse error"), retry_number=0) is None


@pytest.mark.parametrize(
    ("error", "later"), [(OverpassBusy("no slot"), True), (OverpassRejected("parse error"), False)]
)
def test_a_failure_carries_the_code_the_words_and_whether_to_wait(
    error: OverpassBusy | OverpassRejected, later: bool
) -> None:
    failure = failure_of(error)
    assert failure.description == str(error)
    assert failure.allow_retries is False
    values = {name: entry.value for name, entry in failure.metadata.items()}
    assert values == {
        "error_code": error.code,
        "may_succeed_later": later,
        "what_to_do": codes()[error.code].what_to_do,
    }
