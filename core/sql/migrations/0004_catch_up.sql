-- Catch-up reads the provider's log: what it remembers, and which deliveries were asked about.

-- One row per channel. A database starts here, before the first worker is up: nothing older is ever answered.
CREATE TABLE catch_up (
    channel text PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now(),
    read_until timestamptz,          -- the high-water mark: the log was read and acted upon up to here
    next_run_at timestamptz NOT NULL DEFAULT now(),
    worker_id uuid,                  -- who reads just now
    leased_until timestamptz
);
INSERT INTO catch_up (channel) VALUES ('twilio');

-- When the provider was asked what became of a delivery of which no final report came.
ALTER TABLE deliveries ADD COLUMN fetched_at timestamptz;
-- 4 is the rank of "delivered": whatever reached it, or failed, needs no asking and leaves this index.
CREATE INDEX deliveries_unreported ON deliveries (accepted_at)
    WHERE state = 'accepted' AND fetched_at IS NULL AND status_rank < 4;
