"""Reduce the growth of tables and indexes under a history of small changes.

On PostgreSQL, vacuum frees the space of closed versions early, and the unique constraint becomes an
index with free space in its pages, which a first load can build after its rows. A GeoPackage does
not change.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = ("poi_ingestion_staging", "helper_place")
COLUMNS = ("city_slug", "source", "source_ref", "valid_from")
SUFFIX = "_".join(COLUMNS)


def upgrade() -> None:
    """Replace the constraints with indexes."""
    if op.get_context().dialect.name == "sqlite":
        return
    for table in TABLES:
        op.create_index(
            f"ix_{table}_{SUFFIX}",
            table,
            COLUMNS,
            unique=True,
            postgresql_with={"fillfactor": 70},
        )
        op.drop_constraint(f"uq_{table}_{SUFFIX}", table)
        op.execute(f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.01)")


def downgrade() -> None:
    """Restore the constraints."""
    if op.get_context().dialect.name == "sqlite":
        return
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} RESET (autovacuum_vacuum_scale_factor)")
        op.create_unique_constraint(f"uq_{table}_{SUFFIX}", table, COLUMNS)
        op.drop_index(f"ix_{table}_{SUFFIX}", table)
