-- name: take_time_to_migrate
-- An index on a large table takes longer than a statement of a turn may.
SET LOCAL statement_timeout = '1h';

-- name: lock_migrations
-- Held until the transaction ends; works behind PgBouncer in transaction mode, which a session lock would not.
SELECT pg_advisory_xact_lock(hashtextextended('sisters migrate', 0));

-- name: keep_list_of_migrations
CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());

-- name: known_migrations
SELECT name FROM schema_migrations;

-- name: note_migration
INSERT INTO schema_migrations (name) VALUES (%(name)s);

-- name: keep_timeouts_with_role
-- Behind PgBouncer no client may say them for its session: whoever logs in as this role has them from the server.
DO $$
DECLARE
    alter text := 'ALTER ROLE CURRENT_USER IN DATABASE ' || quote_ident(current_database()) || ' SET ';
BEGIN
    EXECUTE alter || 'statement_timeout = ' || quote_literal('10s');
    EXECUTE alter || 'lock_timeout = ' || quote_literal('10s');
    EXECUTE alter || 'idle_in_transaction_session_timeout = ' || quote_literal('10s');
END $$;
