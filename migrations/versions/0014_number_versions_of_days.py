"""Add `version_id` to the views of days, by which GDAL and QGIS use the spatial index of the table.

`env.py` creates all views at the end.
"""

revision = "0014"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only the views change."""


def downgrade() -> None:
    """Only the views change."""
