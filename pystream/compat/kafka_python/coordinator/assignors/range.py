"""kafka.coordinator.assignors."""

from pystream.compat.kafka_python.coordinator.assignors import RangePartitionAssignor

__all__ = ["RangePartitionAssignor"]
