"""Verification of delivery signatures.

The format is that of Upstash QStash: a JWT (RFC 7519), HS256, with the claims `iss` "Upstash",
`sub` the URL of the delivery, `exp` and `nbf`, and `body` the base64url SHA-256 digest of the raw
body.
"""

import base64
import hashlib
import hmac
import logging
from collections.abc import Sequence

import jwt

log = logging.getLogger(__name__)

ISSUER = "Upstash"

LEEWAY_S = 10
"""The tolerance between the two clocks."""

_CLAIMS = ["iss", "sub", "exp", "nbf", "body"]

# Malformed tokens, including deep nesting and huge numbers, are invalid.
_UNREADABLE = (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError)


def is_valid(token: str, *, keys: Sequence[bytes], url: str, body: bytes) -> bool:
    """Return whether one of the keys signed this body for this URL, and the token is still valid.

    Args:
        token: The JWT.
        keys: The accepted keys: the current one, and the next.
        url: The URL of the delivery.
        body: The raw body.
    """
    return any(_is_signed_with(key, token, url=url, body=body) for key in keys)


def _is_signed_with(key: bytes, token: str, *, url: str, body: bytes) -> bool:
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=["HS256"],
            issuer=ISSUER,
            leeway=LEEWAY_S,
            options={"require": _CLAIMS},
        )
    except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError) as error:
        # The signature is valid, because PyJWT verifies it first.
        log.warning(
            "a delivery with a valid signature is not within its validity period (%s): check the "
            "clocks of this machine and of the queue",
            error,
        )
        return False
    except _UNREADABLE:
        return False
    return claims["sub"] == url and _is_digest(claims["body"], body)


def _is_digest(claimed: object, body: bytes) -> bool:
    digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=")
    return isinstance(claimed, str) and hmac.compare_digest(
        claimed.rstrip("=").encode(errors="replace"), digest
    )
