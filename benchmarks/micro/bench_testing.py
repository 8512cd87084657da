"""How long tests wait for a broker of the test kit: start and stop, wall time.

asv run --bench Brokers                      as the other benchmarks
python benchmarks/micro/bench_testing.py     a table: the first start of a process, and the median of 20 after it
"""

from __future__ import annotations

import statistics
import sys
import time

from pystream.testing import broker

RUNS = 20
KINDS = ("embedded", "process")


class Brokers:
    """A broker up and down again, what is paid once excepted."""

    params = KINDS
    param_names = ("kind",)

    def setup(self, kind: str) -> None:
        self.is_process = kind == "process"
        start_and_stop(self.is_process)

    def time_start_and_stop(self, _kind: str) -> None:
        start_and_stop(self.is_process)


def start_and_stop(is_process: bool) -> tuple[float, float]:
    """Milliseconds of each."""
    began = time.perf_counter()
    made = broker(process=is_process).start()
    up = time.perf_counter()
    made.close()
    return (up - began) * 1_000, (time.perf_counter() - up) * 1_000


def main() -> None:
    for kind in KINDS:
        first, _ = start_and_stop(kind == "process")
        spans = [start_and_stop(kind == "process") for _ in range(RUNS)]
        starts, stops = (sorted(column) for column in zip(*spans, strict=True))
        print(
            f"{kind:9} first start {first:6.1f} ms, later {statistics.median(starts):5.1f} (max {starts[-1]:5.1f}), "
            f"stop {statistics.median(stops):5.1f} (max {stops[-1]:5.1f}) ms"
        )


if __name__ == "__main__":
    sys.exit(main())
