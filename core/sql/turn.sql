-- name: claim_turns
-- Takes turns that nobody holds and whose time has come, oldest first.
UPDATE turns t
SET worker_id = %(worker_id)s, claims = claims + 1, claimed_at = now(), deadline_at = now() + %(deadline)s::interval
FROM (
    SELECT id FROM turns
    WHERE finished_at IS NULL AND worker_id IS NULL AND next_attempt_at <= now()
    ORDER BY created_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
) due
WHERE t.id = due.id
RETURNING t.id AS turn_id, t.conversation_id, t.claims AS fence;

-- name: read_turn
-- Gives the turn the messages that wait (up to the next command, or one command alone) and returns the conversation as
-- the turn finds it, with what was said before in answered turns, newest first (nothing once the person asked to be erased). No row: the
-- turn is no longer ours.
WITH held AS (
    SELECT * FROM turns
    WHERE id = %(turn_id)s AND worker_id = %(worker_id)s AND claims = %(fence)s AND finished_at IS NULL
    FOR UPDATE
), waiting AS (
    SELECT m.id, m.command, row_number() OVER (ORDER BY m.id) AS place,
           count(m.command) OVER (ORDER BY m.id) AS commands
    FROM messages m JOIN held ON m.conversation_id = held.conversation_id
    WHERE m.direction = 'in' AND m.turn_id IS NULL AND NOT m.too_late
), given AS (
    UPDATE messages m SET turn_id = %(turn_id)s
    FROM waiting w
    WHERE m.id = w.id AND w.place <= %(limit)s
      AND (CASE WHEN EXISTS (SELECT FROM messages own WHERE own.turn_id = %(turn_id)s AND own.direction = 'in')
                THEN w.commands = 0 AND NOT EXISTS (
                    SELECT FROM messages own WHERE own.turn_id = %(turn_id)s AND own.command IS NOT NULL)
                ELSE w.commands = 0 OR w.place = 1 END)
)
SELECT t.id AS turn_id, t.conversation_id, t.failures, t.reason AS last_reason, t.superseded, t.created_at AS waiting_since,
       c.person_id, c.channel, c.sender, c.recipient, c.profile_name, c.character, c.language, c.route_state,
       c.last_message_at, c.welcomed_at, c.silenced_at, c.delete_asked_at, c.failure_notice_at, c.limit_notice_at,
       t.deadline_at - now() AS time_left, now() AS now,
       (SELECT coalesce(json_agg(json_build_array(said.direction, said.character, said.text)), '[]')
        FROM (
            SELECT m.direction, m.character, m.text
            FROM messages m
            JOIN turns answered ON answered.id = m.turn_id
            WHERE m.conversation_id = t.conversation_id AND m.turn_id <> t.id AND answered.outcome = 'answered'
              AND m.text <> '' AND m.command IS NULL AND p.erase_requested_at IS NULL
            ORDER BY m.id DESC
            LIMIT %(history)s) said) AS history
FROM held t
JOIN conversations c ON c.id = t.conversation_id
JOIN people p ON p.id = c.person_id;

-- name: own_messages
-- The turn's own messages, oldest first, each with the text that it quotes.
SELECT m.id, m.provider_id, m.text, m.command, m.attachments, m.received_at, m.traceparent,
       coalesce(q.text, d.body, '') AS quoted
FROM messages m
LEFT JOIN messages q ON q.channel = m.channel AND q.provider_id = m.quoted_id AND q.conversation_id = m.conversation_id
LEFT JOIN deliveries d
    ON d.channel = m.channel AND d.provider_id = m.quoted_id AND d.conversation_id = m.conversation_id
WHERE m.turn_id = %(turn_id)s AND m.direction = 'in'
ORDER BY m.id;

-- name: last_decision
-- Why whoever is talking answered last.
SELECT decision FROM turns
WHERE conversation_id = %(conversation_id)s AND id < %(turn_id)s AND decision IS NOT NULL
ORDER BY id DESC
LIMIT 1;

-- name: lock_conversation
-- Intake locks the same row: who comes second sees what the first wrote.
SELECT id FROM conversations WHERE id = %(conversation_id)s FOR UPDATE;

-- name: still_held
SELECT superseded FROM turns
WHERE id = %(turn_id)s AND worker_id = %(worker_id)s AND claims = %(fence)s AND finished_at IS NULL
FOR UPDATE;

-- name: waiting_messages
-- What came meanwhile: how much, and whether a plain message is first.
SELECT count(*) AS waiting, coalesce((array_agg(m.command IS NULL ORDER BY m.id))[1], false) AS plain_first
FROM messages m
WHERE m.conversation_id = %(conversation_id)s AND m.direction = 'in' AND m.turn_id IS NULL AND NOT m.too_late;

-- name: supersede
UPDATE turns SET superseded = true WHERE id = %(turn_id)s;

-- name: store_answer
-- Ends the turn, stores its replies and the pieces to be sent, and what the conversation remembers: all of it, or
-- nothing where the turn is no longer ours or (but for `despite_waiting`) messages came meanwhile. Run it after
-- `lock_conversation`, in the same transaction: only then does it see all that came. The turn's other messages were
-- answered by the same character; what is told of a reply is its own.
WITH finished AS (
    UPDATE turns t
    SET finished_at = now(), outcome = %(outcome)s, reason = %(reason)s, character = %(character)s,
        decision = %(decision)s, provider = %(provider)s, model = %(model)s, tokens_in = tokens_in + %(tokens_in)s,
        tokens_out = tokens_out + %(tokens_out)s, cost_usd = cost_usd + %(cost_usd)s, llm_ms = %(llm_ms)s, cut = %(cut)s,
        moderation = %(moderation)s, prompt_messages = %(prompt_messages)s,
        prompt_characters = %(prompt_characters)s
    WHERE t.id = %(turn_id)s AND t.worker_id = %(worker_id)s AND t.claims = %(fence)s AND t.finished_at IS NULL
      AND (%(despite_waiting)s::boolean OR NOT EXISTS (
        SELECT FROM messages m
        WHERE m.conversation_id = %(conversation_id)s AND m.direction = 'in' AND m.turn_id IS NULL
          AND NOT m.too_late))
    RETURNING t.id
), answered AS (
    UPDATE messages m SET character = %(character)s
    FROM finished
    WHERE m.turn_id = finished.id AND m.direction = 'in'
), said AS (
    INSERT INTO messages (conversation_id, turn_id, direction, channel, character, text, received_at)
    SELECT %(conversation_id)s, finished.id, 'out', %(channel)s, r.character, r.text, now()
    FROM finished, unnest(%(characters)s::text[], %(texts)s::text[]) WITH ORDINALITY AS r (character, text, place)
    ORDER BY r.place
), outbox AS (
    INSERT INTO deliveries (conversation_id, turn_id, reply, piece, channel, sender, recipient, body, traceparent)
    SELECT %(conversation_id)s, finished.id, p.reply, p.piece, %(channel)s, %(sender)s, %(recipient)s, p.body,
           %(traceparent)s::text
    FROM finished, unnest(%(replies)s::smallint[], %(bodies)s::text[]) WITH ORDINALITY AS p (reply, body, piece)
    ORDER BY p.piece
)
UPDATE conversations
SET character = coalesce(%(character)s, conversations.character),
    language = coalesce(%(language)s, language),
    route_state = coalesce(%(route_state)s, route_state),
    last_message_at = greatest(last_message_at, %(last_message_at)s),
    welcomed_at = CASE WHEN %(welcomed)s THEN now() ELSE welcomed_at END,
    silenced_at = CASE %(silence)s WHEN 'on' THEN now() WHEN 'off' THEN NULL ELSE silenced_at END,
    delete_asked_at = CASE WHEN %(delete_asked)s THEN now() ELSE NULL END,
    failure_notice_at = CASE %(failure)s WHEN 'noticed' THEN now() WHEN 'over' THEN NULL ELSE failure_notice_at END,
    limit_notice_at = CASE %(limit)s WHEN 'noticed' THEN now() WHEN 'over' THEN NULL ELSE limit_notice_at END,
    updated_at = now()
FROM finished
WHERE conversations.id = %(conversation_id)s;

-- name: note_cost
-- An answer that is thrown away was paid for all the same.
UPDATE turns
SET tokens_in = tokens_in + %(tokens_in)s, tokens_out = tokens_out + %(tokens_out)s, cost_usd = cost_usd + %(cost_usd)s
WHERE id = %(turn_id)s;

-- name: postpone_turn
-- Gives the turn back until its next attempt; what this one asked was paid for. Fenced.
UPDATE turns
SET worker_id = NULL, failures = failures + 1, reason = %(reason)s, next_attempt_at = now() + %(wait)s::interval,
    tokens_in = tokens_in + %(tokens_in)s, tokens_out = tokens_out + %(tokens_out)s, cost_usd = cost_usd + %(cost_usd)s
WHERE id = %(turn_id)s AND worker_id = %(worker_id)s AND claims = %(fence)s AND finished_at IS NULL;

-- name: hand_back
-- A worker that stops gives back what it holds, to be taken at once.
UPDATE turns SET worker_id = NULL, next_attempt_at = now()
WHERE worker_id = %(worker_id)s AND finished_at IS NULL;

-- name: give_back
-- The same for one turn that has not begun, or begins anew. Fenced.
UPDATE turns SET worker_id = NULL, next_attempt_at = now()
WHERE id = %(turn_id)s AND worker_id = %(worker_id)s AND claims = %(fence)s AND finished_at IS NULL;

-- name: release_unrun
-- Frees what is this worker's by its row alone: claimed a while ago, and no thread of it knows of it.
UPDATE turns SET worker_id = NULL
WHERE worker_id = %(worker_id)s AND finished_at IS NULL AND id <> ALL(%(running)s::bigint[])
  AND claimed_at < now() - %(grace)s::interval;

-- name: release_lost_turns
-- Frees the turns of workers that show no sign of life, and those past their deadline.
UPDATE turns t SET worker_id = NULL
WHERE t.finished_at IS NULL AND t.worker_id IS NOT NULL
  AND (t.deadline_at < now() OR NOT EXISTS (
        SELECT FROM workers w WHERE w.id = t.worker_id AND w.beat_at > now() - %(silence)s::interval));
