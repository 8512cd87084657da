"""Replaying batches into producers and epochs; no Python names."""
