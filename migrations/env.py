"""Alembic's entry: runs the migrations on the connection that `staging.database.migrate` gives.

The views hold nothing, so they are not migrated: they go before the first step, as no table can be
changed beneath them, and at the newest migration they are made anew, for those who could read them.
"""

from alembic import context

import ingestion_pipeline.datasets.registry  # noqa: F401 - declares the tables of all datasets
from ingestion_pipeline.staging import views
from ingestion_pipeline.staging.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    # The caller's transaction holds the whole migration: it is done, or it never was.
    transactional_ddl=True,
)
current, goal = context.get_context().get_current_revision, context.get_revision_argument()
if current() != goal:
    may_read = views.readers(connection)
    views.drop(connection)
    context.run_migrations()
    if goal == context.get_head_revision():
        views.create(connection)
        views.let_read(connection, may_read)
