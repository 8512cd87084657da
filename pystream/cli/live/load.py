"""The loads of `pystream bench`, with our own client, and what is measured of them.

Throughput counts from the first send to the last acknowledgement; a latency is that of a batch of records, from when it
was handed to the producer until all of it was acknowledged, or of a round trip. CPU is this process's, all threads.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pystream.common.errors import DeadlineExceeded, PystreamError, UnknownTopicOrPartition
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.sync.producer import Producer

Advance = Callable[[int], object]
ROWS: Final = 1_000  # of one call: small enough that a rate is kept evenly
MOST_UNSETTLED: Final = 256
POLL_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Figures:
    """What one load came to. Latencies are None where there are none; MB are 10^6 bytes."""

    test: str
    topic: str
    records: int
    seconds: float
    records_per_second: float
    mb_per_second: float
    cpu_us_per_record: float | None  # None without records
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None


class Meter:
    """Time and CPU since it was made, and latencies."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._cpu = time.process_time()
        self.latencies: list[float] = []

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def figures(self, test: str, topic: str, records: int, size_bytes: int) -> Figures:
        seconds = max(self.seconds, 1e-9)
        ordered = sorted(self.latencies)

        def at(share: float) -> float | None:
            return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1e3, 3) if ordered else None

        return Figures(
            test,
            topic,
            records,
            round(seconds, 3),
            round(records / seconds, 1),
            round(size_bytes / seconds / 1e6, 3),
            round((time.process_time() - self._cpu) / records * 1e6, 3) if records else None,
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
        )


@contextmanager
def topic_for(settings: Mapping[str, str], name: str | None, partitions: int) -> Iterator[str]:
    """The topic named, or one made for this, which goes afterwards. Raises UnknownTopicOrPartition."""
    from pystream.cli.connection import accepted
    from pystream.client.admin.topics import NewTopic
    from pystream.client.config import AdminConfig
    from pystream.client.sync.admin import AdminClient

    with AdminClient(accepted(settings, AdminConfig)) as admin:
        if name is not None:
            admin.describe_topics([name]).checked()
            yield name
            return
        made = f"pystream-bench-{os.getpid()}-{time.time_ns() % 10**9}"
        try:
            admin.create_topics([NewTopic(made, num_partitions=partitions)]).checked()
        except KeyboardInterrupt:  # it may have been made
            with suppress(PystreamError):
                admin.delete_topics([made])
            raise
        try:
            yield made
        finally:
            admin.delete_topics([made]).checked()


def produce(
    settings: Mapping[str, str],
    topic: str,
    *,
    count: int,
    size_bytes: int,
    rate: int | None,
    one_by_one: bool,
    advance: Advance,
) -> Figures:
    """Write so many records of that size; at most `rate` a second. Raises the first error of any record."""
    from pystream.client.sync.producer import Producer

    values = [os.urandom(size_bytes) for _ in range(min(ROWS, count))]
    with Producer(dict(settings)) as producer:
        producer.partitions(topic)
        meter = Meter()
        under_way: list[Any] = []
        for done in range(0, count, len(values)):
            rows = values[: count - done]
            if rate is not None:
                time.sleep(max(done / rate - meter.seconds, 0))
            under_way.append(_send(producer, topic, rows, one_by_one, meter))
            if len(under_way) > MOST_UNSETTLED:
                under_way.pop(0).result()
            advance(len(rows))
        producer.flush()
        for delivery in under_way:
            delivery.result()
        return meter.figures("produce", topic, count, count * size_bytes)


def _send(producer: Producer, topic: str, rows: list[bytes], one_by_one: bool, meter: Meter) -> Any:
    began = time.perf_counter()

    def settled(_: object) -> None:
        meter.latencies.append(time.perf_counter() - began)

    if not one_by_one:
        delivery = producer.send_batch(topic, rows)
        delivery.add_callback(settled)
        return delivery
    for row in rows[:-1]:
        producer.send(topic, row)
    return producer.send(topic, rows[-1], on_delivery=settled)


def consume(
    settings: Mapping[str, str], topic: str, *, count: int | None, one_by_one: bool, advance: Advance
) -> Figures:
    """Read from the beginning: so many records, or all there are."""
    from pystream.client.sync.consumer import Consumer

    with Consumer({**settings, "enable.auto.commit": "false"}) as consumer:
        partitions = _partitions(settings, topic)
        consumer.assign(partitions)
        consumer.seek_to_beginning(partitions)
        starts, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        there = sum(ends[each] - starts[each] for each in partitions)
        wanted = there if count is None else min(count, there)
        meter = Meter()
        taken = size = 0
        while taken < wanted:
            batch = consumer.poll_batch(POLL_SECONDS, wanted - taken)
            if batch is None:
                if all(consumer.position(each) >= ends[each] for each in partitions):
                    break  # markers and compacted records were counted, too
                continue
            if one_by_one:
                for message in batch:
                    size += len(message.value or b"")
            else:
                size += memoryview(batch.data).nbytes
            taken += len(batch)
            advance(len(batch))
        return meter.figures("consume", topic, taken, size)


def round_trip(
    settings: Mapping[str, str], topic: str, *, count: int, size_bytes: int, timeout: float, advance: Advance
) -> Figures:
    """One record at a time to partition 0 and back. Raises DeadlineExceeded where one does not come back in time."""
    from pystream.cli.connection import accepted
    from pystream.client.config import ConsumerConfig, ProducerConfig
    from pystream.client.sync.consumer import Consumer
    from pystream.client.sync.producer import Producer

    place = TopicPartition(topic, 0)
    value = os.urandom(size_bytes)
    reading = {**accepted(settings, ConsumerConfig), "enable.auto.commit": "false", "fetch.max.wait.ms": "100"}
    writing = {**accepted(settings, ProducerConfig), "linger.ms": "0"}
    with Producer(writing) as producer, Consumer(reading) as consumer:
        consumer.assign([place])
        consumer.seek_to_end([place])
        consumer.position(place)
        producer.partitions(topic)
        meter = Meter()
        for _ in range(count):
            began = time.perf_counter()
            delivery = producer.send(topic, value, partition=0)
            while not consumer.poll(POLL_SECONDS):
                if time.perf_counter() - began > timeout:
                    delivery.result(0)
                    raise DeadlineExceeded(f"a record did not come back within {timeout:g} s")
            meter.latencies.append(time.perf_counter() - began)
            advance(1)
        return meter.figures("round-trip", topic, count, count * size_bytes)


def _partitions(settings: Mapping[str, str], topic: str) -> list[TopicPartition]:
    from pystream.cli.connection import accepted
    from pystream.client.config import AdminConfig
    from pystream.client.sync.admin import AdminClient

    with AdminClient(accepted(settings, AdminConfig)) as admin:
        described = admin.describe_topics([topic]).checked()[topic]
    if not described.partitions:
        raise UnknownTopicOrPartition(f"topic {topic!r} has no partitions")
    return [TopicPartition(topic, each.partition) for each in described.partitions]
