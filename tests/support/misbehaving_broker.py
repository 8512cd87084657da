"""A broker of one topic that answers fetches by hand: garbage, torn frames, wrong sizes, damaged records, then sense.

async with MisbehavingBroker(ApiKey.FETCH) as broker:
    broker.acts += [raw(b"garbage"), torn(answer), answer]          # one for each fetch; the last one stays
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from typing import Any, Final

from pystream._native.record_builder import RecordBatchBuilder
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.message import Message
from pystream.protocol.messages import fetch, share_fetch
from pystream.protocol.messages.find_coordinator import Coordinator, FindCoordinatorResponse
from pystream.protocol.messages.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from pystream.protocol.messages.share_acknowledge import (
    PartitionData,
    ShareAcknowledgeResponse,
    ShareAcknowledgeTopicResponse,
)
from pystream.protocol.messages.share_group_heartbeat import (
    Assignment,
    ShareGroupHeartbeatResponse,
    TopicPartitions,
)
from tests.support.scripted_broker import Peer, ScriptedBroker, frame

TOPIC: Final = "topic"
TOPIC_ID: Final = b"t" * 16
QUICK: Final[dict[str, Any]] = {
    "retry_backoff_ms": 1,
    "retry_backoff_max_ms": 4,
    "reconnect_backoff_ms": 1,
    "reconnect_backoff_max_ms": 4,
    "fetch_max_wait_ms": 10,
}

Act = Callable[[Peer], Awaitable[None]] | Message


class MisbehavingBroker(ScriptedBroker):
    """`acts` are what the requests of one key get, in turn; a message is an answer, and the last act is kept."""

    def __init__(self, key: ApiKey) -> None:
        super().__init__()
        self.key = key
        self.acts: list[Act] = []
        self.on(ApiKey.METADATA, lambda _: self._metadata())
        self.on(ApiKey.FIND_COORDINATOR, self._coordinator)
        self.on(ApiKey.SHARE_GROUP_HEARTBEAT, self._heartbeat)
        self.on(ApiKey.SHARE_ACKNOWLEDGE, acknowledged)

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def serve(self, peer: Peer) -> None:
        """As `on` says, but for the key that misbehaves."""
        while True:
            request = await peer.request()
            key = ApiKey(peer.header.api_key)
            self.requests.append((key, request))
            if key == self.key and self.acts:
                act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
                await (peer.answer(act) if isinstance(act, Message) else act(peer))
                continue
            response = self._answers.get(key, lambda _: None)(request)
            if response is not None:
                await peer.answer(response)

    def _metadata(self) -> MetadataResponse:
        partition = MetadataResponsePartition(partition_index=0, leader_id=1, leader_epoch=1)
        return MetadataResponse(
            brokers=[MetadataResponseBroker(node_id=1, host="127.0.0.1", port=self.port)],
            topics=[MetadataResponseTopic(name=TOPIC, topic_id=TOPIC_ID, partitions=[partition])],
            controller_id=1,
        )

    def _coordinator(self, request: Any) -> FindCoordinatorResponse:
        found = [Coordinator(key=key, node_id=1, host="127.0.0.1", port=self.port) for key in request.coordinator_keys]
        return FindCoordinatorResponse(coordinators=found)

    def _heartbeat(self, request: Any) -> ShareGroupHeartbeatResponse:
        parts = [TopicPartitions(topic_id=TOPIC_ID, partitions=[0])]
        return ShareGroupHeartbeatResponse(
            member_id=request.member_id,
            member_epoch=max(request.member_epoch, 0) + 1,
            heartbeat_interval_ms=1_000,
            assignment=Assignment(topic_partitions=parts) if request.member_epoch == 0 else None,
        )


def raw(body: bytes) -> Act:
    """A frame of these bytes behind the right correlation id."""

    async def act(peer: Peer) -> None:
        await peer.send(frame(struct.pack(">i", peer.header.correlation_id) + body))

    return act


def changed(answer: Message, change: Callable[[bytearray], object]) -> Act:
    """The answer with its bytes, behind the correlation id, changed in place; the frame's size fits."""

    async def act(peer: Peer) -> None:
        data = bytearray(peer.encoded(answer))[8:]
        change(data)
        await peer.send(frame(struct.pack(">i", peer.header.correlation_id) + data))

    return act


def torn(answer: Message, size: int) -> Act:
    """The first `size` bytes of the answer's frame, then the end of the connection."""

    async def act(peer: Peer) -> None:
        await peer.send(peer.encoded(answer)[:size])
        peer.writer.close()

    return act


def sized(size: int) -> Act:
    """A frame that says it is so long."""

    async def act(peer: Peer) -> None:
        await peer.send(struct.pack(">ii", size, peer.header.correlation_id))

    return act


def records(count: int = 3, *, base_offset: int = 0) -> bytes:
    """A batch of values v0, v1 …"""
    builder = RecordBatchBuilder(base_offset=base_offset, partition_leader_epoch=1)
    for number in range(count):
        builder.append(b"v%d" % (base_offset + number), timestamp=1)
    return builder.build()


def fetched(data: bytes = b"", *, error_code: int = 0, whole_error_code: int = 0) -> fetch.FetchResponse:
    """An answer to Fetch."""
    part = fetch.PartitionData(
        partition_index=0, error_code=error_code, high_watermark=100, last_stable_offset=100, records=data
    )
    topic = fetch.FetchableTopicResponse(topic=TOPIC, topic_id=TOPIC_ID, partitions=[part])
    return fetch.FetchResponse(error_code=whole_error_code, responses=[topic])


def acquired(
    data: bytes = b"", *ranges: tuple[int, int, int], error_code: int = 0, whole_error_code: int = 0
) -> share_fetch.ShareFetchResponse:
    """An answer to ShareFetch."""
    part = share_fetch.PartitionData(
        partition_index=0,
        error_code=error_code,
        records=data,
        acquired_records=[
            share_fetch.AcquiredRecords(first_offset=first, last_offset=last, delivery_count=count)
            for first, last, count in ranges
        ],
    )
    topic = share_fetch.ShareFetchableTopicResponse(topic_id=TOPIC_ID, partitions=[part])
    return share_fetch.ShareFetchResponse(
        error_code=whole_error_code, acquisition_lock_timeout_ms=30_000, responses=[topic]
    )


def acknowledged(request: Any, error_code: int = 0) -> ShareAcknowledgeResponse:
    """An answer to ShareAcknowledge."""
    return ShareAcknowledgeResponse(
        acquisition_lock_timeout_ms=30_000,
        responses=[
            ShareAcknowledgeTopicResponse(
                topic_id=topic.topic_id,
                partitions=[
                    PartitionData(partition_index=part.partition_index, error_code=error_code)
                    for part in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )
