"""What consumers of both kinds measure: fetches, what is handed out, polls, heartbeats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pystream.client.cluster.cluster import Cluster
from pystream.client.metrics.client import ClientMetrics
from pystream.client.metrics.model import Metric, MetricName
from pystream.client.metrics.stats import Meter, Spread

SECONDS_OF_HOUR: Final = 3_600


class Consumed:
    """What was handed out: of all topics, or of one."""

    __slots__ = ("bytes", "records")

    def __init__(self, now_ms: int) -> None:
        self.records = Meter("records-consumed", now_ms)
        self.bytes = Meter("bytes-consumed", now_ms)

    def mark(self, records: int, size_bytes: int, now_ms: int) -> None:
        """So much was handed out."""
        self.records.mark(records, now_ms)
        self.bytes.mark(size_bytes, now_ms)


class ReadingMetrics(ClientMetrics):
    """Told by the engine, once a fetch, a batch, a poll, a heartbeat."""

    def __init__(self, kind: str, cluster: Cluster) -> None:
        super().__init__(kind, cluster)
        self.fetch_group = f"{kind}-fetch-manager-metrics"
        self.coordinator_group = f"{kind}-coordinator-metrics"
        now_ms = self.now_ms()
        self._consumed = Consumed(now_ms)
        self._fetches = Meter("fetch", now_ms)
        self._fetch_latency = Spread("fetch-latency", now_ms)
        self._fetch_size = Spread("fetch-size", now_ms)
        self._fetch_throttle = Spread("fetch-throttle-time", now_ms)
        self._records_per_request = Spread("records-per-request", now_ms)
        self._between_polls = Spread("time-between-poll", now_ms)
        self._idle_ratio = Spread("poll-idle-ratio", now_ms)
        self._heartbeats = Meter("heartbeat", now_ms)
        self._heartbeat_time = Spread("heartbeat-response-time", now_ms)
        self._rebalances = Meter("rebalance", now_ms)
        self._last_heartbeat_ms: int | None = None
        self._last_poll_ms: int | None = None
        self._waited_ms = 0.0

    def fetched(self, node_id: int, latency_ms: float, throttle_ms: int, now_ms: int) -> None:
        """A broker answered a fetch."""
        self._fetches.mark(1, now_ms)
        self._fetch_latency.record(latency_ms, now_ms)
        self._fetch_throttle.record(throttle_ms, now_ms)
        self.answered(node_id, latency_ms, now_ms)

    def received(self, size_bytes: int, records: int) -> None:
        """So much came at once."""
        now_ms = self.now_ms()
        self._fetch_size.record(size_bytes, now_ms)
        self._records_per_request.record(records, now_ms)

    def consumed(self, topic: str, records: int, size_bytes: int) -> None:
        """So much was handed out."""
        self._consumed.mark(records, size_bytes, self.now_ms())

    def polled(self, now_ms: int) -> None:
        """The user polls."""
        if self._last_poll_ms is not None and now_ms > self._last_poll_ms:
            span_ms = now_ms - self._last_poll_ms
            self._between_polls.record(span_ms, now_ms)
            self._idle_ratio.record(min(self._waited_ms / span_ms, 1.0), now_ms)
        self._last_poll_ms, self._waited_ms = now_ms, 0.0

    def waited(self, duration_ms: float) -> None:
        """The user waited in poll for so long."""
        self._waited_ms += duration_ms

    def heartbeat(self, latency_ms: float) -> None:
        """The coordinator answered a heartbeat."""
        self._last_heartbeat_ms = now_ms = self.now_ms()
        self._heartbeats.mark(1, now_ms)
        self._heartbeat_time.record(latency_ms, now_ms)

    def rebalanced(self) -> None:
        """The assignment has changed."""
        self._rebalances.mark(1, self.now_ms())

    # --- all of it ----------------------------------------------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        now_ms = self.now_ms()
        yield from super().collect()
        yield from self._of_polls(now_ms)
        yield from self._of_fetches(now_ms)
        yield from self._of_heartbeats(now_ms)

    def _of_polls(self, now_ms: int) -> Iterator[Metric]:
        group = f"{self.kind}-metrics"
        yield from self._between_polls.metrics(group, self.client_tags, now_ms)
        yield next(self._idle_ratio.metrics(group, self.client_tags, now_ms))
        yield self.gauge("last-poll-seconds-ago", _seconds_ago(self._last_poll_ms, now_ms))

    def _of_fetches(self, now_ms: int) -> Iterator[Metric]:
        for stat in (
            self._fetches,
            self._fetch_latency,
            self._fetch_size,
            self._fetch_throttle,
            self._consumed.records,
            self._consumed.bytes,
        ):
            yield from stat.metrics(self.fetch_group, self.client_tags, now_ms)
        yield next(self._records_per_request.metrics(self.fetch_group, self.client_tags, now_ms))

    def _of_heartbeats(self, now_ms: int) -> Iterator[Metric]:
        group, tags = self.coordinator_group, self.client_tags
        yield from self._heartbeats.metrics(group, tags, now_ms)
        _, slowest = self._heartbeat_time.metrics(group, tags, now_ms)
        yield slowest
        yield self.of_coordinator("last-heartbeat-seconds-ago", _seconds_ago(self._last_heartbeat_ms, now_ms))
        rate, total = self._rebalances.metrics(group, tags, now_ms)
        yield total
        yield self.of_coordinator("rebalance-rate-per-hour", rate.value * SECONDS_OF_HOUR)

    def of_coordinator(self, name: str, value: float) -> Metric:
        """A number of the membership."""
        return Metric(MetricName(name, self.coordinator_group, self.client_tags), value)


def _seconds_ago(last_ms: int | None, now_ms: int) -> int:
    return -1 if last_ms is None else (now_ms - last_ms) // 1_000
