"""Coordinators in a real broker: their topics, what they keep over kill -9, what they say when the broker stops."""

from __future__ import annotations

import select
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from pystream.common.error_codes import (
    COORDINATOR_LOAD_IN_PROGRESS,
    COORDINATOR_NOT_AVAILABLE,
    INVALID_TOPIC_EXCEPTION,
    NONE,
    NOT_COORDINATOR,
)
from pystream.protocol.message import Message
from pystream.protocol.messages.create_topics import CreatableTopic, CreateTopicsRequest
from pystream.protocol.messages.describe_groups import DescribeGroupsRequest
from pystream.protocol.messages.find_coordinator import FindCoordinatorRequest
from pystream.protocol.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from pystream.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic
from pystream.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from pystream.protocol.messages.offset_fetch import OffsetFetchRequest, OffsetFetchRequestTopic
from pystream.protocol.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawClient
from tests.unit.data_plane.conftest import batch

PATIENCE_S = 60.0
LOOK_AGAIN_S = 0.01
RETRIABLE = {COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR}
OFFSET = 42


def answered(client: RawClient, request: Message, version: int, code: Callable[[Any], int]) -> Any:
    """The response, asked for again while the coordinator is not ready."""
    deadline = time.monotonic() + PATIENCE_S
    while code(response := client.call(request, version)) in RETRIABLE:
        assert time.monotonic() < deadline, "the coordinator does not get ready"
        select.select([], [], [], LOOK_AGAIN_S)
    return response


def commit(client: RawClient, group: str, offset: int) -> None:
    partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=offset, committed_metadata="m")
    request = OffsetCommitRequest(group_id=group, topics=[OffsetCommitRequestTopic(name="t", partitions=[partition])])
    response = answered(client, request, 7, lambda found: found.topics[0].partitions[0].error_code)
    assert response.topics[0].partitions[0].error_code == NONE


def committed(client: RawClient, group: str) -> int:
    request = OffsetFetchRequest(group_id=group, topics=[OffsetFetchRequestTopic(name="t", partition_indexes=[0])])
    response = answered(client, request, 5, lambda found: found.error_code)
    assert response.error_code == NONE
    return int(response.topics[0].partitions[0].committed_offset)


def until_rebalancing(client: RawClient, group: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while client.call(DescribeGroupsRequest(groups=[group]), 4).groups[0].group_state != "PreparingRebalance":
        assert time.monotonic() < deadline, "nobody has joined"
        select.select([], [], [], LOOK_AGAIN_S)


def with_topic(client: RawClient) -> None:
    topic = CreatableTopic(name="t", num_partitions=1, replication_factor=1)
    assert client.call(CreateTopicsRequest(topics=[topic], timeout_ms=30_000), 5).topics[0].error_code == NONE
    assert client.call(FindCoordinatorRequest(coordinator_keys=["g"]), 4).coordinators[0].error_code == NONE


def test_what_was_committed_outlives_kill_9(make_broker: Callable[..., BrokerProcess]):
    broker = make_broker().start()
    groups = [f"group-{number}" for number in range(20)]
    with RawClient(broker.port) as client:
        with_topic(client)
        for number, group in enumerate(groups):
            commit(client, group, OFFSET - 1)
            commit(client, group, OFFSET + number)
    broker.kill()
    broker.start()
    with RawClient(broker.port) as client:
        assert [committed(client, group) for group in groups] == [OFFSET + number for number in range(len(groups))]
        metrics = urllib.request.urlopen(f"{broker.metrics_url}/metrics").read().decode()
    loaded = [
        line for line in metrics.splitlines() if line.startswith("kafka_coordinator_partition_load_records_total")
    ]
    assert [line.rpartition(" ")[2] for line in loaded if "__consumer_offsets" in line] == ["40"]


def test_what_was_committed_outlives_a_clean_stop(make_broker: Callable[..., BrokerProcess]):
    broker = make_broker().start()
    with RawClient(broker.port) as client:
        with_topic(client)
        commit(client, "g", OFFSET)
    assert broker.terminate() == 0
    broker.start()
    with RawClient(broker.port) as client:
        assert committed(client, "g") == OFFSET


def test_who_waits_in_a_coordinator_is_told_when_the_broker_stops(make_broker: Callable[..., BrokerProcess]):
    broker = make_broker({"group.initial.rebalance.delay.ms": "600000"}).start()
    with RawClient(broker.port) as client:
        with_topic(client)
        commit(client, "g", OFFSET)  # the coordinator is ready then
        join = JoinGroupRequest(
            group_id="g",
            session_timeout_ms=60_000,
            rebalance_timeout_ms=600_000,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name="range", metadata=b"")],
        )
        client.send(join, 3)
        with RawClient(broker.port) as other:
            until_rebalancing(other, "g")
        assert broker.terminate() == 0
        assert client.receive().error_code == NOT_COORDINATOR


def test_the_topic_of_offsets_is_internal_and_not_written_by_clients(broker: BrokerProcess):
    with RawClient(broker.port) as client:
        assert client.call(FindCoordinatorRequest(coordinator_keys=["g"]), 4).coordinators[0].error_code == NONE
        asked = MetadataRequest(topics=[MetadataRequestTopic(name="__consumer_offsets")])
        (topic,) = client.call(asked, 9).topics
        part = PartitionProduceData(index=0, records=batch(b"v"))
        produced = client.call(
            ProduceRequest(
                acks=1,
                timeout_ms=30_000,
                topic_data=[TopicProduceData(name="__consumer_offsets", partition_data=[part])],
            ),
            9,
        )
    assert (topic.is_internal, len(topic.partitions)) == (True, 50)
    assert produced.responses[0].partition_responses[0].error_code == INVALID_TOPIC_EXCEPTION
