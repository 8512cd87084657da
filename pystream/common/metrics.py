"""Metrics: counters, gauges, histograms, and families computed when somebody looks, in Prometheus' text format.

    registry = Registry()
    rolls = registry.counter("kafka_log_segment_rolls_total", "Segments rolled.", labels=("reason",))
    rolls.labels("size").add()
    registry.collect_from(lambda: [Family("kafka_…", GAUGE, "…", [Sample((), 3)])])
    body = registry.exposition()

What the native plane counts without a lock comes in through `collect_from`: it is read once per scrape, not pushed.
A metric is changed from one thread (the loop's); `add` from another thread may lose counts but breaks nothing. The
exposition may be made on any thread.
"""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from pystream.common.errors import LimitExceeded

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MAXIMUM_CHILDREN: Final = 100_000  # label combinations of one metric
LATENCY_MS_BUCKETS: Final = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000)

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class Sample(NamedTuple):
    """One line: label pairs, a value, and what follows the family's name (`_bucket`, `_sum`, `_count`)."""

    labels: tuple[tuple[str, str], ...]
    value: float
    suffix: str = ""


class Family(NamedTuple):
    """Everything under one HELP and TYPE."""

    name: str
    type: str
    help: str
    samples: Iterable[Sample]


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, amount: float = 1) -> None:
        if amount < 0:
            raise ValueError(f"a counter cannot fall by {-amount}")
        self.value += amount

    def samples(self, labels: tuple[tuple[str, str], ...]) -> Iterable[Sample]:
        return (Sample(labels, self.value),)


class Gauge:
    """A number that moves both ways."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        self.value = value

    def add(self, amount: float = 1) -> None:
        self.value += amount

    def samples(self, labels: tuple[tuple[str, str], ...]) -> Iterable[Sample]:
        return (Sample(labels, self.value),)


class Histogram:
    """Observations counted in buckets with fixed upper bounds (inclusive)."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float] = LATENCY_MS_BUCKETS) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self._sum += value

    @property
    def count(self) -> int:
        """Observations so far."""
        return sum(self._counts)

    def samples(self, labels: tuple[tuple[str, str], ...]) -> Iterable[Sample]:
        total = 0
        for bound, count in zip((*self._bounds, math.inf), self._counts, strict=True):
            total += count
            yield Sample((*labels, ("le", format_number(bound))), total, "_bucket")
        yield Sample(labels, self._sum, "_sum")
        yield Sample(labels, total, "_count")


M = TypeVar("M", Counter, Gauge, Histogram)


class Labelled(Generic[M]):
    """One metric for each combination of label values, made on first use. At most MAXIMUM_CHILDREN of them."""

    __slots__ = ("_children", "_make", "_names", "_what")

    def __init__(self, what: str, names: tuple[str, ...], make: Callable[[], M]) -> None:
        self._what = what
        self._names = names
        self._make: Callable[[], M] = make
        self._children: dict[tuple[str, ...], M] = {}

    def labels(self, *values: str) -> M:
        """The metric for these values, in the order in which the labels were declared."""
        child = self._children.get(values)
        if child is None:
            if len(values) != len(self._names):
                raise ValueError(f"{self._what} has labels {self._names}, got {len(values)} values")
            if len(self._children) >= MAXIMUM_CHILDREN:
                raise LimitExceeded(f"{self._what} has {MAXIMUM_CHILDREN} label combinations already")
            child = self._children[values] = self._make()
        return child

    def remove(self, *values: str) -> None:
        """Forget one combination, when what it counted is gone. Unknown ones are ignored."""
        self._children.pop(values, None)

    def samples(self) -> Iterable[Sample]:
        for values, child in list(self._children.items()):  # others may add some meanwhile
            yield from child.samples(tuple(zip(self._names, values, strict=True)))


class Registry:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._families: dict[str, Callable[[], Family]] = {}
        self._collectors: list[Callable[[], Iterable[Family]]] = []

    def counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Labelled[Counter]:
        """A counter; by convention `name` ends in _total."""
        return self._register(name, COUNTER, help, labels, Counter)

    def gauge(self, name: str, help: str, labels: Sequence[str] = ()) -> Labelled[Gauge]:
        return self._register(name, GAUGE, help, labels, Gauge)

    def histogram(
        self, name: str, help: str, labels: Sequence[str] = (), bounds: Sequence[float] = LATENCY_MS_BUCKETS
    ) -> Labelled[Histogram]:
        """`bounds` are the buckets' upper bounds, growing; +Inf is added."""
        if list(bounds) != sorted(set(bounds)):
            raise ValueError(f"bounds of {name} must grow: {bounds}")
        return self._register(name, HISTOGRAM, help, labels, lambda: Histogram(bounds))

    def collect_from(self, collector: Callable[[], Iterable[Family]]) -> None:
        """Ask `collector` for families at each scrape."""
        self._collectors.append(collector)

    def families(self) -> Iterable[Family]:
        for make in self._families.values():
            yield make()
        for collector in self._collectors:
            yield from collector()

    def exposition(self) -> str:
        """The whole registry in Prometheus' text format 0.0.4, to be served as CONTENT_TYPE."""
        lines: list[str] = []
        for family in self.families():
            lines.append(f"# HELP {family.name} {_escape_help(family.help)}")
            lines.append(f"# TYPE {family.name} {family.type}")
            lines += [_line(family.name, sample) for sample in family.samples]
        return "\n".join(lines) + "\n" if lines else ""

    def _register(self, name: str, type: str, help: str, labels: Sequence[str], make: Callable[[], M]) -> Labelled[M]:
        if not _NAME.fullmatch(name) or not all(_LABEL.fullmatch(label) for label in labels):
            raise ValueError(f"not a metric name or label: {name} {labels}")
        if name in self._families:
            raise ValueError(f"the metric {name} is registered twice")
        metric = Labelled(name, tuple(labels), make)
        if not labels:
            metric.labels()
        self._families[name] = lambda: Family(name, type, help, metric.samples())
        return metric


def format_number(value: float) -> str:
    """As Prometheus reads it: whole numbers without a point, +Inf, -Inf, NaN."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) else repr(float(value))


def _line(name: str, sample: Sample) -> str:
    if not sample.labels:
        return f"{name}{sample.suffix} {format_number(sample.value)}"
    labels = ",".join(f'{label}="{_escape_label(value)}"' for label, value in sample.labels)
    return f"{name}{sample.suffix}{{{labels}}} {format_number(sample.value)}"


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _escape_label(text: str) -> str:
    return _escape_help(text).replace('"', '\\"')
