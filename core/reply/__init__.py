"""A character's answer as it goes out: Markdown into WhatsApp messages that are cut nowhere they should not be."""
