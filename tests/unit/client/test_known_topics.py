"""Which topics and partitions a producer takes records for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pystream._native.accumulator import Accumulator
from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.metadata import ClusterMetadata, Node, PartitionInfo, TopicInfo
from pystream.client.config import ProducerConfig
from pystream.client.producer.topics import KnownTopics
from pystream.common.clock import ManualClock
from tests.support.sending import drained

ROWS = 400


def topic(name: str, *leaders: int) -> TopicInfo:
    partitions = [PartitionInfo(number, leader, 0, (1, 2), (1, 2), ()) for number, leader in enumerate(leaders)]
    return TopicInfo(name, name.encode().ljust(16), False, tuple(partitions))


def picture(*topics: TopicInfo) -> ClusterMetadata:
    nodes = {number: Node(number, "127.0.0.1", 1) for number in (1, 2)}
    return ClusterMetadata(nodes=nodes, topics={each.name: each for each in topics})


class Producer:
    """Accumulator, cluster and clock of a producer that is connected to nothing."""

    def __init__(self, **settings: Any) -> None:
        self.clock = ManualClock()
        config = ProducerConfig.load(bootstrap_servers="127.0.0.1:1", **settings)
        self.cluster = Cluster(config, clock=self.clock)
        self.accumulator = Accumulator(batch_bytes=0)
        self.topics = KnownTopics(config, self.cluster, self.accumulator)

    def asked_for(self) -> set[str]:
        """The topics that the next request for metadata asks for."""
        return set(self.cluster._tracked)

    def partitions_of_keyless_records(self, name: str) -> set[int]:
        deliveries = [self.accumulator.append(name, b"value") for _ in range(ROWS)]
        for batch in drained(self.accumulator):  # the fewer wait, the likelier a partition is chosen
            self.accumulator.complete(batch, 0)
        return {delivery.partition for delivery in deliveries if delivery is not None}


@pytest.fixture(autouse=True)
def loop() -> Any:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


def test_a_topic_that_nothing_is_sent_to_for_long_is_asked_for_no_more():
    producer = Producer(metadata_max_idle_ms=60_000)
    producer.cluster.track(("busy", "idle"))
    both = picture(topic("busy", 1), topic("idle", 1))
    producer.topics.changed(both)
    producer.clock.advance(ms=59_999)
    producer.topics.used("busy", producer.clock.monotonic_ms())
    producer.topics.changed(both)
    assert producer.asked_for() == {"busy", "idle"}
    producer.clock.advance(ms=1)
    producer.topics.changed(both)
    assert producer.asked_for() == {"busy"}


def test_keyless_records_go_round_partitions_without_a_leader():
    producer = Producer()
    producer.topics.changed(picture(topic("t", 1, -1, 2)))
    assert producer.partitions_of_keyless_records("t") == {0, 2}


def test_keyless_records_go_round_a_broker_that_takes_nothing():
    producer = Producer(partitioner_availability_timeout_ms=1_000)
    producer.topics.changed(picture(topic("t", 1, 2, 2)))
    producer.topics.could_send(2, False, 0)
    producer.topics.could_send(2, False, 1_000)
    assert producer.partitions_of_keyless_records("t") == {0, 1, 2}
    producer.topics.could_send(2, False, 1_001)
    assert producer.partitions_of_keyless_records("t") == {0}
    producer.topics.changed(picture(topic("t", 1, 2, 2)))  # it still is when metadata comes
    assert producer.partitions_of_keyless_records("t") == {0}
    producer.topics.could_send(2, True, 1_002)
    assert producer.partitions_of_keyless_records("t") == {0, 1, 2}


@pytest.mark.parametrize(
    "settings",
    [{}, {"partitioner_availability_timeout_ms": 5, "partitioner_adaptive_partitioning_enable": False}],
)
def test_slow_brokers_are_no_matter_unless_that_was_asked_for(settings: dict[str, Any]):
    producer = Producer(**settings)
    producer.topics.changed(picture(topic("t", 1, 2)))
    producer.topics.could_send(2, False, 0)
    producer.topics.could_send(2, False, 1_000_000)
    assert producer.partitions_of_keyless_records("t") == {0, 1}
