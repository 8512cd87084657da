"""A broker in a process of its own, which can be killed."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pystream.broker.config import BrokerConfig
from pystream.testing.fork.server import ForkedProcess, ForkServerFailed, forked, prepare
from pystream.testing.local_broker import BrokerFailed, LocalBroker, NotRunning

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 60.0
LOG_TAIL_BYTES: Final = 8_192


class ProcessBroker(LocalBroker):
    """Ends with the test's process, however that ends."""

    def __init__(self, settings: Mapping[str, str], *, faults: bool, data_dir: Path | None) -> None:
        super().__init__(settings, faults=faults, data_dir=data_dir)
        self._process: ForkedProcess | None = None
        self._log = tempfile.TemporaryFile(prefix="pystream-log-")  # noqa: SIM115 - closed by close()
        prepare()

    @property
    def is_running(self) -> bool:
        return self._process is not None and not self._process.poll()

    @property
    def pid(self) -> int:
        """Of the last start. Raises NotRunning."""
        process = self._process
        if process is None or process.poll():
            raise NotRunning(self._not_running())
        return process.pid

    def log_tail(self) -> str:
        """The end of what the broker has logged."""
        descriptor = self._log.fileno()
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, LOG_TAIL_BYTES, max(size - LOG_TAIL_BYTES, 0)).decode(errors="replace")

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait(time.monotonic() + STOP_SECONDS)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._log.close()

    def _start(self, config: BrokerConfig) -> Mapping[str, str]:
        deadline = time.monotonic() + START_SECONDS
        try:
            process = self._process = forked(config.settings, self._log.fileno(), deadline)
        except (ForkServerFailed, OSError) as error:
            raise BrokerFailed(f"the broker did not start: {error}\n{self.log_tail()}") from error
        addresses: dict[str, str] | None = process.wait_for("listeners", deadline)
        if addresses is None:
            why = _end_of(process) if process.poll() else f"was not ready within {START_SECONDS:.0f} s"
            self._kill()
            raise BrokerFailed(f"the broker {why}\n{self.log_tail()}")
        return addresses

    def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        ended_by_itself = process.poll()
        process.send_signal(signal.SIGTERM)
        if not process.wait(time.monotonic() + STOP_SECONDS):
            self._kill()
            raise BrokerFailed(f"no exit {STOP_SECONDS:.0f} s after SIGTERM\n{self.log_tail()}")
        self._process = None
        if ended_by_itself or process.exit_code != 0:
            raise BrokerFailed(f"the broker {_end_of(process)}\n{self.log_tail()}")


def _end_of(process: ForkedProcess) -> str:
    if process.exit_code is None:
        return "has ended, and so has the process that could tell how"
    if process.exit_code < 0:
        return f"was ended by {signal.Signals(-process.exit_code).name}"
    return f"ended with exit code {process.exit_code}"
