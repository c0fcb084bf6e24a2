-- Many people who have talked for a while: each turn a question, an answer that was sent in one piece and reported sent
-- and delivered. Rows of one conversation lie scattered among those of all others, as they would.
CREATE TEMP TABLE met ON COMMIT DROP AS
WITH made AS (
    INSERT INTO people (created_at) SELECT now() - interval '90 days' FROM generate_series(1, %(people)s) RETURNING id
), named AS (
    INSERT INTO identities (kind, value, person_id)
    SELECT 'address', 'whatsapp:+1556' || lpad(id::text, 9, '0'), id FROM made
    UNION ALL
    SELECT 'external', 'whatsapp:US.' || lpad(id::text, 20, '0'), id FROM made
)
SELECT id AS person_id, nextval(pg_get_serial_sequence('conversations', 'id')) AS id FROM made;

INSERT INTO conversations (
    id, person_id, channel, sender, recipient, profile_name, character, language, last_message_at, welcomed_at)
OVERRIDING SYSTEM VALUE
SELECT id, person_id, 'twilio', 'whatsapp:+1556' || lpad(person_id::text, 9, '0'), %(number)s, 'Ana', %(character)s,
       'en', now() - interval '1 hour', now() - interval '90 days'
FROM met;

CREATE TEMP TABLE taken ON COMMIT DROP AS
SELECT nextval(pg_get_serial_sequence('turns', 'id')) AS id, met.id AS conversation_id,
       now() - (%(turns)s - n) * (interval '60 days' / %(turns)s) - interval '1 hour' AS at
FROM generate_series(1, %(turns)s) n, met
ORDER BY n, met.id;

INSERT INTO turns (
    id, conversation_id, claims, claimed_at, created_at, finished_at, outcome, reason, character, decision, provider,
    model, tokens_in, tokens_out, cost_usd, llm_ms)
OVERRIDING SYSTEM VALUE
SELECT id, conversation_id, 1, at, at, at + interval '2 seconds', 'answered', 'llm', %(character)s,
       '{"tier": "stay", "confidence": 1.0, "why": "nobody else was meant"}', 'openai', 'm', 700, 60, 0.0001, 1800
FROM taken;

INSERT INTO messages (conversation_id, turn_id, direction, channel, provider_id, character, text, received_at, stored_at)
SELECT conversation_id, id, side.direction, 'twilio', CASE side.direction WHEN 'in' THEN 'SM' || md5(id::text) END,
       %(character)s,
       CASE side.direction WHEN 'in' THEN 'What do you think of that new song? I heard it on the way home.'
                           ELSE 'I like how it begins; the middle could be shorter. Which part stayed with you?' END,
       at, at
FROM taken, (VALUES ('in', 1), ('out', 2)) AS side (direction, place)
ORDER BY taken.id, side.place;

INSERT INTO deliveries (
    conversation_id, turn_id, piece, channel, sender, recipient, body, state, attempts, next_attempt_at, claimed_at,
    provider_id, accepted_at, status, status_rank, reported_at, created_at)
SELECT t.conversation_id, t.id, 1, 'twilio', %(number)s, 'whatsapp:+1556' || lpad(met.person_id::text, 9, '0'),
       'I like how it begins; the middle could be shorter. Which part stayed with you?', 'accepted', 1, t.at, t.at,
       'MM' || md5(t.id::text), t.at, 'delivered', 4, t.at, t.at
FROM taken t JOIN met ON met.id = t.conversation_id
ORDER BY t.id;

INSERT INTO reports (channel, provider_id, delivery_id, status, received_at, stored_at)
SELECT 'twilio', 'MM' || md5(t.id::text), d.id, told.status, t.at, t.at
FROM taken t JOIN deliveries d ON d.turn_id = t.id, (VALUES ('sent'), ('delivered')) AS told (status)
ORDER BY t.id;

INSERT INTO former_ids (channel, provider_id, delivery_id, status, error_code, reported_at)
SELECT 'twilio', 'MF' || md5(t.id::text), d.id, 'failed', '63018', t.at
FROM taken t JOIN deliveries d ON d.turn_id = t.id
WHERE t.id %% 20 = 0;

INSERT INTO erased (provider_hash)
SELECT sha256(convert_to('twilio:SMerased' || t.id, 'UTF8')) FROM taken t WHERE t.id %% 5 = 0
ON CONFLICT DO NOTHING;
