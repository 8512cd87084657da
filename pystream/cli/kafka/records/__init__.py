"""Kafka's tools that write, read and delete records."""
