"""Errors of staging.

    StagingError
    ├── DatabaseUnavailable     cannot connect, or the connection broke              retry
    │   ├── DatabaseReadOnly    a standby, or set to read-only                       retry
    │   └── DatabaseTimedOut    a limit of the server ended a statement or session   retry
    ├── DatabaseForbidden       the role lacks a privilege                           never
    ├── DatabaseNotMigrated     empty, behind or ahead of this code's migrations     never
    ├── UnsupportedDatabase     neither PostgreSQL with PostGIS nor a GeoPackage     never
    ├── KeyHeld                 another live run holds the key                       never
    ├── ClaimLost               the run's claim was taken over; it may not write     never
    ├── LeaseLost               the run did not renew its lease; it may not write    never
    ├── CancelRequested         the run was canceled; it may not write               never
    ├── DayNotStaged            a day is read that was never staged                  never
    └── BadRows                 rows do not match the table                          never

The last column says whether a retry may succeed.
"""

from ingestion_pipeline.core.errors import IngestionError


class StagingError(IngestionError):
    """Rows cannot be written or read."""

    code = "staging_error"


class DatabaseUnavailable(StagingError):
    """The database cannot be reached."""

    code = "database_unavailable"
    should_retry = True


class DatabaseReadOnly(DatabaseUnavailable):
    """The database is read-only."""

    code = "database_read_only"


class DatabaseTimedOut(DatabaseUnavailable):
    """A limit such as `statement_timeout` ended a statement or a session."""

    code = "database_timeout"


class DatabaseForbidden(StagingError):
    """The database's role lacks a privilege."""

    code = "database_forbidden"


class DatabaseNotMigrated(StagingError):
    """The database's schema is not that of this version."""

    code = "database_not_migrated"


class UnsupportedDatabase(StagingError):
    """The database is neither PostgreSQL with PostGIS nor a GeoPackage."""

    code = "unsupported_database"


class KeyHeld(StagingError):
    """Another live run holds the idempotency key."""

    code = "key_held"


class ClaimLost(StagingError):
    """The run no longer holds its key, and may not write."""

    code = "claim_lost"


class LeaseLost(StagingError):
    """The run did not renew its lease in time, and may not write."""

    code = "lease_lost"


class CancelRequested(StagingError):
    """The run was canceled on request, and may not write."""

    code = "canceled"


class BadRows(StagingError):
    """Rows do not have the declared columns, or contain a feature twice."""

    code = "bad_rows"


class DayNotStaged(StagingError):
    """The requested day was never staged."""

    code = "day_not_staged"
