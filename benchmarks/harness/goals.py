"""The goals of the broker, each with the figure that a result file gives for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.harness.statistics import Table

OURS = "pystream"
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Goal:
    """`least` and `aim` are bounds from above where `smaller` is better, else from below."""

    title: str
    least: float
    aim: float
    unit: str
    smaller: bool
    figure: Callable[[Table], float | None]

    def reached(self, value: float, bound: float) -> bool:
        return value <= bound if self.smaller else value >= bound

    def verdict(self, value: float | None) -> str:
        if value is None or math.isnan(value):
            return "not measured"
        if self.reached(value, self.aim):
            return "aim reached"
        return "reached" if self.reached(value, self.least) else "**not reached**"


def over_floor(workload: str, floor: str) -> Callable[[Table], float | None]:
    return lambda table: table.ratio(workload, OURS, floor, "cpu")


def against(target: str, workload: str, field: str = "cpu") -> Callable[[Table], float | None]:
    return lambda table: table.ratio(workload, target, OURS, field)


def own(workload: str, field: str) -> Callable[[Table], float | None]:
    def figure(table: Table) -> float | None:
        found = table.figures.get((workload, OURS))
        return float(getattr(found, field)) if found is not None else None

    return figure


def durable_over_cached(durable: str, cached: str, field: str) -> Callable[[Table], float | None]:
    def figure(table: Table) -> float | None:
        first, second = table.figures.get((durable, OURS)), table.figures.get((cached, OURS))
        return getattr(first, field) / getattr(second, field) if first is not None and second is not None else None

    return figure


def measured(field: str, scale: float = 1) -> Callable[[Table], float | None]:
    def figure(table: Table) -> float | None:
        value = table.measures.get((OURS, field))
        return value / scale if value is not None else None

    return figure


GOALS: Sequence[Goal] = (
    Goal(
        "CPU per GB produced, 1 MB batches: pystream / floor",
        1.8,
        1.3,
        "",
        True,
        over_floor("produce-1mb", "floor_produce"),
    ),
    Goal(
        "CPU per GB produced, 16 KB batches: pystream / floor",
        1.8,
        1.3,
        "",
        True,
        over_floor("produce-16kb", "floor_produce"),
    ),
    Goal(
        "CPU per GB fetched, 1 MB batches: pystream / bare sendfile",
        1.6,
        1.2,
        "",
        True,
        over_floor("fetch-1mb", "floor_fetch"),
    ),
    Goal(
        "CPU per GB fetched, 16 KB batches: pystream / bare sendfile",
        1.6,
        1.2,
        "",
        True,
        over_floor("fetch-16kb", "floor_fetch"),
    ),
    Goal("CPU per 100 B produce, 1 x 1: pystream / C echo", 2.5, 1.5, "", True, over_floor("tiny-1x1", "echo")),
    Goal("CPU per 100 B produce, 64 x 1: pystream / C echo", 2.5, 1.5, "", True, over_floor("tiny-64x1", "echo")),
    Goal("CPU per pipelined 100 B produce, 1 x 64", 1.0, 0.5, " µs", True, own("tiny-1x64", "cpu")),
    Goal("CPU per GB produced, 1 MB batches: Kafka / pystream", 3, 6, "", False, against("kafka", "produce-1mb")),
    Goal("CPU per GB produced, 16 KB batches: Kafka / pystream", 3, 6, "", False, against("kafka", "produce-16kb")),
    Goal("CPU per GB fetched, 1 MB batches: Kafka / pystream", 3, 6, "", False, against("kafka", "fetch-1mb")),
    Goal("CPU per GB fetched, 16 KB batches: Kafka / pystream", 3, 6, "", False, against("kafka", "fetch-16kb")),
    Goal(
        "CPU per GB, confluent-kafka produces 1 KB: Kafka / pystream",
        3,
        6,
        "",
        False,
        against("kafka", "client-produce-1kb"),
    ),
    Goal(
        "CPU per GB, confluent-kafka consumes 1 KB: Kafka / pystream",
        3,
        6,
        "",
        False,
        against("kafka", "client-consume-1kb"),
    ),
    Goal("CPU per small request, 1 x 1: Kafka / pystream", 5, 10, "", False, against("kafka", "tiny-1x1")),
    Goal("CPU per small request, 64 x 1: Kafka / pystream", 5, 10, "", False, against("kafka", "tiny-64x1")),
    Goal("CPU per small request, 1 x 64: Kafka / pystream", 5, 10, "", False, against("kafka", "tiny-1x64")),
    Goal(
        "end-to-end p50 at 1,000 msg/s: Kafka / pystream", 1.5, 3, "", False, against("kafka", "latency-1000", "p50_us")
    ),
    Goal(
        "end-to-end p99 at 1,000 msg/s: Kafka / pystream", 1.5, 3, "", False, against("kafka", "latency-1000", "p99_us")
    ),
    Goal("start to first accepted produce", 1, 0.5, " s", True, measured("start_s")),
    Goal("idle RSS", 80, 50, " MiB", True, measured("idle_bytes", MIB)),
    Goal("memory of 10,000 idle connections", 200, 100, " MiB", True, measured("connections_bytes", MIB)),
    Goal("memory of 10,000 partitions", 300, 150, " MiB", True, measured("partitions_bytes", MIB)),
    Goal(
        "durable / page cache, rate, 1 MB 4 x 4",
        0.5,
        0.5,
        "",
        False,
        durable_over_cached("durable-1mb", "produce-1mb-acksall", "megabytes_per_s"),
    ),
    Goal(
        "durable / page cache, rate, 100 B 64 x 1",
        0.2,
        0.2,
        "",
        False,
        durable_over_cached("durable-64x1", "tiny-64x1-acksall", "requests_per_s"),
    ),
)


def goal_rows(table: Table) -> list[list[str]]:
    rows = []
    for goal in GOALS:
        value = goal.figure(table)
        sign = "≤" if goal.smaller else "≥"
        shown = "—" if value is None or math.isnan(value) else f"{value:.3g}{goal.unit}"
        rows.append(
            [
                goal.title,
                f"{sign} {goal.least:g}{goal.unit}",
                f"{sign} {goal.aim:g}{goal.unit}",
                shown,
                goal.verdict(value),
            ]
        )
    return rows
