"""The edge: what meets core/ports.py with real clients."""
