-- name: find_people
-- The people that any of these ids names, strongest id first. Who hides their number writes from an id of another
-- kind, and the provider's log tells that address alone.
SELECT i.person_id
FROM identities i
WHERE i.kind IN ('parent', 'external', 'address') AND i.value IN (%(parent)s, %(external)s, %(address)s)
ORDER BY CASE i.kind WHEN 'parent' THEN 0 WHEN 'external' THEN 1 ELSE 2 END
LIMIT 1;

-- name: lock_ids
-- Two workers that meet a new person at once, one through the door and one in the provider's log, must make one row
-- of them: held until the transaction ends. In one order, so that they cannot wait for each other.
SELECT pg_advisory_xact_lock(hashtextextended('person:' || given.value, 0))
FROM (SELECT value FROM unnest(%(values)s::text[]) AS v (value) ORDER BY value) given;

-- name: create_person
INSERT INTO people DEFAULT VALUES RETURNING id;

-- name: learn_identities
-- An id that already names somebody keeps naming them.
INSERT INTO identities (kind, value, person_id)
SELECT kind, value, %(person_id)s
FROM unnest(%(kinds)s::text[], %(values)s::text[]) AS given (kind, value)
ON CONFLICT ON CONSTRAINT identities_one_person DO NOTHING;

-- name: open_conversation
-- The person's conversation on that channel, made if needed, its row locked until the transaction ends. What came
-- late says nothing of where the person writes from today.
INSERT INTO conversations (person_id, channel, sender, recipient, profile_name)
VALUES (%(person_id)s, %(channel)s, %(sender)s, %(recipient)s, %(profile_name)s)
ON CONFLICT ON CONSTRAINT conversations_one_per_channel DO UPDATE
SET sender = CASE WHEN %(late)s::boolean THEN conversations.sender ELSE excluded.sender END,
    recipient = CASE WHEN %(late)s::boolean THEN conversations.recipient ELSE excluded.recipient END,
    profile_name = coalesce(nullif(excluded.profile_name, ''), conversations.profile_name),
    updated_at = now()
RETURNING id;

-- name: people_called
-- Everybody behind one id, as an operator types it: an address with or without its prefix, or our number for them.
SELECT person_id AS id FROM identities WHERE value IN (%(name)s, 'whatsapp:' || %(name)s)
UNION
SELECT id FROM people WHERE id::text = %(name)s;

-- name: ids_of_person
SELECT value FROM identities WHERE person_id = %(person_id)s;

-- name: request_erasure
-- From here on the person's ids name nobody: who writes again is new. The rows go when the farewell is settled.
WITH marked AS (
    UPDATE people SET erase_requested_at = now()
    WHERE id = (SELECT person_id FROM conversations WHERE id = %(conversation_id)s)
    RETURNING id
)
DELETE FROM identities WHERE person_id IN (SELECT id FROM marked) RETURNING value;

-- name: drop_stranger
-- Somebody made for messages that turned out to be erased ones told again: of those nothing may stay.
DELETE FROM people p
WHERE p.id = %(person_id)s AND NOT EXISTS (
    SELECT FROM conversations c JOIN messages m ON m.conversation_id = c.id WHERE c.person_id = p.id);

-- name: is_leaving
SELECT erase_requested_at IS NOT NULL FROM people WHERE id = %(person_id)s;

-- name: people_to_erase
-- Those whose farewell is on its way or given up.
SELECT p.id
FROM people p
WHERE p.erase_requested_at IS NOT NULL
  AND NOT EXISTS (
    SELECT FROM conversations c
    JOIN turns t ON t.conversation_id = c.id
    LEFT JOIN deliveries d ON d.turn_id = t.id
    WHERE c.person_id = p.id
      AND (t.finished_at IS NULL
           OR (d.state IN ('waiting', 'sending', 'unknown')
               AND p.erase_requested_at > now() - interval '10 minutes')))
  AND p.id <> ALL(%(but)s::bigint[])
LIMIT 100;

-- name: take_time_to_erase
-- Years of messages take longer than a statement of a turn may.
SET LOCAL statement_timeout = '5min';

-- name: lock_to_erase
-- No row: another worker erases them, or has.
SELECT id FROM people WHERE id = %(person_id)s AND erase_requested_at IS NOT NULL FOR UPDATE SKIP LOCKED;

-- name: remember_erased
INSERT INTO erased (provider_hash)
SELECT sha256(convert_to(x.channel || ':' || x.provider_id, 'UTF8'))
FROM (
    SELECT m.channel, m.provider_id FROM messages m JOIN conversations c ON c.id = m.conversation_id
    WHERE c.person_id = %(person_id)s AND m.provider_id IS NOT NULL
    UNION
    SELECT d.channel, d.provider_id FROM deliveries d JOIN conversations c ON c.id = d.conversation_id
    WHERE c.person_id = %(person_id)s AND d.provider_id IS NOT NULL
    UNION
    SELECT f.channel, f.provider_id
    FROM former_ids f JOIN deliveries d ON d.id = f.delivery_id JOIN conversations c ON c.id = d.conversation_id
    WHERE c.person_id = %(person_id)s
) x
ON CONFLICT DO NOTHING;

-- name: remember_never_stored
-- What waited in their inbox stands in the provider's log too: catch-up must not bring it back.
INSERT INTO erased (provider_hash)
SELECT sha256(convert_to(given.channel || ':' || given.provider_id, 'UTF8'))
FROM unnest(%(channels)s::text[], %(provider_ids)s::text[]) AS given (channel, provider_id)
ON CONFLICT DO NOTHING;

-- name: erase_reports
DELETE FROM reports r
USING (
    SELECT d.channel, d.provider_id FROM deliveries d JOIN conversations c ON c.id = d.conversation_id
    WHERE c.person_id = %(person_id)s
    UNION
    SELECT f.channel, f.provider_id
    FROM former_ids f JOIN deliveries d ON d.id = f.delivery_id JOIN conversations c ON c.id = d.conversation_id
    WHERE c.person_id = %(person_id)s
) theirs
WHERE r.channel = theirs.channel AND r.provider_id = theirs.provider_id;

-- name: erase_person
DELETE FROM people WHERE id = %(person_id)s;

-- name: erase_dead_letters
-- What came out of their inboxes and could not be read, by the inboxes' keys.
DELETE FROM dead_letters WHERE person = ANY(%(persons)s::text[]);
