"""A turn: what is owed to a conversation, from reading what waits to storing the replies with their deliveries."""
