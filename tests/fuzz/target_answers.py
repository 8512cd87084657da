"""Answers that parse and make no sense, as the consumer takes them: typed errors, and nothing that was not asked for.

input: what it is of, version, then the body of
0 Fetch, into the fetcher     1 Metadata, into the picture of the cluster
2 a subscription, 3 an assignment, 4 the user data of assignors, as members of a classic group send them
"""

from __future__ import annotations

import functools
import logging
from typing import Any, Final, NamedTuple

from pystream._native.record_builder import RecordBatchBuilder
from pystream._native.wire import Reader
from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.metadata import ClusterMetadata
from pystream.client.config import ConsumerConfig
from pystream.client.consumer.fetch_session import PartitionWanted
from pystream.client.consumer.fetcher import Fetcher, Plan
from pystream.client.consumer.group.assignors import ASSIGNORS
from pystream.client.consumer.group.classic import ClassicProtocol
from pystream.client.consumer.hand_out import HandOut
from pystream.client.consumer.positions import PartitionState, Phase, Positions
from pystream.client.metrics.consumer import ConsumerMetrics
from pystream.common.errors import MalformedInput, PystreamError
from pystream.common.model import TopicPartition
from pystream.protocol.consumer_protocol import read_assignment, write_assignment, write_subscription
from pystream.protocol.messages import consumer_protocol_assignment, consumer_protocol_subscription, fetch, metadata

logging.getLogger("pystream.client").addHandler(logging.NullHandler())  # warnings of each input tell nobody anything

ELEMENT_LIMIT: Final = 10_000
TOPIC, TOPIC_ID = "topic", b"t" * 16
PLACES: Final = [TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)]
FETCH_VERSIONS: Final = range(4, 19)
METADATA_VERSIONS: Final = range(4, 14)
COUNTS: Final = {TOPIC: 4, "other": 2}


class QuietCluster(Cluster):
    """Asks nobody."""

    def refresh_soon(self) -> None:
        return


class Peer:
    """Who answered."""

    name = "broker"


class Consumer(NamedTuple):
    """What the fetchers of all inputs share: making it costs more than most inputs."""

    config: ConsumerConfig
    cluster: QuietCluster
    metrics: ConsumerMetrics


@functools.cache
def consumer(isolation_level: str) -> Consumer:
    config = ConsumerConfig.load(
        {"bootstrap.servers": "127.0.0.1:1", "isolation.level": isolation_level, "auto.offset.reset": "earliest"}
    )
    cluster = QuietCluster(config)
    metrics = ConsumerMetrics(cluster, Positions(), read_committed=isolation_level == "read_committed")
    return Consumer(config, cluster, metrics)


class Rig(Fetcher):
    """The fetcher over two assigned partitions, without tasks."""

    def __init__(self, isolation_level: str) -> None:
        shared = consumer(isolation_level)
        self.positions = Positions()
        super().__init__(
            shared.cluster,
            shared.config,
            self.positions,
            shared.metrics,
            on_data=self.wake,
            on_reset=self.wake,
            nudge=self.wake,
        )
        self.states, _ = self.positions.assign(PLACES)
        for state in self.states:
            state.seek(1)

    def wake(self) -> None:
        return

    def plan(self) -> Plan:
        return {
            (state.topic, state.partition): (state, state.version, PartitionWanted(TOPIC_ID, 1, 1 << 20, 0, -1))
            for state in self.states
        }


def seeds() -> list[bytes]:
    builder = RecordBatchBuilder(base_offset=0, partition_leader_epoch=1)
    for number in range(3):
        builder.append(b"v%d" % number, timestamp=1)
    part = fetch.PartitionData(partition_index=0, high_watermark=3, last_stable_offset=3, records=builder.build())
    moved = fetch.PartitionData(
        partition_index=1,
        preferred_read_replica=2,
        diverging_epoch=fetch.EpochEndOffset(epoch=1, end_offset=0),
        current_leader=fetch.LeaderIdAndEpoch(leader_id=2, leader_epoch=3),
        records=b"",
    )
    gone = fetch.PartitionData(partition_index=1, error_code=1, records=b"")
    inputs = []
    for parts in ([part, moved], [gone], [part, part]):
        answer = fetch.FetchResponse(
            responses=[fetch.FetchableTopicResponse(topic=TOPIC, topic_id=TOPIC_ID, partitions=parts)],
            node_endpoints=[fetch.NodeEndpoint(node_id=2, host="h", port=1)],
        )
        inputs += [bytes([0, version]) + answer.encode(FETCH_VERSIONS[version]) for version in (0, 8, 9, 13)]
    told = metadata.MetadataResponse(
        brokers=[metadata.MetadataResponseBroker(node_id=1, host="h", port=1)],
        topics=[
            metadata.MetadataResponseTopic(
                name=TOPIC,
                topic_id=TOPIC_ID,
                partitions=[metadata.MetadataResponsePartition(partition_index=i, leader_id=1) for i in range(2)],
            )
        ],
    )
    inputs += [bytes([1, version]) + told.encode(METADATA_VERSIONS[version]) for version in (0, 5, 9)]
    subscription = consumer_protocol_subscription.ConsumerProtocolSubscription(
        topics=[TOPIC],
        user_data=ASSIGNORS["sticky"].writes_user_data(PLACES, 3),
        owned_partitions=[consumer_protocol_subscription.TopicPartition(topic=TOPIC, partitions=[0, 1])],
        generation_id=3,
    )
    assignment = consumer_protocol_assignment.ConsumerProtocolAssignment(
        assigned_partitions=[consumer_protocol_assignment.TopicPartition(topic=TOPIC, partitions=[0, 1])]
    )
    inputs += [bytes([2, name]) + write_subscription(subscription, 3) for name in range(4)]
    inputs.append(bytes([3, 0]) + write_assignment(assignment, 1))
    inputs.append(bytes([4, 2]) + ASSIGNORS["sticky"].writes_user_data(PLACES, 3))
    return inputs


def check(data: bytes) -> None:
    if len(data) < 3:
        return
    kind, choice, body = data[0] % 5, data[1], data[2:]
    try:
        (check_fetch, check_metadata, check_subscription, check_assignment, check_user_data)[kind](choice, body)
    except PystreamError:
        return


def check_fetch(choice: int, body: bytes) -> None:
    version = FETCH_VERSIONS[choice % len(FETCH_VERSIONS)]
    reader = Reader(body, element_limit=ELEMENT_LIMIT)
    answer = fetch.FetchResponse.read(reader, version)
    rig = Rig("read_committed" if choice & 128 else "read_uncommitted")
    peer: Any = Peer()
    plan = rig.plan()
    rig._take(peer, answer, plan, by_id=version >= 13)
    hand = HandOut(rig.buffer, lambda: None)
    while messages := hand.messages(100):
        assert all(message.topic == TOPIC and message.partition in (0, 1) for message in messages)
        assert all(message.offset >= 1 for message in messages), "what was not asked for"
    assert rig.buffer.size_bytes == 0
    for state in rig.states:
        check_state(state)


def check_state(state: PartitionState) -> None:
    assert state.queued_bytes == 0
    assert state.failure is None or isinstance(state.failure, PystreamError)
    if state.phase is Phase.FETCHING:
        assert state.position >= 0
        assert state.fetch_offset >= 0
    else:
        assert state.phase is Phase.RESET
    lag = state.lag(True)
    assert lag is None or lag >= 0


def check_metadata(choice: int, body: bytes) -> None:
    version = METADATA_VERSIONS[choice % len(METADATA_VERSIONS)]
    reader = Reader(body, element_limit=ELEMENT_LIMIT)
    answer = metadata.MetadataResponse.read(reader, version)
    known = ClusterMetadata().merged(answer, whole=True)
    again = known.merged(answer, whole=False, kept=known.topics)
    assert again.topics.keys() == known.topics.keys()
    for name, topic in again.topics.items():
        for partition in range(topic.partition_count + 1):
            leader = again.leader_of(name, partition)
            assert leader is None or leader.node_id in again.nodes


def check_subscription(choice: int, body: bytes) -> None:
    assignor = list(ASSIGNORS.values())[choice % len(ASSIGNORS)]
    members = [ClassicProtocol._member(assignor, f"m{number}", None, body) for number in range(2)]
    assigned = assignor.assign(members, COUNTS)
    places = [place for given in assigned.values() for place in given]
    assert len(places) == len(set(places)), "given to two members"
    assert all(0 <= place.partition < COUNTS[place.topic] for place in places)


def check_assignment(_: int, body: bytes) -> None:
    for part in read_assignment(body).assigned_partitions:
        assert isinstance(part.topic, str)


def check_user_data(choice: int, body: bytes) -> None:
    assignor = list(ASSIGNORS.values())[choice % len(ASSIGNORS)]
    try:
        assignor.reads_user_data(body)
    except MalformedInput:
        return
