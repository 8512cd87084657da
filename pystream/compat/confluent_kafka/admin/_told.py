"""What the SDK tells, in confluent_kafka's classes, and the other way round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pystream.client.admin import acls as sdk_acls
from pystream.client.admin import configs as sdk_configs
from pystream.client.admin.client import AdminClient as SdkAdminClient
from pystream.client.admin.groups import GroupDescription, GroupType
from pystream.client.admin.quorum import ClusterDescription
from pystream.client.admin.topics import TopicDescription as SdkTopicDescription
from pystream.client.admin.users import ScramCredential
from pystream.client.cluster.metadata import Node as SdkNode
from pystream.common.error_codes import UNKNOWN_TOPIC_OR_PARTITION
from pystream.common.errors import GroupIdNotFound, PystreamError
from pystream.compat.confluent_kafka._errors import KafkaError, as_kafka_error
from pystream.compat.confluent_kafka._metadata import BrokerMetadata, GroupMember, GroupMetadata
from pystream.compat.confluent_kafka._model import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    ConsumerGroupType,
    Node,
    TopicPartitionInfo,
)
from pystream.compat.confluent_kafka._values import OFFSET_INVALID, TopicPartition, Uuid
from pystream.compat.confluent_kafka.admin._model import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    ConsumerGroupDescription,
    ConsumerGroupListing,
    DescribeClusterResult,
    ListConsumerGroupsResult,
    MemberAssignment,
    MemberDescription,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    TopicDescription,
    UserScramCredentialsDescription,
    member,
)

GROUP_STATES = {
    "PreparingRebalance": ConsumerGroupState.PREPARING_REBALANCING,
    "CompletingRebalance": ConsumerGroupState.COMPLETING_REBALANCING,
    "Stable": ConsumerGroupState.STABLE,
    "Dead": ConsumerGroupState.DEAD,
    "Empty": ConsumerGroupState.EMPTY,
}
STATE_NAMES = {state: name for name, state in GROUP_STATES.items()}
GROUP_TYPES = {GroupType.CLASSIC: ConsumerGroupType.CLASSIC, GroupType.CONSUMER: ConsumerGroupType.CONSUMER}
CONFIG_RESOURCES = {
    ResourceType.TOPIC: sdk_configs.ConfigResourceType.TOPIC,
    ResourceType.BROKER: sdk_configs.ConfigResourceType.BROKER,
    ResourceType.GROUP: sdk_configs.ConfigResourceType.GROUP,
}


def itself(value: Any) -> Any:
    return value


def nothing(_: Any) -> None:
    """An operation whose success says all."""


def node(found: SdkNode | None) -> Node | None:
    return None if found is None else Node(found.node_id, found.host, found.port, found.rack)


def _nodes(ids: Iterable[int], nodes: Mapping[int, SdkNode]) -> list[Node]:
    known = (node(nodes.get(node_id)) for node_id in ids)
    return [each for each in known if each is not None]


def operations(found: frozenset[Any] | None) -> list[AclOperation] | None:
    """Those that confluent_kafka has a name for."""
    if found is None:
        return None
    known = AclOperation._value2member_map_
    return [AclOperation(int(each)) for each in sorted(found) if int(each) in known]


def topic(found: SdkTopicDescription, nodes: Mapping[int, SdkNode]) -> TopicDescription:
    partitions = [
        TopicPartitionInfo(
            each.partition,
            node(nodes.get(each.leader)),
            _nodes(each.replicas, nodes),
            _nodes(each.in_sync_replicas, nodes),
        )
        for each in found.partitions
    ]
    allowed = operations(found.authorized_operations)
    return TopicDescription(found.name, Uuid.of(found.topic_id), found.is_internal, partitions, allowed)


def cluster(found: ClusterDescription) -> DescribeClusterResult:
    nodes = {each.node_id: each for each in found.nodes}
    return DescribeClusterResult(
        node(nodes.get(found.controller_id)),
        _nodes(nodes, nodes),
        found.cluster_id,
        operations(found.authorized_operations),
    )


def election(found: bool | PystreamError) -> KafkaError | None:
    if isinstance(found, PystreamError):
        return as_kafka_error(found)
    return None if found else KafkaError(KafkaError.ELECTION_NOT_NEEDED)


# --- settings ---------------------------------------------------------------------------------------------------------


def resource_of(resource: ConfigResource) -> sdk_configs.ConfigResource:
    if resource.restype not in CONFIG_RESOURCES:
        raise ValueError(f"{resource} has no settings: expected one of {', '.join(t.name for t in CONFIG_RESOURCES)}")
    return sdk_configs.ConfigResource(CONFIG_RESOURCES[resource.restype], resource.name)


def config_entries(found: dict[str, sdk_configs.ConfigEntry]) -> dict[str, ConfigEntry]:
    return {
        name: ConfigEntry(
            name,
            each.value,
            _source(int(each.source)),
            each.is_read_only,
            each.is_default,
            each.is_sensitive,
            False,
            {
                synonym.name: ConfigEntry(synonym.name, synonym.value, _source(int(synonym.source)), is_synonym=True)
                for synonym in each.synonyms
            },
        )
        for name, each in found.items()
    }


def _source(number: int) -> int:
    """The number: confluent_kafka gives the enum's value, which its examples turn into the enum."""
    return number if number in ConfigSource._value2member_map_ else ConfigSource.UNKNOWN_CONFIG.value


# --- access control ---------------------------------------------------------------------------------------------------


def acl_of(binding: AclBinding) -> sdk_acls.AclBinding:
    return sdk_acls.AclBinding(
        resource_type=sdk_acls.ResourceType(binding.restype.value),
        resource_name=binding.name or "",
        principal=binding.principal or "",
        operation=sdk_acls.AclOperation(binding.operation.value),
        permission=sdk_acls.AclPermission(binding.permission_type.value),
        pattern_type=sdk_acls.PatternType(binding.resource_pattern_type.value),
        host=binding.host or "",
    )


def acl_filter_of(wanted: AclBindingFilter) -> sdk_acls.AclFilter:
    return sdk_acls.AclFilter(
        resource_type=sdk_acls.ResourceType(wanted.restype.value),
        resource_name=wanted.name,
        principal=wanted.principal,
        operation=sdk_acls.AclOperation(wanted.operation.value),
        permission=sdk_acls.AclPermission(wanted.permission_type.value),
        pattern_type=sdk_acls.PatternType(wanted.resource_pattern_type.value),
        host=wanted.host,
    )


def acl(found: sdk_acls.AclBinding) -> AclBinding:
    known = ResourceType._value2member_map_
    kind = int(found.resource_type) if int(found.resource_type) in known else 0
    allowed = int(found.operation) if int(found.operation) in AclOperation._value2member_map_ else 0
    return AclBinding(
        kind,
        found.resource_name,
        int(found.pattern_type),
        found.principal,
        found.host,
        allowed,
        int(found.permission),
    )


def deleted_acls(found: sdk_acls.DeletedAcls) -> list[AclBinding]:
    return [acl(each) for each in found.deleted]


def credentials(user: str, found: tuple[ScramCredential, ...]) -> UserScramCredentialsDescription:
    infos = [ScramCredentialInfo(member(ScramMechanism, int(each.mechanism)), each.iterations) for each in found]
    return UserScramCredentialsDescription(user, infos)


# --- groups -----------------------------------------------------------------------------------------------------------


async def list_consumer_groups(
    admin: SdkAdminClient,
    states: set[ConsumerGroupState],
    types: set[ConsumerGroupType],
    timeout_ms: int | None,
) -> ListConsumerGroupsResult:
    names = [STATE_NAMES[state] for state in states if state in STATE_NAMES]
    found = await admin.list_consumer_groups(states=names, timeout_ms=timeout_ms)
    listings = [
        ConsumerGroupListing(
            each.group_id,
            each.type is not GroupType.CONSUMER and not each.protocol_type,
            GROUP_STATES.get(each.state, ConsumerGroupState.UNKNOWN),
            GROUP_TYPES.get(each.type, ConsumerGroupType.UNKNOWN),
        )
        for each in found
    ]
    return ListConsumerGroupsResult([each for each in listings if not types or each.type in types], [])


def described_group(
    group_id: str, found: GroupDescription | PystreamError, nodes: Mapping[int, SdkNode]
) -> ConsumerGroupDescription | PystreamError:
    """A group that there is not is dead, as classic groups have it."""
    if isinstance(found, GroupIdNotFound):
        return ConsumerGroupDescription(group_id, False, [], "", ConsumerGroupState.DEAD, None)
    if isinstance(found, PystreamError):
        return found
    members = [
        MemberDescription(
            each.member_id,
            each.client_id,
            each.host,
            _assignment(each.assignment),
            each.instance_id,
            None if each.target_assignment is None else _assignment(each.target_assignment),
        )
        for each in found.members
    ]
    return ConsumerGroupDescription(
        group_id,
        found.is_simple,
        members,
        found.assignor,
        GROUP_STATES.get(found.state, ConsumerGroupState.UNKNOWN),
        node(nodes.get(found.coordinator_id)),
        operations(found.authorized_operations),
        GROUP_TYPES.get(found.type, ConsumerGroupType.UNKNOWN),
    )


def _assignment(places: Iterable[Any]) -> MemberAssignment:
    return MemberAssignment([TopicPartition.at(place) for place in sorted(places)])


def group_offsets(request: ConsumerGroupTopicPartitions, found: Mapping[Any, Any]) -> ConsumerGroupTopicPartitions:
    """All that is committed, or what was asked for, OFFSET_INVALID where nothing is."""
    asked = request.topic_partitions
    places = sorted(found) if asked is None else [part.place for part in asked]
    partitions = []
    for place in places:
        where = found.get(place)
        partition = TopicPartition.at(place, OFFSET_INVALID if where is None else where.offset)
        if where is not None:
            partition.metadata = where.metadata or None
            partition.leader_epoch = None if where.leader_epoch < 0 else where.leader_epoch
        partitions.append(partition)
    return ConsumerGroupTopicPartitions(request.group_id, partitions)


def altered_offsets(
    request: ConsumerGroupTopicPartitions, found: Mapping[Any, Any]
) -> ConsumerGroupTopicPartitions | PystreamError:
    """Each partition with its error; an error of the group's where all have the same but for unknown topics."""
    partitions = []
    for asked in request.topic_partitions or []:
        told = TopicPartition(asked.topic, asked.partition, asked.offset, asked.metadata, asked.leader_epoch)
        outcome = found.get(asked.place)
        if isinstance(outcome, PystreamError):
            error = as_kafka_error(outcome)
            if error.code() != UNKNOWN_TOPIC_OR_PARTITION:
                return outcome
            told.error = error
        partitions.append(told)
    return ConsumerGroupTopicPartitions(request.group_id, partitions)


async def list_groups(admin: SdkAdminClient, group: str | None, timeout_ms: int | None) -> list[GroupMetadata]:
    listings = await admin.list_consumer_groups(timeout_ms=timeout_ms)
    wanted = [each.group_id for each in listings if group is None or each.group_id == group]
    described = await admin.describe_consumer_groups(wanted, timeout_ms=timeout_ms)
    nodes = admin.cluster.metadata.nodes
    return [_group(group_id, each, nodes) for group_id, each in described.items()]


def _group(group_id: str, found: GroupDescription | PystreamError, nodes: Mapping[int, SdkNode]) -> GroupMetadata:
    group = GroupMetadata()
    group.id = group_id
    if isinstance(found, PystreamError):
        group.error = as_kafka_error(found)
        return group
    coordinator = nodes.get(found.coordinator_id)
    if coordinator is not None:
        group.broker = BrokerMetadata()
        group.broker.id, group.broker.host, group.broker.port = coordinator[:3]
    group.state, group.protocol_type, group.protocol = found.state, found.protocol_type, found.assignor
    for each in found.members:
        told = GroupMember()
        told.id, told.client_id, told.client_host = each.member_id, each.client_id, each.host
        group.members.append(told)
    return group
