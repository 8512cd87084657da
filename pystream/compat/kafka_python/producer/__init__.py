"""kafka.producer."""

from pystream.compat.kafka_python.producer.kafka import KafkaProducer

__all__ = ["KafkaProducer"]
