"""The bot on this machine with a real number: ngrok makes it reachable, Twilio is told where."""
