"""Add helper places, the source of names, and the check results of a staged day.

The new column of POIs is the last one in the database and next to `name` in the declaration: a
table of millions of rows is not rewritten for the order of its columns.
"""

import sqlalchemy as sa
from alembic import op

from ingestion_pipeline.staging.geometry import Geometry
from ingestion_pipeline.staging.types import BIG_INTEGER, REAL, Json, UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the columns."""
    embedded = op.get_context().dialect.name == "sqlite"
    op.add_column("poi_ingestion_staging", sa.Column("name_source", sa.Text))
    op.add_column("staged_partition", sa.Column("stale_reason", sa.Text))
    op.add_column("staged_partition", sa.Column("accepted_reason", sa.Text))
    op.add_column("staged_partition", sa.Column("warnings", Json))
    op.create_table(
        "helper_place",
        sa.Column("id", BIG_INTEGER, primary_key=True, autoincrement=True),
        sa.Column("city_slug", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("source_ref", sa.Text, nullable=False),
        sa.Column("valid_from", sa.Date, nullable=False),
        sa.Column("valid_to", sa.Date),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("source_hash", sa.Text, nullable=False),
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
        sa.PrimaryKeyConstraint("id", name="pk_helper_place"),
        sa.UniqueConstraint(
            "city_slug",
            "source",
            "source_ref",
            "valid_from",
            name="uq_helper_place_city_slug_source_source_ref_valid_from",
        ),
        sa.CheckConstraint(
            "valid_to IS NULL OR valid_to > valid_from", name=op.f("ck_helper_place_validity")
        ),
        sqlite_autoincrement=True,
    )
    for columns in (
        ["city_slug", "source", "valid_from"],
        ["city_slug", "source", "valid_to"],
        ["city_slug", "kind"],
    ):
        op.create_index(f"ix_helper_place_{'_'.join(columns)}", "helper_place", columns)
    if embedded:
        op.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, srs_id) "
            "VALUES ('helper_place', 'features', 'helper_place', "
            "'Versions of helper places with their validity', 4326)"
        )
        op.execute(
            "INSERT INTO gpkg_geometry_columns VALUES "
            "('helper_place', 'geometry', 'GEOMETRY', 4326, 0, 0)"
        )
    else:
        op.create_index(
            "ix_helper_place_geometry", "helper_place", ["geometry"], postgresql_using="gist"
        )


def downgrade() -> None:
    """Drop them; helper places are lost, POIs and the ledger stay."""
    if op.get_context().dialect.name == "sqlite":
        op.execute("DELETE FROM gpkg_geometry_columns WHERE table_name = 'helper_place'")
        op.execute("DELETE FROM gpkg_contents WHERE table_name = 'helper_place'")
    op.drop_table("helper_place")
    # A day that is listed as staged must have its rows.
    for table in ("staged_partition", "ingestion_rejection"):
        op.execute(f"DELETE FROM {table} WHERE dataset = 'helper'")  # noqa: S608 - ours
    op.drop_column("staged_partition", "warnings")
    op.drop_column("staged_partition", "accepted_reason")
    op.drop_column("staged_partition", "stale_reason")
    op.drop_column("poi_ingestion_staging", "name_source")
