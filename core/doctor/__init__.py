"""Looks over what the processes would work with and says in plain words what is missing, wrong or risky."""
