"""Where PeekRecords and TailRecords begin, and how a record becomes a message. No group is touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pystream.client.admin.client import AdminClient
from pystream.client.grpc.messages import records_pb2
from pystream.client.grpc.status import InvalidFields, Violations
from pystream.client.operations.declaration import Failure
from pystream.client.operations.handlers.positions import (
    Anchor,
    Bounds,
    bounds_of,
    offsets_at,
    parse_position,
    partitions_of,
)
from pystream.common.errors import InvalidRequest, PystreamError
from pystream.common.model import TopicPartition
from pystream.services.admin.config import AdminServerConfig

if TYPE_CHECKING:
    from pystream.client.consumer.consumer import Consumer

KIBIBYTE: Final = 1 << 10
START: Final = "start"
LONGEST_NAME: Final = 249


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin and where each log ended when it was asked; what cannot be read."""

    offsets: dict[TopicPartition, int]
    ends: dict[TopicPartition, int]
    failures: list[Failure]


def violations_of(request: Any, config: AdminServerConfig) -> Violations:
    """What both requests have in common."""
    found: Violations = []
    if not request.topic:
        found.append(("topic", "required"))
    elif len(request.topic) > LONGEST_NAME:
        found.append(("topic", f"{len(request.topic)} characters, more than the {LONGEST_NAME} that a name may have"))
    if len(request.partitions) > config.max_items:
        found.append(("partitions", f"{len(request.partitions)} items, more than max.items={config.max_items}"))
    found += [
        (f"partitions[{place}]", f"{number}, expected at least 0")
        for place, number in enumerate(request.partitions[: config.max_items])
        if number < 0
    ]
    if request.max_value_bytes < 0:
        found.append(("max_value_bytes", f"{request.max_value_bytes}, expected at least 0"))
    if request.isolation not in records_pb2.Isolation.values():
        found.append(("isolation", f"{request.isolation} is none of {', '.join(records_pb2.Isolation.keys())}"))
    return found


async def start_of(admin: AdminClient, request: Any, default: str) -> Start:
    """Raises InvalidFields for a position that is none, UnknownTopicOrPartition."""
    text = getattr(request, START) if request.HasField(START) else default
    try:
        position = parse_position(text)
    except InvalidRequest as error:
        raise InvalidFields([(START, str(error))]) from None
    if position.anchor is Anchor.COMMITTED and position.value > 0:
        raise InvalidFields([(START, f"{text}: no group is read for; -N counts from the end")])
    places = await partitions_of(admin, {request.topic: sorted(set(request.partitions)) or None})
    bounds = await bounds_of(admin, places)
    logs = {place: log for place, log in bounds.items() if isinstance(log, Bounds)}
    ends = {place: log.end for place, log in logs.items()}
    offsets = await offsets_at(admin, position, logs, ends)
    outcomes: dict[TopicPartition, Any] = {**bounds, **offsets}
    return Start(
        {place: offset for place, offset in offsets.items() if isinstance(offset, int)},
        ends,
        [Failure(str(place), error) for place, error in outcomes.items() if isinstance(error, PystreamError)],
    )


def consumer_for(request: Any, config: AdminServerConfig) -> Consumer:
    """Without a group; what it fetches ahead is bounded. Imported with the first call: the server starts sooner."""
    from pystream.client.consumer.consumer import Consumer

    committed = request.isolation == records_pb2.ISOLATION_READ_COMMITTED
    ahead = config.max_fetch_bytes
    return Consumer(
        {
            **config.client_settings(),
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed" if committed else "read_uncommitted",
            "fetch.max.bytes": ahead,
            "max.partition.fetch.bytes": min(ahead, 1 << 20),
            "queued.max.messages.kbytes": max(ahead // KIBIBYTE, 1),
            "allow.auto.create.topics": False,
        }
    )


class Shown:
    """How records are shown: values cut, and as text where that was asked for."""

    def __init__(self, request: Any, config: AdminServerConfig) -> None:
        asked = request.max_value_bytes if request.HasField("max_value_bytes") else config.max_value_bytes
        self._cut = min(asked, config.max_value_bytes)
        self._text = request.text

    def __call__(self, message: Any) -> records_pb2.Record:
        """The record as a message."""
        value = message.value
        return records_pb2.Record(
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            timestamp_ms=message.timestamp,
            key=self._payload(message.key),
            value=self._payload(value),
            headers=[records_pb2.Header(name=name, value=self._payload(each)) for name, each in message.headers],
            value_size=-1 if value is None else len(value),
        )

    def _payload(self, data: bytes | None) -> records_pb2.Payload:
        if data is None:
            return records_pb2.Payload()
        data = data[: self._cut]
        if self._text:
            try:
                return records_pb2.Payload(text=data.decode())
            except UnicodeDecodeError:
                return records_pb2.Payload(data=data)
        return records_pb2.Payload(data=data)
