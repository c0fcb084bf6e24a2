-- Rates and limits: how fast our number sends, how much one person and all together may use.

-- One row per number of ours: its place in time, shared by all workers, and whether it rests.
CREATE TABLE senders (
    channel text NOT NULL,
    number text NOT NULL,
    free_at timestamptz NOT NULL DEFAULT 'epoch',  -- when the next send may go
    paused_until timestamptz,
    pause_code text NOT NULL DEFAULT '',
    CONSTRAINT senders_once PRIMARY KEY (channel, number)
);

ALTER TABLE conversations ADD COLUMN pair_free_at timestamptz NOT NULL DEFAULT 'epoch';
ALTER TABLE conversations ADD COLUMN limit_notice_at timestamptz;  -- the notice of the running limit

ALTER TABLE deliveries ADD COLUMN slot_at timestamptz;  -- a place in the sender's time that this delivery has taken

CREATE INDEX turns_spent ON turns (finished_at) INCLUDE (cost_usd) WHERE finished_at IS NOT NULL;
