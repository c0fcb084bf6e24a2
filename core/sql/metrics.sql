-- name: look_at_turns
-- Open turns by phase; reads them by the index of open ones.
SELECT CASE WHEN worker_id IS NOT NULL THEN 'running' WHEN next_attempt_at > now() THEN 'postponed' ELSE 'waiting' END
           AS phase,
       count(*) AS number, extract(epoch FROM now() - min(created_at))::float AS oldest_s,
       extract(epoch FROM now() - min(next_attempt_at))::float AS due_s
FROM turns WHERE finished_at IS NULL GROUP BY 1;

-- name: look_at_deliveries
-- What waits for its place in a rate, or for the piece before it, was not tried; what waits after a failure was.
SELECT state AS phase, count(*) AS number, extract(epoch FROM now() - min(created_at))::float AS oldest_s,
       extract(epoch FROM now() - min(created_at) FILTER (WHERE state <> 'waiting' OR failures > 0))::float AS tried_s
FROM deliveries WHERE state IN ('waiting', 'sending', 'unknown') GROUP BY 1;

-- name: look_at_the_rest
SELECT (SELECT count(*) FROM senders WHERE paused_until > now()) AS senders_resting,
       (SELECT count(*) FROM workers WHERE beat_at > now() - %(silence)s::interval) AS workers_alive,
       (SELECT count(*) FROM (SELECT FROM dead_letters LIMIT 10000) AS first) AS dead_letters,
       pg_database_size(current_database()) AS database_bytes,
       extract(epoch FROM clock_timestamp())::float AS clock_s;
