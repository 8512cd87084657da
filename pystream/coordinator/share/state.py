"""ShareState: what is stored of one share partition, and how what is written later is merged into it.

    stored   [0..9 acknowledged][10..19 available, 1]             start offset 0
    written        [5..14 archived]                               start offset 5
    stored         [5..14 archived][15..19 available, 1]          start offset 5

The log of `__share_group_state` holds snapshots (all of a state) and updates (what changed since); both are read back
with the functions here, so that what is in memory is what the log says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pystream.common.model import uuid_text
from pystream.coordinator.share.partition import StateBatch
from pystream.coordinator.share.runs import RecordState
from pystream.protocol.coordinator_records import share_snapshot, share_update

UNKNOWN_COUNT = -1  # of deliveries completed: never told
STORED_STATES = {int(state): state for state in RecordState if state is not RecordState.ACQUIRED}


class ShareKey(NamedTuple):
    """A share partition: one partition of a topic as one group sees it."""

    group_id: str
    topic_id: bytes
    partition: int

    def __str__(self) -> str:
        """By which its coordinator is found, as FindCoordinator is asked for it."""
        return f"{self.group_id}:{uuid_text(self.topic_id)}:{self.partition}"


@dataclass(frozen=True, slots=True)
class ShareState:
    """`snapshot_epoch` counts snapshots; `state_epoch` grows when an administrator sets the state anew."""

    state_epoch: int
    start_offset: int
    snapshot_epoch: int = 0
    leader_epoch: int = 0
    delivery_complete_count: int = UNKNOWN_COUNT
    create_timestamp: int = 0
    write_timestamp: int = 0
    batches: tuple[StateBatch, ...] = ()

    def updated(self, value: share_update.ShareUpdateValue) -> ShareState:
        """The state after an update: its batches win over what was there, and what lies before the start goes.

        Writes of one leader may overtake one another, so a start offset that lies before is not taken.
        """
        start_offset = max(self.start_offset, value.start_offset)
        return replace(
            self,
            leader_epoch=max(self.leader_epoch, value.leader_epoch),
            start_offset=start_offset,
            delivery_complete_count=value.delivery_complete_count,
            batches=merged(self.batches, batches_of(value.state_batches), start_offset),
        )

    def snapshot(self, now_ms: int) -> share_snapshot.ShareSnapshotValue:
        """The record of all of it, under the next snapshot epoch."""
        return share_snapshot.ShareSnapshotValue(
            snapshot_epoch=self.snapshot_epoch + 1,
            state_epoch=self.state_epoch,
            leader_epoch=self.leader_epoch,
            start_offset=self.start_offset,
            delivery_complete_count=self.delivery_complete_count,
            create_timestamp=self.create_timestamp,
            write_timestamp=now_ms,
            state_batches=[
                share_snapshot.StateBatch(
                    first_offset=batch.first,
                    last_offset=batch.last,
                    delivery_state=batch.state,
                    delivery_count=batch.delivery_count,
                )
                for batch in self.batches
            ],
        )


def from_snapshot(value: share_snapshot.ShareSnapshotValue) -> ShareState:
    """The state that a snapshot tells."""
    return ShareState(
        snapshot_epoch=value.snapshot_epoch,
        state_epoch=value.state_epoch,
        leader_epoch=value.leader_epoch,
        start_offset=value.start_offset,
        delivery_complete_count=value.delivery_complete_count,
        create_timestamp=value.create_timestamp,
        write_timestamp=value.write_timestamp,
        batches=merged((), batches_of(value.state_batches), value.start_offset),
    )


def batches_of(batches: Iterable[Any]) -> list[StateBatch]:
    """The batches of a request or a record, by their offsets. One that is acquired is available: nobody remembers."""
    found = [
        StateBatch(
            batch.first_offset,
            batch.last_offset,
            STORED_STATES.get(batch.delivery_state, RecordState.AVAILABLE),
            batch.delivery_count,
        )
        for batch in batches
    ]
    return sorted(batch for batch in found if batch.first <= batch.last)


def merged(stored: Sequence[StateBatch], written: Sequence[StateBatch], start_offset: int) -> tuple[StateBatch, ...]:
    """Both, in order and without overlaps: what is written wins. Equal neighbours become one. Nothing before the start.

    Both are in order; of two written batches that overlap the later one keeps what the earlier leaves it.
    """
    pieces: list[StateBatch] = []
    end = start_offset
    for batch in written:
        first = max(batch.first, end)
        if first <= batch.last:
            pieces.append(batch._replace(first=first))
            end = batch.last + 1
    kept = list(_without(stored, pieces, start_offset))
    joined: list[StateBatch] = []
    for piece in sorted([*pieces, *kept]):
        before = joined[-1] if joined else None
        if before is not None and before.last + 1 == piece.first and before[2:] == piece[2:]:
            joined[-1] = before._replace(last=piece.last)
        else:
            joined.append(piece)
    return tuple(joined)


def _without(stored: Sequence[StateBatch], written: Sequence[StateBatch], start_offset: int) -> Iterable[StateBatch]:
    """What of `stored` is from `start_offset` on and in none of `written`."""
    index = 0
    for batch in stored:
        first = max(batch.first, start_offset)
        while index < len(written) and written[index].last < first:
            index += 1
        at = index
        while at < len(written) and written[at].first <= batch.last and first <= batch.last:
            if first < written[at].first:
                yield batch._replace(first=first, last=written[at].first - 1)
            first = max(first, written[at].last + 1)
            at += 1
        if first <= batch.last:
            yield batch._replace(first=first)
