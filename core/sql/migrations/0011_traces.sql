-- Which trace a row belongs to, as W3C's traceparent; NULL where nothing is traced.

ALTER TABLE messages ADD COLUMN traceparent text;  -- of an inbound message: the webhook that brought it
ALTER TABLE deliveries ADD COLUMN traceparent text;  -- the turn that wrote it
