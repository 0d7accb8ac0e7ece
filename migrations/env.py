"""Alembic's entry point: runs the migrations on the connection of `staging.database.migrate`.

Views block changes of their tables, so they are dropped before the first step. At the newest
migration they are created again, with the same grants.

From `0014` on, each migration has an `oldest_code`: the newest migration of the oldest release that
can use the schema. It is stored for `staging.database.require_migrated`.
"""

from alembic import context

import ingestion_pipeline.datasets.registry  # noqa: F401 - declares the tables of all datasets
from ingestion_pipeline.staging import views
from ingestion_pipeline.staging.database import set_oldest_code
from ingestion_pipeline.staging.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    # The caller's transaction makes the whole migration atomic.
    transactional_ddl=True,
)
current, goal = context.get_context().get_current_revision, context.get_revision_argument()
if current() != goal:
    may_read = views.readers(connection)
    views.drop(connection)
    context.run_migrations()
    reached = current()
    migration = context.script.get_revision(reached).module if reached else None
    oldest_code = getattr(migration, "oldest_code", None)
    if oldest_code is not None:
        set_oldest_code(connection, oldest_code)
    if goal == context.get_head_revision():
        views.create(connection)
        views.grant_select(connection, may_read)
