"""What is here of the records that brokers gave, what was handed out of them, and what is said about it. No I/O.

    arrived ──▶ buffer ──take──▶ held: until everything is said about it ──settle──▶ Said, for the sessions
                  ▲ does not decode, put back                 ▲ acknowledge
                  └──────────── undecodable: one record each, released unless the user says otherwise

Belongs to the user's task or thread, one at a time; only the buffer is shared with the loop, and has a lock.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import length_hint
from typing import Any, Final, TypeAlias

from pystream._native.message_batch import Message
from pystream.client.config import ShareConsumerConfig
from pystream.client.consumer.decoding import Unasked
from pystream.client.consumer.record_batch import RecordBatch
from pystream.client.metrics.share import ShareMetrics
from pystream.client.share.delivery import AcknowledgeType, Delivery, Said, gather
from pystream.common.clock import Clock
from pystream.common.errors import ClientError, PystreamError, SerializationError, UnsupportedVersion
from pystream.common.model import TopicIdPartition

IMPLICIT: Final = "implicit"
Decode: TypeAlias = Callable[[Sequence[Message]], list[Any]]


class HandOut:
    """One for each share consumer."""

    def __init__(
        self, config: ShareConsumerConfig, metrics: ShareMetrics, clock: Clock, raise_failure: Callable[[], None]
    ) -> None:
        """`raise_failure` is called when there is nothing to take."""
        self.decode: Decode | None = None
        self._is_implicit = config.share_acknowledgement_mode == IMPLICIT
        self._metrics = metrics
        self._clock = clock
        self._raise_failure = raise_failure
        self._lock = threading.Lock()  # of the buffer
        self._buffer: deque[Delivery] = deque()
        self._held: list[Delivery] = []
        self._undecodable: list[Delivery] = []
        self._found_at = 0  # in what is held, the last acknowledgement
        self._chunk: tuple[list[Any], Iterator[Any]] | None = None

    # --- the buffer: any thread ---------------------------------------------------------------------------------------

    def has_some(self) -> bool:
        """Whether something can be taken."""
        return bool(self._buffer)

    def arrived(self, deliveries: Iterable[Delivery]) -> bool:
        """Records came: were there any?"""
        with self._lock:
            before = len(self._buffer)
            self._buffer.extend(deliveries)
            return len(self._buffer) > before

    def renewed(self, deliveries: Sequence[Delivery]) -> None:
        """They come once more, before anything else."""
        with self._lock:
            self._buffer.extendleft(reversed(deliveries))

    def keep(self, places: Iterable[TopicIdPartition]) -> list[Said]:
        """What is here of other partitions is released."""
        with self._lock:
            gone = [delivery for delivery in self._buffer if delivery.place not in places]
            self._buffer = deque(delivery for delivery in self._buffer if delivery.place in places)
        for delivery in gone:
            delivery.say_all(AcknowledgeType.RELEASE)
        return gather(gone)

    def clear(self) -> None:
        """Nothing is here any more."""
        with self._lock:
            self._buffer.clear()

    # --- handing out --------------------------------------------------------------------------------------------------

    def take(self, most: int, *, single: bool = False) -> list[Delivery]:
        """What is here, at most `most` records, or the first of `single`; held from now on.

        Raises what failed when nothing is here.
        """
        found: list[Delivery] = []
        now_ms = self._clock.monotonic_ms()
        with self._lock:
            while self._buffer and most > 0 and not (single and found):
                delivery = self._buffer.popleft()
                if not delivery.is_current or delivery.expires_at_ms <= now_ms:
                    continue  # the broker has given it to somebody else by now
                if len(delivery) > most:
                    self._buffer.appendleft(delivery.split(most))
                most -= len(delivery)
                found.append(delivery)
        self._held += found
        if not found:
            self._raise_failure()
        return found

    def messages(self, most: int) -> list[Any]:
        """Up to `most` messages, of any partitions."""
        taken = self.take(most)
        if self.decode is not None:
            return self._decoded(self.decode, taken)
        if len(taken) == 1:
            return taken[0].messages()
        return [message for delivery in taken for message in delivery.messages()]

    def _decoded(self, decode: Decode, taken: list[Delivery]) -> list[Any]:
        """What is made of the rows in front of one that does not decode; that one waits for the next poll, as do all
        behind it.

        Raises when it is the first: with SerializationError it is released, with any other error it stays.
        """
        found: list[Any] = []
        for place, delivery in enumerate(taken):
            try:
                some = decode(delivery.messages())
            except (PystreamError, Unasked) as error:
                if found:
                    self._put_back(taken[place:])
                    break
                self._put_back(taken)
                if isinstance(error, SerializationError):
                    self.give_up_on(error)
                raise
            found += some
            if len(some) < len(delivery):
                self._put_back(taken[place + 1 :])
                self._put_back([delivery.split(len(some))])
                break
        return found

    def _put_back(self, deliveries: list[Delivery]) -> None:
        """They come first with the next poll."""
        self._held = [delivery for delivery in self._held if delivery not in deliveries]
        with self._lock:
            self._buffer.extendleft(reversed(deliveries))

    def give_up_on(self, error: SerializationError) -> None:
        """Release the record, the first that is here; until the next poll it can be acknowledged otherwise."""
        assert error.offset is not None
        with self._lock:
            if not self._buffer or self._buffer[0].key != (error.topic, error.partition):
                return
            if self._buffer[0].find(error.offset) != self._buffer[0].start:
                return
            delivery = self._buffer.popleft()
            if len(delivery) > 1:
                self._buffer.appendleft(delivery.split(1))
        delivery.say_all(AcknowledgeType.RELEASE)
        self._undecodable.append(delivery)

    def chunk(self, most: int) -> Iterator[Any] | None:
        """Up to `most` messages, handed out as they are iterated over; None when nothing is here."""
        messages = self.messages(most)
        if not messages:
            return None
        self._chunk = messages, iter(messages)
        return self._chunk[1]

    def batch(self, most: int | None) -> RecordBatch | None:
        """What one partition gave with one delivery count, whole or `most` rows of it; None when nothing is here."""
        taken = self.take(sys.maxsize if most is None else most, single=True)
        if not taken:
            return None
        decoded = None if self.decode is None else self._decoded(self.decode, taken)
        return RecordBatch(taken[0].batch, taken[0].start, taken[0].stop, decoded)

    @contextmanager
    def taking(self) -> Iterator[None]:
        """What a poll takes that then fails (a callback, Ctrl-C) is seen by nobody: it comes with the next one."""
        try:
            yield
            if self._chunk is None:
                self._count_consumed()
        except BaseException:
            held, self._held = self._held, []
            self._chunk = None
            with self._lock:
                self._buffer.extendleft(reversed(held))
            raise

    def _put_back_unread(self) -> None:
        """What the iteration did not come to is not handed out yet."""
        chunk, self._chunk = self._chunk, None
        if chunk is None:
            return
        messages, iterator = chunk
        unread = length_hint(iterator)
        del messages[len(messages) - unread :]
        back: list[Delivery] = []
        while unread > 0:
            delivery = self._held.pop()
            if len(delivery) > unread:
                self._held.append(delivery)
                delivery = delivery.split(len(delivery) - unread)
            unread -= len(delivery)
            back.append(delivery)
        with self._lock:
            self._buffer.extendleft(back)
        self._count_consumed()

    def _count_consumed(self) -> None:
        """All that is held was handed out."""
        for delivery in self._held:
            self._metrics.consumed(delivery.key.topic, len(delivery), delivery.size_bytes)

    # --- what is said -------------------------------------------------------------------------------------------------

    def settle(self) -> list[Said]:
        """What was handed out before is accepted (implicit), or must have been acknowledged (explicit)."""
        self._put_back_unread()
        if self._is_implicit:
            self._say_all(AcknowledgeType.ACCEPT)
        left = sum(delivery.unsaid for delivery in self._held)
        if left:
            raise ClientError(
                f"{left} records of the last poll are not acknowledged; with share.acknowledgement.mode=explicit each "
                "has to be, before the next poll"
            )
        return self.let_go()

    def settle_for_commit(self) -> list[Said]:
        """What can be committed now: everything handed out (implicit), or what was acknowledged (explicit)."""
        self._put_back_unread()
        if self._is_implicit:
            self._say_all(AcknowledgeType.ACCEPT)
        said = gather(self._held + self._undecodable)
        self._held = [delivery for delivery in self._held if delivery.unsaid]
        self._undecodable = []
        return said

    def leave(self) -> list[Said]:
        """What was said; nothing is held any more. What nothing was said of goes with the sessions."""
        self._put_back_unread()
        return self.let_go()

    def let_go(self) -> list[Said]:
        """What was said about all that is held, which ends."""
        said = gather(self._held + self._undecodable)
        self._held, self._undecodable = [], []
        return said

    def acknowledge(self, topic: str, partition: int, offset: int, kind: AcknowledgeType) -> None:
        """Say what became of one record. Raises ClientError unless it was handed out and is to be acknowledged."""
        self._check_explicit(kind)
        key = (topic, partition)
        held = self._held
        begin = self._found_at if self._found_at < len(held) else 0  # most say it in the order of what they got
        for place in (*range(begin, len(held)), *range(begin)):
            delivery = held[place]
            row = delivery.find(offset) if delivery.key == key else None
            if row is None:
                continue
            self._found_at = place
            self._check_renewal(delivery, kind)
            if delivery.say(row, kind):
                return
            break
        for delivery in self._undecodable:
            if delivery.key == key and delivery.find(offset) is not None:
                self._check_renewal(delivery, kind)
                delivery.say(delivery.start, kind)
                return
        raise ClientError(f"offset {offset} of {topic}-{partition} is not held by this share consumer, or is committed")

    def acknowledge_rows(self, batch: RecordBatch, kind: AcknowledgeType) -> None:
        """Say what became of all rows of a batch that `poll_batch` gave."""
        self._check_explicit(kind)
        for offset in batch.offsets:
            self.acknowledge(batch.topic, batch.partition, offset, kind)

    def _check_explicit(self, kind: AcknowledgeType) -> None:
        if self._is_implicit:
            raise ClientError(
                f"{AcknowledgeType(kind).name} by hand needs share.acknowledgement.mode=explicit; with implicit, the "
                "next poll accepts what was polled"
            )

    @staticmethod
    def _check_renewal(delivery: Delivery, kind: AcknowledgeType) -> None:
        if kind == AcknowledgeType.RENEW and not delivery.session.supports_renewal():
            raise UnsupportedVersion(
                f"broker {delivery.session.node_id} cannot renew (KIP-1222): process faster, or raise "
                "group.share.record.lock.duration.ms"
            )

    def _say_all(self, kind: AcknowledgeType) -> None:
        for delivery in self._held:
            delivery.say_all(kind)


def advice_of(config: ShareConsumerConfig) -> Callable[[Message], str]:
    """What to do about a record that does not decode."""

    def advice(message: Message) -> str:
        place = f"{message.topic!r}, {message.partition}, {message.offset}"
        if config.share_acknowledgement_mode == IMPLICIT:
            return (
                "it is released, and given out again up to group.share.delivery.count.limit times in all; "
                "share.acknowledgement.mode=explicit lets you reject it"
            )
        return f"it is released, unless you say otherwise: acknowledge_offset({place}, AcknowledgeType.REJECT)"

    return advice
