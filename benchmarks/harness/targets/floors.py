"""Floors: the bare work without a broker (native/floor.c)."""

from __future__ import annotations

import platform

from benchmarks.harness.build import program
from benchmarks.harness.errors import HarnessError
from benchmarks.harness.process import Child
from benchmarks.harness.targets.base import Target
from benchmarks.harness.workload import Workload


class Floor(Target):
    """`mode` of native/floor.c. Has no topics, checks nothing. Started for each workload: it knows one answer size."""

    mode: str
    fresh = True
    answer_bytes = 0

    def version(self) -> str:
        return f"native/floor.c mode={self.mode}, Linux {platform.release()}"

    def serves(self, workload: Workload) -> bool:
        return workload.floor == self.name

    def launch(self) -> Child:
        command = [str(program("floor")), f"mode={self.mode}", f"directory={self.folder}"]
        command += [f"answer_bytes={self.answer_bytes}"] if self.answer_bytes else []
        return Child(command, log=self.folder / "log", pipes=True)

    def await_ready(self) -> None:
        output = self.running.process.stdout
        line = output.readline() if output else b""
        if not line.strip().isdigit():
            raise HarnessError(f"{self.name} does not start: {self.running.log_tail()}")
        self.port = int(line)

    def create_topic(self, name: str, workload: Workload) -> None:
        """It has none."""

    def delete_topic(self, name: str) -> None:
        """It has none."""


class Echo(Floor):
    name, title, mode, answer = "echo", "C epoll echo", "echo", "echo"


class FloorProduce(Floor):
    name, title, mode, answer = "floor_produce", "recv + write + CRC-32C in C", "produce", "short"


class FloorFetch(Floor):
    name, title, mode, answer = "floor_fetch", "bare sendfile in C", "fetch", "short"
