-- A piece that was reported failed may be sent again: under which ids it went out before, nobody having seen it.

CREATE TABLE former_ids (
    channel text NOT NULL,
    provider_id text NOT NULL,
    delivery_id bigint NOT NULL REFERENCES deliveries ON DELETE CASCADE,
    status text NOT NULL,            -- the failure, as it was reported
    error_code text NOT NULL,
    accepted_at timestamptz,
    reported_at timestamptz NOT NULL,
    set_aside_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT former_ids_once PRIMARY KEY (channel, provider_id)
);
CREATE INDEX former_ids_of_delivery ON former_ids (delivery_id);
