"""Truncation and deletion; no Python names."""
