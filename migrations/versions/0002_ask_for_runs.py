"""Add requests for runs, callback messages, and the last tick of each sensor.

Also add the digest of a staged day's inputs, by which an unchanged day is recognized.
"""

import sqlalchemy as sa
from alembic import op

from ingestion_pipeline.staging.types import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ACTIVE = sa.text("status IN ('PENDING', 'RUNNING')")

ATTRIBUTE_TABLES = ("callback_message", "sensor_tick")


def upgrade() -> None:
    """Add the columns, tables and indexes."""
    op.add_column(
        "ingestion_run",
        sa.Column("refetch", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.add_column("ingestion_run", sa.Column("cancel_requested_at", UtcDateTime))
    op.add_column("staged_partition", sa.Column("inputs_digest", sa.Text))
    op.create_index(
        "ix_ingestion_run_active",
        "ingestion_run",
        ["status", "requested_at", "id"],
        postgresql_where=ACTIVE,
        sqlite_where=ACTIVE,
    )
    op.create_index("ix_ingestion_run_requested_at_id", "ingestion_run", ["requested_at", "id"])
    op.create_index("ix_ingestion_run_idempotency_key", "ingestion_run", ["idempotency_key"])
    op.create_table(
        "callback_message",
        sa.Column("message_id", sa.Text, primary_key=True),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("received_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "sensor_tick",
        sa.Column("sensor", sa.Text, primary_key=True),
        sa.Column("ticked_at", UtcDateTime, nullable=False),
    )
    if op.get_context().dialect.name == "sqlite":
        contents = sa.table(
            "gpkg_contents",
            sa.column("table_name"),
            sa.column("data_type"),
            sa.column("identifier"),
        )
        op.bulk_insert(
            contents,
            [
                {"table_name": table, "data_type": "attributes", "identifier": table}
                for table in ATTRIBUTE_TABLES
            ],
        )


def downgrade() -> None:
    """Drop them; their data is lost, the rows and the ledger stay."""
    for table in ATTRIBUTE_TABLES:
        op.drop_table(table)
    for index in (
        "ix_ingestion_run_idempotency_key",
        "ix_ingestion_run_requested_at_id",
        "ix_ingestion_run_active",
    ):
        op.drop_index(index, "ingestion_run")
    op.drop_column("staged_partition", "inputs_digest")
    op.drop_column("ingestion_run", "cancel_requested_at")
    op.drop_column("ingestion_run", "refetch")
    if op.get_context().dialect.name == "sqlite":
        names = ", ".join(f"'{table}'" for table in ATTRIBUTE_TABLES)
        op.execute(f"DELETE FROM gpkg_contents WHERE table_name IN ({names})")  # noqa: S608
