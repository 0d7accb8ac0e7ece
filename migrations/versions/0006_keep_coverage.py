"""Keep with each staged day which share of the city its extract covers, and how that is known."""

import sqlalchemy as sa
from alembic import op

from ingestion_pipeline.staging.types import Json

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of days that are staged already it is not known."""
    op.add_column("staged_partition", sa.Column("coverage", Json))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("staged_partition", "coverage")
