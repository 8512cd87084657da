"""Checking every batch of a segment file; no Python names."""
