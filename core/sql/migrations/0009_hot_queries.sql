-- The limits of a person's day: only this day's turns are read, however long the conversation is.
CREATE INDEX turns_of_day ON turns (conversation_id, created_at);

-- Whether a piece may follow: only what was accepted just now and is not reported sent is read.
CREATE INDEX deliveries_just_accepted ON deliveries (conversation_id, accepted_at)
    WHERE state = 'accepted' AND status_rank < 3;
