"""Asks leaders for offsets: by time, the first and the last, and where a leader epoch ended.

Source: KIP-79 (ListOffsets), KIP-320 (OffsetForLeaderEpoch).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.retry import Deadline, is_retriable
from pystream.client.consumer.model import OffsetAndTimestamp
from pystream.common import error_codes as codes
from pystream.common.errors import KafkaError, LeaderNotAvailable, UnknownTopicOrPartition, error_class
from pystream.common.model import NO_LEADER_EPOCH, TopicPartition
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from pystream.protocol.messages.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)

T = TypeVar("T")
WITH_TIMESTAMPS_SINCE: Final = 1
CONSUMER_REPLICA: Final = -1


class Offsets:
    """Questions about offsets. Used from the loop."""

    def __init__(self, cluster: Cluster, *, read_committed: bool) -> None:
        self._cluster = cluster
        self._isolation_level = int(read_committed)

    async def ask(
        self, wanted: Mapping[TopicPartition, int], *, timeout_ms: int | None = None
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """Per partition the first record at or after a timestamp; BEGINNING and END as timestamps. None: there is none.

        Retries until the deadline. Raises DeadlineExceeded, UnknownTopicOrPartition, and what is not retriable.
        """
        found: dict[TopicPartition, OffsetAndTimestamp | None] = {}

        async def ask_the_rest(_: Deadline) -> dict[TopicPartition, OffsetAndTimestamp | None]:
            rest = {key: timestamp for key, timestamp in wanted.items() if key not in found}
            failed: KafkaError | None = None
            for key, answer in (await self.try_once(rest)).items():
                if isinstance(answer, KafkaError):
                    failed = answer if failed is None or is_retriable(failed) else failed
                else:
                    found[key] = answer
            if failed is not None:
                raise failed
            return found

        async def refresh(_: Exception) -> None:
            self._cluster.track(topics)  # a rebalance may have them forgotten meanwhile
            await self._cluster.refresh()

        topics = {key.topic for key in wanted}
        for topic in topics:
            await self._cluster.topic(topic, timeout_ms=timeout_ms)
        return await self._cluster.retrying(
            "offsets of partitions", ask_the_rest, timeout_ms=timeout_ms, after_error=refresh
        )

    async def try_once(
        self, wanted: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetAndTimestamp | KafkaError | None]:
        """The same, once, with errors as data."""
        answers: dict[TopicPartition, OffsetAndTimestamp | KafkaError | None] = {}
        by_leader = self._by_leader(wanted, answers)
        asked = [self._ask_leader(node_id, keys, wanted) for node_id, keys in by_leader.items()]
        for found in await asyncio.gather(*asked):
            answers |= found
        return answers

    def _by_leader(
        self, keys: Iterable[TopicPartition], answers: dict[TopicPartition, T | KafkaError]
    ) -> dict[int, list[TopicPartition]]:
        by_leader: dict[int, list[TopicPartition]] = {}
        for key in keys:
            leader = self._cluster.leader_of(*key)
            if leader is not None:
                by_leader.setdefault(leader.node_id, []).append(key)
                continue
            topic = self._cluster.metadata.topics.get(key.topic)
            if topic is not None and key.partition < topic.partition_count:
                answers[key] = LeaderNotAvailable(f"{key} has no leader")
            else:
                answers[key] = UnknownTopicOrPartition(
                    f"{key} does not exist"
                    + (f": topic {key.topic!r} has {topic.partition_count} partitions" if topic is not None else "")
                )
        return by_leader

    async def _ask_leader(
        self, node_id: int, keys: list[TopicPartition], wanted: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetAndTimestamp | KafkaError | None]:
        answers: dict[TopicPartition, OffsetAndTimestamp | KafkaError | None] = {}
        topics: dict[str, list[ListOffsetsPartition]] = {}
        for key in keys:
            leader = self._cluster.leader_of(*key)
            epoch = NO_LEADER_EPOCH if leader is None else leader.leader_epoch
            topics.setdefault(key.topic, []).append(
                ListOffsetsPartition(partition_index=key.partition, timestamp=wanted[key], current_leader_epoch=epoch)
            )
        request = ListOffsetsRequest(
            replica_id=CONSUMER_REPLICA,
            isolation_level=self._isolation_level,
            topics=[ListOffsetsTopic(name=name, partitions=partitions) for name, partitions in topics.items()],
            timeout_ms=self._cluster.config.request_timeout_ms,
        )
        try:
            response: ListOffsetsResponse = await self._cluster.ask(
                request, node_id=node_id, lowest_version=WITH_TIMESTAMPS_SINCE
            )
        except KafkaError as error:
            return dict.fromkeys(keys, error)
        for topic in response.topics:
            for told in topic.partitions:
                key = TopicPartition(topic.name, told.partition_index)
                if told.error_code != codes.NONE:
                    answers[key] = error_class(told.error_code)(f"offsets of {key}")
                elif told.offset < 0:
                    answers[key] = None
                else:
                    answers[key] = OffsetAndTimestamp(told.offset, told.timestamp, told.leader_epoch)
        return {key: answers.get(key) if key in answers else _left_out(key) for key in keys}

    async def end_of_epochs(
        self, wanted: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, tuple[int, int] | KafkaError]:
        """(epoch, end offset) per partition: where the log's part up to a leader epoch ended; once, errors as data."""
        answers: dict[TopicPartition, tuple[int, int] | KafkaError] = {}
        by_leader = self._by_leader(wanted, answers)
        for node_id, keys in by_leader.items():
            topics: dict[str, list[OffsetForLeaderPartition]] = {}
            for key in keys:
                leader = self._cluster.leader_of(*key)
                topics.setdefault(key.topic, []).append(
                    OffsetForLeaderPartition(
                        partition=key.partition,
                        current_leader_epoch=NO_LEADER_EPOCH if leader is None else leader.leader_epoch,
                        leader_epoch=wanted[key],
                    )
                )
            request = OffsetForLeaderEpochRequest(
                topics=[OffsetForLeaderTopic(topic=name, partitions=parts) for name, parts in topics.items()],
                replica_id=CONSUMER_REPLICA,
            )
            try:
                response: OffsetForLeaderEpochResponse = await self._cluster.ask(request, node_id=node_id)
            except KafkaError as error:
                answers |= dict.fromkeys(keys, error)
                continue
            for topic in response.topics:
                for told in topic.partitions:
                    key = TopicPartition(topic.topic, told.partition)
                    if told.error_code != codes.NONE:
                        answers[key] = error_class(told.error_code)(f"end of an epoch of {key}")
                    else:
                        answers[key] = (told.leader_epoch, told.end_offset)
        return {key: answers.get(key) or _left_out(key) for key in wanted}

    async def can_validate(self, key: TopicPartition) -> bool:
        """Whether the leader tells where epochs ended, in a version that consumers may ask."""
        leader = self._cluster.leader_of(*key)
        if leader is None:
            return False
        connection = await self._cluster.connection_to(leader.node_id)
        return connection.supports(ApiKey.OFFSET_FOR_LEADER_EPOCH, 3)


def _left_out(key: TopicPartition) -> KafkaError:
    return LeaderNotAvailable(f"the answer left out {key}")
