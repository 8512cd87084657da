"""How fast one thread compacts, and in how much memory: the native cleaner on a log of its own, no broker.

A case fills a log with updates of random keys and runs one whole round over it, all of it dirty. Input counts once,
though the round reads it twice. Memory: the map of keys, the buffers, and what the process grew.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pystream._native.local_log import LocalLog
from pystream._native.log_cleaner import LogCleaning
from pystream._native.record_builder import RecordBatchBuilder

MIB = 1 << 20
NOW_MS = 1_700_000_000_000
BATCH_BYTES = 16_000
APPENDED_AT_ONCE = 64  # batches
OVERHEAD = 24  # of a record with its key, about
SEGMENT_BYTES = 256 * MIB
GOAL_MB_PER_S = 200
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


@dataclass(frozen=True, slots=True)
class Case:
    value_bytes: int
    codec: str
    keys: int

    @property
    def title(self) -> str:
        return f"{self.value_bytes} B values, {self.codec}, {self.keys:,} keys"


CASES = (
    Case(1000, "none", 100_000),
    Case(1000, "none", 2_000_000),
    Case(100, "none", 100_000),
    Case(100, "none", 2_000_000),
    Case(1000, "lz4", 100_000),
    Case(1000, "zstd", 100_000),
)


@dataclass(frozen=True, slots=True)
class Figure:
    case: Case
    input_bytes: int
    records: int
    kept: int
    wall_s: float
    cpu_s: float
    map_bytes: int
    buffer_bytes: int
    grown_bytes: int

    def line(self) -> str:
        speed = self.input_bytes / 1e6 / self.cpu_s
        verdict = "ok" if speed >= GOAL_MB_PER_S else f"below {GOAL_MB_PER_S}"
        return (
            f"{self.case.title:36} {self.input_bytes / 1e6:6.0f} MB in, {self.kept:>9,} of {self.records:>9,} kept: "
            f"{speed:5.0f} MB/s per core ({verdict}), {self.input_bytes / 1e6 / self.wall_s:5.0f} MB/s by the clock; "
            f"map {self.map_bytes / MIB:.1f} MiB, buffers {self.buffer_bytes / MIB:.1f} MiB, "
            f"process +{self.grown_bytes / MIB:.0f} MiB"
        )


def batches(case: Case, total_bytes: int) -> Iterator[bytes]:
    """Until they are `total_bytes` together; half of every value is random, so that codecs have something to do."""
    chance = random.Random(1)
    values = [os.urandom(case.value_bytes // 2) + bytes(case.value_bytes - case.value_bytes // 2) for _ in range(64)]
    count = max(BATCH_BYTES // (case.value_bytes + OVERHEAD), 1)
    made = 0
    while made < total_bytes:
        builder = RecordBatchBuilder(codec=CODECS[case.codec])
        keys = [b"key-%010d" % chance.randrange(case.keys) for _ in range(count)]
        builder.extend([values[chance.randrange(64)] for _ in range(count)], timestamps=NOW_MS, keys=keys)
        batch = builder.build()
        made += len(batch)
        yield batch


def filled(folder: Path, case: Case, total_bytes: int) -> LocalLog:
    log = LocalLog.open(str(folder), "t-0", segment_bytes=SEGMENT_BYTES)
    waiting: list[bytes] = []
    for batch in batches(case, total_bytes):
        waiting.append(batch)
        if len(waiting) == APPENDED_AT_ONCE:
            log.append(b"".join(waiting))
            waiting.clear()
    if waiting:
        log.append(b"".join(waiting))
    log.roll()
    log.flush()
    return log


def resident_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def run_case(folder: Path, case: Case, total_bytes: int, map_bytes: int) -> Figure:
    log = filled(folder, case, total_bytes)
    before = resident_peak()
    cleaning = LogCleaning(log, first_dirty_offset=0, bound=log.end_offset, map_bytes=map_bytes, now_ms=NOW_MS)
    wall, cpu = time.perf_counter(), time.thread_time()
    while not cleaning.map():
        pass
    while not cleaning.clean():
        pass
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    done = cleaning.statistics
    grown = resident_peak() - before
    cleaning.close()
    log.close(clean=False)
    shutil.rmtree(folder)
    return Figure(
        case,
        done["bytes_read"],
        done["records_read"],
        done["records_kept"],
        wall,
        cpu,
        done["map_slots"] * 24,
        done["buffer_bytes"],
        grown,
    )
