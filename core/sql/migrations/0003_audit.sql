-- What the operator's commands need: from whose inbox a dead letter came, and deliveries by the time of their acceptance.

ALTER TABLE dead_letters ADD COLUMN person text;  -- the inbox's key in Redis (a hash); NULL for reports and older rows

-- Rows are accepted about in the order in which they are made, so a few pages of index serve millions of them.
CREATE INDEX deliveries_accepted ON deliveries USING brin (accepted_at);
