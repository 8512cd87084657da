"""What a cluster tells of itself, gathered once for all checks. What cannot be learnt is noted, and why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pystream.client.admin.configs import ConfigResource, ConfigResourceType
from pystream.client.admin.log_dirs import LogDir
from pystream.client.admin.partitions import LATEST, IsolationLevel
from pystream.client.admin.quorum import FeatureMetadata
from pystream.client.admin.routes import ask_metadata
from pystream.client.admin.transactions import TransactionDescription
from pystream.client.cluster.metadata import Node
from pystream.client.operations.groups import GroupDetail
from pystream.common.errors import DeadlineExceeded, PystreamError, UnsupportedVersion
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient

REACH_SECONDS: Final = 3.0  # for each broker's own address
MOST_PARTITIONS: Final = 20_000  # that are asked for hanging transactions
NO_TRANSACTION: Final = -1
DescribeGroups = Callable[[list[str]], Awaitable[list[GroupDetail]]]


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on something is a finding."""

    max_lag: int = 100_000
    hanging_after_ms: int = 900_000
    clock_skew_ms: int = 1_000
    disk_percent: int = 85


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    """A partition as metadata tells it."""

    topic: str
    partition: int
    leader: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


@dataclass(frozen=True, slots=True)
class Hanging:
    """A producer whose transaction keeps a partition's readers back. `transactional_id` None: nobody knows it."""

    partition: TopicPartition
    producer_id: int
    last_timestamp: int
    transactional_id: str | None


@dataclass(slots=True)
class Facts:
    """`unseen`: what could not be looked at -> why."""

    now_ms: int = 0
    limits: Limits = field(default_factory=Limits)
    nodes: tuple[Node, ...] = ()
    bootstrap: tuple[str, ...] = ()
    controller_id: int = -1
    reached: dict[int, PystreamError | None] = field(default_factory=dict)
    features: dict[int, FeatureMetadata] = field(default_factory=dict)
    partitions: list[PartitionFacts] = field(default_factory=list)
    topic_settings: dict[str, dict[str, str]] = field(default_factory=dict)
    broker_settings: dict[int, dict[str, str]] = field(default_factory=dict)
    log_dirs: dict[int, dict[str, LogDir]] = field(default_factory=dict)
    groups: list[GroupDetail] = field(default_factory=list)
    transactions: dict[str, TransactionDescription] = field(default_factory=dict)
    hanging: list[Hanging] = field(default_factory=list)
    clock_skew_ms: int | None = None  # the controller's clock less ours
    unseen: dict[str, PystreamError] = field(default_factory=dict)

    @property
    def replication_factors(self) -> dict[str, int]:
        """Of each topic the least."""
        found: dict[str, int] = {}
        for each in self.partitions:
            found[each.topic] = min(found.get(each.topic, len(each.replicas)), len(each.replicas))
        return found


async def gather(admin: AdminClient, limits: Limits, describe_groups: DescribeGroups) -> Facts:
    """`describe_groups` tells offsets and lag of groups by id. Raises what keeps the cluster from being found."""
    facts = Facts(now_ms=_now_ms(), limits=limits, bootstrap=admin.config.bootstrap_servers)
    told = await admin.describe_cluster()
    facts.nodes, facts.controller_id = tuple(sorted(told.nodes)), told.controller_id
    await asyncio.gather(*(_reach(admin, node, facts) for node in facts.nodes))
    looks: tuple[tuple[str, Callable[[AdminClient, Facts], Awaitable[None]]], ...] = (
        ("partitions", _partitions),
        ("clock", _clock),
        ("features", _features),
        ("settings", _broker_settings),
        ("topic settings", _topic_settings),
        ("log directories", _log_dirs),
        ("groups", lambda asked, found: _groups(asked, found, describe_groups)),
        ("transactions", _transactions),
        ("producers", _hanging),
    )
    if any(error is not None for error in facts.reached.values()):
        looks = looks[:1]  # the rest would ask those brokers too, and wait
    for name, look in looks:
        try:
            await look(admin, facts)
        except PystreamError as error:
            facts.unseen[name] = error
    return facts


async def _reach(admin: AdminClient, node: Node, facts: Facts) -> None:
    """Whether the broker answers where it says that it is."""
    try:
        async with asyncio.timeout(REACH_SECONDS):
            await admin.cluster.connection_to(node.node_id)
    except PystreamError as error:
        facts.reached[node.node_id] = error
    except TimeoutError:
        facts.reached[node.node_id] = DeadlineExceeded(f"no answer within {REACH_SECONDS:g} s")
    else:
        facts.reached[node.node_id] = None


async def _partitions(admin: AdminClient, facts: Facts) -> None:
    response = await admin.cluster.retrying("metadata", lambda _: ask_metadata(admin.cluster, None))
    facts.partitions = [
        PartitionFacts(
            topic.name or "", each.partition_index, each.leader_id, tuple(each.replica_nodes), tuple(each.isr_nodes)
        )
        for topic in response.topics
        for each in topic.partitions
    ]


async def _clock(admin: AdminClient, facts: Facts) -> None:
    """The leader of the controllers counts as caught up now: its time, taken between two looks at ours."""
    before = _now_ms()
    quorum = await admin.describe_metadata_quorum()
    after = _now_ms()
    leader = next((each for each in quorum.voters if each.replica_id == quorum.leader_id), None)
    if leader is not None and leader.last_caught_up_timestamp > 0:
        theirs = leader.last_caught_up_timestamp
        facts.clock_skew_ms = theirs - before if theirs < before else max(theirs - after, 0)


async def _features(admin: AdminClient, facts: Facts) -> None:
    for node in facts.nodes:
        facts.features[node.node_id] = await admin.describe_features(broker_id=node.node_id)


async def _broker_settings(admin: AdminClient, facts: Facts) -> None:
    resources = [ConfigResource(ConfigResourceType.BROKER, str(node.node_id)) for node in facts.nodes]
    for resource, settings in (await admin.describe_configs(resources)).checked().items():
        facts.broker_settings[int(resource.name)] = _values(settings)


async def _topic_settings(admin: AdminClient, facts: Facts) -> None:
    topics = sorted({each.topic for each in facts.partitions})
    names = ("min.insync.replicas", "retention.ms", "retention.bytes", "cleanup.policy")
    described = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics], names=names
    )
    facts.topic_settings = {resource.name: _values(each) for resource, each in described.succeeded.items()}


def _values(settings: Mapping[str, Any]) -> dict[str, str]:
    return {name: entry.value for name, entry in settings.items() if entry.value is not None}


async def _log_dirs(admin: AdminClient, facts: Facts) -> None:
    facts.log_dirs = (await admin.describe_log_dirs()).checked()


async def _groups(admin: AdminClient, facts: Facts, describe: DescribeGroups) -> None:
    listed = await admin.list_groups()
    if listed:
        facts.groups = await describe([each.group_id for each in listed])


async def _transactions(admin: AdminClient, facts: Facts) -> None:
    try:
        listed = await admin.list_transactions(states=["Ongoing"], longer_than_ms=facts.limits.hanging_after_ms)
    except UnsupportedVersion:  # of a broker before 3.8
        listed = await admin.list_transactions(states=["Ongoing"])
    if listed:
        facts.transactions = (await admin.describe_transactions(each.transactional_id for each in listed)).succeeded


async def _hanging(admin: AdminClient, facts: Facts) -> None:
    """Partitions whose committed end lags behind the end, and producers there that wrote nothing for long."""
    led = [TopicPartition(each.topic, each.partition) for each in facts.partitions if each.leader >= 0]
    asked = dict.fromkeys(led[:MOST_PARTITIONS], LATEST)
    ends = (await admin.list_offsets(asked)).succeeded
    stable = (await admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED)).succeeded
    behind = [place for place in ends if place in stable and stable[place].offset < ends[place].offset]
    if not behind:
        return
    since = facts.now_ms - facts.limits.hanging_after_ms
    found = [
        Hanging(place, producer.producer_id, producer.last_timestamp, None)
        for place, producers in (await admin.describe_producers(behind)).succeeded.items()
        for producer in producers
        if producer.current_transaction_start_offset != NO_TRANSACTION and producer.last_timestamp <= since
    ]
    if not found:
        return
    known = {each.producer_id: each.transactional_id for each in await admin.list_transactions(states=["Ongoing"])}
    facts.hanging = [
        Hanging(each.partition, each.producer_id, each.last_timestamp, known.get(each.producer_id)) for each in found
    ]


def named(items: Iterable[object], most: int = 5) -> str:
    """The first of them, and how many more there are."""
    texts = [str(each) for each in items]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
