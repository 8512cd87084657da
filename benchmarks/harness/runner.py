"""Runs workloads against targets in turn, so that what disturbs the machine disturbs all of them alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.build import program
from benchmarks.harness.errors import HarnessError
from benchmarks.harness.process import CpuTime
from benchmarks.harness.targets.base import Target
from benchmarks.harness.targets.floors import Floor
from benchmarks.harness.workload import Workload

ROOT = Path(__file__).resolve().parents[2]
GRACE_S = 60
FILL_CONNECTIONS_DEPTH = 4

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long each measurement lasts. A target that compiles itself warms up longer in its first run of a workload."""

    window_ms: int = 2500
    warmup_ms: int = 500
    first_warmup_ms: int = 4000
    touch_gib: int = 4
    """Memory to touch before a workload that writes much: see native/touch.c."""


class Runner:
    """Holds the started targets; a context manager that ends them all."""

    def __init__(self, targets: Sequence[Target], timing: Timing) -> None:
        self.targets = list(targets)
        self.timing = timing
        self.topics = 0
        self.seen: set[tuple[str, str]] = set()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        for target in self.targets:
            target.stop()

    def measure(self, target: Target, workload: Workload, repeat: int) -> Row:
        """One measurement; a failure is a row with `error`."""
        row: Row = {"target": target.name, "workload": workload.name, "repeat": repeat, "load": os.getloadavg()[0]}
        try:
            if isinstance(target, Floor):
                target.answer_bytes = workload.fetch_bytes
            if target.child is None:
                target.start()
            row |= self.run_on_topic(target, workload)
        except (HarnessError, OSError, subprocess.SubprocessError, ValueError) as error:
            row["error"] = f"{type(error).__name__}: {error}"[:600]
            target.stop()
        if target.fresh:
            target.stop()
        return row

    def run_on_topic(self, target: Target, workload: Workload) -> Row:
        self.topics += 1
        topic = f"bench-{self.topics}"
        target.create_topic(topic, workload)
        try:
            end_offset = self.fill(target, workload, topic)
            if self.timing.touch_gib and workload.writes_much:
                subprocess.run([str(program("touch")), f"gib={self.timing.touch_gib}"], check=True, timeout=GRACE_S)
            before = target.running.cpu_time()
            result = self.generate(target, workload, topic, end_offset)
            if not result["requests"]:
                raise HarnessError("nothing was answered within the window")
            spent = target.running.cpu_time() - before
            result["memory_bytes"] = target.running.memory_bytes()
            result["system_share"] = round(spent.system / total, 3) if (total := total_of(spent)) else None
        finally:
            if target.running.process.poll() is None:
                target.delete_topic(topic)
        return result

    def fill(self, target: Target, workload: Workload, topic: str) -> int:
        """Writes what a reading workload reads; gives the end offset of every partition."""
        if isinstance(target, Floor) or not workload.mode.endswith(("fetch", "consume")):
            return 0
        batch_bytes = workload.records * (workload.record_bytes + 10) + 61
        requests = max(1, workload.fill_bytes // (batch_bytes * workload.partitions))
        arguments = {
            "mode": "produce",
            "requests": requests,
            "topic": topic,
            "connections": workload.partitions,
            "partitions": workload.partitions,
            "depth": FILL_CONNECTIONS_DEPTH,
            "records": workload.records,
            "record_bytes": workload.record_bytes,
        }
        result = self.loadgen(target, arguments, timeout_s=GRACE_S)
        if result["errors"]:
            raise HarnessError(f"filling {topic}: code {result['first_error']}")
        return int(result["end_offset"])

    def warmup_ms(self, target: Target, workload: Workload) -> int:
        first = (target.name, workload.name) not in self.seen and target.compiles_itself
        self.seen.add((target.name, workload.name))
        return self.timing.first_warmup_ms if first else self.timing.warmup_ms

    def generate(self, target: Target, workload: Workload, topic: str, end_offset: int) -> Row:
        common: dict[str, object] = {
            "mode": workload.mode,
            "topic": topic,
            "partitions": workload.partitions,
            "acks": workload.acks,
            "record_bytes": workload.record_bytes,
            "warmup_ms": self.warmup_ms(target, workload),
            "window_ms": self.timing.window_ms,
            "pids": ",".join(map(str, target.running.pids())),
        }
        timeout_s = GRACE_S + (self.timing.window_ms + self.timing.first_warmup_ms) / 1000
        if workload.through_client:
            return client_process(target, common | {"end": end_offset}, timeout_s=timeout_s)
        common |= {
            "connections": workload.connections,
            "depth": workload.depth,
            "records": workload.records,
            "fetch_bytes": workload.fetch_bytes,
            "rate": workload.rate,
            "answer": target.answer,
            "end": end_offset,
        }
        result = self.loadgen(target, common, timeout_s=timeout_s)
        if result["errors"]:
            raise HarnessError(f"{result['errors']} error answers, the first with code {result['first_error']}")
        return result

    def loadgen(self, target: Target, arguments: Mapping[str, object], *, timeout_s: float) -> Row:
        command = [str(program("loadgen")), f"port={target.port}"]
        command += [f"{name}={value}" for name, value in arguments.items()]
        return run_json(command, timeout_s=timeout_s)


def total_of(spent: CpuTime) -> float:
    return spent.user + spent.system


def client_process(target: Target, arguments: Mapping[str, object], *, timeout_s: float) -> Row:
    """Runs `clients.py` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.harness.clients", f"port={target.port}"]
    command += [f"{name}={value}" for name, value in arguments.items()]
    return run_json(command, timeout_s=timeout_s)


def run_json(command: Sequence[str], *, timeout_s: float) -> Row:
    """Runs a program that prints one JSON object; raises HarnessError when it fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, cwd=ROOT)
    except subprocess.TimeoutExpired:
        raise HarnessError(f"{Path(command[0]).name} took longer than {timeout_s:.0f} s") from None
    if done.returncode != 0:
        raise HarnessError(done.stderr.strip()[-500:] or f"{command[0]} ended with {done.returncode}")
    result: Row = json.loads(done.stdout)
    return result


def rounds(
    workloads: Sequence[Workload], targets: Sequence[Target], repeats: int
) -> Iterator[tuple[int, Workload, Target]]:
    """Repeat by repeat, workload by workload, each target in turn; every other repeat in the opposite order."""
    for repeat in range(repeats):
        for workload in workloads:
            serving = [target for target in targets if target.serves(workload)]
            for target in serving if repeat % 2 == 0 else reversed(serving):
                yield repeat, workload, target


def run_all(
    runner: Runner,
    workloads: Sequence[Workload],
    *,
    repeats: int,
    time_limit_s: float,
    report: Callable[[Row], None],
) -> bool:
    """Runs everything until `time_limit_s` is over; `report` gets each row at once. True when all of it was run."""
    deadline = time.monotonic() + time_limit_s
    for repeat, workload, target in rounds(workloads, runner.targets, repeats):
        if time.monotonic() > deadline:
            return False
        report(runner.measure(target, workload, repeat))
    return True
