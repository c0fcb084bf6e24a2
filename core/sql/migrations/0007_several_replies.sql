-- Several characters may answer one turn: which of its replies a piece belongs to. A piece that failed for good cancels
-- the rest of its own reply, never another's.

ALTER TABLE deliveries ADD COLUMN reply smallint NOT NULL DEFAULT 1;
