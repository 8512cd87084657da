"""What every broker under test has, wherever it runs: an address, data, faults, and an end that cleans up."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from pystream.broker.config import BrokerConfig
from pystream.common.errors import PystreamError
from pystream.testing.clock import BrokerClock
from pystream.testing.data_dir import TemporaryData
from pystream.testing.disk import DiskFaults
from pystream.testing.faults import Faults
from pystream.testing.ports import HeldPort
from pystream.testing.relay import Relay
from pystream.testing.settings import DEFAULTS, DIRECT_LISTENER, HOST, check_names, checked, listeners


class BrokerFailed(PystreamError):
    """The broker did not start, did not stop, or a part of it failed meanwhile."""


class NotRunning(BrokerFailed):
    """The broker does not run: it was not started, was stopped or killed, or ended by itself."""


class NotThere(PystreamError):
    """This kind of broker under test does not have what was asked of it; the message says which has."""


class LocalBroker(ABC):
    """A broker on 127.0.0.1 for tests: `pystream.testing.broker` makes it, `with` starts it and cleans up after it.

    Its port and data stay through `stop`, `start` and `restart`. `settings` may be changed in between. Threads may
    share it; a fork of the test's process cannot use it, and leaves it as it is.
    """

    def __init__(self, settings: Mapping[str, str], *, faults: bool, data_dir: Path | None) -> None:
        check_names(settings)
        self.settings = {**DEFAULTS, **settings}
        self._temporary = TemporaryData() if data_dir is None else None
        self.data_dir = (self._temporary.path if self._temporary else Path(str(data_dir))).resolve()
        self._held = HeldPort()
        self._relay = Relay(self._held.number) if faults else None
        self._addresses: Mapping[str, str] = {}  # host:port by listener, of the last start
        self._is_closed = False
        self._life = threading.RLock()  # held by whoever starts, stops, kills or closes it
        self._owner_pid = os.getpid()

    # ------------------------------------------------------------------------------------------------ what tests use

    @property
    def bootstrap(self) -> str:
        """host:port for `bootstrap.servers` of any client."""
        return f"{HOST}:{self.port}"

    @property
    def port(self) -> int:
        return self._relay.port if self._relay is not None else self._held.number

    @property
    def direct_bootstrap(self) -> str:
        """The way around the faults, for the test's own looks at the broker; `bootstrap` where there are none.

        Known once the broker is started, and another after each start.
        """
        return self._addresses.get(DIRECT_LISTENER, self.bootstrap)

    @property
    def faults(self) -> Faults:
        """Faults of requests and connections. Raises NotThere without faults=True."""
        if self._relay is None:
            raise NotThere("this broker was made without faults: broker(faults=True) puts them in front of it")
        return self._relay.faults

    @property
    def clock(self) -> BrokerClock:
        """The broker's clock. Raises NotThere in a process of its own."""
        raise NotThere(
            "a broker in its own process has the machine's clock; broker() without process=True can be turned"
        )

    @property
    def disk(self) -> DiskFaults:
        """Faults of the disk. Raises NotThere in a process of its own."""
        raise NotThere(
            "the disk of a broker in its own process cannot be made to fail; broker() without process=True can"
        )

    @property
    @abstractmethod
    def is_running(self) -> bool: ...

    def create_topic(self, name: str, partitions: int = 1, **configs: str | int) -> str:
        """Create a topic (retention_ms=1000 sets retention.ms) and return its name.

        Raises NotRunning, and what the broker answers.
        """
        from pystream.client import AdminClient
        from pystream.client.admin.topics import NewTopic

        if not self.is_running:
            raise NotRunning(self._not_running())
        settings = {key.replace("_", "."): str(value) for key, value in configs.items()}
        with AdminClient(bootstrap_servers=self.direct_bootstrap) as admin:
            outcome = admin.create_topics([NewTopic(name, partitions, configs=settings)])[name]
        if isinstance(outcome, Exception):
            raise outcome
        return name

    # ------------------------------------------------------------------------------------------------ its life

    def start(self) -> Self:
        """Return once clients can produce and consume; harmless when it runs.

        Raises InvalidConfig for its settings, and BrokerFailed; the broker may then be started again.
        """
        with self._own_life():
            if self._is_closed:
                raise BrokerFailed("this broker was closed, and its data is gone; make a new one")
            if not self.is_running:
                places = listeners(self._held.number, advertised_port=None if self._relay is None else self._relay.port)
                config = checked(self.settings, {**places, "log.dirs": str(self.data_dir)})
                if self._relay is not None:
                    self._relay.longest_frame = config.socket_request_max_bytes
                self._addresses = self._start(config)
        return self

    def stop(self) -> None:
        """Stop as on SIGTERM: data and port stay. Harmless when it does not run.

        Raises BrokerFailed, also when it had ended by itself before.
        """
        with self._own_life():
            self._stop()

    def restart(self) -> Self:
        """`stop` and `start`."""
        with self._own_life():
            self.stop()
            return self.start()

    def kill(self) -> None:
        """As kill -9: nothing is flushed, nothing is said. Raises NotThere where it has no process of its own."""
        with self._own_life():
            self._kill()

    def close(self) -> None:
        """Stop it and remove its data, but for a data_dir that was given. Closing twice is no error."""
        if os.getpid() != self._owner_pid:
            return
        with self._life:
            if self._is_closed:
                return
            self._is_closed = True
            try:
                self._stop()
            finally:
                self._held.close()
                try:
                    if self._relay is not None:
                        self._relay.stop()
                finally:
                    if self._temporary is not None:
                        self._temporary.remove()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _own_life(self) -> threading.RLock:
        if os.getpid() != self._owner_pid:
            raise NotRunning("this broker is that of the process that this one was forked from; make a new one")
        return self._life

    def _not_running(self) -> str:
        if self._is_closed:
            return "this broker was closed, and its data is gone; make a new one"
        return "the broker does not run: start() it, or make it in a `with` statement"

    @abstractmethod
    def _start(self, config: BrokerConfig) -> Mapping[str, str]:
        """Start; the addresses by listener."""

    @abstractmethod
    def _stop(self) -> None:
        """Harmless when it does not run."""

    def _kill(self) -> None:
        raise NotThere("a broker in the test's own process cannot be killed; broker(process=True) can")
