"""Processes for brokers in milliseconds, forked from one that has imported all of it."""
