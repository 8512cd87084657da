"""kafka.consumer."""

from pystream.compat.kafka_python.consumer.group import KafkaConsumer

__all__ = ["KafkaConsumer"]
