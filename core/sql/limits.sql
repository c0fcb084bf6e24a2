-- name: take_slot
-- Takes the number's next place in time, now or later; the row is made at the first send.
INSERT INTO senders AS s (channel, number, free_at)
VALUES (%(channel)s, %(number)s, now() + %(every)s::interval)
ON CONFLICT ON CONSTRAINT senders_once DO UPDATE SET free_at = greatest(s.free_at, now()) + %(every)s::interval
RETURNING free_at - %(every)s::interval AS slot_at,
          free_at - %(every)s::interval <= now() + %(soon)s::interval AS free;

-- name: take_pair_place
-- Meta's limit for one pair of numbers: a burst, then one per interval. No row: not yet.
UPDATE conversations SET pair_free_at = greatest(pair_free_at, now()) + %(every)s::interval
WHERE id = %(conversation_id)s AND pair_free_at <= now() + %(burst)s::interval
RETURNING id;

-- name: wait_for_place
-- Nothing went out under this claim: it waits for its time, and has not failed. The attempt stays counted: it is the
-- fence.
UPDATE deliveries d
SET state = 'waiting', worker_id = NULL, slot_at = coalesce(%(slot_at)s::timestamptz, d.slot_at),
    next_attempt_at = coalesce(%(slot_at)s::timestamptz, c.pair_free_at - %(burst)s::interval)
FROM conversations c
WHERE d.id = %(delivery_id)s AND d.attempts = %(fence)s AND d.state = 'sending' AND c.id = d.conversation_id;

-- name: pause_sender
-- The account's trouble, not the message's: nothing goes out from this number until then.
INSERT INTO senders AS s (channel, number, paused_until, pause_code)
VALUES (%(channel)s, %(number)s, now() + %(wait)s::interval, %(code)s)
ON CONFLICT ON CONSTRAINT senders_once DO UPDATE
SET paused_until = greatest(s.paused_until, excluded.paused_until), pause_code = excluded.pause_code;

-- name: used_by_person
-- What one conversation has used before this turn; NULL or 0 where a limit is not asked for (0).
SELECT
    (SELECT m.stored_at > now() - interval '1 minute' FROM messages m
     WHERE m.conversation_id = %(conversation_id)s AND m.direction = 'in' AND m.turn_id <> %(turn_id)s
       AND %(messages_per_minute)s > 0
     ORDER BY m.id DESC OFFSET greatest(%(messages_per_minute)s - 1, 0) LIMIT 1) AS messages_used_up,
    CASE WHEN %(turns_per_day)s > 0 THEN
        (SELECT count(*) >= %(turns_per_day)s FROM turns t
         WHERE t.conversation_id = %(conversation_id)s AND t.created_at > now() - interval '1 day'
           AND t.id <> %(turn_id)s AND t.tokens_out > 0
           AND t.outcome <> 'failed') END  -- that took tokens too, and gave the person nothing
        AS turns_used_up,
    CASE WHEN %(tokens_per_day)s > 0 THEN
        (SELECT coalesce(sum(t.tokens_in + t.tokens_out), 0) >= %(tokens_per_day)s FROM turns t
         WHERE t.conversation_id = %(conversation_id)s AND t.created_at > now() - interval '1 day') END
        AS tokens_used_up;

-- name: spent_today
-- By the day on which it was paid, for turns that are still open or were erased since, too.
SELECT coalesce(sum(usd), 0) FROM spending WHERE day = (now() AT TIME ZONE 'UTC')::date;
