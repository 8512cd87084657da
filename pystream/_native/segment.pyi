"""One segment of a log; no Python names."""
