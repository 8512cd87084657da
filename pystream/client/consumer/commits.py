"""What a group has committed: asking for it, and committing.

Retried until the deadline while the coordinator moves or loads; a member that the group has given up gets CommitFailed.
Source: KIP-98 (pending transactions), KIP-709 (many groups), KIP-848 (member epochs).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.coordinators import CoordinatorKind
from pystream.client.cluster.retry import Deadline
from pystream.client.consumer.model import FinishedCommit, OffsetAndMetadata
from pystream.client.consumer.positions import PlacedOffset
from pystream.common import error_codes as codes
from pystream.common.errors import (
    CommitFailed,
    KafkaError,
    NetworkFailure,
    PystreamError,
    RebalanceInProgress,
    StaleMemberEpoch,
    error_class,
)
from pystream.common.logging import get_logger
from pystream.common.model import ZERO_UUID, TopicPartition
from pystream.net.connection import Connection
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from pystream.protocol.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
)

logger = get_logger(__name__)

NO_GENERATION: Final = -1
COMMIT_BY_ID: Final = 10  # a version; a topic made anew under its name takes no offset of the one before
FETCH_BY_NAME_UP_TO: Final = 9
GROUPS_SINCE: Final = 8
STALE_PATIENCE: Final = 5  # so often an epoch may be found stale before its successor is here
LOST_COORDINATOR: Final = frozenset({codes.COORDINATOR_NOT_AVAILABLE, codes.NOT_COORDINATOR})
AUTOMATIC: Final = "automatic commit failed"  # in the log
GIVEN_UP: Final = frozenset(
    {
        codes.ILLEGAL_GENERATION,
        codes.UNKNOWN_MEMBER_ID,
        codes.FENCED_INSTANCE_ID,
        codes.FENCED_MEMBER_EPOCH,
    }
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who commits: a member in its generation (classic) or epoch (KIP-848); the defaults are no member at all."""

    generation: int = NO_GENERATION
    member_id: str = ""
    instance_id: str | None = None


class Commits:
    """Offsets of one group. Used from the loop. `identity` is kept up to date by the membership."""

    def __init__(self, cluster: Cluster, group_id: str, on_commit: Callable[[float], object] | None = None) -> None:
        """`on_commit` is told how many milliseconds a commit took."""
        self.group_id = group_id
        self._on_commit = on_commit
        self.identity = Identity()
        self.is_rebalancing = False  # classic: the group meets, and the generation of `identity` may be over
        self.needs_member = False  # of a subscribed consumer: who lost its place must not commit as nobody
        self._cluster = cluster

    async def commit(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], *, timeout_ms: int | None = None
    ) -> None:
        """Raises CommitFailed when the group has given the partitions to others, DeadlineExceeded, KafkaError.

        RebalanceInProgress: the partitions may stay; poll, then commit again.
        """
        if not offsets:
            return
        left = dict(offsets)
        stale: list[StaleMemberEpoch] = []

        async def try_once(_: Deadline) -> None:
            try:
                done = await self._commit_once(left)
            except StaleMemberEpoch as error:  # the heartbeat's answer with the new one may be a moment behind
                stale.append(error)
                if len(stale) > STALE_PATIENCE:
                    raise CommitFailed(f"{error}: poll, then commit again") from error
                raise error_class(codes.COORDINATOR_LOAD_IN_PROGRESS)(str(error)) from error
            for key in done:
                left.pop(key, None)
            if left:
                raise error_class(codes.COORDINATOR_LOAD_IN_PROGRESS)(f"not committed yet: {sorted(left)}")

        began_ms = self._cluster.clock.monotonic_ms()
        await self._cluster.retrying(f"commit of group {self.group_id!r}", try_once, timeout_ms=timeout_ms)
        if self._on_commit is not None:
            self._on_commit(self._cluster.clock.monotonic_ms() - began_ms)

    async def committed(
        self, keys: Iterable[TopicPartition], *, timeout_ms: int | None = None
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """What is committed for each; None where nothing is. Waits for transactions that are being decided."""
        wanted = list(keys)
        if not wanted:
            return {}
        return await self._cluster.retrying(
            f"committed offsets of group {self.group_id!r}", lambda _: self._fetch_once(wanted), timeout_ms=timeout_ms
        )

    def member(self) -> Identity:
        """Who commits now. Raises CommitFailed when that is a member that has no place in the group."""
        if self.needs_member and not self.identity.member_id:
            raise CommitFailed(
                f"group {self.group_id!r}: this consumer has no place in it now, it did not join yet or was given up; "
                "its partitions may be another member's. Poll to join"
            )
        return self.identity

    # --- one try ------------------------------------------------------------------------------------------------------

    async def _ask(self, request: OffsetCommitRequest | OffsetFetchRequest, highest: int) -> object:
        try:
            connection = await self._coordinator()
            version = connection.version_of(request.API_KEY, highest=highest)
            return await connection.request(request, version)
        except NetworkFailure:
            self._forget()
            raise

    async def _coordinator(self) -> Connection:
        return await self._cluster.coordinator(CoordinatorKind.GROUP, self.group_id, lane="commit")

    def _forget(self) -> None:
        self._cluster.coordinators.forget(CoordinatorKind.GROUP, self.group_id)

    async def _commit_once(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> list[TopicPartition]:
        topics: dict[str, list[OffsetCommitRequestPartition]] = {}
        ids: dict[str, bytes] = {}
        for key, entry in offsets.items():
            ids[key.topic] = entry.topic_id if isinstance(entry, PlacedOffset) else ZERO_UUID
            topics.setdefault(key.topic, []).append(
                OffsetCommitRequestPartition(
                    partition_index=key.partition,
                    committed_offset=entry.offset,
                    committed_metadata=entry.metadata,
                    committed_leader_epoch=entry.leader_epoch,
                )
            )
        who = self.member()
        request = OffsetCommitRequest(
            group_id=self.group_id,
            generation_id_or_member_epoch=who.generation,
            member_id=who.member_id,
            group_instance_id=who.instance_id,
            topics=[
                OffsetCommitRequestTopic(name=name, topic_id=ids[name], partitions=parts)
                for name, parts in topics.items()
            ],
        )
        has_ids = ZERO_UUID not in ids.values()
        response = await self._ask(request, COMMIT_BY_ID if has_ids else COMMIT_BY_ID - 1)
        assert isinstance(response, OffsetCommitResponse)
        names = {topic_id: name for name, topic_id in ids.items()}
        done = []
        for topic in response.topics:
            for told in topic.partitions:
                key = TopicPartition(topic.name or names.get(topic.topic_id, ""), told.partition_index)
                if told.error_code == codes.NONE:
                    done.append(key)
                else:
                    try:
                        self._commit_failed(key, told.error_code, who)
                    except CommitFailed as failed:  # its cause is what the coordinator said
                        raise failed from error_class(told.error_code)(f"commit of {key}")
        return done

    def _commit_failed(self, key: TopicPartition, error_code: int, who: Identity) -> None:
        if error_code in LOST_COORDINATOR:
            self._forget()
        if error_code == codes.STALE_MEMBER_EPOCH:
            raise StaleMemberEpoch(f"commit of {key} for group {self.group_id!r} in epoch {who.generation}")
        is_over = error_code == codes.ILLEGAL_GENERATION and (self.is_rebalancing or self.identity != who)
        if is_over or error_code == codes.REBALANCE_IN_PROGRESS:
            raise RebalanceInProgress(
                f"group {self.group_id!r} did not take the commit of {key}: it is being rebalanced; poll, then commit "
                "again what is still assigned"
            )
        if error_code == codes.UNKNOWN_TOPIC_OR_PARTITION:
            raise CommitFailed(f"group {self.group_id!r} did not take the commit of {key}: there is no such partition")
        if error_code == codes.UNKNOWN_TOPIC_ID:
            raise CommitFailed(
                f"group {self.group_id!r} did not take the commit of {key}: the topic that was read is not there any "
                "more; it was deleted, or deleted and made anew"
            )
        if error_code in GIVEN_UP:
            raise CommitFailed(
                f"group {self.group_id!r} did not take the commit of {key} ({error_class(error_code).__name__}): the "
                "partition may be another member's by now. Poll more often, raise max.poll.interval.ms, or lower "
                "max.poll.records"
            )
        raise error_class(error_code)(f"commit of {key} for group {self.group_id!r}")

    async def _fetch_once(self, keys: list[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata | None]:
        topics: dict[str, list[int]] = {}
        for key in keys:
            topics.setdefault(key.topic, []).append(key.partition)
        connection = await self._coordinator()
        version = connection.version_of(ApiKey.OFFSET_FETCH, highest=FETCH_BY_NAME_UP_TO)
        request = self._fetch_request(topics, version)
        response = await self._ask(request, FETCH_BY_NAME_UP_TO)
        assert isinstance(response, OffsetFetchResponse)
        found: dict[TopicPartition, OffsetAndMetadata | None] = dict.fromkeys(keys)
        error_code = response.error_code
        told: list[tuple[str, OffsetFetchResponsePartition | OffsetFetchResponsePartitions]]
        if version >= GROUPS_SINCE:
            told = [
                (topic.name, part) for group in response.groups for topic in group.topics for part in topic.partitions
            ]
            error_code = next((g.error_code for g in response.groups), codes.UNKNOWN_SERVER_ERROR)
        else:
            told = [(topic.name, part) for topic in response.topics for part in topic.partitions]
        if error_code != codes.NONE:
            self._fetch_failed(error_code, "")
        for name, part in told:
            key = TopicPartition(name, part.partition_index)
            if part.error_code != codes.NONE:
                self._fetch_failed(part.error_code, f" of {key}")
            if part.committed_offset >= 0:
                found[key] = OffsetAndMetadata(part.committed_offset, part.metadata or "", part.committed_leader_epoch)
        return found

    def _fetch_request(self, topics: Mapping[str, list[int]], version: int) -> OffsetFetchRequest:
        if version < GROUPS_SINCE:
            return OffsetFetchRequest(
                group_id=self.group_id,
                topics=[OffsetFetchRequestTopic(name=n, partition_indexes=p) for n, p in topics.items()],
                require_stable=version >= 7,
            )
        group = OffsetFetchRequestGroup(
            group_id=self.group_id,
            topics=[OffsetFetchRequestTopics(name=n, partition_indexes=p) for n, p in topics.items()],
        )
        return OffsetFetchRequest(groups=[group], require_stable=True)

    def _fetch_failed(self, error_code: int, what: str) -> NoReturn:
        if error_code in LOST_COORDINATOR:
            self._forget()
        error: KafkaError = error_class(error_code)(f"committed offset{what} of group {self.group_id!r}")
        raise error


class BackgroundCommits:
    """Commits that nobody waits for, one after the other: no old position replaces a new one. Used from the loop."""

    def __init__(
        self, cluster: Cluster, group: Callable[[], Commits], timeout_ms: int, on_finished: Callable[[], object]
    ) -> None:
        self.finished: deque[FinishedCommit] = deque()  # those that have a ticket
        self._cluster = cluster
        self._group = group
        self._timeout_ms = timeout_ms
        self._on_finished = on_finished
        self._automatic: asyncio.Task[None] | None = None
        self._last: asyncio.Task[None] | None = None

    def begin(self, offsets: Mapping[TopicPartition, OffsetAndMetadata], ticket: int | None = None) -> None:
        """Commit behind those under way; a failure is told with the ticket, or in the log."""
        work = self._commit(offsets, "commit failed", ticket, after=self._last)
        self._last = self._cluster.spawn("commit", work)

    def begin_automatic(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """The same, unless the automatic one before is under way still."""
        if self._automatic is None or self._automatic.done():
            work = self._commit(offsets, AUTOMATIC, None, after=self._last)
            self._automatic = self._last = self._cluster.spawn("auto commit", work)

    async def last(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Commit behind those under way, and return when it is done, or has failed, which is logged."""
        await self._commit(offsets, AUTOMATIC, None, after=self._last)

    async def done(self) -> None:
        """Return when nothing is under way."""
        last = self._last
        if last is not None and not last.done():
            await asyncio.wait([last])

    async def _commit(
        self,
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
        event: str,
        ticket: int | None,
        *,
        after: asyncio.Task[None] | None,
    ) -> None:
        failure: PystreamError | None = None
        try:
            if after is not None and not after.done():
                await asyncio.wait([after])
            await self._group().commit(offsets, timeout_ms=self._timeout_ms)
        except PystreamError as error:
            failure = error
            if ticket is None:  # after a rebalance the next automatic one commits the same
                tell = logger.info if isinstance(error, RebalanceInProgress) else logger.warning
                tell(event, group=self._group().group_id, error=str(error))
        if ticket is not None:
            self.finished.append((ticket, offsets, failure))
            self._on_finished()
