"""Numbers over time, as Kafka's clients compute them: two windows of 30 s, the older one given up when a third begins.

    rate    sum of both windows / time since the older one began, at least 30 s
    avg     of all that was recorded in both; max likewise; NaN without any

Recorded from one thread; reading from another may miss what is recorded meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from pystream.client.metrics.model import Metric, MetricName, Tags

WINDOW_MS: Final = 30_000
WINDOWS: Final = 2


class _Window:
    __slots__ = ("began_ms", "count", "highest", "total")

    def __init__(self, began_ms: int) -> None:
        self.began_ms = began_ms
        self.total = 0.0
        self.count = 0
        self.highest = -math.inf


class Windows:
    """Sum, count and maximum of the last minute."""

    __slots__ = ("_windows",)

    def __init__(self, now_ms: int) -> None:
        self._windows: tuple[_Window, ...] = (_Window(now_ms),)

    def record(self, value: float, now_ms: int) -> None:
        window = self._windows[-1]
        if now_ms - window.began_ms >= WINDOW_MS:
            window = _Window(now_ms)
            self._windows = (*self._windows, window)[-WINDOWS:]
        window.total += value
        window.count += 1
        if value > window.highest:
            window.highest = value

    def _live(self, now_ms: int) -> list[_Window]:
        return [window for window in self._windows if now_ms - window.began_ms < WINDOWS * WINDOW_MS]

    def rate(self, now_ms: int) -> float:
        """What was recorded a second."""
        live = self._live(now_ms)
        if not live:
            return 0.0
        span_ms = max(now_ms - live[0].began_ms, WINDOW_MS)
        return sum(window.total for window in live) * 1_000 / span_ms

    def average(self, now_ms: int) -> float:
        """NaN when nothing was recorded."""
        live = self._live(now_ms)
        count = sum(window.count for window in live)
        return sum(window.total for window in live) / count if count else math.nan

    def highest(self, now_ms: int) -> float:
        """NaN when nothing was recorded."""
        most = max((window.highest for window in self._live(now_ms)), default=-math.inf)
        return math.nan if most == -math.inf else most


class Meter:
    """`…-rate` and `…-total` of what happens."""

    __slots__ = ("_stem", "_windows", "total")

    def __init__(self, stem: str, now_ms: int) -> None:
        self._stem = stem
        self._windows = Windows(now_ms)
        self.total = 0.0

    def mark(self, amount: float, now_ms: int) -> None:
        self.total += amount
        self._windows.record(amount, now_ms)

    def metrics(self, group: str, tags: Tags, now_ms: int) -> Iterator[Metric]:
        yield Metric(MetricName(f"{self._stem}-rate", group, tags), self._windows.rate(now_ms))
        yield Metric(MetricName(f"{self._stem}-total", group, tags), self.total, is_total=True)


class Spread:
    """`…-avg` and `…-max` of what is measured; `record(value, now_ms)`."""

    __slots__ = ("_stem", "_windows", "record")

    def __init__(self, stem: str, now_ms: int) -> None:
        self._stem = stem
        self._windows = Windows(now_ms)
        self.record = self._windows.record

    def metrics(self, group: str, tags: Tags, now_ms: int) -> Iterator[Metric]:
        yield Metric(MetricName(f"{self._stem}-avg", group, tags), self._windows.average(now_ms))
        yield Metric(MetricName(f"{self._stem}-max", group, tags), self._windows.highest(now_ms))


class TotalRate:
    """The rate of a total that others count: between what was seen in the last minute, by whoever looked."""

    __slots__ = ("_seen",)

    def __init__(self, now_ms: int) -> None:
        self._seen: tuple[tuple[int, float], ...] = ((now_ms, 0.0),)

    def rate(self, total: float, now_ms: int) -> float:
        """What it grew a second, as far back as it was looked at, at most two windows."""
        recent = [seen for seen in self._seen if now_ms - seen[0] < WINDOWS * WINDOW_MS]
        seen = tuple(recent) or self._seen[-1:]
        if now_ms - seen[-1][0] >= WINDOW_MS:
            self._seen = (*seen, (now_ms, total))
        else:
            self._seen = seen
        began_ms, before = seen[0]
        return (total - before) * 1_000 / max(now_ms - began_ms, WINDOW_MS)
