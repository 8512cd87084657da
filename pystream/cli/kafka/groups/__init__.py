"""Kafka's tools for groups of all kinds."""
