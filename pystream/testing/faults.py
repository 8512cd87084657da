"""Faults that a test orders, and what they do to the requests of clients.

    with b.faults.fail("Produce", "NOT_ENOUGH_REPLICAS"): ...       # until the end of the block
    b.faults.fail("Produce", "NOT_LEADER_OR_FOLLOWER", times=2)     # twice
    b.faults.lose("Produce", times=1)         # the broker does it, and the connection breaks in place of the answer
    b.faults.drop("Heartbeat", times=1)       # the connection breaks before the broker has seen it
    b.faults.delay("Fetch", ms=500)           # later; so is what stands behind it on the same connection
    b.faults.drop_connections()               # all of them, now
    with b.faults.refused_connections(): ...  # and nobody gets a new one

Several faults of one key: the oldest that is not used up strikes. `client_id` narrows a fault to one client.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final, Protocol

from pystream.common.error_codes import NONE, TABLE
from pystream.protocol.api_keys import ApiKey, name_of

ALWAYS: Final = -1  # `times` of a fault that ends only when it is removed
WAIT_SECONDS: Final = 30.0
LONGEST_DELAY_MS: Final = 24 * 60 * 60 * 1000


class Connections(Protocol):
    """The connections of clients, as whoever has them in hand lets them be broken."""

    def drop_connections(self) -> int: ...

    def refuse(self, refused: bool) -> None: ...


class Kind(Enum):
    """What becomes of a request."""

    FAIL = "answered with an error"
    DELAY = "delayed"
    DROP = "dropped with its connection"
    LOSE = "done, its answer lost with the connection"


class Fault:
    """One fault; as a context manager it ends with the block. Thread-safe."""

    def __init__(
        self,
        faults: Faults,
        kind: Kind,
        api_key: int,
        *,
        times: int = ALWAYS,
        client_id: str | None = None,
        code: int = NONE,
        delay_ms: float = 0,
    ) -> None:
        if not is_whole(times) or (times != ALWAYS and times < 1):
            raise ValueError(f"a fault that strikes {times} times; times is 1 or more, or -1 for always")
        if not isinstance(client_id, str | None):
            raise ValueError(f"client_id is a client's id, a str, not {client_id!r}")
        self.kind = kind
        self.api_key = api_key
        self.code = code
        self.delay_ms = delay_ms
        self.client_id = client_id
        self._faults = faults
        self._left = times
        self._strikes = 0
        self._changed = threading.Condition()

    def __repr__(self) -> str:
        return f"<{name_of(self.api_key)} {self.kind.value}, {self._strikes} so far>"

    @property
    def strikes(self) -> int:
        """How many requests it has met."""
        return self._strikes

    def wait(self, times: int = 1, *, timeout_s: float = WAIT_SECONDS) -> None:
        """Return once it has met so many requests in all. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while self._strikes < times:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise TimeoutError(f"{self!r}: not {times} within {timeout_s} s")

    def remove(self) -> None:
        """End it; harmless when it has ended."""
        self._faults.forget(self)

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def strike(self, api_key: int, client_id: str | None) -> bool:
        """Whether it meets this request; counts it then."""
        if api_key != self.api_key or (self.client_id is not None and client_id != self.client_id):
            return False
        with self._changed:
            if self._left == 0:
                return False
            if self._left != ALWAYS:
                self._left -= 1
            self._strikes += 1
            self._changed.notify_all()
            return True


class Faults:
    """The faults of one broker. Thread-safe."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._lock = threading.Lock()
        self._faults: tuple[Fault, ...] = ()

    def fail(
        self, api: ApiKey | str | int, error: str | int, *, times: int = ALWAYS, client_id: str | None = None
    ) -> Fault:
        """Answer requests of a key ("Produce", ApiKey.FETCH, 12) with an error of Kafka's ("NOT_COORDINATOR", 16).

        The broker never sees them. Raises ValueError for an unknown key or error.
        """
        return self._add(Fault(self, Kind.FAIL, key_of(api), times=times, client_id=client_id, code=code_of(error)))

    def delay(self, api: ApiKey | str | int, *, ms: float, times: int = ALWAYS, client_id: str | None = None) -> Fault:
        """Let requests of a key wait for so long, in the machine's time, before the broker sees them."""
        if not 0 <= ms <= LONGEST_DELAY_MS:
            raise ValueError(f"a delay of {ms} ms; it is 0 to {LONGEST_DELAY_MS}, which are a day")
        return self._add(Fault(self, Kind.DELAY, key_of(api), times=times, client_id=client_id, delay_ms=ms))

    def drop(self, api: ApiKey | str | int, *, times: int = ALWAYS, client_id: str | None = None) -> Fault:
        """Break the connection in place of handing a request of a key on: nothing was done."""
        return self._add(Fault(self, Kind.DROP, key_of(api), times=times, client_id=client_id))

    def lose(self, api: ApiKey | str | int, *, times: int = ALWAYS, client_id: str | None = None) -> Fault:
        """Let the broker do what a request of a key asks for, and break the connection in place of its answer."""
        return self._add(Fault(self, Kind.LOSE, key_of(api), times=times, client_id=client_id))

    def drop_connections(self) -> int:
        """Break all connections of clients, and say how many there were. They may connect again."""
        return self._connections.drop_connections()

    def refuse_connections(self) -> None:
        """Refuse whoever connects from now on; connections that there are stay."""
        self._connections.refuse(True)

    def accept_connections(self) -> None:
        """The end of `refuse_connections`."""
        self._connections.refuse(False)

    @contextmanager
    def refused_connections(self) -> Iterator[None]:
        """Break all connections and refuse new ones until the end of the block: the broker is away."""
        self.refuse_connections()
        try:
            self.drop_connections()
            yield
        finally:
            self.accept_connections()

    def clear(self) -> None:
        """End every fault; connections are accepted."""
        with self._lock:
            self._faults = ()
        self.accept_connections()

    def forget(self, fault: Fault) -> None:
        with self._lock:
            self._faults = tuple(other for other in self._faults if other is not fault)

    def strike(self, api_key: int, client_id: str | None) -> Fault | None:
        """The fault that meets this request; called by the relay, for each."""
        return next((fault for fault in self._faults if fault.strike(api_key, client_id)), None)

    def _add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults = (*self._faults, fault)
        return fault


def key_of(api: ApiKey | str | int) -> ApiKey:
    """Kafka's name of a key in any spelling ("OffsetCommit", "offset_commit"), or its number."""
    if isinstance(api, str):
        wanted = api.replace("_", "").lower()
        found = next((key for key in ApiKey if key.name.replace("_", "").lower() == wanted), None)
        if found is None:
            raise ValueError(f"no API key of Kafka is called {api!r}; e.g. Produce, Fetch, Metadata, OffsetCommit")
        return found
    if not is_whole(api) or api not in ApiKey._value2member_map_:
        raise ValueError(f"no API key of Kafka is {api!r}; e.g. 0, which is Produce, or its name")
    return ApiKey(api)


def is_whole(number: object) -> bool:
    """Whether it is an int, and none that says yes or no."""
    return isinstance(number, int) and not isinstance(number, bool)


def code_of(error: str | int) -> int:
    """The number of an error of Kafka's."""
    known = isinstance(error, str) or is_whole(error)
    found = next((code for code, row in TABLE.items() if known and error in (code, row.name)), None)
    if found is None or found == NONE:
        raise ValueError(f"no error of Kafka is called {error!r}; e.g. NOT_LEADER_OR_FOLLOWER, REQUEST_TIMED_OUT")
    return found
