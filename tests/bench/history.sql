-- Twenty earlier messages for each of so many people, in our own tables and in the bare loop's.
WITH made AS (
    INSERT INTO people (id) OVERRIDING SYSTEM VALUE SELECT generate_series(1, %(people)s) RETURNING id
), named AS (
    INSERT INTO identities (kind, value, person_id)
    SELECT 'address', 'whatsapp:+1555' || lpad((id - 1)::text, 7, '0'), id FROM made
), met AS (
    INSERT INTO conversations (
        id, person_id, channel, sender, recipient, profile_name, character, language, last_message_at, welcomed_at)
    OVERRIDING SYSTEM VALUE
    SELECT id, id, 'twilio', 'whatsapp:+1555' || lpad((id - 1)::text, 7, '0'), %(number)s, '', %(character)s, 'en',
           now() - interval '1 hour', now() - interval '1 day'
    FROM made
    RETURNING id
), turned AS (
    INSERT INTO turns (id, conversation_id, finished_at, outcome, reason, character, created_at)
    OVERRIDING SYSTEM VALUE
    SELECT (met.id - 1) * 10 + n, met.id, now() - interval '1 hour', 'answered', 'llm', %(character)s,
           now() - interval '1 hour'
    FROM met, generate_series(1, 10) n
    RETURNING id, conversation_id
)
INSERT INTO messages (conversation_id, turn_id, direction, channel, provider_id, character, text, received_at)
SELECT conversation_id, id, d.direction, 'twilio', CASE d.direction WHEN 'in' THEN 'SMold' || id END, %(character)s,
       CASE d.direction WHEN 'in' THEN %(asked)s ELSE %(answered)s END, now() - interval '1 hour'
FROM turned, (VALUES ('in', 1), ('out', 2)) AS d (direction, place)
ORDER BY id, d.place;

INSERT INTO bare_messages (person, role, text, sid, status)
SELECT 'whatsapp:+1555' || lpad(p::text, 7, '0'), r.role, CASE r.role WHEN 'user' THEN %(asked)s ELSE %(answered)s END,
       'SMold', 'delivered'
FROM generate_series(0, %(people)s - 1) p, generate_series(1, 10) n, (VALUES ('user', 1), ('assistant', 2)) AS r (role, place)
ORDER BY p, n, r.place;

SELECT setval(pg_get_serial_sequence(t.name, 'id'), t.used)
FROM (VALUES ('people', %(people)s), ('conversations', %(people)s), ('turns', %(people)s * 10)) AS t (name, used);

ANALYZE;
