"""The consumer for asyncio."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from time import time_ns as now_ns
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from pystream._native.message_batch import Message
from pystream.client.config import ConsumerConfig
from pystream.client.consumer.decoding import DecodedMessage, Deserializer, M, Unasked, decoder
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
from pystream.common.errors import Closed
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.telemetry import Tracing

Partition = TopicPartition | tuple[str, int]
T = TypeVar("T")
N = TypeVar("N", int, int | None)
LONGEST_TURN_SECONDS: Final = 0.005


class Consumer(Generic[M]):
    """Reads topics, alone (`assign`) or as a member of a group (`subscribe`). Belongs to one loop and one task.

        async with Consumer({"bootstrap.servers": "127.0.0.1:9092", "group.id": "fraud"}) as consumer:
            await consumer.subscribe(["payments"])
            async for message in consumer:
                print(message.offset, message.value)

    Three ways to read: messages one by one (`async for`), some at a time (`poll`), and columns (`poll_batch`). What
    was handed out counts as read by the next poll; the position says where that ends. Rebalances, automatic commits and
    their callbacks happen while polling, never in between: poll at least every `max.poll.interval.ms`.
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
        self._let_run_at = 0.0  # on the loop's clock: when other tasks had their turn
        self._callbacks = RebalanceCallbacks()
        self._callbacks_of_commits = CommitCallbacks()
        self._decode = decoder(key_deserializer, value_deserializer, may_block=False)
        self._engine.hand.decode = None if self._decode is None else weakly(self._decode)
        self._watched = watch(self, self._engine)

    # --- what to read -------------------------------------------------------------------------------------------------

    async def subscribe(
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
        partitions and may be coroutine functions; `on_revoked` can still commit, `on_lost` cannot.
        """
        subscription = Subscription.of(topics, pattern, exclude_internal=self.config.exclude_internal_topics)
        if pattern is None and not subscription.topics:
            await self.unsubscribe()
            return
        await self._engine.subscribe(subscription)
        self._callbacks = RebalanceCallbacks(on_assigned, on_revoked, on_lost)
        self._engine.hand.drop()

    async def unsubscribe(self) -> None:
        """Leave the group, hold no partition. Commits first (with enable.auto.commit) and calls `on_revoked`."""
        self._engine.hand.settle()
        try:
            await self._give_up_all(None)
        finally:
            await self._engine.unsubscribe()
            self._engine.hand.drop()

    async def assign(self, partitions: Iterable[Partition]) -> None:
        """Read exactly these partitions, without a group; those read already go on where they are."""
        self._engine.hand.settle()
        self._engine.assign(as_partitions(partitions))
        self._engine.hand.drop()

    def assignment(self) -> set[TopicPartition]:
        """The partitions that are read now."""
        return set(self._engine.positions.keys())

    def subscription(self) -> set[str]:
        """The topics that are subscribed to; with a pattern, those that fit it now."""
        subscription = self._engine.subscription
        return set() if subscription is None else set(subscription.names(self._engine.cluster.metadata))

    # --- reading ------------------------------------------------------------------------------------------------------

    async def poll(self, timeout: float | None = None, max_records: int | None = None) -> list[M]:
        """Messages of one partition, at most `max_records` (max.poll.records); none when `timeout` seconds are over.

        Raises NoOffsetForPartition, OffsetOutOfRange, UnknownTopicOrPartition, CorruptRecordBatch and the like for what
        keeps a partition from being read; SerializationError where a deserializer refuses, which names the record to
        seek past; ClientError when nothing is subscribed to or assigned; Wakeup, Closed.
        """
        check_poll(timeout, max_records)
        most = self.config.max_poll_records if max_records is None else max_records
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        began_ns = now_ns()
        while True:
            await self._begin()
            messages = await self._taken(self._engine.hand.messages, most)
            if messages and self._tracing is not None:
                self._tracing.received(messages, began_ns)
            if messages or not await self._more(deadline):
                return messages

    async def poll_batch(self, timeout: float | None = None, max_records: int | None = None) -> RecordBatch | None:
        """What was fetched of one partition as columns, whole or at most `max_records`; None when the time is over.

        Raises as `poll`.
        """
        check_poll(timeout, max_records)
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        began_ns = now_ns()
        while True:
            await self._begin()
            batch = await self._taken(self._engine.hand.batch, max_records)
            if batch is not None and self._tracing is not None:
                self._tracing.received(batch, began_ns)
            if batch is not None or not await self._more(deadline):
                return batch

    async def __aiter__(self) -> AsyncIterator[M]:
        """Messages for ever, until the consumer is closed. A message counts as read once the loop has it."""
        most = self.config.max_poll_records
        while not self._engine.is_closed:
            try:
                await self._begin()
                chunk = await self._taken(self._engine.hand.chunk, most)
                if chunk is None:
                    await self._more(None)
                    continue
            except Closed:
                return
            for message in chunk:
                if self._tracing is not None:
                    self._tracing.begin(message)
                yield message

    async def _taken(self, take: Callable[[N], T], most: N) -> T:
        """What was fetched; a deserializer that must ask a registry first is given the time."""
        while True:
            try:
                return take(most)
            except Unasked as missing:
                await missing.resolve()

    async def _begin(self) -> None:
        engine = self._engine
        if self._tracing is not None:
            self._tracing.finish()
        engine.check_usable()
        await self._let_others_run()
        self._callbacks_of_commits.tell(engine.background.finished)
        engine.begin_poll()
        while engine.steps:
            engine.hand.settle()
            step = await engine.begin_step()
            if step is not None:
                await self._take(step)

    async def _take(self, step: RebalanceStep) -> None:
        """The user's callback, once what comes is there and what goes is committed."""
        engine = self._engine
        try:
            step.is_told = True
            callback = self._callbacks.of(step.kind)
            if callback is not None and step.partitions:
                result = callback(list(step.partitions))
                if inspect.isawaitable(result):
                    await result
        finally:
            engine.finish_step(step)
            engine.hand.drop()

    async def _give_up_all(self, timeout_ms: int | None) -> None:
        """Before the group is left."""
        step = await self._engine.begin_last_step(timeout_ms)
        if step is not None:
            await self._take(step)

    async def _let_others_run(self) -> None:
        """Who always finds messages must let the fetches and heartbeats run."""
        now = asyncio.get_running_loop().time()
        if now - self._let_run_at > LONGEST_TURN_SECONDS:
            self._let_run_at = now
            await asyncio.sleep(0)

    async def _more(self, deadline: float | None) -> bool:
        self._engine.check_something_to_read()
        left = None if deadline is None else max(deadline - asyncio.get_running_loop().time(), 0)
        return await self._engine.wait(left)

    # --- where to read ------------------------------------------------------------------------------------------------

    async def seek(self, partition: Partition, offset: int) -> None:
        """Go on at `offset`, or at BEGINNING or END."""
        check_whole("an offset", offset)
        self._engine.hand.note_position()
        self._engine.seek(as_partition(partition), offset)
        self._engine.hand.drop()

    async def seek_to_beginning(self, partitions: Iterable[Partition] | None = None) -> None:
        """Go on with the first records there are; of all partitions when None."""
        self._seek_to(partitions, BEGINNING)

    async def seek_to_end(self, partitions: Iterable[Partition] | None = None) -> None:
        """Go on with what comes from now on; of all partitions when None."""
        self._seek_to(partitions, END)

    async def seek_to_time(self, timestamp_ms: int, partitions: Iterable[Partition] | None = None) -> None:
        """Go on with the first records at or after a time, at the end where there are none."""
        check_whole("timestamp_ms", timestamp_ms)
        if timestamp_ms < 0:
            raise ValueError(f"expected milliseconds since 1970, found {timestamp_ms}")
        self._seek_to(partitions, timestamp_ms)

    def _seek_to(self, partitions: Iterable[Partition] | None, to: int) -> None:
        self._engine.hand.note_position()
        self._engine.seek_to(None if partitions is None else as_partitions(partitions), to)
        self._engine.hand.drop()

    async def position(self, partition: Partition, timeout: float | None = None) -> int:
        """The offset of the next record that is handed out."""
        self._engine.hand.note_position()
        return await self._engine.position(as_partition(partition), as_ms(timeout))

    async def pause(self, partitions: Iterable[Partition]) -> None:
        """Hand out nothing of these partitions until `resume`; what was fetched of them is kept."""
        self._engine.pause(as_partitions(partitions), True)
        self._engine.hand.drop()

    async def resume(self, partitions: Iterable[Partition]) -> None:
        """Go on with these partitions."""
        self._engine.pause(as_partitions(partitions), False)

    def paused(self) -> set[TopicPartition]:
        """The partitions that are paused."""
        return {state.key for state in self._engine.positions if state.paused}

    def lag(self, partition: Partition) -> int | None:
        """Records behind the position that can be read, as of the last answer; None before the first."""
        self._engine.hand.note_position()
        return self._engine.state_of(as_partition(partition)).lag(self.config.isolation_level == "read_committed")

    async def beginning_offsets(
        self, partitions: Iterable[Partition], timeout: float | None = None
    ) -> dict[TopicPartition, int]:
        """The first offset of each partition."""
        return await self._engine.edge_offsets(as_partitions(partitions), BEGINNING, as_ms(timeout))

    async def end_offsets(
        self, partitions: Iterable[Partition], timeout: float | None = None
    ) -> dict[TopicPartition, int]:
        """The offset behind the last record of each partition; with read_committed, the last stable offset."""
        return await self._engine.edge_offsets(as_partitions(partitions), END, as_ms(timeout))

    async def offsets_for_times(
        self, timestamps_ms: Mapping[Partition, int], timeout: float | None = None
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """The first record at or after each time; None where there is none."""
        wanted = {as_partition(key): timestamp for key, timestamp in timestamps_ms.items()}
        return await self._engine.offsets_for_times(wanted, as_ms(timeout))

    # --- commits ------------------------------------------------------------------------------------------------------

    async def commit(
        self, offsets: Mapping[Partition, int | OffsetAndMetadata] | None = None, timeout: float | None = None
    ) -> None:
        """Commit `offsets`, each the next one to read, or the positions of all partitions. Returns when it is done.

        Raises CommitFailed when the group gave the partitions to others; RebalanceInProgress: poll, then commit again;
        DeadlineExceeded.
        """
        self._engine.hand.note_position()
        await self._engine.commit(as_commit(offsets), as_ms(timeout))
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
        self._engine.check_usable()
        self._engine.group_commits()
        self._engine.hand.note_position()
        wanted = as_commit(offsets)
        frozen = self._engine.positions.consumed() if wanted is None else wanted
        self._engine.commit_in_background(frozen, self._callbacks_of_commits.keep(callback))

    async def committed(
        self, partitions: Iterable[Partition], timeout: float | None = None
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """What the group has committed; None where it has nothing."""
        return await self._engine.committed(as_partitions(partitions), as_ms(timeout))

    def group_metadata(self) -> GroupMetadata:
        """Who this consumer is in its group, for `Producer.send_offsets_to_transaction`.

        Raises InvalidGroupId without group.id, CommitFailed while it has no place in the group.
        """
        return self._engine.group_metadata()

    # --- life ---------------------------------------------------------------------------------------------------------

    def metrics(self) -> Metrics:
        """What the consumer measures of itself now, under the names of Kafka's own metrics."""
        return self._engine.metrics.values()

    async def client_instance_id(self, timeout: float | None = None) -> bytes:
        """The 16 bytes under which brokers know this client's metrics (KIP-714).

        Raises ClientError with enable.metrics.push=false, UnsupportedVersion where brokers take no metrics.
        """
        return await reporter_of(self._engine.reporter).client_instance_id(as_ms(timeout))

    def processing(self, message: Any) -> AbstractContextManager[Any]:
        """Within it a message is processed: a span, where the consumer traces; else nothing."""
        return nullcontext() if self._tracing is None else self._tracing.processing(message)

    def wakeup(self) -> None:
        """End the poll that waits, or the next one, with Wakeup. From any thread, and from signal handlers."""
        self._engine.wakeup()

    async def close(self, *, leave_group: bool = True, timeout: float | None = None) -> None:
        """Commit (with enable.auto.commit), call `on_revoked`, leave the group, close. Harmless when closed.

        With `leave_group=False` the group keeps the place of this member until its session is over. Brokers are waited
        for at most `timeout` seconds (30), 0.5 while none of them is connected.
        """
        self._watched.detach()
        if self._tracing is not None:
            self._tracing.finish()
        ends_at = None if timeout is None else asyncio.get_running_loop().time() + timeout
        self._engine.hand.settle()
        try:
            await self._give_up_all(as_ms(timeout))
        finally:
            left = None if ends_at is None else max(ends_at - asyncio.get_running_loop().time(), 0)
            await self._engine.close(leave_group=leave_group, timeout_ms=as_ms(left))
        self._callbacks_of_commits.tell(self._engine.background.finished)

    async def __aenter__(self) -> Consumer[M]:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def as_ms(timeout: float | None) -> int | None:
    """Seconds of users as milliseconds."""
    return None if timeout is None else round(timeout * 1000)
