-- name: find_timeline
-- What an id speaks of: one of ours by kind and number, or one of the provider's. A message without a turn has only itself.
SELECT m.id AS message_id, m.turn_id
FROM messages m
WHERE (%(kind)s = 'message' AND m.id = %(number)s)
   OR (%(kind)s = 'sid' AND m.channel = ANY(%(channels)s::text[]) AND m.provider_id = %(sid)s)
UNION ALL
SELECT NULL, t.id FROM turns t WHERE %(kind)s = 'turn' AND t.id = %(number)s
UNION ALL
SELECT NULL, d.turn_id FROM deliveries d
WHERE (%(kind)s = 'delivery' AND d.id = %(number)s)
   OR (%(kind)s = 'sid' AND d.channel = ANY(%(channels)s::text[]) AND d.provider_id = %(sid)s)
UNION ALL
SELECT NULL, d.turn_id FROM former_ids f JOIN deliveries d ON d.id = f.delivery_id
WHERE %(kind)s = 'sid' AND f.channel = ANY(%(channels)s::text[]) AND f.provider_id = %(sid)s
UNION ALL
SELECT NULL, d.turn_id FROM reports r JOIN deliveries d ON d.id = r.delivery_id
WHERE %(kind)s = 'sid' AND r.channel = ANY(%(channels)s::text[]) AND r.provider_id = %(sid)s
LIMIT 1;

-- name: read_timeline
-- All that the rows know of a turn (NULL: of a message that has none), one event a row. `about`: the time is worked out.
WITH heard AS (
    SELECT m.*, max(m.id) OVER () AS newest
    FROM messages m
    WHERE m.direction = 'in' AND (m.turn_id = %(turn_id)s OR (%(turn_id)s::bigint IS NULL AND m.id = %(message_id)s))
), turn AS (
    SELECT * FROM turns WHERE id = %(turn_id)s
), sent AS (
    SELECT * FROM deliveries WHERE turn_id = %(turn_id)s
), former AS (
    SELECT f.* FROM former_ids f JOIN sent ON sent.id = f.delivery_id
), said AS (
    -- Of several replies each one's; `who` only then: a single one's is the turn's character.
    SELECT string_agg(text, E'\n\n' ORDER BY id) AS text,
           CASE WHEN count(*) > 1 THEN jsonb_agg(character ORDER BY id) END AS who
    FROM messages WHERE turn_id = %(turn_id)s AND direction = 'out'
), events (at, place, event, about, facts) AS (
    SELECT received_at, 0, 'received', false, jsonb_build_object(
        'message', id, 'sid', provider_id, 'late', late, 'command', command, 'attachments', attachments IS NOT NULL,
        'text', CASE WHEN %(texts)s THEN text END)
    FROM heard
    UNION ALL
    SELECT stored_at, 1, 'stored', false, jsonb_build_object('message', id, 'too_late', too_late) FROM heard
    UNION ALL
    SELECT created_at, 2, 'owed', false, jsonb_build_object('turn', id) FROM turn
    UNION ALL
    SELECT claimed_at, 3, 'claimed', false, jsonb_build_object(
        'turn', id, 'claims', claims, 'failures', failures, 'worker', worker_id)
    FROM turn
    UNION ALL
    SELECT claimed_at, 4, 'routed', true, jsonb_build_object(
        'turn', id, 'character', decision ->> 'character', 'tier', decision ->> 'tier',
        'confidence', decision -> 'confidence', 'scores', decision -> 'scores',
        'took_over_from', decision ->> 'took_over_from',
        'why', CASE WHEN %(texts)s THEN decision ->> 'why' END)  -- it quotes the words that told
    FROM turn WHERE decision IS NOT NULL
    UNION ALL
    SELECT greatest(claimed_at, finished_at - llm_ms * interval '1 millisecond'), 6, 'asked', true, jsonb_build_object(
        'turn', id, 'provider', provider, 'model', model, 'tokens_in', tokens_in, 'llm_ms', llm_ms,
        'superseded', superseded, 'prompt_messages', prompt_messages, 'prompt_characters', prompt_characters)
    FROM turn WHERE llm_ms IS NOT NULL
    UNION ALL
    SELECT claimed_at, 5, 'moderated', true, jsonb_build_object('turn', id) || c.checked
    FROM turn CROSS JOIN jsonb_array_elements(moderation) AS c (checked) WHERE c.checked ->> 'direction' = 'in'
    UNION ALL
    SELECT finished_at, 7, 'moderated', true, jsonb_build_object('turn', id) || c.checked
    FROM turn CROSS JOIN jsonb_array_elements(moderation) AS c (checked) WHERE c.checked ->> 'direction' = 'out'
    UNION ALL
    SELECT finished_at, 8, CASE outcome WHEN 'answered' THEN 'replied' ELSE outcome END, false, jsonb_build_object(
        'turn', id, 'reason', reason, 'character', character, 'tokens_out', tokens_out, 'cost_usd', cost_usd::text,
        'cut', cut, 'characters', (SELECT who FROM said), 'text', CASE WHEN %(texts)s THEN (SELECT text FROM said) END)
    FROM turn WHERE finished_at IS NOT NULL
    UNION ALL
    SELECT t.finished_at, 9, 'merged', false, jsonb_build_object('message', h.id, 'into', h.newest)
    FROM heard h CROSS JOIN turn t WHERE t.outcome = 'answered' AND h.id < h.newest
    UNION ALL
    SELECT next_attempt_at, 10, CASE WHEN next_attempt_at > now() THEN 'retry_planned' ELSE 'retry_due' END, false,
        jsonb_build_object('turn', id, 'failures', failures, 'reason', reason)
    FROM turn WHERE finished_at IS NULL AND worker_id IS NULL AND failures > 0
    UNION ALL
    SELECT created_at, 11, 'waiting', false, jsonb_build_object(
        'delivery', id, 'piece', piece, 'body', CASE WHEN %(texts)s THEN body END)
    FROM sent
    UNION ALL
    SELECT claimed_at, 12, 'sending', false, jsonb_build_object(
        'delivery', id, 'attempt', attempts, 'failures', failures, 'resent_unseen', resent_unseen)
    FROM sent WHERE claimed_at IS NOT NULL
    UNION ALL
    SELECT unknown_since, 13, 'doubted', false, jsonb_build_object(
        'delivery', id, 'lookups', lookups, 'error_code', error_code)
    FROM sent WHERE unknown_since IS NOT NULL
    UNION ALL
    SELECT accepted_at, 14, 'accepted', false, jsonb_build_object('delivery', id, 'sid', provider_id)
    FROM sent WHERE accepted_at IS NOT NULL AND provider_id IS NOT NULL
    UNION ALL
    SELECT claimed_at, 15, 'given_up', true, jsonb_build_object('delivery', id, 'error_code', error_code)
    FROM sent s
    WHERE state = 'failed' AND NOT EXISTS (
        SELECT FROM reports r
        WHERE r.channel = s.channel AND r.provider_id = s.provider_id AND r.status = ANY(%(failures)s::text[]))
    UNION ALL
    SELECT greatest(created_at, (
            SELECT max(greatest(f.claimed_at, f.reported_at)) FROM sent f
            WHERE f.state = 'failed' AND f.reply = s.reply AND f.piece < s.piece)),
        16, 'cancelled', true, jsonb_build_object('delivery', id)
    FROM sent s WHERE state = 'cancelled'
    UNION ALL
    SELECT next_attempt_at, 17, CASE WHEN next_attempt_at > now() THEN 'retry_planned' ELSE 'retry_due' END, false,
        jsonb_build_object('delivery', id, 'failures', failures, 'error_code', error_code)
    FROM sent WHERE state = 'waiting' AND failures > 0
    UNION ALL
    SELECT r.received_at, 18, r.status, false, jsonb_build_object(
        'delivery', s.id, 'sid', r.provider_id, 'error_code', r.error_code)
    FROM sent s JOIN reports r ON r.channel = s.channel AND r.provider_id = s.provider_id
    UNION ALL
    SELECT accepted_at, 14, 'accepted', false, jsonb_build_object('delivery', delivery_id, 'sid', provider_id)
    FROM former
    UNION ALL
    SELECT r.received_at, 18, r.status, false, jsonb_build_object(
        'delivery', f.delivery_id, 'sid', r.provider_id, 'error_code', r.error_code)
    FROM former f JOIN reports r ON r.channel = f.channel AND r.provider_id = f.provider_id
    UNION ALL
    SELECT set_aside_at, 19, 'sent_anew', false, jsonb_build_object(
        'delivery', delivery_id, 'sid', provider_id, 'error_code', error_code)
    FROM former
)
SELECT at, event, about, jsonb_strip_nulls(facts) AS facts
FROM events
WHERE at IS NOT NULL
ORDER BY at, place, (facts ->> 'delivery')::bigint NULLS FIRST, (facts ->> 'message')::bigint NULLS FIRST;

-- name: read_facts
-- What a turn came to, in one row; NULL where it is not known yet. `message` is the one that is asked for, if any.
SELECT t.id AS turn, %(message_id)s::bigint AS message, t.outcome, t.reason, t.decision, t.moderation, t.prompt_messages,
       t.prompt_characters, t.provider, t.model, t.tokens_in, t.tokens_out, t.cost_usd::text AS cost_usd, t.llm_ms, t.cut,
       t.claims, t.failures, t.superseded,
       (SELECT max(id) FROM messages WHERE turn_id = t.id AND direction = 'in') AS newest,
       coalesce((
           SELECT jsonb_agg(jsonb_build_object(
               'delivery', d.id, 'piece', d.piece, 'state', d.state, 'attempts', d.attempts, 'failures', d.failures,
               'sid', d.provider_id, 'status', d.status, 'error_code', d.error_code) ORDER BY d.piece)
           FROM deliveries d WHERE d.turn_id = t.id), '[]') AS sends
FROM turns t WHERE t.id = %(turn_id)s;

-- name: read_unanswered
-- A message that has no turn: it waits for one, or came too late for any.
SELECT id AS message, too_late FROM messages WHERE id = %(message_id)s;
