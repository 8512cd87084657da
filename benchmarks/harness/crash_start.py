"""How long a broker takes to be ready after kill -9, with many partitions full of records.

fill    a process of its own appends to every partition through the log manager, flushes and checkpoints as a broker
        does, appends once more and kills itself
start   the broker command on that directory, from the start of the process until it answers
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.errors import HarnessError
from benchmarks.harness.process import Child
from benchmarks.harness.targets.pystream import ENTRY, ROOT
from benchmarks.harness.wire import Client, free_port

MIB = 1 << 20
BATCH_VALUE_BYTES = 16_000
ROUND_BYTES = MIB  # appended to a partition before the next one has its turn
PARTITIONS_PER_TOPIC = 100
GOAL_S = 5.0
START_TIMEOUT_S = 300.0
POLL_S = 0.01
FILL = (
    "import sys; from benchmarks.harness.crash_start import fill; fill(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))"
)


@dataclass(frozen=True, slots=True)
class Start:
    ready_s: float
    scanned_bytes: int
    log_bytes: int
    partitions: int

    def line(self) -> str:
        verdict = "ok" if self.ready_s < GOAL_S else f"above {GOAL_S:.0f} s"
        return (
            f"{self.partitions:,} partitions with {self.log_bytes / (1 << 30):.1f} GiB after kill -9: ready in "
            f"{self.ready_s:.2f} s ({verdict}), {self.scanned_bytes / MIB:.0f} MiB read again"
        )


def fill(directory: str, partition_count: str, bytes_of_each: str) -> None:
    """Never returns: the process kills itself with records that no flush and no checkpoint has seen."""
    from pystream._native.record_builder import RecordBatchBuilder
    from pystream.common.clock import SystemClock
    from pystream.common.model import random_uuid
    from pystream.storage.config import LogConfig, StorageConfig
    from pystream.storage.log_manager import LogManager

    partitions, bytes_each = int(partition_count), int(bytes_of_each)
    builder = RecordBatchBuilder()
    builder.append(os.urandom(BATCH_VALUE_BYTES), timestamp=time.time_ns() // 1_000_000)
    batch = builder.build()
    piece = batch * (ROUND_BYTES // len(batch))
    logs = LogManager(StorageConfig(log_dirs=(directory,), reserve_bytes=0), SystemClock())
    logs.open()
    ids: dict[str, bytes] = {}
    made = []
    for number in range(partitions):
        topic = f"filled-{number // PARTITIONS_PER_TOPIC}"
        topic_id = ids.setdefault(topic, random_uuid())
        made.append(logs.create(topic, number % PARTITIONS_PER_TOPIC, topic_id, LogConfig()))
    logs.sync_directories()
    for _ in range(max(bytes_each // len(piece), 1)):
        for log in made:
            log.native.append(piece)
            log.native.flush()
        logs.checkpoint()
    for log in made:
        log.native.append(batch)
    os.kill(os.getpid(), signal.SIGKILL)


def filled(folder: Path, partitions: int, bytes_each: int) -> None:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-c", FILL, str(folder / "data"), str(partitions), str(bytes_each)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    if done.returncode != -signal.SIGKILL:
        raise HarnessError(f"filling ended with {done.returncode}: {done.stderr[-2000:]}")


def start(folder: Path, partitions: int) -> Start:
    """One start, ended with kill -9 again."""
    port = free_port()
    command = [sys.executable, "-c", ENTRY, "broker", "--data-dir", str(folder / "data")]
    command += ["--listener", f"PLAINTEXT://127.0.0.1:{port}"]
    command += ["--set", f"metrics.listener=http://127.0.0.1:{free_port()}", "--set", "log.dir.reserve.bytes=0"]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    log_path = folder / "log"
    began = time.monotonic()
    child = Child(command, log=log_path, environment={"PYTHONPATH": path})
    try:
        while not answers(port):
            child.check_alive()
            if time.monotonic() > began + START_TIMEOUT_S:
                raise HarnessError(f"not ready within {START_TIMEOUT_S} s")
            time.sleep(POLL_S)
        ready_s = time.monotonic() - began
    finally:
        child.process.kill()
        child.process.wait()
    text = log_path.read_text()
    scanned = re.search(r"scanned_bytes\D+(\d+)", text)
    log_bytes = sum(path.stat().st_size for path in (folder / "data").glob("*/*.log"))
    return Start(ready_s, int(scanned[1]) if scanned else 0, log_bytes, partitions)


def answers(port: int) -> bool:
    """Whether the first and the last partition take a record."""
    try:
        with Client(port, timeout_s=10) as client:
            return client.produce_one("filled-0") >= 0
    except (OSError, HarnessError):
        return False
