"""Who may use the admin API: whoever has one of its tokens.

Belongs here: the comparison of tokens. Does not belong here: signatures of the callback
(`signature.py`).
"""

import hmac
from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from ingestion_pipeline.admin_api.problems import (
    NOT_CONFIGURED,
    TOKEN_MISSING,
    TOKEN_WRONG,
    ProblemError,
)
from ingestion_pipeline.admin_api.service import ServiceDep, secrets_in

HEADER = "X-Admin-Token"

_header = APIKeyHeader(
    name=HEADER,
    scheme_name="AdminToken",
    description="One of the tokens in `ADMIN_API_TOKEN`.",
    auto_error=False,
)
_bearer = HTTPBearer(
    scheme_name="BearerToken",
    description=f"The same token, for clients that send it so. {HEADER} goes before it.",
    auto_error=False,
)


def is_accepted(given: bytes, tokens: Sequence[bytes]) -> bool:
    """Tell whether a token is one of those that are configured.

    All are compared, each in a time that does not depend on what is equal, so that the time of the
    answer does not tell how near a guess was.
    """
    return sum(hmac.compare_digest(given, token) for token in tokens) > 0


async def require_token(
    service: ServiceDep,
    own: Annotated[str | None, Security(_header)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> None:
    """Let a request pass if it has a token, in a header of our own or as any client sends one.

    Raises:
        ProblemError: No token is configured, none is given, or a wrong one.
    """
    tokens = secrets_in(service.settings.admin_api_token)
    if not tokens:
        raise ProblemError(NOT_CONFIGURED, "ADMIN_API_TOKEN is not set, so the admin API is closed")
    given = own or (bearer.credentials if bearer else None)
    if not given:
        raise ProblemError(
            TOKEN_MISSING,
            f"send a token in the header {HEADER}, or as Authorization: Bearer",
            headers={"WWW-Authenticate": f'Bearer, AdminToken header="{HEADER}"'},
        )
    # A header is bytes; the framework has read them as Latin-1.
    if not is_accepted(given.encode("latin-1"), tokens):
        raise ProblemError(
            TOKEN_WRONG, f"{HEADER if own else 'Authorization'} holds no token that is accepted"
        )


Authorized = Depends(require_token)
"""A dependency of every endpoint that needs a token."""
