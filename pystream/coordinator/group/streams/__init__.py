"""Streams groups (KIP-1071): the server knows the topology of a Kafka Streams application and assigns its tasks."""
