"""What a consumer measures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, Protocol

from pystream.client.cluster.cluster import Cluster
from pystream.client.metrics.client import MOST_TAGGED, ClientMetrics
from pystream.client.metrics.model import Metric, MetricName
from pystream.client.metrics.stats import Meter, Spread

FETCH_GROUP: Final = "consumer-fetch-manager-metrics"
COORDINATOR_GROUP: Final = "consumer-coordinator-metrics"
SECONDS_OF_HOUR: Final = 3_600


class Partition(Protocol):
    """What is needed of a partition that is assigned."""

    topic: str
    partition: int
    position: int
    log_start_offset: int

    def lag(self, read_committed: bool) -> int | None:
        """Records that can be read behind the position; None while that is not known."""
        ...


class Partitions(Protocol):
    """Those that are assigned."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Partition]: ...


class _Consumed:
    """Of all topics, or of one."""

    __slots__ = ("bytes", "records")

    def __init__(self, now_ms: int) -> None:
        self.records = Meter("records-consumed", now_ms)
        self.bytes = Meter("bytes-consumed", now_ms)


class ConsumerMetrics(ClientMetrics):
    """Told by the engine, once a fetch, a batch, a poll, a commit."""

    def __init__(self, cluster: Cluster, positions: Partitions, *, read_committed: bool) -> None:
        super().__init__("consumer", cluster)
        now_ms = self.now_ms()
        self._positions = positions
        self._read_committed = read_committed
        self._consumed = _Consumed(now_ms)
        self._topics: dict[str, _Consumed] = {}
        self._fetches = Meter("fetch", now_ms)
        self._fetch_latency = Spread("fetch-latency", now_ms)
        self._fetch_size = Spread("fetch-size", now_ms)
        self._fetch_throttle = Spread("fetch-throttle-time", now_ms)
        self._records_per_request = Spread("records-per-request", now_ms)
        self._between_polls = Spread("time-between-poll", now_ms)
        self._idle_ratio = Spread("poll-idle-ratio", now_ms)
        self._commits = Meter("commit", now_ms)
        self._commit_latency = Spread("commit-latency", now_ms)
        self._heartbeats = Meter("heartbeat", now_ms)
        self._rebalances = Meter("rebalance", now_ms)
        self._rebalance_latency = Spread("rebalance-latency", now_ms)
        self._rebalance_began_ms: int | None = None
        self._last_rebalance_ms: int | None = None
        self._rebalancing_ms = 0.0
        self._heartbeat_time = Spread("heartbeat-response-time", now_ms)
        self.committing_ms = 0.0  # the user waited for commits
        self.asking_committed_ms = 0.0  # and for what is committed
        self._last_heartbeat_ms: int | None = None
        self._last_poll_ms: int | None = None
        self._waited_ms = 0.0

    # --- fetching -----------------------------------------------------------------------------------------------------

    def fetched(self, node_id: int, latency_ms: float, throttle_ms: int, now_ms: int) -> None:
        """A broker answered a fetch."""
        self._fetches.mark(1, now_ms)
        self._fetch_latency.record(latency_ms, now_ms)
        self._fetch_throttle.record(throttle_ms, now_ms)
        self.answered(node_id, latency_ms, now_ms)

    def received(self, size_bytes: int, records: int) -> None:
        """So much of one partition came with an answer."""
        now_ms = self.now_ms()
        self._fetch_size.record(size_bytes, now_ms)
        self._records_per_request.record(records, now_ms)

    def consumed(self, topic: str, records: int, size_bytes: int) -> None:
        """So much was handed out."""
        now_ms = self.now_ms()
        of_topic = self._topics.get(topic)
        if of_topic is None and len(self._topics) < MOST_TAGGED:
            of_topic = self._topics[topic] = _Consumed(now_ms)
        for each in (self._consumed, of_topic):
            if each is not None:
                each.records.mark(records, now_ms)
                each.bytes.mark(size_bytes, now_ms)

    # --- polling ------------------------------------------------------------------------------------------------------

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

    # --- the group ----------------------------------------------------------------------------------------------------

    def committed(self, latency_ms: float) -> None:
        """The coordinator took a commit."""
        now_ms = self.now_ms()
        self._commits.mark(1, now_ms)
        self._commit_latency.record(latency_ms, now_ms)

    def heartbeat(self, latency_ms: float) -> None:
        """The coordinator answered a heartbeat."""
        self._last_heartbeat_ms = now_ms = self.now_ms()
        self._heartbeats.mark(1, now_ms)
        self._heartbeat_time.record(latency_ms, now_ms)

    def rebalance_began(self) -> None:
        """The assignment is about to change."""
        if self._rebalance_began_ms is None:
            self._rebalance_began_ms = self.now_ms()

    def rebalanced(self) -> None:
        """The assignment has changed."""
        now_ms = self.now_ms()
        began_ms, self._rebalance_began_ms = self._rebalance_began_ms, None
        latency_ms = 0 if began_ms is None else now_ms - began_ms
        self._last_rebalance_ms = now_ms
        self._rebalances.mark(1, now_ms)
        self._rebalance_latency.record(latency_ms, now_ms)
        self._rebalancing_ms += latency_ms

    # --- all of it ----------------------------------------------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        now_ms = self.now_ms()
        yield from super().collect()
        yield self.nanoseconds("commit-sync-time-ns-total", self.committing_ms)
        yield self.nanoseconds("committed-time-ns-total", self.asking_committed_ms)
        yield from self._of_polls(now_ms)
        yield from self._of_fetches(now_ms)
        yield from self._of_partitions()
        yield from self._of_group(now_ms)

    def _of_polls(self, now_ms: int) -> Iterator[Metric]:
        yield from self._between_polls.metrics("consumer-metrics", self.client_tags, now_ms)
        ratio = next(self._idle_ratio.metrics("consumer-metrics", self.client_tags, now_ms))
        yield ratio
        last = self._last_poll_ms
        yield self.gauge("last-poll-seconds-ago", -1 if last is None else (now_ms - last) // 1_000)

    def _of_fetches(self, now_ms: int) -> Iterator[Metric]:
        tags = self.client_tags
        for stat in (
            self._fetches,
            self._fetch_latency,
            self._fetch_size,
            self._fetch_throttle,
            self._consumed.records,
            self._consumed.bytes,
        ):
            yield from stat.metrics(FETCH_GROUP, tags, now_ms)
        yield next(self._records_per_request.metrics(FETCH_GROUP, tags, now_ms))
        for topic, consumed in list(self._topics.items()):
            for meter in (consumed.records, consumed.bytes):
                yield from meter.metrics(FETCH_GROUP, (*tags, ("topic", topic)), now_ms)

    def _of_partitions(self) -> Iterator[Metric]:
        highest = least_lead = math.nan
        for count, state in enumerate(list(self._positions)):
            lag = state.lag(self._read_committed)
            if lag is None:
                continue
            highest = lag if math.isnan(highest) else max(highest, lag)
            tags = (*self.client_tags, ("topic", state.topic), ("partition", str(state.partition)))
            if count < MOST_TAGGED:
                yield Metric(MetricName("records-lag", FETCH_GROUP, tags), lag)
            if state.log_start_offset >= 0:
                lead = max(state.position - state.log_start_offset, 0)
                least_lead = lead if math.isnan(least_lead) else min(least_lead, lead)
                if count < MOST_TAGGED:
                    yield Metric(MetricName("records-lead", FETCH_GROUP, tags), lead)
        yield Metric(MetricName("records-lag-max", FETCH_GROUP, self.client_tags), highest)
        yield Metric(MetricName("records-lead-min", FETCH_GROUP, self.client_tags), least_lead)

    def _of_group(self, now_ms: int) -> Iterator[Metric]:
        tags = self.client_tags
        for stat in (self._commits, self._commit_latency, self._heartbeats, self._rebalance_latency):
            yield from stat.metrics(COORDINATOR_GROUP, tags, now_ms)
        rate, total = self._rebalances.metrics(COORDINATOR_GROUP, tags, now_ms)
        yield total
        yield Metric(MetricName("rebalance-rate-per-hour", COORDINATOR_GROUP, tags), rate.value * SECONDS_OF_HOUR)
        latency = MetricName("rebalance-latency-total", COORDINATOR_GROUP, tags)
        yield Metric(latency, self._rebalancing_ms, is_total=True)
        _, slowest = self._heartbeat_time.metrics(COORDINATOR_GROUP, tags, now_ms)
        yield slowest
        yield Metric(MetricName("assigned-partitions", COORDINATOR_GROUP, tags), len(self._positions))
        for what, last in (("heartbeat", self._last_heartbeat_ms), ("rebalance", self._last_rebalance_ms)):
            ago = -1 if last is None else (now_ms - last) // 1_000
            yield Metric(MetricName(f"last-{what}-seconds-ago", COORDINATOR_GROUP, tags), ago)
