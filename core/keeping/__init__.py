"""What keeps the promise when something was left lying, and what forgets: sweeps, catch-up, erasure, retention."""
