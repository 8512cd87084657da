"""What consumers tell each other through a classic group: version int16, then ConsumerProtocolSubscription."""

from __future__ import annotations

from pystream._native.wire import Reader
from pystream.protocol.messages.consumer_protocol_subscription import ConsumerProtocolSubscription

PROTOCOL_TYPE = "consumer"


def subscribed_topics(metadata: bytes) -> frozenset[str]:
    """The topics of a consumer's subscription, of whatever version: each begins as version 0 does.

    Raises MalformedInput.
    """
    reader = Reader(metadata)
    reader.int16()
    return frozenset(ConsumerProtocolSubscription.read(reader, 0).topics)
