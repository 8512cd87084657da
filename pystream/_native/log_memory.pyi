"""Making, sharing and freeing a log; no Python names."""
