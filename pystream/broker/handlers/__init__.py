"""One file per API key that is answered in Python. `broker.registry` finds them by name."""
