"""Kafka's tools for the cluster: its brokers, log directories, leaders, features, transactions and ACLs."""
