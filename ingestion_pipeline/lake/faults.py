"""What a store's answers mean: which error of the lake they are, and what to do about them.

Codes of S3: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingestion_pipeline.core.errors import quoted
from ingestion_pipeline.core.locations import HIDDEN
from ingestion_pipeline.lake.errors import LakeForbidden, LakeNotConfigured, LakeUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ingestion_pipeline.lake.errors import LakeError


@dataclass(frozen=True)
class Fault:
    """A kind of failure of a store.

    Attributes:
        error: The error of the lake.
        advice: What to do.
    """

    error: type[LakeError]
    advice: str

    def raised(self, address: str, cause: BaseException, *, secrets: Iterable[str]) -> LakeError:
        """Return the error, with the store's own words but for secrets.

        Args:
            address: The address of the file.
            cause: The error of the store's library.
            secrets: What the message must not contain.
        """
        words = str(cause)
        for secret in secrets:
            words = words.replace(secret, HIDDEN)
        code = code_of(cause)
        name = code or type(cause).__name__
        return self.error(
            f"The lake cannot read or write {address}: {name}: {quoted(words)}. {self.advice}"
        )


TRANSIENT = Fault(
    LakeUnavailable,
    "Requests were repeated. Check that DATA_DIR's store is up, that this machine reaches it, and "
    "its limits.",
)

_RIGHTS = Fault(
    LakeForbidden,
    "Give the credentials the rights to list DATA_DIR's bucket, and to get, put and delete its "
    "objects.",
)
_CREDENTIALS = Fault(
    LakeForbidden,
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (each also as a file, with _FILE), or give "
    "the machine a role; then run again.",
)
_EXPIRED = Fault(LakeForbidden, "Its credentials have expired: renew them, then run again.")
_CLOCK = Fault(
    LakeForbidden,
    "The clock of this machine differs from the store's by more than 15 minutes: set it (NTP), "
    "then run again.",
)
_BUCKET = Fault(LakeNotConfigured, "Create the bucket, or correct DATA_DIR and AWS_ENDPOINT_URL.")
_REGION = Fault(LakeNotConfigured, "Set AWS_DEFAULT_REGION to the region of DATA_DIR's bucket.")

_OF_CODE = {
    "AccessDenied": _RIGHTS,
    "AllAccessDisabled": _RIGHTS,
    "AccountProblem": _RIGHTS,
    "403": _RIGHTS,
    "InvalidAccessKeyId": _CREDENTIALS,
    "InvalidSecurity": _CREDENTIALS,
    "InvalidToken": _CREDENTIALS,
    "NotSignedUp": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "ExpiredToken": _EXPIRED,
    "RequestExpired": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "RequestTimeTooSkewed": _CLOCK,
    "NoSuchBucket": _BUCKET,
    "InvalidBucketName": _BUCKET,
    "AuthorizationHeaderMalformed": _REGION,
    "PermanentRedirect": _REGION,
    "301": _REGION,
}

_OF_CLASS = {
    "NoCredentialsError": _CREDENTIALS,
    "PartialCredentialsError": _CREDENTIALS,
    "ProfileNotFound": _CREDENTIALS,
    "CredentialRetrievalError": _CREDENTIALS,
    "UnauthorizedSSOTokenError": _EXPIRED,
    "SSOTokenLoadError": _EXPIRED,
    "TokenRetrievalError": _EXPIRED,
    "PermissionError": _RIGHTS,
}
"""Errors of botocore without an answer of the store, and of other file systems, by class."""


def fault_of(error: BaseException) -> Fault | None:
    """Return what an operator has to change; None where a later request may succeed."""
    code = code_of(error)
    if code in _OF_CODE:
        return _OF_CODE[code]
    if "bucket does not exist" in str(error):  # s3fs leaves the code out of some errors
        return _BUCKET
    return _OF_CLASS.get(type(error).__name__)


def code_of(error: BaseException) -> str | None:
    """Return the code of an S3 answer, which is in the error or in its cause."""
    for each in (error, error.__cause__):
        response = getattr(each, "response", None)
        if isinstance(response, dict):
            code: str | None = response.get("Error", {}).get("Code")
            return code
    return None
