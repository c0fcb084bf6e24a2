-- name: beat
INSERT INTO workers (id, host, pid, version) VALUES (%(worker_id)s, %(host)s, %(pid)s, %(version)s)
ON CONFLICT (id) DO UPDATE SET beat_at = now();

-- name: leave
DELETE FROM workers WHERE id = %(worker_id)s;

-- name: drop_silent_workers
-- Long dead: whatever they held was freed when they fell silent.
DELETE FROM workers WHERE beat_at < now() - interval '1 hour';
