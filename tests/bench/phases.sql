-- When each newest turn passed each of its marks, in ms after the webhook took the message.
SELECT extract(epoch FROM m.stored_at - m.received_at) * 1000 AS queued,
       extract(epoch FROM t.finished_at - t.claimed_at) * 1000 AS thought,
       t.llm_ms::float8 AS asked,
       extract(epoch FROM d.claimed_at - t.finished_at) * 1000 AS claimed,
       extract(epoch FROM d.accepted_at - d.claimed_at) * 1000 AS sent
FROM messages m
JOIN turns t ON t.id = m.turn_id
JOIN deliveries d ON d.turn_id = t.id
WHERE m.direction = 'in' AND d.state = 'accepted' AND m.provider_id LIKE %(of_run)s || '%%'
