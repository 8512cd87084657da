"""GroupCoordinator: what the broker's handlers ask about groups and committed offsets, whoever holds their shards.

Each request goes to the shard of its group; those that name many groups go to many, and one shard's error fails its
own groups only. Methods give a response, or something to await that does; KafkaErrors that concern the whole request
are raised, at once or when awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from pystream.common.error_codes import NONE
from pystream.common.errors import (
    CoordinatorLoadInProgress,
    InvalidGroupId,
    KafkaError,
    NotCoordinator,
)
from pystream.coordinator.group.admin_requests import delete_groups, describe_groups, list_groups
from pystream.coordinator.group.classic.join import join_group
from pystream.coordinator.group.classic.requests import heartbeat, leave_group, sync_group
from pystream.coordinator.group.consumer.describe import describe_consumer_groups
from pystream.coordinator.group.consumer.heartbeat import heartbeat as consumer_group_heartbeat
from pystream.coordinator.group.group import Caller
from pystream.coordinator.group.offset_requests import (
    commit_offsets,
    commit_offsets_in_transaction,
    delete_offsets,
    fetch_offsets,
    topics_deleted,
)
from pystream.coordinator.group.shard import GroupShard
from pystream.coordinator.group.streams.describe import describe_streams_groups
from pystream.coordinator.group.streams.heartbeat import Reply as StreamsReply
from pystream.coordinator.group.streams.heartbeat import heartbeat as streams_group_heartbeat
from pystream.coordinator.runtime import CoordinatorRuntime
from pystream.protocol.messages.consumer_group_describe import DescribedGroup as DescribedConsumerGroup
from pystream.protocol.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from pystream.protocol.messages.delete_groups import DeletableGroupResult
from pystream.protocol.messages.describe_groups import DescribedGroup
from pystream.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from pystream.protocol.messages.join_group import JoinGroupRequest
from pystream.protocol.messages.leave_group import LeaveGroupRequest
from pystream.protocol.messages.list_groups import ListedGroup
from pystream.protocol.messages.offset_commit import OffsetCommitRequest
from pystream.protocol.messages.offset_delete import OffsetDeleteRequest
from pystream.protocol.messages.offset_fetch import OffsetFetchRequestGroup, OffsetFetchResponseGroup
from pystream.protocol.messages.streams_group_describe import DescribedGroup as DescribedStreamsGroup
from pystream.protocol.messages.streams_group_heartbeat import StreamsGroupHeartbeatRequest
from pystream.protocol.messages.sync_group import SyncGroupRequest
from pystream.protocol.messages.txn_offset_commit import TxnOffsetCommitRequest

R = TypeVar("R")
BeforeDelete = Callable[[str], Awaitable[None]]
Reply = Any | Awaitable[Any]  # a response, or something to await that gives it


class GroupCoordinator:
    """See the head of this module."""

    def __init__(self, runtime: CoordinatorRuntime[GroupShard]) -> None:
        self.runtime = runtime
        self.before_delete: BeforeDelete | None = None  # of each group: raises KafkaError when it cannot be deleted

    def submit(self, group_id: str, operation: Callable[..., None], *arguments: Any) -> Reply:
        """Run `operation(shard, ticket, now_ms, effects, *arguments)` on the shard of a group."""

        def run(shard: GroupShard, ticket: int, now_ms: int, effects: Any) -> None:
            operation(shard, ticket, now_ms, effects, *arguments)

        return self.runtime.submit(self.runtime.partition_for(group_id), run)

    def submit_to_all(self, operation: Callable[..., None], *arguments: Any) -> None:
        """Run an operation on every shard that is loaded. Nobody waits for it."""
        for shard in list(self.runtime.active()):
            self.runtime.submit(shard.partition, _on(operation, *arguments))

    # members

    def join_group(self, caller: Caller, request: JoinGroupRequest) -> Reply:
        check_group_id(request.group_id)
        return self.submit(request.group_id, join_group, caller, request)

    def sync_group(self, caller: Caller, request: SyncGroupRequest) -> Reply:
        check_group_id(request.group_id)
        return self.submit(request.group_id, sync_group, caller, request)

    def heartbeat(self, caller: Caller, request: HeartbeatRequest) -> Reply:
        check_group_id(request.group_id)
        try:
            return self.submit(request.group_id, heartbeat, caller, request)
        except CoordinatorLoadInProgress:
            return HeartbeatResponse(error_code=NONE)  # nobody's session runs yet

    def leave_group(self, caller: Caller, request: LeaveGroupRequest) -> Reply:
        check_group_id(request.group_id)
        return self.submit(request.group_id, leave_group, caller, request)

    def consumer_group_heartbeat(self, caller: Caller, request: ConsumerGroupHeartbeatRequest) -> Reply:
        return self.submit(request.group_id, consumer_group_heartbeat, caller, request)

    async def streams_group_heartbeat(self, caller: Caller, request: StreamsGroupHeartbeatRequest) -> StreamsReply:
        """The answer, and the internal topics that the caller is to create."""
        reply: StreamsReply = await settled(self.submit(request.group_id, streams_group_heartbeat, caller, request))
        return reply

    # offsets

    def commit_offsets(self, caller: Caller, request: OffsetCommitRequest) -> Reply:
        return self.submit(request.group_id, commit_offsets, caller, request)

    def commit_offsets_in_transaction(self, caller: Caller, request: TxnOffsetCommitRequest) -> Reply:
        check_group_id(request.group_id)
        return self.submit(request.group_id, commit_offsets_in_transaction, caller, request)

    async def fetch_offsets(
        self, groups: Sequence[OffsetFetchRequestGroup], *, require_stable: bool
    ) -> list[OffsetFetchResponseGroup]:
        """One result for each of `groups`, in their order; a group's error is in its result."""

        async def one(group: OffsetFetchRequestGroup) -> OffsetFetchResponseGroup:
            try:
                response: OffsetFetchResponseGroup = await settled(
                    self.submit(group.group_id, fetch_offsets, group, require_stable)
                )
            except KafkaError as error:
                return OffsetFetchResponseGroup(group_id=group.group_id, error_code=error.code)
            return response

        return list(await asyncio.gather(*map(one, groups)))

    def delete_offsets(self, request: OffsetDeleteRequest) -> Reply:
        check_group_id(request.group_id)
        return self.submit(request.group_id, delete_offsets, request)

    def topics_deleted(self, names: Iterable[str]) -> None:
        """Forget what has been committed for topics that are gone. Nobody waits for it."""
        gone = frozenset(names)
        for shard in list(self.runtime.active()):
            self.runtime.submit(shard.partition, _answered(topics_deleted, gone))

    # groups

    async def list_groups(self, states: Iterable[str], kinds: Iterable[str]) -> tuple[int, list[ListedGroup]]:
        """(error code, the groups in one of these states and of one of these kinds); an empty filter lets all through.

        Groups of shards that are still being loaded cannot be listed: COORDINATOR_LOAD_IN_PROGRESS, and none at all.
        """
        wanted_states = frozenset(state.strip().lower() for state in states)
        wanted_kinds = frozenset(kind.strip().lower() for kind in kinds)
        listed: list[ListedGroup] = []
        for partition in range(self.runtime.partition_count):
            try:
                listed += await settled(self.runtime.submit(partition, _on(list_groups, wanted_states, wanted_kinds)))
            except NotCoordinator:
                continue  # another broker's
            except KafkaError as error:
                return error.code, []
        return NONE, listed

    async def describe_groups(self, caller: Caller, group_ids: Sequence[str]) -> list[DescribedGroup]:
        """One result for each of `group_ids`, in their order."""

        def failed(group_id: str, code: int) -> DescribedGroup:
            return DescribedGroup(group_id=group_id, error_code=code)

        return await self._of_many(group_ids, failed, describe_groups, caller)

    async def describe_consumer_groups(self, group_ids: Sequence[str]) -> list[DescribedConsumerGroup]:
        """One result for each of `group_ids`, in their order."""

        def failed(group_id: str, code: int) -> DescribedConsumerGroup:
            return DescribedConsumerGroup(group_id=group_id, error_code=code)

        return await self._of_many(group_ids, failed, describe_consumer_groups, check=check_group_id)

    async def describe_streams_groups(self, group_ids: Sequence[str]) -> list[DescribedStreamsGroup]:
        """One result for each of `group_ids`, in their order."""

        def failed(group_id: str, code: int) -> DescribedStreamsGroup:
            return DescribedStreamsGroup(group_id=group_id, error_code=code)

        return await self._of_many(group_ids, failed, describe_streams_groups, check=check_group_id)

    async def delete_groups(self, group_ids: Sequence[str]) -> list[DeletableGroupResult]:
        """One result for each of `group_ids`, in their order; each id counts once."""

        def failed(group_id: str, code: int) -> DeletableGroupResult:
            return DeletableGroupResult(group_id=group_id, error_code=code)

        names = list(dict.fromkeys(group_ids))
        refused = dict(zip(names, await asyncio.gather(*map(self._delete_refused, names)), strict=True))
        left = [name for name in names if refused[name] == NONE]
        deleted = {result.group_id: result for result in await self._of_many(left, failed, delete_groups)}
        return [deleted.get(name) or failed(name, refused[name]) for name in names]

    async def _delete_refused(self, group_id: str) -> int:
        """Why a group cannot be deleted, before its shard is asked; NONE when it is to be."""
        try:
            if self.before_delete is not None:
                await self.before_delete(group_id)
        except KafkaError as error:
            return error.code
        return NONE

    async def _of_many(
        self,
        group_ids: Sequence[str],
        failed: Callable[[str, int], R],
        operation: Callable[..., None],
        *leading: Any,
        check: Callable[[str], None] | None = None,
    ) -> list[R]:
        """Run an operation on the groups of each shard together; results in the order of `group_ids`.

        `check` raises KafkaError for ids that no shard is asked for.
        """
        places: dict[int, list[int]] = {}
        results: dict[int, R] = {}
        for place, group_id in enumerate(group_ids):
            try:
                if check is not None:
                    check(group_id)
                places.setdefault(self.runtime.partition_for(group_id), []).append(place)
            except KafkaError as error:
                results[place] = failed(group_id, error.code)

        async def one(partition: int, its: list[int]) -> None:
            names = [group_ids[place] for place in its]
            try:
                found = await settled(self.runtime.submit(partition, _on(operation, *leading, names)))
            except KafkaError as error:
                found = [failed(name, error.code) for name in names]
            results.update(zip(its, found, strict=True))

        await asyncio.gather(*(one(partition, its) for partition, its in places.items()))
        return [results[place] for place in range(len(group_ids))]


def check_group_id(group_id: str) -> None:
    """Raises InvalidGroupId for the empty id, which only offsets and groups of old clients may have."""
    if not group_id:
        raise InvalidGroupId()


async def settled(reply: Reply) -> Any:
    """What a reply gives, now or later."""
    return await reply if isinstance(reply, Awaitable) else reply


def _on(operation: Callable[..., None], *arguments: Any) -> Callable[[GroupShard, int, int, Any], None]:
    def run(shard: GroupShard, ticket: int, now_ms: int, effects: Any) -> None:
        operation(shard, ticket, now_ms, effects, *arguments)

    return run


def _answered(operation: Callable[..., None], *arguments: Any) -> Callable[[GroupShard, int, int, Any], None]:
    """An operation that answers nobody, as one that does."""

    def run(shard: GroupShard, ticket: int, now_ms: int, effects: Any) -> None:
        operation(shard, ticket, now_ms, effects, *arguments)
        effects.answer(ticket, None, at_once=True)

    return run
