-- name: list_dead_letters
-- A page, oldest first.
SELECT id, source, reason, created_at, octet_length(payload) AS size_bytes
FROM dead_letters WHERE id > %(after)s ORDER BY id LIMIT %(limit)s;

-- name: read_dead_letter
SELECT id, source, person, reason, created_at, payload FROM dead_letters WHERE id = %(id)s;

-- name: hold_dead_letter
-- Who comes second waits for the first and then finds nothing.
SELECT id, source, person, reason, created_at, payload FROM dead_letters WHERE id = %(id)s FOR UPDATE;

-- name: drop_dead_letter
DELETE FROM dead_letters WHERE id = %(id)s;
