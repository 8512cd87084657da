"""Transactions: the coordinator's state machine, its markers, and who may write to which partition."""
