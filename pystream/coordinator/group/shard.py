"""GroupShard: one partition of __consumer_offsets in memory: the groups by id, and the parts that know their kinds.

    GroupShard ── groups: group id -> Group          one name space for all kinds
               ── parts:  ClassicGroups | Offsets | ConsumerGroups | ShareGroups | StreamsGroups
                          each takes the records of its own classes, and holds what is not of one group
               ── timers: one for each thing planned, under ("kind", group id, ...)

A part joins by `add` (see `parts.py`, one line for each). Operations are functions `operation(shard, ticket, now_ms,
effects)` in the package of their kind; they find their part with `shard.part(Class)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, cast

from pystream.common.errors import GroupIdNotFound
from pystream.common.logging import get_logger
from pystream.coordinator.group.group import Caller, Group, GroupKind
from pystream.coordinator.group.metrics import GroupMetrics
from pystream.coordinator.machine import Effects, Record, Ticket, Timers

logger = get_logger(__name__)

P = TypeVar("P")
Replay = Callable[[Record], None]


class Part(Protocol):
    """What one kind of groups, or the offsets, adds to the shard."""

    def replays(self) -> Mapping[type, Replay]:
        """What takes the records of each key class in."""
        ...

    def loaded(self, now_ms: int, effects: Effects) -> None:
        """The log has been read to its end: arm timers, put right what a crash has left."""
        ...

    def unloaded(self, effects: Effects) -> None:
        """Answer every request that waits in this part with NOT_COORDINATOR."""
        ...

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        """The records of the producer's transaction count from now on, or are forgotten."""
        ...


class ClassicBridge(Protocol):
    """Serves members that speak the classic protocol in a group of another kind (KIP-848: online migration)."""

    def join_group(
        self, group: Group, caller: Caller, request: Any, ticket: Ticket, now_ms: int, effects: Effects
    ) -> None: ...

    def sync_group(
        self, group: Group, caller: Caller, request: Any, ticket: Ticket, now_ms: int, effects: Effects
    ) -> None: ...

    def heartbeat(
        self, group: Group, caller: Caller, request: Any, ticket: Ticket, now_ms: int, effects: Effects
    ) -> None: ...

    def leave_group(
        self, group: Group, caller: Caller, request: Any, ticket: Ticket, now_ms: int, effects: Effects
    ) -> None: ...


class GroupShard:
    """See the head of this module. `bridges`: who serves classic requests to groups of a kind that is not classic."""

    def __init__(self, partition: int, metrics: GroupMetrics | None = None) -> None:
        """`metrics`: what all shards of a coordinator count in."""
        self.partition = partition
        self.metrics = metrics or GroupMetrics()
        self.timers = Timers()
        self.groups: dict[str, Group] = {}
        self.bridges: dict[GroupKind, ClassicBridge] = {}
        self._parts: dict[type, Part] = {}
        self._replays: dict[type, Replay] = {}

    def add(self, part: Part) -> None:
        """Take a part in; it is found by its class."""
        self._parts[type(part)] = part
        self._replays.update(part.replays())

    def part(self, kind: type[P]) -> P:
        """The part of this class, which `add` took in."""
        return cast(P, self._parts[kind])

    def group(self, group_id: str) -> Group:
        """The group of this id, of any kind. Raises GroupIdNotFound."""
        group = self.groups.get(group_id)
        if group is None:
            raise GroupIdNotFound(f"Group {group_id} not found.")
        return group

    def replay(self, record: Record) -> None:
        """Take a record in, fresh or read from the log; one of a class that no part knows is left alone."""
        replay = self._replays.get(type(record.key))
        if replay is None:
            logger.limited("coordinator record passed over", partition=self.partition, key=type(record.key).__name__)
        else:
            replay(record)

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        for part in self._parts.values():
            part.end_transaction(producer_id, committed)

    def loaded(self, now_ms: int, effects: Effects) -> None:
        for part in self._parts.values():
            part.loaded(now_ms, effects)

    def unloaded(self, effects: Effects) -> None:
        for part in self._parts.values():
            part.unloaded(effects)
