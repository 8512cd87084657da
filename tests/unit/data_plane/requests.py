"""Short ways to say the three hot requests."""

from __future__ import annotations

from pystream.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic
from pystream.protocol.messages.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from pystream.protocol.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from tests.unit.data_plane.conftest import TOPIC_ID


def produce(
    *batches: tuple[int, bytes | None],
    acks: int = 1,
    timeout_ms: int = 60_000,
    topic: str = "events",
    topic_id: bytes = TOPIC_ID,
) -> ProduceRequest:
    """`batches` are (partition, records)."""
    parts = [PartitionProduceData(index=index, records=records) for index, records in batches]
    return ProduceRequest(
        acks=acks,
        timeout_ms=timeout_ms,
        topic_data=[TopicProduceData(name=topic, topic_id=topic_id, partition_data=parts)],
    )


def fetch(
    *partitions: tuple[int, int],
    max_wait_ms: int = 0,
    min_bytes: int = 1,
    max_bytes: int = 1 << 20,
    partition_max_bytes: int = 1 << 20,
    session: tuple[int, int] = (0, -1),
    forgotten: tuple[int, ...] = (),
    isolation_level: int = 0,
    current_leader_epoch: int = -1,
    topic: str = "events",
    topic_id: bytes = TOPIC_ID,
) -> FetchRequest:
    """`partitions` are (partition, offset)."""
    parts = [
        FetchPartition(
            partition=index,
            fetch_offset=offset,
            partition_max_bytes=partition_max_bytes,
            current_leader_epoch=current_leader_epoch,
        )
        for index, offset in partitions
    ]
    return FetchRequest(
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        isolation_level=isolation_level,
        session_id=session[0],
        session_epoch=session[1],
        topics=[FetchTopic(topic=topic, topic_id=topic_id, partitions=parts)] if parts else [],
        forgotten_topics_data=[ForgottenTopic(topic=topic, topic_id=topic_id, partitions=list(forgotten))]
        if forgotten
        else [],
    )


def list_offsets(*partitions: tuple[int, int], topic: str = "events", isolation_level: int = 0) -> ListOffsetsRequest:
    """`partitions` are (partition, timestamp)."""
    parts = [ListOffsetsPartition(partition_index=index, timestamp=timestamp) for index, timestamp in partitions]
    return ListOffsetsRequest(isolation_level=isolation_level, topics=[ListOffsetsTopic(name=topic, partitions=parts)])
