"""Let `osm_type` and `osm_id` of POIs be null, for sources other than OpenStreetMap."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLE = "poi_ingestion_staging"
# By the type that SQLite has for them.
COLUMNS = {"osm_type": "TEXT", "osm_id": "INTEGER"}


def upgrade() -> None:
    """Drop the constraints; rows and their hashes stay as they are."""
    set_nullable(True)


def downgrade() -> None:
    """Restore them; days with POIs that are no objects of OpenStreetMap are no longer staged."""
    for table in ("staged_partition", "ingestion_rejection"):
        op.execute(
            f"""
            DELETE FROM {table} WHERE dataset = 'poi' AND EXISTS (
              SELECT 1 FROM {TABLE} AS poi
              WHERE poi.osm_id IS NULL
                AND poi.city_slug = {table}.city_slug AND poi.source = {table}.source
                AND poi.valid_from <= {table}.day
                AND (poi.valid_to IS NULL OR poi.valid_to > {table}.day)
            )
            """  # noqa: S608 - ours
        )
    op.execute(f"DELETE FROM {TABLE} WHERE osm_id IS NULL")  # noqa: S608 - ours
    set_nullable(False)


def set_nullable(nullable: bool) -> None:
    """Set whether the columns may be null."""
    if op.get_context().dialect.name == "sqlite":
        rewrite_declaration(nullable)
        return
    for column in COLUMNS:
        op.alter_column(TABLE, column, nullable=nullable)


def rewrite_declaration(nullable: bool) -> None:
    """Change the stored CREATE TABLE, as SQLite documents it for NOT NULL constraints.

    The rows stay where they are. Steps of https://www.sqlite.org/lang_altertable.html#otheralter.
    """
    connection = op.get_bind()
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    for column, type_ in COLUMNS.items():
        forms = (f"{column} {type_} NOT NULL,", f"{column} {type_},")
        old, new = forms if nullable else reversed(forms)
        connection.execute(
            sa.text(
                "UPDATE sqlite_master SET sql = replace(sql, :old, :new) "
                "WHERE type = 'table' AND name = :table"
            ),
            {"old": old, "new": new, "table": TABLE},
        )
    connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema = OFF")
