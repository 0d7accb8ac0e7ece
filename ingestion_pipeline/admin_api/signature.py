"""Signatures of deliveries: who sent this body to this address, and until when it may be used.

Belongs here: the check of one JWT against the keys. Does not belong here: the endpoint
(`callback.py`).

The form is that of Upstash QStash: a JWT (RFC 7519), HS256, with the claims `iss` "Upstash", `sub`
the URL of the delivery, `exp` and `nbf`, and `body` the base64url SHA-256 digest of the raw body.
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
"""How far the two clocks may be apart."""

_CLAIMS = ["iss", "sub", "exp", "nbf", "body"]

# Nonsense of any kind, nested without end or with numbers without measure, is no signature either.
_UNREADABLE = (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError)


def is_valid(token: str, *, keys: Sequence[bytes], url: str, body: bytes) -> bool:
    """Tell whether one of the keys signed this body for this URL, for the current moment.

    Args:
        token: The JWT.
        keys: The keys that are accepted: the current one, and the next.
        url: Where the delivery came to.
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
        # The key is right, as that is looked at first.
        log.warning(
            "a delivery with a good signature came outside of its time (%s); if the queue's clock "
            "is right, that of this machine is wrong",
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
