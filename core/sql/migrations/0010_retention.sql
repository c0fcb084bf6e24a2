-- What retention looks for beside turns: too late to be answered, so of no turn; hashes that outlived the provider's log.
CREATE INDEX messages_too_late ON messages (stored_at) WHERE too_late AND turn_id IS NULL;
-- Written in the order of time, so a few pages of index serve millions.
CREATE INDEX erased_by_age ON erased USING brin (erased_at);
