"""Authentication by token; `signature.py` authenticates callbacks."""

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
    description=f"The same token as a bearer token. {HEADER} takes precedence.",
    auto_error=False,
)


def is_accepted(given: bytes, tokens: Sequence[bytes]) -> bool:
    """Return whether a token is one of the configured ones, in constant time."""
    return sum(hmac.compare_digest(given, token) for token in tokens) > 0


async def require_token(
    service: ServiceDep,
    own: Annotated[str | None, Security(_header)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> None:
    """Require a token in `X-Admin-Token` or `Authorization`.

    Raises:
        ProblemError: No token is configured, or the request has none or a wrong one.
    """
    tokens = secrets_in(service.settings.admin_api_token)
    if not tokens:
        raise ProblemError(NOT_CONFIGURED, "ADMIN_API_TOKEN is not set, so the admin API is closed")
    given = own or (bearer.credentials if bearer else None)
    if not given:
        raise ProblemError(
            TOKEN_MISSING,
            TOKEN_MISSING.example,
            headers={"WWW-Authenticate": f'Bearer, AdminToken header="{HEADER}"'},
        )
    # The framework decodes headers as Latin-1.
    if not is_accepted(given.encode("latin-1"), tokens):
        raise ProblemError(
            TOKEN_WRONG, f"The token in {HEADER if own else 'Authorization'} is not valid."
        )


Authorized = Depends(require_token)
"""The dependency of endpoints that require a token."""
