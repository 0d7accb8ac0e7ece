"""Every way in which the database refuses a run or its rows.

    StagingError
    ├── DatabaseUnavailable     cannot connect, or the connection broke              retry
    │   ├── DatabaseReadOnly    a standby, or set to take no writes                  retry
    │   └── DatabaseTimedOut    a limit of the server ended a statement or session   retry
    ├── DatabaseForbidden       the role lacks a right                               never
    ├── DatabaseNotMigrated     empty, behind or ahead of this code's migrations     never
    ├── UnsupportedDatabase     neither PostgreSQL with PostGIS nor a GeoPackage     never
    ├── KeyHeld                 another live run works on the same key               never
    ├── ClaimLost               this run's claim was taken over; it may not write    never
    ├── CancelRequested         this run was asked to stop; it may not write         never
    ├── DayNotStaged            a day is read that was never staged                  never
    └── BadRows                 rows that are not what the table declares            never

Belongs here: errors of staging, with code and `should_retry`. Does not belong here: turning them
into Dagster failures (`defs/failures.py`).
"""

from ingestion_pipeline.core.errors import IngestionError


class StagingError(IngestionError):
    """Anything that keeps rows out of the database."""

    code = "staging_error"


class DatabaseUnavailable(StagingError):
    """The database cannot be reached."""

    code = "database_unavailable"
    should_retry = True


class DatabaseReadOnly(DatabaseUnavailable):
    """The database answers and takes no writes."""

    code = "database_read_only"


class DatabaseTimedOut(DatabaseUnavailable):
    """A limit of the server, such as `statement_timeout`, ended a statement or a session."""

    code = "database_timeout"


class DatabaseForbidden(StagingError):
    """The database's role lacks a right."""

    code = "database_forbidden"


class DatabaseNotMigrated(StagingError):
    """The database's schema is not the one that this code declares."""

    code = "database_not_migrated"


class UnsupportedDatabase(StagingError):
    """The database is of a kind that the project does not support."""

    code = "unsupported_database"


class KeyHeld(StagingError):
    """Another run that is still alive holds the idempotency key."""

    code = "key_held"


class ClaimLost(StagingError):
    """This run no longer holds its key, so it may not write."""

    code = "claim_lost"


class CancelRequested(StagingError):
    """Somebody asked this run to stop, so it may not write."""

    code = "canceled"


class BadRows(StagingError):
    """Rows that do not have the declared columns, or name a feature twice."""

    code = "bad_rows"


class DayNotStaged(StagingError):
    """The day that would be read was never staged."""

    code = "day_not_staged"
