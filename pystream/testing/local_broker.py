"""What every broker under test has, wherever it runs: an address, data, faults, and an end that cleans up."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from pystream.common.errors import PystreamError
from pystream.testing.clock import BrokerClock
from pystream.testing.disk import DiskFaults
from pystream.testing.faults import Faults
from pystream.testing.ports import HeldPort
from pystream.testing.relay import Relay
from pystream.testing.settings import DEFAULTS, DIRECT_LISTENER, HOST, listeners, new_data_dir


class BrokerFailed(PystreamError):
    """The broker did not start, did not stop, or a part of it failed meanwhile."""


class NotThere(PystreamError):
    """This kind of broker under test does not have what was asked of it; the message says which has."""


class LocalBroker(ABC):
    """A broker on 127.0.0.1 for tests: `pystream.testing.broker` makes it, `with` starts it and cleans up after it.

    Its port and data stay through `stop`, `start` and `restart`. `settings` may be changed in between.
    """

    def __init__(self, settings: Mapping[str, str], *, faults: bool, data_dir: Path | None) -> None:
        self.settings = {**DEFAULTS, **settings}
        self._temporary = new_data_dir() if data_dir is None else None
        self.data_dir = (Path(self._temporary.name) if self._temporary else Path(str(data_dir))).resolve()
        self._held = HeldPort()
        self._relay = Relay(self._held.number) if faults else None
        self._addresses: Mapping[str, str] = {}  # host:port by listener, of the last start
        self._is_closed = False

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
        """Create a topic (retention_ms=1000 sets retention.ms) and return its name. Raises what the broker answers."""
        from pystream.client import AdminClient
        from pystream.client.admin.topics import NewTopic

        settings = {key.replace("_", "."): str(value) for key, value in configs.items()}
        with AdminClient(bootstrap_servers=self.direct_bootstrap) as admin:
            outcome = admin.create_topics([NewTopic(name, partitions, configs=settings)])[name]
        if isinstance(outcome, Exception):
            raise outcome
        return name

    # ------------------------------------------------------------------------------------------------ its life

    def start(self) -> Self:
        """Return once clients can produce and consume. Raises BrokerFailed; the broker may then be started again."""
        if self._is_closed:
            raise BrokerFailed("this broker was closed, and its data is gone; make a new one")
        if not self.is_running:
            places = listeners(self._held.number, advertised_port=None if self._relay is None else self._relay.port)
            self._addresses = self._start({**places, "log.dirs": str(self.data_dir), **self.settings})
        return self

    def stop(self) -> None:
        """Stop as on SIGTERM: data and port stay. Harmless when it does not run. Raises BrokerFailed."""
        if self.is_running:
            self._stop()

    def restart(self) -> Self:
        """`stop` and `start`."""
        self.stop()
        return self.start()

    def kill(self) -> None:
        """As kill -9: nothing is flushed, nothing is said. Raises NotThere where it has no process of its own."""
        raise NotThere("a broker in the test's own process cannot be killed; broker(process=True) can")

    def close(self) -> None:
        """Stop it and remove its data, but for a data_dir that was given. Closing twice is no error."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self.stop()
        finally:
            self._held.close()
            try:
                if self._relay is not None:
                    self._relay.stop()
            finally:
                if self._temporary is not None:
                    shutil.rmtree(self.data_dir, ignore_errors=True)
                    self._temporary.cleanup()

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

    @abstractmethod
    def _start(self, settings: Mapping[str, str]) -> Mapping[str, str]:
        """Start; the addresses by listener."""

    @abstractmethod
    def _stop(self) -> None: ...
