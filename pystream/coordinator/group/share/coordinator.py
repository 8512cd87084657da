"""ShareGroupCoordinator: what handlers ask about share groups, whoever holds their shards and their states.

Groups live in the shards of `__consumer_offsets`, the states of their partitions in those of `__share_group_state`;
what concerns both happens here, step by step: written down as begun, done, written down as done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from pystream.common.clock import SleepingClock
from pystream.common.error_codes import GROUP_ID_NOT_FOUND, NONE
from pystream.common.errors import InvalidGroupId, KafkaError, UnknownTopicOrPartition, code_of, error_class, message_of
from pystream.common.logging import get_logger
from pystream.common.model import NO_OFFSET, ZERO_UUID
from pystream.common.tasks import Supervisor
from pystream.coordinator.group.group import Caller
from pystream.coordinator.group.share import requests, stored
from pystream.coordinator.group.share.partitions import TopicPartitions
from pystream.coordinator.group.topics import TopicCatalog
from pystream.coordinator.share.hosted import UNREACHABLE
from pystream.coordinator.share.partition import NO_START_OFFSET
from pystream.coordinator.share.service import ShareService
from pystream.coordinator.share.state import ShareKey, ShareState
from pystream.coordinator.share.state_shard import NEVER_STORED, Result
from pystream.coordinator.share.states import ShareStates, settled
from pystream.protocol.messages import alter_share_group_offsets as alter
from pystream.protocol.messages import delete_share_group_offsets as delete
from pystream.protocol.messages import describe_share_group_offsets as offsets
from pystream.protocol.messages.share_group_describe import DescribedGroup
from pystream.protocol.messages.share_group_heartbeat import ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse

logger = get_logger(__name__)

UNKNOWN_LAG = -1
RETRY_DELAYS_MS = (20, 40, 80, 160, 320, 640, 1_280, 2_560)

Partitions = Mapping[bytes, Collection[int]]


class Groups(Protocol):
    """The part of GroupCoordinator that is used here."""

    def submit(self, group_id: str, operation: Callable[..., None], *arguments: Any) -> Any: ...

    def submit_to_all(self, operation: Callable[..., None], *arguments: Any) -> None: ...


class ShareGroupCoordinator:
    """See the head of this module."""

    def __init__(
        self,
        *,
        groups: Groups,
        states: ShareStates,
        service: ShareService,
        topics: TopicCatalog,
        end_offset: Callable[[str, int], int],
        ensure_states: Callable[[], Awaitable[object]],
        clock: SleepingClock,
        supervisor: Supervisor,
    ) -> None:
        """`end_offset` of a partition for readers, raises KafkaError; `ensure_states` makes the states' topic."""
        self._groups = groups
        self._states = states
        self._service = service
        self._topics = topics
        self._end_offset = end_offset
        self._ensure_states = ensure_states
        self._clock = clock
        self._supervisor = supervisor

    async def heartbeat(self, caller: Caller, request: ShareGroupHeartbeatRequest) -> ShareGroupHeartbeatResponse:
        """Raises KafkaError, of which the member is told."""
        beat: requests.Heartbeat = await self._ask(request.group_id, requests.heartbeat, caller, request)
        if beat.to_initialize:
            work = self._initialize_quietly(request.group_id, beat.to_initialize)
            self._supervisor.attempt("initialise share group state", work)
        return beat.response

    async def describe(self, group_ids: Sequence[str]) -> list[DescribedGroup]:
        """One result for each of `group_ids`, in their order."""
        return list(await asyncio.gather(*map(self._describe, group_ids)))

    async def describe_offsets(
        self, group: offsets.DescribeShareGroupOffsetsRequestGroup
    ) -> offsets.DescribeShareGroupOffsetsResponseGroup:
        """The start offset of each partition asked for; of all that have a state when no topics are named."""
        try:
            topics = await self._topics_asked(group)
        except KafkaError as error:
            return offsets.DescribeShareGroupOffsetsResponseGroup(
                group_id=group.group_id, error_code=error.code, error_message=message_of(error)
            )
        return offsets.DescribeShareGroupOffsetsResponseGroup(
            group_id=group.group_id,
            topics=[await self._describe_topic(group.group_id, name, partitions) for name, partitions in topics],
        )

    async def alter_offsets(
        self, request: alter.AlterShareGroupOffsetsRequest
    ) -> list[alter.AlterShareGroupOffsetsResponseTopic]:
        """Begin partitions anew at the offsets asked for. Raises KafkaError for the whole request."""
        if not request.group_id:
            raise InvalidGroupId()
        asked = {topic.topic_name: [p.partition_index for p in topic.partitions] for topic in request.topics}
        begun: stored.Alteration = await self._ask(request.group_id, stored.begin_alter, request.group_id, asked)
        starts = {
            (begun.topic_ids[topic.topic_name], partition.partition_index): partition.start_offset
            for topic in request.topics
            if topic.topic_name in begun.topic_ids
            for partition in topic.partitions
            if 0 <= partition.partition_index < begun.partition_counts[topic.topic_name]
        }
        results = await self._initialize(request.group_id, begun.state_epoch, starts)
        self._service.partitions.drop_group(request.group_id)
        responses = []
        for topic in request.topics:
            topic_id = begun.topic_ids.get(topic.topic_name, ZERO_UUID)
            partitions = [
                _altered(p.partition_index, results.get((topic_id, p.partition_index))) for p in topic.partitions
            ]
            responses.append(
                alter.AlterShareGroupOffsetsResponseTopic(
                    topic_name=topic.topic_name, topic_id=topic_id, partitions=partitions
                )
            )
        return responses

    async def delete_offsets(
        self, request: delete.DeleteShareGroupOffsetsRequest
    ) -> list[delete.DeleteShareGroupOffsetsResponseTopic]:
        """Forget where the group is in some topics. Raises KafkaError for the whole request."""
        if not request.group_id:
            raise InvalidGroupId()
        names = [topic.topic_name for topic in request.topics]
        begun: stored.Deletion = await self._ask(request.group_id, stored.begin_delete, request.group_id, names)
        failures = await self._delete_states(request.group_id, begun.topics)
        ids = {topic.name: topic_id for topic_id, topic in begun.topics.items()}
        return [
            _deleted(name, ids.get(name, ZERO_UUID), begun.refused.get(name) or failures.get(ids.get(name, b"")))
            for name in names
        ]

    async def delete_states(self, group_id: str) -> None:
        """All states of a group that is about to be deleted. Raises KafkaError when it is not, or cannot be.

        Nothing happens to an id that is of no share group.
        """
        try:
            begun: stored.Deletion = await self._ask(group_id, stored.begin_delete, group_id, None)
        except KafkaError as error:
            if error.code == GROUP_ID_NOT_FOUND:
                return
            raise
        failures = await self._delete_states(group_id, begun.topics)
        for failure in failures.values():
            raise failure

    def topics_deleted(self, topic_ids: Collection[bytes]) -> None:
        """The topics are gone, and with them what groups know of their partitions. Nobody waits for it."""
        self._service.partitions.drop_topics(topic_ids)
        self._states.forget_topics(topic_ids)
        self._groups.submit_to_all(stored.forget_topics, topic_ids)

    # ---- steps

    async def _ask(self, group_id: str, operation: Callable[..., None], *arguments: Any) -> Any:
        """What an operation on the shard of the group answers."""
        return await settled(self._groups.submit(group_id, operation, *arguments))

    async def _describe(self, group_id: str) -> DescribedGroup:
        try:
            if not group_id:
                raise InvalidGroupId()
            found: list[DescribedGroup] = await self._ask(group_id, requests.describe, [group_id])
        except KafkaError as error:
            return DescribedGroup(group_id=group_id, error_code=error.code, error_message=message_of(error))
        return found[0]

    async def _initialize_quietly(self, group_id: str, partitions: Partitions) -> None:
        """What fails is tried again with a later heartbeat."""
        try:
            epoch: int = await self._ask(group_id, stored.state_epoch, group_id)
            starts = {(topic_id, p): NO_START_OFFSET for topic_id, found in partitions.items() for p in sorted(found)}
            await self._initialize(group_id, epoch, starts)
        except KafkaError as error:
            logger.limited("share group state not initialised", group=group_id, error=error)

    async def _initialize(
        self, group_id: str, state_epoch: int, starts: Mapping[tuple[bytes, int], int]
    ) -> dict[tuple[bytes, int], Result]:
        """Make states and write down which there are now."""
        await self._ensure_states()
        found = await asyncio.gather(
            *(self._made(ShareKey(group_id, *place), state_epoch, start) for place, start in starts.items())
        )
        results = dict(zip(starts, found, strict=True))
        done: dict[bytes, list[int]] = {}
        failed: dict[bytes, list[int]] = {}
        for (topic_id, partition), result in results.items():
            (failed if result.error_code else done).setdefault(topic_id, []).append(partition)
        if results:
            await self._ask(group_id, stored.initialized, group_id, done, failed)
        for (topic_id, partition), result in results.items():
            if result.error_code:
                logger.limited(
                    "share group state not initialised",
                    share_partition=ShareKey(group_id, topic_id, partition),
                    error=result.error_code,
                )
        return results

    async def _made(self, key: ShareKey, state_epoch: int, start_offset: int) -> Result:
        """A state is made; a share coordinator that is about to be there is waited for."""
        for delay_ms in RETRY_DELAYS_MS:
            result = await self._states.initialize(key, state_epoch=state_epoch, start_offset=start_offset)
            if result.error_code not in UNREACHABLE:
                return result
            await self._clock.sleep_ms(delay_ms)
        return await self._states.initialize(key, state_epoch=state_epoch, start_offset=start_offset)

    async def _delete_states(self, group_id: str, topics: Mapping[bytes, TopicPartitions]) -> dict[bytes, KafkaError]:
        """Delete states and write down that they are gone; the failures by topic."""
        self._service.partitions.drop_group(group_id)
        places = [(topic_id, partition) for topic_id, topic in topics.items() for partition in sorted(topic.partitions)]
        results = await asyncio.gather(*(self._states.delete(ShareKey(group_id, *place)) for place in places))
        failures = {
            topic_id: error_class(result.error_code)(result.error_message or "")
            for (topic_id, _), result in zip(places, results, strict=True)
            if result.error_code
        }
        gone = [topic_id for topic_id in topics if topic_id not in failures]
        if gone:
            await self._ask(group_id, stored.deleted, group_id, gone)
        return failures

    async def _topics_asked(
        self, group: offsets.DescribeShareGroupOffsetsRequestGroup
    ) -> list[tuple[str, Sequence[int]]]:
        if group.topics is not None:
            return [(topic.topic_name, topic.partitions) for topic in group.topics]
        found: dict[bytes, TopicPartitions] = await self._ask(group.group_id, stored.states_of, group.group_id)
        names = {topic_id: facts.name for topic_id in found if (facts := self._topics.by_id(topic_id)) is not None}
        return [(name, sorted(found[topic_id].partitions)) for topic_id, name in names.items()]

    async def _describe_topic(
        self, group_id: str, name: str, partitions: Sequence[int]
    ) -> offsets.DescribeShareGroupOffsetsResponseTopic:
        facts = self._topics.by_name(name)
        if facts is None:  # no error, as in Kafka: the group is nowhere in it
            return offsets.DescribeShareGroupOffsetsResponseTopic(
                topic_name=name,
                partitions=[_described(partition, NEVER_STORED, UNKNOWN_LAG) for partition in partitions],
            )
        results = await asyncio.gather(
            *(self._states.summary(ShareKey(group_id, facts.topic_id, partition)) for partition in partitions)
        )
        return offsets.DescribeShareGroupOffsetsResponseTopic(
            topic_name=name,
            topic_id=facts.topic_id,
            partitions=[
                self._described_partition(name, partition, result)
                for partition, result in zip(partitions, results, strict=True)
            ],
        )

    def _described_partition(
        self, name: str, partition: int, result: Result
    ) -> offsets.DescribeShareGroupOffsetsResponsePartition:
        if result.error_code:
            return _not_described(partition, error_class(result.error_code)(result.error_message or ""))
        return _described(partition, result.state, self._lag(name, partition, result.state))

    def _lag(self, name: str, partition: int, state: ShareState) -> int:
        """Records that were not delivered to their end yet (KIP-1226)."""
        if state.start_offset == NO_START_OFFSET or state.delivery_complete_count < 0:
            return UNKNOWN_LAG
        try:
            return max(self._end_offset(name, partition) - state.start_offset - state.delivery_complete_count, 0)
        except KafkaError:
            return UNKNOWN_LAG


def _described(partition: int, state: ShareState, lag: int) -> offsets.DescribeShareGroupOffsetsResponsePartition:
    return offsets.DescribeShareGroupOffsetsResponsePartition(
        partition_index=partition, start_offset=state.start_offset, leader_epoch=state.leader_epoch, lag=lag
    )


def _not_described(partition: int, error: KafkaError) -> offsets.DescribeShareGroupOffsetsResponsePartition:
    return offsets.DescribeShareGroupOffsetsResponsePartition(
        partition_index=partition, start_offset=NO_OFFSET, error_code=error.code, error_message=message_of(error)
    )


def _altered(partition: int, result: Result | None) -> alter.AlterShareGroupOffsetsResponsePartition:
    """No result: there is no such topic or partition."""
    error: KafkaError | None = None
    if result is None:
        error = UnknownTopicOrPartition()
    elif result.error_code:
        error = error_class(result.error_code)(result.error_message or "")
    return alter.AlterShareGroupOffsetsResponsePartition(
        partition_index=partition,
        error_code=NONE if error is None else code_of(error),
        error_message=None if error is None else message_of(error),
    )


def _deleted(name: str, topic_id: bytes, error: KafkaError | None) -> delete.DeleteShareGroupOffsetsResponseTopic:
    return delete.DeleteShareGroupOffsetsResponseTopic(
        topic_name=name,
        topic_id=topic_id,
        error_code=NONE if error is None else error.code,
        error_message=None if error is None else message_of(error),
    )
