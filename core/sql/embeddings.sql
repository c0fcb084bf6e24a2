-- Vectors of the cast's examples.

-- name: known_vectors
SELECT text_hash, vector FROM example_vectors WHERE model = %(model)s AND text_hash = ANY(%(hashes)s::bytea[]);

-- name: keep_vectors
-- Two workers that start at once both learn them: the second changes nothing.
INSERT INTO example_vectors (model, text_hash, vector)
SELECT %(model)s, t.text_hash, t.vector
FROM unnest(%(hashes)s::bytea[], %(vectors)s::bytea[]) AS t (text_hash, vector)
ON CONFLICT ON CONSTRAINT example_vectors_once DO NOTHING;

-- name: touch_vectors
UPDATE example_vectors SET used_at = now()
WHERE model = %(model)s AND text_hash = ANY(%(hashes)s::bytea[]) AND used_at < now() - interval '1 day';

-- name: drop_unused_vectors
-- A cast that changed, or another model: what nobody asked for in a month goes.
DELETE FROM example_vectors WHERE used_at < now() - interval '30 days';
