"""What goes over a broker's socket, byte by byte: every key and version it lists, and what no client should send."""

from __future__ import annotations

import struct

import pytest

from pystream.broker.registry import HANDLER_MODULES
from pystream.common.error_codes import NONE, UNKNOWN_SERVER_ERROR, UNSUPPORTED_VERSION
from pystream.protocol.api_keys import ADVERTISED, ApiKey
from pystream.protocol.catalogue import request_class
from pystream.protocol.messages.api_versions import ApiVersionsRequest
from pystream.protocol.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from pystream.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawClient

CLIENT_METRICS = 16
API_VERSIONS = ApiVersionsRequest(client_software_name="raw", client_software_version="1")


def header(api_key: int, version: int) -> bytes:
    return struct.pack(">hhih", api_key, version, 7, -1)


def framed(frame: bytes) -> bytes:
    return struct.pack(">i", len(frame)) + frame


def is_serving(broker: BrokerProcess) -> bool:
    with RawClient(broker.port) as client:
        return client.call(API_VERSIONS, 0).error_code == NONE


@pytest.mark.parametrize("api_key", HANDLER_MODULES, ids=lambda key: HANDLER_MODULES[key])
def test_every_listed_version_is_answered_on_one_connection(broker: BrokerProcess, api_key: int):
    low, high = ADVERTISED[api_key]
    request = API_VERSIONS if api_key == ApiKey.API_VERSIONS else request_class(api_key)()
    with RawClient(broker.port) as client:
        for version in range(low, high + 1):
            response = client.call(request, version)
            assert getattr(response, "error_code", NONE) != UNKNOWN_SERVER_ERROR


def test_a_broker_lists_every_key_that_clients_use(broker: BrokerProcess):
    """All of Kafka's, but for delegation tokens and what only controllers of Kafka ask one another."""
    left_out = range(ApiKey.CREATE_DELEGATION_TOKEN, ApiKey.DESCRIBE_DELEGATION_TOKEN + 1)
    unlisted = {*left_out, ApiKey.ADD_RAFT_VOTER, ApiKey.REMOVE_RAFT_VOTER}
    subscription = AlterConfigsResource(resource_type=CLIENT_METRICS, resource_name="all")
    subscription.configs = [AlterableConfig(name="metrics", value="*")]
    with RawClient(broker.port) as client:
        altered = client.call(IncrementalAlterConfigsRequest(resources=[subscription]), 1)
        answer = client.call(API_VERSIONS, 4)

    assert altered.responses[0].error_code == NONE
    listed = {key.api_key: (key.min_version, key.max_version) for key in answer.api_keys}
    assert listed == {key: versions for key, versions in ADVERTISED.items() if key not in unlisted}


def test_requests_sent_together_are_answered_in_order(broker: BrokerProcess):
    with RawClient(broker.port) as client:
        requests = [
            client.frame(MetadataRequest(topics=[MetadataRequestTopic(name=f"in-order-{number}")]), 12)
            for number in range(20)
        ]
        client.socket.sendall(b"".join(requests))
        answered = [client.receive().topics[0] for _ in requests]

    assert [topic.name for topic in answered] == [f"in-order-{number}" for number in range(20)]
    assert {topic.error_code for topic in answered} == {NONE}


def test_an_unknown_version_of_api_versions_leaves_the_connection_open(broker: BrokerProcess):
    with RawClient(broker.port) as client:
        client.socket.sendall(framed(header(ApiKey.API_VERSIONS, 99)))
        answer = client.exactly(4 + 4 + 12)
        assert client.call(API_VERSIONS, 3).error_code == NONE

    assert answer == struct.pack(">iihihhh", 16, 7, UNSUPPORTED_VERSION, 1, 18, 0, 4)


@pytest.mark.parametrize(
    "frame",
    [
        header(ApiKey.JOIN_GROUP, 5),
        header(ApiKey.PRODUCE, 2),
        header(ApiKey.METADATA, 99),
        header(12345, 0),
        header(ApiKey.METADATA, 1) + b"\x7f\xff\xff\xff",
        header(ApiKey.CREATE_TOPICS, 7) + b"\x00\xff\xff\xff\xff\x0f",
        b"\x00",
    ],
    ids=bytes.hex,
)
def test_a_frame_that_cannot_be_answered_closes_its_connection_and_no_other(broker: BrokerProcess, frame: bytes):
    with RawClient(broker.port) as client:
        client.socket.sendall(framed(frame))
        assert client.is_closed_by_peer()

    assert is_serving(broker)


@pytest.mark.parametrize("length", [-1, 0, 2**31 - 1], ids=str)
def test_a_frame_length_that_cannot_be_closes_its_connection(broker: BrokerProcess, length: int):
    with RawClient(broker.port) as client:
        client.socket.sendall(struct.pack(">i", length) + b"rest")
        assert client.is_closed_by_peer()

    assert is_serving(broker)


def test_a_client_that_leaves_before_its_answer_disturbs_nobody(broker: BrokerProcess):
    for number in range(20):
        with RawClient(broker.port) as client:
            client.send(MetadataRequest(topics=[MetadataRequestTopic(name=f"left-{number}")]), 12)

    assert is_serving(broker)
