"""Keep why an operator accepted a day that a check had stopped."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("staged_partition", sa.Column("accepted_reason", sa.Text))


def downgrade() -> None:
    """Take it away; the days stay."""
    op.drop_column("staged_partition", "accepted_reason")
