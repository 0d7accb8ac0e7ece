"""Errors of fetching and reading a feed of helper places.

    HelpersError
    └── FeedError
        ├── FeedNotTaken          it has not been fetched yet                     never
        ├── LicenceConflict       its licence does not allow a combination        never
        ├── FeedNotConfigured     no file system for its location, or no secret   never
        ├── FeedNotFound          404, 410, no such file                          never
        ├── FeedForbidden         any other refusal of the server                 never
        ├── FeedRedirected        a redirect loop, too many, or one off https     never
        ├── FeedUnreachable       no connection, 429, 5xx, silent or too slow     retry
        ├── FeedTruncated         fewer bytes than announced, or compressed       retry
        ├── FeedTooBig            more bytes or pages than the feed allows        never
        ├── FeedNotData           an HTML page instead of data                    never
        ├── FeedChecksumMismatch  another SHA-256 or ETag than expected           never
        ├── FeedWithoutTime       its data has no timestamp                       never
        ├── FeedStale             its data is older than the feed allows          never
        ├── FeedNotOfDay          later than the day, in the future, or undated   never
        ├── FeedUnreadable        another format, missing fields, unknown CRS     never
        ├── FeedEncodingWrong     its encoding is not the configured one          never
        ├── FeedSwapped           latitude and longitude are swapped              never
        └── FeedShrunken          fewer places than the minimum, or than half     never

`defs/failures.py` turns them into Dagster failures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.core.errors import IngestionError

if TYPE_CHECKING:
    from collections.abc import Sequence


class HelpersError(IngestionError):
    """Helper places of a city-day are not available."""

    code = "helpers_error"


@dataclass(frozen=True)
class RejectedFor:
    """The records that a refused feed rejects for one reason.

    Attributes:
        reason: The reason, as in docs/data-dictionary.md.
        count: Their number.
        examples: Some of them: `source_ref`, `detail` and `raw`, as of any rejection.
    """

    reason: str
    count: int
    examples: tuple[dict[str, Any], ...]


class FeedError(HelpersError):
    """A feed has no data that can be staged for the day.

    Attributes:
        rejections: The rejections of its records, by reason; empty if no records were read.
    """

    code = "feed_error"

    def __init__(self, message: str, *, rejections: Sequence[RejectedFor] = ()) -> None:
        """Keep the rejections with the message."""
        super().__init__(message)
        self.rejections = tuple(rejections)


def may_pass(code: str) -> bool:
    """Return whether a retry can succeed for a feed that failed with this code."""
    return any(error.code == code and error.should_retry for error in FeedError.__subclasses__())


class FeedNotTaken(FeedError):
    """The feed has not been fetched."""

    code = "feed_not_taken"


class LicenceConflict(FeedError):
    """The feed's licence does not allow its places in one database with the others."""

    code = "licence_conflict"


class FeedNotConfigured(FeedError):
    """No file system is installed for the feed's location, or a secret is not set."""

    code = "feed_not_configured"


class FeedNotFound(FeedError):
    """The feed does not exist at its location, or not for that day."""

    code = "feed_not_found"


class FeedForbidden(FeedError):
    """The server does not serve the feed to this client."""

    code = "feed_forbidden"


class FeedRedirected(FeedError):
    """The server redirects in a loop, too often, or to a location that is not allowed."""

    code = "feed_redirected"


class FeedUnreachable(FeedError):
    """The server of the feed does not respond, or too slowly."""

    code = "feed_unreachable"
    should_retry = True


class FeedTruncated(FeedError):
    """The bytes are incomplete."""

    code = "feed_truncated"
    should_retry = True


class FeedTooBig(FeedError):
    """The feed is larger than allowed."""

    code = "feed_too_big"


class FeedNotData(FeedError):
    """The server returned an HTML page instead of data."""

    code = "feed_not_data"


class FeedChecksumMismatch(FeedError):
    """The bytes are not those that the cities file expects."""

    code = "feed_checksum_mismatch"


class FeedWithoutTime(FeedError):
    """The feed's data has no timestamp."""

    code = "feed_without_time"


class FeedStale(FeedError):
    """The feed's data is older than the feed allows."""

    code = "feed_stale"


class FeedNotOfDay(FeedError):
    """The feed's data is later than the day, in the future, or from a URL without the day."""

    code = "feed_not_of_day"


class FeedUnreadable(FeedError):
    """The bytes do not match the feed's configured format and fields."""

    code = "feed_unreadable"


class FeedEncodingWrong(FeedError):
    """The encoding is not the configured one."""

    code = "feed_encoding_wrong"


class FeedSwapped(FeedError):
    """Latitude and longitude are swapped."""

    code = "feed_swapped"


class FeedShrunken(FeedError):
    """Far fewer places than expected."""

    code = "feed_shrunken"
