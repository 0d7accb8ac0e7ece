"""Store which older releases can use the schema, so that two releases can share the database.

`env.py` writes the row after each migration, from the migration's `oldest_code`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
oldest_code = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; code of earlier migrations does not read it."""
    op.create_table(
        "schema_compatibility",
        sa.Column("oldest_code", sa.Text, primary_key=True),
    )


def downgrade() -> None:
    """Drop it: earlier code accepts its own migration only."""
    op.drop_table("schema_compatibility")
