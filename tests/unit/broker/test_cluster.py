"""The cluster described, coordinators looked for, producer ids handed out."""

from __future__ import annotations

import asyncio

import pytest

from pystream.common.error_codes import (
    COORDINATOR_NOT_AVAILABLE,
    INVALID_REQUEST,
    MISMATCHED_ENDPOINT_TYPE,
    NONE,
    UNSUPPORTED_ENDPOINT_TYPE,
)
from pystream.protocol.messages.api_versions import ApiVersionsRequest
from pystream.protocol.messages.describe_cluster import DescribeClusterRequest
from pystream.protocol.messages.find_coordinator import FindCoordinatorRequest
from pystream.protocol.messages.init_producer_id import InitProducerIdRequest
from pystream.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic
from tests.support.cold_rig import NODE_ID, ColdRig, run_cold

NO_OPERATIONS = -(2**31)


@pytest.mark.parametrize("version", range(3))
def test_the_cluster_is_described(version: int):
    async def scenario(rig: ColdRig):
        return await rig.call(DescribeClusterRequest(), version)

    response = run_cold(scenario)

    assert (response.error_code, response.controller_id) == (NONE, NODE_ID)
    assert [(broker.broker_id, broker.port) for broker in response.brokers] == [(NODE_ID, 9092)]
    assert len(response.cluster_id) == 22
    assert response.cluster_authorized_operations == NO_OPERATIONS


@pytest.mark.parametrize(("kind", "code"), [(2, MISMATCHED_ENDPOINT_TYPE), (9, UNSUPPORTED_ENDPOINT_TYPE)])
def test_other_endpoints_than_brokers_are_refused(kind: int, code: int):
    async def scenario(rig: ColdRig):
        return await rig.call(DescribeClusterRequest(endpoint_type=kind), 1)

    assert run_cold(scenario).error_code == code


@pytest.mark.parametrize("name", ["", "-x", "a b", "ä", "x" * 10 + "-"])
def test_a_client_software_name_that_cannot_be_is_refused(name: str):
    async def scenario(rig: ColdRig):
        return await rig.call(ApiVersionsRequest(client_software_name=name, client_software_version="1"), 3)

    assert run_cold(scenario).error_code == INVALID_REQUEST


@pytest.mark.parametrize("version", range(4))
def test_the_coordinator_of_a_group_is_where_the_caller_listens(version: int):
    async def scenario(rig: ColdRig):
        return await rig.call(FindCoordinatorRequest(key="group"), version)

    response = run_cold(scenario)

    assert (response.error_code, response.node_id, response.host, response.port) == (NONE, 1, "127.0.0.1", 9092)


@pytest.mark.parametrize("version", range(4, 7))
def test_every_coordinator_asked_for_is_answered(version: int):
    async def scenario(rig: ColdRig):
        return await rig.call(FindCoordinatorRequest(coordinator_keys=["a", "b", "a"]), version)

    answers = [(found.key, found.error_code, found.port) for found in run_cold(scenario).coordinators]

    assert answers == [("a", NONE, 9092), ("b", NONE, 9092), ("a", NONE, 9092)]


def test_the_topic_of_a_coordinator_is_made_once_with_kafkas_settings():
    async def scenario(rig: ColdRig):
        request = FindCoordinatorRequest(coordinator_keys=["a"])
        await asyncio.gather(*(rig.call(request, 6) for _ in range(5)))
        return rig.applier.image.topics["__consumer_offsets"]

    topic = run_cold(scenario, {"offsets.topic.num.partitions": "7"})

    assert len(topic.partitions) == 7
    assert {partition.replicas for partition in topic.partitions} == {(1,)}
    assert topic.configs == {"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "104857600"}


def test_who_asks_for_a_coordinators_topic_by_name_has_it_made():
    async def scenario(rig: ColdRig):
        request = MetadataRequest(
            topics=[MetadataRequestTopic(name="__consumer_offsets"), MetadataRequestTopic(name="other")],
            allow_auto_topic_creation=True,
        )
        return await rig.call(request, 9)

    topics = {topic.name: topic for topic in run_cold(scenario, {"offsets.topic.num.partitions": "7"}).topics}

    assert {name: topic.error_code for name, topic in topics.items()} == {"__consumer_offsets": NONE, "other": NONE}
    assert (len(topics["__consumer_offsets"].partitions), topics["__consumer_offsets"].is_internal) == (7, True)


@pytest.mark.parametrize(("kind", "version"), [(3, 6), (2, 5), (-1, 6)])
def test_a_kind_of_coordinator_that_does_not_exist_is_refused(kind: int, version: int):
    async def scenario(rig: ColdRig):
        return await rig.call(FindCoordinatorRequest(key_type=kind, coordinator_keys=["a"]), version)

    assert [found.error_code for found in run_cold(scenario).coordinators] == [INVALID_REQUEST]


def test_no_two_producers_get_the_same_id():
    async def scenario(rig: ColdRig):
        responses = [
            await rig.call(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1_000), version)
            for version in (*range(6), *range(6))
        ]
        return [(response.error_code, response.producer_id, response.producer_epoch) for response in responses]

    answers = run_cold(scenario)

    assert {(code, epoch) for code, _, epoch in answers} == {(NONE, 0)}
    assert len({producer_id for _, producer_id, _ in answers}) == len(answers)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (InitProducerIdRequest(transactional_id="orders"), COORDINATOR_NOT_AVAILABLE),
        (InitProducerIdRequest(transactional_id=""), INVALID_REQUEST),
        (InitProducerIdRequest(transactional_id=None, producer_id=5), INVALID_REQUEST),
        (InitProducerIdRequest(transactional_id=None, producer_epoch=5), INVALID_REQUEST),
    ],
    ids=["transactional", "empty", "id without epoch", "epoch without id"],
)
def test_a_producer_that_cannot_be_served_is_told_why(request_: InitProducerIdRequest, code: int):
    async def scenario(rig: ColdRig):
        return await rig.call(request_, 4)

    response = run_cold(scenario)

    assert (response.error_code, response.producer_id) == (code, -1)
