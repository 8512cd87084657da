"""confluent_kafka.aio over the SDK."""

from pystream.compat.confluent_kafka.aio._clients import AIOConsumer, AIOProducer

__all__ = ["AIOConsumer", "AIOProducer"]
