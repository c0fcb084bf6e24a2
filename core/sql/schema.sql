-- name: lock_migrations
-- Held until the transaction ends; works behind PgBouncer in transaction mode, which a session lock would not.
SELECT pg_advisory_xact_lock(hashtextextended('sisters migrate', 0));

-- name: keep_list_of_migrations
CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());

-- name: known_migrations
SELECT name FROM schema_migrations;

-- name: note_migration
INSERT INTO schema_migrations (name) VALUES (%(name)s);
