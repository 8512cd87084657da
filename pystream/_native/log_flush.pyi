"""Making a log durable; no Python names."""
