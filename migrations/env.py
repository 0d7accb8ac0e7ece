"""Alembic's entry: runs the migrations on the connection that `staging.database.migrate` gives."""

from alembic import context

from ingestion_pipeline.staging.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # The caller's transaction holds the whole migration: it is done, or it never was.
    transactional_ddl=True,
)
context.run_migrations()
