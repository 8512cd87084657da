"""What groups of every kind have in common: one name space, offsets, states that are listed, an end.

Four kinds share the ids of one shard: classic (JoinGroup and its friends), consumer (KIP-848), share (KIP-932) and
streams (KIP-1071). Whoever deals with all of them (ListGroups, DeleteGroups, OffsetCommit) knows them as `Group`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pystream.coordinator.machine import Effects

# Raises the KafkaError of one partition whose offset may not be committed: (topic, partition)
PartitionCheck = Callable[[str, int], None]


class GroupKind(StrEnum):
    """The kinds, as ListGroups calls them."""

    CLASSIC = "classic"
    CONSUMER = "consumer"
    SHARE = "share"
    STREAMS = "streams"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and in which version of its request. `client_host` as Kafka writes it: "/127.0.0.1"."""

    api_version: int
    client_id: str
    client_host: str


class Group(Protocol):
    """A group of any kind, as far as everybody may ask it. The checks raise the KafkaError that the client is told."""

    @property
    def group_id(self) -> str: ...

    @property
    def kind(self) -> GroupKind: ...

    def state_name(self, now_ms: int) -> str:
        """As listed and described: "Stable", "PreparingRebalance", "Reconciling", ..."""
        ...

    def protocol_type(self) -> str:
        """As listed: "consumer" of nearly all groups; empty when nobody has joined yet."""
        ...

    def is_empty(self) -> bool:
        """Whether it has no members: then it may be deleted, or become a group of another kind."""
        ...

    def is_subscribed_to(self, topic: str) -> bool:
        """Whether members take records of the topic: then its offsets neither expire nor may be deleted."""
        ...

    def check_offset_commit(
        self,
        member_id: str,
        group_instance_id: str | None,
        generation_or_epoch: int,
        *,
        transactional: bool,
        api_version: int,
    ) -> PartitionCheck | None:
        """Whether this member may commit offsets now.

        What is given is asked for each partition, too: when it raises for one of them, none is committed.
        `api_version` is of TxnOffsetCommit when `transactional`.
        """
        ...

    def check_offset_fetch(self, member_id: str | None, member_epoch: int, now_ms: int) -> None:
        """Whether this member may read offsets; no member id: somebody who is not a member, who always may."""
        ...

    def check_offset_delete(self) -> None: ...

    def check_delete(self) -> None: ...

    def expires(self) -> bool:
        """Whether its offsets, and then the empty group itself, are forgotten in time; not so of share groups."""
        ...

    def retention_base_ms(self, commit_timestamp_ms: int) -> int | None:
        """Since when the retention of an offset committed then has run; None: it does not expire as things are."""
        ...

    def write_tombstones(self, effects: Effects) -> None:
        """Delete the records of the group itself, not its offsets; replaying them takes it out of the shard."""
        ...
