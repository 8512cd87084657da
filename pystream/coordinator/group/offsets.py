"""Offsets: what groups have committed, and what open transactions would commit.

    offsets   group id -> topic -> partition -> CommittedOffset
    pending   producer id -> (group id, topic, partition) -> CommittedOffset      until the transaction's marker

Commits of both sorts may mix: the record that comes last in the log counts, so each is numbered as it is taken in.

An offset is forgotten when `offsets.retention.minutes` have passed since its group became empty, or, in a group of
consumers that is stable, since it was committed for a topic that nobody subscribes to, or, of consumers that never
join, since it was committed (KIP-211). One that was committed with a time of its own (OffsetCommit 2-4) goes by that.
What is looked at for that, or because its topic is gone, is looked at some at a time: requests come in between.

Topics are deleted once, and whoever was told of it may be gone before all is written: so every shard that is loaded
holds its offsets against the topics that there are. An offset names its topic by id as well, and counts for no other
topic of that name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from pystream.common.logging import get_logger
from pystream.common.model import NO_TIMESTAMP, ZERO_UUID
from pystream.coordinator.group.classic.state import ClassicGroup
from pystream.coordinator.group.config import OffsetsConfig
from pystream.coordinator.group.group import Group
from pystream.coordinator.group.shard import GroupShard, Replay
from pystream.coordinator.group.topics import TopicCatalog
from pystream.coordinator.machine import NO_PRODUCER_ID, Effects, Record
from pystream.protocol.coordinator_records.offset_commit import OffsetCommitKey

logger = get_logger(__name__)

RETENTION_TIMER = ("offsets-retention",)
DELETED_TOPICS_TIMER = ("offsets-of-deleted-topics",)
LOOKED_AT_A_TIME = 1_000  # groups and offsets: a millisecond or two
PAUSE_MS = 1


class CommittedOffset(NamedTuple):
    """`sequence` numbers records as they are taken in; `expire_timestamp_ms` is NO_TIMESTAMP in all but old commits."""

    sequence: int
    offset: int
    leader_epoch: int
    metadata: str
    commit_timestamp_ms: int
    expire_timestamp_ms: int
    topic_id: bytes

    def is_of_another_topic(self, topic_id: bytes) -> bool:
        """Whether it was committed for a topic that had this one's name before. False where either id is not known."""
        return ZERO_UUID not in (self.topic_id, topic_id) and self.topic_id != topic_id


Place = tuple[str, str, int]  # group id, topic, partition


class Sweep:
    """Groups and their offsets, to be looked at some at a time: the groups as they were when it began."""

    def __init__(self, group_ids: Iterable[str], places_of: Callable[[str], Iterable[tuple[str, int]]]) -> None:
        """`places_of` a group are asked for when it is its turn."""
        self._groups = deque(group_ids)
        self._places_of = places_of
        self._group_id = ""
        self._places: list[tuple[str, int]] = []

    @property
    def is_done(self) -> bool:
        return not self._groups and not self._places

    def some(self, count: int) -> Iterator[tuple[str, list[tuple[str, int]], bool]]:
        """About `count` more: (group id, some of its places, whether these were the last)."""
        while count > 0 and not self.is_done:
            if not self._places:
                self._group_id = self._groups.popleft()
                self._places = list(self._places_of(self._group_id))
            places = self._places[-count:]
            del self._places[-count:]
            count -= len(places) + 1
            yield self._group_id, places, not self._places


class DeletedTopics(NamedTuple):
    """Topics that are gone, and who may have offsets for them. What came after `sequence` is for topics made anew."""

    sequence: int
    sweep: Sweep


class Offsets:
    """See the head of this module. A part of the shard."""

    def __init__(self, shard: GroupShard, config: OffsetsConfig, topics: TopicCatalog) -> None:
        self.shard = shard
        self.config = config
        self.topics = topics
        self.count = 0
        self._sequence = 0
        self._offsets: dict[str, dict[str, dict[int, CommittedOffset]]] = {}
        self._pending: dict[int, dict[Place, CommittedOffset]] = {}
        self._open: dict[str, dict[tuple[str, int], set[int]]] = {}  # group id -> place in it -> producer ids
        self._expiring: Sweep | None = None
        self._deleted_topics: deque[DeletedTopics] = deque()

    # the shard's part

    def replays(self) -> Mapping[type, Replay]:
        return {OffsetCommitKey: self._replay_offset}

    def loaded(self, now_ms: int, effects: Effects) -> None:
        self._plan_expiry(now_ms)
        self._deleted_topics.append(
            DeletedTopics(self._sequence, Sweep(self.group_ids(), self._places_without_their_topic))
        )
        self._forget_deleted_topics(now_ms, effects)

    def unloaded(self, effects: Effects) -> None:
        """Nobody waits for offsets."""

    def _replay_offset(self, record: Record) -> None:
        place = (record.key.group, record.key.topic, record.key.partition)
        value = record.value
        if value is None:
            self._drop(place)
            for producer_id in self._open.get(place[0], {}).get(place[1:], ()):
                self._pending.get(producer_id, {}).pop(place, None)
            self._close(place, None)
            return
        if place[0] not in self.shard.groups:
            self.shard.groups[place[0]] = ClassicGroup(place[0])  # simple: of consumers that never join
        self._sequence += 1
        committed = CommittedOffset(
            self._sequence,
            value.offset,
            value.leader_epoch,
            value.metadata,
            value.commit_timestamp,
            value.expire_timestamp,
            value.topic_id,
        )
        if record.producer_id == NO_PRODUCER_ID:
            self._put(place, committed)
        else:
            self._pending.setdefault(record.producer_id, {})[place] = committed
            self._open.setdefault(place[0], {}).setdefault(place[1:], set()).add(record.producer_id)

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        for place, offset in self._pending.pop(producer_id, {}).items():
            self._close(place, producer_id)
            before = self.of(*place)
            if committed and (before is None or offset.sequence > before.sequence):
                if place[0] not in self.shard.groups:
                    self.shard.groups[place[0]] = ClassicGroup(place[0])
                self._put(place, offset)

    def _put(self, place: Place, committed: CommittedOffset) -> None:
        partitions = self._offsets.setdefault(place[0], {}).setdefault(place[1], {})
        self.count += place[2] not in partitions
        partitions[place[2]] = committed

    def _drop(self, place: Place) -> None:
        group_id, topic, partition = place
        topics = self._offsets.get(group_id, {})
        partitions = topics.get(topic, {})
        if partitions.pop(partition, None) is None:
            return
        self.count -= 1
        if not partitions:
            del topics[topic]
        if not topics:
            del self._offsets[group_id]

    def _close(self, place: Place, producer_id: int | None) -> None:
        """The producer, or no producer at all, has an open transaction with an offset for this place any longer."""
        places = self._open.get(place[0])
        if places is None:
            return
        producer_ids = places.get(place[1:], set())
        if producer_id is not None:
            producer_ids.discard(producer_id)
        if producer_id is None or not producer_ids:
            places.pop(place[1:], None)
        if not places:
            del self._open[place[0]]

    # questions

    def topic_id_of(self, topic: str) -> bytes:
        """The id of the topic that has this name now; ZERO_UUID where there is none."""
        found = self.topics.by_name(topic)
        return ZERO_UUID if found is None else found.topic_id

    def of(self, group_id: str, topic: str, partition: int) -> CommittedOffset | None:
        """What the group has committed for the partition."""
        return self._offsets.get(group_id, {}).get(topic, {}).get(partition)

    def of_group(self, group_id: str) -> Mapping[str, Mapping[int, CommittedOffset]]:
        """All that the group has committed: topic -> partition -> offset."""
        return self._offsets.get(group_id, {})

    def is_unstable(self, group_id: str, topic: str, partition: int) -> bool:
        """Whether an open transaction may change what is committed for the partition."""
        return (topic, partition) in self._open.get(group_id, {})

    def pending_of(self, producer_id: int) -> Mapping[Place, CommittedOffset]:
        """What the producer's open transaction would commit."""
        return self._pending.get(producer_id, {})

    def group_ids(self) -> list[str]:
        """Groups with offsets, committed or in open transactions."""
        return list(dict.fromkeys([*self._offsets, *self._open]))

    def places_of(self, group_id: str) -> Iterator[tuple[str, int]]:
        """Every partition for which the group has an offset, committed or in an open transaction; each once."""
        for topic, partitions in self._offsets.get(group_id, {}).items():
            for partition in partitions:
                yield topic, partition
        for topic, partition in self._open.get(group_id, {}):
            if self.of(group_id, topic, partition) is None:
                yield topic, partition

    # what is forgotten

    def delete(self, group_id: str, places: Iterable[tuple[str, int]], effects: Effects) -> int:
        """Write tombstones; returns how many."""
        places = list(places)
        for topic, partition in places:
            effects.write(OffsetCommitKey(group=group_id, topic=topic, partition=partition), None)
        return len(places)

    def _plan_expiry(self, now_ms: int) -> None:
        self.shard.timers.schedule(RETENTION_TIMER, now_ms + self.config.retention_check_interval_ms, self.expire)

    def expire(self, now_ms: int, effects: Effects) -> None:
        """Forget what has been kept long enough, and groups that are empty and have nothing left."""
        sweep = self._expiring = self._expiring or Sweep(self.shard.groups, self._places_that_expire)
        deleted = 0
        for group_id, places, is_last in sweep.some(LOOKED_AT_A_TIME):
            group = self.shard.groups.get(group_id)
            if group is None or not group.expires():
                continue
            expired = [place for place in places if self._is_to_go(group, *place, now_ms)]
            deleted += self.delete(group_id, expired, effects)
            if is_last and group.is_empty() and not any(True for _ in self.places_of(group_id)):
                group.write_tombstones(effects)
                logger.info("group forgotten", group=group_id)
        if deleted:
            self.shard.metrics.offset_expirations += deleted
            logger.info("offsets expired", partition=self.shard.partition, offsets=deleted)
        if sweep.is_done:
            self._expiring = None
            self._plan_expiry(now_ms)
        else:
            self.shard.timers.schedule(RETENTION_TIMER, now_ms + PAUSE_MS, self.expire)

    def _places_that_expire(self, group_id: str) -> Iterator[tuple[str, int]]:
        group = self.shard.groups.get(group_id)
        if group is None or not group.expires():
            return
        for topic, partitions in self.of_group(group_id).items():
            if not group.is_subscribed_to(topic):
                for partition in partitions:
                    yield topic, partition

    def _is_to_go(self, group: Group, topic: str, partition: int, now_ms: int) -> bool:
        committed = self.of(group.group_id, topic, partition)
        return (
            committed is not None
            and not group.is_subscribed_to(topic)
            and self._has_expired(group, committed, now_ms)
            and not self.is_unstable(group.group_id, topic, partition)
        )

    def _has_expired(self, group: Group, committed: CommittedOffset, now_ms: int) -> bool:
        base_ms = group.retention_base_ms(committed.commit_timestamp_ms)
        if base_ms is None:
            return False
        if committed.expire_timestamp_ms != NO_TIMESTAMP:
            return now_ms >= committed.expire_timestamp_ms
        return now_ms - base_ms >= self.config.retention_ms

    def topics_deleted(self, names: Collection[str], now_ms: int, effects: Effects) -> None:
        """Topics are gone: so is what anybody has committed for them."""
        gone = frozenset(names)
        sweep = Sweep(self.group_ids(), lambda group_id: self._places_in(group_id, gone))
        self._deleted_topics.append(DeletedTopics(self._sequence, sweep))
        self._forget_deleted_topics(now_ms, effects)

    def _forget_deleted_topics(self, now_ms: int, effects: Effects) -> None:
        sequence, sweep = self._deleted_topics[0]
        for group_id, places, _ in sweep.some(LOOKED_AT_A_TIME):
            gone = [place for place in places if (last := self._newest(group_id, place)) and last.sequence <= sequence]
            self.delete(group_id, gone, effects)
        if sweep.is_done:
            self._deleted_topics.popleft()
        if self._deleted_topics:
            self.shard.timers.schedule(DELETED_TOPICS_TIMER, now_ms + PAUSE_MS, self._forget_deleted_topics)

    def _places_in(self, group_id: str, topics: frozenset[str]) -> Iterator[tuple[str, int]]:
        committed = self.of_group(group_id)
        for topic in committed.keys() & topics:
            for partition in committed[topic]:
                yield topic, partition
        for place in self._open.get(group_id, ()):
            if place[0] in topics and self.of(group_id, *place) is None:
                yield place

    def _places_without_their_topic(self, group_id: str) -> Iterator[tuple[str, int]]:
        for place in self.places_of(group_id):
            last, topic = self._newest(group_id, place), self.topics.by_name(place[0])
            if topic is None or (last is not None and last.is_of_another_topic(topic.topic_id)):
                yield place

    def _newest(self, group_id: str, place: tuple[str, int]) -> CommittedOffset | None:
        """What came last for a place, committed or in an open transaction."""
        committed = self.of(group_id, *place)
        pending = [
            self._pending[producer_id][group_id, *place] for producer_id in self._open.get(group_id, {}).get(place, ())
        ]
        return max(pending if committed is None else [committed, *pending], key=_sequence_of, default=None)


def _sequence_of(committed: CommittedOffset) -> int:
    return committed.sequence
