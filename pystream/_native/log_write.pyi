"""Appending to a log; no Python names."""
