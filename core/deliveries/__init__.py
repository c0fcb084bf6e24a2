"""The outbox and what comes back: sent once and in sequence, doubts found out, reports applied."""
