"""Every way in which getting a city-day from OpenStreetMap ends without data.

    OsmError
    ├── OverpassError
    │   ├── OverpassNotConfigured      no OVERPASS_URL                               never
    │   ├── OverpassRejected           400: the query is wrong; lists the lines      never
    │   ├── OverpassForbidden          403, 406, redirect: User-Agent, access, URL   never
    │   ├── OverpassNoAttic            a past day that no history is proven to reach never
    │   ├── OverpassNoMetadata         the server has no versions and timestamps     never
    │   ├── OverpassTooBig             timed out or out of memory, also when split   never
    │   ├── OverpassBusy               429, 504, protocol_error, dispatcher down     retry
    │   ├── OverpassDuplicateQuery     the same text again within its window         retry
    │   ├── OverpassTruncated          cut body, counts that differ, bad content     retry
    │   ├── OverpassOtherQuestion      the answer to another question, or moment     retry
    │   ├── OverpassUnreachable        connection refused, cut or timed out          retry
    │   └── OverpassSnapshotMoved      parts of one city come from different states  retry
    ├── ExtractError
    │   ├── ExtractNotConfigured       no OSM_EXTRACT, unknown sample                never
    │   ├── ExtractNotFound            no file for that region and day               never
    │   ├── ExtractUnreachable         the file's server does not answer             retry
    │   ├── ExtractRedirected          a redirect to where none may lead             never
    │   ├── ExtractCorrupt             truncated, wrong checksum, no extract         retry
    │   ├── ExtractUnsupported         a format or feature that is not read          never
    │   ├── ExtractWithoutTime         nothing in the file tells its time            never
    │   └── ExtractDoesNotCover        the city lies outside the file, or a part     never
    ├── BoundaryError
    │   ├── BoundaryNotFound           the relation is not in the data               never
    │   ├── BoundaryBroken             the relation does not close to an area        never
    │   ├── BoundaryNameMismatch       its names are none of the city's              never
    │   ├── BoundaryOutsideBbox        it reaches beyond the city's bbox             never
    │   ├── BoundaryFileChanged        a file's bytes are not those that are named   never
    │   └── BoundaryFileUnreachable    a file's place does not give it               retry
    └── WrongSnapshotDate
        ├── FutureDay                  the day has not begun                         never
        ├── StaleUpstream              current data older than the city allows       retry
        ├── NoEvidenceForDay           nothing that was true on that past day        never
        └── TooFewPois                 far below the city's asserted minimum         never

Belongs here: OpenStreetMap's errors, each with its `code` and whether a later try may succeed.
Does not belong here: turning them into Dagster failures (`defs/failures.py`).
"""

from ingestion_pipeline.core.errors import IngestionError


class OsmError(IngestionError):
    """Anything that keeps OpenStreetMap's data of a city-day away from staging."""

    code = "osm_error"


class OverpassError(OsmError):
    """The Overpass server gave no acceptable answer."""

    code = "overpass_error"


class OverpassNotConfigured(OverpassError):
    """No server is configured for a city that needs one."""

    code = "overpass_not_configured"


class OverpassRejected(OverpassError):
    """The server refused the query as wrong (400)."""

    code = "overpass_rejected"


class OverpassForbidden(OverpassError):
    """The server does not serve this client at this address (403, 404, 406, a redirect)."""

    code = "overpass_forbidden"


class OverpassNoAttic(OverpassError):
    """A past day, and the server keeps no history, or none that is proven to reach that far."""

    code = "overpass_no_attic"


class OverpassNoMetadata(OverpassError):
    """The server's database has no versions and timestamps of objects."""

    code = "overpass_no_metadata"


class OverpassTooBig(OverpassError):
    """The query ran out of time or memory even after the bbox was split."""

    code = "overpass_too_big"


class OverpassBusy(OverpassError):
    """The server is overloaded, out of slots, or its dispatcher is down."""

    code = "overpass_busy"
    should_retry = True


class OverpassDuplicateQuery(OverpassError):
    """The server takes the text for a repetition of a query in progress."""

    code = "overpass_duplicate_query"
    should_retry = True


class OverpassTruncated(OverpassError):
    """The body is not whole: cut off, fewer elements than counted, or of a wrong type."""

    code = "overpass_truncated"
    should_retry = True


class OverpassOtherQuestion(OverpassError):
    """The answer repeats another question, or holds objects newer than the moment asked for."""

    code = "overpass_other_question"
    should_retry = True


class OverpassUnreachable(OverpassError):
    """The server could not be reached, or the connection broke."""

    code = "overpass_unreachable"
    should_retry = True


class OverpassSnapshotMoved(OverpassError):
    """The server's data changed between the parts of one city."""

    code = "overpass_snapshot_moved"
    should_retry = True


class ExtractError(OsmError):
    """The extract file cannot be used."""

    code = "extract_error"


class ExtractNotConfigured(ExtractError):
    """No extract is configured for a city that needs one."""

    code = "extract_not_configured"


class ExtractNotFound(ExtractError):
    """There is no such file."""

    code = "extract_not_found"


class ExtractUnreachable(ExtractError):
    """The place that holds the file does not answer."""

    code = "extract_unreachable"
    should_retry = True


class ExtractRedirected(ExtractError):
    """Its server redirects into an inner network, or away from https."""

    code = "extract_redirected"


class ExtractCorrupt(ExtractError):
    """The file is truncated, fails its checksum, or is of no known format."""

    code = "extract_corrupt"
    should_retry = True


class ExtractUnsupported(ExtractError):
    """The file is of a format, or has something in it, that this release does not read."""

    code = "extract_unsupported"


class ExtractWithoutTime(ExtractError):
    """Nothing in the file tells when its data was true."""

    code = "extract_without_time"


class ExtractDoesNotCover(ExtractError):
    """The city, or a part of it, lies outside what the extract covers."""

    code = "extract_does_not_cover"


class BoundaryError(OsmError):
    """The city's boundary cannot be used."""

    code = "boundary_error"


class BoundaryNotFound(BoundaryError):
    """The boundary relation is not in the data."""

    code = "boundary_not_found"


class BoundaryBroken(BoundaryError):
    """The boundary relation does not close to an area, or a boundary file holds none."""

    code = "boundary_broken"


class BoundaryNameMismatch(BoundaryError):
    """None of the relation's names is a name of the city: probably a wrong id."""

    code = "boundary_name_mismatch"


class BoundaryOutsideBbox(BoundaryError):
    """The boundary reaches beyond the bbox that was fetched, so POIs would be missing."""

    code = "boundary_outside_bbox"


class BoundaryFileChanged(BoundaryError):
    """A boundary file has other bytes than the cities file names."""

    code = "boundary_file_changed"


class BoundaryFileUnreachable(BoundaryError):
    """The place of a boundary file does not give it."""

    code = "boundary_file_unreachable"
    should_retry = True


class WrongSnapshotDate(OsmError):
    """The data is not of the day that it would be staged for."""

    code = "wrong_snapshot_date"


class FutureDay(WrongSnapshotDate):
    """The day has not begun yet (UTC)."""

    code = "future_day"


class StaleUpstream(WrongSnapshotDate):
    """Current data is older than the city allows, or a server has not got to the end of the day."""

    code = "stale_upstream"
    should_retry = True


class NoEvidenceForDay(WrongSnapshotDate):
    """Nothing can be had that was true on the past day that was asked for."""

    code = "no_evidence_for_day"


class TooFewPois(WrongSnapshotDate):
    """Fewer POIs, or helper places, than the city's asserted minimum."""

    code = "too_few_pois"
