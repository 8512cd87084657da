"""Committed offsets of groups: list, alter, delete; start offsets of share groups likewise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Final

from pystream.client.admin.base import AdminBase, Asked
from pystream.client.admin.partitions import by_topic
from pystream.client.admin.results import Results, error_of, outcome
from pystream.client.admin.routes import ToCoordinators
from pystream.client.cluster.coordinators import CoordinatorKind
from pystream.client.given import ByPartition, as_partitions, by_partition, check_committable, listed
from pystream.common.error_codes import NONE
from pystream.common.errors import PystreamError
from pystream.common.model import NO_LEADER_EPOCH, NO_OFFSET, TopicPartition
from pystream.protocol.messages.alter_share_group_offsets import (
    AlterShareGroupOffsetsRequest,
    AlterShareGroupOffsetsRequestPartition,
    AlterShareGroupOffsetsRequestTopic,
)
from pystream.protocol.messages.delete_share_group_offsets import (
    DeleteShareGroupOffsetsRequest,
    DeleteShareGroupOffsetsRequestTopic,
)
from pystream.protocol.messages.describe_share_group_offsets import (
    DescribeShareGroupOffsetsRequest,
    DescribeShareGroupOffsetsRequestGroup,
    DescribeShareGroupOffsetsRequestTopic,
)
from pystream.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from pystream.protocol.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from pystream.protocol.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)

GROUPS_SINCE: Final = 8  # from this version of OffsetFetch on, many groups in one request
STABLE_SINCE: Final = 7
NAMES_UNTIL: Final = 9  # later versions of OffsetFetch and OffsetCommit name topics by their ids


@dataclass(frozen=True, slots=True)
class OffsetAndMetadata:
    """A committed offset: the next one to read."""

    offset: int
    metadata: str = ""
    leader_epoch: int = NO_LEADER_EPOCH


@dataclass(frozen=True, slots=True)
class ShareOffset:
    """Where a share group's partition begins; `lag` is None where the broker does not tell."""

    start_offset: int
    leader_epoch: int
    lag: int | None


Committed = dict[TopicPartition, OffsetAndMetadata]
ShareOffsets = dict[TopicPartition, ShareOffset]
Wanted = Mapping[str, Iterable[tuple[str, int]] | None] | Iterable[str]


class GroupOffsetOperations(AdminBase):
    """Operations on the offsets of groups."""

    async def list_consumer_group_offsets(
        self, groups: Wanted, *, require_stable: bool = False, timeout_ms: int | None = None
    ) -> Results[str, Committed]:
        """What groups have committed: {"billing": None} for all partitions, or {"billing": [partitions]}.

        Partitions without a committed offset are left out. `require_stable` waits for transactions to end.
        """
        wanted = _wanted(groups)

        async def ask(asked: Asked, ids: list[str]) -> dict[str, Committed | PystreamError]:
            lowest = STABLE_SINCE if require_stable else 0
            version = asked.connection.version_of(OffsetFetchRequest.API_KEY, lowest, NAMES_UNTIL)
            if version >= GROUPS_SINCE:
                request = OffsetFetchRequest(
                    require_stable=require_stable,
                    groups=[OffsetFetchRequestGroup(group_id=each, topics=_topics(wanted[each])) for each in ids],
                )
                response = await asked.ask(request, highest=NAMES_UNTIL)
                return {told.group_id: _committed(told) for told in response.groups}
            found: dict[str, Committed | PystreamError] = {}
            for group_id in ids:
                partitions = wanted[group_id]
                topics = None if partitions is None else by_topic(partitions, lambda each: each.partition)
                request = OffsetFetchRequest(
                    group_id=group_id,
                    require_stable=require_stable,
                    topics=None
                    if topics is None
                    else [OffsetFetchRequestTopic(name=name, partition_indexes=each) for name, each in topics.items()],
                )
                found[group_id] = _committed(await asked.ask(request, highest=GROUPS_SINCE - 1))
            return found

        route = ToCoordinators[str](self.cluster, CoordinatorKind.GROUP, str)
        return await self._each("list_consumer_group_offsets", wanted, route, ask, timeout_ms=timeout_ms)

    async def alter_consumer_group_offsets(
        self,
        group_id: str,
        offsets: ByPartition[OffsetAndMetadata | int] | ByPartition[OffsetAndMetadata] | ByPartition[int],
        *,
        timeout_ms: int | None = None,
    ) -> Results[TopicPartition, None]:
        """Set committed offsets. The group must have no members: UnknownMemberId otherwise.

        Raises TypeError, ValueError for what is no offset; `delete_consumer_group_offsets` forgets one.
        """
        wanted: dict[TopicPartition, OffsetAndMetadata | int] = {**by_partition(offsets)}
        for place, given in wanted.items():
            check_committable(place, getattr(given, "offset", given))

        def commit(each: TopicPartition) -> OffsetCommitRequestPartition:
            given: Any = wanted[each]
            offset = OffsetAndMetadata(int(given)) if isinstance(given, Integral) else given
            return OffsetCommitRequestPartition(
                partition_index=each.partition,
                committed_offset=offset.offset,
                committed_metadata=offset.metadata,
                committed_leader_epoch=offset.leader_epoch,
            )

        async def ask(asked: Asked, group: list[TopicPartition]) -> dict[TopicPartition, PystreamError | None]:
            topics = by_topic(group, commit)
            request = OffsetCommitRequest(
                group_id=group_id,
                topics=[OffsetCommitRequestTopic(name=topic, partitions=each) for topic, each in topics.items()],
            )
            response = await asked.ask(request, highest=NAMES_UNTIL)
            return _by_partition(response.topics)

        return await self._each(
            "alter_consumer_group_offsets", wanted, self._of_group(group_id), ask, timeout_ms=timeout_ms
        )

    async def delete_consumer_group_offsets(
        self, group_id: str, partitions: Iterable[tuple[str, int]], *, timeout_ms: int | None = None
    ) -> Results[TopicPartition, None]:
        """Forget committed offsets, of topics that the group is not subscribed to: else GroupSubscribedToTopic."""

        async def ask(asked: Asked, group: list[TopicPartition]) -> dict[TopicPartition, PystreamError | None]:
            topics = by_topic(group, lambda each: OffsetDeleteRequestPartition(partition_index=each.partition))
            request = OffsetDeleteRequest(
                group_id=group_id,
                topics=[OffsetDeleteRequestTopic(name=topic, partitions=each) for topic, each in topics.items()],
            )
            response = await asked.ask(request)
            if response.error_code != NONE:
                return dict.fromkeys(group, error_of(response.error_code))
            return _by_partition(response.topics)

        return await self._each(
            "delete_consumer_group_offsets",
            as_partitions(partitions),
            self._of_group(group_id),
            ask,
            timeout_ms=timeout_ms,
        )

    list_streams_group_offsets = list_consumer_group_offsets
    alter_streams_group_offsets = alter_consumer_group_offsets
    delete_streams_group_offsets = delete_consumer_group_offsets

    async def list_share_group_offsets(
        self, groups: Wanted, *, timeout_ms: int | None = None
    ) -> Results[str, ShareOffsets]:
        """Where share groups begin to read: {"jobs": None} for all partitions, or {"jobs": [partitions]}."""
        wanted = _wanted(groups)

        def request_of(group_id: str) -> DescribeShareGroupOffsetsRequestGroup:
            partitions = wanted[group_id]
            topics = None if partitions is None else by_topic(partitions, lambda each: each.partition)
            return DescribeShareGroupOffsetsRequestGroup(
                group_id=group_id,
                topics=None
                if topics is None
                else [
                    DescribeShareGroupOffsetsRequestTopic(topic_name=topic, partitions=each)
                    for topic, each in topics.items()
                ],
            )

        async def ask(asked: Asked, ids: list[str]) -> dict[str, ShareOffsets | PystreamError]:
            response = await asked.ask(DescribeShareGroupOffsetsRequest(groups=list(map(request_of, ids))))
            return {told.group_id: _share_offsets(told) for told in response.groups}

        route = ToCoordinators[str](self.cluster, CoordinatorKind.GROUP, str)
        return await self._each("list_share_group_offsets", wanted, route, ask, timeout_ms=timeout_ms)

    async def alter_share_group_offsets(
        self, group_id: str, offsets: ByPartition[int], *, timeout_ms: int | None = None
    ) -> Results[TopicPartition, None]:
        """Have a share group without members begin elsewhere. Raises TypeError, ValueError for what is no offset."""
        wanted = by_partition(offsets)
        for place, offset in wanted.items():
            check_committable(place, offset)

        async def ask(asked: Asked, group: list[TopicPartition]) -> dict[TopicPartition, PystreamError | None]:
            topics = by_topic(
                group,
                lambda each: AlterShareGroupOffsetsRequestPartition(
                    partition_index=each.partition, start_offset=wanted[each]
                ),
            )
            request = AlterShareGroupOffsetsRequest(
                group_id=group_id,
                topics=[
                    AlterShareGroupOffsetsRequestTopic(topic_name=topic, partitions=each)
                    for topic, each in topics.items()
                ],
            )
            response = await asked.ask(request)
            if response.error_code != NONE:
                return dict.fromkeys(group, error_of(response.error_code, response.error_message))
            return _by_partition(response.responses, lambda topic: topic.topic_name)

        return await self._each(
            "alter_share_group_offsets", wanted, self._of_group(group_id), ask, timeout_ms=timeout_ms
        )

    async def delete_share_group_offsets(
        self, group_id: str, topics: Iterable[str], *, timeout_ms: int | None = None
    ) -> Results[str, None]:
        """Have a share group without members forget topics."""

        async def ask(asked: Asked, names: list[str]) -> dict[str, PystreamError | None]:
            request = DeleteShareGroupOffsetsRequest(
                group_id=group_id,
                topics=[DeleteShareGroupOffsetsRequestTopic(topic_name=name) for name in names],
            )
            response = await asked.ask(request)
            if response.error_code != NONE:
                return dict.fromkeys(names, error_of(response.error_code, response.error_message))
            return {told.topic_name: outcome(told.error_code, told.error_message, None) for told in response.responses}

        route = ToCoordinators[str](self.cluster, CoordinatorKind.GROUP, lambda _: group_id)
        return await self._each("delete_share_group_offsets", topics, route, ask, timeout_ms=timeout_ms)

    def _of_group(self, group_id: str) -> ToCoordinators[TopicPartition]:
        return ToCoordinators(self.cluster, CoordinatorKind.GROUP, lambda _: group_id)


def _wanted(groups: Wanted) -> dict[str, list[TopicPartition] | None]:
    if isinstance(groups, Mapping):
        return {group_id: None if each is None else as_partitions(each) for group_id, each in groups.items()}
    return dict.fromkeys(listed(groups))


def _topics(partitions: list[TopicPartition] | None) -> list[OffsetFetchRequestTopics] | None:
    if partitions is None:
        return None
    topics = by_topic(partitions, lambda each: each.partition)
    return [OffsetFetchRequestTopics(name=name, partition_indexes=each) for name, each in topics.items()]


def _committed(told: Any) -> Committed | PystreamError:
    """A group's offsets, or the first error among them."""
    if told.error_code != NONE:
        return error_of(told.error_code)
    found: Committed = {}
    for topic in told.topics:
        for each in topic.partitions:
            place = TopicPartition(topic.name, each.partition_index)
            if each.error_code != NONE:
                return error_of(each.error_code, what=str(place))
            if each.committed_offset != NO_OFFSET:
                metadata = each.metadata or ""
                found[place] = OffsetAndMetadata(each.committed_offset, metadata, each.committed_leader_epoch)
    return found


def _share_offsets(told: Any) -> ShareOffsets | PystreamError:
    if told.error_code != NONE:
        return error_of(told.error_code, told.error_message)
    found: ShareOffsets = {}
    for topic in told.topics:
        for each in topic.partitions:
            place = TopicPartition(topic.topic_name, each.partition_index)
            if each.error_code != NONE:
                return error_of(each.error_code, each.error_message, str(place))
            if each.start_offset != NO_OFFSET:
                lag = None if each.lag < 0 else each.lag
                found[place] = ShareOffset(each.start_offset, each.leader_epoch, lag)
    return found


def _by_partition(
    topics: Iterable[Any], name_of: Callable[[Any], str] = lambda topic: str(topic.name)
) -> dict[TopicPartition, PystreamError | None]:
    return {
        TopicPartition(name_of(topic), told.partition_index): outcome(told.error_code, None, None)
        for topic in topics
        for told in topic.partitions
    }
