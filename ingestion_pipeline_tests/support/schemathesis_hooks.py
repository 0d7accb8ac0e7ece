"""What schemathesis has to know of the admin API beyond its contract.

It is loaded by schemathesis itself, in its own process (see `integration/test_contract.py`).
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import schemathesis
from hypothesis import strategies as st
from requests.auth import AuthBase

from ingestion_pipeline_tests.support.api_server import CALLBACK, START, sign

if TYPE_CHECKING:
    from requests import PreparedRequest

LAST = date(2026, 11, 20)
"""The current day of the API under test; the examples of the contract are of it."""


class Signature(AuthBase):
    """Signs what is about to be sent, byte for byte."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        body = request.body or b""
        raw = body if isinstance(body, bytes) else str(body).encode()
        request.headers["Upstash-Signature"] = sign(raw, url=str(request.url))
        return request


schemathesis.auth.set_from_requests(  # type: ignore[attr-defined]  # set when it is loaded
    Signature()
).apply_to(path=CALLBACK)

# A contract cannot say from which day on there are partitions, and that the future has none.
schemathesis.openapi.format("date", st.dates(START, LAST).map(date.isoformat))
