-- Vectors of the cast's example sentences, so that no start asks for them anew. Nothing that a person wrote.
CREATE TABLE example_vectors (
    model text NOT NULL,
    text_hash bytea NOT NULL,        -- SHA-256 of the text as it was sent
    vector bytea NOT NULL,           -- 32-bit floats, little-endian
    used_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT example_vectors_once PRIMARY KEY (model, text_hash)
);
