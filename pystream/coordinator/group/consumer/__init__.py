"""Consumer groups (KIP-848): the server assigns partitions, members only send heartbeats."""
