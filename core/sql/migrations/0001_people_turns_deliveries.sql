-- The first schema: who writes (people), what was said (messages), who owes an answer (turns), what is to be sent (deliveries).
-- Ordering, uniqueness and once-only are constraints here; Python only names them.

CREATE TABLE people (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    erase_requested_at timestamptz
);
CREATE INDEX people_to_erase ON people (erase_requested_at) WHERE erase_requested_at IS NOT NULL;

-- A person is known by several opaque ids; each id names one person.
CREATE TABLE identities (
    kind text NOT NULL CHECK (kind IN ('parent', 'external', 'address')),
    value text NOT NULL,
    person_id bigint NOT NULL REFERENCES people ON DELETE CASCADE,
    learned_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT identities_one_person PRIMARY KEY (kind, value)
);
CREATE INDEX identities_of_person ON identities (person_id);

CREATE TABLE conversations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id bigint NOT NULL REFERENCES people ON DELETE CASCADE,
    channel text NOT NULL,
    sender text NOT NULL,            -- the person's address: the sender of the newest message
    recipient text NOT NULL,         -- our number
    profile_name text NOT NULL DEFAULT '',
    character text,                  -- who is talking; NULL before the first answer
    language text,
    route_state text NOT NULL DEFAULT '',
    last_message_at timestamptz,
    welcomed_at timestamptz,
    silenced_at timestamptz,         -- STOP until START
    delete_asked_at timestamptz,
    failure_notice_at timestamptz,   -- the notice of the running outage
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT conversations_one_per_channel UNIQUE (person_id, channel)
);

-- One row per worker process that shows, or showed, signs of life.
CREATE TABLE workers (
    id uuid PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    beat_at timestamptz NOT NULL DEFAULT now()
);

-- A turn is the row that says: somebody owes this conversation an answer. It is open until finished_at is set.
CREATE TABLE turns (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id bigint NOT NULL REFERENCES conversations ON DELETE CASCADE,
    worker_id uuid,                  -- who holds it; NULL while it waits to be taken
    claims integer NOT NULL DEFAULT 0,  -- the fence: each claim raises it, each write names it
    failures integer NOT NULL DEFAULT 0,
    superseded boolean NOT NULL DEFAULT false,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    claimed_at timestamptz,
    deadline_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    outcome text CHECK (outcome IN ('answered', 'refused', 'failed')),
    reason text NOT NULL DEFAULT '',
    character text,
    decision jsonb,
    provider text,
    model text,
    tokens_in integer NOT NULL DEFAULT 0,
    tokens_out integer NOT NULL DEFAULT 0,
    cost_usd numeric(12, 6) NOT NULL DEFAULT 0,
    llm_ms integer,
    cut boolean NOT NULL DEFAULT false,
    CONSTRAINT turns_finished_with_outcome CHECK ((finished_at IS NULL) = (outcome IS NULL))
);
CREATE UNIQUE INDEX turns_one_open ON turns (conversation_id) WHERE finished_at IS NULL;
CREATE INDEX turns_waiting ON turns (created_at) WHERE finished_at IS NULL AND worker_id IS NULL;
CREATE INDEX turns_held ON turns (worker_id) WHERE finished_at IS NULL AND worker_id IS NOT NULL;
CREATE INDEX turns_of_conversation ON turns (conversation_id, id);

-- Everything said, both ways. An inbound message without a turn still waits for one.
CREATE TABLE messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id bigint NOT NULL REFERENCES conversations ON DELETE CASCADE,
    turn_id bigint REFERENCES turns ON DELETE CASCADE,
    direction text NOT NULL CHECK (direction IN ('in', 'out')),
    channel text NOT NULL,
    provider_id text,                -- of an inbound message; what we send has its ids in deliveries
    character text,                  -- who answered it, or who said it
    text text NOT NULL,
    command text,
    attachments jsonb,               -- {media, location, button}; NULL for plain text
    quoted_id text,
    late boolean NOT NULL DEFAULT false,
    too_late boolean NOT NULL DEFAULT false,  -- found after the time in which it could be answered
    received_at timestamptz NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT messages_stored_once UNIQUE (channel, provider_id),
    CONSTRAINT messages_inbound_has_id CHECK (direction = 'out' OR provider_id IS NOT NULL)
);
CREATE INDEX messages_of_conversation ON messages (conversation_id, id);
CREATE INDEX messages_of_turn ON messages (turn_id);
CREATE INDEX messages_waiting ON messages (conversation_id, id)
    WHERE direction = 'in' AND turn_id IS NULL AND NOT too_late;

-- The outbox: what is to be sent, before anything is sent.
CREATE TABLE deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id bigint NOT NULL REFERENCES conversations ON DELETE CASCADE,
    turn_id bigint NOT NULL REFERENCES turns ON DELETE CASCADE,
    piece smallint NOT NULL,
    channel text NOT NULL,
    sender text NOT NULL,
    recipient text NOT NULL,
    body text NOT NULL,
    state text NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'sending', 'unknown', 'accepted', 'failed', 'cancelled')),
    attempts integer NOT NULL DEFAULT 0,  -- the fence: each claim to send raises it
    failures integer NOT NULL DEFAULT 0,
    lookups smallint NOT NULL DEFAULT 0,
    resent_unseen smallint NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    worker_id uuid,
    claimed_at timestamptz,
    unknown_since timestamptz,
    provider_id text,
    accepted_at timestamptz,
    status text NOT NULL DEFAULT '',
    status_rank smallint NOT NULL DEFAULT -1,
    reported_at timestamptz,
    error_code text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT deliveries_piece_once UNIQUE (turn_id, piece)
);
-- One call at a time to one person: the sequence of a conversation is held here, not hoped for.
CREATE UNIQUE INDEX deliveries_one_in_flight ON deliveries (conversation_id) WHERE state IN ('sending', 'unknown');
CREATE UNIQUE INDEX deliveries_provider_id ON deliveries (channel, provider_id) WHERE provider_id IS NOT NULL;
CREATE INDEX deliveries_open ON deliveries (next_attempt_at) WHERE state IN ('waiting', 'sending', 'unknown');
CREATE INDEX deliveries_of_conversation ON deliveries (conversation_id, id);

-- What the provider told us of its deliveries, each telling once.
CREATE TABLE reports (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel text NOT NULL,
    provider_id text NOT NULL,
    delivery_id bigint,              -- as the callback URL says; not a foreign key: it may be erased, or forged by nobody but us
    status text NOT NULL,
    error_code text NOT NULL DEFAULT '',
    received_at timestamptz NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT reports_told_once UNIQUE (channel, provider_id, status)
);
CREATE INDEX reports_by_age ON reports (stored_at);

-- What could not be read or kept failing: kept for a person to look at.
CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    payload bytea NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Provider ids of erased messages, hashed: catch-up must not bring an erased message back, and audit must not miss it.
CREATE TABLE erased (
    provider_hash bytea PRIMARY KEY,
    erased_at timestamptz NOT NULL DEFAULT now()
);
