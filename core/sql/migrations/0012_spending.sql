-- What was paid on each day of UTC, so that nobody sums up a day's turns to ask about the budget. Several rows a day:
-- at one of them turns that end at once would wait for each other. By a trigger, because during an upgrade the release
-- before pays too. It sums up turns_spent, an index that stays: retention finds by it which turns ended long ago.

CREATE TABLE spending (
    day date NOT NULL,
    part smallint NOT NULL,
    usd numeric(14, 6) NOT NULL,
    CONSTRAINT spending_once PRIMARY KEY (day, part)
) WITH (fillfactor = 50);  -- updated in place

CREATE FUNCTION note_spending() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO spending AS s (day, part, usd)
    VALUES ((now() AT TIME ZONE 'UTC')::date, NEW.id % 64, NEW.cost_usd - OLD.cost_usd)
    ON CONFLICT ON CONSTRAINT spending_once DO UPDATE SET usd = s.usd + excluded.usd;
    RETURN NULL;
END $$;

INSERT INTO spending (day, part, usd)
SELECT (now() AT TIME ZONE 'UTC')::date, 0, sum(cost_usd)
FROM turns
WHERE finished_at >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' OR finished_at IS NULL
HAVING sum(cost_usd) > 0;

CREATE TRIGGER turns_paid AFTER UPDATE OF cost_usd ON turns
FOR EACH ROW WHEN (NEW.cost_usd > OLD.cost_usd) EXECUTE FUNCTION note_spending();
