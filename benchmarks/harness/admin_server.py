"""gRPC admin: how long it takes to start, what a call costs, how many a second.

    pystream up --data-dir /tmp/data &
    python -m benchmarks.harness.admin_server --bootstrap 127.0.0.1:9092

It starts an admin server of its own for that cluster. CPU is the server's whole process, /proc/PID/stat; the client
runs in this process, on the same machine, and the broker in a third.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pystream.client.grpc import connect, connect_aio

STARTS = 5
PAGE_KIBIBYTES = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass(frozen=True, slots=True)
class Server:
    """One that runs."""

    address: str
    pid: int
    ready_s: float

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mib(self) -> float:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_KIBIBYTES / 1024


@contextlib.contextmanager
def running(bootstrap: str) -> Iterator[Server]:
    """An admin server, ready."""
    reading, writing = os.pipe()
    began = time.monotonic()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "pystream.cli.main", "admin", "--bootstrap", bootstrap),
            *("--listen", "127.0.0.1:0", "--set", "log.level=warning", "--ready-fd", str(writing)),
        ],
        pass_fds=(writing,),
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            line = pipe.readline()
        if not line:
            raise SystemExit("the admin server did not start; its own message is above")
        yield Server(json.loads(line)["endpoints"]["gRPC admin"], process.pid, time.monotonic() - began)
    finally:
        process.terminate()
        process.wait()


async def concurrently(address: str, callers: int, calls: int) -> None:
    """So many calls of ListTopics, so many of them at a time."""
    left = iter(range(calls))
    async with connect_aio(address) as admin:

        async def work() -> None:
            for _ in left:
                await admin.topics.list_topics()

        await asyncio.gather(*(work() for _ in range(callers)))


def row(what: str, calls: int, server: Server, began_s: float, cpu_before_s: float) -> None:
    took_s = time.monotonic() - began_s
    cpu_us = (server.cpu_s() - cpu_before_s) / calls * 1e6
    print(f"| {what} | {calls / took_s:,.0f} /s | {took_s / calls * 1e3:.2f} ms | {cpu_us:,.0f} µs |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", default="127.0.0.1:9092")
    parser.add_argument("--calls", type=int, default=2_000)
    arguments = parser.parse_args()
    starts = []
    for _ in range(STARTS):
        with running(arguments.bootstrap) as server:
            starts.append(server.ready_s)
    with running(arguments.bootstrap) as server, connect(server.address) as admin:
        topics = len(admin.topics.list_topics().results)
        print(f"start to ready: median {statistics.median(starts):.2f} s of {STARTS}; load {os.getloadavg()[0]:.1f}")
        print(f"\n| ListTopics, {topics} topics | calls | each | server's CPU each |\n| --- | ---: | ---: | ---: |")
        began_s, cpu_s = time.monotonic(), server.cpu_s()
        for _ in range(arguments.calls):
            admin.topics.list_topics()
        row("one after the other", arguments.calls, server, began_s, cpu_s)
        began_s, cpu_s = time.monotonic(), server.cpu_s()
        asyncio.run(concurrently(server.address, 16, arguments.calls))
        row("16 at a time", arguments.calls, server, began_s, cpu_s)
        print(f"\nRSS afterwards: {server.rss_mib():.0f} MiB")


if __name__ == "__main__":
    main()
