"""Runs the shards of one coordinator's topic: feeds them, writes their records, holds answers until they are committed.

    submit ── operation(shard, ticket, now, effects) ── answers at once ────────────────────────────► caller
                        │ records                     └ answers that must wait
                        ▼                                       ▼
              end of the loop's turn: one append ── end offset ── waits ── high watermark passes it ─► caller

    partition gained ── load: log -> Shard.replay ──► active ── unload, or a failed append ──► gone, or loaded anew

Everything here happens in one asyncio loop. A shard is in memory what its log is on disk: when an append fails, the
shard is ahead of its log, so it is thrown away and read again; its callers get errors that their clients retry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any, Generic, TypeVar

from pystream.common.clock import SECOND_MS, SleepingClock
from pystream.common.errors import (
    CoordinatorLoadInProgress,
    CoordinatorNotAvailable,
    InvalidProducerEpoch,
    KafkaError,
    LogMoving,
    NotCoordinator,
    PystreamError,
    TransactionCoordinatorFenced,
    UnknownRecord,
    UnknownServerError,
)
from pystream.common.logging import get_logger
from pystream.common.tasks import Supervisor, contained, contained_now
from pystream.coordinator.keys import PartitionKeys
from pystream.coordinator.machine import (
    NO_TICKET,
    Answer,
    Effects,
    Record,
    Shard,
    Ticket,
    TimedOperation,
)
from pystream.coordinator.ports import Batch, MarkerBatch, PartitionReader, PartitionWriter
from pystream.coordinator.served import FIRST_RELOAD_DELAY_MS, Held, LoadMetrics, Partition, fail
from pystream.coordinator.writing import WriteMetrics, Written, batches_of, error_of_append, is_marker
from pystream.protocol.coordinator_records.codec import RecordCodec

logger = get_logger(__name__)

S = TypeVar("S", bound=Shard)
REFUSED_MARKER = (InvalidProducerEpoch, TransactionCoordinatorFenced, LogMoving)
Operation = Callable[[S, Ticket, int, Effects], None]

RECORDS_AT_A_TIME = 128  # replayed before other tasks have their turn: about a millisecond
TIMERS_AT_A_TIME = 128
PARKED_MS = 5  # until a log that takes no writes is asked again
LONGEST_RELOAD_DELAY_MS = 30 * SECOND_MS
WRITE_TIMEOUT_MS = 5 * SECOND_MS  # Kafka: offsets.commit.timeout.ms
PATIENCE_MS = 5  # how long patient records wait for others to be written with


class CoordinatorRuntime(Generic[S]):
    """See the head of this module. Made once for each of the coordinators' topics."""

    def __init__(
        self,
        topic: str,
        make_shard: Callable[[int], S],
        writer: PartitionWriter,
        reader: PartitionReader,
        clock: SleepingClock,
        supervisor: Supervisor,
        *,
        write_timeout_ms: int = WRITE_TIMEOUT_MS,
    ) -> None:
        self.topic = topic
        self.loads = LoadMetrics()
        self.writes = WriteMetrics()
        self._make_shard = make_shard
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._supervisor = supervisor
        self._write_timeout_ms = write_timeout_ms
        self._codec = RecordCodec(topic)
        self._keys = PartitionKeys()
        self._partitions: dict[int, Partition[S]] = {}
        self._last_ticket: Ticket = NO_TICKET
        self._epoch_ms = clock.now_ms() - clock.monotonic_ms()
        self._dirty: list[Partition[S]] = []
        self._patient: list[Partition[S]] = []
        self._woken_at_ms: int | None = None
        self._waker: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------------------------------------ requests

    def partition_for(self, key: str) -> int:
        """The partition that coordinates `key`. Raises CoordinatorNotAvailable while the topic does not exist."""
        return self._keys.partition_for(key)

    def submit(self, partition: int, operation: Operation[S]) -> Any | Awaitable[Any]:
        """Run `operation` on the shard now; its answer, or something to await that gives it.

        A plain answer is given when it is there and everything it tells of is committed. Raises, or gives an awaitable
        that raises: what the operation raised, CoordinatorLoadInProgress, NotCoordinator, CoordinatorNotAvailable.
        """
        found = self._partitions.get(partition)
        if found is None or found.shard is None or found.effects is None:
            raise self._absent(found)
        ticket = self._last_ticket = self._last_ticket + 1
        try:
            operation(found.shard, ticket, self._epoch_ms + self._clock.monotonic_ms(), found.effects)
        except BaseException:
            self._settle(found, NO_TICKET)
            raise
        return self._settle(found, ticket)

    def write_marker(
        self, partition: int, producer_id: int, producer_epoch: int, *, committed: bool, coordinator_epoch: int
    ) -> Awaitable[None]:
        """End a producer's transaction in this partition; done once the marker is committed. Raises as submit does."""
        found = self._partitions.get(partition)
        if found is None or found.shard is None:
            raise self._absent(found)
        self._flush(found)
        if found.shard is None:
            raise self._absent(found)
        if found.unwritten:
            raise CoordinatorNotAvailable()  # its log takes nothing at present
        marker = MarkerBatch(producer_id, producer_epoch, committed, coordinator_epoch)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        found.held.append((future, None))
        if self._append(found, lambda: [marker]):
            found.shard.end_transaction(producer_id, committed)
        return future

    def shard(self, partition: int) -> S | None:
        """The shard of a partition, when it is loaded here."""
        found = self._partitions.get(partition)
        return None if found is None else found.shard

    def active(self) -> Iterator[S]:
        """All loaded shards."""
        return (found.shard for found in list(self._partitions.values()) if found.shard is not None)

    def now_ms(self) -> int:
        """The time that operations are given: since the epoch, steady."""
        return self._epoch_ms + self._clock.monotonic_ms()

    def _name(self, found: Partition[S]) -> dict[str, object]:
        """For the log."""
        return {"topic": self.topic, "partition": found.index}

    def _absent(self, found: Partition[S] | None) -> KafkaError:
        if found is not None:
            return CoordinatorLoadInProgress()
        return NotCoordinator() if self._keys.partition_count else CoordinatorNotAvailable()

    # ------------------------------------------------------------------------------------------------ effects

    def _settle(self, found: Partition[S], ticket: Ticket) -> Any | Awaitable[Any]:
        """Take an operation's effects over. The plain answer to `ticket`, or a future; None without a ticket."""
        effects, shard = found.effects, found.shard
        assert effects is not None, "only active shards have effects"
        assert shard is not None, "only active shards have effects"
        if effects.records:
            found.unwritten += effects.records
            found.encoded += effects.encoded
            effects.records.clear()
            effects.encoded.clear()
            if effects.hurried:
                effects.hurried = False
                self._mark_dirty(found)
            else:
                self._be_patient(found)
        result: Any = None
        answered = ticket == NO_TICKET
        if effects.answers:
            committed = not found.unwritten and not found.waiting
            for answer in effects.answers:
                if answer.ticket == ticket and not answered:
                    answered = True
                    at_once = committed or answer.at_once
                    result = answer.response if at_once else self._future_for(found, answer)
                else:
                    self._answer_waiting(found, answer, at_once=committed or answer.at_once)
            effects.answers.clear()
        if not answered:
            result = found.tickets[ticket] = asyncio.get_running_loop().create_future()
        earliest_ms = shard.timers.earliest_ms
        if earliest_ms is not None:
            self._wake_by(earliest_ms)
        return result

    def _future_for(self, found: Partition[S], answer: Answer) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._hold(found, future, answer.response)
        return future

    def _answer_waiting(self, found: Partition[S], answer: Answer, *, at_once: bool) -> None:
        future = found.tickets.pop(answer.ticket, None)
        if future is None or future.done():
            return  # whoever asked has gone
        if at_once:
            future.set_result(answer.response)
        else:
            self._hold(found, future, answer.response)

    def _hold(self, found: Partition[S], future: asyncio.Future[Any], response: Any) -> None:
        if found.unwritten:
            found.held.append((future, response))
            self._mark_dirty(found)
        else:
            found.waiting[-1].answers.append((future, response))

    # ------------------------------------------------------------------------------------------------ writing

    def _mark_dirty(self, found: Partition[S]) -> None:
        if found.dirty:
            return
        found.dirty = True
        if not self._dirty:
            asyncio.get_running_loop().call_soon(self._flush_dirty)
        self._dirty.append(found)

    def _flush_dirty(self) -> None:
        dirty, self._dirty = self._dirty, []
        for found in dirty:
            found.dirty = False
            self._flush(found)

    def _be_patient(self, found: Partition[S]) -> None:
        if not self._patient:
            self._supervisor.start(f"patient records of {self.topic}", self._flush_patient())
        self._patient.append(found)

    async def _flush_patient(self) -> None:
        await self._clock.sleep_ms(PATIENCE_MS)
        patient, self._patient = self._patient, []
        for found in patient:
            self._flush(found)

    def _flush(self, found: Partition[S]) -> None:
        """Append what the turn has written."""
        if not found.unwritten:
            return
        records, found.unwritten = found.unwritten, []
        encoded, found.encoded = found.encoded, []
        if self._append(found, lambda: batches_of(records, encoded)) is None:
            found.unwritten, found.encoded = records, encoded
            self._park(found)
        else:
            found.producers.clear()
            found.parked_since_ms = None

    def _park(self, found: Partition[S]) -> None:
        """Append in a moment what the log does not take now; whoever comes meanwhile is served, and waits with it."""
        now_ms = self.now_ms()
        if found.parked_since_ms is None:
            found.parked_since_ms = now_ms
        elif now_ms - found.parked_since_ms >= self._write_timeout_ms:
            found.parked_since_ms = None
            self._append_failed(found, NotCoordinator())
            return
        self._wake_by(now_ms + PARKED_MS)

    def _check_producer(self, found: Partition[S], producer_id: int, producer_epoch: int) -> None:
        """A producer that is fenced is refused before its record is taken in. Raises InvalidProducerEpoch."""
        epoch = found.producers.get(producer_id)
        if epoch == producer_epoch:
            return
        if epoch is not None and producer_epoch < epoch:
            raise InvalidProducerEpoch()
        self._writer.check_producer(found.index, producer_id, producer_epoch)
        found.producers[producer_id] = producer_epoch

    def _append(self, found: Partition[S], made: Callable[[], list[Batch]]) -> bool | None:
        """Append, and let the turn's answers wait for it.

        False when it failed and the shard is to be loaded anew; None when nothing was written and the shard stays.
        """
        written = contained_now(
            "coordinator append failed unexpectedly",
            lambda: self._written(found, made()),
            lambda error: UnknownServerError(),  # the other shards of this turn have theirs to write
            **self._name(found),
        )
        if isinstance(written, KafkaError):
            self._append_failed(found, written)
            return False
        if written is None:
            return None
        found.reload_delay_ms = FIRST_RELOAD_DELAY_MS
        deadline_ms = self.now_ms() + self._write_timeout_ms
        found.waiting.append(Held(written.end_offset, deadline_ms, found.held))
        found.held = []
        self._release(found, written.high_watermark)
        if found.waiting:
            self._wake_by(deadline_ms)
        return True

    def _written(self, found: Partition[S], batches: list[Batch]) -> Written | KafkaError | None:
        """How far the log goes now; an error when the shard is ahead of it; None when nothing was written, which does
        no harm: a marker that was refused, records that can be written in a moment.
        """
        try:
            end_offset = self._writer.append(found.index, batches)
            high_watermark = self._writer.high_watermark(found.index)
        except (PystreamError, OSError) as error:
            if isinstance(error, REFUSED_MARKER) and is_marker(batches):
                held, found.held = found.held, []
                fail(held, error)  # the shard knows of nothing: it is what its log is
                return None
            if isinstance(error, LogMoving):
                return None
            logger.limited("coordinator append failed", **self._name(found), error=error)
            return error_of_append(error)
        self.writes.count(batches)
        return Written(end_offset, high_watermark)

    def _append_failed(self, found: Partition[S], error: KafkaError) -> None:
        self.writes.failures += 1
        held, found.held = found.held, []
        fail(held, error)
        self._drop_shard(found)
        self._start_loading(found, delay_ms=found.reload_delay_ms)
        found.reload_delay_ms = min(found.reload_delay_ms * 2, LONGEST_RELOAD_DELAY_MS)

    def committed(self, partition: int, high_watermark: int) -> None:
        """The high watermark of a partition has moved: answer who waited for it."""
        found = self._partitions.get(partition)
        if found is not None:
            self._release(found, high_watermark)

    def _release(self, found: Partition[S], high_watermark: int) -> None:
        while found.waiting and found.waiting[0].end_offset <= high_watermark:
            for future, response in found.waiting.popleft().answers:
                if not future.done():
                    future.set_result(response)

    # ------------------------------------------------------------------------------------------------ partitions

    def set_partition_count(self, count: int) -> None:
        """How many partitions the topic has; 0 while it does not exist."""
        self._keys.partition_count = count

    @property
    def partition_count(self) -> int:
        return self._keys.partition_count

    def led(self) -> Iterable[int]:
        """The partitions that this broker leads, loaded or not."""
        return list(self._partitions)

    def load(self, partition: int) -> None:
        """This broker leads the partition: read it and serve it. Nothing happens when it does so already."""
        if partition not in self._partitions:
            found = self._partitions[partition] = Partition[S](partition)
            self._start_loading(found, delay_ms=0)

    def unload(self, partition: int) -> None:
        """This broker does not lead the partition any more: whoever waits there is told to look elsewhere."""
        found = self._partitions.pop(partition, None)
        if found is None:
            return
        found.gone = True
        if found.loading is not None:
            found.loading.cancel()
        self._flush(found)
        self._drop_shard(found)
        for held in found.waiting:
            fail(held.answers, NotCoordinator())
        found.waiting.clear()

    async def stop(self, drain_ms: int = SECOND_MS) -> None:
        """Write what is unwritten, answer who waits in the shards, and wait a moment for what is not committed yet."""
        for found in self._partitions.values():
            self._flush(found)
        writes = [held for found in self._partitions.values() for held in found.waiting]
        futures = [future for held in writes for future, _ in held.answers]
        if futures:
            await asyncio.wait(futures, timeout=drain_ms / SECOND_MS)
        for partition in list(self._partitions):
            self.unload(partition)
        if self._waker is not None:
            self._waker.cancel()

    def _drop_shard(self, found: Partition[S]) -> None:
        """Everybody who waits in the shard is answered; what it has written and not appended is gone with it."""
        shard, found.shard, found.effects = found.shard, None, None
        tickets, found.tickets = found.tickets, {}
        found.unwritten, found.encoded, found.parked_since_ms = [], [], None
        found.producers.clear()
        held, found.held = found.held, []
        fail(held, NotCoordinator())
        if shard is None:
            return
        self.loads.active -= 1
        effects = Effects(lambda record: None)
        contained_now(
            "coordinator not unloaded in order",
            lambda: shard.unloaded(effects),
            lambda error: None,
            **self._name(found),
        )
        for answer in effects.answers:
            future = tickets.pop(answer.ticket, None)
            if future is not None and not future.done():
                future.set_result(answer.response)
        fail([(future, None) for future in tickets.values()], NotCoordinator())

    # ------------------------------------------------------------------------------------------------ loading

    def _start_loading(self, found: Partition[S], *, delay_ms: int) -> None:
        if not found.gone:
            work = self._load_until_done(found, delay_ms)
            found.loading = self._supervisor.start(f"load {self.topic}-{found.index}", work)

    async def _load_until_done(self, found: Partition[S], delay_ms: int) -> None:
        """A log that cannot be read is tried again, less and less often: an operator may put it right."""
        if delay_ms > 0:
            await self._clock.sleep_ms(delay_ms)
        while True:
            if await contained("coordinator not loaded", self._load(found), lambda error: False, **self._name(found)):
                return
            self.loads.failed += 1
            await self._clock.sleep_ms(found.reload_delay_ms)
            found.reload_delay_ms = min(found.reload_delay_ms * 2, LONGEST_RELOAD_DELAY_MS)

    async def _load(self, found: Partition[S]) -> bool:
        """Read the log to its end and serve; True then, it raises otherwise."""
        self.loads.loading += 1
        began_ms = self._clock.monotonic_ms()
        try:
            offset, end_offset = self._reader.bounds(found.index)
            shard = self._make_shard(found.index)
            records = 0
            while offset < end_offset:
                batches, offset = await self._reader.read(found.index, offset)
                records += await self._replay(shard, found, batches)
            high_watermark = self._writer.high_watermark(found.index)
        finally:
            self.loads.loading -= 1
        effects = Effects(shard.replay, self._codec.encode, partial(self._check_producer, found))
        shard.loaded(self.now_ms(), effects)
        found.loading = None
        found.shard, found.effects = shard, effects
        if high_watermark < end_offset:  # what was read may not be committed yet: answers that tell of it wait
            found.waiting.append(Held(end_offset, self.now_ms() + self._write_timeout_ms, []))
        self._note_load(found, records, self._clock.monotonic_ms() - began_ms)
        self._settle(found, NO_TICKET)
        return True

    def _note_load(self, found: Partition[S], records: int, took_ms: int) -> None:
        self.loads.note(self.now_ms(), records, took_ms)
        log = logger.info if records else logger.debug
        log("coordinator loaded", **self._name(found), records=records, took_ms=took_ms)

    async def _replay(self, shard: S, found: Partition[S], batches: Iterable[Batch]) -> int:
        """Feed batches to a shard that nobody sees yet, a few records at a time; how many records."""
        count = 0
        for batch in batches:
            if isinstance(batch, MarkerBatch):
                shard.end_transaction(batch.producer_id, batch.committed)
                continue
            for key, value in batch.records:
                count += 1
                if count % RECORDS_AT_A_TIME == 0:
                    await self._clock.sleep_ms(0)
                try:
                    decoded = self._codec.decode(key, value)
                except UnknownRecord as error:  # of a newer version: Kafka passes it over too
                    self.loads.unknown_records += 1
                    logger.limited("coordinator record passed over", **self._name(found), error=error)
                    continue
                shard.replay(Record(decoded.key, decoded.value, batch.producer_id, batch.producer_epoch))
        return count

    # ------------------------------------------------------------------------------------------------ time

    def _wake_by(self, deadline_ms: int) -> None:
        """Look at the timers at `deadline_ms`, if not before."""
        if self._woken_at_ms is not None and self._woken_at_ms <= deadline_ms:
            return
        if self._waker is not None:
            self._waker.cancel()
        self._woken_at_ms = deadline_ms
        self._waker = self._supervisor.start(f"timers of {self.topic}", self._wake(deadline_ms))

    async def _wake(self, deadline_ms: int) -> None:
        await self._clock.sleep_ms(deadline_ms - self.now_ms())
        self._waker = None
        self._woken_at_ms = None
        while self._run_due():
            await self._clock.sleep_ms(0)
        deadlines = [deadline for found in self._partitions.values() for deadline in self._deadlines(found)]
        if deadlines:
            self._wake_by(min(deadlines))

    def _deadlines(self, found: Partition[S]) -> Iterator[int]:
        if found.shard is not None and (deadline_ms := found.shard.timers.next_deadline_ms()) is not None:
            yield deadline_ms
        if found.waiting:
            yield found.waiting[0].deadline_ms
        if found.parked_since_ms is not None:
            yield self.now_ms() + PARKED_MS

    def _run_due(self) -> bool:
        """Run what is due, up to a bound; whether there is more."""
        now_ms = self.now_ms()
        left = TIMERS_AT_A_TIME
        for found in list(self._partitions.values()):
            self._time_out_writes(found, now_ms)
            if found.parked_since_ms is not None:
                self._flush(found)
            if found.shard is None:
                continue
            for operation in found.shard.timers.due(now_ms):
                self._run_timer(found, operation, now_ms)
                self._settle(found, NO_TICKET)
                left -= 1
                if left == 0:
                    return True
        return False

    def _run_timer(self, found: Partition[S], operation: TimedOperation, now_ms: int) -> None:
        """A timer that fails leaves its neighbours alone."""
        effects = found.effects
        assert effects is not None, "only active shards have timers"
        contained_now(
            "timer of a coordinator failed",
            lambda: operation(now_ms, effects),
            lambda error: None,
            **self._name(found),
        )

    def _time_out_writes(self, found: Partition[S], now_ms: int) -> None:
        """The records are in the log and may still be committed, but nobody waits for them any longer."""
        for held in found.waiting:
            if held.deadline_ms > now_ms:
                return
            self.writes.timeouts += len(held.answers)
            fail(held.answers, CoordinatorNotAvailable())
            held.answers.clear()
            held.deadline_ms = now_ms + self._write_timeout_ms  # for answers that join it later
