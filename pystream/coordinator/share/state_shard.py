"""ShareStateShard: one partition of __share_group_state in memory, and the operations of keys 83 to 87 on it.

Each operation is for one share partition, and answers a `Result` of what that request's response has for a partition.
Only initialised share partitions can be read and written (the group coordinator initialises them). Of two leaders of a
partition the one with the older leader epoch is fenced; an administrator's new state epoch fences all before it.

    read with a newer leader epoch -> a snapshot, so that the older leader's writes are refused from then on
    write                          -> an update, after `updates_per_snapshot` of them a snapshot
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import NamedTuple

from pystream.common.error_codes import FENCED_LEADER_EPOCH, FENCED_STATE_EPOCH, INVALID_REQUEST, NONE
from pystream.common.logging import get_logger
from pystream.coordinator.machine import Effects, Record, Ticket, Timers
from pystream.coordinator.share.partition import NO_START_OFFSET, StateBatch
from pystream.coordinator.share.state import UNKNOWN_COUNT, ShareKey, ShareState, from_snapshot
from pystream.protocol.coordinator_records.share_snapshot import ShareSnapshotKey, ShareSnapshotValue
from pystream.protocol.coordinator_records.share_update import ShareUpdateKey, ShareUpdateValue
from pystream.protocol.coordinator_records.share_update import StateBatch as UpdateBatch

logger = get_logger(__name__)

NO_EPOCH = -1
NEVER_STORED = ShareState(state_epoch=0, start_offset=NO_START_OFFSET)


class Result(NamedTuple):
    """What became of one share partition's request."""

    state: ShareState = NEVER_STORED
    error_code: int = NONE
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """What a leader writes. NO_START_OFFSET: it has not moved; NO_EPOCH: not checked."""

    state_epoch: int
    leader_epoch: int
    start_offset: int
    delivery_complete_count: int
    batches: Collection[StateBatch]


Operation = Callable[["ShareStateShard", Ticket, int, Effects], None]


class ShareStateShard:
    """See the head of this module."""

    def __init__(self, updates_per_snapshot: int) -> None:
        self.timers = Timers()
        self.states: dict[ShareKey, ShareState] = {}
        self._updates: dict[ShareKey, int] = {}
        self._updates_per_snapshot = updates_per_snapshot

    def replay(self, record: Record) -> None:
        """Take a record in, fresh or read from the log."""
        key = record.key
        if isinstance(key, ShareSnapshotKey):
            self._replay_snapshot(ShareKey(key.group_id, key.topic_id, key.partition), record.value)
        elif isinstance(key, ShareUpdateKey):
            self._replay_update(ShareKey(key.group_id, key.topic_id, key.partition), record.value)
        else:
            logger.limited("share state record passed over", key=type(key).__name__)

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        """Nobody writes to this topic in a transaction."""

    def loaded(self, now_ms: int, effects: Effects) -> None:
        """Nothing is timed here."""

    def unloaded(self, effects: Effects) -> None:
        """Nobody waits here."""

    def wants_snapshot(self, key: ShareKey) -> bool:
        """Whether so many updates have been written that the next record is to be a snapshot."""
        return self._updates.get(key, 0) >= self._updates_per_snapshot

    def _replay_snapshot(self, key: ShareKey, value: ShareSnapshotValue | None) -> None:
        self._updates.pop(key, None)
        if value is None:
            self.states.pop(key, None)
        else:
            self.states[key] = from_snapshot(value)

    def _replay_update(self, key: ShareKey, value: ShareUpdateValue | None) -> None:
        state = self.states.get(key)
        if state is None or value is None:
            logger.limited("share state update without a snapshot", key=str(key))
            return
        self._updates[key] = self._updates.get(key, 0) + 1
        self.states[key] = state.updated(value)


def initialize(key: ShareKey, *, state_epoch: int, start_offset: int) -> Operation:
    """Begin a state, or begin it anew under a later state epoch. NO_START_OFFSET: its first leader finds one."""

    def operation(shard: ShareStateShard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
        known = shard.states.get(key)
        refused = _malformed(key)
        if refused is None and known is not None and state_epoch != NO_EPOCH and state_epoch < known.state_epoch:
            refused = Result(error_code=FENCED_STATE_EPOCH)
        if refused is not None:
            effects.answer(ticket, refused)
            return
        before = NO_EPOCH if known is None else known.snapshot_epoch
        fresh = ShareState(
            snapshot_epoch=before,
            state_epoch=state_epoch,
            leader_epoch=0 if known is None else known.leader_epoch,
            start_offset=start_offset,
            delivery_complete_count=UNKNOWN_COUNT if start_offset == NO_START_OFFSET else 0,
            create_timestamp=now_ms,
        )
        effects.write(_snapshot_key(key), fresh.snapshot(now_ms))
        effects.answer(ticket, Result(shard.states[key]))

    return operation


def read(key: ShareKey, *, leader_epoch: int) -> Operation:
    """The state, for a new leader of the partition: older ones can write no more."""

    def operation(shard: ShareStateShard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
        refused = _refused(shard, key, leader_epoch, "read")
        if refused is not None:
            effects.answer(ticket, refused)
            return
        state = shard.states[key]
        if leader_epoch > state.leader_epoch:
            effects.write(_snapshot_key(key), replace(state, leader_epoch=leader_epoch).snapshot(now_ms))
        effects.answer(ticket, Result(shard.states[key]))

    return operation


def write(key: ShareKey, change: Write) -> Operation:
    """Store what a leader tells."""

    def operation(shard: ShareStateShard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
        refused = _refused(shard, key, change.leader_epoch, "write")
        if refused is None and NO_EPOCH != change.state_epoch < shard.states[key].state_epoch:
            refused = Result(error_code=FENCED_STATE_EPOCH)
        if refused is not None:
            effects.answer(ticket, refused)
            return
        state = shard.states[key]
        update = ShareUpdateValue(
            snapshot_epoch=state.snapshot_epoch,
            leader_epoch=max(change.leader_epoch, state.leader_epoch),
            start_offset=change.start_offset,
            delivery_complete_count=change.delivery_complete_count,
            state_batches=[
                UpdateBatch(
                    first_offset=b.first, last_offset=b.last, delivery_state=b.state, delivery_count=b.delivery_count
                )
                for b in change.batches
            ],
        )
        state_epoch = max(change.state_epoch, state.state_epoch)
        if shard.wants_snapshot(key) or change.leader_epoch > state.leader_epoch or state_epoch > state.state_epoch:
            whole = replace(state.updated(update), state_epoch=state_epoch)
            effects.write(_snapshot_key(key), whole.snapshot(now_ms))
        else:
            effects.write(ShareUpdateKey(group_id=key.group_id, topic_id=key.topic_id, partition=key.partition), update)
        effects.answer(ticket, Result(shard.states[key]))

    return operation


def delete(key: ShareKey) -> Operation:
    """Forget the state; one that is not there is forgotten already."""

    def operation(shard: ShareStateShard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
        refused = _malformed(key)
        if refused is None and key in shard.states:
            effects.write(_snapshot_key(key), None)
        effects.answer(ticket, refused or Result())

    return operation


def summary(key: ShareKey) -> Operation:
    """The state, for somebody who is not its leader; without any, NEVER_STORED."""

    def operation(shard: ShareStateShard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
        effects.answer(ticket, _malformed(key) or Result(shard.states.get(key, NEVER_STORED)))

    return operation


def snapshot(keys: Collection[ShareKey]) -> Operation:
    """Write states anew: what the log holds of them from before is needed no more."""

    def operation(shard: ShareStateShard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
        for key in keys:
            state = shard.states.get(key)
            if state is not None:
                effects.write(_snapshot_key(key), state.snapshot(now_ms))
        effects.answer(ticket, Result())

    return operation


def forget_topics(topic_ids: Collection[bytes]) -> Operation:
    """Forget the states of topics that were deleted."""

    def operation(shard: ShareStateShard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
        gone = [key for key in shard.states if key.topic_id in topic_ids]
        for key in gone:
            effects.write(_snapshot_key(key), None)
        effects.answer(ticket, Result())

    return operation


def _snapshot_key(key: ShareKey) -> ShareSnapshotKey:
    return ShareSnapshotKey(group_id=key.group_id, topic_id=key.topic_id, partition=key.partition)


def _malformed(key: ShareKey) -> Result | None:
    if key.partition < 0:
        return Result(error_code=INVALID_REQUEST, error_message="The partition id cannot be a negative number.")
    return None


def _refused(shard: ShareStateShard, key: ShareKey, leader_epoch: int, what: str) -> Result | None:
    """Why a leader may not read or write; None when it may."""
    malformed = _malformed(key)
    if malformed is not None:
        return malformed
    state = shard.states.get(key)
    if state is None:
        message = f"{what} operation on uninitialized share partition not allowed."
        return Result(error_code=INVALID_REQUEST, error_message=message.capitalize())
    if NO_EPOCH != leader_epoch < state.leader_epoch:
        return Result(error_code=FENCED_LEADER_EPOCH)
    return None
