"""The statement that says whether the reader's role may do more than read views."""

MAY_MORE = """
SELECT rolsuper OR EXISTS (
    SELECT FROM pg_class
    WHERE relname = ANY(CAST({tables} AS text[])) AND relnamespace = (
        SELECT relnamespace FROM pg_class WHERE oid = to_regclass(quote_ident({view}))
    ) AND has_table_privilege(oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
) FROM pg_roles WHERE rolname = current_user
"""
"""Its parameters are the names of all tables, and a view that the role may read; each driver has a
form of its own for them."""
