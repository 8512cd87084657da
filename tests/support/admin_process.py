"""A real `pystream admin` in a process of its own, for tests: ready when it says so, on a port that it chose."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.broker_process import ROOT


class AdminProcess:
    """`with AdminProcess(broker.bootstrap, log) as admin: connect(admin.address)`."""

    def __init__(self, bootstrap: str, log: Path, settings: Mapping[str, str] | None = None) -> None:
        self.log = log
        self.address = ""
        self.metrics_address: str | None = None
        self.ready_seconds = 0.0
        self._settings = {"listen": "127.0.0.1:0", "health.interval.ms": "50", **(settings or {})}
        self._bootstrap = bootstrap
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, timeout_seconds: float = 60.0) -> AdminProcess:
        """Start and wait until it listens."""
        reading, writing = os.pipe()
        began = time.monotonic()
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "pystream.cli.main", "admin", "--bootstrap", self._bootstrap),
                    *(part for name, value in self._settings.items() for part in ("--set", f"{name}={value}")),
                    *("--ready-fd", str(writing)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
            )
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            readable, _, _ = select.select([pipe], [], [], timeout_seconds)
            line = pipe.readline() if readable else b""
        assert line, f"the admin server did not get ready\n{self.log.read_text(errors='replace')}"
        self.ready_seconds = time.monotonic() - began
        told = json.loads(line)
        self.address = told["endpoints"]["gRPC admin"]
        self.metrics_address = told["metrics"]
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    def wait_until_serving(self, timeout_seconds: float = 60.0) -> AdminProcess:
        """Return once it has found its cluster."""
        with grpc.insecure_channel(self.address) as channel:
            request = health_pb2.HealthCheckRequest()
            for told in health_pb2_grpc.HealthStub(channel).Watch(request, timeout=timeout_seconds):
                if told.status == health_pb2.HealthCheckResponse.SERVING:
                    return self
        raise AssertionError("the admin server ended")

    def signal_stop(self) -> None:
        """SIGTERM, without waiting."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout_seconds: float = 60.0) -> int:
        """Its exit code."""
        return self.process.wait(timeout_seconds)

    def __enter__(self) -> AdminProcess:
        try:
            return self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.signal_stop()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
