"""Topics: created, grown, deleted. Each item of a request succeeds or fails by itself.

A topic is created by one transaction: its name is compared Absent, so two controllers cannot both create it. Requests
run one after another: each sees the image that the one before has left.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pystream.common.config import ConfigDefinition
from pystream.common.errors import (
    InvalidConfig,
    InvalidPartitions,
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    InvalidRequest,
    InvalidTopic,
    KafkaError,
    PolicyViolation,
    StoreError,
    TopicAlreadyExists,
    TopicAuthorizationFailed,
    TopicDeletionDisabled,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from pystream.common.logging import get_logger
from pystream.common.model import (
    CLUSTER_METADATA_TOPIC,
    ZERO_UUID,
    collision_key,
    is_internal,
    random_uuid,
    uuid_text,
    validate_topic_name,
)
from pystream.controller.commit import CHUNK, Committer
from pystream.controller.config import ControllerConfig
from pystream.controller.placement import check_assignment, place
from pystream.controller.requests import UNSET, FoundTopic, MorePartitions, NewTopic, TopicOutcome
from pystream.metadata import records
from pystream.metadata.image import ClusterImage, TopicImage
from pystream.metadata.publisher import ImagePublisher
from pystream.metadata.store import Absent, Delete, Exists, MetadataStore, ModRevision, Operation, Put, Value

logger = get_logger(__name__)
TopicCheck = Callable[[Mapping[str, str], ClusterImage], None]
Charge = Callable[[int], None]
NAMED_TWICE = "The provided topic name maps to an ID that was already supplied."


class _Plan(NamedTuple):
    """A topic that has passed every check."""

    name: str
    topic_id: bytes
    replicas: tuple[tuple[int, ...], ...]
    configs: dict[str, str]

    def outcome(self, *, topic_id: bytes) -> TopicOutcome:
        return TopicOutcome(
            self.name,
            topic_id=topic_id,
            partitions=len(self.replicas),
            replication_factor=len(self.replicas[0]),
            configs=self.configs,
        )


class TopicController:
    """Creates, grows and deletes topics. Used from one event loop, while the publisher's `run` follows the store."""

    def __init__(
        self,
        store: MetadataStore,
        publisher: ImagePublisher,
        committer: Committer,
        topic_definition: ConfigDefinition[Any],
        config: ControllerConfig,
        random_source: random.Random | None = None,
        check_topic: TopicCheck = lambda configs, image: None,
    ) -> None:
        """`check_topic(configs, image)` raises InvalidConfig for settings that contradict one another or a broker's."""
        self._store = store
        self._publisher = publisher
        self._committer = committer
        self._topic_definition = topic_definition
        self._config = config
        self._random = random_source or random.Random()
        self._check_topic = check_topic
        self._turn = asyncio.Lock()

    async def create_topics(
        self,
        topics: Sequence[NewTopic],
        *,
        validate_only: bool = False,
        internal: bool = False,
        charge: Charge = lambda partitions: None,
    ) -> list[TopicOutcome]:
        """One outcome for each name, in the order of first mention. `internal` allows names of the cluster's own.

        `charge(partitions)` is called for what passed every check; it raises ThrottlingQuotaExceeded to refuse it.
        """
        async with self._turn:
            planned: dict[str, _Plan | TopicOutcome] = {}
            mentions = Counter(topic.name for topic in topics)
            taken = {collision_key(name): name for name in self._publisher.image.topics}
            for topic in topics:
                if topic.name not in planned:
                    plan = self._planned(topic, mentions[topic.name], planned.values(), taken, internal, charge)
                    planned[topic.name] = plan
                    if isinstance(plan, _Plan):
                        taken[collision_key(topic.name)] = topic.name
            if validate_only:
                return [
                    plan.outcome(topic_id=ZERO_UUID) if isinstance(plan, _Plan) else plan for plan in planned.values()
                ]
            return await self._all(
                [self._create(plan) if isinstance(plan, _Plan) else _known(plan) for plan in planned.values()]
            )

    async def adopt_topics(self, found: Sequence[FoundTopic], *, node_id: int) -> list[TopicOutcome]:
        """Enter topics that were found on the disk of a broker when its cluster was founded: all replicas are its own.

        Their settings are not in the logs: they begin with the defaults.
        """
        async with self._turn:
            plans = [
                _Plan(
                    topic.name,
                    random_uuid() if topic.topic_id == ZERO_UUID else topic.topic_id,
                    records.assignment_of([(node_id,)] * topic.partitions),
                    {},
                )
                for topic in found
            ]
            return await self._all([self._create(plan) for plan in plans])

    async def create_partitions(
        self,
        topics: Sequence[MorePartitions],
        *,
        validate_only: bool = False,
        charge: Charge = lambda partitions: None,
    ) -> list[TopicOutcome]:
        """One outcome for each name, in the order of first mention. `charge`: as for new topics, of what is added."""
        async with self._turn:
            mentions = Counter(topic.name for topic in topics)
            distinct = {topic.name: topic for topic in topics}
            return await self._all(
                [self._grown(distinct[name], mentions[name], validate_only, charge) for name in mentions]
            )

    async def delete_topics(
        self,
        *,
        names: Sequence[str] = (),
        topic_ids: Sequence[bytes] = (),
        charge: Charge = lambda partitions: None,
    ) -> list[TopicOutcome]:
        """One outcome for each distinct name, then for each distinct id. What is named both ways is not deleted.

        `charge`: as for new topics.
        """
        async with self._turn:
            image = self._publisher.image
            wanted = set(topic_ids)
            by_name = [self._deleted_by_name(name, count, wanted, charge) for name, count in Counter(names).items()]
            named = {topic.topic_id for name in names if (topic := image.topics.get(name))}
            by_id = [
                self._deleted_by_id(topic_id, count, named, charge) for topic_id, count in Counter(topic_ids).items()
            ]
            return await self._all([*by_name, *by_id])

    async def collect_garbage(self) -> int:
        """Delete keys of topics that are gone, left over when a deletion was interrupted. Returns how many."""
        async with self._turn:
            collected = 0
            for prefix in (records.PARTITIONS, records.TOPIC_CONFIGS):
                page = await self._store.range(prefix)
                while page.items:
                    gone = [item.key for item in page.items if not await self._belongs(item.key[len(prefix) :])]
                    collected += len(gone)
                    await self._delete_keys(gone)
                    if page.next is None:
                        break
                    page = await self._store.range(prefix, start=page.next)
            return collected

    async def _all(self, work: Sequence[Awaitable[tuple[TopicOutcome, int]]]) -> list[TopicOutcome]:
        """Run items side by side, so that they share commits, and wait until the image shows all of it."""
        done = await asyncio.gather(*work)
        await self._publisher.wait_for(max((revision for _, revision in done), default=0))
        return [outcome for outcome, _ in done]

    # --- creation -----------------------------------------------------------------------------------------------------

    def _planned(
        self,
        topic: NewTopic,
        mentions: int,
        planned: Iterable[_Plan | TopicOutcome],
        taken: Mapping[str, str],
        internal: bool,
        charge: Charge,
    ) -> _Plan | TopicOutcome:
        image = self._publisher.image
        try:
            if mentions > 1:
                raise InvalidRequest("Duplicate topic name.")
            self._check_name(topic.name, image, taken, internal)
            configs = self._checked_configs(topic.configs, image)
            begun = sum(len(plan.replicas) for plan in planned if isinstance(plan, _Plan))
            replicas = self._placed(topic, image, begun)
            charge(len(replicas))
            return _Plan(topic.name, random_uuid(), replicas, configs)
        except KafkaError as error:
            return TopicOutcome(topic.name, error)

    def _check_name(self, name: str, image: ClusterImage, taken: Mapping[str, str], internal: bool) -> None:
        if name == CLUSTER_METADATA_TOPIC:
            raise TopicAuthorizationFailed()
        validate_topic_name(name)
        if name in image.topics:
            raise TopicAlreadyExists(f"Topic '{name}' already exists.")
        if is_internal(name) and not internal:
            raise InvalidTopic(f"Topic name is reserved for the cluster itself: '{name}'")
        if other := taken.get(collision_key(name)):
            raise InvalidTopic(f"Topic '{name}' collides with existing topic: {other}")

    def _checked_configs(self, configs: Sequence[tuple[str, str | None]], image: ClusterImage) -> dict[str, str]:
        nulls = [name for name, value in configs if value is None]
        if nulls:
            raise InvalidConfig(f"Null value not supported for topic configs: {','.join(nulls)}")
        values = {name: value for name, value in configs if value is not None}
        self._topic_definition.validate(values)
        self._check_topic(values, image)
        return values

    def _placed(self, topic: NewTopic, image: ClusterImage, begun: int) -> tuple[tuple[int, ...], ...]:
        if topic.assignments:
            replicas: Sequence[Sequence[int]] = _manual(topic, image)
            self._check_room(image, begun + len(replicas))
            return records.assignment_of(replicas)
        if topic.replication_factor < UNSET or topic.replication_factor == 0:
            raise InvalidReplicationFactor("Replication factor must be larger than 0, or -1 to use the default value.")
        if topic.partitions < UNSET or topic.partitions == 0:
            raise InvalidPartitions("Number of partitions was set to an invalid non-positive value.")
        count = self._config.num_partitions if topic.partitions == UNSET else topic.partitions
        factor = topic.replication_factor
        self._check_room(image, begun + count)
        return records.assignment_of(
            place(
                image.brokers,
                partitions=count,
                replication_factor=self._config.default_replication_factor if factor == UNSET else factor,
                random_source=self._random,
            )
        )

    def _check_room(self, image: ClusterImage, added: int) -> None:
        if added > self._config.maximum_partitions_per_request:
            raise PolicyViolation(
                f"Excessively large number of partitions per request: {added}, "
                f"at most {self._config.maximum_partitions_per_request}."
            )
        existing = sum(len(topic.partitions) for topic in image.topics.values())
        if existing + added > self._config.maximum_partitions:
            raise PolicyViolation(
                f"The cluster has {existing} partitions; {added} more would exceed max.partitions="
                f"{self._config.maximum_partitions}."
            )

    async def _create(self, plan: _Plan) -> tuple[TopicOutcome, int]:
        name_key, id_text = records.topic_name_key(plan.name), uuid_text(plan.topic_id).encode()
        writes: list[Operation] = [
            Put(name_key, id_text),
            Put(records.topic_key(plan.topic_id), records.encode_topic(records.TopicRecord(plan.name, plan.replicas))),
        ]
        if plan.configs:
            writes.append(Put(records.topic_config_key(plan.topic_id), records.encode_mapping("values", plan.configs)))
        try:
            revision = await self._committer.commit([Absent(name_key)], writes, proof=Value(name_key, id_text))
            if revision is None:
                raise TopicAlreadyExists(f"Topic '{plan.name}' already exists.")
        except KafkaError as error:
            return TopicOutcome(plan.name, error), 0
        logger.info(
            "topic created",
            topic=plan.name,
            topic_id=uuid_text(plan.topic_id),
            partitions=len(plan.replicas),
            replication_factor=len(plan.replicas[0]),
        )
        return plan.outcome(topic_id=plan.topic_id), revision

    # --- growth -------------------------------------------------------------------------------------------------------

    async def _grown(
        self, topic: MorePartitions, mentions: int, validate_only: bool, charge: Charge
    ) -> tuple[TopicOutcome, int]:
        try:
            if mentions > 1:
                raise InvalidRequest("Duplicate topic name.")
            found = self._publisher.image.topics.get(topic.name)
            if found is None:
                raise UnknownTopicOrPartition()
            replicas = self._added(topic, found)
            charge(len(replicas) - len(found.partitions))
            revision = 0 if validate_only else await self._grow(found, replicas)
        except KafkaError as error:
            return TopicOutcome(topic.name, error), 0
        return TopicOutcome(topic.name, topic_id=found.topic_id, partitions=len(replicas)), revision

    def _added(self, topic: MorePartitions, found: TopicImage) -> tuple[tuple[int, ...], ...]:
        """Replicas of all partitions: those that are, and those to be added."""
        image, has = self._publisher.image, len(found.partitions)
        if topic.count == has:
            raise InvalidPartitions(f"Topic already has {has} partition(s).")
        if topic.count < has:
            raise InvalidPartitions(
                f"The topic {topic.name} currently has {has} partition(s); {topic.count} would not be an increase."
            )
        added = topic.count - has
        self._check_room(image, added)
        factor = len(found.partitions[0].replicas)
        if topic.assignments is None:
            more: Sequence[Sequence[int]] = place(
                image.brokers, partitions=added, replication_factor=factor, random_source=self._random
            )
        else:
            more = topic.assignments
            if len(more) != added:
                raise InvalidReplicaAssignment(
                    f"Attempted to add {added} additional partition(s), but only {len(more)} assignment(s) "
                    "were specified."
                )
            check_assignment(image.brokers, [found.partitions[0].replicas, *more])
        return records.assignment_of([*(partition.replicas for partition in found.partitions), *more])

    async def _grow(self, found: TopicImage, replicas: tuple[tuple[int, ...], ...]) -> int:
        topic_key = records.topic_key(found.topic_id)
        item = await self._committer.get(topic_key)
        if item is None:
            raise UnknownTopicOrPartition()
        record = records.TopicRecord(found.name, _grown_record(topic_key, item.value, replicas))
        value = records.encode_topic(record)
        revision = await self._committer.commit(
            [ModRevision(topic_key, item.mod_revision)], [Put(topic_key, value)], proof=Value(topic_key, value)
        )
        if revision is None:
            raise UnknownTopicOrPartition()
        logger.info("partitions added", topic=found.name, partitions=len(replicas), before=len(found.partitions))
        return revision

    # --- deletion -----------------------------------------------------------------------------------------------------

    async def _deleted_by_name(
        self, name: str, mentions: int, wanted: set[bytes], charge: Charge
    ) -> tuple[TopicOutcome, int]:
        topic = self._publisher.image.topics.get(name)
        known_id = topic.topic_id if topic is not None else ZERO_UUID
        complaint = mentions > 1 and "Duplicate topic name."
        if known_id in wanted:
            complaint = NAMED_TWICE
        outcome = TopicOutcome(name, topic_id=known_id)
        return await self._deleted(outcome, topic, UnknownTopicOrPartition, complaint, charge)

    async def _deleted_by_id(
        self, topic_id: bytes, mentions: int, named: set[bytes], charge: Charge
    ) -> tuple[TopicOutcome, int]:
        topic = self._publisher.image.topics_by_id.get(topic_id)
        complaint = mentions > 1 and "Duplicate topic id."
        if topic_id in named:
            complaint = NAMED_TWICE
        outcome = TopicOutcome(topic.name if topic is not None else None, topic_id=topic_id)
        return await self._deleted(outcome, topic, UnknownTopicId, complaint, charge)

    async def _deleted(
        self,
        outcome: TopicOutcome,
        topic: TopicImage | None,
        unknown: Callable[[], KafkaError],
        complaint: str | bool,
        charge: Charge,
    ) -> tuple[TopicOutcome, int]:
        try:
            if not self._config.delete_topic_enable:
                raise TopicDeletionDisabled()
            if isinstance(complaint, str):
                raise InvalidRequest(complaint)
            if topic is None:
                raise unknown()
            charge(len(topic.partitions))
            revision = await self._delete(topic)
            if revision is None:
                raise unknown()
        except KafkaError as error:
            return TopicOutcome(outcome.name, error, topic_id=outcome.topic_id), 0
        logger.info("topic deleted", topic=topic.name, topic_id=uuid_text(topic.topic_id))
        return outcome, revision

    async def _delete(self, topic: TopicImage) -> int | None:
        """The topic is gone with the first transaction; states of its partitions, if any were kept, with later ones."""
        topic_key = records.topic_key(topic.topic_id)
        revision = await self._committer.commit(
            [Exists(topic_key)],
            [
                Delete(records.topic_name_key(topic.name)),
                Delete(topic_key),
                Delete(records.topic_config_key(topic.topic_id)),
            ],
            proof=Absent(topic_key),
        )
        try:
            await self._delete_partitions(topic.topic_id)
        except (KafkaError, StoreError) as error:  # the topic is gone; its garbage can wait
            logger.warning("states of a deleted topic's partitions remain", topic=topic.name, error=error)
        return revision

    async def _delete_partitions(self, topic_id: bytes) -> None:
        prefix = f"{records.PARTITIONS}{uuid_text(topic_id)}/"
        while keys := [item.key for item in (await self._store.range(prefix, limit=CHUNK)).items]:
            await self._delete_keys(keys)

    async def _delete_keys(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            await self._committer.commit([], [Delete(key) for key in chunk], proof=Absent(chunk[0]))

    async def _belongs(self, rest: str) -> bool:
        """Whether the topic that a key names still exists, by the store itself."""
        return await self._store.get(f"{records.TOPICS}{rest.partition('/')[0]}") is not None


async def _known(outcome: TopicOutcome) -> tuple[TopicOutcome, int]:
    return outcome, 0


def _manual(topic: NewTopic, image: ClusterImage) -> list[Sequence[int]]:
    """The replicas that the request assigns, in the order of the partitions."""
    if topic.replication_factor != UNSET:
        raise InvalidRequest("A manual partition assignment was specified, but replication factor was not set to -1.")
    if topic.partitions != UNSET:
        raise InvalidRequest("A manual partition assignment was specified, but numPartitions was not set to -1.")
    assigned: dict[int, Sequence[int]] = {}
    for partition, replicas in topic.assignments:
        if partition in assigned:
            raise InvalidReplicaAssignment(f"Found multiple manual partition assignments for partition {partition}")
        assigned[partition] = replicas
    check_assignment(image.brokers, assigned.values())
    if set(assigned) != set(range(len(assigned))):
        raise InvalidReplicaAssignment("partitions should be a consecutive 0-based integer sequence")
    return [assigned[partition] for partition in range(len(assigned))]


def _grown_record(topic_key: str, value: bytes, replicas: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    """What was written for the first partitions stays as it was written; the added ones follow."""
    first = records.decode_topic(topic_key, value).replicas
    return (*first, *replicas[len(first) :])
