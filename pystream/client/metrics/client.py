"""What every client measures: connections, requests, bytes; and how its numbers are gathered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pystream.client.cluster.cluster import Cluster
from pystream.client.metrics.model import Metric, MetricName, Metrics, Tags
from pystream.client.metrics.stats import Spread, TotalRate

MOST_TAGGED: Final = 1_000  # topics, partitions or brokers that have numbers of their own

# Kafka's network totals -> the names of their rates
RATES: Final = {
    "connection-creation-total": "connection-creation-rate",
    "connection-close-total": "connection-close-rate",
    "request-total": "request-rate",
    "response-total": "response-rate",
    "outgoing-byte-total": "outgoing-byte-rate",
    "incoming-byte-total": "incoming-byte-rate",
    "network-io-total": "network-io-rate",
}
NOT_KAFKAS: Final = frozenset({"connection-failure-total"})  # what Kafka's clients do not count


class ClientMetrics:
    """Of one client, in the groups `KIND-metrics`, `KIND-node-metrics` and so on."""

    def __init__(self, kind: str, cluster: Cluster) -> None:
        """`kind`: producer, consumer, admin-client."""
        self.kind = kind
        self.cluster = cluster
        self.client_tags: Tags = (("client-id", cluster.config.client_id),)
        self._clock = cluster.clock
        now_ms = self.now_ms()
        self._rates = {total: TotalRate(now_ms) for total in RATES}
        self._latency_of_node: dict[int, Spread] = {}

    def now_ms(self) -> int:
        return self._clock.monotonic_ms()

    def answered(self, node_id: int, latency_ms: float, now_ms: int) -> None:
        """A broker answered a request."""
        spread = self._latency_of_node.get(node_id)
        if spread is None:
            if len(self._latency_of_node) >= MOST_TAGGED:
                return
            spread = self._latency_of_node[node_id] = Spread("request-latency", now_ms)
        spread.record(latency_ms, now_ms)

    def values(self) -> Metrics:
        """All numbers now. Any thread."""
        return Metrics(list(self.collect()))

    def collect(self) -> Iterator[Metric]:
        """All numbers now."""
        now_ms = self.now_ms()
        yield from self.network(now_ms)
        for node_id, spread in list(self._latency_of_node.items()):
            tags = (*self.client_tags, ("node-id", f"node-{node_id}"))
            yield from spread.metrics(f"{self.kind}-node-metrics", tags, now_ms)

    def network(self, now_ms: int) -> Iterator[Metric]:
        """Connections, requests and bytes."""
        group, tags = f"{self.kind}-metrics", self.client_tags
        counts = self.cluster.connections.metrics()
        counts["network-io-total"] = counts["request-total"] + counts["response-total"]
        for name, value in counts.items():
            if name in NOT_KAFKAS:
                continue
            is_total = name.endswith("-total")
            yield Metric(MetricName(name, group, tags), float(value), is_total=is_total)
            if name in RATES:
                yield Metric(MetricName(RATES[name], group, tags), self._rates[name].rate(value, now_ms))

    def nanoseconds(self, name: str, duration_ms: float) -> Metric:
        """The time that was spent in one operation, all in all."""
        return Metric(MetricName(name, f"{self.kind}-metrics", self.client_tags), duration_ms * 1e6, is_total=True)

    def gauge(self, name: str, value: float) -> Metric:
        """A number of the whole client."""
        return Metric(MetricName(name, f"{self.kind}-metrics", self.client_tags), value)
