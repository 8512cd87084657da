"""What AdminClient refuses before anything is asked: TypeError and ValueError, as confluent_kafka raises them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pystream.client.admin.configs import AlterConfig, AlterOperation
from pystream.compat.confluent_kafka._codes import Codes
from pystream.compat.confluent_kafka._errors import local
from pystream.compat.confluent_kafka._model import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    ConsumerGroupType,
    ElectionType,
    IsolationLevel,
    TopicCollection,
)
from pystream.compat.confluent_kafka._values import OFFSET_INVALID, TopicPartition
from pystream.compat.confluent_kafka.admin._model import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)


def instances(values: Any, kind: type) -> None:
    """A list of nothing else, not empty."""
    if not isinstance(values, list):
        raise TypeError(f"Expected list of {kind.__name__}, found {type(values).__name__}")
    if not values:
        raise ValueError(f"Expected a list of {kind.__name__} that is not empty")
    for value in values:
        if not isinstance(value, kind):
            raise ValueError(f"Expected list of {kind!r}, found {value!r}")


def new_topics(values: Any) -> None:
    instances(values, NewTopic)
    for topic in values:
        if not isinstance(topic.config, dict | None):
            raise TypeError(f"config of topic {topic.topic}: expected a dict, found {topic.config!r}")


def flag(value: Any, name: str) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected a bool, found {value!r}")


def distinct(values: Any, kind: type, what: str) -> None:
    """A list of nothing else, and nothing twice."""
    if isinstance(values, str):  # confluent_kafka goes through its letters, and finds that they are none
        raise ValueError(f"Expected list of {kind.__name__}, found {values!r}")
    instances(values, kind)
    if len(set(values)) != len(values):
        raise ValueError(f"duplicate {what} not allowed")


def topic_names(topics: Any) -> list[str]:
    if not isinstance(topics, TopicCollection):
        raise TypeError("Expected input to be instance of TopicCollection")
    if not isinstance(topics.topic_names, list):
        raise TypeError("Expected list of topic names to be described")
    for name in topics.topic_names:
        if not isinstance(name, str):
            raise TypeError("Expected list of topic names")
        if not name:
            raise ValueError("Topic name cannot be empty")
    return topics.topic_names


def group_ids(group_ids: Any) -> None:
    if not isinstance(group_ids, list):
        raise TypeError("Expected input to be list of group ids")
    if not group_ids:
        raise ValueError("Expected at least one group")
    instances(group_ids, str)


def group_filters(
    states: Iterable[Any] | None, types: Iterable[Any] | None
) -> tuple[set[ConsumerGroupState], set[ConsumerGroupType]]:
    for given, kind, what in ((states, ConsumerGroupState, "states"), (types, ConsumerGroupType, "types")):
        if given is None:
            continue
        if not isinstance(given, set):
            raise TypeError(f"'{what}' must be a set")
        for value in given:
            if not isinstance(value, kind):
                raise TypeError(f"All elements of '{what}' must be of type {kind.__name__}")
    if types is not None and ConsumerGroupType.UNKNOWN in types:
        raise ValueError("'UNKNOWN' is not a valid type")
    return set(states or ()), set(types or ())


def partitions(values: Any, what: str = "Request", where: str = "request") -> None:
    if not isinstance(values, list):
        raise TypeError(f"Expected {what} to be a list, got '{type(values).__name__}'")
    for value in values:
        if not isinstance(value, TopicPartition):
            kind = type(value).__name__
            raise TypeError(f"Element of the {where} list must be of type 'TopicPartition' got '{kind}'")
        if not value.topic:
            raise ValueError("Element of the list cannot have an empty topic")
        if value.partition < 0:
            raise ValueError("'partition' cannot be negative")


def election(election_type: Any, wanted: Any) -> None:
    if not isinstance(election_type, ElectionType):
        raise TypeError("Expected 'election_type' to be of type 'ElectionType'")
    if wanted is not None:
        partitions(wanted, "'partitions'", "'partitions'")


def offset_specs(wanted: Any, isolation_level: Any) -> None:
    if not isinstance(wanted, dict):
        raise TypeError("Expected dict of TopicPartition to OffsetSpec")
    for partition, spec in wanted.items():
        if not isinstance(partition, TopicPartition):
            raise TypeError("partition must be a TopicPartition")
        if not partition.topic:
            raise ValueError("partition topic name cannot be empty")
        if partition.partition < 0:
            raise ValueError("partition index must be non-negative")
        if not isinstance(spec, OffsetSpec):
            raise TypeError("Value must be a OffsetSpec")
    if not isinstance(isolation_level, IsolationLevel):
        raise TypeError("isolation_level argument should be an IsolationLevel")


def _request(request: Any) -> ConsumerGroupTopicPartitions:
    """The only one of a list."""
    if not isinstance(request, list):
        raise TypeError("request must be a list")
    if len(request) != 1:
        raise ValueError("expected a single consumer group")
    (only,) = request
    if not isinstance(only, ConsumerGroupTopicPartitions):
        raise TypeError("Expected list of 'ConsumerGroupTopicPartitions'")
    if not isinstance(only.group_id, str):
        raise TypeError("'group_id' must be a string")
    if not only.group_id:
        raise ValueError("'group_id' cannot be empty")
    if only.topic_partitions is None:
        return only
    if not isinstance(only.topic_partitions, list):
        raise TypeError("'topic_partitions' must be a list or None")
    if not only.topic_partitions:
        raise ValueError("'topic_partitions' cannot be empty")
    for partition in only.topic_partitions:
        if partition is None:
            raise ValueError("Element of 'topic_partitions' cannot be None")
        if not isinstance(partition, TopicPartition):
            raise TypeError("Element of 'topic_partitions' must be of type TopicPartition")
        if not partition.topic:
            raise ValueError("Element of 'topic_partitions' must not have 'topic' attribute as Empty")
        if partition.partition < 0:
            raise ValueError("Element of 'topic_partitions' must not have negative 'partition' value")
    return only


def listing_request(request: Any) -> ConsumerGroupTopicPartitions:
    only = _request(request)
    if any(partition.offset != OFFSET_INVALID for partition in only.topic_partitions or ()):
        raise ValueError("Element of 'topic_partitions' must not have 'offset' value")
    return only


def altering_request(request: Any) -> ConsumerGroupTopicPartitions:
    only = _request(request)
    if only.topic_partitions is None:
        raise ValueError("'topic_partitions' cannot be null")
    if any(partition.offset < 0 for partition in only.topic_partitions):
        raise ValueError("Element of 'topic_partitions' must not have negative value for 'offset' field")
    return only


def changes(resource: ConfigResource) -> list[AlterConfig]:
    """What is to be done with the settings of one resource."""
    found = []
    for entry in resource.incremental_configs:
        if not isinstance(entry, ConfigEntry) or not isinstance(entry.incremental_operation, AlterConfigOpType):
            raise TypeError("expected ConfigEntry with an incremental_operation")
        if not isinstance(entry.name, str):
            raise TypeError(f"expected the name of a setting, found {entry.name!r}")
        operation = AlterOperation(entry.incremental_operation.value)
        value = None if operation is AlterOperation.DELETE or entry.value is None else str(entry.value)
        found.append(AlterConfig(entry.name, value, operation))
    return found


def users(users: Any) -> None:
    if users is None:
        return
    if not isinstance(users, list):
        raise TypeError("Expected input to be list of String")
    for user in users:
        if not isinstance(user, str):
            raise TypeError("Each value should be a string")
        if not user:
            raise ValueError("'user' cannot be empty")
    if len(set(users)) != len(users):
        raise local(Codes._INVALID_ARG, "Duplicate users are not allowed")


def alterations(alterations: Any) -> None:
    if not isinstance(alterations, list):
        raise TypeError("Expected input to be list")
    if not alterations:
        raise ValueError("Expected at least one alteration")
    for each in alterations:
        if not isinstance(each, UserScramCredentialAlteration):
            raise TypeError("Expected each element of list to be subclass of UserScramCredentialAlteration")
        if not isinstance(each.user, str):
            raise TypeError("'user' must be a string")
        if not each.user:
            raise ValueError("'user' cannot be empty")
        if isinstance(each, UserScramCredentialUpsertion):
            _upsertion(each)
        elif not isinstance(each, UserScramCredentialDeletion) or not isinstance(each.mechanism, ScramMechanism):
            raise TypeError("Expected an upsertion, or a deletion with its mechanism")


def _upsertion(each: UserScramCredentialUpsertion) -> None:
    if not isinstance(each.password, bytes):
        raise TypeError("'password' must be bytes")
    if not each.password:
        raise ValueError("'password' cannot be empty")
    if each.salt is not None and not isinstance(each.salt, bytes):
        raise TypeError("'salt' must be bytes")
    if each.salt is not None and not each.salt:
        raise ValueError("'salt' can be None but cannot be empty")
    if not isinstance(each.scram_credential_info, ScramCredentialInfo):
        raise TypeError("Expected credential_info to be ScramCredentialInfo Type")
    if each.scram_credential_info.iterations < 1:
        raise ValueError("Iterations should be positive")
    if not isinstance(each.scram_credential_info.mechanism, ScramMechanism):
        raise TypeError("Expected the mechanism to be ScramMechanism Type")
