"""Topics: create, list, describe, delete, more partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pystream.client.admin.acls import AclOperation, operations_of
from pystream.client.admin.base import AdminBase, Asked
from pystream.client.admin.results import Results, error_of, outcome
from pystream.client.admin.routes import Route, ToController, ask_metadata
from pystream.client.given import ConfigValue, config_text, listed, mapped
from pystream.common.error_codes import NONE
from pystream.common.errors import PystreamError, UnknownTopicId
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages.create_partitions import (
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
)
from pystream.protocol.messages.create_topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from pystream.protocol.messages.delete_topics import DeleteTopicsRequest, DeleteTopicState
from pystream.protocol.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsRequestCursor,
    DescribeTopicPartitionsResponsePartition,
    TopicRequest,
)
from pystream.protocol.messages.metadata import MetadataRequestTopic, MetadataResponseTopic

BROKER_DEFAULT: Final = -1
TOPIC_IDS_SINCE: Final = 6  # versions of DeleteTopics
METADATA_BY_ID_SINCE: Final = 12


@dataclass(frozen=True, slots=True)
class NewTopic:
    """A topic to create. Without numbers the broker's defaults; `assignments` gives each partition its replicas."""

    name: str
    num_partitions: int = BROKER_DEFAULT
    replication_factor: int = BROKER_DEFAULT
    configs: Mapping[str, ConfigValue] = field(default_factory=dict)
    assignments: Mapping[int, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicCreated:
    """What was created. Numbers are -1 and configs None where the broker may not, or cannot, tell."""

    name: str
    topic_id: bytes
    num_partitions: int
    replication_factor: int
    configs: Mapping[str, str | None] | None


@dataclass(frozen=True, slots=True)
class TopicListing:
    """A topic that there is."""

    name: str
    topic_id: bytes
    is_internal: bool


@dataclass(frozen=True, slots=True)
class PartitionDescription:
    """One partition; `leader` -1 for none. The eligible leaders (KIP-966) are None where brokers do not tell them."""

    partition: int
    leader: int
    leader_epoch: int
    replicas: tuple[int, ...]
    in_sync_replicas: tuple[int, ...]
    offline_replicas: tuple[int, ...]
    eligible_leader_replicas: tuple[int, ...] | None = None
    last_known_eligible_leader_replicas: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """A topic with its partitions in order."""

    name: str
    topic_id: bytes
    is_internal: bool
    partitions: tuple[PartitionDescription, ...]
    authorized_operations: frozenset[AclOperation] | None = None


@dataclass(frozen=True, slots=True)
class NewPartitions:
    """How many partitions a topic shall have in all; `assignments` gives each new one its replicas."""

    total_count: int
    assignments: Sequence[Sequence[int]] | None = None


class TopicOperations(AdminBase):
    """Operations on topics."""

    async def create_topics(
        self, topics: Iterable[NewTopic], *, validate_only: bool = False, timeout_ms: int | None = None
    ) -> Results[str, TopicCreated]:
        """Create topics, or with `validate_only` say whether they could be created."""
        wanted = {topic.name: topic for topic in _new_topics(topics)}

        async def ask(asked: Asked, names: list[str]) -> dict[str, TopicCreated | PystreamError]:
            request = CreateTopicsRequest(
                topics=[_creatable(wanted[name]) for name in names],
                timeout_ms=asked.timeout_ms,
                validate_only=validate_only,
            )
            response = await asked.ask(request)
            found: dict[str, TopicCreated | PystreamError] = {}
            for told in response.topics:
                configs = None if told.configs is None else {config.name: config.value for config in told.configs}
                created = TopicCreated(told.name, told.topic_id, told.num_partitions, told.replication_factor, configs)
                found[told.name] = outcome(told.error_code, told.error_message, created)
            return found

        return await self._each("create_topics", wanted, self._controller(), ask, timeout_ms=timeout_ms)

    async def list_topics(
        self, *, include_internal: bool = False, timeout_ms: int | None = None
    ) -> dict[str, TopicListing]:
        """All topics that the client may see, by name."""
        response = await self.cluster.retrying(
            "list_topics", lambda _: ask_metadata(self.cluster, None), timeout_ms=timeout_ms
        )
        return {
            told.name: TopicListing(told.name, told.topic_id, told.is_internal)
            for told in sorted(response.topics, key=lambda told: told.name or "")
            if told.name is not None and (include_internal or not told.is_internal)
        }

    async def describe_topics(
        self,
        topics: Iterable[str],
        *,
        include_authorized_operations: bool = False,
        timeout_ms: int | None = None,
    ) -> Results[str, TopicDescription]:
        """Partitions, leaders and replicas of topics. Many partitions come in several answers (KIP-966)."""

        async def ask(asked: Asked, names: list[str]) -> Mapping[str, TopicDescription | PystreamError]:
            if asked.connection.supports(ApiKey.DESCRIBE_TOPIC_PARTITIONS):
                return await _described_in_pages(asked, names, include_authorized_operations)
            request = [MetadataRequestTopic(name=name) for name in names]
            response = await ask_metadata(self.cluster, request, authorized_operations=include_authorized_operations)
            return {told.name: _described(told) for told in response.topics if told.name is not None}

        return await self._each("describe_topics", topics, Route(self.cluster), ask, timeout_ms=timeout_ms)

    async def describe_topics_by_id(
        self,
        topic_ids: Iterable[bytes],
        *,
        include_authorized_operations: bool = False,
        timeout_ms: int | None = None,
    ) -> Results[bytes, TopicDescription]:
        """As `describe_topics`, of topics named by their ids."""

        async def ask(_: Asked, ids: list[bytes]) -> dict[bytes, TopicDescription | PystreamError]:
            request = [MetadataRequestTopic(name=None, topic_id=topic_id) for topic_id in ids]
            response = await ask_metadata(
                self.cluster,
                request,
                lowest=METADATA_BY_ID_SINCE,
                authorized_operations=include_authorized_operations,
            )
            return {told.topic_id: _described(told) for told in response.topics}

        return await self._each("describe_topics_by_id", topic_ids, _ById(self.cluster), ask, timeout_ms=timeout_ms)

    async def delete_topics(self, topics: Iterable[str], *, timeout_ms: int | None = None) -> Results[str, None]:
        """Delete topics and all their records."""

        async def ask(asked: Asked, names: list[str]) -> dict[str, PystreamError | None]:
            request = DeleteTopicsRequest(
                topic_names=names,
                topics=[DeleteTopicState(name=name) for name in names],
                timeout_ms=asked.timeout_ms,
            )
            response = await asked.ask(request)
            return {
                told.name: outcome(told.error_code, told.error_message, None, f"topic {told.name!r}")
                for told in response.responses
                if told.name is not None
            }

        return await self._each("delete_topics", topics, self._controller(), ask, timeout_ms=timeout_ms)

    async def delete_topics_by_id(
        self, topic_ids: Iterable[bytes], *, timeout_ms: int | None = None
    ) -> Results[bytes, None]:
        """As `delete_topics`, of topics named by their ids."""

        async def ask(asked: Asked, ids: list[bytes]) -> dict[bytes, PystreamError | None]:
            states = [DeleteTopicState(name=None, topic_id=topic_id) for topic_id in ids]
            request = DeleteTopicsRequest(topics=states, timeout_ms=asked.timeout_ms)
            response = await asked.ask(request, lowest=TOPIC_IDS_SINCE)
            return {told.topic_id: outcome(told.error_code, told.error_message, None) for told in response.responses}

        return await self._each("delete_topics_by_id", topic_ids, _ById(self.cluster), ask, timeout_ms=timeout_ms)

    async def create_partitions(
        self,
        new_partitions: Mapping[str, NewPartitions | int],
        *,
        validate_only: bool = False,
        timeout_ms: int | None = None,
    ) -> Results[str, None]:
        """Give topics more partitions: {"orders": 12} is the count in all. Keys then go elsewhere than before."""
        wanted = {name: _new_count(name, each) for name, each in mapped(new_partitions, '{"orders": 12}').items()}

        async def ask(asked: Asked, names: list[str]) -> dict[str, PystreamError | None]:
            request = CreatePartitionsRequest(
                topics=[_more_partitions(name, wanted[name]) for name in names],
                timeout_ms=asked.timeout_ms,
                validate_only=validate_only,
            )
            response = await asked.ask(request)
            return {told.name: outcome(told.error_code, told.error_message, None) for told in response.results}

        return await self._each("create_partitions", wanted, self._controller(), ask, timeout_ms=timeout_ms)


class _ById(ToController[bytes]):
    """To the controller; an id that it does not know is final."""

    def worth_retrying(self, error: PystreamError, failures: int) -> bool:
        return super().worth_retrying(error, failures) and not isinstance(error, UnknownTopicId)


def _creatable(topic: NewTopic) -> CreatableTopic:
    return CreatableTopic(
        name=topic.name,
        num_partitions=BROKER_DEFAULT if topic.assignments else topic.num_partitions,
        replication_factor=BROKER_DEFAULT if topic.assignments else topic.replication_factor,
        assignments=[
            CreatableReplicaAssignment(partition_index=partition, broker_ids=list(replicas))
            for partition, replicas in topic.assignments.items()
        ],
        configs=[CreatableTopicConfig(name=name, value=config_text(value)) for name, value in topic.configs.items()],
    )


def _new_topics(given: Iterable[NewTopic]) -> list[NewTopic]:
    """Raises TypeError, with what to write, for anything but a list of NewTopic."""
    if isinstance(given, NewTopic):
        raise TypeError(f"a list of NewTopic, not one: write [{given!r}]")
    found = listed(given)
    for each in found:
        if not isinstance(each, NewTopic):
            raise TypeError(f"a list of NewTopic, not {given!r}: write [NewTopic({each!r}, num_partitions=1)]")
    return found


def _new_count(name: str, given: NewPartitions | int) -> NewPartitions:
    new = NewPartitions(given) if isinstance(given, int) else given
    if not isinstance(new, NewPartitions) or not isinstance(new.total_count, int):
        raise TypeError(f"{name}: the count in all is an int or a NewPartitions of one, not {given!r}")
    return new


def _more_partitions(name: str, new: NewPartitions) -> CreatePartitionsTopic:
    assignments = (
        None
        if new.assignments is None
        else [CreatePartitionsAssignment(broker_ids=list(replicas)) for replicas in new.assignments]
    )
    return CreatePartitionsTopic(name=name, count=new.total_count, assignments=assignments)


def _described(told: MetadataResponseTopic) -> TopicDescription | PystreamError:
    if told.error_code != NONE:
        return error_of(told.error_code, what=f"topic {told.name!r}" if told.name else "")
    partitions = [
        PartitionDescription(
            partition.partition_index,
            partition.leader_id,
            partition.leader_epoch,
            tuple(partition.replica_nodes),
            tuple(partition.isr_nodes),
            tuple(partition.offline_replicas),
        )
        for partition in sorted(told.partitions, key=lambda partition: partition.partition_index)
    ]
    operations = operations_of(told.topic_authorized_operations)
    return TopicDescription(told.name or "", told.topic_id, told.is_internal, tuple(partitions), operations)


async def _described_in_pages(
    asked: Asked, names: list[str], authorized_operations: bool
) -> dict[str, TopicDescription | PystreamError]:
    """All pages of DescribeTopicPartitions; a topic may go on in the next one."""
    found: dict[str, TopicDescription | PystreamError] = {}
    partitions: dict[str, list[PartitionDescription]] = {}
    left = sorted(names)
    cursor: DescribeTopicPartitionsRequestCursor | None = None
    while True:
        request = DescribeTopicPartitionsRequest(topics=[TopicRequest(name=name) for name in left], cursor=cursor)
        response = await asked.ask(request)
        for told in response.topics:
            if told.error_code != NONE:
                found[told.name] = error_of(told.error_code, what=f"topic {told.name!r}")
                continue
            gathered = partitions.setdefault(told.name, [])
            gathered += map(_partition, told.partitions)
            operations = operations_of(told.topic_authorized_operations) if authorized_operations else None
            found[told.name] = TopicDescription(told.name, told.topic_id, told.is_internal, tuple(gathered), operations)
        following = response.next_cursor
        if following is None:
            return found
        cursor = DescribeTopicPartitionsRequestCursor(
            topic_name=following.topic_name, partition_index=following.partition_index
        )
        left = [name for name in left if name >= following.topic_name]


def _partition(told: DescribeTopicPartitionsResponsePartition) -> PartitionDescription:
    eligible, last_known = told.eligible_leader_replicas, told.last_known_elr
    return PartitionDescription(
        told.partition_index,
        told.leader_id,
        told.leader_epoch,
        tuple(told.replica_nodes),
        tuple(told.isr_nodes),
        tuple(told.offline_replicas),
        None if eligible is None else tuple(eligible),
        None if last_known is None else tuple(last_known),
    )
