"""A broker in the test's own process: its control plane in a thread, its data plane in native threads as ever."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pystream.broker.broker import Broker
from pystream.broker.config import BrokerConfig
from pystream.common.errors import PystreamError
from pystream.testing.clock import BrokerClock
from pystream.testing.disk import DiskFaults
from pystream.testing.local_broker import BrokerFailed, LocalBroker
from pystream.testing.loop_thread import LoopThread

LONGEST_SECONDS: Final = 60.0  # of a start, and of a stop


class EmbeddedBroker(LocalBroker):
    """Up in a few milliseconds, with a clock that the test turns. Several live beside one another."""

    def __init__(self, settings: Mapping[str, str], *, faults: bool, data_dir: Path | None, manual_clock: bool) -> None:
        super().__init__(settings, faults=faults, data_dir=data_dir)
        self._clock = BrokerClock(stands=manual_clock)
        self._disk = DiskFaults(self.data_dir)
        self._thread: LoopThread | None = None
        self._broker: Broker | None = None

    @property
    def clock(self) -> BrokerClock:
        return self._clock

    @property
    def disk(self) -> DiskFaults:
        return self._disk

    @property
    def is_running(self) -> bool:
        return self._broker is not None

    def _start(self, config: BrokerConfig) -> Mapping[str, str]:
        self._broker = Broker(config, clock=self._clock)
        self._thread = LoopThread(f"pystream-broker-{self._held.number}")
        self._clock.attach(self._thread.loop)
        try:
            self._thread.run(self._broker.start(), LONGEST_SECONDS)
        except TimeoutError as error:
            self._stop()
            raise BrokerFailed(f"the broker was not ready within {LONGEST_SECONDS:.0f} s") from error
        except (PystreamError, OSError) as error:
            self._stop()
            raise BrokerFailed(f"the broker did not start: {error}") from error
        return self._broker.addresses()

    def _stop(self) -> None:
        if self._broker is None or self._thread is None:
            return
        broker, thread, self._broker, self._thread = self._broker, self._thread, None, None
        try:
            try:
                thread.run(broker.stop(), LONGEST_SECONDS)
            finally:
                self._clock.attach(None)
                thread.stop()
        except TimeoutError as error:
            raise BrokerFailed(f"no end {LONGEST_SECONDS:.0f} s after it was told to stop") from error
        if broker.failure is not None:
            raise BrokerFailed(f"a part of the broker failed: {broker.failure}") from broker.failure
