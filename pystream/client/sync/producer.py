"""The blocking producer: the engine of the asyncio one on the background loop, appending from the caller's own thread.

    with Producer(bootstrap_servers="localhost:9092") as producer:
        delivery = producer.send("payments", b"12.50", key=b"c0001")     # it is in the buffer
        print(delivery.result(timeout=10).offset)                         # the brokers have it

Thread-safe. `send` never changes threads: it waits, and only then asks the loop, where a topic is not known yet, and
while buffer.memory is full. Callbacks of deliveries run in the loop's thread: they must be quick and not wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import index
from typing import TYPE_CHECKING, Any, Self

from pystream._native.delivery import Delivery
from pystream.client.config import ProducerConfig
from pystream.client.dropped import watch
from pystream.client.headers import pairs_of
from pystream.client.metrics.model import Metrics
from pystream.client.metrics.reporter import as_ms, reporter_of
from pystream.client.producer.batch_delivery import BatchDelivery, noted
from pystream.client.producer.columns import GivenRows, Rows, given_rows, rows_of
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
from pystream.client.sync import runner
from pystream.common.errors import Closed, UnknownTopicOrPartition
from pystream.common.logging import get_logger

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from pystream.client.cluster.retry import Deadline
    from pystream.client.headers import Headers
    from pystream.client.telemetry import Tracing

logger = get_logger(__name__)


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
        self._memory = _Memory()
        self._closed = False
        self._runner = runner.acquire()
        self._engine = Engine(config, on_ready=self._runner.call_soon, on_memory=self._memory.came_back)
        self._append = self._engine.append_now
        self._partitioner = partitioner
        self._rows = RowSerializers(self._serializers, partitioner)
        self._converts = any(given is not None for given in (key_serializer, value_serializer, partitioner))
        if tracing is not None:  # over the methods of the class, which stay free of it
            spans = tracing.of_producer(self.config)
            self.__dict__.update(send=spans.around(self.send), send_batch=spans.around_batch(self.send_batch))
        loop, release = self._runner.loop, self._runner.release_here
        self._watched = watch(self, self._engine, loop=loop, afterwards=release, at_exit=_tell_of_undelivered)

    @property
    def config(self) -> ProducerConfig:
        """What the producer is set to."""
        return self._engine.config

    def send(
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
        """Put one record into the buffer; `result()` of what it gives waits until it is acknowledged.

        Without serializers key and value are bytes-like or None. `timestamp` is in milliseconds since 1970, by default
        now. `partition` is chosen by the key's hash, or without a key to fill batches, unless given. `on_delivery` is
        called with the delivery once it is done, in the loop's thread.

        Raises UnknownTopicOrPartition, InvalidTopic, MessageTooLarge, BufferFull (after max.block.ms),
        SerializationError, InvalidTimestamp, Closed, ClientForked, and what the producer failed with for good;
        TypeError and ValueError for what is no record.
        """
        if self._converts:
            key, value, headers, partition = self._converted(topic, key, value, headers, partition)
        pairs = None if headers is None else pairs_of(headers)
        try:
            where = ANY_PARTITION if partition is None else index(partition)
            when = NOW if timestamp is None else index(timestamp)
            try:
                delivery = self._append(topic, value, key, pairs, where, when)
            except (UnknownTopicOrPartition, Closed):
                delivery = None
            if delivery is None:
                delivery = self._append_waiting(topic, value, key, pairs, where, when)
        except UNFIT as error:
            raise complaint(topic, value, key, pairs, partition, timestamp) or error from None
        if on_delivery is not None:
            delivery.add_callback(on_delivery)
        return delivery

    def send_batch(
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
                self._append_made(topic, given, delivery)
            else:
                self._append_all(topic, rows_of(given), delivery)
        return delivery

    def _append_made(self, topic: str, given: GivenRows, delivery: BatchDelivery) -> None:
        count = 0 if self._rows.partitioner is None else self.partitions(topic)
        for made in self._rows.begin(topic, given, count):
            made.make()
            self._append_all(topic, made.rows(), delivery)
            made.check()

    def _append_all(self, topic: str, all_rows: Iterable[Rows], delivery: BatchDelivery) -> None:
        for rows in all_rows:
            start = 0
            deadline = self._engine.deadline()
            while start < len(rows.values):
                turn = self._memory.turns
                try:
                    taken = self._engine.append_rows(topic, rows, start)
                except UnknownTopicOrPartition:
                    self._runner.run(self._engine.learn(topic, rows.partition, deadline))
                    continue
                except Closed:
                    self._engine.check_open()
                    raise
                if taken is None:
                    self._wait_for_memory(turn, deadline)
                    continue
                delivery.add(taken)
                start += 1 if isinstance(taken, Delivery) else taken.taken
                deadline = self._engine.deadline()

    def _append_waiting(
        self,
        topic: str,
        value: Buffer | None,
        key: Buffer | None,
        headers: list[tuple[str | bytes, Buffer | None]] | None,
        partition: int,
        timestamp_ms: int,
    ) -> Delivery:
        deadline = self._engine.deadline()
        while True:
            turn = self._memory.turns
            try:
                delivery = self._append(topic, value, key, headers, partition, timestamp_ms)
            except UnknownTopicOrPartition:
                self._runner.run(self._engine.learn(topic, partition, deadline))
                continue
            except Closed:
                self._engine.check_open()
                raise
            if delivery is not None:
                return delivery
            self._wait_for_memory(turn, deadline)

    def _wait_for_memory(self, turn: int, deadline: Deadline) -> None:
        """Return once memory came back after `turn`, or may have. Raises BufferFull when the deadline is over."""
        self._engine.check_open()
        self._runner.check_may_wait()
        left_ms = deadline.left_ms
        if left_ms == 0 and self._memory.turns == turn:
            raise self._engine.full()
        self._memory.wait(turn, min(left_ms / 1000, runner.SLICE_SECONDS))
        self._runner.check()

    def _converted(
        self, topic: str, key: Any, value: Any, headers: Headers | None, partition: int | None
    ) -> tuple[Any, Any, Headers | None, int | None]:
        key, value, headers = self._serializers.apply(topic, key, value, headers)
        if partition is None and self._partitioner is not None:
            partition = self._partitioner(topic, key, self.partitions(topic))
        return key, value, headers, partition

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has. Raises UnknownTopicOrPartition after max.block.ms."""
        return self._engine.accumulator.partition_count(topic) or self._runner.run(self._engine.partition_count(topic))

    def metrics(self) -> Metrics:
        """What the producer measures of itself now, under the names of Kafka's own metrics."""
        return self._engine.metrics.values()

    def client_instance_id(self, timeout: float | None = None) -> bytes:
        """The 16 bytes under which brokers know this client's metrics (KIP-714).

        Raises ClientError with enable.metrics.push=false, UnsupportedVersion where brokers take no metrics.
        """
        return self._runner.run(reporter_of(self._engine.reporter).client_instance_id(as_ms(timeout)))

    def flush(self, timeout: float | None = None) -> None:
        """Return once all that was sent before is acknowledged or has failed; nothing lingers meanwhile.

        Errors are raised by the deliveries, not here. Raises DeadlineExceeded after `timeout` seconds.
        """
        self._engine.check_open()
        self._runner.run(self._engine.flush(timeout))

    def close(self, timeout: float | None = None) -> None:
        """Send what is in the buffer, for at most `timeout` seconds, then close. Harmless when closed.

        What is not acknowledged by then fails with Closed. An open transaction is aborted. Raises ClientError in a
        callback of a delivery.
        """
        if self._closed or self._engine.is_dropped:
            return
        if self._runner.is_running:
            self._runner.check_may_wait()
        self._closed = True
        self._watched.detach()
        try:
            if self._runner.is_running:
                self._runner.run(self._engine.close(timeout))
        finally:
            runner.release(self._runner)

    # --- transactions -------------------------------------------------------------------------------------------------

    def init_transactions(self) -> None:
        """Once before the first transaction: fences earlier producers of this transactional.id and ends what they left.

        Raises DeadlineExceeded after max.block.ms (call it again), and what the coordinator refuses it with.
        """
        self._runner.run(self._engine.transactional().initialize())

    def begin_transaction(self) -> None:
        """All that is sent from now on is committed or aborted together."""
        self._engine.transactional().begin()

    def send_offsets_to_transaction(self, offsets: OffsetsToSend, group: Any) -> None:
        """Commit what a consumer read together with what is sent.

        `offsets`: (topic, partition) -> the offset to read next. `group`: its name, or the consumer's
        `group_metadata()`, so that a consumer that lost its partitions meanwhile is refused (CommitFailed: abort then).
        """
        self._runner.run(self._engine.transactional().send_offsets(offsets, group))

    def commit_transaction(self) -> None:
        """Flush and commit. Raises TransactionAbortable where a record failed: abort then.

        After DeadlineExceeded (max.block.ms) it is under way still: call it again.
        """
        self._runner.run(self._engine.transactional().commit())

    def abort_transaction(self) -> None:
        """Take all back that was sent since begin_transaction."""
        self._runner.run(self._engine.transactional().abort())

    @contextmanager
    def transaction(self) -> Iterator[Self]:
        """Begin, then commit at the end of the block, or abort when it raises; initializes transactions if need be."""
        transactions = self._engine.transactional()
        if transactions.state is State.NEW:
            self.init_transactions()
        self.begin_transaction()
        try:
            yield self
            self.commit_transaction()
        except BaseException:
            if transactions.can_be_aborted:
                self.abort_transaction()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Memory:
    """Where threads wait for memory of the buffer, which comes back in the loop's."""

    def __init__(self) -> None:
        self.turns = 0  # so often some came back
        self._changed = threading.Condition()

    def came_back(self) -> None:
        """Whoever waits looks again."""
        with self._changed:
            self.turns += 1
            self._changed.notify_all()

    def wait(self, turn: int, timeout_s: float) -> None:
        """Return once memory came back after `turn`, or the time is over."""
        with self._changed:
            if self.turns == turn:
                self._changed.wait(timeout_s)


def _tell_of_undelivered(engine: Engine) -> None:
    """At the end of a program that did not close its producer. They are not sent: that could take any time."""
    left = engine.undelivered
    if left > 0:
        logger.warning("records were not delivered: call flush() or close() before the end", records=left)
