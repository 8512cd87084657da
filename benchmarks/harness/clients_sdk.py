"""Clients side by side on one broker: CPU of the client's process for a message.

The clients of a row run one after the other, round by round, so that what else the machine does meets all of them.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.errors import HarnessError
from benchmarks.harness.report import markdown_table
from benchmarks.harness.sdk_load import CASES
from benchmarks.harness.statistics import Row
from benchmarks.harness.targets.base import Target
from benchmarks.harness.wire import Client

OURS = "pystream"
PARTITIONS = 1
RUN_SECONDS = 180.0
# NumPy's BLAS has a thread for each further processor that spins for some 25 ms after the import: as much CPU time as
# half of a row takes, in whatever rows import NumPy, and the more of it the fewer others want the processor.
WITHOUT_BLAS = {"OPENBLAS_NUM_THREADS": "1"}
ROOT = Path(__file__).resolve().parents[2]


def measure_clients(
    target: Target, cases: Sequence[str], *, rounds: int, scale: float, report: Callable[[Row], None]
) -> None:
    """Start the target, run everything, stop it. Each run is handed to `report`."""
    try:
        target.start()
        for turn, name, client in plan(cases, rounds):
            topic = re.sub(r"[^a-zA-Z0-9._-]+", "-", f"{name}-{client}-{turn}")
            with Client(target.port) as admin:
                admin.create_topic(topic, PARTITIONS)
                admin.await_serving(topic, PARTITIONS)
            count = int(CASES[name].count * scale)
            report(run_one(name, client, target.port, topic, count) | {"target": target.name, "round": turn})
    finally:
        target.stop()


def plan(cases: Sequence[str], rounds: int) -> Iterator[tuple[int, str, str]]:
    """(round, row, client), every second round backwards."""
    for turn in range(rounds):
        for name in cases:
            clients = list(CASES[name].clients)
            for client in clients if turn % 2 == 0 else reversed(clients):
                yield turn, name, client


def run_one(name: str, client: str, port: int, topic: str, count: int) -> Row:
    command = [sys.executable, "-m", "benchmarks.harness.sdk_load", f"row={name}", f"client={client}"]
    command += [f"port={port}", f"topic={topic}", f"count={count}"]
    row: Row = {"row": name, "client": client, "load": os.getloadavg()[0]}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=RUN_SECONDS, cwd=ROOT, env=os.environ | WITHOUT_BLAS
    )
    if done.returncode != 0:
        raise HarnessError(f"{client}, {name}: ended with {done.returncode}: {done.stderr[-400:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row | found | {"cpu_us": found["cpu_s"] / found["messages"] * 1e6}


def table(rows: Sequence[Row]) -> str:
    """Medians, and how many times ours the CPU of the best other is."""
    lines = []
    for name in dict.fromkeys(row["row"] for row in rows):
        medians = {
            client: statistics.median(row["cpu_us"] for row in rows if (row["row"], row["client"]) == (name, client))
            for client in CASES[name].clients
        }
        ours = medians.pop(OURS)
        others = ", ".join(f"{client} {cpu:.2f}" for client, cpu in medians.items())
        lines.append(
            [CASES[name].title, f"{ours:.3f}", others, f"{min(medians.values()) / ours:.1f}", outside_codec(rows, name)]
        )
    head = ["client CPU-µs a message", OURS, "others", "best other / pystream", "of ours outside the codec"]
    return markdown_table(head, lines)


def outside_codec(rows: Sequence[Row], name: str) -> str:
    """The median share of our CPU time that is not the codec's; empty for rows without one."""
    shares = [
        1 - row["codec_s"] / row["cpu_s"]
        for row in rows
        if (row["row"], row["client"]) == (name, OURS) and "codec_s" in row
    ]
    return f"{statistics.median(shares):.0%}" if shares else ""
