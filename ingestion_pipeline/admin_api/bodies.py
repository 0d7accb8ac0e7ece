"""Bodies of requests: read up to a limit, and only then understood.

Belongs here: reading and parsing. Does not belong here: what the fields mean.

Endpoints read their bodies through here and not through FastAPI's own parameters, which would parse
a stranger's body before looking at the token.
"""

from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from ingestion_pipeline.admin_api.problems import (
    BODY_TOO_LARGE,
    ProblemError,
    invalid,
    mistakes_in,
)

LIMIT = 64 * 1024
"""The largest body that is read, in bytes; a real one has about a hundred."""

Body = TypeVar("Body", bound=BaseModel)


async def read(request: Request) -> bytes:
    """Read a request's body, whatever it says of its own length.

    Raises:
        ProblemError: It is too large; the rest of it is not read.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LIMIT:
            raise ProblemError(
                BODY_TOO_LARGE,
                f"a body may have {LIMIT} bytes",
                # The rest of the body stands where the next request would.
                headers={"Connection": "close"},
            )
    return bytes(body)


def parse(model: type[Body], raw: bytes) -> Body:
    """Read JSON.

    Raises:
        ProblemError: It is no JSON, or not what the model says; the fields are named.
    """
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        raise invalid(mistakes_in(details)) from None
