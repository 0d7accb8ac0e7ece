"""Errors of fetching and reading a city-day of OpenStreetMap.

    OsmError
    ├── OverpassError
    │   ├── OverpassNotConfigured      no OVERPASS_URL                               never
    │   ├── OverpassRejected           400: invalid query; lists the lines           never
    │   ├── OverpassForbidden          403, 406, redirect: User-Agent, access, URL   never
    │   ├── OverpassNoAttic            no proof that the history covers a past day   never
    │   ├── OverpassNoMetadata         the server has no versions and timestamps     never
    │   ├── OverpassTooBig             timed out or out of memory, even when split   never
    │   ├── OverpassBusy               429, 504, protocol_error, dispatcher down     retry
    │   ├── OverpassDuplicateQuery     the same text again within its window         retry
    │   ├── OverpassTruncated          cut body, counts that differ, bad content     retry
    │   ├── OverpassOtherQuestion      the response to another query or time         retry
    │   ├── OverpassUnreachable        connection refused, cut or timed out          retry
    │   ├── OverpassSnapshotMoved      the parts of a city are of different states   retry
    │   └── OverpassLeaseLost          the right to ask the server ended meanwhile   retry
    ├── UpstreamBudgetSpent            the budget of a server's day is spent         retry
    ├── ExtractError
    │   ├── ExtractNotConfigured       no OSM_EXTRACT, unknown sample                never
    │   ├── ExtractNotFound            no file for that region and day               never
    │   ├── ExtractUnreachable         the file's server does not answer             retry
    │   ├── ExtractRedirected          a redirect that is not allowed                never
    │   ├── ExtractCorrupt             truncated, wrong checksum, not an extract     retry
    │   ├── ExtractUnsupported         an unsupported format or feature              never
    │   ├── ExtractWithoutTime         the file has no timestamp                     never
    │   └── ExtractDoesNotCover        the file does not cover the city              never
    ├── BoundaryError
    │   ├── BoundaryNotFound           the relation is not in the data               never
    │   ├── BoundaryBroken             the relation does not form an area            never
    │   ├── BoundaryNameMismatch       none of its names is the city's               never
    │   ├── BoundaryOutsideBbox        it extends beyond the city's bbox             never
    │   ├── BoundaryFileChanged        a file's digest is not the configured one     never
    │   └── BoundaryFileUnreachable    a file cannot be fetched                      retry
    └── WrongSnapshotDate
        ├── FutureDay                  the day has not begun                         never
        ├── StaleUpstream              current data older than the city allows       retry
        ├── NoEvidenceForDay           no data of that past day                      never
        └── TooFewPois                 fewer than the city's minimum                 never

`defs/failures.py` turns them into Dagster failures.
"""

from ingestion_pipeline.core.errors import IngestionError


class OsmError(IngestionError):
    """OpenStreetMap data of a city-day is not available."""

    code = "osm_error"


class OverpassError(OsmError):
    """The Overpass server returned no usable response."""

    code = "overpass_error"


class OverpassNotConfigured(OverpassError):
    """A city uses Overpass, and no server is configured."""

    code = "overpass_not_configured"


class OverpassRejected(OverpassError):
    """The server rejected the query as invalid (400)."""

    code = "overpass_rejected"


class OverpassForbidden(OverpassError):
    """The server does not serve this client or URL (403, 404, 406, a redirect)."""

    code = "overpass_forbidden"


class OverpassNoAttic(OverpassError):
    """The server has no history, or no proof that its history covers the past day."""

    code = "overpass_no_attic"


class OverpassNoMetadata(OverpassError):
    """The server's database has no versions and timestamps."""

    code = "overpass_no_metadata"


class OverpassTooBig(OverpassError):
    """The query ran out of time or memory even after the bbox was split."""

    code = "overpass_too_big"


class OverpassBusy(OverpassError):
    """The server is overloaded, out of slots, or its dispatcher is down."""

    code = "overpass_busy"
    should_retry = True


class OverpassDuplicateQuery(OverpassError):
    """The server considers the query a duplicate of one in progress."""

    code = "overpass_duplicate_query"
    should_retry = True


class OverpassTruncated(OverpassError):
    """The body is truncated, has fewer elements than counted, or has a wrong type."""

    code = "overpass_truncated"
    should_retry = True


class OverpassOtherQuestion(OverpassError):
    """The response belongs to another query, or contains objects newer than the requested time."""

    code = "overpass_other_question"
    should_retry = True


class OverpassUnreachable(OverpassError):
    """The server could not be reached, or the connection broke."""

    code = "overpass_unreachable"
    should_retry = True


class OverpassSnapshotMoved(OverpassError):
    """The server's data changed while the parts of one city were fetched."""

    code = "overpass_snapshot_moved"
    should_retry = True


class OverpassLeaseLost(OverpassError):
    """The worker could not renew its lease on the server, and ended its request."""

    code = "overpass_lease_lost"
    should_retry = True


class UpstreamBudgetSpent(OsmError):
    """A server was asked for as much as its budget of the UTC day allows."""

    code = "upstream_budget_spent"
    should_retry = True


class ExtractError(OsmError):
    """The extract cannot be used."""

    code = "extract_error"


class ExtractNotConfigured(ExtractError):
    """A city uses an extract, and none is configured."""

    code = "extract_not_configured"


class ExtractNotFound(ExtractError):
    """The extract does not exist."""

    code = "extract_not_found"


class ExtractUnreachable(ExtractError):
    """The server of the extract does not respond."""

    code = "extract_unreachable"
    should_retry = True


class ExtractRedirected(ExtractError):
    """The server redirects into an inner network or away from https."""

    code = "extract_redirected"


class ExtractCorrupt(ExtractError):
    """The file is truncated, fails its checksum, or is of no known format."""

    code = "extract_corrupt"
    should_retry = True


class ExtractUnsupported(ExtractError):
    """The extract has a format or feature that this release does not support."""

    code = "extract_unsupported"


class ExtractWithoutTime(ExtractError):
    """The extract contains no timestamp of its data."""

    code = "extract_without_time"


class ExtractDoesNotCover(ExtractError):
    """The extract does not cover the city, or covers only a part of it."""

    code = "extract_does_not_cover"


class BoundaryError(OsmError):
    """The city's boundary cannot be used."""

    code = "boundary_error"


class BoundaryNotFound(BoundaryError):
    """The boundary relation is not in the data."""

    code = "boundary_not_found"


class BoundaryBroken(BoundaryError):
    """The boundary relation does not form an area, or a boundary file contains none."""

    code = "boundary_broken"


class BoundaryNameMismatch(BoundaryError):
    """None of the relation's names is a name of the city, so its id is probably wrong."""

    code = "boundary_name_mismatch"


class BoundaryOutsideBbox(BoundaryError):
    """The boundary extends beyond the fetched bbox, so POIs would be missing."""

    code = "boundary_outside_bbox"


class BoundaryFileChanged(BoundaryError):
    """The digest of a boundary file is not the one in the cities file."""

    code = "boundary_file_changed"


class BoundaryFileUnreachable(BoundaryError):
    """A boundary file cannot be fetched."""

    code = "boundary_file_unreachable"
    should_retry = True


class WrongSnapshotDate(OsmError):
    """The data is not of the requested day."""

    code = "wrong_snapshot_date"


class FutureDay(WrongSnapshotDate):
    """The day has not begun (UTC)."""

    code = "future_day"


class StaleUpstream(WrongSnapshotDate):
    """Current data is too old for the city, or a server has not reached the end of the day."""

    code = "stale_upstream"
    should_retry = True


class NoEvidenceForDay(WrongSnapshotDate):
    """No data of the past day is available."""

    code = "no_evidence_for_day"


class TooFewPois(WrongSnapshotDate):
    """Fewer POIs or helper places than the city's minimum."""

    code = "too_few_pois"
