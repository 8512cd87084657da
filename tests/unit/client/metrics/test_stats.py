"""Rates, averages and maxima over windows, computed as Kafka's clients do."""

from __future__ import annotations

import math

import pytest

from pystream.client.metrics.model import Metric, MetricName, Metrics
from pystream.client.metrics.stats import Meter, Spread, TotalRate, Windows

TAGS = (("client-id", "app"),)


def test_a_rate_is_spread_over_a_window_at_least():
    windows = Windows(0)
    windows.record(60, 1_000)
    assert windows.rate(1_000) == 2.0
    assert windows.rate(40_000) == 1.5


def test_what_is_older_than_two_windows_counts_no_more():
    windows = Windows(0)
    windows.record(30, 0)
    windows.record(90, 30_000)
    assert windows.rate(30_000) == 4.0
    windows.record(30, 60_000)
    assert windows.rate(60_000) == 4.0
    assert windows.rate(200_000) == 0.0


def test_averages_and_maxima_are_of_the_last_two_windows():
    windows = Windows(0)
    assert math.isnan(windows.average(0))
    assert math.isnan(windows.highest(0))
    windows.record(100, 0)
    windows.record(2, 40_000)
    windows.record(4, 40_000)
    assert (windows.average(59_999), windows.highest(59_999)) == (106 / 3, 100)
    assert (windows.average(60_000), windows.highest(60_000)) == (3, 4)
    assert math.isnan(windows.highest(100_000))


def test_stats_carry_kafkas_names():
    meter, spread = Meter("record-send", 0), Spread("request-latency", 0)
    meter.mark(3, 0)
    spread.record(7, 0)
    assert list(meter.metrics("producer-metrics", TAGS, 0)) == [
        Metric(MetricName("record-send-rate", "producer-metrics", TAGS), 0.1),
        Metric(MetricName("record-send-total", "producer-metrics", TAGS), 3, is_total=True),
    ]
    names = [metric.name.name for metric in spread.metrics("producer-metrics", TAGS, 0)]
    assert names == ["request-latency-avg", "request-latency-max"]


def test_the_rate_of_a_total_looks_back_a_minute():
    rate = TotalRate(0)
    assert rate.rate(30, 10_000) == 1.0
    assert rate.rate(40, 40_000) == 1.0
    assert rate.rate(100, 80_000) == pytest.approx(60 * 1_000 / 40_000)
    assert rate.rate(100, 1_000_000) == 0.0


def test_metrics_are_found_by_name_and_tags():
    of_topic = (*TAGS, ("topic", "orders"))
    metrics = Metrics(
        [
            Metric(MetricName("record-send-total", "producer-metrics", TAGS), 3),
            Metric(MetricName("record-send-total", "producer-topic-metrics", of_topic), 2),
            Metric(MetricName("request-latency-avg", "producer-node-metrics", (*TAGS, ("node-id", "node-1"))), 5),
        ]
    )
    assert metrics.value("record-send-total") == 3
    assert metrics.value("record-send-total", topic="orders") == 2
    assert metrics.value("request-latency-avg", node_id="node-1") == 5
    assert metrics.by_group() == {"producer-metrics": {"record-send-total": 3}}
    assert metrics[MetricName("record-send-total", "producer-topic-metrics", of_topic)] == 2
    assert len(metrics) == len(list(metrics)) == 3
    with pytest.raises(KeyError, match="0 metrics are called"):
        metrics.value("record-send-total", topic="other")
