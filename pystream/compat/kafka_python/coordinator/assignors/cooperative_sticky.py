"""kafka.coordinator.assignors."""

from pystream.compat.kafka_python.coordinator.assignors import CooperativeStickyAssignor

__all__ = ["CooperativeStickyAssignor"]
