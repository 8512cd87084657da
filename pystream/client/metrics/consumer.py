"""What a consumer measures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

from pystream.client.cluster.cluster import Cluster
from pystream.client.metrics.client import MOST_TAGGED
from pystream.client.metrics.model import Metric, MetricName
from pystream.client.metrics.reading import Consumed, ReadingMetrics
from pystream.client.metrics.stats import Meter, Spread


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


class ConsumerMetrics(ReadingMetrics):
    """Told by the engine, once a fetch, a batch, a poll, a commit."""

    def __init__(self, cluster: Cluster, positions: Partitions, *, read_committed: bool) -> None:
        super().__init__("consumer", cluster)
        now_ms = self.now_ms()
        self._positions = positions
        self._read_committed = read_committed
        self._topics: dict[str, Consumed] = {}
        self._commits = Meter("commit", now_ms)
        self._commit_latency = Spread("commit-latency", now_ms)
        self._rebalance_latency = Spread("rebalance-latency", now_ms)
        self._rebalance_began_ms: int | None = None
        self._last_rebalance_ms: int | None = None
        self._rebalancing_ms = 0.0
        self.committing_ms = 0.0  # the user waited for commits
        self.asking_committed_ms = 0.0  # and for what is committed

    def consumed(self, topic: str, records: int, size_bytes: int) -> None:
        super().consumed(topic, records, size_bytes)
        now_ms = self.now_ms()
        of_topic = self._topics.get(topic)
        if of_topic is None and len(self._topics) < MOST_TAGGED:
            of_topic = self._topics[topic] = Consumed(now_ms)
        if of_topic is not None:
            of_topic.mark(records, size_bytes, now_ms)

    # --- the group ----------------------------------------------------------------------------------------------------

    def committed(self, latency_ms: float) -> None:
        """The coordinator took a commit."""
        now_ms = self.now_ms()
        self._commits.mark(1, now_ms)
        self._commit_latency.record(latency_ms, now_ms)

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
        super().rebalanced()
        self._rebalance_latency.record(latency_ms, now_ms)
        self._rebalancing_ms += latency_ms

    # --- all of it ----------------------------------------------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        now_ms = self.now_ms()
        yield from super().collect()
        yield self.nanoseconds("commit-sync-time-ns-total", self.committing_ms)
        yield self.nanoseconds("committed-time-ns-total", self.asking_committed_ms)
        yield from self._of_partitions()
        yield from self._of_group(now_ms)

    def _of_fetches(self, now_ms: int) -> Iterator[Metric]:
        yield from super()._of_fetches(now_ms)
        for topic, consumed in list(self._topics.items()):
            for meter in (consumed.records, consumed.bytes):
                yield from meter.metrics(self.fetch_group, (*self.client_tags, ("topic", topic)), now_ms)

    def _of_partitions(self) -> Iterator[Metric]:
        highest = least_lead = math.nan
        for count, state in enumerate(list(self._positions)):
            lag = state.lag(self._read_committed)
            if lag is None:
                continue
            highest = lag if math.isnan(highest) else max(highest, lag)
            tags = (*self.client_tags, ("topic", state.topic), ("partition", str(state.partition)))
            if count < MOST_TAGGED:
                yield Metric(MetricName("records-lag", self.fetch_group, tags), lag)
            if state.log_start_offset >= 0:
                lead = max(state.position - state.log_start_offset, 0)
                least_lead = lead if math.isnan(least_lead) else min(least_lead, lead)
                if count < MOST_TAGGED:
                    yield Metric(MetricName("records-lead", self.fetch_group, tags), lead)
        yield Metric(MetricName("records-lag-max", self.fetch_group, self.client_tags), highest)
        yield Metric(MetricName("records-lead-min", self.fetch_group, self.client_tags), least_lead)

    def _of_group(self, now_ms: int) -> Iterator[Metric]:
        group, tags = self.coordinator_group, self.client_tags
        for stat in (self._commits, self._commit_latency, self._rebalance_latency):
            yield from stat.metrics(group, tags, now_ms)
        yield Metric(MetricName("rebalance-latency-total", group, tags), self._rebalancing_ms, is_total=True)
        yield self.of_coordinator("assigned-partitions", len(self._positions))
        last_ms = self._last_rebalance_ms
        ago = -1 if last_ms is None else (now_ms - last_ms) // 1_000
        yield self.of_coordinator("last-rebalance-seconds-ago", ago)
