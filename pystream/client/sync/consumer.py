"""The synchronous consumer: the engine of the asyncio one, on the loop of the background thread.

Messages that were fetched are taken in the calling thread, without a hop; only waiting, and what changes where the
consumer stands, crosses over.
"""

from __future__ import annotations

import re
import time
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from time import time_ns as now_ns
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from pystream._native.message_batch import Message
from pystream.client.config import ConsumerConfig
from pystream.client.consumer.consumer import Partition, as_ms
from pystream.client.consumer.decoding import DecodedMessage, Deserializer, M, decoder
from pystream.client.consumer.engine import Engine
from pystream.client.consumer.group.steps import RebalanceStep
from pystream.client.consumer.group.subscription import Subscription
from pystream.client.consumer.model import (
    BEGINNING,
    END,
    CommitCallback,
    CommitCallbacks,
    GroupMetadata,
    OffsetAndMetadata,
    OffsetAndTimestamp,
    RebalanceCallback,
    RebalanceCallbacks,
    as_commit,
)
from pystream.client.consumer.record_batch import RecordBatch
from pystream.client.dropped import watch, weakly
from pystream.client.given import as_partition, as_partitions, check_poll, check_whole
from pystream.client.metrics.model import Metrics
from pystream.client.metrics.reporter import reporter_of
from pystream.client.sync import runner
from pystream.common.errors import Closed, PystreamError
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.telemetry import Tracing

T = TypeVar("T")


class Consumer(Generic[M]):
    """Reads topics, alone (`assign`) or as a member of a group (`subscribe`). Used by one thread at a time.

        with Consumer({"bootstrap.servers": "127.0.0.1:9092", "group.id": "fraud"}) as consumer:
            consumer.subscribe(["payments"])
            for message in consumer:
                print(message.offset, message.value)

    Three ways to read: messages one by one (iteration), some at a time (`poll`), and columns (`poll_batch`). What was
    handed out counts as read by the next poll; the position says where that ends. Rebalances, automatic commits and
    their callbacks happen while polling, in the polling thread: poll at least every `max.poll.interval.ms`.
    """

    @overload
    def __init__(
        self: Consumer[DecodedMessage],
        settings: Mapping[str, Any] | None = None,
        /,
        *,
        key_deserializer: Deserializer | None = None,
        value_deserializer: Deserializer,
        tracing: Tracing | None = None,
        **keywords: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: Consumer[DecodedMessage],
        settings: Mapping[str, Any] | None = None,
        /,
        *,
        key_deserializer: Deserializer,
        value_deserializer: None = None,
        tracing: Tracing | None = None,
        **keywords: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: Consumer[Message],
        settings: Mapping[str, Any] | None = None,
        /,
        *,
        key_deserializer: None = None,
        value_deserializer: None = None,
        tracing: Tracing | None = None,
        **keywords: Any,
    ) -> None: ...
    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        /,
        *,
        key_deserializer: Deserializer | None = None,
        value_deserializer: Deserializer | None = None,
        tracing: Tracing | None = None,
        **keywords: Any,
    ) -> None:
        """Settings are those of ConsumerConfig, as a dict with dotted names or as keywords. Raises InvalidConfig.

        With deserializers messages are DecodedMessages: `key` and `value` are what was made of the bytes. `tracing`
        (pystream.client.telemetry) makes spans of what is received and processed.
        """
        self.config = ConsumerConfig.load(settings, **keywords)
        self._engine = Engine(self.config)
        self._tracing = None if tracing is None else tracing.of_consumer(self.config, self.config.group_id)
        self._callbacks = RebalanceCallbacks()
        self._callbacks_of_commits = CommitCallbacks()
        self._decode = decoder(key_deserializer, value_deserializer, may_block=True)
        self._engine.hand.decode = None if self._decode is None else weakly(self._decode)
        self._runner = runner.acquire()
        self._released = False
        self._watched = watch(self, self._engine, loop=self._runner.loop, afterwards=self._runner.release_here)

    # --- what to read -------------------------------------------------------------------------------------------------

    def subscribe(
        self,
        topics: str | Iterable[str] | None = None,
        *,
        pattern: str | re.Pattern[str] | None = None,
        on_assigned: RebalanceCallback | None = None,
        on_revoked: RebalanceCallback | None = None,
        on_lost: RebalanceCallback | None = None,
    ) -> None:
        """Read these topics, or those whose whole name fits `pattern`, with the other members of `group.id`.

        Returns at once; partitions come while polling. A new subscription replaces the last. Callbacks get a list of
        partitions, in the thread that polls; `on_revoked` can still commit, `on_lost` cannot.
        """
        subscription = Subscription.of(topics, pattern, exclude_internal=self.config.exclude_internal_topics)
        if pattern is None and not subscription.topics:
            self.unsubscribe()
            return
        self._run(self._engine.subscribe(subscription))
        self._callbacks = RebalanceCallbacks(on_assigned, on_revoked, on_lost)
        self._engine.hand.drop()

    def unsubscribe(self) -> None:
        """Leave the group, hold no partition. Commits first (with enable.auto.commit) and calls `on_revoked`."""
        self._engine.hand.settle()
        try:
            self._give_up_all(None)
        finally:
            self._run(self._engine.unsubscribe())
            self._engine.hand.drop()

    def assign(self, partitions: Iterable[Partition]) -> None:
        """Read exactly these partitions, without a group; those read already go on where they are."""
        self._engine.hand.settle()
        wanted = as_partitions(partitions)

        async def assign() -> None:
            self._engine.assign(wanted)

        self._run(assign())
        self._engine.hand.drop()

    def assignment(self) -> set[TopicPartition]:
        """The partitions that are read now."""
        return set(self._engine.positions.keys())

    def subscription(self) -> set[str]:
        """The topics that are subscribed to; with a pattern, those that fit it now."""
        subscription = self._engine.subscription
        return set() if subscription is None else set(subscription.names(self._engine.cluster.metadata))

    # --- reading ------------------------------------------------------------------------------------------------------

    def poll(self, timeout: float | None = None, max_records: int | None = None) -> list[M]:
        """Messages of one partition, at most `max_records` (max.poll.records); none when `timeout` seconds are over.

        Raises NoOffsetForPartition, OffsetOutOfRange, UnknownTopicOrPartition, CorruptRecordBatch and the like for what
        keeps a partition from being read; SerializationError where a deserializer refuses, which names the record to
        seek past; ClientError when nothing is subscribed to or assigned; Wakeup, Closed, ClientForked.
        """
        check_poll(timeout, max_records)
        most = self.config.max_poll_records if max_records is None else max_records
        ends_at = None if timeout is None else time.monotonic() + timeout
        began_ns = now_ns()
        while True:
            self._begin()
            messages = self._engine.hand.messages(most)
            if messages and self._tracing is not None:
                self._tracing.received(messages, began_ns)
            if messages or not self._more(ends_at):
                return messages

    def poll_batch(self, timeout: float | None = None, max_records: int | None = None) -> RecordBatch | None:
        """What was fetched of one partition as columns, whole or at most `max_records`; None when the time is over.

        Raises as `poll`.
        """
        check_poll(timeout, max_records)
        ends_at = None if timeout is None else time.monotonic() + timeout
        began_ns = now_ns()
        while True:
            self._begin()
            batch = self._engine.hand.batch(max_records)
            if batch is not None and self._tracing is not None:
                self._tracing.received(batch, began_ns)
            if batch is not None or not self._more(ends_at):
                return batch

    def __iter__(self) -> Iterator[M]:
        """Messages for ever, until the consumer is closed. A message counts as read once the loop has it."""
        most = self.config.max_poll_records
        while not self._engine.is_closed:
            try:
                self._begin()
                chunk = self._engine.hand.chunk(most)
                if chunk is None:
                    self._more(None)
                    continue
            except Closed:
                return
            if self._tracing is None:
                yield from chunk
                continue
            for message in chunk:
                self._tracing.begin(message)
                yield message

    def _begin(self) -> None:
        if self._tracing is not None:
            self._tracing.finish()
        self._runner.check()
        engine = self._engine
        self._callbacks_of_commits.tell(engine.background.finished)
        engine.begin_poll()
        while engine.steps:
            engine.hand.settle()
            step = self._run(engine.begin_step())
            if step is not None:
                self._take(step)

    def _take(self, step: RebalanceStep) -> None:
        """The user's callback, once what comes is there and what goes is committed."""
        engine = self._engine
        try:
            step.is_told = True
            callback = self._callbacks.of(step.kind)
            if callback is not None and step.partitions:
                callback(list(step.partitions))
        finally:
            self._runner.call_soon(engine.finish_step, step)
            self._run(engine.finished(step))
            engine.hand.drop()

    def _give_up_all(self, timeout_ms: int | None) -> None:
        """Before the group is left."""
        step = self._run(self._engine.begin_last_step(timeout_ms))
        if step is not None:
            self._take(step)

    def _more(self, ends_at: float | None) -> bool:
        engine = self._engine
        engine.check_something_to_read()
        timeout_s = None if ends_at is None else max(ends_at - time.monotonic(), 0)
        if self._released or engine.loop is None:
            return self._run(engine.wait(timeout_s))
        return engine.wait_in_thread(self._runner.hold_up, timeout_s)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._released:
            work.close()
            raise Closed("the consumer is closed; make a new one")
        return self._runner.run(work)

    # --- where to read ------------------------------------------------------------------------------------------------

    def seek(self, partition: Partition, offset: int) -> None:
        """Go on at `offset`, or at BEGINNING or END."""
        check_whole("an offset", offset)
        key = as_partition(partition)
        self._engine.hand.note_position()

        async def seek() -> None:
            self._engine.seek(key, offset)

        self._run(seek())
        self._engine.hand.drop()

    def seek_to_beginning(self, partitions: Iterable[Partition] | None = None) -> None:
        """Go on with the first records there are; of all partitions when None."""
        self._seek_to(partitions, BEGINNING)

    def seek_to_end(self, partitions: Iterable[Partition] | None = None) -> None:
        """Go on with what comes from now on; of all partitions when None."""
        self._seek_to(partitions, END)

    def seek_to_time(self, timestamp_ms: int, partitions: Iterable[Partition] | None = None) -> None:
        """Go on with the first records at or after a time, at the end where there are none."""
        check_whole("timestamp_ms", timestamp_ms)
        if timestamp_ms < 0:
            raise ValueError(f"expected milliseconds since 1970, found {timestamp_ms}")
        self._seek_to(partitions, timestamp_ms)

    def _seek_to(self, partitions: Iterable[Partition] | None, to: int) -> None:
        keys = None if partitions is None else as_partitions(partitions)
        self._engine.hand.note_position()

        async def seek_to() -> None:
            self._engine.seek_to(keys, to)

        self._run(seek_to())
        self._engine.hand.drop()

    def position(self, partition: Partition, timeout: float | None = None) -> int:
        """The offset of the next record that is handed out."""
        self._engine.hand.note_position()
        return self._run(self._engine.position(as_partition(partition), as_ms(timeout)))

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Hand out nothing of these partitions until `resume`; what was fetched of them is kept."""
        self._pause(partitions, True)
        self._engine.hand.drop()

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Go on with these partitions."""
        self._pause(partitions, False)

    def _pause(self, partitions: Iterable[Partition], paused: bool) -> None:
        keys = as_partitions(partitions)

        async def pause() -> None:
            self._engine.pause(keys, paused)

        self._run(pause())

    def paused(self) -> set[TopicPartition]:
        """The partitions that are paused."""
        return {state.key for state in self._engine.positions if state.paused}

    def lag(self, partition: Partition) -> int | None:
        """Records behind the position that can be read, as of the last answer; None before the first."""
        self._engine.hand.note_position()
        return self._engine.find(as_partition(partition)).lag(self.config.isolation_level == "read_committed")

    def beginning_offsets(
        self, partitions: Iterable[Partition], timeout: float | None = None
    ) -> dict[TopicPartition, int]:
        """The first offset of each partition."""
        return self._run(self._engine.edge_offsets(as_partitions(partitions), BEGINNING, as_ms(timeout)))

    def end_offsets(self, partitions: Iterable[Partition], timeout: float | None = None) -> dict[TopicPartition, int]:
        """The offset behind the last record of each partition; with read_committed, the last stable offset."""
        return self._run(self._engine.edge_offsets(as_partitions(partitions), END, as_ms(timeout)))

    def offsets_for_times(
        self, timestamps_ms: Mapping[Partition, int], timeout: float | None = None
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """The first record at or after each time; None where there is none."""
        wanted = {as_partition(key): timestamp for key, timestamp in timestamps_ms.items()}
        return self._run(self._engine.offsets_for_times(wanted, as_ms(timeout)))

    # --- commits ------------------------------------------------------------------------------------------------------

    def commit(
        self, offsets: Mapping[Partition, int | OffsetAndMetadata] | None = None, timeout: float | None = None
    ) -> None:
        """Commit `offsets`, each the next one to read, or the positions of all partitions. Returns when it is done.

        Raises CommitFailed when the group gave the partitions to others; RebalanceInProgress: poll, then commit again;
        DeadlineExceeded.
        """
        self._engine.hand.note_position()
        self._run(self._engine.commit(as_commit(offsets), as_ms(timeout)))
        self._callbacks_of_commits.tell(self._engine.background.finished)

    def commit_async(
        self,
        offsets: Mapping[Partition, int | OffsetAndMetadata] | None = None,
        callback: CommitCallback | None = None,
    ) -> None:
        """Commit without waiting, after the commits that are under way. A later poll, commit or close calls back.

        `callback(offsets, error)` gets what was committed and None, or what it failed with; without a callback a
        failure is told in the log. The next `commit` or `close` commits what matters.
        """
        if self._released:
            raise Closed("the consumer is closed; make a new one")
        self._engine.group_commits()
        self._engine.hand.note_position()
        wanted = as_commit(offsets)
        frozen = self._engine.positions.consumed() if wanted is None else wanted
        ticket = self._callbacks_of_commits.keep(callback)
        self._runner.call_soon(self._engine.commit_in_background, frozen, ticket)

    def committed(
        self, partitions: Iterable[Partition], timeout: float | None = None
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """What the group has committed; None where it has nothing."""
        return self._run(self._engine.committed(as_partitions(partitions), as_ms(timeout)))

    def group_metadata(self) -> GroupMetadata:
        """Who this consumer is in its group, for `Producer.send_offsets_to_transaction`.

        Raises InvalidGroupId without group.id, CommitFailed while it has no place in the group.
        """
        return self._engine.group_metadata()

    # --- life ---------------------------------------------------------------------------------------------------------

    def metrics(self) -> Metrics:
        """What the consumer measures of itself now, under the names of Kafka's own metrics."""
        return self._engine.metrics.values()

    def client_instance_id(self, timeout: float | None = None) -> bytes:
        """The 16 bytes under which brokers know this client's metrics (KIP-714).

        Raises ClientError with enable.metrics.push=false, UnsupportedVersion where brokers take no metrics.
        """
        return self._run(reporter_of(self._engine.reporter).client_instance_id(as_ms(timeout)))

    def processing(self, message: Any) -> AbstractContextManager[Any]:
        """Within it a message is processed: a span, where the consumer traces; else nothing."""
        return nullcontext() if self._tracing is None else self._tracing.processing(message)

    def wakeup(self) -> None:
        """End the poll that waits, or the next one, with Wakeup. From any thread, and from signal handlers."""
        self._engine.wakeup()

    def close(self, *, leave_group: bool = True, timeout: float | None = None) -> None:
        """Commit (with enable.auto.commit), call `on_revoked`, leave the group, close. Harmless when closed, and in a
        forked child.

        With `leave_group=False` the group keeps the place of this member until its session is over. Brokers are waited
        for at most `timeout` seconds (30), 0.5 while none of them is connected.
        """
        if self._released or self._engine.is_dropped:
            return
        self._watched.detach()
        if self._tracing is not None:
            self._tracing.finish()
        try:
            self._runner.check()
        except PystreamError:
            self._released = True
            return
        ends_at = None if timeout is None else time.monotonic() + timeout
        try:
            self._engine.hand.settle()
            self._give_up_all(as_ms(timeout))
        finally:
            left = None if ends_at is None else max(ends_at - time.monotonic(), 0)
            try:
                self._run(self._engine.close(leave_group=leave_group, timeout_ms=as_ms(left)))
            finally:
                self._released = True
                runner.release(self._runner)
        self._callbacks_of_commits.tell(self._engine.background.finished)

    def __enter__(self) -> Consumer[M]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
