"""The body of a push: names, shapes, deltas."""

from __future__ import annotations

import math
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    AGGREGATION_TEMPORALITY_DELTA,
    MetricsData,
)

from pystream.client.metrics.model import Metric, MetricName, Tags
from pystream.client.metrics.otlp import Encoder, is_wanted, name_of

APP: Tags = (("client-id", "app"),)
TOPIC: Tags = (*APP, ("topic", "orders"))


def total(value: float) -> Metric:
    return Metric(MetricName("record-send-total", "producer-topic-metrics", TOPIC), value, is_total=True)


def gauge(value: float) -> Metric:
    return Metric(MetricName("request-latency-avg", "producer-node-metrics", (*APP, ("node-id", "node-1"))), value)


def body(encoder: Encoder, *metrics: Metric, now_ms: int = 2_000, delta: bool = True, **labels: str) -> Any:
    data = MetricsData()
    data.ParseFromString(encoder.encode(metrics, ["*"], now_ms, delta=delta, labels=labels))
    return data


def points(data: Any) -> list[Any]:
    return [
        point
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        for point in getattr(metric, metric.WhichOneof("data")).data_points
    ]


@pytest.mark.parametrize(
    ("group", "name", "pushed"),
    [  # the names that KIP-714 lists
        ("producer-metrics", "connection-creation-rate", "org.apache.kafka.producer.connection.creation.rate"),
        ("producer-metrics", "record-queue-time-max", "org.apache.kafka.producer.record.queue.time.max"),
        ("producer-node-metrics", "request-latency-avg", "org.apache.kafka.producer.node.request.latency.avg"),
        ("consumer-metrics", "poll-idle-ratio-avg", "org.apache.kafka.consumer.poll.idle.ratio.avg"),
        ("consumer-coordinator-metrics", "rebalance-latency-avg",
         "org.apache.kafka.consumer.coordinator.rebalance.latency.avg"),
        ("consumer-fetch-manager-metrics", "fetch-latency-max",
         "org.apache.kafka.consumer.fetch.manager.fetch.latency.max"),
        ("admin-client-metrics", "request-total", "org.apache.kafka.admin.client.request.total"),
    ],
)  # fmt: skip
def test_names_are_those_of_kip_714(group: str, name: str, pushed: str):
    assert name_of(MetricName(name, group, APP)) == pushed


@pytest.mark.parametrize(
    ("requested", "wanted"),
    [
        (["*"], True),
        (["org.apache.kafka.consumer.", "org.apache.kafka.producer.record."], True),
        (["org.apache.kafka.producer.request."], False),
        ([], False),
        ([""], True),
    ],
)
def test_subscriptions_name_metrics_by_their_beginning(requested: list[str], wanted: bool):
    assert is_wanted("org.apache.kafka.producer.record.send.total", requested) is wanted


def test_totals_are_deltas_since_the_last_push_that_arrived():
    encoder = Encoder(1_000)
    assert [point.as_double for point in points(body(encoder, total(5)))] == [5]
    assert [point.as_double for point in points(body(encoder, total(7)))] == [7]  # the first was lost
    encoder.taken()
    data = body(encoder, total(10), now_ms=3_000)
    (point,) = points(data)
    assert (point.as_double, point.start_time_unix_nano, point.time_unix_nano) == (3, 2_000_000_000, 3_000_000_000)
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert metric.sum.is_monotonic
    assert metric.sum.aggregation_temporality == AGGREGATION_TEMPORALITY_DELTA
    assert [(each.key, each.value.string_value) for each in point.attributes] == [("topic", "orders")]


def test_totals_grow_where_no_deltas_are_wanted():
    encoder = Encoder(1_000)
    body(encoder, total(5), delta=False)
    encoder.taken()
    data = body(encoder, total(10), delta=False)
    (point,) = points(data)
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert (point.as_double, point.start_time_unix_nano) == (10, 1_000_000_000)
    assert metric.sum.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE


def test_gauges_are_left_out_while_nothing_is_measured():
    encoder = Encoder(0)
    data = body(encoder, gauge(2.5), group_id="fraud")
    (point,) = points(data)
    assert (point.as_double, point.attributes[0].key) == (2.5, "node_id")
    (label,) = data.resource_metrics[0].resource.attributes
    assert (label.key, label.value.string_value) == ("group_id", "fraud")
    assert encoder.encode([gauge(math.nan)], ["*"], 0, delta=True, labels={}) == b""
    assert encoder.encode([gauge(1)], ["org.apache.kafka.consumer."], 0, delta=True, labels={}) == b""
