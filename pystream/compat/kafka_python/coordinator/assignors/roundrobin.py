"""kafka.coordinator.assignors."""

from pystream.compat.kafka_python.coordinator.assignors import RoundRobinPartitionAssignor

__all__ = ["RoundRobinPartitionAssignor"]
