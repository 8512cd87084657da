"""The coordinators' runtime: batches, answers that wait, failures, timers, loading and leaving."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pystream.common.clock import ManualClock
from pystream.common.errors import (
    CoordinatorLoadInProgress,
    CoordinatorNotAvailable,
    KafkaStorageError,
    NotCoordinator,
)
from pystream.common.tasks import Supervisor
from pystream.coordinator.keys import PartitionKeys, java_hash
from pystream.coordinator.machine import NO_PRODUCER_ID, Effects, Record, Ticket, Timers
from pystream.coordinator.ports import DataBatch, MarkerBatch
from pystream.coordinator.runtime import FIRST_RELOAD_DELAY_MS, PATIENCE_MS, CoordinatorRuntime
from pystream.protocol.coordinator_records.codec import RecordCodec
from pystream.protocol.coordinator_records.offset_commit import OffsetCommitKey, OffsetCommitValue
from tests.support.coordinator_log import MemoryLog

TOPIC = "__consumer_offsets"
WRITE_TIMEOUT_MS = 5_000


class Shard:
    """Offsets by topic; those of open transactions wait in `pending`."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.timers = Timers()
        self.offsets: dict[str, int] = {}
        self.pending: dict[int, dict[str, int]] = {}
        self.waiting: list[Ticket] = []
        self.loaded_at_ms: int | None = None

    def replay(self, record: Record) -> None:
        into = self.offsets
        if record.producer_id != NO_PRODUCER_ID:
            into = self.pending.setdefault(record.producer_id, {})
        if record.value is None:
            into.pop(record.key.topic, None)
        else:
            into[record.key.topic] = record.value.offset

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        found = self.pending.pop(producer_id, {})
        if committed:
            self.offsets.update(found)

    def loaded(self, now_ms: int, effects: Effects) -> None:
        self.loaded_at_ms = now_ms

    def unloaded(self, effects: Effects) -> None:
        for ticket in self.waiting:
            effects.answer(ticket, "gone")


Operation = Callable[[Shard, Ticket, int, Effects], None]


def commit(topic: str, offset: int, *, at_once: bool = False, patient: bool = False, **producer: int) -> Operation:
    def operation(shard: Shard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
        effects.write(
            OffsetCommitKey(group="g", topic=topic), OffsetCommitValue(offset=offset), patient=patient, **producer
        )
        effects.answer(ticket, f"{topic}={offset}", at_once=at_once)

    return operation


def read(*, at_once: bool = False) -> Operation:
    def operation(shard: Shard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
        effects.answer(ticket, dict(shard.offsets), at_once=at_once)

    return operation


def wait(shard: Shard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
    shard.waiting.append(ticket)


def forget(shard: Shard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
    """Leaves its request without an answer."""


def answer_waiting(shard: Shard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
    for waiting in shard.waiting:
        effects.answer(waiting, "joined")
    shard.waiting.clear()
    effects.answer(ticket, "done")


class Rig:
    """A runtime over a log in memory."""

    def __init__(self, log: MemoryLog, supervisor: Supervisor, clock: ManualClock) -> None:
        self.log = log
        self.clock = clock
        self.runtime = CoordinatorRuntime(TOPIC, Shard, log, log, clock, supervisor, write_timeout_ms=WRITE_TIMEOUT_MS)
        self.runtime.set_partition_count(3)

    def commit(self) -> None:
        self.runtime.committed(0, self.log.commit(0))

    def submit(self, operation: Operation) -> Any:
        return self.runtime.submit(0, operation)

    async def advance(self, ms: int) -> None:
        self.clock.advance(ms)
        await turns()

    @property
    def shard(self) -> Shard:
        found = self.runtime.shard(0)
        assert found is not None
        return found


async def turns(count: int = 10) -> None:
    """Let everything that can go on go on."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        turned: asyncio.Future[None] = loop.create_future()
        loop.call_soon(turned.set_result, None)
        await turned


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that awaits, as pytest can call it."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@asynccontextmanager
async def rig(log: MemoryLog | None = None) -> AsyncIterator[Rig]:
    """With partition 0 loaded."""
    clock = ManualClock()
    async with Supervisor("test", clock) as supervisor:
        made = Rig(log or MemoryLog(commits_at_once=False), supervisor, clock)
        made.runtime.load(0)
        await turns()
        yield made
        assert supervisor.failure is None


@in_a_loop
async def test_the_records_of_a_turn_go_out_in_one_batch():
    async with rig() as found:
        pending = [found.submit(commit(f"t{number}", number)) for number in range(5)]
        await turns()
        assert found.log.appends == 1
        assert [len(batch.records) for batch in found.log.batches[0]] == [5]
        assert not any(future.done() for future in pending)
        found.commit()
        assert [await future for future in pending] == [f"t{number}={number}" for number in range(5)]


@in_a_loop
async def test_an_answer_is_plain_where_nothing_waits_to_be_committed():
    async with rig() as found:
        assert found.submit(read()) == {}


@in_a_loop
async def test_a_read_waits_for_what_it_has_seen():
    async with rig() as found:
        written = found.submit(commit("t", 7))
        seen_before_append = found.submit(read())
        await turns()
        seen_after_append = found.submit(read())
        assert not seen_before_append.done()
        assert not seen_after_append.done()
        found.commit()
        assert await written == "t=7"
        assert await seen_before_append == await seen_after_append == {"t": 7}
        assert found.submit(read()) == {"t": 7}


@in_a_loop
async def test_an_answer_at_once_does_not_wait():
    async with rig() as found:
        assert found.submit(commit("t", 7, at_once=True)) == "t=7"
        assert found.submit(read(at_once=True)) == {"t": 7}


@in_a_loop
async def test_answers_are_released_as_far_as_the_high_watermark_goes():
    async with rig() as found:
        first = found.submit(commit("a", 1))
        await turns()
        high_watermark = found.log.commit(0)
        second = found.submit(commit("b", 2))
        found.runtime.committed(0, high_watermark)
        await turns()
        assert await first == "a=1"
        assert not second.done()
        found.commit()
        assert await second == "b=2"


@in_a_loop
async def test_a_request_that_waits_is_answered_by_another():
    async with rig() as found:
        joined = found.submit(wait)
        await turns()
        assert not joined.done()
        assert found.submit(answer_waiting) == "done"
        assert await joined == "joined"


@in_a_loop
async def test_records_of_a_transaction_go_out_in_batches_of_their_own():
    async with rig() as found:
        found.submit(commit("a", 1))
        found.submit(commit("b", 2, producer_id=9, producer_epoch=3))
        found.submit(commit("c", 3, producer_id=9, producer_epoch=3))
        found.submit(commit("d", 4))
        await turns()
        assert found.log.appends == 1
        assert [(len(batch.records), batch.producer_id, batch.producer_epoch) for batch in found.log.batches[0]] == [
            (1, -1, -1),
            (2, 9, 3),
            (1, -1, -1),
        ]


@in_a_loop
async def test_a_marker_follows_what_was_written_before_it_and_ends_the_transaction():
    async with rig() as found:
        found.submit(commit("b", 2, producer_id=9, producer_epoch=3))
        done = found.runtime.write_marker(0, 9, 3, committed=True, coordinator_epoch=5)
        assert found.shard.offsets == {"b": 2}
        assert found.log.batches[0][1] == MarkerBatch(9, 3, True, 5)
        await turns()
        assert not done.done()
        found.commit()
        await done


def test_cancelled_timers_do_not_pile_up():
    timers = Timers()
    ran: list[str] = []
    timers.schedule("kept", 5, lambda now_ms, effects: ran.append("kept"))
    for number in range(10_000):
        timers.schedule("often", 1_000_000 - number, lambda now_ms, effects: ran.append("often"))
        if number % 2:
            timers.cancel("often")
    timers.schedule("often", 7, lambda now_ms, effects: ran.append("often"))
    assert sys.getsizeof(timers._heap) < 10_000
    for operation in timers.due(10):
        operation(10, Effects(lambda record: None))
    assert ran == ["kept", "often"]


@in_a_loop
async def test_timers_run_when_they_are_due_and_their_answers_are_given():
    async with rig() as found:
        ran: list[int] = []

        def time_out(now_ms: int, effects: Effects) -> None:
            ran.append(now_ms)
            for ticket in found.shard.waiting:
                effects.answer(ticket, "late")

        def schedule(shard: Shard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
            shard.timers.schedule("session", now_ms + 100, time_out)
            shard.waiting.append(ticket)

        began_ms = found.runtime.now_ms()
        future = found.submit(schedule)
        await turns()
        await found.advance(99)
        assert ran == []
        await found.advance(1)
        assert ran == [began_ms + 100]
        assert await future == "late"


@in_a_loop
async def test_an_earlier_timer_is_not_missed_and_a_later_one_still_comes():
    async with rig() as found:
        ran: list[str] = []

        def schedule(name: str, delay_ms: int) -> Operation:
            def operation(shard: Shard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
                shard.timers.schedule(name, now_ms + delay_ms, lambda now_ms, effects: ran.append(name))
                effects.answer(ticket, None)

            return operation

        for name, delay_ms in (("late", 500), ("early", 10), ("put off", 20), ("put off", 300)):
            found.submit(schedule(name, delay_ms))
        for _ in range(50):
            await found.advance(10)
        assert ran == ["early", "put off", "late"]


@in_a_loop
async def test_a_timer_that_fails_leaves_its_neighbours_alone():
    async with rig() as found:
        ran: list[str] = []

        def fail(now_ms: int, effects: Effects) -> None:
            raise KeyError("bug")

        def schedule(shard: Shard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
            shard.timers.schedule("a", now_ms + 10, fail)
            shard.timers.schedule("b", now_ms + 10, lambda now_ms, effects: ran.append("b"))
            effects.answer(ticket, None)

        found.submit(schedule)
        await turns()
        await found.advance(10)
        assert ran == ["b"]


@in_a_loop
async def test_many_timers_due_at_once_all_run():
    async with rig() as found:
        ran: list[int] = []

        def schedule(shard: Shard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
            for number in range(1_000):
                shard.timers.schedule(number, now_ms + 10, lambda now_ms, effects: ran.append(now_ms))
            effects.answer(ticket, None)

        found.submit(schedule)
        await turns()
        await found.advance(10)
        await turns(50)
        assert len(ran) == 1_000


def log_of(*batches: Any) -> MemoryLog:
    log = MemoryLog()
    log.batches[0] = list(batches)
    log.commit(0)
    return log


def records(**offsets: int | None) -> list[tuple[bytes, bytes | None]]:
    codec = RecordCodec(TOPIC)
    return [
        codec.encode(
            OffsetCommitKey(group="g", topic=topic), None if value is None else OffsetCommitValue(offset=value)
        )
        for topic, value in offsets.items()
    ]


@in_a_loop
async def test_loading_replays_tombstones_and_transactions():
    log = log_of(
        DataBatch(records(kept=1, deleted=1)),
        DataBatch(records(committed=2), 7, 0),
        DataBatch(records(aborted=3), 8, 0),
        DataBatch(records(deleted=None, kept=5)),
        DataBatch(records(open=4), 9, 0),
        MarkerBatch(7, 0, True, 0),
        MarkerBatch(8, 0, False, 0),
    )
    async with rig(log) as found:
        assert found.shard.offsets == {"kept": 5, "committed": 2}
        assert found.shard.pending == {9: {"open": 4}}
        assert found.shard.loaded_at_ms == found.runtime.now_ms()
        assert found.runtime.loads.loaded == 1
        assert found.runtime.loads.records == 7


@in_a_loop
async def test_records_of_an_unknown_type_are_passed_over():
    log = log_of(DataBatch([(b"\x7f\xff", b"?"), *records(kept=1)]))
    async with rig(log) as found:
        assert found.shard.offsets == {"kept": 1}
        assert found.runtime.loads.unknown_records == 1


@in_a_loop
async def test_others_are_served_while_a_long_log_is_read():
    async with rig() as found:
        found.log.batches[1] = [DataBatch(records(**{f"t{number}": number for number in range(10_000)}))]
        found.runtime.load(1)
        with pytest.raises(CoordinatorLoadInProgress):
            found.runtime.submit(1, read())
        await turns()
        assert found.runtime.shard(1) is None
        assert found.submit(read()) == {}
        await turns(200)
        assert len(found.runtime.shard(1).offsets) == 10_000


@in_a_loop
async def test_what_was_read_but_is_not_committed_yet_is_told_once_it_is():
    async with rig() as found:
        found.log.batches[1] = [DataBatch(records(t=1))]
        found.runtime.load(1)
        await turns()
        future = found.runtime.submit(1, read())
        assert not future.done()
        found.runtime.committed(1, 1)
        assert await future == {"t": 1}


@in_a_loop
async def test_a_log_that_cannot_be_read_is_tried_again():
    log = log_of(DataBatch(records(kept=1)))
    log.read_error = KafkaStorageError("disk")
    async with rig(log) as found:
        with pytest.raises(CoordinatorLoadInProgress):
            found.submit(read())
        log.read_error = None
        await found.advance(FIRST_RELOAD_DELAY_MS)
        assert found.submit(read()) == {"kept": 1}
        assert found.runtime.loads.failed == 1


@in_a_loop
async def test_who_waits_is_sent_elsewhere_when_the_partition_goes():
    async with rig() as found:
        written = found.submit(commit("t", 1))
        joined = found.submit(wait)
        forgotten = found.submit(forget)
        found.runtime.unload(0)
        assert await joined == "gone"
        for future in (written, forgotten):
            with pytest.raises(NotCoordinator):
                await future
        with pytest.raises(NotCoordinator):
            found.submit(read())
        found.runtime.load(0)
        await turns()
        assert found.shard.offsets == {"t": 1}


@in_a_loop
async def test_without_a_topic_no_coordinator_is_available():
    async with rig() as found:
        found.runtime.set_partition_count(0)
        found.runtime.unload(0)
        with pytest.raises(CoordinatorNotAvailable):
            found.submit(read())
        with pytest.raises(CoordinatorNotAvailable):
            found.runtime.partition_for("g")


@in_a_loop
async def test_stopping_gives_what_is_committed_in_the_last_moment():
    async with rig() as found:
        written = found.submit(commit("t", 1))
        stopping = asyncio.ensure_future(found.runtime.stop())
        await turns()
        found.commit()
        await stopping
        assert await written == "t=1"
        assert list(found.runtime.active()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0), ("a", 97), ("consumer-group", -1738392088), ("𝄞", 1772394), ("polygenelubricants", -(1 << 31))],
)
def test_keys_are_hashed_as_java_hashes_strings(text, expected):
    assert java_hash(text) == expected


def test_the_partition_of_a_key_is_the_one_that_kafka_takes():
    keys = PartitionKeys()
    keys.partition_count = 50
    assert keys.partition_for("consumer-group") == 1738392088 % 50
    assert keys.partition_for("polygenelubricants") == 0


@in_a_loop
async def test_a_patient_record_is_written_with_what_comes_next() -> None:
    async with rig() as found:
        assert found.submit(commit("a", 1, at_once=True, patient=True)) == "a=1"
        await turns()
        assert found.log.end_offset(0) == 0
        answer = found.submit(commit("b", 2))
        await turns()
        assert len(found.log.batches[0]) == 1
        assert found.log.end_offset(0) == 2
        found.commit()
        assert await answer == "b=2"


@in_a_loop
async def test_a_patient_record_that_nothing_follows_is_written_by_itself() -> None:
    async with rig() as found:
        found.submit(commit("a", 1, at_once=True, patient=True))
        await turns()
        await found.advance(PATIENCE_MS)
        assert found.log.end_offset(0) == 1


@in_a_loop
async def test_an_answer_that_tells_of_a_patient_record_hurries_it_and_waits_for_it() -> None:
    async with rig() as found:
        found.submit(commit("a", 1, at_once=True, patient=True))
        answer = asyncio.ensure_future(found.submit(read()))
        await turns()
        assert found.log.end_offset(0) == 1
        assert not answer.done()
        found.commit()
        assert await answer == {"a": 1}
