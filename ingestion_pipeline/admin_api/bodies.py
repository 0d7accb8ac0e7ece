"""Reading and parsing of request bodies, up to a limit.

FastAPI's body parameters would parse the body before the token is checked.
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
"""The maximum size of a body, in bytes; a real one has about a hundred."""

Body = TypeVar("Body", bound=BaseModel)


async def read(request: Request) -> bytes:
    """Return a request's body.

    Raises:
        ProblemError: It is larger than the limit; the rest is not read.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LIMIT:
            raise ProblemError(
                BODY_TOO_LARGE,
                BODY_TOO_LARGE.example,
                # The rest of the body would be read as the next request.
                headers={"Connection": "close"},
            )
    return bytes(body)


def parse(model: type[Body], raw: bytes) -> Body:
    """Return the model of a JSON body.

    Raises:
        ProblemError: The body is not JSON, or does not match the model; names the fields.
    """
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        raise invalid(mistakes_in(details)) from None
