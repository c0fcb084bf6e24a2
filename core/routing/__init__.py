"""Who answers a message: a ladder of tiers over the words, names and phrases of the cast. Rules only, no I/O."""
