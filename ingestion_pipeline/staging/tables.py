"""The tables of the schema.

`docs/data-dictionary.md` documents every column. Tests compare it, and the result of the migrations
on each database, with these declarations.
"""

from typing import NamedTuple

import sqlalchemy as sa

from ingestion_pipeline.core.legend import HELPERS, POIS, Legend
from ingestion_pipeline.staging.geometry import Geometry
from ingestion_pipeline.staging.types import BIG_INTEGER, REAL, Json, UtcDateTime

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

VERSION_COLUMNS = (
    "id",
    "city_slug",
    "source",
    "source_ref",
    "valid_from",
    "valid_to",
    "content_hash",
    "source_hash",
)
"""The columns of every version table before its content."""

VERSION_STORAGE = {"autovacuum_vacuum_scale_factor": 0.01}
"""Storage parameters of version tables on PostgreSQL. A version that ends leaves a dead row; vacuum
runs when they are 1 % of the table. With the default of 20 % that is once in forty days of 0.5 %
changes."""


class Views(NamedTuple):
    """The names of a dataset's views."""

    day: str
    current: str
    change: str

    @property
    def layers(self) -> tuple[str, str]:
        """Those with a geometry, which a GeoPackage lists as layers."""
        return (self.day, self.current)


VERSION_TABLES: dict[str, sa.Table] = {}
"""The table of versions of each dataset; `version_table` adds to it."""

CLASS_COLUMNS: dict[str, str] = {}
"""The column of each dataset that says what a thing is."""

VIEWS: dict[str, Views] = {}
"""The views of each dataset."""

JOB_TYPES: dict[str, str] = {}
"""The job that stages each dataset."""

LEGENDS: dict[str, Legend] = {}
"""How maps show the classes of each dataset."""


def _one_version_a_day() -> tuple[sa.UniqueConstraint, sa.Index]:
    """Return the constraint that no two versions of a feature begin on the same day.

    On PostgreSQL it is a unique index, which a first load can build after its rows. Its fillfactor
    leaves room for the next version beside the last one: full pages would all split within months.
    """
    columns = ("city_slug", "source", "source_ref", "valid_from")
    return (
        sa.UniqueConstraint(*columns).ddl_if(dialect="sqlite"),
        sa.Index(None, *columns, unique=True, postgresql_with={"fillfactor": 70}).ddl_if(
            dialect="postgresql"
        ),
    )


def version_table(
    name: str,
    *content: sa.schema.SchemaItem,
    dataset: str,
    class_column: str,
    views: Views,
    job_type: str,
    legend: Legend = Legend(),  # noqa: B008 - immutable
) -> sa.Table:
    """Declare the table of a dataset's versions.

    Args:
        name: Its name.
        content: Its columns after `VERSION_COLUMNS`, `geometry` among them, and its own indexes.
        dataset: The dataset's name.
        class_column: The column that says what a thing is.
        views: The names of the dataset's views.
        job_type: The job that stages the dataset.
        legend: How maps show its classes; by default all look the same.
    """
    table = sa.Table(
        name,
        metadata,
        sa.Column("id", BIG_INTEGER, primary_key=True, autoincrement=True),
        sa.Column("city_slug", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("source_ref", sa.Text, nullable=False),
        sa.Column("valid_from", sa.Date, nullable=False),
        sa.Column("valid_to", sa.Date),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("source_hash", sa.Text, nullable=False),
        *content,
        *_one_version_a_day(),
        sa.CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name="validity"),
        sa.Index(None, "city_slug", "source", "valid_from"),
        sa.Index(None, "city_slug", "source", "valid_to"),
        sa.Index(None, "geometry", postgresql_using="gist").ddl_if(dialect="postgresql"),
        sqlite_autoincrement=True,
    )
    VERSION_TABLES[dataset] = table
    CLASS_COLUMNS[dataset] = class_column
    VIEWS[dataset] = views
    JOB_TYPES[dataset] = job_type
    LEGENDS[dataset] = legend
    return table


poi_ingestion_staging = version_table(
    "poi_ingestion_staging",
    sa.Column("osm_type", sa.Text),
    sa.Column("osm_id", BIG_INTEGER),
    sa.Column("osm_version", sa.Integer),
    sa.Column("osm_timestamp", UtcDateTime),
    sa.Column("category", sa.Text, nullable=False),
    sa.Column("categories", Json, nullable=False),
    sa.Column("name", sa.Text),
    sa.Column("name_source", sa.Text),
    sa.Column("names", Json, nullable=False),
    sa.Column("tags", Json, nullable=False),
    sa.Column("geometry", Geometry, nullable=False),
    sa.Column("lon", REAL, nullable=False),
    sa.Column("lat", REAL, nullable=False),
    sa.Column("point_source", sa.Text, nullable=False),
    sa.Column("geom_quality", sa.Text, nullable=False),
    sa.Column("area_m2", REAL),
    sa.Column("address", Json, nullable=False),
    sa.Column("contact", Json, nullable=False),
    sa.Column("opening_hours", sa.Text),
    sa.Column("wikidata", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("licence", sa.Text, nullable=False),
    sa.Column("attribution", sa.Text, nullable=False),
    dataset="poi",
    class_column="category",
    views=Views("poi_staging_day", "poi_staging_current", "poi_change"),
    job_type="osm_import",
    legend=POIS,
)

helper_place = version_table(
    "helper_place",
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("parent_ref", sa.Text),
    sa.Column("derived_from", sa.Text),
    sa.Column("osm_type", sa.Text),
    sa.Column("osm_id", BIG_INTEGER),
    sa.Column("osm_version", sa.Integer),
    sa.Column("osm_timestamp", UtcDateTime),
    sa.Column("name", sa.Text),
    sa.Column("name_source", sa.Text),
    sa.Column("names", Json, nullable=False),
    sa.Column("tags", Json, nullable=False),
    sa.Column("geometry", Geometry, nullable=False),
    sa.Column("lon", REAL, nullable=False),
    sa.Column("lat", REAL, nullable=False),
    sa.Column("point_source", sa.Text, nullable=False),
    sa.Column("geom_quality", sa.Text, nullable=False),
    sa.Column("access", sa.Text),
    sa.Column("fee", sa.Text),
    sa.Column("wheelchair", sa.Text),
    sa.Column("opening_hours", sa.Text),
    sa.Column("level", sa.Text),
    sa.Column("operator", sa.Text),
    sa.Column("attributes", Json, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("links", Json, nullable=False),
    sa.Column("licence", sa.Text, nullable=False),
    sa.Column("attribution", sa.Text, nullable=False),
    sa.Index(None, "city_slug", "kind"),
    dataset="helper",
    class_column="kind",
    views=Views("helper_place_day", "helper_place_current", "helper_change"),
    job_type="helpers_import",
    legend=HELPERS,
)

staged_partition = sa.Table(
    "staged_partition",
    metadata,
    sa.Column("city_slug", sa.Text, primary_key=True),
    sa.Column("dataset", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("boundary_ref", sa.Text, nullable=False),
    sa.Column("as_of", UtcDateTime, nullable=False),
    sa.Column("as_of_source", sa.Text, nullable=False),
    sa.Column("obtained", sa.Text, nullable=False),
    sa.Column("location", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("rules_version", sa.Text, nullable=False),
    sa.Column("licence", sa.Text, nullable=False),
    sa.Column("attribution", sa.Text, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("added", sa.Integer, nullable=False),
    sa.Column("changed", sa.Integer, nullable=False),
    sa.Column("removed", sa.Integer, nullable=False),
    sa.Column("rejected", sa.Integer, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("staged_at", UtcDateTime, nullable=False),
    sa.Column("inputs_digest", sa.Text),
    sa.Column("stale_reason", sa.Text),
    sa.Column("accepted_reason", sa.Text),
    sa.Column("warnings", Json),
    sa.Column("coverage", Json),
)

ingestion_rejection = sa.Table(
    "ingestion_rejection",
    metadata,
    sa.Column("city_slug", sa.Text, primary_key=True),
    sa.Column("dataset", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("source_ref", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("raw", Json, nullable=False),
)

_ACTIVE = sa.text("status IN ('PENDING', 'RUNNING')")

ingestion_run = sa.Table(
    "ingestion_run",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("job_type", sa.Text, nullable=False),
    sa.Column("city_slug", sa.Text, nullable=False),
    sa.Column("boundary_ref", sa.Text, nullable=False),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("idempotency_key", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("trigger", sa.Text, nullable=False),
    sa.Column("dagster_run_id", sa.Text),
    sa.Column("worker", sa.Text),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("as_of", UtcDateTime),
    sa.Column("counts", Json),
    sa.Column("error_code", sa.Text),
    sa.Column("error_message", sa.Text),
    sa.Column("requested_at", UtcDateTime, nullable=False),
    sa.Column("started_at", UtcDateTime),
    sa.Column("finished_at", UtcDateTime),
    sa.Column("refetch", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("cancel_requested_at", UtcDateTime),
    sa.CheckConstraint(
        "status IN ('PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELED')", name="status"
    ),
    # At most one active run per key.
    sa.Index(
        "uq_ingestion_run_active_key",
        "idempotency_key",
        unique=True,
        postgresql_where=_ACTIVE,
        sqlite_where=_ACTIVE,
    ),
    sa.Index(None, "city_slug", "day"),
    sa.Index(None, "dagster_run_id"),
    # Active runs are few, however long the ledger grows.
    sa.Index(
        "ix_ingestion_run_active",
        "status",
        "requested_at",
        "id",
        postgresql_where=_ACTIVE,
        sqlite_where=_ACTIVE,
    ),
    sa.Index(None, "requested_at", "id"),
    sa.Index(None, "idempotency_key"),
)

callback_message = sa.Table(
    "callback_message",
    metadata,
    sa.Column("message_id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("received_at", UtcDateTime, nullable=False),
)

sensor_tick = sa.Table(
    "sensor_tick",
    metadata,
    sa.Column("sensor", sa.Text, primary_key=True),
    sa.Column("ticked_at", UtcDateTime, nullable=False),
)

schema_compatibility = sa.Table(
    "schema_compatibility",
    metadata,
    sa.Column("oldest_code", sa.Text, primary_key=True),
)

# Apart from `ingestion_run`: the transaction that writes a slice locks its row there.
run_lease = sa.Table(
    "run_lease",
    metadata,
    sa.Column("dagster_run_id", sa.Text, primary_key=True),
    sa.Column("token", sa.Text, nullable=False),
    sa.Column("beat_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
)

upstream_lease = sa.Table(
    "upstream_lease",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("leased_until", UtcDateTime, nullable=False),
)

upstream_waiter = sa.Table(
    "upstream_waiter",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, primary_key=True),
    sa.Column("since", UtcDateTime, nullable=False),
    sa.Column("waits_until", UtcDateTime, nullable=False),
)

upstream_usage = sa.Table(
    "upstream_usage",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("server", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("requests", BIG_INTEGER, nullable=False),
    sa.Column("bytes", BIG_INTEGER, nullable=False),
)


_OPEN = sa.text("status IN ('PROPOSED', 'APPROVED')")

promotion = sa.Table(
    "promotion",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("city_slug", sa.Text, nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("sequence", sa.Integer),
    sa.Column("base_id", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("gates", Json, nullable=False),
    sa.Column("counts", Json, nullable=False),
    sa.Column("totals", Json, nullable=False),
    sa.Column("findings", Json, nullable=False),
    sa.Column("evidence", Json, nullable=False),
    sa.Column("attribution", sa.Text, nullable=False),
    sa.Column("proposed_at", UtcDateTime, nullable=False),
    sa.Column("decided_at", UtcDateTime),
    sa.Column("decided_by", sa.Text),
    sa.Column("decision_reason", sa.Text),
    sa.Column("promoted_at", UtcDateTime),
    sa.Column("reverts", sa.Text),
    sa.Column("run_id", sa.Text),
    sa.CheckConstraint(
        "status IN ('PROPOSED', 'APPROVED', 'PROMOTED', 'REJECTED', 'SUPERSEDED', 'FAILED')",
        name="status",
    ),
    # Promotions of a city are linear in time.
    sa.UniqueConstraint("city_slug", "dataset", "sequence"),
    # At most one open promotion per city and dataset.
    sa.Index(
        "uq_promotion_open",
        "city_slug",
        "dataset",
        unique=True,
        postgresql_where=_OPEN,
        sqlite_where=_OPEN,
    ),
    sa.Index(None, "proposed_at", "id"),
)

poi = sa.Table(
    "poi",
    metadata,
    sa.Column("id", BIG_INTEGER, primary_key=True, autoincrement=True),
    sa.Column("poi_id", sa.Text, nullable=False),
    sa.Column("city_slug", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("source_ref", sa.Text, nullable=False),
    sa.Column("other_refs", Json, nullable=False),
    sa.Column("category", sa.Text, nullable=False),
    sa.Column("categories", Json, nullable=False),
    sa.Column("name", sa.Text),
    sa.Column("name_source", sa.Text),
    sa.Column("names", Json, nullable=False),
    sa.Column("tags", Json, nullable=False),
    sa.Column("geometry", Geometry, nullable=False),
    sa.Column("lon", REAL, nullable=False),
    sa.Column("lat", REAL, nullable=False),
    sa.Column("point_source", sa.Text, nullable=False),
    sa.Column("geom_quality", sa.Text, nullable=False),
    sa.Column("address", Json, nullable=False),
    sa.Column("contact", Json, nullable=False),
    sa.Column("opening_hours", sa.Text),
    sa.Column("wikidata", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("osm_version", sa.Integer),
    sa.Column("osm_timestamp", UtcDateTime),
    sa.Column("licence", sa.Text, nullable=False),
    sa.Column("attribution", sa.Text, nullable=False),
    sa.Column("hidden", sa.Boolean, nullable=False),
    sa.Column("overrides", Json, nullable=False),
    sa.Column("content_hash", sa.Text, nullable=False),
    sa.Column("source_hash", sa.Text, nullable=False),
    sa.Column("first_promoted", sa.Date, nullable=False),
    sa.Column("last_changed", sa.Date, nullable=False),
    sa.Column("promotion_id", sa.Text, nullable=False),
    sa.UniqueConstraint("poi_id"),
    sa.UniqueConstraint("city_slug", "source", "source_ref"),
    sa.Index(None, "category", "lat", "lon"),
    sa.Index(None, "geometry", postgresql_using="gist").ddl_if(dialect="postgresql"),
    sqlite_autoincrement=True,
)

poi_event = sa.Table(
    "poi_event",
    metadata,
    sa.Column("promotion_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("poi_id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("before", Json),
    sa.Column("after", Json),
    sa.Column("evidence", Json, nullable=False),
    sa.Index(None, "poi_id"),
)

poi_identity = sa.Table(
    "poi_identity",
    metadata,
    sa.Column("poi_id", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("source_ref", sa.Text, primary_key=True),
    sa.Column("from_promotion_id", sa.Text, primary_key=True),
    sa.Column("to_promotion_id", sa.Text),
    sa.Column("city_slug", sa.Text, nullable=False),
    sa.Column("evidence", Json, nullable=False),
    sa.Index(None, "city_slug", "source", "source_ref"),
)

_IN_FORCE = sa.text("retired_at IS NULL")

poi_override = sa.Table(
    "poi_override",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("poi_id", sa.Text, nullable=False),
    sa.Column("column", sa.Text, nullable=False),
    sa.Column("value", Json),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("until", sa.Date),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("retired_at", UtcDateTime),
    sa.Column("retired_why", sa.Text),
    sa.Column("retired_promotion_id", sa.Text),
    sa.Column("retired_by", sa.Text),
    sa.Column("retired_reason", sa.Text),
    # At most one override in force per place and column.
    sa.Index(
        "uq_poi_override_in_force",
        "poi_id",
        "column",
        unique=True,
        postgresql_where=_IN_FORCE,
        sqlite_where=_IN_FORCE,
    ),
)

PUBLIC_LAYER = "poi_public"
"""The view of the places that are not hidden, which a GeoPackage lists as a layer."""


def layers_of(dataset: str) -> tuple[str, ...]:
    """Return the tables and views with a geometry that have the classes of a dataset."""
    public = (poi.name, PUBLIC_LAYER) if VERSION_TABLES[dataset] is poi_ingestion_staging else ()
    return (VERSION_TABLES[dataset].name, *VIEWS[dataset].layers, *public)


def content_columns(table: sa.Table) -> tuple[str, ...]:
    """Return the names of a version table's content columns, in order."""
    return tuple(column.name for column in table.columns if column.name not in VERSION_COLUMNS)
