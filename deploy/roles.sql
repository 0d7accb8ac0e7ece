-- Separate roles for the project's database: an owner who migrates, workers that write rows, and
-- readers that see the views. docs/operations.md ("Separate roles") explains them.
--
-- Run it as a superuser, in the project's database, before the first `poi-ingest migrate` and once
-- more after it. It may be run again at any time: it grants what is missing and changes nothing else.
--
--   psql -d poi -f deploy/roles.sql
--
-- Other names: -v owner=... -v worker=... -v reader=... -v schema=...
-- It sets no password: \password poi_worker, and so on.

\set ON_ERROR_STOP on
\set QUIET on
\if :{?owner}
\else
  \set owner poi_owner
\endif
\if :{?worker}
\else
  \set worker poi_worker
\endif
\if :{?reader}
\else
  \set reader poi_reader
\endif
\if :{?schema}
\else
  \set schema public
\endif

BEGIN;

SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY[:'owner', :'worker', :'reader']) AS name
WHERE name NOT IN (SELECT rolname FROM pg_roles) \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), name)
FROM unnest(ARRAY[:'owner', :'worker', :'reader']) AS name \gexec

-- The extension is an administrator's to create; it may be in a schema of its own.
SELECT 'CREATE EXTENSION postgis'
WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'postgis') \gexec
SELECT format('GRANT USAGE ON SCHEMA %I TO %I', nspname, name)
FROM pg_extension
JOIN pg_namespace ON pg_namespace.oid = extnamespace,
unnest(ARRAY[:'owner', :'worker', :'reader']) AS name
WHERE extname = 'postgis' \gexec

GRANT USAGE, CREATE ON SCHEMA :"schema" TO :"owner";
GRANT USAGE ON SCHEMA :"schema" TO :"worker", :"reader";

-- What later migrations make.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"schema"
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"worker";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"schema"
  GRANT SELECT, USAGE ON SEQUENCES TO :"worker";

-- What is there. Readers of a view need no right to the tables beneath it.
CREATE TEMPORARY TABLE here ON COMMIT DROP AS
SELECT format('%I.%I', nspname, relname) AS name, relname, relkind
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = :'schema' AND relowner = (SELECT oid FROM pg_roles WHERE rolname = :'owner');

SELECT format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I', name, :'worker')
FROM here WHERE relkind IN ('r', 'p') AND relname <> 'alembic_version' \gexec
SELECT format('REVOKE INSERT, UPDATE, DELETE ON %s FROM %I', name, :'worker')
FROM here WHERE relname = 'alembic_version' \gexec
SELECT format('GRANT SELECT ON %s TO %I', name, :'worker')
FROM here WHERE relname = 'alembic_version' OR relkind = 'v' \gexec
SELECT format('GRANT SELECT, USAGE ON SEQUENCE %s TO %I', name, :'worker')
FROM here WHERE relkind = 'S' \gexec
SELECT format('GRANT SELECT ON %s TO %I', name, :'reader')
FROM here WHERE relkind = 'v' \gexec

COMMIT;
