-- name: drop_old_turns
-- One batch of turns that ended before that time, with what was said and sent in them; returns how many. Rows that
-- somebody works on are passed over. The hashes stay: what catch-up and audit find in the provider's log is known.
-- They are found by turns_spent, the only index of finished_at, though nobody sums up costs by it any more.
WITH old AS MATERIALIZED (
    SELECT t.id
    FROM turns t
    WHERE t.finished_at < now() - %(keep)s::interval
      AND NOT EXISTS (
        SELECT FROM deliveries d WHERE d.turn_id = t.id AND d.state IN ('waiting', 'sending', 'unknown'))
    ORDER BY t.finished_at
    LIMIT %(limit)s
    FOR UPDATE OF t SKIP LOCKED
), remembered AS (
    INSERT INTO erased (provider_hash)
    SELECT sha256(convert_to(x.channel || ':' || x.provider_id, 'UTF8'))
    FROM (
        SELECT m.channel, m.provider_id FROM old JOIN messages m ON m.turn_id = old.id WHERE m.provider_id IS NOT NULL
        UNION
        SELECT d.channel, d.provider_id FROM old JOIN deliveries d ON d.turn_id = old.id WHERE d.provider_id IS NOT NULL
        UNION
        SELECT f.channel, f.provider_id
        FROM old JOIN deliveries d ON d.turn_id = old.id JOIN former_ids f ON f.delivery_id = d.id
    ) x
    ON CONFLICT DO NOTHING
)
DELETE FROM turns WHERE id IN (SELECT id FROM old);

-- name: drop_old_unanswered
-- The same for what was found too late to be answered, and is of no turn.
WITH old AS MATERIALIZED (
    SELECT id FROM messages
    WHERE too_late AND turn_id IS NULL AND stored_at < now() - %(keep)s::interval
    ORDER BY stored_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), remembered AS (
    INSERT INTO erased (provider_hash)
    SELECT sha256(convert_to(m.channel || ':' || m.provider_id, 'UTF8')) FROM old JOIN messages m USING (id)
    ON CONFLICT DO NOTHING
)
DELETE FROM messages WHERE id IN (SELECT id FROM old);

-- name: drop_old_reports
DELETE FROM reports
WHERE id IN (
    SELECT id FROM reports WHERE stored_at < now() - %(keep)s::interval
    ORDER BY stored_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED);

-- name: drop_old_dead_letters
-- They hold what a person wrote, whether anybody looked at them or not.
DELETE FROM dead_letters
WHERE id IN (
    SELECT id FROM dead_letters WHERE created_at < now() - %(keep)s::interval
    ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED);

-- name: drop_old_hashes
DELETE FROM erased
WHERE provider_hash IN (
    SELECT provider_hash FROM erased WHERE erased_at < now() - %(in_log)s::interval
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED);
