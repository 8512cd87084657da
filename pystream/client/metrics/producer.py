"""What a producer measures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pystream._native.accumulator import Accumulator
from pystream._native.delivery import ProducerBatch
from pystream.client.cluster.cluster import Cluster
from pystream.client.metrics.client import MOST_TAGGED, ClientMetrics
from pystream.client.metrics.model import Metric
from pystream.client.metrics.stats import Meter, Spread


class _Records:
    """Of all topics, or of one."""

    __slots__ = ("bytes", "errors", "retries", "sent")

    def __init__(self, now_ms: int) -> None:
        self.sent = Meter("record-send", now_ms)
        self.bytes = Meter("byte", now_ms)
        self.retries = Meter("record-retry", now_ms)
        self.errors = Meter("record-error", now_ms)

    def all(self) -> tuple[Meter, ...]:
        return self.sent, self.bytes, self.retries, self.errors


class ProducerMetrics(ClientMetrics):
    """Told by the sender, once a batch or a request."""

    def __init__(self, cluster: Cluster, accumulator: Accumulator) -> None:
        super().__init__("producer", cluster)
        now_ms = self.now_ms()
        self._accumulator = accumulator
        self._records = _Records(now_ms)
        self._topics: dict[str, _Records] = {}
        self._splits = Meter("batch-split", now_ms)
        self._batch_size = Spread("batch-size", now_ms)
        self._record_size = Spread("record-size", now_ms)
        self._queue_time = Spread("record-queue-time", now_ms)
        self._records_per_request = Spread("records-per-request", now_ms)
        self._request_latency = Spread("request-latency", now_ms)
        self._throttle_time = Spread("produce-throttle-time", now_ms)
        self._in_flight = 0
        self.flushing_ms = 0.0

    def sent(self, batches: Iterable[ProducerBatch], now_ms: int) -> None:
        """A request with these batches went out."""
        together = 0
        for batch in batches:
            count, size = batch.record_count, batch.size_bytes
            together += count
            topic = self._topic(batch.topic, now_ms)
            for records in (self._records, topic):
                if records is not None:
                    records.sent.mark(count, now_ms)
                    records.bytes.mark(size, now_ms)
            self._batch_size.record(size, now_ms)
            self._record_size.record(size / count, now_ms)
            self._queue_time.record(now_ms - batch.created_ms, now_ms)
        self._records_per_request.record(together, now_ms)
        self._in_flight += 1

    def settled(self, node_id: int, latency_ms: float, throttle_ms: int | None, now_ms: int) -> None:
        """A request came to its end; `throttle_ms` of its answer, None without one."""
        self._in_flight -= 1
        if throttle_ms is not None:
            self._request_latency.record(latency_ms, now_ms)
            self._throttle_time.record(throttle_ms, now_ms)
            self.answered(node_id, latency_ms, now_ms)

    def retried(self, batch: ProducerBatch) -> None:
        """A batch is to be sent again."""
        now_ms = self.now_ms()
        for records in (self._records, self._topic(batch.topic, now_ms)):
            if records is not None:
                records.retries.mark(batch.record_count, now_ms)

    def failed(self, batch: ProducerBatch) -> None:
        """A batch was given up."""
        now_ms = self.now_ms()
        for records in (self._records, self._topic(batch.topic, now_ms)):
            if records is not None:
                records.errors.mark(batch.record_count, now_ms)

    def split(self) -> None:
        """A batch was too large and went back as smaller ones."""
        self._splits.mark(1, self.now_ms())

    def _topic(self, topic: str, now_ms: int) -> _Records | None:
        records = self._topics.get(topic)
        if records is None and len(self._topics) < MOST_TAGGED:
            records = self._topics[topic] = _Records(now_ms)
        return records

    def collect(self) -> Iterator[Metric]:
        now_ms = self.now_ms()
        yield from super().collect()
        group = f"{self.kind}-metrics"
        for meter in (self._records.sent, self._records.retries, self._records.errors, self._splits):
            yield from meter.metrics(group, self.client_tags, now_ms)
        yield next(self._records_per_request.metrics(group, self.client_tags, now_ms))
        for spread in (
            self._batch_size,
            self._record_size,
            self._queue_time,
            self._request_latency,
            self._throttle_time,
        ):
            yield from spread.metrics(group, self.client_tags, now_ms)
        limit = self._accumulator.limit_bytes
        yield self.nanoseconds("flush-time-ns-total", self.flushing_ms)
        yield self.gauge("requests-in-flight", self._in_flight)
        yield self.gauge("buffer-total-bytes", limit)
        yield self.gauge("buffer-available-bytes", max(limit - self._accumulator.used_bytes, 0))
        yield self.gauge("metadata-age", self.cluster.metadata_age_ms / 1_000)
        for topic, records in list(self._topics.items()):
            for meter in records.all():
                yield from meter.metrics("producer-topic-metrics", (*self.client_tags, ("topic", topic)), now_ms)
