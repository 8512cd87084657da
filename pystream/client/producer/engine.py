"""The producer's engine under both faces: accumulator, sender, cluster. It runs in one loop; any thread may append.

    face ── append ──► accumulator ◄── sender ──► leaders
               │ topic not known, memory full
               └──► learn() · memory came back

A producer that failed for good (fenced, not authorized) refuses everything from then on with the error it failed with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from pystream._native.accumulator import Accumulator
from pystream._native.column_source import ColumnSource, HeaderColumn
from pystream._native.compression import Codec
from pystream._native.delivery import Deliveries, Delivery, ProducerBatch
from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.retry import Deadline
from pystream.client.config import ProducerConfig
from pystream.client.headers import pairs_of
from pystream.client.metrics.producer import ProducerMetrics
from pystream.client.metrics.reporter import TelemetryReporter
from pystream.client.producer.batch_delivery import BatchDelivery
from pystream.client.producer.columns import Rows
from pystream.client.producer.records import UNFIT, complaint
from pystream.client.producer.row_serializers import MadeRows
from pystream.client.producer.sender import Sender
from pystream.client.producer.sequencing import Idempotence, Sequencing, Unsequenced, again
from pystream.client.producer.transactions import Transactions
from pystream.common.clock import SleepingClock
from pystream.common.errors import (
    BufferFull,
    ClientError,
    Closed,
    DeadlineExceeded,
    InvalidConfig,
    PystreamError,
    UnknownTopicOrPartition,
)
from pystream.common.logging import get_logger
from pystream.common.model import validate_topic_name

logger = get_logger(__name__)

if TYPE_CHECKING:
    from typing_extensions import Buffer

ANY_PARTITION: Final = -1
LOOP_ENDED: Final = "the event loop ended before this producer was closed: make one in each loop"
LOOK_AGAIN_MS: Final = 100  # for memory, by whoever waits for it: not every piece that comes back is told of


class Append(Protocol):
    """Accumulator.append."""

    def __call__(
        self,
        topic: str,
        value: Buffer | None,
        key: Buffer | None,
        headers: list[tuple[str | bytes, Buffer | None]] | None,
        partition: int,
        timestamp_ms: int,
        /,
    ) -> Delivery | None: ...


class Engine:
    """One for each producer."""

    def __init__(
        self,
        config: ProducerConfig,
        *,
        on_ready: Callable[[Callable[[], None]], object] | None = None,
        on_memory: Callable[[], object] | None = None,
        clock: SleepingClock | None = None,
    ) -> None:
        """`on_ready(wake)` has `wake` called in the loop; unset, appending happens there."""
        self.config = config
        self.cluster = Cluster(config, clock=clock, auto_create_topics=True)
        self.failure: PystreamError | None = None
        self.is_dropped = False
        self._closed = False
        self._waiting_for_memory: list[asyncio.Future[None]] = []
        self._on_ready = on_ready
        self._loop: asyncio.AbstractEventLoop | None = None  # of the first use
        self.accumulator = _accumulator(config, self._wake, on_memory or self._memory_came_back)
        self.metrics = ProducerMetrics(self.cluster, self.accumulator)
        self.reporter = self._new_reporter() if config.enable_metrics_push else None
        self.sender = Sender(config, self.cluster, self.accumulator, self.metrics, self._broke)
        self.transactions: Transactions | None = None
        self.sender.sequencing = self._new_sequencing()

    def _new_sequencing(self) -> Sequencing:
        if not self.config.enable_idempotence:
            return Unsequenced()
        wake, fatal = self.sender.wake, self.fail
        if self.config.transactional_id is None:
            return Idempotence(self.cluster, self.accumulator, wake=wake, fatal=fatal)
        self.transactions = Transactions(
            self.config, self.cluster, self.accumulator, wake=wake, fatal=fatal, flush=self.flush
        )
        return self.transactions

    def _new_reporter(self) -> TelemetryReporter:
        transactional_id = self.config.transactional_id
        return TelemetryReporter(self.cluster, self.metrics, lambda: {"transactional_id": transactional_id})

    def transactional(self) -> Transactions:
        """Raises InvalidConfig without a transactional.id; and as check_open()."""
        if self.transactions is None:
            raise InvalidConfig("transactions need transactional.id: give the producer one, which no other one has")
        self.check_open()
        return self.transactions

    # --- appending ----------------------------------------------------------------------------------------------------

    @property
    def append_now(self) -> Append:
        """What adds a record without waiting: None when the memory is full."""
        return self.accumulator.append if self.transactions is None else self._append_in_transaction

    def _append_in_transaction(
        self,
        topic: str,
        value: Buffer | None,
        key: Buffer | None,
        headers: list[tuple[str | bytes, Buffer | None]] | None,
        partition: int,
        timestamp_ms: int,
        /,
    ) -> Delivery | None:
        assert self.transactions is not None
        self.transactions.check_open()
        return self.accumulator.append(topic, value, key, headers, partition, timestamp_ms)

    async def append(
        self,
        topic: str,
        value: Buffer | None,
        key: Buffer | None,
        headers: list[tuple[str | bytes, Buffer | None]] | None,
        partition: int,
        timestamp_ms: int,
    ) -> Delivery:
        """Add a record, after waiting for its topic to be known and for memory. In the loop's own thread."""
        deadline = self.deadline()
        while True:
            try:
                delivery = self.append_now(topic, value, key, headers, partition, timestamp_ms)
            except UnknownTopicOrPartition:
                await self.learn(topic, partition, deadline)
                continue
            except Closed:
                self.check()
                raise
            if delivery is not None:
                return delivery
            await self.memory(deadline)

    def append_rows(self, topic: str, rows: Rows, start: int) -> Deliveries | Delivery | None:
        """Add rows from `start` on, as many as there is memory for; None when there is none."""
        if self.transactions is not None:
            self.transactions.check_open()
        if rows.headers is not None and not isinstance(rows.headers, HeaderColumn):
            return self._append_row(topic, rows, rows.headers, start)
        options: dict[str, Any] = {
            "partition": rows.partition,
            "timestamps": rows.timestamps,
            "headers": rows.common,
            "row_headers": rows.headers,
        }
        if isinstance(rows.values, list):
            assert not isinstance(rows.keys, ColumnSource)
            taken = self.accumulator.append_many(topic, rows.values, rows.keys, start=start, **options)
        else:
            assert not isinstance(rows.keys, list)
            taken = self.accumulator.append_columns(topic, rows.values, rows.keys, start=start, **options)
        return taken if taken.taken > 0 or start == len(rows.values) else None

    def _append_row(self, topic: str, rows: Rows, headers: Sequence[Any], row: int) -> Delivery | None:
        assert isinstance(rows.values, list)
        assert not isinstance(rows.keys, ColumnSource)
        key = None if rows.keys is None else rows.keys[row]
        when = rows.timestamps if isinstance(rows.timestamps, int) else memoryview(rows.timestamps)[row]
        pairs = [*(pairs_of(headers[row]) if headers[row] else ()), *(rows.common or ())]
        try:
            return self.accumulator.append(topic, rows.values[row], key, pairs, rows.partition, when)
        except UNFIT as error:
            raise complaint(topic, rows.values[row], key, pairs, rows.partition, when) or error from None

    async def append_all(self, topic: str, all_rows: Iterable[Rows], delivery: BatchDelivery) -> None:
        """Add all rows, waiting as append() does, up to max.block.ms each time. Raises where a row is refused."""
        for rows in all_rows:
            start = 0
            deadline = self.deadline()
            while start < len(rows.values):
                try:
                    taken = self.append_rows(topic, rows, start)
                except UnknownTopicOrPartition:
                    await self.learn(topic, rows.partition, deadline)
                    continue
                except Closed:
                    self.check()
                    raise
                if taken is None:
                    await self.memory(deadline)
                    continue
                delivery.add(taken)
                start += 1 if isinstance(taken, Delivery) else taken.taken
                deadline = self.deadline()

    async def append_made(self, topic: str, all_rows: Iterable[MadeRows], delivery: BatchDelivery) -> None:
        """The same for rows that are to be serialized; other tasks of the loop run in between."""
        for made in all_rows:
            await made.make_async()
            await self.append_all(topic, made.rows(), delivery)
            made.check()
            await asyncio.sleep(0)

    async def partition_count(self, topic: str) -> int:
        """How many partitions a topic has; asks when it is not known."""
        if self.accumulator.partition_count(topic) == 0:
            await self.learn(topic, ANY_PARTITION, self.deadline())
        return self.accumulator.partition_count(topic)

    def deadline(self) -> Deadline:
        """Of one call that blocks: max.block.ms."""
        return Deadline(self.cluster.clock, self.config.max_block_ms, "producing")

    async def learn(self, topic: str, partition: int, deadline: Deadline) -> None:
        """Make a topic known that append() did not know. Raises UnknownTopicOrPartition, InvalidTopic, as check()."""
        self.check()
        known = self.accumulator.partition_count(topic)
        if known == 0:
            validate_topic_name(topic)
            info = await self.cluster.topic(topic, timeout_ms=deadline.left_ms)
            self.sender.topics.know(info)
            return
        self.cluster.track((topic,))
        await self.cluster.refresh()
        known = self.accumulator.partition_count(topic)
        if not ANY_PARTITION <= partition < known:
            raise UnknownTopicOrPartition(
                f"{topic} has the partitions 0 to {known - 1}, not {partition}; leave partition out to have one chosen"
            )

    async def memory(self, deadline: Deadline) -> None:
        """Return once memory came back, or may have; in the loop's own thread.

        Raises BufferFull when the deadline is over.
        """
        self.check()
        left_ms = deadline.left_ms
        if left_ms == 0:
            raise self.full()
        loop = asyncio.get_running_loop()
        came: asyncio.Future[None] = loop.create_future()
        self._waiting_for_memory.append(came)
        timer = loop.call_later(min(left_ms, LOOK_AGAIN_MS) / 1000, _set, came)
        try:
            await came
        finally:
            timer.cancel()
        self.check()

    def full(self) -> BufferFull:
        """The error of a call that waited max.block.ms for memory."""
        return BufferFull(
            f"buffer.memory={self.config.buffer_memory} bytes are taken by records that wait to be acknowledged, and "
            f"stayed so for max.block.ms={self.config.max_block_ms}: the brokers are slower than this producer. "
            "Send less at a time, raise buffer.memory, or wait longer"
        )

    def check_open(self) -> None:
        """Raises what the producer failed with for good, and Closed. From any thread."""
        if self.failure is not None:
            raise again(self.failure)
        if self._closed:
            raise Closed("the producer is closed; make a new one")

    def check(self) -> None:
        """The same, and what `Cluster.check_usable` raises; in the loop."""
        self.check_open()
        self.cluster.check_usable()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self.cluster.spawn("see the end of the loop", self._outlive_nothing())

    def _wake(self) -> None:
        """There is something to send."""
        if self._on_ready is not None:
            self._on_ready(self.sender.wake)
        elif self._loop is None or self._loop is asyncio.get_running_loop():
            self.sender.wake()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.sender.wake)

    async def _outlive_nothing(self) -> None:
        """Fail when the loop ends before the producer is closed: appending does not look at loops, and would wait."""
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            if not self._closed:
                self.fail(ClientError(LOOP_ENDED))

    def _memory_came_back(self) -> None:
        waiting, self._waiting_for_memory = self._waiting_for_memory, []
        for came in waiting:
            _set(came)

    # --- flush and end ------------------------------------------------------------------------------------------------

    async def flush(self, timeout_s: float | None = None) -> None:
        """Return once all that was sent before is acknowledged or has failed; nothing lingers meanwhile.

        Raises DeadlineExceeded after `timeout_s`.
        """
        self.accumulator.begin_flush()
        began_ms = self.cluster.clock.monotonic_ms()
        try:
            self.sender.wake()
            async with asyncio.timeout(timeout_s):
                for batch in self.accumulator.incomplete():
                    await batch
        except TimeoutError:
            raise DeadlineExceeded(
                f"flush: {self.undelivered} records are not acknowledged after {timeout_s} s; flush again"
            ) from None
        finally:
            self.metrics.flushing_ms += self.cluster.clock.monotonic_ms() - began_ms
            self.accumulator.end_flush()

    def fail(self, error: PystreamError) -> None:
        """Failed for good: all that waits raises `error`, and so does what is called from now on."""
        if self.failure is None:
            self.failure = error
            self.accumulator.close()
            self._drop_all(error)
            self._memory_came_back()

    def _broke(self, error: Exception) -> None:
        self.fail(error if isinstance(error, PystreamError) else PystreamError(f"the producer failed: {error!r}"))

    async def close(self, timeout_s: float | None = None) -> None:
        """Send what is there, for at most `timeout_s`, then let go of everything. Harmless when closed.

        What could not be sent fails with Closed. Raises ClientError, once, where the loop ended before. In a forked
        child nothing is sent.
        """
        if self._closed:
            return
        self._closed = True
        if self.cluster.is_forked:  # what is in the buffer is the parent's to send, and so are its locks
            return
        self.accumulator.close()
        if self._loop is not None and self._loop.is_closed():
            self._drop_all(ClientError(LOOP_ENDED))
            raise ClientError(LOOP_ENDED)
        self._memory_came_back()
        try:
            async with asyncio.timeout(timeout_s):
                if self.transactions is not None:
                    await self.transactions.finish_for_close()
                if self.failure is None and self.accumulator.incomplete():
                    await self.flush()
        except (PystreamError, TimeoutError) as error:
            logger.warning("closed with work that was not done", error=error)
        finally:
            self.sender.stop()
            self._drop_all(
                Closed("the producer was closed before the record was acknowledged; it may have been written")
            )
            if self.reporter is not None:
                await self.reporter.close(timeout_s)
            await self.cluster.close()

    async def abandon(self) -> None:
        """Send what is there, as long as delivery.timeout.ms allows, and close."""
        await self.close()

    def unfinished(self) -> str:
        """What it is told by who drops it: nobody hears what becomes of the records."""
        left = self.undelivered
        if left == 0:
            return ""
        logger.warning("a producer was dropped with records that are not delivered: close() it", records=left)
        return f"; {left} records are not delivered, and are sent only if the program goes on for long enough"

    @property
    def undelivered(self) -> int:
        """Records that are not acknowledged, and have not failed. Any thread."""
        return sum(batch.record_count for batch in self.accumulator.incomplete())

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Where it runs; None before its first use."""
        return self._loop

    def _drop_all(self, error: PystreamError) -> None:
        dropped: list[ProducerBatch] = [*self.accumulator.take_all(), *self.accumulator.incomplete()]
        for batch in dropped:
            self.accumulator.fail(batch, error)


def _accumulator(
    config: ProducerConfig, on_ready: Callable[[], object], on_memory: Callable[[], object]
) -> Accumulator:
    levels = {
        "gzip": config.compression_gzip_level,
        "lz4": config.compression_lz4_level,
        "zstd": config.compression_zstd_level,
    }
    return Accumulator(
        limit_bytes=config.buffer_memory,
        batch_bytes=config.batch_size,
        bulk_bytes=config.bulk_batch_size,
        linger_ms=config.linger_ms,
        max_request_bytes=config.max_request_size,
        delivery_timeout_ms=config.delivery_timeout_ms,
        codec=Codec[config.compression_type.upper()],
        level=levels.get(config.compression_type),
        transactional=config.transactional_id is not None,
        ignore_keys=config.partitioner_ignore_keys,
        adaptive=config.partitioner_adaptive_partitioning_enable,
        on_ready=on_ready,
        on_memory=on_memory,
    )


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
