"""pystream: a data-streaming platform in one `pip install`, Kafka-compatible on the wire."""

__version__ = "0.1.0.dev0"
