"""A consumer in its group: what it subscribes to, membership, and the two protocols it can speak."""
