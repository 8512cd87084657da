from __future__ import annotations

import pytest

from pystream.common import metrics
from pystream.common.errors import LimitExceeded
from pystream.common.metrics import Family, Registry, Sample


def test_counters_and_gauges_are_written_with_help_and_type() -> None:
    registry = Registry()
    registry.counter("rolls_total", "Segments\nrolled.", labels=("reason",)).labels('by "size"\\').add(2)
    registry.gauge("free_bytes", "Room.").labels().set(1.5)

    assert registry.exposition() == (
        "# HELP rolls_total Segments\\nrolled.\n"
        "# TYPE rolls_total counter\n"
        'rolls_total{reason="by \\"size\\"\\\\"} 2\n'
        "# HELP free_bytes Room.\n"
        "# TYPE free_bytes gauge\n"
        "free_bytes 1.5\n"
    )


def test_histogram_buckets_add_up_and_include_their_bound() -> None:
    registry = Registry()
    latency = registry.histogram("latency_ms", "Time.", bounds=(1, 10)).labels()
    for value in (0.5, 1, 2, 10, 11):
        latency.observe(value)

    assert registry.exposition().splitlines()[2:] == [
        'latency_ms_bucket{le="1"} 2',
        'latency_ms_bucket{le="10"} 4',
        'latency_ms_bucket{le="+Inf"} 5',
        "latency_ms_sum 24.5",
        "latency_ms_count 5",
    ]


def test_collectors_are_asked_at_each_scrape() -> None:
    registry = Registry()
    bytes_in = iter((5, 9))
    registry.collect_from(
        lambda: [Family("in_total", metrics.COUNTER, "In.", [Sample((("topic", "t"),), next(bytes_in))])]
    )

    assert 'in_total{topic="t"} 5' in registry.exposition()
    assert 'in_total{topic="t"} 9' in registry.exposition()


def test_a_removed_combination_is_no_longer_shown() -> None:
    registry = Registry()
    per_topic = registry.gauge("size_bytes", "Size.", labels=("topic",))
    per_topic.labels("a").set(1)

    per_topic.remove("a")
    per_topic.remove("a")

    assert "topic" not in registry.exposition()


def test_a_counter_never_falls() -> None:
    counter = Registry().counter("n_total", "N.").labels()

    with pytest.raises(ValueError, match="cannot fall"):
        counter.add(-1)


@pytest.mark.parametrize(("name", "labels"), [("1x", ()), ("a-b", ()), ("ok", ("le gal",))])
def test_names_that_prometheus_cannot_read_are_refused(name: str, labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="not a metric name"):
        Registry().gauge(name, "x", labels)


def test_one_name_is_registered_once() -> None:
    registry = Registry()
    registry.gauge("x", "x")

    with pytest.raises(ValueError, match="twice"):
        registry.counter("x", "x")


def test_label_values_must_match_the_labels() -> None:
    gauge = Registry().gauge("x", "x", ("a", "b"))

    with pytest.raises(ValueError, match="got 1 values"):
        gauge.labels("1")


def test_label_combinations_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAXIMUM_CHILDREN", 2)
    gauge = Registry().gauge("x", "x", ("a",))
    gauge.labels("1")
    gauge.labels("2")

    with pytest.raises(LimitExceeded):
        gauge.labels("3")


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "3"), (0.25, "0.25"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (float("nan"), "NaN")],
)
def test_numbers_are_written_as_prometheus_reads_them(value: float, text: str) -> None:
    assert metrics.format_number(value) == text
