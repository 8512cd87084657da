"""Which broker coordinates a group, a transactional id or a share partition, remembered until it is found wrong."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from enum import IntEnum
from typing import Any, Final, Protocol

from pystream.client.cluster.metadata import Node
from pystream.client.cluster.retry import Deadline, is_retriable
from pystream.common.error_codes import NONE
from pystream.common.errors import KafkaError, UnknownServerError, error_class
from pystream.net.connection import Connection
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse

COORDINATOR_LANE: Final = "coordinator"
BATCHED_SINCE: Final = 4  # from this version on, many keys in one request
MOST_REMEMBERED: Final = 10_000

Found = dict[str, Node | KafkaError]


class CoordinatorKind(IntEnum):
    """What FindCoordinator is asked for."""

    GROUP = 0
    TRANSACTION = 1
    SHARE = 2


class Asker(Protocol):
    """What is needed of the cluster."""

    async def any_broker(self) -> Connection:
        """A connection to some broker."""
        ...

    async def retrying(
        self, what: str, work: Callable[[Deadline], Coroutine[Any, Any, Found]], *, timeout_ms: int | None = None
    ) -> Found:
        """What `work` gives, tried again after retriable errors."""
        ...


class Coordinators:
    """Finds and remembers."""

    def __init__(self, cluster: Asker) -> None:
        self._cluster = cluster
        self._known: dict[tuple[CoordinatorKind, str], Node] = {}

    async def find(self, kind: CoordinatorKind, key: str, *, timeout_ms: int | None = None) -> Node:
        """The coordinator of one key. While it is being elected or loaded it is asked for again, up to the deadline."""
        found = (await self.find_all(kind, [key], timeout_ms=timeout_ms))[key]
        if isinstance(found, KafkaError):
            raise found
        return found

    async def find_all(self, kind: CoordinatorKind, keys: Iterable[str], *, timeout_ms: int | None = None) -> Found:
        """The coordinators of many keys in one request; a key that cannot have one gets its error."""
        found: Found = {}
        missing = []
        for key in dict.fromkeys(keys):
            known = self._known.get((kind, key))
            if known is None:
                missing.append(key)
            else:
                found[key] = known
        if missing:
            what = f"coordinator of {kind.name.lower()} {', '.join(map(repr, missing[:3]))}"
            found |= await self._cluster.retrying(what, lambda _: self._ask(kind, missing), timeout_ms=timeout_ms)
        return found

    def forget(self, kind: CoordinatorKind, key: str) -> None:
        """It was found wrong or cannot be reached: ask again next time."""
        self._known.pop((kind, key), None)

    def forget_node(self, node_id: int) -> None:
        """A broker is gone: ask again for all that it coordinated."""
        self._known = {place: node for place, node in self._known.items() if node.node_id != node_id}

    async def _ask(self, kind: CoordinatorKind, keys: list[str]) -> Found:
        connection = await self._cluster.any_broker()
        lowest = (0, 1, 6)[kind]
        version = connection.version_of(ApiKey.FIND_COORDINATOR, lowest)
        found: Found = {}
        if version >= BATCHED_SINCE:
            request = FindCoordinatorRequest(key_type=int(kind), coordinator_keys=keys)
            response: FindCoordinatorResponse = await connection.request(request, version)
            for told in response.coordinators:
                found[told.key] = self._note(
                    kind, told.key, told.error_code, told.error_message, Node(told.node_id, told.host, told.port)
                )
        else:
            for key in keys:
                response = await connection.request(FindCoordinatorRequest(key=key, key_type=int(kind)), version)
                node = Node(response.node_id, response.host, response.port)
                found[key] = self._note(kind, key, response.error_code, response.error_message, node)
        return {key: found.get(key) or UnknownServerError(f"{connection.name} left out {key!r}") for key in keys}

    def _note(
        self, kind: CoordinatorKind, key: str, error_code: int, message: str | None, node: Node
    ) -> Node | KafkaError:
        if error_code != NONE:
            error = error_class(error_code)(f"coordinator of {kind.name.lower()} {key!r}: {message or ''}".rstrip(": "))
            if is_retriable(error):
                raise error
            return error
        if len(self._known) >= MOST_REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[kind, key] = node
        return node
