"""A consumer group: what its members want, and who has which partition. Changed by replay alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pystream.common.errors import IllegalGeneration
from pystream.coordinator.group.assignors.model import NO_PARTITIONS, Assignment
from pystream.coordinator.group.consumer import records
from pystream.coordinator.group.consumer.member import ConsumerMember
from pystream.coordinator.group.group import GroupKind
from pystream.coordinator.group.modern.group import ReconcilingGroup
from pystream.coordinator.machine import Effects

PROTOCOL_TYPE = "consumer"


class ResolvedRegex(NamedTuple):
    """The topics that a regular expression named when last looked, at a version of the topics and a time."""

    topics: frozenset[str]
    version: int
    timestamp_ms: int


@dataclass(slots=True, eq=False)
class ConsumerGroup(ReconcilingGroup[ConsumerMember, Assignment]):
    KINDS = records.KINDS
    kind = GroupKind.CONSUMER

    static_members: dict[str, str] = field(default_factory=dict)
    regexes: dict[str, ResolvedRegex] = field(default_factory=dict)
    has_partition_metadata_record: bool = False
    _owners: dict[tuple[bytes, int], str] = field(default_factory=dict)
    _names: Counter[str] = field(default_factory=Counter)
    _regexes_wanted: Counter[str] = field(default_factory=Counter)
    _regex_topics: Counter[str] = field(default_factory=Counter)
    _assignors: Counter[str] = field(default_factory=Counter)
    _classic_protocols: Counter[str] = field(default_factory=Counter)
    _classic_members: int = 0

    def protocol_type(self) -> str:
        return PROTOCOL_TYPE

    def is_subscribed_to(self, topic: str) -> bool:
        return topic in self._names or topic in self._regex_topics

    def static_member(self, instance_id: str | None) -> ConsumerMember | None:
        """The member of that instance id, whatever its member id is now."""
        member_id = None if instance_id is None else self.static_members.get(instance_id)
        return None if member_id is None else self.members.get(member_id)

    def owner_of(self, topic_id: bytes, partition: int) -> str | None:
        """The member that has the partition, or has not given it up yet."""
        return self._owners.get((topic_id, partition))

    def target_of(self, member_id: str) -> Assignment:
        return self.targets.get(member_id, NO_PARTITIONS)

    # What the members want

    def subscribed_names(self) -> set[str]:
        """All topics that members name, or their regular expressions do."""
        return {*self._names, *self._regex_topics}

    def names_of(self, member: ConsumerMember) -> frozenset[str]:
        """The topics that this member names, and that its regular expression does; one not resolved names none."""
        found = self.regexes.get(member.subscribed_topic_regex) if member.subscribed_topic_regex else None
        return member.subscribed_topic_names if found is None else member.subscribed_topic_names | found.topics

    def regexes_wanted(self) -> Mapping[str, int]:
        """The regular expressions that members subscribe to, and how many do."""
        return self._regexes_wanted

    def preferred_assignor(self) -> str | None:
        """What most members ask for; among equals the last in the alphabet: uniform, as in Kafka, rather than range."""
        wanted = [(count, name) for name, count in self._assignors.items()]
        return max(wanted)[1] if wanted else None

    # Members that speak the classic protocol

    def count_of_classic_members(self) -> int:
        return self._classic_members

    def only_classic_members_without(self, leaving: Iterable[ConsumerMember]) -> bool:
        """Whether all members but these speak the classic protocol."""
        gone = list(leaving)
        classic = self._classic_members - sum(member.uses_classic_protocol for member in gone)
        return classic == len(self.members) - len(gone)

    def supports_classic_protocols(self, protocol_type: str, names: Iterable[str]) -> bool:
        """Whether a member that offers these can join: all classic members must have one in common with it."""
        if protocol_type != PROTOCOL_TYPE:
            return False
        if not self.members:
            return any(True for _ in names)
        return any(self._classic_protocols[name] == self._classic_members for name in names)

    def waits_for_others(self, member: ConsumerMember) -> bool:
        """Whether something of the member's target is still somebody else's."""
        return any(
            index not in member.assigned.get(topic_id, ()) and self.owner_of(topic_id, index) is not None
            for topic_id, indexes in self.target_of(member.member_id).items()
            for index in indexes
        )

    # What may be done from outside

    def check_old_commit(self, member: ConsumerMember) -> None:
        if not member.uses_classic_protocol:
            ReconcilingGroup.check_old_commit(self, member)

    def check_epoch(self, member: ConsumerMember, received: int) -> None:
        """What is an epoch to others is a generation to members of the classic protocol."""
        if received != member.member_epoch and member.uses_classic_protocol:
            raise IllegalGeneration(
                f"The received generation id {received} does not match the expected member epoch {member.member_epoch}."
            )
        ReconcilingGroup.check_epoch(self, member, received)

    def write_own_tombstones(self, effects: Effects) -> None:
        for regex in list(self.regexes):
            effects.write(*records.no_regex(self.group_id, regex))
        if self.has_partition_metadata_record:
            effects.write(*records.no_partition_metadata(self.group_id))

    # Replay: what one record changes

    def put_member(self, member: ConsumerMember) -> None:
        before = self.members.get(member.member_id)
        self._count(before, -1)
        self._release(before)
        self.members[member.member_id] = member
        self._count(member, 1)
        for partition in partitions_held(member):
            self._owners[partition] = member.member_id
        if member.instance_id is not None:
            self.static_members[member.instance_id] = member.member_id

    def drop_member(self, member_id: str) -> None:
        before = self.members.pop(member_id, None)
        self._count(before, -1)
        self._release(before)
        # A replaced static member goes after its successor came only in logs that were compacted in between.
        if before is not None and self.static_members.get(before.instance_id or "") == member_id:
            del self.static_members[before.instance_id or ""]

    def put_regex(self, regex: str, resolved: ResolvedRegex | None) -> None:
        """What the expression names now; None: it is wanted no more."""
        before = self.regexes.pop(regex, None)
        if before is not None:
            _add(self._regex_topics, before.topics, -1)
        if resolved is not None:
            self.regexes[regex] = resolved
            _add(self._regex_topics, resolved.topics, 1)

    def _release(self, member: ConsumerMember | None) -> None:
        if member is not None:
            for partition in partitions_held(member):
                if self._owners.get(partition) == member.member_id:
                    del self._owners[partition]

    def _count(self, member: ConsumerMember | None, by: int) -> None:
        if member is None:
            return
        _add(self._names, member.subscribed_topic_names, by)
        if member.subscribed_topic_regex:
            _add(self._regexes_wanted, (member.subscribed_topic_regex,), by)
        if member.server_assignor is not None:
            _add(self._assignors, (member.server_assignor,), by)
        if member.classic is not None:
            self._classic_members += by
            _add(self._classic_protocols, {protocol.name for protocol in member.classic.protocols}, by)


def partitions_held(member: ConsumerMember) -> Iterator[tuple[bytes, int]]:
    """What is the member's: assigned, or not given up yet."""
    for assignment in (member.assigned, member.pending_revocation):
        for topic_id, indexes in assignment.items():
            for index in indexes:
                yield topic_id, index


def _add(counter: Counter[str], keys: Iterable[str], by: int) -> None:
    for key in keys:
        counter[key] += by
        if counter[key] <= 0:
            del counter[key]
