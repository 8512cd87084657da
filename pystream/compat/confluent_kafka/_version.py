"""Which confluent_kafka this is like."""

from __future__ import annotations

VERSION = "2.16.1"
LIBRARY = ("2.16.0", 0x021000FF)


def version() -> str:
    """Of confluent_kafka."""
    return VERSION


def libversion() -> tuple[str, int]:
    """Of librdkafka; pystream's client is none, but behaves like it."""
    return LIBRARY
