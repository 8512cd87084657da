"""The producer for asyncio, on the caller's loop.

    async with Producer(bootstrap_servers="localhost:9092") as producer:
        delivery = await producer.send("payments", b"12.50", key=b"c0001")       # it is in the buffer
        done = await delivery                                                     # the brokers have it
        print(done.partition, done.offset)

`send` waits only where a topic is not known yet and while buffer.memory is full. What a record failed with is raised by
its delivery. One producer serves a whole program: it may be used by any number of tasks of its loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from operator import index
from typing import TYPE_CHECKING, Any, Self

from pystream._native.delivery import Delivery
from pystream.client.config import ProducerConfig
from pystream.client.dropped import watch
from pystream.client.headers import pairs_of
from pystream.client.metrics.model import Metrics
from pystream.client.metrics.reporter import as_ms, reporter_of
from pystream.client.producer.batch_delivery import BatchDelivery, noted
from pystream.client.producer.columns import given_rows, rows_of
from pystream.client.producer.engine import Engine
from pystream.client.producer.offsets import OffsetsToSend
from pystream.client.producer.records import (
    ANY_PARTITION,
    NOW,
    UNFIT,
    Partitioner,
    Serializer,
    Serializers,
    complaint,
)
from pystream.client.producer.row_serializers import RowSerializers
from pystream.client.producer.transactions import State
from pystream.common.errors import Closed, UnknownTopicOrPartition

if TYPE_CHECKING:
    from pystream.client.headers import Headers
    from pystream.client.telemetry import Tracing


class Producer:
    """Sends records to topics. Idempotent unless `enable.idempotence` is false."""

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        /,
        *,
        key_serializer: Serializer | None = None,
        value_serializer: Serializer | None = None,
        partitioner: Partitioner | None = None,
        tracing: Tracing | None = None,
        **keywords: Any,
    ) -> None:
        """Settings are those of ProducerConfig, as a dict with dotted names or as keywords. Raises InvalidConfig.

        `tracing` (pystream.client.telemetry) makes spans of what is sent.

        Nothing is connected yet.
        """
        config = ProducerConfig.load(settings, **keywords)
        self._serializers = Serializers(key_serializer, value_serializer)
        self._engine = Engine(config)
        self._append = self._engine.append_now
        self._partitioner = partitioner
        self._rows = RowSerializers(self._serializers, partitioner)
        self._converts = any(given is not None for given in (key_serializer, value_serializer, partitioner))
        if tracing is not None:  # over the methods of the class, which stay free of it
            spans = tracing.of_producer(self.config)
            self.__dict__.update(send=spans.around(self.send), send_batch=spans.around_batch(self.send_batch))
        self._watched = watch(self, self._engine)

    @property
    def config(self) -> ProducerConfig:
        """What the producer is set to."""
        return self._engine.config

    async def send(
        self,
        topic: str,
        value: Any = None,
        key: Any = None,
        headers: Headers | None = None,
        timestamp: int | None = None,
        partition: int | None = None,
        *,
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> Delivery:
        """Put one record into the buffer; await what it gives to have it acknowledged.

        Without serializers key and value are bytes-like or None. `timestamp` is in milliseconds since 1970, by default
        now. `partition` is chosen by the key's hash, or without a key to fill batches, unless given. `on_delivery` is
        called with the delivery once it is done.

        Raises UnknownTopicOrPartition, InvalidTopic, MessageTooLarge, BufferFull (after max.block.ms),
        SerializationError, InvalidTimestamp, Closed, ClientForked, and what the producer failed with for good;
        TypeError and ValueError for what is no record.
        """
        if self._converts:
            key, value, headers, partition = await self._converted(topic, key, value, headers, partition)
        pairs = None if headers is None else pairs_of(headers)
        try:
            where = ANY_PARTITION if partition is None else index(partition)
            when = NOW if timestamp is None else index(timestamp)
            try:
                delivery = self._append(topic, value, key, pairs, where, when)
            except (UnknownTopicOrPartition, Closed):
                delivery = None
            if delivery is None:
                delivery = await self._engine.append(topic, value, key, pairs, where, when)
        except UNFIT as error:
            raise complaint(topic, value, key, pairs, partition, timestamp) or error from None
        if on_delivery is not None:
            delivery.add_callback(on_delivery)
        return delivery

    async def send_batch(
        self,
        topic: str,
        values: Any,
        keys: Any = None,
        headers: Any = None,
        timestamps: Any = None,
        partitions: Any = None,
    ) -> BatchDelivery:
        """Put many records into the buffer at once, without a Python object for each.

        `values`: a list of bytes or None, NumPy rows of fixed width (S, V, 2-D uint8), an Arrow array of binaries or
        texts, or an Arrow table with the columns value, key, headers, partition, timestamp. `keys`, `headers`,
        `timestamps` and `partitions` (one int for all, or one for each row) may be given beside it. `headers` are a
        dict that goes with all rows, an Arrow map or list of structs of name and value, or a list with those of each
        row, whose rows cost as much as `send`.

        With a serializer or a partitioner each row is a Python object, and costs as much, too: what the list, the array
        or the column holds goes through them.

        Raises as `send`; rows before the one that is refused are sent, and their number is noted on the error.
        """
        given = given_rows(values, keys=keys, headers=headers, timestamps=timestamps, partitions=partitions)
        delivery = BatchDelivery()
        with noted(topic, delivery):
            if self._converts:
                count = 0 if self._rows.partitioner is None else await self.partitions(topic)
                await self._engine.append_made(topic, self._rows.begin(topic, given, count), delivery)
            else:
                await self._engine.append_all(topic, rows_of(given), delivery)
        return delivery

    async def _converted(
        self, topic: str, key: Any, value: Any, headers: Headers | None, partition: int | None
    ) -> tuple[Any, Any, Headers | None, int | None]:
        key, value, headers = await self._serializers.apply_async(topic, key, value, headers)
        if partition is None and self._partitioner is not None:
            partition = self._partitioner(topic, key, await self._engine.partition_count(topic))
        return key, value, headers, partition

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has. Raises UnknownTopicOrPartition after max.block.ms."""
        return await self._engine.partition_count(topic)

    def metrics(self) -> Metrics:
        """What the producer measures of itself now, under the names of Kafka's own metrics."""
        return self._engine.metrics.values()

    async def client_instance_id(self, timeout: float | None = None) -> bytes:
        """The 16 bytes under which brokers know this client's metrics (KIP-714).

        Raises ClientError with enable.metrics.push=false, UnsupportedVersion where brokers take no metrics.
        """
        return await reporter_of(self._engine.reporter).client_instance_id(as_ms(timeout))

    async def flush(self, timeout: float | None = None) -> None:
        """Return once all that was sent before is acknowledged or has failed; nothing lingers meanwhile.

        Errors are raised by the deliveries, not here. Raises DeadlineExceeded after `timeout` seconds.
        """
        self._engine.check()
        await self._engine.flush(timeout)

    async def close(self, timeout: float | None = None) -> None:
        """Send what is in the buffer, for at most `timeout` seconds, then close. Harmless when closed.

        What is not acknowledged by then fails with Closed. An open transaction is aborted. Raises ClientError, once,
        where the producer's loop ended before.
        """
        self._watched.detach()
        await self._engine.close(timeout)

    # --- transactions -------------------------------------------------------------------------------------------------

    async def init_transactions(self) -> None:
        """Once before the first transaction: fences earlier producers of this transactional.id and ends what they left.

        Raises DeadlineExceeded after max.block.ms (call it again), and what the coordinator refuses it with.
        """
        await self._engine.transactional().initialize()

    async def begin_transaction(self) -> None:
        """All that is sent from now on is committed or aborted together."""
        self._engine.transactional().begin()

    async def send_offsets_to_transaction(self, offsets: OffsetsToSend, group: Any) -> None:
        """Commit what a consumer read together with what is sent.

        `offsets`: (topic, partition) -> the offset to read next. `group`: its name, or the consumer's
        `group_metadata()`, so that a consumer that lost its partitions meanwhile is refused (CommitFailed: abort then).
        """
        await self._engine.transactional().send_offsets(offsets, group)

    async def commit_transaction(self) -> None:
        """Flush and commit. Raises TransactionAbortable where a record failed: abort then.

        After DeadlineExceeded (max.block.ms) it is under way still: call it again.
        """
        await self._engine.transactional().commit()

    async def abort_transaction(self) -> None:
        """Take all back that was sent since begin_transaction."""
        await self._engine.transactional().abort()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Self]:
        """Begin, then commit at the end of the block, or abort when it raises; initializes transactions if need be."""
        transactions = self._engine.transactional()
        if transactions.state is State.NEW:
            await self.init_transactions()
        await self.begin_transaction()
        try:
            yield self
            await self.commit_transaction()
        except BaseException:
            if transactions.can_be_aborted:
                await self.abort_transaction()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
