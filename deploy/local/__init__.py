"""Runs the whole system on one machine with no account, no key and no server installed."""
