"""Coordinators: pure state machines of groups, transactions and share partitions, and the runtime that runs them."""
