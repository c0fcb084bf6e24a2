"""For who runs it: the proof of the promise, one message's story, what could not be read."""
