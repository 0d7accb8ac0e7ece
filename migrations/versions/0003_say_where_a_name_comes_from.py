"""Say where a point of interest's display name comes from."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; null until a day is staged again."""
    op.add_column("poi_ingestion_staging", sa.Column("name_source", sa.Text))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("poi_ingestion_staging", "name_source")
