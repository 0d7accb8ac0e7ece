"""Add the leases of runs."""

import sqlalchemy as sa
from alembic import op

from ingestion_pipeline.staging.types import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; runs at work get a lease when they begin anew."""
    op.create_table(
        "run_lease",
        sa.Column("dagster_run_id", sa.Text, primary_key=True),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("beat_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
    )


def downgrade() -> None:
    """Drop it; the ledger stays."""
    op.drop_table("run_lease")
