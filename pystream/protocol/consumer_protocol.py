"""What consumers and their leader tell each other through a classic group.

    subscription   version int16 | ConsumerProtocolSubscription     in JoinGroup
    assignment     version int16 | ConsumerProtocolAssignment       in SyncGroup

A version that is later than those we know is read as the latest: later versions only add fields at the end.
"""

from __future__ import annotations

from pystream._native.wire import Reader, Writer
from pystream.common.errors import MalformedInput
from pystream.protocol.messages.consumer_protocol_assignment import ConsumerProtocolAssignment
from pystream.protocol.messages.consumer_protocol_subscription import ConsumerProtocolSubscription

PROTOCOL_TYPE = "consumer"


def subscribed_topics(metadata: bytes) -> frozenset[str]:
    """The topics of a consumer's subscription, of whatever version: each begins as version 0 does.

    Raises MalformedInput.
    """
    reader = Reader(metadata)
    reader.int16()
    return frozenset(ConsumerProtocolSubscription.read(reader, 0).topics)


def subscription_version(metadata: bytes) -> int:
    """The version that a subscription is in; the one in which its owner expects assignments. Raises MalformedInput."""
    return _known_version(Reader(metadata).int16(), max(ConsumerProtocolSubscription.READERS))


def read_subscription(metadata: bytes) -> ConsumerProtocolSubscription:
    """Raises MalformedInput."""
    reader = Reader(metadata)
    version = _known_version(reader.int16(), max(ConsumerProtocolSubscription.READERS))
    return ConsumerProtocolSubscription.read(reader, version)


def write_subscription(subscription: ConsumerProtocolSubscription, version: int) -> bytes:
    writer = Writer()
    writer.int16(version)
    subscription.write(writer, version)
    return writer.getvalue()


def read_assignment(assignment: bytes) -> ConsumerProtocolAssignment:
    """Raises MalformedInput."""
    reader = Reader(assignment)
    version = _known_version(reader.int16(), max(ConsumerProtocolAssignment.READERS))
    return ConsumerProtocolAssignment.read(reader, version)


def write_assignment(assignment: ConsumerProtocolAssignment, version: int) -> bytes:
    writer = Writer()
    writer.int16(version)
    assignment.write(writer, version)
    return writer.getvalue()


def _known_version(version: int, latest: int) -> int:
    if version < 0:
        raise MalformedInput(f"version {version} of the consumer protocol, expected 0 or more")
    return min(version, latest)
