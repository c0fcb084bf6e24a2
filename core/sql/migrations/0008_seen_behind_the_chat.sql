-- What `sisters inspect` shows of a turn beside the decision: the verdicts on its texts, and how large the prompt was.

ALTER TABLE turns ADD COLUMN moderation jsonb;  -- [{direction, checked, flagged, categories, judgement}], as asked
ALTER TABLE turns ADD COLUMN prompt_messages integer;  -- of the last call
ALTER TABLE turns ADD COLUMN prompt_characters integer;
