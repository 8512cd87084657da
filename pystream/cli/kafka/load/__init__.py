"""Kafka's tools that load a cluster: performance tests, and clients that say in JSON what they do."""
