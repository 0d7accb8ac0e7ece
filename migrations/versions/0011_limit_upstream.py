"""Add the leases on upstream servers, who waits for one, and what each server was asked for.

All workers of a database take turns by them and share a budget. A GeoPackage, which one machine
uses, has only the usage filled: its workers take turns by file locks.
"""

import sqlalchemy as sa
from alembic import op

from ingestion_pipeline.staging.types import BIG_INTEGER, UtcDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLES = ("upstream_lease", "upstream_waiter", "upstream_usage")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "upstream_lease",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("leased_until", UtcDateTime, nullable=False),
    )
    op.create_table(
        "upstream_waiter",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, primary_key=True),
        sa.Column("since", UtcDateTime, nullable=False),
        sa.Column("waits_until", UtcDateTime, nullable=False),
    )
    op.create_table(
        "upstream_usage",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("server", sa.Text, primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("requests", BIG_INTEGER, nullable=False),
        sa.Column("bytes", BIG_INTEGER, nullable=False),
    )


def downgrade() -> None:
    """Drop them: workers of the version before take turns on their own machine only."""
    for table in TABLES:
        op.drop_table(table)
