"""How long the command line takes, processes from start to exit: its help, a long list, completion with live names.

The first run of each finds the files in the page cache or not, as it happens; the median is that of the others.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.harness.errors import HarnessError
from benchmarks.harness.targets.base import Target
from benchmarks.harness.targets.pystream import ENTRY, ROOT

TOPICS_OF_A_REQUEST = 500
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Times:
    """Of one command, in ms."""

    command: str
    first_ms: float
    median_ms: float
    goal_ms: float

    def line(self) -> str:
        verdict = "ok" if self.median_ms < self.goal_ms else f"above {self.goal_ms:.0f} ms"
        return f"{self.command:44} first {self.first_ms:7.1f} ms   median {self.median_ms:7.1f} ms   ({verdict})"


def measure(target: Target, topics: int, repeats: int) -> Iterator[Times]:
    """Each command `repeats` times, on a broker with so many topics."""
    target.start()
    try:
        bootstrap = f"127.0.0.1:{target.port}"
        fill(bootstrap, topics)
        yield timed("bare Python", ["-c", ""], 1_000, repeats)
        yield timed("pystream --help", ["-c", ENTRY, "--help"], 80, repeats)
        listing = ["-c", ENTRY, "topics", "list", "-b", bootstrap]
        yield timed(f"pystream topics list ({topics:,} topics)", listing, 1_000, repeats, lines=topics)
        yield timed("  the same with -o name", [*listing, "-o", "name"], 1_000, repeats, lines=topics)
        with tempfile.TemporaryDirectory() as cache:
            words = {
                "_PYSTREAM_COMPLETE": "bash_complete",
                "PYSTREAM_BOOTSTRAP_SERVERS": bootstrap,
                "XDG_CACHE_HOME": cache,
                "COMP_LINE": "pystream topics describe topic-0001",
            }
            yield timed("  completion of a topic's name", ["-c", ENTRY], 80, repeats, lines=10, environment=words)
    finally:
        target.stop()


def fill(bootstrap: str, topics: int) -> None:
    """Topics of one partition."""
    from pystream.client import AdminClient
    from pystream.client.admin.topics import NewTopic

    with AdminClient(bootstrap_servers=bootstrap) as admin:
        for first in range(0, topics, TOPICS_OF_A_REQUEST):
            last = min(first + TOPICS_OF_A_REQUEST, topics)
            admin.create_topics(NewTopic(f"topic-{number:05}", 1) for number in range(first, last)).checked()


def timed(
    name: str,
    arguments: list[str],
    goal_ms: float,
    repeats: int,
    *,
    lines: int = 0,
    environment: dict[str, str] | None = None,
) -> Times:
    """Raises HarnessError for a command that fails, or that gives fewer lines than it should."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    took = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": path, **(environment or {})},
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        took.append((time.perf_counter() - began) * 1e3)
        if done.returncode != 0 or done.stdout.count(b"\n") < lines:
            raise HarnessError(f"{name}: exit code {done.returncode}: {done.stderr.decode()[:200]}")
    return Times(name, took[0], statistics.median(took[1:]), goal_ms)
