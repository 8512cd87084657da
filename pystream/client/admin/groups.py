"""Groups of all kinds: list, describe, delete, remove members."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pystream.client.admin.acls import AclOperation, operations_of
from pystream.client.admin.base import AdminBase, Asked
from pystream.client.admin.results import Results, error_of, outcome, raise_for
from pystream.client.admin.routes import ToCoordinators
from pystream.client.cluster.coordinators import CoordinatorKind
from pystream.client.given import listed
from pystream.common.error_codes import GROUP_ID_NOT_FOUND, NONE, UNSUPPORTED_VERSION
from pystream.common.errors import GroupIdNotFound, MalformedInput, PystreamError
from pystream.common.model import TopicPartition
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.consumer_protocol import PROTOCOL_TYPE, read_assignment, read_subscription
from pystream.protocol.messages.consumer_group_describe import ConsumerGroupDescribeRequest
from pystream.protocol.messages.delete_groups import DeleteGroupsRequest
from pystream.protocol.messages.describe_groups import DescribedGroup, DescribedGroupMember, DescribeGroupsRequest
from pystream.protocol.messages.leave_group import LeaveGroupRequest, MemberIdentity
from pystream.protocol.messages.list_groups import ListGroupsRequest
from pystream.protocol.messages.share_group_describe import ShareGroupDescribeRequest
from pystream.protocol.messages.streams_group_describe import StreamsGroupDescribeRequest

NO_EPOCH: Final = -1
DEAD: Final = "Dead"
STATES_SINCE, TYPES_SINCE, MEMBERS_SINCE = 4, 5, 3  # versions of ListGroups, ListGroups, LeaveGroup


class GroupType(StrEnum):
    """Which protocol a group follows."""

    UNKNOWN = "Unknown"
    CLASSIC = "Classic"
    CONSUMER = "Consumer"
    SHARE = "Share"
    STREAMS = "Streams"

    @classmethod
    def of(cls, text: str) -> GroupType:
        """Brokers write it in either case; what is newer than this client is UNKNOWN."""
        name = text.capitalize()
        return cls(name) if name in cls._value2member_map_ else cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class GroupListing:
    """A group that there is. State and type are empty and UNKNOWN where brokers are too old to tell."""

    group_id: str
    type: GroupType
    protocol_type: str  # "consumer", "share", "streams", "connect"; empty for simple consumers
    state: str
    coordinator_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberDescription:
    """A member with what it has, and with what it is being moved to where the group's protocol knows that."""

    member_id: str
    instance_id: str | None
    client_id: str
    host: str
    rack_id: str | None = None
    member_epoch: int = NO_EPOCH
    assignment: frozenset[TopicPartition] = frozenset()
    target_assignment: frozenset[TopicPartition] | None = None
    subscribed_topics: tuple[str, ...] = ()
    subscribed_pattern: str | None = None
    is_classic: bool | None = None  # of the old protocol, in a group of the new one


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDescription:
    """A group of the classic, consumer or share protocol. Epochs are -1 for classic groups."""

    group_id: str
    type: GroupType
    state: str
    coordinator_id: int
    protocol_type: str
    assignor: str
    members: tuple[MemberDescription, ...]
    group_epoch: int = NO_EPOCH
    assignment_epoch: int = NO_EPOCH
    authorized_operations: frozenset[AclOperation] | None = None

    @property
    def is_simple(self) -> bool:
        """Only offsets were committed under its name; nobody joins."""
        return self.type is GroupType.CLASSIC and not self.protocol_type


@dataclass(frozen=True, slots=True)
class Tasks:
    """Tasks of a Kafka Streams member: subtopology id -> partitions."""

    active: Mapping[str, tuple[int, ...]]
    standby: Mapping[str, tuple[int, ...]]
    warmup: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class StreamsMember:
    """A member of a Kafka Streams group."""

    member_id: str
    member_epoch: int
    instance_id: str | None
    rack_id: str | None
    client_id: str
    host: str
    topology_epoch: int
    process_id: str
    client_tags: Mapping[str, str]
    assignment: Tasks
    target_assignment: Tasks
    is_classic: bool


@dataclass(frozen=True, slots=True)
class Subtopology:
    """A part of a topology that runs by itself; topics with their partition counts."""

    subtopology_id: str
    source_topics: tuple[str, ...]
    repartition_sink_topics: tuple[str, ...]
    state_changelog_topics: Mapping[str, int]
    repartition_source_topics: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class StreamsGroupDescription:
    """A Kafka Streams group (KIP-1071)."""

    group_id: str
    state: str
    coordinator_id: int
    group_epoch: int
    target_assignment_epoch: int
    topology_epoch: int
    subtopologies: tuple[Subtopology, ...]
    members: tuple[StreamsMember, ...]
    authorized_operations: frozenset[AclOperation] | None


class GroupOperations(AdminBase):
    """Operations on groups."""

    async def list_groups(
        self,
        *,
        types: Iterable[GroupType] = (),
        states: Iterable[str] = (),
        protocol_types: Iterable[str] = (),
        timeout_ms: int | None = None,
    ) -> list[GroupListing]:
        """The groups of all coordinators that match every filter given."""
        of_types = [kind.value for kind in listed(types)]
        in_states = listed(states)
        of_protocols = frozenset(listed(protocol_types))
        lowest = TYPES_SINCE if of_types else STATES_SINCE if in_states else 0
        request = ListGroupsRequest(states_filter=in_states, types_filter=of_types)

        async def ask(asked: Asked, nodes: list[int]) -> dict[int, list[GroupListing] | PystreamError]:
            response = await asked.ask(request, lowest=lowest)
            raise_for(response.error_code, None, "list_groups")
            listings = [
                GroupListing(
                    told.group_id, GroupType.of(told.group_type), told.protocol_type, told.group_state, asked.node_id
                )
                for told in response.groups
                if not of_protocols or told.protocol_type in of_protocols
            ]
            return dict.fromkeys(nodes, listings)

        found = await self._everywhere("list_groups", ask, timeout_ms=timeout_ms)
        return sorted((each for listings in found.values() for each in listings), key=lambda each: each.group_id)

    async def list_consumer_groups(
        self, *, states: Iterable[str] = (), timeout_ms: int | None = None
    ) -> list[GroupListing]:
        """The groups of consumers, of the classic and of the new protocol, and of simple consumers."""
        listings = await self.list_groups(states=states, protocol_types=("", PROTOCOL_TYPE), timeout_ms=timeout_ms)
        return [each for each in listings if each.type not in (GroupType.SHARE, GroupType.STREAMS)]

    async def list_share_groups(
        self, *, states: Iterable[str] = (), timeout_ms: int | None = None
    ) -> list[GroupListing]:
        """The share groups (KIP-932)."""
        return await self.list_groups(types=[GroupType.SHARE], states=states, timeout_ms=timeout_ms)

    async def list_streams_groups(
        self, *, states: Iterable[str] = (), timeout_ms: int | None = None
    ) -> list[GroupListing]:
        """The Kafka Streams groups (KIP-1071)."""
        return await self.list_groups(types=[GroupType.STREAMS], states=states, timeout_ms=timeout_ms)

    async def describe_consumer_groups(
        self,
        group_ids: Iterable[str],
        *,
        include_authorized_operations: bool = False,
        timeout_ms: int | None = None,
    ) -> Results[str, GroupDescription]:
        """State and members of groups of consumers, whichever protocol they follow."""

        async def ask(asked: Asked, ids: list[str]) -> dict[str, GroupDescription | PystreamError]:
            found: dict[str, GroupDescription | PystreamError] = {}
            if asked.connection.supports(ApiKey.CONSUMER_GROUP_DESCRIBE):
                request = ConsumerGroupDescribeRequest(
                    group_ids=ids, include_authorized_operations=include_authorized_operations
                )
                response = await asked.ask(request)
                for told in response.groups:
                    if told.error_code not in (GROUP_ID_NOT_FOUND, UNSUPPORTED_VERSION):
                        description = _description(told, GroupType.CONSUMER, asked.node_id)
                        found[told.group_id] = outcome(told.error_code, told.error_message, description)
            rest = [group_id for group_id in ids if group_id not in found]
            if rest:  # of the classic protocol, or not there
                found |= await _classic(asked, rest, include_authorized_operations)
            return found

        return await self._each("describe_consumer_groups", group_ids, self._groups(), ask, timeout_ms=timeout_ms)

    async def describe_classic_groups(
        self,
        group_ids: Iterable[str],
        *,
        include_authorized_operations: bool = False,
        timeout_ms: int | None = None,
    ) -> Results[str, GroupDescription]:
        """State and members of classic groups, Connect's and others' too."""

        async def ask(asked: Asked, ids: list[str]) -> dict[str, GroupDescription | PystreamError]:
            return await _classic(asked, ids, include_authorized_operations)

        return await self._each("describe_classic_groups", group_ids, self._groups(), ask, timeout_ms=timeout_ms)

    async def describe_share_groups(
        self,
        group_ids: Iterable[str],
        *,
        include_authorized_operations: bool = False,
        timeout_ms: int | None = None,
    ) -> Results[str, GroupDescription]:
        """State and members of share groups."""

        async def ask(asked: Asked, ids: list[str]) -> dict[str, GroupDescription | PystreamError]:
            request = ShareGroupDescribeRequest(
                group_ids=ids, include_authorized_operations=include_authorized_operations
            )
            response = await asked.ask(request)
            return {
                told.group_id: outcome(
                    told.error_code, told.error_message, _description(told, GroupType.SHARE, asked.node_id)
                )
                for told in response.groups
            }

        return await self._each("describe_share_groups", group_ids, self._groups(), ask, timeout_ms=timeout_ms)

    async def describe_streams_groups(
        self,
        group_ids: Iterable[str],
        *,
        include_authorized_operations: bool = False,
        timeout_ms: int | None = None,
    ) -> Results[str, StreamsGroupDescription]:
        """State, topology and members of Kafka Streams groups."""

        async def ask(asked: Asked, ids: list[str]) -> dict[str, StreamsGroupDescription | PystreamError]:
            request = StreamsGroupDescribeRequest(
                group_ids=ids, include_authorized_operations=include_authorized_operations
            )
            response = await asked.ask(request)
            return {
                told.group_id: outcome(told.error_code, told.error_message, _streams_group(told, asked.node_id))
                for told in response.groups
            }

        return await self._each("describe_streams_groups", group_ids, self._groups(), ask, timeout_ms=timeout_ms)

    async def delete_groups(self, group_ids: Iterable[str], *, timeout_ms: int | None = None) -> Results[str, None]:
        """Delete groups of any kind with their offsets. Those that have members stay: NonEmptyGroup."""

        async def ask(asked: Asked, ids: list[str]) -> dict[str, PystreamError | None]:
            response = await asked.ask(DeleteGroupsRequest(groups_names=ids))
            return {
                told.group_id: outcome(told.error_code, None, None, f"group {told.group_id!r}")
                for told in response.results
            }

        return await self._each("delete_groups", group_ids, self._groups(), ask, timeout_ms=timeout_ms)

    delete_consumer_groups = delete_groups
    delete_share_groups = delete_groups
    delete_streams_groups = delete_groups

    async def remove_members_from_consumer_group(
        self,
        group_id: str,
        instance_ids: Iterable[str] | None = None,
        *,
        reason: str | None = None,
        timeout_ms: int | None = None,
    ) -> Results[str, None]:
        """Have static members leave, or without `instance_ids` all members; they are named so in the results."""
        if instance_ids is None:
            described = await self.describe_consumer_groups([group_id], timeout_ms=timeout_ms)
            members = {
                member.instance_id or member.member_id: _identity(member, reason)
                for member in described.result(group_id).members
            }
        else:
            members = {
                instance_id: MemberIdentity(group_instance_id=instance_id, reason=reason)
                for instance_id in listed(instance_ids)
            }

        async def ask(asked: Asked, names: list[str]) -> dict[str, PystreamError | None]:
            request = LeaveGroupRequest(group_id=group_id, members=[members[name] for name in names])
            response = await asked.ask(request, lowest=MEMBERS_SINCE)
            if response.error_code != NONE:
                return dict.fromkeys(names, error_of(response.error_code))
            return {
                told.group_instance_id or told.member_id: outcome(told.error_code, None, None)
                for told in response.members
            }

        route = ToCoordinators[str](self.cluster, CoordinatorKind.GROUP, lambda _: group_id)
        return await self._each("remove_members_from_consumer_group", members, route, ask, timeout_ms=timeout_ms)

    def _groups(self) -> ToCoordinators[str]:
        return ToCoordinators(self.cluster, CoordinatorKind.GROUP, str)


# --- answers ----------------------------------------------------------------------------------------------------------


async def _classic(
    asked: Asked, ids: list[str], include_authorized_operations: bool
) -> dict[str, GroupDescription | PystreamError]:
    request = DescribeGroupsRequest(groups=ids, include_authorized_operations=include_authorized_operations)
    response = await asked.ask(request, lowest=3 if include_authorized_operations else 0)
    return {told.group_id: _classic_group(told, asked.node_id) for told in response.groups}


def _classic_group(told: DescribedGroup, coordinator_id: int) -> GroupDescription | PystreamError:
    if told.error_code != NONE:
        return error_of(told.error_code, told.error_message, f"group {told.group_id!r}")
    if told.group_state == DEAD and not told.protocol_type:  # how brokers before 4.0 say that there is none
        return GroupIdNotFound(f"group {told.group_id!r} does not exist")
    try:
        members = tuple(_classic_member(member, told.protocol_type) for member in told.members)
    except MalformedInput as error:
        return error
    return GroupDescription(
        group_id=told.group_id,
        type=GroupType.CLASSIC,
        state=told.group_state,
        coordinator_id=coordinator_id,
        protocol_type=told.protocol_type,
        assignor=told.protocol_data,
        members=members,
        authorized_operations=operations_of(told.authorized_operations),
    )


def _classic_member(told: DescribedGroupMember, protocol_type: str) -> MemberDescription:
    """Raises MalformedInput for what a consumer's leader wrote. Other protocols' assignments stay closed."""
    assignment: frozenset[TopicPartition] = frozenset()
    topics: tuple[str, ...] = ()
    if protocol_type == PROTOCOL_TYPE and told.member_assignment:
        assigned = read_assignment(told.member_assignment).assigned_partitions
        assignment = frozenset(TopicPartition(each.topic, p) for each in assigned for p in each.partitions)
    if protocol_type == PROTOCOL_TYPE and told.member_metadata:
        topics = tuple(read_subscription(told.member_metadata).topics)
    return MemberDescription(
        member_id=told.member_id,
        instance_id=told.group_instance_id,
        client_id=told.client_id,
        host=told.client_host,
        assignment=assignment,
        subscribed_topics=topics,
    )


def _description(told: Any, kind: GroupType, coordinator_id: int) -> GroupDescription:
    """Of the consumer and the share protocol, whose answers are alike but for what share members lack."""
    return GroupDescription(
        group_id=told.group_id,
        type=kind,
        state=told.group_state,
        coordinator_id=coordinator_id,
        protocol_type=kind.value.lower(),
        assignor=told.assignor_name,
        members=tuple(map(_member, told.members)),
        group_epoch=told.group_epoch,
        assignment_epoch=told.assignment_epoch,
        authorized_operations=operations_of(told.authorized_operations),
    )


def _member(told: Any) -> MemberDescription:
    target = getattr(told, "target_assignment", None)
    member_type = getattr(told, "member_type", NO_EPOCH)
    return MemberDescription(
        member_id=told.member_id,
        instance_id=getattr(told, "instance_id", None),
        client_id=told.client_id,
        host=told.client_host,
        rack_id=told.rack_id,
        member_epoch=told.member_epoch,
        assignment=_partitions(told.assignment),
        target_assignment=None if target is None else _partitions(target),
        subscribed_topics=tuple(told.subscribed_topic_names),
        subscribed_pattern=getattr(told, "subscribed_topic_regex", None) or None,
        is_classic=None if member_type < 0 else member_type == 0,
    )


def _partitions(assignment: Any) -> frozenset[TopicPartition]:
    if assignment is None:
        return frozenset()
    return frozenset(
        TopicPartition(each.topic_name, p) for each in assignment.topic_partitions for p in each.partitions
    )


def _identity(member: MemberDescription, reason: str | None) -> MemberIdentity:
    """A static member leaves by its name in the group, another by its id."""
    if member.instance_id is not None:
        return MemberIdentity(group_instance_id=member.instance_id, reason=reason)
    return MemberIdentity(member_id=member.member_id, reason=reason)


def _streams_group(told: Any, coordinator_id: int) -> StreamsGroupDescription:
    topology = told.topology
    subtopologies = () if topology is None else topology.subtopologies or ()
    return StreamsGroupDescription(
        told.group_id,
        told.group_state,
        coordinator_id,
        told.group_epoch,
        told.assignment_epoch,
        NO_EPOCH if topology is None else topology.epoch,
        tuple(
            Subtopology(
                each.subtopology_id,
                tuple(each.source_topics),
                tuple(each.repartition_sink_topics),
                {topic.name: topic.partitions for topic in each.state_changelog_topics},
                {topic.name: topic.partitions for topic in each.repartition_source_topics},
            )
            for each in subtopologies
        ),
        tuple(map(_streams_member, told.members)),
        operations_of(told.authorized_operations),
    )


def _streams_member(told: Any) -> StreamsMember:
    return StreamsMember(
        told.member_id,
        told.member_epoch,
        told.instance_id,
        told.rack_id,
        told.client_id,
        told.client_host,
        told.topology_epoch,
        told.process_id,
        {tag.key: tag.value for tag in told.client_tags},
        _tasks(told.assignment),
        _tasks(told.target_assignment),
        told.is_classic,
    )


def _tasks(assignment: Any) -> Tasks:
    if assignment is None:
        return Tasks({}, {}, {})
    active, standby, warmup = (
        {each.subtopology_id: tuple(each.partitions) for each in tasks}
        for tasks in (assignment.active_tasks, assignment.standby_tasks, assignment.warmup_tasks)
    )
    return Tasks(active, standby, warmup)
