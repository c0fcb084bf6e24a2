-- name: begin_catch_up
-- Takes the reading of a channel's log for a while; no row: another one reads, or it is not time yet. A channel added
-- later starts here. A row's lease and not a session lock: it works behind PgBouncer, and it ends by itself.
INSERT INTO catch_up AS c (channel, worker_id, leased_until)
VALUES (%(channel)s, %(worker_id)s, now() + %(lease)s::interval)
ON CONFLICT (channel) DO UPDATE SET worker_id = excluded.worker_id, leased_until = excluded.leased_until
WHERE (%(at_once)s::boolean OR c.next_run_at <= now())
  AND (c.leased_until IS NULL OR c.leased_until < now() OR NOT EXISTS (
        SELECT FROM workers w WHERE w.id = c.worker_id AND w.beat_at > now() - %(silence)s::interval))
RETURNING c.started_at, c.read_until, now() AS now;

-- name: see_catch_up
-- For a reading by hand, which needs no lease: whatever two readings do at once, they do once.
INSERT INTO catch_up AS c (channel) VALUES (%(channel)s)
ON CONFLICT (channel) DO UPDATE SET channel = excluded.channel
RETURNING c.started_at, c.read_until, now() AS now;

-- name: keep_mark
-- Fenced: who lost the lease moves no mark.
UPDATE catch_up
SET read_until = greatest(read_until, %(read_until)s::timestamptz), leased_until = now() + %(lease)s::interval
WHERE channel = %(channel)s AND worker_id = %(worker_id)s;

-- name: end_catch_up
UPDATE catch_up SET worker_id = NULL, leased_until = NULL, next_run_at = now() + %(wait)s::interval
WHERE channel = %(channel)s AND worker_id = %(worker_id)s;

-- name: known_to_us
-- Which of the provider's ids, of either direction, we have or had a row for. Each id by index: joins of another shape
-- read whole tables.
WITH ours AS MATERIALIZED (
    SELECT provider_id FROM messages WHERE channel = %(channel)s AND provider_id = ANY(%(provider_ids)s::text[])
    UNION ALL
    SELECT provider_id FROM deliveries WHERE channel = %(channel)s AND provider_id = ANY(%(provider_ids)s::text[])
    UNION ALL
    SELECT provider_id FROM former_ids WHERE channel = %(channel)s AND provider_id = ANY(%(provider_ids)s::text[])
)
SELECT provider_id FROM ours
UNION ALL
SELECT p.id
FROM unnest(%(provider_ids)s::text[]) AS p (id)
CROSS JOIN LATERAL (
    SELECT FROM erased e WHERE e.provider_hash = sha256(convert_to(%(channel)s || ':' || p.id, 'UTF8')) LIMIT 1) once
WHERE NOT EXISTS (SELECT FROM ours o WHERE o.provider_id = p.id);

-- name: people_named
SELECT value AS name, person_id FROM identities
WHERE kind IN ('parent', 'external', 'address') AND value = ANY(%(names)s::text[]);

-- name: read_correspondent
-- What catch-up asks about somebody we know: where replies went, what went out under an id that we never learned (a
-- doubtful send), when they were last heard, and since when they want silence.
SELECT ARRAY(SELECT i.value FROM identities i WHERE i.person_id = %(person_id)s AND i.kind = 'address') AS addresses,
       ARRAY(SELECT d.body FROM deliveries d JOIN conversations c ON c.id = d.conversation_id
             WHERE c.person_id = %(person_id)s AND c.channel = %(channel)s AND d.created_at >= %(since)s::timestamptz
               AND (d.provider_id IS NULL OR d.resent_unseen > 0)) AS unnamed_bodies,
       (SELECT max(m.received_at) FROM messages m JOIN conversations c ON c.id = m.conversation_id
        WHERE c.person_id = %(person_id)s AND c.channel = %(channel)s AND m.direction = 'in') AS last_heard_at,
       (SELECT c.silenced_at FROM conversations c
        WHERE c.person_id = %(person_id)s AND c.channel = %(channel)s) AS silenced_at;

-- name: heed_stop
-- Whoever said STOP is left alone even where it is too late to say so, unless they said START since.
UPDATE conversations c SET silenced_at = coalesce(c.silenced_at, now()), updated_at = now()
FROM messages m
WHERE m.id = ANY(%(message_ids)s::bigint[]) AND m.command = 'stop' AND c.id = m.conversation_id
  AND NOT EXISTS (
    SELECT FROM messages s
    WHERE s.conversation_id = c.id AND s.command = 'start' AND s.received_at >= m.received_at);
