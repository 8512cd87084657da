"""kafka.coordinator.assignors: names for `partition_assignment_strategy`; the SDK assigns."""

from pystream.compat.kafka_python.coordinator.assignors._names import (
    CooperativeStickyAssignor,
    RangePartitionAssignor,
    RoundRobinPartitionAssignor,
    StickyPartitionAssignor,
)

__all__ = [
    "CooperativeStickyAssignor",
    "RangePartitionAssignor",
    "RoundRobinPartitionAssignor",
    "StickyPartitionAssignor",
]
