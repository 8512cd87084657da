"""Kafka's tools for a server and its directories."""
