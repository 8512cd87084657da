"""Reading from a log; no Python names."""
