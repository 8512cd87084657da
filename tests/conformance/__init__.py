"""Conformance: real clients, their own test suites and Kafka's own tools against the broker."""
