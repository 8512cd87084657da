"""The body of a push: OTLP metrics under the names of KIP-714.

    record-send-total of producer-topic-metrics, topic=orders
        ──▶  org.apache.kafka.producer.topic.record.send.total {topic="orders"}      brokers know the client's id

Totals are monotonic sums, as deltas since the last push or as they are; all else is a gauge, left out while it is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pystream.client.metrics.model import Metric, MetricName, Tags

DOMAIN: Final = "org.apache.kafka"
ALL: Final = "*"
NANOSECONDS: Final = 1_000_000  # of a millisecond

Key = tuple[str, Tags]


def name_of(name: MetricName) -> str:
    """The name that a metric has in a push."""
    group = name.group.lower().replace("-", ".").replace(".metrics", "")
    return f"{DOMAIN}.{group}.{name.name.lower().replace('-', '.')}"


def is_wanted(name: str, requested: Sequence[str]) -> bool:
    """Whether a subscription names the metric: by a prefix, or with all others."""
    return any(prefix == ALL or name.startswith(prefix) for prefix in requested)


class Encoder:
    """Makes the bodies of one client's pushes, and remembers what deltas begin with."""

    def __init__(self, began_ms: int) -> None:
        self._began_ms = began_ms
        self._pushed: dict[Key, tuple[float, int]] = {}  # totals: value and time of the last push that was taken
        self._pushing: dict[Key, tuple[float, int]] = {}

    def encode(
        self,
        metrics: Iterable[Metric],
        requested: Sequence[str],
        now_ms: int,
        *,
        delta: bool,
        labels: Mapping[str, str],
    ) -> bytes:
        """The body; b"" when nothing is wanted. `taken` says that it arrived.

        `labels` tell of the client what brokers do not know.
        """
        from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

        data = pb.MetricsData()
        resource = data.resource_metrics.add()
        for label, text in labels.items():
            resource.resource.attributes.add(key=label).value.string_value = text
        scope = resource.scope_metrics.add()
        self._pushing = {}
        for metric in metrics:
            name = name_of(metric.name)
            if math.isnan(metric.value) or not is_wanted(name, requested):
                continue
            tags = tuple((tag.replace("-", "_"), text) for tag, text in metric.name.tags if tag != "client-id")
            message = scope.metrics.add(name=name)
            if metric.is_total:
                key = name, tags
                before, since_ms = self._pushed.get(key, (0.0, self._began_ms)) if delta else (0.0, self._began_ms)
                self._pushing[key] = metric.value, now_ms
                message.sum.is_monotonic = True
                message.sum.aggregation_temporality = (
                    pb.AGGREGATION_TEMPORALITY_DELTA if delta else pb.AGGREGATION_TEMPORALITY_CUMULATIVE
                )
                point = message.sum.data_points.add(as_double=metric.value - before)
                point.start_time_unix_nano = since_ms * NANOSECONDS
            else:
                point = message.gauge.data_points.add(as_double=metric.value)
            point.time_unix_nano = now_ms * NANOSECONDS
            for tag, text in tags:
                point.attributes.add(key=tag).value.string_value = text
        if not scope.metrics:
            return b""
        body: bytes = data.SerializeToString()
        return body

    def taken(self) -> None:
        """The last body arrived: the next deltas begin there."""
        self._pushed.update(self._pushing)
        self._pushing = {}
