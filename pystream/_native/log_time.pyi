"""Finding records by time; no Python names."""
