-- What heads the sequence of a conversation, found in it alone, however much waits elsewhere and was sent before. By an
-- expression, which no other index has: statistics of a good hour or of a bad one persuade the planner that walking all
-- that waits, or all that was ever sent to one person, costs nothing.
CREATE INDEX deliveries_unsettled
    ON deliveries ((CASE WHEN state NOT IN ('accepted', 'failed', 'cancelled') THEN conversation_id END), id)
    WHERE (CASE WHEN state NOT IN ('accepted', 'failed', 'cancelled') THEN conversation_id END) IS NOT NULL;
