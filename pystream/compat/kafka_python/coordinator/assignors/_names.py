"""Assignors, by the names that groups call them."""

from __future__ import annotations


class Assignor:
    """Named by what the group calls it."""

    name = ""


class RangePartitionAssignor(Assignor):
    name = "range"


class RoundRobinPartitionAssignor(Assignor):
    name = "roundrobin"


class StickyPartitionAssignor(Assignor):
    name = "sticky"


class CooperativeStickyAssignor(Assignor):
    name = "cooperative-sticky"
