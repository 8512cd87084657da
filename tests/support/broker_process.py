"""A real `pystream broker` in a process of its own, for tests.

    with BrokerProcess(tmp_path / "data", {"num.partitions": "3"}) as broker:
        Producer({"bootstrap.servers": broker.bootstrap})

Readiness is an event, not a nap: the broker writes one line of JSON to the file descriptor given by `--ready-fd` once
its listeners accept connections; a broker that dies first closes it, and start() then raises BrokerFailed with its log.
Every start of the same object takes the same port, so that clients find the broker again.
"""

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
from typing import Any

from tests.support import ports

ROOT = Path(__file__).resolve().parents[2]
LOG_TAIL_LINES = 60


class BrokerFailed(AssertionError):
    """The broker did not become ready, or did not stop; the message holds the end of its log."""


class BrokerProcess:
    def __init__(
        self,
        data_dir: Path | str,
        settings: Mapping[str, str] | None = None,
        *,
        arguments: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = Path(data_dir)
        self.settings = dict(settings or {})
        self.log_path = self.data_dir.with_name(self.data_dir.name + ".log")
        self._arguments = arguments
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._port = ports.port_for(self)
        self._ready: dict[str, Any] = {}

    @property
    def bootstrap(self) -> str:
        """host:port for `bootstrap.servers`."""
        return f"127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        return self._port

    @property
    def listeners(self) -> dict[str, str]:
        """host:port by listener, as clients are told."""
        return dict(self._ready["listeners"])

    @property
    def metrics_url(self) -> str:
        """http://host:port of /metrics and /health."""
        return f"http://{self._ready['metrics']}"

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def ready_seconds(self) -> float:
        """From fork to ready, of the last start."""
        return float(self._ready["elapsed_seconds"])

    def start(self, timeout_seconds: float = 60.0) -> BrokerProcess:
        """Start and wait until the listeners accept connections."""
        assert self._process is None, "already started"
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        reading, writing = os.pipe()
        began = time.monotonic()
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                self._command(writing),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                env=self._child_environment(),
            )
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            readable, _, _ = select.select([pipe], [], [], timeout_seconds)
            line = pipe.readline() if readable else b""
        if not line:
            self.kill()
            raise BrokerFailed(f"the broker did not get ready in {timeout_seconds} s\n{self.log_tail()}")
        self._ready = json.loads(line)
        self._ready["elapsed_seconds"] = time.monotonic() - began
        return self

    def kill(self) -> None:
        """kill -9, and wait for the end. Harmless when it has ended already."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def terminate(self, timeout_seconds: float = 60.0) -> int:
        """SIGTERM, wait, and give the exit code: 0 for a clean stop."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise BrokerFailed(f"no exit {timeout_seconds} s after SIGTERM\n{self.log_tail()}") from None
        self._process = None
        return code

    def wait(self, timeout_seconds: float = 60.0) -> int:
        """Wait for a broker that is expected to end by itself; its exit code."""
        code = self._running().wait(timeout_seconds)
        self._process = None
        return code

    def log_tail(self) -> str:
        """The last lines of what the broker wrote."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def __enter__(self) -> BrokerProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        if self._process.poll() is not None or kind is not None:
            self.kill()
        else:
            self.terminate()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    def _command(self, ready_fd: int) -> list[str]:
        settings = {"metrics.listener": "http://127.0.0.1:0", "log.dir.reserve.bytes": "1048576", **self.settings}
        return [
            sys.executable,
            *("-m", "pystream.cli.main", "broker"),
            *(() if "log.dirs" in settings else ("--data-dir", str(self.data_dir))),
            *("--listener", f"PLAINTEXT://127.0.0.1:{self._port}"),
            *("--ready-fd", str(ready_fd)),
            *(argument for key, value in settings.items() for argument in ("--set", f"{key}={value}")),
            *self._arguments,
        ]

    def _child_environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYSTREAM_")}
        path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH", "")]))
        return {**kept, "PYTHONPATH": path, **self._environment}
