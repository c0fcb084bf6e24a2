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

-- name: attach_messages
-- Gives the turn the messages that wait: up to the next command, or one command alone. Fenced.
WITH held AS (
    SELECT id, conversation_id FROM turns
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
    RETURNING m.id
)
SELECT count(*) AS given, (SELECT count(*) FROM held) AS held FROM given;

-- name: read_turn
-- The conversation as the turn finds it. No row: the turn is no longer ours.
SELECT t.id AS turn_id, t.conversation_id, t.failures, t.superseded, t.created_at AS waiting_since,
       c.person_id, c.channel, c.sender, c.recipient, c.profile_name, c.character, c.language, c.route_state,
       c.last_message_at, c.welcomed_at, c.silenced_at, c.delete_asked_at, c.failure_notice_at, c.limit_notice_at,
       t.deadline_at - now() AS time_left, now() AS now
FROM turns t
JOIN conversations c ON c.id = t.conversation_id
WHERE t.id = %(turn_id)s AND t.worker_id = %(worker_id)s AND t.claims = %(fence)s AND t.finished_at IS NULL;

-- name: own_messages
-- The turn's own messages, oldest first, each with the text that it quotes.
SELECT m.id, m.provider_id, m.text, m.command, m.attachments, m.received_at,
       coalesce(q.text, d.body, '') AS quoted
FROM messages m
LEFT JOIN messages q ON q.channel = m.channel AND q.provider_id = m.quoted_id AND q.conversation_id = m.conversation_id
LEFT JOIN deliveries d
    ON d.channel = m.channel AND d.provider_id = m.quoted_id AND d.conversation_id = m.conversation_id
WHERE m.turn_id = %(turn_id)s AND m.direction = 'in'
ORDER BY m.id;

-- name: read_history
-- What was said before in answered turns, newest first; nothing once the person asked to be erased.
SELECT m.direction, m.character, m.text
FROM messages m
JOIN turns t ON t.id = m.turn_id
WHERE m.conversation_id = %(conversation_id)s AND m.turn_id <> %(turn_id)s AND t.outcome = 'answered' AND m.text <> ''
  AND m.command IS NULL
  AND NOT EXISTS (
    SELECT FROM conversations c JOIN people p ON p.id = c.person_id
    WHERE c.id = %(conversation_id)s AND p.erase_requested_at IS NOT NULL)
ORDER BY m.id DESC
LIMIT %(limit)s;

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

-- name: finish_turn
UPDATE turns
SET finished_at = now(), outcome = %(outcome)s, reason = %(reason)s, character = %(character)s, decision = %(decision)s,
    provider = %(provider)s, model = %(model)s, tokens_in = tokens_in + %(tokens_in)s,
    tokens_out = tokens_out + %(tokens_out)s, cost_usd = cost_usd + %(cost_usd)s, llm_ms = %(llm_ms)s, cut = %(cut)s,
    moderation = %(moderation)s, prompt_messages = %(prompt_messages)s, prompt_characters = %(prompt_characters)s
WHERE id = %(turn_id)s;

-- name: note_cost
-- An answer that is thrown away was paid for all the same.
UPDATE turns
SET tokens_in = tokens_in + %(tokens_in)s, tokens_out = tokens_out + %(tokens_out)s, cost_usd = cost_usd + %(cost_usd)s
WHERE id = %(turn_id)s;

-- name: mark_answered_by
UPDATE messages SET character = %(character)s WHERE turn_id = %(turn_id)s AND direction = 'in';

-- name: store_reply
-- One reply as it was said, and its pieces as they are to be sent, after those of the turn's replies before it.
WITH said AS (
    INSERT INTO messages (conversation_id, turn_id, direction, channel, character, text, received_at)
    VALUES (%(conversation_id)s, %(turn_id)s, 'out', %(channel)s, %(character)s, %(text)s, now())
)
INSERT INTO deliveries (conversation_id, turn_id, reply, piece, channel, sender, recipient, body)
SELECT %(conversation_id)s, %(turn_id)s, %(reply)s, %(first_piece)s + p.piece - 1, %(channel)s, %(sender)s,
       %(recipient)s, p.body
FROM unnest(%(bodies)s::text[]) WITH ORDINALITY AS p (body, piece)
ORDER BY p.piece;

-- name: update_conversation
UPDATE conversations
SET character = coalesce(%(character)s, character),
    language = coalesce(%(language)s, language),
    route_state = coalesce(%(route_state)s, route_state),
    last_message_at = greatest(last_message_at, %(last_message_at)s),
    welcomed_at = CASE WHEN %(welcomed)s THEN now() ELSE welcomed_at END,
    silenced_at = CASE %(silence)s WHEN 'on' THEN now() WHEN 'off' THEN NULL ELSE silenced_at END,
    delete_asked_at = CASE WHEN %(delete_asked)s THEN now() ELSE NULL END,
    failure_notice_at = CASE %(failure)s WHEN 'noticed' THEN now() WHEN 'over' THEN NULL ELSE failure_notice_at END,
    limit_notice_at = CASE %(limit)s WHEN 'noticed' THEN now() WHEN 'over' THEN NULL ELSE limit_notice_at END,
    updated_at = now()
WHERE id = %(conversation_id)s;

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
