"""kafka.coordinator.assignors."""

from pystream.compat.kafka_python.coordinator.assignors import StickyPartitionAssignor

__all__ = ["StickyPartitionAssignor"]
