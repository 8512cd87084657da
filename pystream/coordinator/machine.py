"""What the coordinators' state machines are made of: records, answers, timers; no clock, no socket, no task.

A shard is the state of one partition of a coordinator's topic. An operation is a plain function

    operation(shard, ticket, now_ms, effects) -> None      now_ms: since the epoch, steady: it never jumps

that reads the shard, writes records through `effects` and answers: its own request, whose name is `ticket`, or requests
that came earlier and still wait (a JoinGroup is answered by the last member's). State that outlives a restart changes
only in `Shard.replay`, which `effects.write` calls at once, so that a start that reads the log comes to the same state.
What a restart may forget (sessions, who waits) an operation changes itself.

An answer is held back until the records that the shard has written up to then are committed. When they cannot be
written, all answers of that turn are errors, and the shard is loaded anew from its log.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple, Protocol

from pystream.common.errors import UnknownServerError
from pystream.common.logging import get_logger

logger = get_logger(__name__)

Ticket = int  # names a request that waits for its answer
NO_TICKET: Ticket = 0  # of operations that nobody asked for: timers, the end of loading
NO_PRODUCER_ID = -1
NO_PRODUCER_EPOCH = -1
SPARE_ENTRIES = 256  # of cancelled timers, before their places are taken back


class Record(NamedTuple):
    """A record of a coordinator's topic: messages of `protocol.coordinator_records`; no value is a tombstone.

    With a producer id it belongs to that producer's open transaction: it counts once the transaction is committed.
    """

    key: Any
    value: Any | None
    producer_id: int = NO_PRODUCER_ID
    producer_epoch: int = NO_PRODUCER_EPOCH


class Answer(NamedTuple):
    """The response to a waiting request; `at_once` when it tells of nothing that is not committed yet."""

    ticket: Ticket
    response: Any
    at_once: bool


class Shard(Protocol):
    """The state of one partition of a coordinator's topic. Everything is called from one thread."""

    timers: Timers

    def replay(self, record: Record) -> None:
        """Take a record in, fresh or read from the log. Raises nothing: what it does not understand it logs."""
        ...

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        """The marker of a transaction: its records count from now on, or are forgotten."""
        ...

    def loaded(self, now_ms: int, effects: Effects) -> None:
        """The log has been read to its end: arm timers, put right what a crash has left."""
        ...

    def unloaded(self, effects: Effects) -> None:
        """The shard goes: answer every request that waits in it with NOT_COORDINATOR."""
        ...


Encoded = tuple[bytes, bytes | None]  # a record's key and value; no value is a tombstone


def not_encoded(key: Any, value: Any | None) -> Encoded:
    """In place of an encoder, where nobody reads what is written."""
    return b"", None


def not_checked(producer_id: int, producer_epoch: int) -> None:
    """In place of a check, where nobody is fenced."""


class Effects:
    """What an operation does to the world outside its shard; collected, and carried out by the runtime or a test.

    `encoded` are the bytes of `records`, one for one. `check` raises KafkaError for a producer that may not write.
    """

    __slots__ = ("_check", "_encode", "_replay", "answers", "encoded", "hurried", "records")

    def __init__(
        self,
        replay: Callable[[Record], None],
        encode: Callable[[Any, Any | None], Encoded] = not_encoded,
        check: Callable[[int, int], None] = not_checked,
    ) -> None:
        self._replay = replay
        self._encode = encode
        self._check = check
        self.records: list[Record] = []
        self.encoded: list[Encoded] = []
        self.answers: list[Answer] = []
        self.hurried = False  # whether the records are to be written in this turn

    def write(
        self,
        key: Any,
        value: Any | None,
        *,
        producer_id: int = NO_PRODUCER_ID,
        producer_epoch: int = NO_PRODUCER_EPOCH,
        patient: bool = False,
    ) -> None:
        """Append a record, a tombstone without `value`; the shard has it when this returns.

        A `patient` one, which a crash may take, waits a few milliseconds for others to be written with.
        Raises UnknownServerError for one that does not encode, InvalidProducerEpoch for one of a producer that is
        fenced: the shard has not seen it, and the log will not.
        """
        if producer_id != NO_PRODUCER_ID:
            self._check(producer_id, producer_epoch)
        try:
            encoded = self._encode(key, value)
        except (OverflowError, TypeError, ValueError) as error:
            logger.limited("coordinator record does not encode", key=key, error=error)
            raise UnknownServerError(f"{type(key).__name__}: {error}") from error
        self.hurried = self.hurried or not patient
        record = Record(key, value, producer_id, producer_epoch)
        self.records.append(record)
        self.encoded.append(encoded)
        self._replay(record)

    def answer(self, ticket: Ticket, response: Any, *, at_once: bool = False) -> None:
        """Answer a waiting request, each exactly once; `at_once` does not wait for records to be committed."""
        self.answers.append(Answer(ticket, response, at_once))


TimedOperation = Callable[[int, Effects], None]  # (now_ms, effects)


class Timers:
    """What is to be done later, at most one thing for each key. Times are of the clock that operations are given."""

    __slots__ = ("_heap", "_live", "_sequence")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Hashable]] = []
        self._live: dict[Hashable, tuple[int, int, TimedOperation]] = {}
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._live)

    def schedule(self, key: Hashable, deadline_ms: int, operation: TimedOperation) -> None:
        """Run `operation` at `deadline_ms`, in place of what was planned under `key`."""
        planned = self._live.get(key)
        if planned is not None and planned[0] <= deadline_ms:
            # Heartbeats put deadlines off all the time: the heap entry stays where it is and is looked at when due.
            self._live[key] = (deadline_ms, planned[1], operation)
            return
        self._sequence += 1
        self._live[key] = (deadline_ms, self._sequence, operation)
        heapq.heappush(self._heap, (deadline_ms, self._sequence, key))
        if len(self._heap) > 2 * len(self._live) + SPARE_ENTRIES:
            self._forget_cancelled()

    def _forget_cancelled(self) -> None:
        """What is cancelled or was put forward stays in the heap until it would be due: that may be weeks."""
        live = self._live
        self._heap = [entry for entry in self._heap if entry[2] in live and live[entry[2]][1] == entry[1]]
        heapq.heapify(self._heap)

    def cancel(self, key: Hashable) -> None:
        """Forget what was planned under `key`, if anything."""
        self._live.pop(key, None)

    def deadline_of(self, key: Hashable) -> int | None:
        """When what is planned under `key` is due."""
        planned = self._live.get(key)
        return None if planned is None else planned[0]

    @property
    def earliest_ms(self) -> int | None:
        """Nothing is due before: what next_deadline_ms() says or less, without work. None when nothing is planned."""
        return self._heap[0][0] if self._heap else None

    def next_deadline_ms(self) -> int | None:
        """When to look again; nothing is due before. None when nothing is planned."""
        while self._heap:
            deadline_ms, sequence, key = self._heap[0]
            planned = self._live.get(key)
            if planned is None or planned[1] != sequence:
                heapq.heappop(self._heap)
            elif planned[0] > deadline_ms:
                heapq.heapreplace(self._heap, (planned[0], sequence, key))
            else:
                return deadline_ms
        return None

    def due(self, now_ms: int) -> Iterator[TimedOperation]:
        """Take out what is due, in the order of the deadlines; what is planned meanwhile may come along."""
        while (deadline_ms := self.next_deadline_ms()) is not None and deadline_ms <= now_ms:
            _, _, key = heapq.heappop(self._heap)
            yield self._live.pop(key)[2]
