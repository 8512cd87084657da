"""Random schedules of a share partition against a plain model: a dictionary of what became of each offset.

Two or three members acquire, acknowledge, renew, leave and let locks run out; the log grows, loses its beginning, and
has offsets without records; writes of the state succeed or fail, late and out of order; the broker crashes and reads
what was stored. No record is ever with two members, none comes back once its end was written, none is delivered more
often than the limit allows, the start offset never runs back, and in the end every record has found its end.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from pystream.common.errors import InvalidRecordState, InvalidRequest
from pystream.coordinator.share.partition import (
    Acknowledgement,
    AcknowledgeType,
    Limits,
    SharePartition,
    Span,
    Transition,
    Wanted,
)
from pystream.coordinator.share.runs import DELIVERED, RecordState
from pystream.coordinator.share.state import ShareState
from pystream.protocol.coordinator_records.share_update import ShareUpdateValue
from pystream.protocol.coordinator_records.share_update import StateBatch as UpdateBatch
from tests.support.schedules import PORTIONS, play_portion

SCHEDULES, FULL_SCHEDULES = 400, 100_000
STEPS = 60
LOCK_MS = 100
MEMBERS = ("ann", "ben", "cat")


@dataclass
class Fate:
    """What the model knows of one offset that was given out."""

    state: RecordState = RecordState.AVAILABLE
    count: int = 0
    member: str = ""
    deadline_ms: int = 0
    target: RecordState | None = None


class Stored:
    """What a crash leaves: the state that the share coordinator has put together from the writes."""

    def __init__(self, start_offset: int) -> None:
        self.state = ShareState(state_epoch=0, start_offset=start_offset)

    def write(self, transition: Transition) -> None:
        batches = [
            UpdateBatch(
                first_offset=b.first, last_offset=b.last, delivery_state=b.state, delivery_count=b.delivery_count
            )
            for b in transition.batches
        ]
        self.state = self.state.updated(
            ShareUpdateValue(
                start_offset=transition.start_offset,
                delivery_complete_count=transition.delivery_complete_count,
                state_batches=batches,
            )
        )

    def states(self) -> dict[int, tuple[RecordState, int]]:
        return {o: (b.state, b.delivery_count) for b in self.state.batches for o in range(b.first, b.last + 1)}


class Schedule:
    """One run: the machine, the model, the log and the store."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.limits = Limits(
            max_record_locks=self.random.choice([5, 20, 200]), delivery_count=self.random.choice([1, 2, 3, 5])
        )
        self.log: list[Span] = []
        self.log_start = self.log_end = self.random.choice([0, 7])
        self.missing: set[int] = set()  # offsets inside the log that are in no batch
        self.fates: dict[int, Fate] = {}
        self.stored = Stored(self.log_start)
        self.now_ms = 0
        self.unsettled: list[Transition] = []
        self.ended: set[int] = set()  # their end was written: nobody may have them again
        self.lowest_start = self.log_start
        self.partition = self.reload()

    def reload(self) -> SharePartition:
        state = self.stored.state
        return SharePartition(self.limits, start_offset=state.start_offset, batches=state.batches)

    # ---- steps

    def grow(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            size = self.random.randint(1, 8)
            if self.random.random() < 0.2:
                self.missing.update(range(self.log_end, self.log_end + size))
            else:
                self.log.append(Span(self.log_end, self.log_end + size - 1))
            self.log_end += size

    def acquire(self) -> None:
        fetch_offset = self.partition.next_fetch_offset()
        assert fetch_offset >= self.partition.start_offset
        limit = self.partition.fetch_limit()
        end = self.log_end if limit is None else min(limit, self.log_end)
        if self.random.random() < 0.5:
            end = min(end, fetch_offset + self.random.randint(1, 20))
        spans = [span for span in self.log if span.last >= fetch_offset and span.first < end]
        if fetch_offset >= end:
            return
        read_to = max(end, spans[-1].last + 1) if spans else end
        member = self.random.choice(MEMBERS)
        exact = self.random.random() < 0.4
        most = self.random.choice([1, 2, 5, 50])
        wanted = Wanted(member, most, self.random.choice([1, 3, 100]), exact, self.now_ms + LOCK_MS)
        acquired = self.partition.acquire(wanted, fetch_offset=fetch_offset, read_to=read_to, spans=spans)
        if exact:
            assert sum(found.last - found.first + 1 for found in acquired) <= most
        end_before = -1
        for found in acquired:
            assert end_before < found.first <= found.last, "ranges overlap"
            end_before = found.last
            for offset in range(found.first, found.last + 1):
                self.given(offset, member, found.delivery_count)

    def given(self, offset: int, member: str, delivery_count: int) -> None:
        fate = self.fates.setdefault(offset, Fate())
        assert any(span.first <= offset <= span.last for span in self.log), f"{offset} holds no record"
        assert offset >= self.log_start
        assert offset not in self.ended, f"{offset} came back after its end was written"
        assert fate.target is None, f"{offset} was given out while its state was being written"
        assert fate.state is RecordState.AVAILABLE, f"{offset} is with {fate.member}"
        assert delivery_count == fate.count + 1 <= self.limits.delivery_count
        fate.state, fate.count, fate.member = RecordState.ACQUIRED, delivery_count, member
        fate.deadline_ms = self.now_ms + LOCK_MS

    def held(self, member: str) -> list[int]:
        start = self.partition.start_offset
        return sorted(
            offset
            for offset, fate in self.fates.items()
            if fate.member == member and fate.state is RecordState.ACQUIRED and fate.target is None and offset >= start
        )

    def acknowledge(self) -> None:
        member = self.random.choice(MEMBERS)
        held = self.held(member)
        if not held:
            return
        first = self.random.choice(held)
        last = first
        while last + 1 in held and self.random.random() < 0.8:
            last += 1
        one_type = self.random.random() < 0.5
        types = [self.random.randint(0, 4) for _ in range(1 if one_type else last - first + 1)]
        said = Acknowledgement(first, last, types)
        transition = self.partition.acknowledge(member, [said], renew_until_ms=self.now_ms + 2 * LOCK_MS)
        for offset in range(first, last + 1):
            kind = AcknowledgeType(types[0] if one_type else types[offset - first])
            fate = self.fates[offset]
            if kind is AcknowledgeType.RENEW:
                fate.deadline_ms = self.now_ms + 2 * LOCK_MS
            else:
                fate.target = self.target(fate, kind)
        self.took(transition)

    def acknowledge_what_it_has_not(self) -> None:
        """All or nothing: one foreign record among the member's own, and nothing changes."""
        member = self.random.choice(MEMBERS)
        held = set(self.held(member))
        first = self.random.randint(max(self.partition.start_offset, 0), self.log_end + 3)
        last = first + self.random.randint(0, 5)
        if all(offset in held for offset in range(first, last + 1)):
            return
        with pytest.raises((InvalidRecordState, InvalidRequest)):
            self.partition.acknowledge(member, [Acknowledgement(first, last, [1])], renew_until_ms=0)

    def leave(self) -> None:
        member = self.random.choice(MEMBERS)
        held = self.held(member)
        transition = self.partition.release(member)
        for offset in held:
            self.fates[offset].target = self.target(self.fates[offset], AcknowledgeType.RELEASE)
        self.took(transition)

    def pass_time(self) -> None:
        self.now_ms += self.random.randint(1, LOCK_MS)
        due = [o for member in MEMBERS for o in self.held(member) if self.fates[o].deadline_ms <= self.now_ms]
        deadline_ms = self.partition.next_deadline_ms()
        assert bool(due) == (deadline_ms is not None and deadline_ms <= self.now_ms)
        transition = self.partition.expire(self.now_ms)
        for offset in due:
            self.fates[offset].target = self.target(self.fates[offset], AcknowledgeType.RELEASE)
        self.took(transition)

    def settle(self) -> None:
        if not self.unsettled:
            return
        transition = self.unsettled.pop(self.random.randrange(len(self.unsettled)))
        written = self.random.random() < 0.9
        if written or self.random.random() < 0.3:  # stored, and the word of it was lost
            self.stored.write(transition)
        self.partition.settle(transition, written=written, retry_ms=self.now_ms)
        for batch in transition.batches:
            for offset in range(batch.first, batch.last + 1):
                self.settled(self.fates[offset], offset, written)

    def settled(self, fate: Fate, offset: int, written: bool) -> None:
        target, fate.target = fate.target, None
        assert target is not None
        if not written:
            fate.deadline_ms = max(fate.deadline_ms, self.now_ms)
            return
        fate.state, fate.member = target, ""
        if target in DELIVERED:
            self.ended.add(offset)

    def cut_log(self) -> None:
        self.log_start = self.random.randint(self.log_start, self.log_end)
        self.log = [Span(max(s.first, self.log_start), s.last) for s in self.log if s.last >= self.log_start]
        self.partition.advance_log_start(self.log_start)

    def crash(self) -> None:
        """What was not written is forgotten; what was given out may be given out again."""
        for transition in self.unsettled:
            if self.random.random() < 0.5:  # written, and nobody was told
                self.stored.write(transition)
        self.unsettled.clear()
        self.fates = {o: Fate(state, count) for o, (state, count) in self.stored.states().items()}
        self.fates |= {o: Fate(RecordState.ARCHIVED) for o in range(self.stored.state.start_offset)}
        self.ended.update(o for o, fate in self.fates.items() if fate.state in DELIVERED)
        self.lowest_start = min(self.lowest_start, self.stored.state.start_offset)
        self.partition = self.reload()
        self.partition.advance_log_start(self.log_start)

    # ---- the model's rules

    def target(self, fate: Fate, kind: AcknowledgeType) -> RecordState:
        if kind is AcknowledgeType.ACCEPT:
            return RecordState.ACKNOWLEDGED
        if kind is AcknowledgeType.RELEASE and fate.count < self.limits.delivery_count:
            return RecordState.AVAILABLE
        return RecordState.ARCHIVED

    def took(self, transition: Transition | None) -> None:
        if transition is not None:
            self.unsettled.append(transition)

    def check(self) -> None:
        partition = self.partition
        assert partition.start_offset >= self.lowest_start, "the start offset ran back"
        self.lowest_start = partition.start_offset
        for offset in range(self.log_start, partition.start_offset):
            fate = self.fates.get(offset, Fate())
            assert fate.state in DELIVERED or offset not in self.existing(), f"the start offset passed over {offset}"
        expected = partition.start_offset
        for run in partition.runs:
            assert run.first == expected <= run.last, "runs leave a gap"
            expected = run.last + 1
        assert expected == partition.next_offset
        assert all(fate.count <= self.limits.delivery_count for fate in self.fates.values())

    def existing(self) -> set[int]:
        return {offset for span in self.log for offset in range(span.first, span.last + 1)}

    def run(self) -> None:
        steps = [self.grow, self.acquire, self.acquire, self.acknowledge, self.acknowledge, self.settle, self.settle]
        rare = [self.pass_time, self.leave, self.cut_log, self.crash, self.acknowledge_what_it_has_not, self.tell_start]
        for _ in range(STEPS):
            self.random.choice(steps if self.random.random() < 0.8 else rare)()
            self.check()
        self.finish()

    def tell_start(self) -> None:
        transition = self.partition.overdue()
        if transition is not None:
            assert not transition.batches
            self.stored.write(transition)
            self.partition.settle(transition, written=True)

    def finish(self) -> None:
        """All that is left is accepted by one member: then nothing is in flight."""
        while self.unsettled:
            self.settle()
        self.now_ms += 10 * LOCK_MS
        for _ in range(len(self.existing()) * self.limits.delivery_count + 10):
            self.pass_time()
            self.acquire()
            for member in MEMBERS:
                for offset in self.held(member):
                    said = Acknowledgement(offset, offset, [AcknowledgeType.ACCEPT])
                    self.took(self.partition.acknowledge(member, [said], renew_until_ms=0))
                    self.fates[offset].target = RecordState.ACKNOWLEDGED
            while self.unsettled:
                self.settle()
            self.check()
            if not (self.existing() - self.ended - set(range(self.partition.start_offset))):
                break
        assert self.partition.in_flight == 0 or self.partition.next_offset <= self.log_end
        left = {offset for offset in self.existing() if offset >= self.partition.start_offset}
        assert left <= self.ended


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_no_schedule_delivers_a_record_twice_at_once_or_after_its_end(full: bool, portion: int) -> None:
    play_portion(lambda seed: Schedule(seed).run(), portion, FULL_SCHEDULES if full else SCHEDULES)
