-- name: lock_known_conversation
-- Intake for somebody we know begins so: their conversation, made if needed, its row locked until the transaction ends.
-- Nobody known by these ids: nothing happens. As `open_conversation` in people.sql, which speaks of one person.
INSERT INTO conversations (person_id, channel, sender, recipient, profile_name)
SELECT i.person_id, %(channel)s, %(sender)s, %(recipient)s, %(profile_name)s
FROM identities i
WHERE i.kind IN ('parent', 'external', 'address') AND i.value IN (%(parent)s, %(external)s, %(address)s)
ORDER BY CASE i.kind WHEN 'parent' THEN 0 WHEN 'external' THEN 1 ELSE 2 END
LIMIT 1
ON CONFLICT ON CONSTRAINT conversations_one_per_channel DO UPDATE
SET sender = CASE WHEN %(late)s::boolean THEN conversations.sender ELSE excluded.sender END,
    recipient = CASE WHEN %(late)s::boolean THEN conversations.recipient ELSE excluded.recipient END,
    profile_name = coalesce(nullif(excluded.profile_name, ''), conversations.profile_name),
    updated_at = now();

-- name: take_in
-- And ends so, seeing what was committed while it waited for the lock: learns new ids, stores each message once and in
-- the order given, and says that an answer is owed. A person whose DELETE took effect meanwhile has no ids any more:
-- `known` is then false, as for a stranger, and nothing was stored.
WITH person AS (
    SELECT i.person_id AS id
    FROM identities i
    WHERE i.kind IN ('parent', 'external', 'address') AND i.value IN (%(parent)s, %(external)s, %(address)s)
    ORDER BY CASE i.kind WHEN 'parent' THEN 0 WHEN 'external' THEN 1 ELSE 2 END
    LIMIT 1
), conversation AS (
    SELECT c.id
    FROM conversations c JOIN person ON c.person_id = person.id
    WHERE c.channel = %(channel)s
), learned AS (
    INSERT INTO identities (kind, value, person_id)
    SELECT given.kind, given.value, person.id
    FROM person, unnest(%(kinds)s::text[], %(values)s::text[]) AS given (kind, value)
    ON CONFLICT ON CONSTRAINT identities_one_person DO NOTHING
), stored AS (
    INSERT INTO messages (
        conversation_id, direction, channel, provider_id, text, command, attachments, quoted_id, late, received_at,
        traceparent)
    SELECT conversation.id, 'in', %(channel)s, m.provider_id, m.text, m.command, m.attachments, m.quoted_id, m.late,
           m.received_at, m.traceparent
    FROM conversation, unnest(
        %(provider_ids)s::text[], %(texts)s::text[], %(commands)s::text[], %(attachments)s::jsonb[],
        %(quoted_ids)s::text[], %(lates)s::boolean[], %(received_ats)s::timestamptz[], %(traceparents)s::text[])
        WITH ORDINALITY
        AS m (provider_id, text, command, attachments, quoted_id, late, received_at, traceparent, place)
    WHERE NOT EXISTS (
        SELECT FROM erased e WHERE e.provider_hash = sha256(convert_to(%(channel)s || ':' || m.provider_id, 'UTF8')))
    ORDER BY m.place
    ON CONFLICT ON CONSTRAINT messages_stored_once DO NOTHING
    RETURNING id
), owed AS (
    INSERT INTO turns (conversation_id, worker_id, claims, claimed_at, deadline_at)
    SELECT conversation.id, %(worker_id)s::uuid, (%(worker_id)s::uuid IS NOT NULL)::integer,
           CASE WHEN %(worker_id)s::uuid IS NOT NULL THEN now() END,
           CASE WHEN %(worker_id)s::uuid IS NOT NULL THEN now() + %(deadline)s::interval END
    FROM conversation
    WHERE EXISTS (SELECT FROM stored)
    ON CONFLICT (conversation_id) WHERE finished_at IS NULL DO NOTHING
    RETURNING id, conversation_id, claims
)
SELECT EXISTS (SELECT FROM conversation) AS known, (SELECT count(*) FROM stored) AS stored,
       owed.id AS turn_id, owed.conversation_id, owed.claims AS fence
FROM (VALUES (1)) AS always LEFT JOIN owed ON true;

-- name: store_messages
-- Stores each message once and in the order given; returns the ids of those that are new.
INSERT INTO messages (
    conversation_id, direction, channel, provider_id, text, command, attachments, quoted_id, late, too_late,
    received_at, traceparent)
SELECT %(conversation_id)s, 'in', %(channel)s, m.provider_id, m.text, m.command, m.attachments, m.quoted_id, m.late,
       %(too_late)s::boolean, m.received_at, m.traceparent
FROM unnest(
    %(provider_ids)s::text[], %(texts)s::text[], %(commands)s::text[], %(attachments)s::jsonb[], %(quoted_ids)s::text[],
    %(lates)s::boolean[], %(received_ats)s::timestamptz[], %(traceparents)s::text[])
    WITH ORDINALITY
    AS m (provider_id, text, command, attachments, quoted_id, late, received_at, traceparent, place)
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
