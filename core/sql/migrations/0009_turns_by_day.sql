-- The limits of a person's day: only this day's turns are read, however long the conversation is.
CREATE INDEX turns_of_day ON turns (conversation_id, created_at);
