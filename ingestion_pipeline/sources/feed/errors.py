"""Every way in which getting helper places from a feed ends without data.

    HelpersError
    └── FeedError
        ├── FeedNotTaken          nobody has asked for it yet                     never
        ├── LicenceConflict       its licence lets nobody combine it              never
        ├── FeedNotConfigured     no file system for its location                 never
        ├── FeedNotFound          404, 410, no such file                          never
        ├── FeedForbidden         any other refusal of the server                 never
        ├── FeedRedirected        redirects in a circle, too many, to no https    never
        ├── FeedUnreachable       no connection, 429, 5xx, silent or too slow     retry
        ├── FeedTruncated         fewer bytes than announced, or compressed       retry
        ├── FeedTooBig            more bytes than the feed allows                 never
        ├── FeedNotData           a page for people instead of data               never
        ├── FeedChecksumMismatch  another SHA-256 or ETag than expected           never
        ├── FeedWithoutTime       nothing tells the time of its data              never
        ├── FeedStale             its data is older than the feed allows          never
        ├── FeedNotOfDay          later than the day, or than now, or undated     never
        ├── FeedUnreadable        no GeoJSON or CSV, columns missing, other CRS   never
        ├── FeedEncodingWrong     bytes or letters show another encoding          never
        ├── FeedSwapped           latitude stands where longitude should          never
        └── FeedShrunken          fewer places than the minimum, or than half     never

Belongs here: the errors of helper places, each with its `code` and whether a later try may
succeed. Does not belong here: turning them into Dagster failures (`defs/failures.py`).
"""

from ingestion_pipeline.core.errors import IngestionError


class HelpersError(IngestionError):
    """Anything that keeps helper places of a city-day away from staging."""

    code = "helpers_error"


class FeedError(HelpersError):
    """A feed gave nothing that may be staged for the day."""

    code = "feed_error"


def may_pass(code: str) -> bool:
    """Return whether a feed that failed with a code may answer later."""
    return any(error.code == code and error.should_retry for error in FeedError.__subclasses__())


class FeedNotTaken(FeedError):
    """The feed was not asked for, so nobody knows what it would have given."""

    code = "feed_not_taken"


class LicenceConflict(FeedError):
    """The feed's licence does not let its places stand in one database with the others."""

    code = "licence_conflict"


class FeedNotConfigured(FeedError):
    """No file system is installed for the feed's location."""

    code = "feed_not_configured"


class FeedNotFound(FeedError):
    """There is nothing at the feed's location, or not for that day."""

    code = "feed_not_found"


class FeedForbidden(FeedError):
    """The server refuses to give the feed to this client."""

    code = "feed_forbidden"


class FeedRedirected(FeedError):
    """The server sends from one address to another without an end, or to where nobody should go."""

    code = "feed_redirected"


class FeedUnreachable(FeedError):
    """The place that holds the feed does not answer, or too slowly."""

    code = "feed_unreachable"
    should_retry = True


class FeedTruncated(FeedError):
    """The bytes that came are not whole."""

    code = "feed_truncated"
    should_retry = True


class FeedTooBig(FeedError):
    """The feed has more bytes than it may."""

    code = "feed_too_big"


class FeedNotData(FeedError):
    """A page for people came instead of data."""

    code = "feed_not_data"


class FeedChecksumMismatch(FeedError):
    """The bytes are not those that the cities file expects."""

    code = "feed_checksum_mismatch"


class FeedWithoutTime(FeedError):
    """Nothing tells of when the feed's data is."""

    code = "feed_without_time"


class FeedStale(FeedError):
    """The feed's data is older than the feed allows."""

    code = "feed_stale"


class FeedNotOfDay(FeedError):
    """The feed's data is later than the day, or than now, or of an address without the day."""

    code = "feed_not_of_day"


class FeedUnreadable(FeedError):
    """The bytes are not what the feed's format and keys say."""

    code = "feed_unreadable"


class FeedEncodingWrong(FeedError):
    """The bytes, or the letters that they give, show that the encoding is another one."""

    code = "feed_encoding_wrong"


class FeedSwapped(FeedError):
    """Latitude stands where longitude should."""

    code = "feed_swapped"


class FeedShrunken(FeedError):
    """Far fewer places than there should be."""

    code = "feed_shrunken"
