"""Store who retires an override, and why."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; of overrides that are retired already it is not known."""
    op.add_column("poi_override", sa.Column("retired_by", sa.Text))
    op.add_column("poi_override", sa.Column("retired_reason", sa.Text))


def downgrade() -> None:
    """Drop the columns."""
    op.drop_column("poi_override", "retired_reason")
    op.drop_column("poi_override", "retired_by")
