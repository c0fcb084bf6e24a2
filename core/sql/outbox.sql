-- name: claim_delivery
-- Takes the next delivery of one conversation, if its turn in the sequence has come. 3 is the rank of "sent"; a literal,
-- here and below, so that the index of these few rows is used. What it may not be stands there instead of 'waiting', so
-- that the index of all that waits anywhere cannot serve: by the statistics of a good hour that is nothing.
UPDATE deliveries d
SET state = 'sending', attempts = attempts + 1, worker_id = %(worker_id)s, claimed_at = now()
WHERE d.conversation_id = %(conversation_id)s AND d.id = (
    SELECT h.id FROM deliveries h
    WHERE CASE WHEN h.state NOT IN ('accepted', 'failed', 'cancelled') THEN h.conversation_id END = %(conversation_id)s
    ORDER BY h.id
    LIMIT 1)  -- unlocked on purpose: to skip a head that is being changed would let the next piece overtake it
  AND d.state NOT IN ('accepted', 'failed', 'cancelled', 'sending', 'unknown') AND d.next_attempt_at <= now()
  AND NOT EXISTS (
    SELECT FROM senders s WHERE s.channel = d.channel AND s.number = d.sender AND s.paused_until > now())
  AND NOT EXISTS (
    SELECT FROM deliveries p
    WHERE p.conversation_id = d.conversation_id AND p.id < d.id AND p.state = 'accepted'
      AND p.status_rank < 3 AND p.accepted_at > now() - %(pause)s::interval)
RETURNING d.id AS delivery_id, d.conversation_id, d.attempts AS fence, d.channel, d.sender, d.recipient, d.body,
          d.failures, now() - d.created_at AS age, d.slot_at IS NOT NULL AS had_place,
          coalesce(d.slot_at > now() - %(good_for)s::interval, false) AS has_place, d.traceparent;

-- name: due_conversations
-- Conversations whose next delivery may go now, longest due first. The head of each is looked up in it alone: comparing
-- what waits with all else that waits is quadratic. Less than the head none is, but where "=" stands the planner expects
-- few rows and reads all that waits to sort it. Which numbers rest is asked before that, once: then all is looked at.
SELECT d.conversation_id
FROM deliveries d
WHERE d.state = 'waiting' AND d.next_attempt_at <= now()
  AND (d.channel, d.sender) NOT IN (SELECT s.channel, s.number FROM senders s WHERE s.paused_until > now())
  AND d.id <= (
    SELECT h.id FROM deliveries h
    WHERE CASE WHEN h.state NOT IN ('accepted', 'failed', 'cancelled') THEN h.conversation_id END = d.conversation_id
    ORDER BY h.id
    LIMIT 1)
  AND NOT EXISTS (
    SELECT FROM deliveries p
    WHERE p.conversation_id = d.conversation_id AND p.id < d.id AND p.state = 'accepted'
      AND p.status_rank < 3 AND p.accepted_at > now() - %(pause)s::interval)
ORDER BY d.next_attempt_at
LIMIT %(limit)s;

-- name: accept_unreported
-- The ordinary case of the next one, in a transaction by itself: the provider took it and has told nothing of it yet.
UPDATE deliveries
SET state = 'accepted', provider_id = %(provider_id)s, accepted_at = now(), worker_id = NULL, unknown_since = NULL
WHERE id = %(delivery_id)s AND attempts = %(fence)s AND state IN ('sending', 'unknown', 'waiting')
  AND NOT EXISTS (
    SELECT FROM reports r WHERE r.channel = deliveries.channel AND r.provider_id = %(provider_id)s);

-- name: accept_delivery
-- The provider took it; returns whether reports of it came before we knew its id. Fenced by the attempt: who lost the
-- claim changes nothing. While nobody has claimed it anew ('waiting' for its resend, with the same number) the id in
-- hand still counts.
UPDATE deliveries
SET state = 'accepted', provider_id = %(provider_id)s, accepted_at = now(), worker_id = NULL, unknown_since = NULL
WHERE id = %(delivery_id)s AND attempts = %(fence)s AND state IN ('sending', 'unknown', 'waiting')
RETURNING EXISTS (
    SELECT FROM reports r WHERE r.channel = deliveries.channel AND r.provider_id = %(provider_id)s) AS told;

-- name: retry_delivery
UPDATE deliveries
SET state = 'waiting', failures = failures + 1, error_code = %(code)s, worker_id = NULL, slot_at = NULL,
    next_attempt_at = now() + %(wait)s::interval
WHERE id = %(delivery_id)s AND attempts = %(fence)s AND state = 'sending';

-- name: drop_claim
-- Nothing went out under this claim: it waits again, and has not failed. The attempt stays counted: it is the fence.
UPDATE deliveries SET state = 'waiting', worker_id = NULL
WHERE id = %(delivery_id)s AND attempts = %(fence)s AND state = 'sending';

-- name: doubt_delivery
-- It may have been accepted: find out first.
UPDATE deliveries
SET state = 'unknown', worker_id = NULL, unknown_since = coalesce(unknown_since, now()), lookups = 0,
    error_code = %(code)s, next_attempt_at = now()
WHERE id = %(delivery_id)s AND attempts = %(fence)s AND state = 'sending';

-- name: doubt_lost_deliveries
-- What a silent worker was sending may have been accepted.
UPDATE deliveries d
SET state = 'unknown', worker_id = NULL, unknown_since = coalesce(unknown_since, now()), lookups = 0, next_attempt_at = now()
WHERE d.state = 'sending'
  AND (d.claimed_at < now() - interval '20 seconds' OR NOT EXISTS (
        SELECT FROM workers w WHERE w.id = d.worker_id AND w.beat_at > now() - %(silence)s::interval));

-- name: claim_unknown
-- Takes deliveries to find out about; others leave them alone for as long as one look-up may take.
UPDATE deliveries d
SET next_attempt_at = now() + interval '20 seconds', lookups = lookups + 1
FROM (
    SELECT id FROM deliveries WHERE state = 'unknown' AND next_attempt_at <= now()
    ORDER BY next_attempt_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) due
WHERE d.id = due.id
RETURNING d.id AS delivery_id, d.conversation_id, d.attempts AS fence, d.channel, d.sender, d.recipient, d.body,
          d.lookups, d.resent_unseen, d.claimed_at, now() - d.unknown_since AS doubted_for;

-- name: known_provider_ids
SELECT provider_id FROM deliveries WHERE channel = %(channel)s AND provider_id = ANY(%(provider_ids)s::text[])
UNION ALL
SELECT provider_id FROM former_ids WHERE channel = %(channel)s AND provider_id = ANY(%(provider_ids)s::text[]);

-- name: look_again
UPDATE deliveries SET next_attempt_at = now() + %(wait)s::interval
WHERE id = %(delivery_id)s AND attempts = %(fence)s AND state = 'unknown';

-- name: resend_unseen
UPDATE deliveries
SET state = 'waiting', resent_unseen = resent_unseen + 1, unknown_since = NULL, slot_at = NULL, next_attempt_at = now()
WHERE id = %(delivery_id)s AND attempts = %(fence)s AND state = 'unknown';

-- name: fail_delivery
-- Never again; the rest of its reply is not sent either.
WITH failed AS (
    UPDATE deliveries SET state = 'failed', error_code = %(code)s, worker_id = NULL
    WHERE id = %(delivery_id)s AND attempts = %(fence)s AND state IN ('sending', 'unknown', 'waiting')
    RETURNING turn_id, reply, piece
)
UPDATE deliveries d SET state = 'cancelled'
FROM failed
WHERE d.turn_id = failed.turn_id AND d.reply = failed.reply AND d.piece > failed.piece AND d.state = 'waiting';

-- name: silence_conversation
UPDATE conversations SET silenced_at = coalesce(silenced_at, now()), updated_at = now() WHERE id = %(conversation_id)s;

-- name: store_reports
-- In their order; brings those that are new.
INSERT INTO reports (channel, provider_id, delivery_id, status, error_code, received_at)
SELECT * FROM unnest(
    %(channels)s::text[], %(provider_ids)s::text[], %(delivery_ids)s::bigint[], %(statuses)s::text[],
    %(error_codes)s::text[], %(received_ats)s::timestamptz[])
ON CONFLICT ON CONSTRAINT reports_told_once DO NOTHING
RETURNING channel, provider_id, status;

-- name: find_all_reported
-- The deliveries that bear these ids of the provider. What is stored meanwhile to follow them the sweep finds.
SELECT d.id AS delivery_id, d.conversation_id, d.channel, d.sender, d.state, d.status, d.provider_id, d.traceparent,
       EXISTS (
           SELECT FROM deliveries n
           WHERE CASE WHEN n.state NOT IN ('accepted', 'failed', 'cancelled') THEN n.conversation_id END
                 = d.conversation_id) AS followed
FROM unnest(%(channels)s::text[], %(provider_ids)s::text[]) AS told (channel, provider_id)
JOIN deliveries d ON d.channel = told.channel AND d.provider_id = told.provider_id
ORDER BY d.id
FOR UPDATE OF d;

-- name: find_reported
-- The delivery that a report speaks of: by our own id from the callback URL, else by the provider's. What is told of an
-- id that was set aside says nothing of the attempt that followed.
SELECT d.id AS delivery_id, d.conversation_id, d.channel, d.sender, d.state, d.status, d.provider_id, d.traceparent
FROM deliveries d
WHERE d.channel = %(channel)s
  AND (d.provider_id = %(provider_id)s OR (d.id = %(delivery_id)s AND d.provider_id IS NULL AND NOT EXISTS (
        SELECT FROM former_ids f WHERE f.channel = d.channel AND f.provider_id = %(provider_id)s)))
ORDER BY (d.provider_id IS NOT NULL) DESC
LIMIT 1
FOR UPDATE;

-- name: apply_report
UPDATE deliveries
SET status = %(status)s, status_rank = %(rank)s, reported_at = %(received_at)s, provider_id = %(provider_id)s,
    error_code = CASE WHEN %(error_code)s <> '' THEN %(error_code)s ELSE error_code END,
    state = %(state)s, accepted_at = coalesce(accepted_at, now()), worker_id = NULL, unknown_since = NULL
WHERE id = %(delivery_id)s;

-- name: apply_reports
-- The ordinary case of several: no failure, of deliveries that bear the id already. Each delivery once.
UPDATE deliveries d
SET status = told.status, status_rank = told.rank, reported_at = told.received_at,
    error_code = CASE WHEN told.error_code <> '' THEN told.error_code ELSE d.error_code END,
    state = 'accepted', accepted_at = coalesce(d.accepted_at, now()), worker_id = NULL, unknown_since = NULL
FROM unnest(
    %(delivery_ids)s::bigint[], %(statuses)s::text[], %(ranks)s::smallint[], %(received_ats)s::timestamptz[],
    %(error_codes)s::text[]) AS told (delivery_id, status, rank, received_at, error_code)
WHERE d.id = told.delivery_id;

-- name: cancel_rest
UPDATE deliveries d SET state = 'cancelled'
FROM deliveries f
WHERE f.id = %(delivery_id)s AND d.turn_id = f.turn_id AND d.reply = f.reply AND d.piece > f.piece
  AND d.state = 'waiting';

-- name: hold_followers
-- So that none is claimed while we decide whether the one before them goes once more: a claim that waits for this row
-- looks at the time again.
UPDATE deliveries f SET next_attempt_at = greatest(f.next_attempt_at, clock_timestamp() + interval '2 seconds')
FROM deliveries d
WHERE d.id = %(delivery_id)s AND f.conversation_id = d.conversation_id AND f.id > d.id AND f.state = 'waiting';

-- name: weigh_resend
-- What decides whether a piece that was reported failed goes once more. `seen`: it was reported sent, under this id.
-- `overtaken`: a later one went out, or its reply is given up. `other_in_flight`: it was sent a second time because the
-- first was nowhere to be seen, and which of the two failed is not known.
SELECT now() - d.created_at AS age,
       (SELECT count(*) FROM former_ids f WHERE f.delivery_id = d.id) AS failed_before,
       EXISTS (
           SELECT FROM reports r
           WHERE r.channel = d.channel AND r.provider_id = %(provider_id)s AND r.status = ANY(%(seen)s::text[])) AS seen,
       EXISTS (
           SELECT FROM deliveries l
           WHERE l.conversation_id = d.conversation_id AND l.id > d.id AND l.state IN ('sending', 'unknown', 'accepted'))
       OR EXISTS (
           SELECT FROM deliveries e
           WHERE e.turn_id = d.turn_id AND e.reply = d.reply AND e.piece < d.piece AND e.state = 'failed')
           AS overtaken,
       d.provider_id IS NULL AND d.resent_unseen > 0 AND d.state IN ('sending', 'unknown') AS other_in_flight
FROM deliveries d
WHERE d.id = %(delivery_id)s;

-- name: keep_former_id
INSERT INTO former_ids (channel, provider_id, delivery_id, status, error_code, accepted_at, reported_at)
SELECT channel, %(provider_id)s, id, %(status)s, %(error_code)s, accepted_at, %(received_at)s
FROM deliveries WHERE id = %(delivery_id)s
ON CONFLICT ON CONSTRAINT former_ids_once DO NOTHING;

-- name: send_anew
-- As if it had never gone out. The attempt is raised here too: whoever is still making the call that failed (its report
-- came first) has lost the claim.
UPDATE deliveries
SET state = 'waiting', attempts = attempts + 1, failures = failures + 1, error_code = %(error_code)s, worker_id = NULL,
    provider_id = NULL, accepted_at = NULL, status = '', status_rank = -1, reported_at = NULL, fetched_at = NULL,
    unknown_since = NULL, lookups = 0, slot_at = NULL, next_attempt_at = now() + %(wait)s::interval
WHERE id = %(delivery_id)s;

-- name: former_owner
-- The delivery that once bore that id.
SELECT d.id FROM former_ids f JOIN deliveries d ON d.id = f.delivery_id
WHERE f.channel = %(channel)s AND f.provider_id = %(provider_id)s
FOR UPDATE OF d;

-- name: recall
-- It went out after all and waits to be sent once more, which must not be: it ends failed under its former id, as it
-- would have, had the reports come in their order.
UPDATE deliveries d
SET state = 'failed', provider_id = f.provider_id, accepted_at = f.accepted_at, status = f.status,
    status_rank = %(rank)s, reported_at = f.reported_at, error_code = f.error_code
FROM former_ids f
WHERE d.id = %(delivery_id)s AND d.state = 'waiting' AND f.delivery_id = d.id AND f.channel = d.channel
  AND f.provider_id = %(provider_id)s
RETURNING d.conversation_id;

-- name: drop_former_id
DELETE FROM former_ids WHERE channel = %(channel)s AND provider_id = %(provider_id)s;

-- name: reports_told
SELECT status, error_code, received_at FROM reports
WHERE channel = %(channel)s AND provider_id = %(provider_id)s ORDER BY id;

-- name: claim_unreported
-- Deliveries of which no final report came, for asking the provider; others leave them alone for as long as that takes.
-- 4 is the rank of "delivered"; a literal, so that the index of these few rows is used.
UPDATE deliveries d SET next_attempt_at = now() + interval '1 minute'
FROM (
    SELECT id FROM deliveries
    WHERE state = 'accepted' AND fetched_at IS NULL AND status_rank < 4
      AND accepted_at < now() - %(silence)s::interval AND next_attempt_at <= now()
    ORDER BY accepted_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) due
WHERE d.id = due.id
RETURNING d.id AS delivery_id, d.conversation_id, d.channel, d.provider_id;

-- name: note_fetched
-- Unless it goes once more because of what was fetched: then it is another message that may have to be asked after.
UPDATE deliveries SET fetched_at = now() WHERE id = %(delivery_id)s AND provider_id = %(provider_id)s;
