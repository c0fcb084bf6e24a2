"""The cast as data: who the characters are, what they know, which of its languages a text is in."""
