-- name: one_snapshot
-- All that follows sees the same moment. The first statement of its transaction.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: take_time
-- A full recount may take longer than any statement of a worker may.
SET LOCAL statement_timeout = '15min';

-- name: recount_endings
-- A FULL RECOUNT: reads all inbound messages, turns, deliveries and reports once (hash joins, no sort of the whole).
-- One row per ending; `stuck` holds the first ones of those that are open for too long with nothing planned.
WITH told AS (
    -- What the provider said of each id. A failure told after "delivered" does not count.
    SELECT channel, provider_id,
           min(id) FILTER (WHERE status = ANY(%(failures)s::text[])) AS failed,
           min(id) FILTER (WHERE status IN ('delivered', 'read')) AS arrived
    FROM reports
    GROUP BY channel, provider_id
), seen AS (
    SELECT d.turn_id, d.id, d.state,
           d.state IN ('waiting', 'sending', 'unknown') AS under_way,
           coalesce(told.failed < coalesce(told.arrived, told.failed + 1), false)
               OR (d.state IN ('failed', 'cancelled') AND told.arrived IS NULL) AS failed,
           d.provider_id IS NOT NULL AND (d.accepted_at IS NOT NULL OR told.provider_id IS NOT NULL) AS accepted
    FROM deliveries d
    LEFT JOIN told ON told.channel = d.channel AND told.provider_id = d.provider_id
), replies AS (
    SELECT turn_id,
           bool_or(failed AND NOT under_way) AS failed,
           (array_agg(state ORDER BY id) FILTER (WHERE under_way))[1] AS under_way,
           bool_and(accepted OR failed OR under_way) AS proven
    FROM seen
    GROUP BY turn_id
), owed AS (
    SELECT turn_id, max(id) AS newest FROM messages WHERE direction = 'in' AND turn_id IS NOT NULL GROUP BY turn_id
), judged AS (
    SELECT m.id, m.conversation_id, m.provider_id, m.late, t.id AS turn_id,
           CASE WHEN m.late THEN m.stored_at ELSE least(m.received_at, m.stored_at) END AS since,
           CASE
               WHEN t.id IS NULL THEN CASE WHEN m.too_late THEN 'too_late' ELSE 'stored' END
               WHEN t.finished_at IS NULL THEN CASE WHEN t.worker_id IS NULL THEN 'postponed' ELSE 'claimed' END
               WHEN t.outcome = 'answered' AND r.failed THEN 'failed'
               WHEN r.under_way IS NOT NULL THEN r.under_way
               WHEN NOT r.proven THEN 'unproven'
               WHEN t.outcome = 'refused' THEN 'refused'
               WHEN r.turn_id IS NOT NULL THEN
                   CASE WHEN t.outcome = 'failed' THEN 'failed' WHEN m.id = owed.newest THEN 'answered' ELSE 'merged' END
               -- Nothing was sent. A failure may be covered by a notice not long before, or the person wants silence.
               WHEN t.outcome = 'failed' AND (
                   EXISTS (
                       SELECT FROM turns n JOIN deliveries d ON d.turn_id = n.id
                       WHERE n.conversation_id = t.conversation_id AND n.id < t.id AND n.outcome = 'failed'
                         AND n.finished_at > t.finished_at - %(notice_covers)s::interval)
                   OR EXISTS (
                       SELECT FROM conversations c WHERE c.id = t.conversation_id AND c.silenced_at IS NOT NULL)
                   OR EXISTS (
                       SELECT FROM messages s
                       WHERE s.conversation_id = t.conversation_id AND s.id < m.id AND s.command = 'stop'))
                   THEN 'failed'
               ELSE 'unproven'
           END AS phase
    FROM messages m
    LEFT JOIN turns t ON t.id = m.turn_id
    LEFT JOIN replies r ON r.turn_id = m.turn_id
    LEFT JOIN owed ON owed.turn_id = m.turn_id
    WHERE m.direction = 'in'
), ended AS (
    SELECT j.*,
           CASE WHEN phase IN ('answered', 'merged', 'refused', 'failed', 'too_late') THEN phase ELSE 'open' END AS ending
    FROM judged j
), weighed AS (
    SELECT e.*,
           -- Planned: the turn, a delivery in whose sequence this one stands, or our number's rest says when; or it is being
           -- tried again now.
           CASE WHEN ending = 'open' AND since < now() - %(stuck_after)s::interval THEN NOT (
               EXISTS (
                   SELECT FROM turns t
                   WHERE t.conversation_id = e.conversation_id AND t.finished_at IS NULL
                     AND (e.turn_id IS NULL OR e.turn_id = t.id)
                     AND (t.next_attempt_at > now()
                          OR (t.failures > 0 AND t.worker_id IS NOT NULL AND t.deadline_at > now() AND EXISTS (
                              SELECT FROM workers w WHERE w.id = t.worker_id AND w.beat_at > now() - %(alive)s::interval))))
               OR (phase IN ('waiting', 'sending', 'unknown') AND EXISTS (
                   SELECT FROM deliveries d
                   WHERE d.conversation_id = e.conversation_id AND d.turn_id <= e.turn_id
                     AND d.state IN ('waiting', 'sending', 'unknown')
                     AND (d.next_attempt_at > now()
                          OR (d.state = 'sending' AND d.failures > 0 AND d.claimed_at > now() - interval '20 seconds')
                          OR (d.state = 'waiting' AND EXISTS (
                              SELECT FROM senders s
                              WHERE s.channel = d.channel AND s.number = d.sender AND s.paused_until > now()))))))
           ELSE false END AS stuck
    FROM ended e
)
SELECT ending, count(*) AS messages, count(*) FILTER (WHERE late) AS late,
       coalesce((array_agg(
           jsonb_build_object('id', id, 'sid', provider_id, 'phase', phase, 'since', since) ORDER BY since, id)
           FILTER (WHERE stuck))[1:%(list_at_most)s], '{}') AS stuck
FROM weighed
GROUP BY ending;

-- name: count_resent_unseen
-- A FULL RECOUNT of deliveries.
SELECT coalesce(sum(resent_unseen), 0)::bigint FROM deliveries WHERE resent_unseen > 0;

-- name: list_out_of_order
-- A FULL RECOUNT: messages that a later one of the same conversation overtook, by the first accepted piece of each
-- reply. Later is what was stored later, and what came through the door later by more than the door may take.
WITH heard AS (
    SELECT m.id, m.conversation_id, m.late, m.received_at, f.first_at
    FROM messages m
    JOIN (
        SELECT turn_id, min(accepted_at) AS first_at FROM deliveries WHERE provider_id IS NOT NULL GROUP BY turn_id
    ) f ON f.turn_id = m.turn_id
    WHERE m.direction = 'in' AND NOT m.too_late
), compared AS (
    SELECT id, late, first_at,
           min(first_at) OVER (PARTITION BY conversation_id ORDER BY id
               ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS stored_later,
           min(first_at) OVER (PARTITION BY conversation_id ORDER BY received_at
               RANGE BETWEEN %(door_takes)s::interval FOLLOWING AND UNBOUNDED FOLLOWING) AS came_later
    FROM heard
)
SELECT id FROM compared
WHERE NOT late AND least(stored_later, came_later) < first_at
ORDER BY id
LIMIT %(list_at_most)s;

-- name: unknown_inbound
-- Of these ids of the provider, those that we neither stored nor erased.
SELECT given.provider_id
FROM unnest(%(provider_ids)s::text[]) AS given (provider_id)
WHERE NOT EXISTS (SELECT FROM messages m WHERE m.channel = %(channel)s AND m.provider_id = given.provider_id)
  AND NOT EXISTS (
    SELECT FROM erased e WHERE e.provider_hash = sha256(convert_to(%(channel)s || ':' || given.provider_id, 'UTF8')));

-- name: deliveries_by_provider_id
SELECT id AS delivery_id, provider_id FROM deliveries
WHERE channel = %(channel)s AND provider_id = ANY(%(provider_ids)s::text[]);

-- name: deliveries_by_former_id
-- Ids that were reported failed; `sent_anew`: another attempt followed that somebody may have seen.
SELECT f.provider_id, d.state IN ('sending', 'unknown', 'accepted') AS sent_anew
FROM former_ids f JOIN deliveries d ON d.id = f.delivery_id
WHERE f.channel = %(channel)s AND f.provider_id = ANY(%(provider_ids)s::text[]);

-- name: erased_provider_ids
SELECT given.provider_id
FROM unnest(%(provider_ids)s::text[]) AS given (provider_id)
JOIN erased e ON e.provider_hash = sha256(convert_to(%(channel)s || ':' || given.provider_id, 'UTF8'));

-- name: possible_origins
-- Deliveries that a message unknown to us may have come from: the one that a report names, else those to that person.
SELECT d.id AS delivery_id, d.provider_id, d.body, false AS named
FROM identities i
JOIN conversations c ON c.person_id = i.person_id
JOIN deliveries d ON d.conversation_id = c.id
WHERE i.value = %(recipient)s AND d.recipient = %(recipient)s AND d.channel = %(channel)s AND d.attempts > 0
  AND d.created_at BETWEEN %(earliest)s AND %(latest)s
UNION ALL
SELECT d.id, d.provider_id, d.body, true
FROM reports r
JOIN deliveries d ON d.id = r.delivery_id AND d.channel = r.channel
WHERE r.channel = %(channel)s AND r.provider_id = %(provider_id)s
ORDER BY named DESC, delivery_id
LIMIT 1000;

-- name: accepted_span
-- The ids between which the deliveries accepted in that time lie. `+ 0` keeps the planner from walking the primary key
-- from its beginning until the first match.
SELECT min(id + 0) AS first, max(id + 0) AS last
FROM deliveries
WHERE accepted_at >= %(since)s AND accepted_at < %(until)s;

-- name: accepted_between
-- A page of the deliveries that claim acceptance in that time.
SELECT id AS delivery_id, provider_id
FROM deliveries
WHERE id > %(after)s AND id <= %(last)s AND channel = %(channel)s AND provider_id IS NOT NULL AND sender = %(sender)s
  AND accepted_at >= %(since)s AND accepted_at < %(until)s
ORDER BY id
LIMIT %(limit)s;
