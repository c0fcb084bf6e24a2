-- name: doctor_bounds
SET LOCAL statement_timeout = '5s';

-- name: signs_of_life
SELECT (SELECT count(*) FROM senders WHERE paused_until > now()) AS senders_resting,
       (SELECT count(*) FROM workers WHERE beat_at > now() - %(silence)s::interval) AS workers_alive,
       (SELECT count(*) FROM (SELECT FROM dead_letters LIMIT 10000) AS first) AS dead_letters;

-- name: server_facts
-- What anybody may ask; connections are counted where no privilege hides any.
SELECT current_setting('server_version_num')::int AS version_num,
       coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS places,
       (SELECT coalesce(sum(numbackends), 0) FROM pg_stat_database)::int AS taken,
       coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false) AS superuser,
       pg_is_in_recovery() AS standby,
       current_setting('server_encoding') AS encoding,
       pg_database_size(current_database()) AS size_bytes,
       clock_timestamp() AS now;
