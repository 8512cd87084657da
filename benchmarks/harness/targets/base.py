"""What the runner needs to know of a target."""

from __future__ import annotations

import abc
import contextlib
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness.errors import HarnessError
from benchmarks.harness.process import Child
from benchmarks.harness.wire import Client, free_port
from benchmarks.harness.workload import Workload

START_TIMEOUT_S = 60
POLL_S = 0.002


class Target(abc.ABC):
    """A server in a process of its own, on a free port of 127.0.0.1, with its data in a folder of its own.

    `start()` and `stop()` may be called again and again; every start has a fresh folder.
    """

    name: str
    title: str
    answer = "kafka"
    """What comes back: `kafka`, `echo` (the request) or `short` (a correlation id first). See native/loadgen.c."""
    fresh = False
    """Started anew for each workload, because it keeps what it was given in memory."""

    compiles_itself = False
    """Becomes faster while it runs (a JVM)."""

    def __init__(self, data_root: Path) -> None:
        self.data_root = data_root
        self.folder = data_root
        self.port = 0
        self.child: Child | None = None

    @abc.abstractmethod
    def version(self) -> str:
        """What is measured, for the report; raises HarnessError when it cannot be had on this machine."""

    @abc.abstractmethod
    def launch(self) -> Child:
        """Starts the process in `self.folder` for `self.port`; need not wait."""

    def serves(self, workload: Workload) -> bool:
        return self.name not in workload.skip

    @property
    def running(self) -> Child:
        if self.child is None:
            raise HarnessError(f"{self.name} is not started")
        return self.child

    def prepare(self) -> None:
        """What has to be there before the start, and is no part of it (downloads, formatting)."""
        self.folder.mkdir(exist_ok=True)

    def start(self, *, wait: bool = True) -> float:
        """Gives the moment (time.monotonic) at which the process was begun; by default waits until it answers."""
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=self.data_root))
        self.port = free_port()
        try:
            self.prepare()
            began = time.monotonic()
            self.child = self.launch()
            if wait:
                self.await_ready()
            return began
        except BaseException:
            self.stop()
            raise

    def await_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            self.running.check_alive()
            with contextlib.suppress(OSError, HarnessError), Client(self.port, timeout_s=5) as client:
                client.api_versions()
                return
            if time.monotonic() > deadline:
                raise HarnessError(f"{self.name} does not answer {START_TIMEOUT_S} s after its start")
            time.sleep(POLL_S)

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()
            self.child = None
        if self.folder != self.data_root:
            shutil.rmtree(self.folder, ignore_errors=True)

    def topic_config(self, workload: Workload) -> Mapping[str, str]:
        """Topic settings that give what the workload asks for."""
        del workload
        return {}

    def create_topic(self, name: str, workload: Workload) -> None:
        with Client(self.port) as client:
            client.create_topic(name, workload.partitions, self.topic_config(workload))
            client.await_serving(name, workload.partitions)

    def delete_topic(self, name: str) -> None:
        with Client(self.port) as client:
            client.delete_topics([name])
