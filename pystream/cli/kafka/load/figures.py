"""How fast it went: counts of a window and of the whole, latencies, times as Java formats them."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pystream.cli.kafka.options import flag, former, value

SAMPLES: Final = 500_000
MIB: Final = 1 << 20
JAVA_FIELDS: Final = {
    "yyyy": "%Y",
    "yy": "%y",
    "MM": "%m",
    "dd": "%d",
    "HH": "%H",
    "mm": "%M",
    "ss": "%S",
    "SSS": "{ms}",
}


DATE: Final = "yyyy-MM-dd HH:mm:ss:SSS"
# of the tools that measure how fast records are read
READING_OPTIONS: Final = (
    value("fetch-size", "Bytes of a partition in one request.", "size", int, 1_048_576),
    value("socket-buffer-size", "The size of the tcp RECV size.", "size", int, 2_097_152),
    value("command-property", "A setting of the consumer, key=value.", "prop1=val1"),
    value("command-config", "A file of those settings; --command-property is stronger.", "config file"),
    former("consumer.config", "command-config", "config file", leads=True),
    flag("print-metrics", "Print out the metrics."),
    flag("show-detailed-stats", "A line for each --reporting-interval."),
    value("timeout", "Ms between records at most.", "milliseconds", int, 10_000, bare=True),
    value("num-records", "REQUIRED: The number of records to consume.", "count", int),
    value("messages", "(DEPRECATED) Use --num-records instead.", "count", int),
    value("reporting-interval", "Ms between lines.", "interval_ms", int, 5_000),
    value("date-format", "As java.text.SimpleDateFormat has it.", "date format", str, DATE),
    flag("hide-header", "If set, skips printing the header for the stats"),
)


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def date(pattern: str, timestamp_ms: int) -> str:
    """A moment by a pattern of java.text.SimpleDateFormat; of its letters those of dates and times are known."""
    moment = datetime.fromtimestamp(timestamp_ms / 1_000).astimezone()

    def field(match: re.Match[str]) -> str:
        if match[1] is not None:
            return match[1] or "'"
        form = JAVA_FIELDS.get(match[0])
        if form is None:
            return match[0]
        return f"{timestamp_ms % 1_000:03d}" if form == "{ms}" else moment.strftime(form)

    return re.sub(r"'([^']*)'|([a-zA-Z])\2*", field, pattern)


def per_second(count: float, elapsed_ms: float) -> float:
    """Infinite where no time passed, as Java's doubles have it."""
    if elapsed_ms > 0:
        return 1_000 * count / elapsed_ms
    return float("inf") if count else float("nan")


def java_number(number: float, places: int) -> str:
    """As Java formats a double."""
    if number != number:
        return "NaN"
    return "Infinity" if number == float("inf") else f"{number:.{places}f}"


class Latencies:
    """What became of sent records: lines of a window, and of all."""

    def __init__(self, records: int, interval_ms: int, words: str = "", *, windows: bool = True) -> None:
        self._words = words
        self._windows = windows
        self._interval_ms = interval_ms
        self._step = max(records // SAMPLES, 1)
        self._start_ms = self._window_start_ms = now_ms()
        self._samples: list[int] = []
        self._count = self._bytes = self._total_ms = self._most_ms = 0
        self._begin_window()

    def _begin_window(self) -> None:
        self._window_count = self._window_bytes = self._window_total_ms = self._window_most_ms = 0

    def record(self, latency_ms: int, size_bytes: int, at_ms: int) -> None:
        """A record was acknowledged."""
        if self._count % self._step == 0:
            self._samples.append(latency_ms)
        self._count += 1
        self._bytes += size_bytes
        self._total_ms += latency_ms
        self._most_ms = max(self._most_ms, latency_ms)
        self._window_count += 1
        self._window_bytes += size_bytes
        self._window_total_ms += latency_ms
        self._window_most_ms = max(self._window_most_ms, latency_ms)
        if self._windows and at_ms - self._window_start_ms >= self._interval_ms:
            print(self._line(at_ms - self._window_start_ms))
            self._window_start_ms = at_ms
            self._begin_window()

    def _line(self, elapsed_ms: int) -> str:
        rate, throughput = per_second(self._window_count, elapsed_ms), per_second(self._window_bytes, elapsed_ms) / MIB
        return (
            f"{self._window_count}{self._words} records sent, {rate:.1f} records/sec ({throughput:.2f} MB/sec), "
            f"{self._window_total_ms / self._window_count:.1f} ms avg latency, "
            f"{self._window_most_ms:.1f} ms max latency."
        )

    def total(self) -> str:
        """The line about all."""
        elapsed_ms = now_ms() - self._start_ms
        rate, throughput = per_second(self._count, elapsed_ms), per_second(self._bytes, elapsed_ms) / MIB
        average = self._total_ms / self._count if self._count else float("nan")
        p50, p95, p99, p999 = percentiles(self._samples, (0.5, 0.95, 0.99, 0.999))
        return (
            f"{self._count}{self._words} records sent, {java_number(rate, 6)} records/sec "
            f"({java_number(throughput, 2)} MB/sec), {java_number(average, 2)} ms avg latency, "
            f"{self._most_ms:.2f} ms max latency, {p50} ms 50th, {p95} ms 95th, {p99} ms 99th, {p999} ms 99.9th."
        )


def percentiles(samples: Sequence[int], shares: Sequence[float]) -> list[int]:
    """The samples below which such shares are; 0 without samples."""
    ordered = sorted(samples)
    return [ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0 for share in shares]


class Throttle:
    """Holds back to so many a second; below 0 not at all."""

    def __init__(self, a_second: float) -> None:
        self._a_second = a_second
        self._start = time.monotonic()

    def wait(self, done: int) -> None:
        """Return when `done` are due."""
        if self._a_second < 0:
            return
        if self._a_second == 0:
            time.sleep(float(2**31))
        ahead = done / self._a_second - (time.monotonic() - self._start)
        if ahead > 0.001:
            time.sleep(ahead)
