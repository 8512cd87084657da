"""Medians of rows, and the cost that each workload is judged by."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.harness.workload import Workload, all_workloads

Row = dict[str, Any]
GB = 1e9


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians of one target on one workload. Costs: CPU seconds a GB, or CPU microseconds a request."""

    repeats: int
    cpu: float
    megabytes_per_s: float
    requests_per_s: float
    p50_us: float
    p99_us: float
    p999_us: float
    memory_bytes: float
    system_share: float
    client_share: float
    """Cores that the client kept busy: near 1 means that the client was the limit."""

    def rate(self, workload: Workload) -> float:
        return self.megabytes_per_s if workload.per == "gb" else self.requests_per_s


def cpu_cost(row: Row, workload: Workload) -> float:
    if workload.per == "gb":
        return float(row["target_cpu_s"] / max(row["bytes"], 1) * GB)
    return float(row["target_cpu_s"] / max(row["requests"], 1) * 1e6)


def median(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else float("nan")


def figures_of(rows: list[Row], workload: Workload) -> Figures | None:
    """Medians of the rows without error; None without any."""
    rows = [row for row in rows if "error" not in row]
    if not rows:
        return None
    latency = [row.get("latency_us", {}) for row in rows]
    return Figures(
        repeats=len(rows),
        cpu=median(cpu_cost(row, workload) for row in rows),
        megabytes_per_s=median(row["bytes"] / row["seconds"] / 1e6 for row in rows),
        requests_per_s=median(row["requests"] / row["seconds"] for row in rows),
        p50_us=median(item.get("p50") for item in latency),
        p99_us=median(item.get("p99") for item in latency),
        p999_us=median(item.get("p999") for item in latency),
        memory_bytes=median(row.get("memory_bytes") for row in rows),
        system_share=median(row.get("system_share") for row in rows),
        client_share=median(row["client_cpu_s"] / row["seconds"] for row in rows if "client_cpu_s" in row),
    )


FLOORS = ("echo", "floor_produce", "floor_fetch")
FLOOR = "floor"


@dataclass(frozen=True, slots=True)
class Table:
    """All figures of a result file, by workload name and target name."""

    workloads: list[Workload]
    targets: list[str]
    figures: dict[tuple[str, str], Figures]
    measures: dict[tuple[str, str], float]
    """Median by (target, field of a measure)."""

    def find(self, workload: str, target: str) -> Figures | None:
        names = FLOORS if target == FLOOR else (target,)
        return next((self.figures[workload, name] for name in names if (workload, name) in self.figures), None)

    def columns(self, base: str) -> list[str]:
        """What is compared with `base`: the other brokers, and FLOOR for whatever does the bare work of a workload."""
        others = [target for target in self.targets if target != base]
        brokers = [target for target in others if target not in FLOORS]
        return brokers + [FLOOR] * (len(others) > len(brokers))

    def ratio(self, workload: str, target: str, base: str, field: str) -> float | None:
        """`field` of the target over that of the base; None where one is missing."""
        first, second = self.find(workload, target), self.find(workload, base)
        if first is None or second is None:
            return None
        below = float(getattr(second, field))
        return float(getattr(first, field)) / below if below else None


def tabulate(content: dict[str, Any]) -> Table:
    runs: list[Row] = content["runs"]
    targets = list(dict.fromkeys(row["target"] for row in runs + content["measures"]))
    figures: dict[tuple[str, str], Figures] = {}
    for workload in all_workloads():
        for target in targets:
            rows = [row for row in runs if (row["workload"], row["target"]) == (workload.name, target)]
            if (found := figures_of(rows, workload)) is not None:
                figures[workload.name, target] = found
    names = {workload for workload, _ in figures}
    measures: dict[tuple[str, str], float] = {}
    fields = (
        "start_s",
        "start_cpu_s",
        "idle_bytes",
        "connections_bytes",
        "partitions_bytes",
        "partitions_s",
        "open_files",
    )
    for target in targets:
        for field in fields:
            known = [row[field] for row in content["measures"] if row["target"] == target and field in row]
            if known:
                measures[target, field] = statistics.median(known)
    return Table([workload for workload in all_workloads() if workload.name in names], targets, figures, measures)
