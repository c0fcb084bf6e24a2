"""What runs beside the bot: its image, its stand-ins, and what starts it all on a laptop."""
