"""The picture of the cluster that every broker has in memory: immutable, and replaced whole by each change.

    image, delta = image.apply(batch.events, batch.revision)

Whoever holds an image can read it for as long as it likes; it never changes under it. What did not change is shared
with the image before, and partitions with equal replicas share one tuple: about 120 bytes for each partition.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeVar

from pystream.common.errors import MalformedInput, StoreDamaged
from pystream.common.model import NO_BROKER, Endpoint, uuid_bytes
from pystream.metadata import records
from pystream.metadata.store import Event

T = TypeVar("T")
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PartitionImage:
    """The state of one partition."""

    index: int
    leader: int
    leader_epoch: int
    partition_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    adding: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TopicImage:
    """A topic. Its name may come back under another id. `configs` are its own settings only."""

    name: str
    topic_id: bytes
    partitions: tuple[PartitionImage, ...]
    configs: Mapping[str, str] = field(default_factory=lambda: NOTHING)

    def partition(self, index: int) -> PartitionImage | None:
        return self.partitions[index] if 0 <= index < len(self.partitions) else None


@dataclass(frozen=True, slots=True)
class BrokerImage:
    """A running broker. `epoch` grows with each registration."""

    node_id: int
    epoch: int
    incarnation: str
    endpoints: tuple[Endpoint, ...]
    rack: str | None = None

    def endpoint(self, listener: str) -> Endpoint | None:
        """Where the broker listens under the listener's name; None when it has no such listener."""
        return next((endpoint for endpoint in self.endpoints if endpoint.listener == listener), None)


@dataclass(frozen=True, slots=True)
class Delta:
    """What differs between two images. Topics are given as they are now, or for deleted ones as they were.

    A name can be among the deleted and the created ones at once: take the deleted ones first.
    """

    created: tuple[TopicImage, ...] = ()
    deleted: tuple[TopicImage, ...] = ()
    changed_partitions: tuple[
        tuple[TopicImage, PartitionImage], ...
    ] = ()  # added ones too; not those of created topics
    reconfigured: tuple[TopicImage, ...] = ()  # not created ones
    brokers: frozenset[int] = frozenset()
    broker_configs: frozenset[str] = frozenset()  # as in DescribeConfigs: ids, or "" for all brokers
    group_configs: frozenset[str] = frozenset()
    client_metrics_configs: frozenset[str] = frozenset()
    scram_users: frozenset[str] = frozenset()
    client_quotas: frozenset[records.QuotaEntity] = frozenset()
    features: bool = False
    controller: bool = False

    def __bool__(self) -> bool:
        return self != _NO_CHANGE


_NO_CHANGE: Final = Delta()


@dataclass(frozen=True, slots=True)
class ClusterImage:
    """The cluster at one revision of the metadata store."""

    revision: int = 0
    cluster_id: str = ""
    controller_id: int = NO_BROKER
    controller_epoch: int = 0
    brokers: Mapping[int, BrokerImage] = field(default_factory=dict)
    topics: Mapping[str, TopicImage] = field(default_factory=dict)
    topics_by_id: Mapping[bytes, TopicImage] = field(default_factory=dict)
    configs_of_brokers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    configs_of_groups: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    configs_of_client_metrics: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    scram_users: Mapping[str, Mapping[int, records.ScramCredential]] = field(default_factory=dict)  # by mechanism
    client_quotas: Mapping[records.QuotaEntity, Mapping[str, float]] = field(default_factory=dict)
    features: Mapping[str, int] = field(default_factory=dict)
    features_epoch: int = 0

    def partition(self, topic: str, index: int) -> PartitionImage | None:
        """A partition by its topic's name; None when there is no such topic or partition."""
        found = self.topics.get(topic)
        return found.partition(index) if found is not None else None

    def broker_configs(self, name: str) -> Mapping[str, str]:
        """Dynamic settings of one broker by its id, or of all brokers under ""."""
        return self.configs_of_brokers.get(name, NOTHING)

    def apply(self, events: Iterable[Event], revision: int) -> tuple[ClusterImage, Delta]:
        """The image after `events`, which lead up to `revision`, and what changed. Other keys are passed over."""
        latest = {event.key: event for event in events}
        change = _Change(self)
        for place, take in change.takers():
            for key, event in latest.items():
                if key == place or (place.endswith("/") and key.startswith(place)):
                    take(key[len(place) :], event)
        image = change.finished(revision)
        return image, difference(self, image, change.touched_topics)


def difference(old: ClusterImage, new: ClusterImage, topic_ids: Iterable[bytes] | None = None) -> Delta:
    """What differs; looks only at `topic_ids` where the caller knows which topics may."""
    ids = dict.fromkeys([*old.topics_by_id, *new.topics_by_id] if topic_ids is None else topic_ids)
    pairs = [(old.topics_by_id.get(topic_id), new.topics_by_id.get(topic_id)) for topic_id in ids]
    kept = [(before, after) for before, after in pairs if before and after and before is not after]
    return Delta(
        created=tuple(after for before, after in pairs if after and not before),
        deleted=tuple(before for before, after in pairs if before and not after),
        changed_partitions=tuple(
            (after, partition)
            for before, after in kept
            if before.partitions is not after.partitions
            for partition in after.partitions
            if (was := before.partition(partition.index)) is not partition and was != partition
        ),
        reconfigured=tuple(after for before, after in kept if before.configs != after.configs),
        brokers=_differing(old.brokers, new.brokers),
        broker_configs=_differing(old.configs_of_brokers, new.configs_of_brokers),
        group_configs=_differing(old.configs_of_groups, new.configs_of_groups),
        client_metrics_configs=_differing(old.configs_of_client_metrics, new.configs_of_client_metrics),
        scram_users=_differing(old.scram_users, new.scram_users),
        client_quotas=_differing(old.client_quotas, new.client_quotas),
        features=(old.features, old.features_epoch) != (new.features, new.features_epoch),
        controller=(old.controller_id, old.controller_epoch) != (new.controller_id, new.controller_epoch),
    )


def _differing(old: Mapping[T, object], new: Mapping[T, object]) -> frozenset[T]:
    return frozenset() if old is new else frozenset(k for k in {*old, *new} if old.get(k) != new.get(k))


class _Change:
    """An image on its way from one revision to a later one. Mappings are copied when first written."""

    def __init__(self, base: ClusterImage) -> None:
        self._base = base
        self._fields: dict[str, object] = {}
        self._topics_by_id: dict[bytes, TopicImage] | None = None
        self._topics: dict[str, TopicImage] | None = None
        self._partitions: dict[bytes, list[PartitionImage]] = {}
        self.touched_topics: set[bytes] = set()

    def takers(self) -> list[tuple[str, Callable[[str, Event], None]]]:
        """Who takes which keys, in the order in which they must be taken: a topic before what belongs to it."""
        return [
            (records.CLUSTER_ID_KEY, self._take_cluster_id),
            (records.FEATURES_KEY, self._take_features),
            (records.CONTROLLER_KEY, self._take_controller),
            (records.BROKERS, self._take_broker),
            (records.TOPICS, self._take_topic),
            (records.PARTITIONS, self._take_partition),
            (records.TOPIC_CONFIGS, self._take_topic_config),
            (records.BROKER_CONFIGS, self._take_broker_config),
            (records.GROUP_CONFIGS, self._take_group_config),
            (records.CLIENT_METRICS_CONFIGS, self._take_client_metrics_config),
            (records.SCRAM_USERS, self._take_scram_user),
            (records.CLIENT_QUOTAS, self._take_client_quota),
        ]

    def finished(self, revision: int) -> ClusterImage:
        for topic_id, partitions in self._partitions.items():
            if topic := self._topic(topic_id):
                self._put_topic(dataclasses.replace(topic, partitions=tuple(partitions)))
        if self._topics is not None and self._topics_by_id is not None:
            self._fields["topics"], self._fields["topics_by_id"] = self._topics, self._topics_by_id
        return dataclasses.replace(self._base, revision=revision, **self._fields)  # type: ignore[arg-type]

    def _take_cluster_id(self, rest: str, event: Event) -> None:
        self._fields["cluster_id"] = event.item.value.decode() if event.item else ""

    def _take_features(self, rest: str, event: Event) -> None:
        levels = records.decode_mapping(event.key, event.item.value, "levels") if event.item else {}
        self._fields["features"] = levels
        self._fields["features_epoch"] = event.item.mod_revision if event.item else 0

    def _take_controller(self, rest: str, event: Event) -> None:
        item = event.item
        self._fields["controller_id"] = records.decode_controller(event.key, item.value) if item else NO_BROKER
        self._fields["controller_epoch"] = item.create_revision if item else 0

    def _take_broker(self, rest: str, event: Event) -> None:
        brokers = self._fields.setdefault("brokers", dict(self._base.brokers))
        assert isinstance(brokers, dict)
        if event.item is None:
            brokers.pop(int(rest), None)
        else:
            record = records.decode_broker(event.key, event.item.value)
            epoch = event.item.create_revision
            brokers[int(rest)] = BrokerImage(int(rest), epoch, record.incarnation, record.endpoints, record.rack)

    def _take_broker_config(self, rest: str, event: Event) -> None:
        self._take_config("configs_of_brokers", "" if rest == records.ALL_BROKERS else rest, event)

    def _take_group_config(self, rest: str, event: Event) -> None:
        self._take_config("configs_of_groups", rest, event)

    def _take_client_metrics_config(self, rest: str, event: Event) -> None:
        self._take_config("configs_of_client_metrics", rest, event)

    def _take_config(self, field_name: str, name: str, event: Event) -> None:
        configs = self._fields.setdefault(field_name, dict(getattr(self._base, field_name)))
        assert isinstance(configs, dict)
        configs.pop(name, None)
        if event.item is not None:
            configs[name] = records.decode_mapping(event.key, event.item.value, "values")

    def _take_scram_user(self, rest: str, event: Event) -> None:
        users = self._fields.setdefault("scram_users", dict(self._base.scram_users))
        assert isinstance(users, dict)
        users.pop(rest, None)
        if event.item is not None:
            users[rest] = records.decode_scram(event.key, event.item.value)

    def _take_client_quota(self, rest: str, event: Event) -> None:
        quotas = self._fields.setdefault("client_quotas", dict(self._base.client_quotas))
        assert isinstance(quotas, dict)
        entity = records.quota_entity(rest)
        quotas.pop(entity, None)
        if event.item is not None:
            quotas[entity] = records.decode_mapping(event.key, event.item.value, "values")

    def _take_topic(self, rest: str, event: Event) -> None:
        topic_id = _topic_id(event.key, rest)
        before = self._topic(topic_id)
        if event.item is None:
            if before is not None:
                self._drop_topic(before)
            return
        record = records.decode_topic(event.key, event.item.value)
        known = before.partitions if before is not None else ()
        shared = records.assignment_of(record.replicas)
        added = [
            _partition(index, records.initial_partition(shared[index])) for index in range(len(known), len(shared))
        ]
        configs = before.configs if before is not None else NOTHING
        self._put_topic(TopicImage(record.name, topic_id, (*known, *added), configs))

    def _take_partition(self, rest: str, event: Event) -> None:
        text, _, number = rest.partition("/")
        topic_id = _topic_id(event.key, text)
        topic = self._topic(topic_id)
        if topic is None or event.item is None or not number.isdecimal() or int(number) >= len(topic.partitions):
            return
        partitions = self._partitions.setdefault(topic_id, list(topic.partitions))
        partitions[int(number)] = _partition(int(number), records.decode_partition(event.key, event.item.value))

    def _take_topic_config(self, rest: str, event: Event) -> None:
        topic = self._topic(_topic_id(event.key, rest))
        if topic is not None:
            values = records.decode_mapping(event.key, event.item.value, "values") if event.item else NOTHING
            self._put_topic(dataclasses.replace(topic, configs=values))

    def _topic(self, topic_id: bytes) -> TopicImage | None:
        topics = self._base.topics_by_id if self._topics_by_id is None else self._topics_by_id
        return topics.get(topic_id)

    def _put_topic(self, topic: TopicImage) -> None:
        names, ids = self._writable()
        names[topic.name] = ids[topic.topic_id] = topic
        self.touched_topics.add(topic.topic_id)

    def _drop_topic(self, topic: TopicImage) -> None:
        names, ids = self._writable()
        del ids[topic.topic_id]
        if names.get(topic.name) is topic:  # unless the name belongs to a newer topic already
            del names[topic.name]
        self.touched_topics.add(topic.topic_id)

    def _writable(self) -> tuple[dict[str, TopicImage], dict[bytes, TopicImage]]:
        if self._topics is None or self._topics_by_id is None:
            self._topics, self._topics_by_id = dict(self._base.topics), dict(self._base.topics_by_id)
        return self._topics, self._topics_by_id


def _partition(index: int, record: records.PartitionRecord) -> PartitionImage:
    return PartitionImage(index, *record)


def _topic_id(key: str, text: str) -> bytes:
    try:
        return uuid_bytes(text)
    except MalformedInput as error:
        raise StoreDamaged(f"{key}: {error}") from error


def describe(image: ClusterImage) -> dict[str, int]:
    """Counts for logs and metrics."""
    return {
        "brokers": len(image.brokers),
        "topics": len(image.topics),
        "partitions": sum(len(topic.partitions) for topic in image.topics.values()),
    }
