"""Store with each staged day the share of the city that its extract covers."""

import sqlalchemy as sa
from alembic import op

from ingestion_pipeline.staging.types import Json

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; it is null for days that are already staged."""
    op.add_column("staged_partition", sa.Column("coverage", Json))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("staged_partition", "coverage")
