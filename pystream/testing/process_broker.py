"""A broker in a process of its own, which can be killed."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pystream
from pystream.testing.local_broker import BrokerFailed, LocalBroker

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 60.0
LOG_TAIL_BYTES: Final = 8_192
HOME: Final = str(Path(pystream.__file__).resolve().parents[1])
CODE: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from pystream.testing.child import main; main(*sys.argv[2:])"
)


class ProcessBroker(LocalBroker):
    """Ends with the test's process, however that ends."""

    def __init__(self, settings: Mapping[str, str], *, faults: bool, data_dir: Path | None) -> None:
        super().__init__(settings, faults=faults, data_dir=data_dir)
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1
        self._log = tempfile.TemporaryFile(prefix="pystream-log-")  # noqa: SIM115 - closed by close()

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        """Of the last start. Raises BrokerFailed when it does not run."""
        if self._process is None:
            raise BrokerFailed("the broker does not run: start() it")
        return self._process.pid

    def log_tail(self) -> str:
        """The end of what the broker has logged."""
        end = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(end - LOG_TAIL_BYTES, 0))
        return self._log.read().decode(errors="replace")

    def kill(self) -> None:
        """kill -9, and wait for the end. Harmless when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._forget()

    def close(self) -> None:
        super().close()
        self._log.close()

    def _start(self, settings: Mapping[str, str]) -> Mapping[str, str]:
        ready, told = os.pipe()
        lifeline, self._lifeline = os.pipe()
        arguments = [HOME, json.dumps(dict(settings)), str(told), str(lifeline)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", CODE, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=(told, lifeline),
        )
        os.close(told)
        os.close(lifeline)
        with os.fdopen(ready, "rb") as pipe:
            readable, _, _ = select.select([pipe], [], [], START_SECONDS)
            line = pipe.readline() if readable else b""
        if line:
            addresses: dict[str, str] = json.loads(line)["listeners"]
            return addresses
        self.kill()
        raise BrokerFailed(f"the broker did not start within {START_SECONDS:.0f} s\n{self.log_tail()}")

    def _stop(self) -> None:
        assert self._process is not None, "it runs"
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise BrokerFailed(f"no exit {STOP_SECONDS:.0f} s after SIGTERM\n{self.log_tail()}") from None
        self._forget()
        if code != 0:
            raise BrokerFailed(f"the broker ended with exit code {code}\n{self.log_tail()}")

    def _forget(self) -> None:
        self._process = None
        os.close(self._lifeline)
