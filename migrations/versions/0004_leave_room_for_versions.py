"""Let a history of small changes fit into the room that there is.

On PostgreSQL the room of closed versions is made free early, and what keeps two versions of a
feature from beginning on the same day becomes an index with free room in its pages, which a first
load can build after its rows. A GeoPackage stays as it is.
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
    """Put the indexes in the place of the constraints."""
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
    """Put the constraints back."""
    if op.get_context().dialect.name == "sqlite":
        return
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} RESET (autovacuum_vacuum_scale_factor)")
        op.create_unique_constraint(f"uq_{table}_{SUFFIX}", table, COLUMNS)
        op.drop_index(f"ix_{table}_{SUFFIX}", table)
