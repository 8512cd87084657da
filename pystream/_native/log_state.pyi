"""Fields of a log that several of its modules set or ask; no Python names."""
