"""Add promotion: the public table, its ledger, its feed of events, identities and overrides."""

import sqlalchemy as sa
from alembic import op

from ingestion_pipeline.staging.geometry import Geometry
from ingestion_pipeline.staging.types import BIG_INTEGER, REAL, Json, UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

OPEN = sa.text("status IN ('PROPOSED', 'APPROVED')")
IN_FORCE = sa.text("retired_at IS NULL")
ATTRIBUTE_TABLES = ("promotion", "poi_event", "poi_identity", "poi_override")


def upgrade() -> None:
    """Add the tables; nothing is public yet."""
    embedded = op.get_context().dialect.name == "sqlite"
    create_promotion()
    create_poi()
    create_events_and_identities()
    create_override()
    if embedded:
        register_in_geopackage()
    else:
        op.create_index("ix_poi_geometry", "poi", ["geometry"], postgresql_using="gist")


def create_promotion() -> None:
    """Create the ledger of promotions."""
    op.create_table(
        "promotion",
        sa.Column("id", sa.Text, nullable=False),
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
        sa.PrimaryKeyConstraint("id", name="pk_promotion"),
        sa.CheckConstraint(
            "status IN ('PROPOSED', 'APPROVED', 'PROMOTED', 'REJECTED', 'SUPERSEDED', 'FAILED')",
            name=op.f("ck_promotion_status"),
        ),
        sa.UniqueConstraint(
            "city_slug", "dataset", "sequence", name="uq_promotion_city_slug_dataset_sequence"
        ),
    )
    op.create_index(
        "uq_promotion_open",
        "promotion",
        ["city_slug", "dataset"],
        unique=True,
        postgresql_where=OPEN,
        sqlite_where=OPEN,
    )
    op.create_index("ix_promotion_proposed_at_id", "promotion", ["proposed_at", "id"])


def create_poi() -> None:
    """Create the public table."""
    op.create_table(
        "poi",
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
        sa.PrimaryKeyConstraint("id", name="pk_poi"),
        sa.UniqueConstraint("poi_id", name="uq_poi_poi_id"),
        sa.UniqueConstraint(
            "city_slug", "source", "source_ref", name="uq_poi_city_slug_source_source_ref"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_poi_category_lat_lon", "poi", ["category", "lat", "lon"])


def create_events_and_identities() -> None:
    """Create the feed of events, and the table of which object stood for which place."""
    op.create_table(
        "poi_event",
        sa.Column("promotion_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("poi_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("before", Json),
        sa.Column("after", Json),
        sa.Column("evidence", Json, nullable=False),
        sa.PrimaryKeyConstraint("promotion_id", "number", name="pk_poi_event"),
    )
    op.create_index("ix_poi_event_poi_id", "poi_event", ["poi_id"])
    op.create_table(
        "poi_identity",
        sa.Column("poi_id", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("source_ref", sa.Text, nullable=False),
        sa.Column("from_promotion_id", sa.Text, nullable=False),
        sa.Column("to_promotion_id", sa.Text),
        sa.Column("city_slug", sa.Text, nullable=False),
        sa.Column("evidence", Json, nullable=False),
        sa.PrimaryKeyConstraint(
            "poi_id", "source", "source_ref", "from_promotion_id", name="pk_poi_identity"
        ),
    )
    op.create_index(
        "ix_poi_identity_city_slug_source_source_ref",
        "poi_identity",
        ["city_slug", "source", "source_ref"],
    )


def create_override() -> None:
    """Create the table of overrides."""
    op.create_table(
        "poi_override",
        sa.Column("id", sa.Text, nullable=False),
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
        sa.PrimaryKeyConstraint("id", name="pk_poi_override"),
    )
    op.create_index(
        "uq_poi_override_in_force",
        "poi_override",
        ["poi_id", "column"],
        unique=True,
        postgresql_where=IN_FORCE,
        sqlite_where=IN_FORCE,
    )


def register_in_geopackage() -> None:
    """List the tables as layers and attributes."""
    op.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, srs_id) "
        "VALUES ('poi', 'features', 'poi', 'Places that are public', 4326)"
    )
    op.execute(
        "INSERT INTO gpkg_geometry_columns VALUES ('poi', 'geometry', 'GEOMETRY', 4326, 0, 0)"
    )
    for table in ATTRIBUTE_TABLES:
        op.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier) "  # noqa: S608 - ours
            f"VALUES ('{table}', 'attributes', '{table}')"
        )


def downgrade() -> None:
    """Drop the tables; staging and the ledger of runs stay."""
    if op.get_context().dialect.name == "sqlite":
        op.execute("DELETE FROM gpkg_geometry_columns WHERE table_name = 'poi'")
        for table in ("poi", *ATTRIBUTE_TABLES):
            op.execute(f"DELETE FROM gpkg_contents WHERE table_name = '{table}'")  # noqa: S608
    for table in ("poi_override", "poi_identity", "poi_event", "poi", "promotion"):
        op.drop_table(table)
    # A run of a job that this schema does not have.
    op.execute("DELETE FROM ingestion_run WHERE job_type = 'poi_promotion'")
