"""Who gets which partitions: the server-side assignors of consumer groups (KIP-848), plain functions."""
