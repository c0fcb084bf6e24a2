-- name: store_messages
-- Stores each message once and in the order given; returns the ids of those that are new.
INSERT INTO messages (
    conversation_id, direction, channel, provider_id, text, command, attachments, quoted_id, late, too_late,
    received_at)
SELECT %(conversation_id)s, 'in', %(channel)s, m.provider_id, m.text, m.command, m.attachments, m.quoted_id, m.late,
       %(too_late)s::boolean, m.received_at
FROM unnest(
    %(provider_ids)s::text[], %(texts)s::text[], %(commands)s::text[], %(attachments)s::jsonb[], %(quoted_ids)s::text[],
    %(lates)s::boolean[], %(received_ats)s::timestamptz[])
    WITH ORDINALITY AS m (provider_id, text, command, attachments, quoted_id, late, received_at, place)
WHERE NOT EXISTS (
    SELECT FROM erased e WHERE e.provider_hash = sha256(convert_to(%(channel)s || ':' || m.provider_id, 'UTF8')))
  AND NOT EXISTS (
    SELECT FROM conversations c JOIN people p ON p.id = c.person_id
    WHERE c.id = %(conversation_id)s AND p.erase_requested_at IS NOT NULL)
ORDER BY m.place
ON CONFLICT ON CONSTRAINT messages_stored_once DO NOTHING
RETURNING id;

-- name: open_turn
-- Says that an answer is owed, unless an open turn says so already. Held by the given worker, or by nobody (NULL).
INSERT INTO turns (conversation_id, worker_id, claims, claimed_at, deadline_at)
VALUES (%(conversation_id)s, %(worker_id)s::uuid, (%(worker_id)s::uuid IS NOT NULL)::integer,
        CASE WHEN %(worker_id)s::uuid IS NOT NULL THEN now() END,
        CASE WHEN %(worker_id)s::uuid IS NOT NULL THEN now() + %(deadline)s::interval END)
ON CONFLICT (conversation_id) WHERE finished_at IS NULL DO NOTHING
RETURNING id AS turn_id, conversation_id, claims AS fence;

-- name: bury
-- What cannot be read is kept apart, so that it blocks nothing.
INSERT INTO dead_letters (source, payload, reason) VALUES (%(source)s, %(payload)s, %(reason)s);

-- name: bury_entry
-- The same for an entry of an inbox; with the inbox's key, so that it can be put back there.
INSERT INTO dead_letters (source, person, payload, reason) VALUES ('inbox', %(person)s, %(payload)s, %(reason)s);
