"""What the router answers, what it refuses, and what it does when a handler is at fault."""

from __future__ import annotations

import asyncio
import struct
from types import ModuleType

import pytest

from pystream.broker.handlers import describe_cluster
from pystream.broker.registry import HANDLER_MODULES, PLANE_KEYS
from pystream.common.error_codes import INVALID_REQUEST, NONE, UNKNOWN_SERVER_ERROR, UNSUPPORTED_VERSION
from pystream.common.errors import InvalidRequest
from pystream.common.logging import event_of
from pystream.protocol.api_keys import ADVERTISED, TELEMETRY_KEYS, ApiKey
from pystream.protocol.catalogue import request_class
from pystream.protocol.messages.api_versions import ApiVersionsRequest
from pystream.protocol.messages.describe_cluster import DescribeClusterRequest, DescribeClusterResponse
from pystream.protocol.messages.metadata import MetadataRequest
from tests.support.cold_rig import ColdRig, StandInQueue, encode, run_cold

API_VERSIONS = ApiVersionsRequest(client_software_name="test", client_software_version="1.0")


def header(api_key: int, version: int, correlation_id: int = 7, client_id: bytes = b"c") -> bytes:
    return struct.pack(">hhih", api_key, version, correlation_id, len(client_id)) + client_id


@pytest.mark.parametrize("version", range(5))
def test_api_versions_lists_exactly_the_keys_that_are_answered(version: int):
    async def scenario(rig: ColdRig):
        return await rig.call(API_VERSIONS, version)

    response = run_cold(scenario)

    listed = {api.api_key: (api.min_version, api.max_version) for api in response.api_keys}
    wanted = {*HANDLER_MODULES, *PLANE_KEYS}.difference(TELEMETRY_KEYS)  # nobody has asked for metrics of clients
    assert listed == {key: ADVERTISED[key] for key in wanted}
    assert response.error_code == 0


def test_an_unknown_version_of_api_versions_is_told_the_range():
    async def scenario(rig: ColdRig):
        return await rig.send(header(ApiKey.API_VERSIONS, 99))

    assert run_cold(scenario) == struct.pack(">ihihhh", 7, UNSUPPORTED_VERSION, 1, 18, 0, 4)


def test_no_tagged_field_is_written_at_its_default():
    async def scenario(rig: ColdRig):
        return await rig.send(encode(DescribeClusterRequest(), 0, 1))

    assert run_cold(scenario).endswith(b"\x00")


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00\x12",
        header(ApiKey.JOIN_GROUP, 5),
        header(ApiKey.METADATA, 14),
        header(ApiKey.PRODUCE, 2),
        header(999, 0),
        header(-1, -1),
        header(ApiKey.METADATA, 9),
        header(ApiKey.METADATA, 1) + b"\x7f\xff\xff\xff",
        header(ApiKey.API_VERSIONS, 99)[:6],
        struct.pack(">hhih", ApiKey.METADATA, 1, 7, 20) + b"short",
    ],
    ids=bytes.hex,
)
def test_what_cannot_be_answered_closes_the_connection(frame: bytes):
    async def scenario(rig: ColdRig):
        return await rig.send(frame)

    assert run_cold(scenario) == StandInQueue.CLOSED


def test_bytes_after_the_end_of_a_request_are_passed_over():
    """librdkafka 2.16.1 asks for all topics of version 13 with an int32 in place of a varint: three bytes too many."""

    async def scenario(rig: ColdRig):
        request = header(ApiKey.METADATA, 13) + bytes.fromhex("0000000000010000")
        return await rig.send(request)

    assert run_cold(scenario) != StandInQueue.CLOSED


def test_a_fault_of_a_handler_is_answered_and_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    async def scenario(rig: ColdRig):
        return await rig.call(DescribeClusterRequest(), 2)

    monkeypatch.setattr(describe_cluster, "handle", broken)
    assert run_cold(scenario).error_code == UNKNOWN_SERVER_ERROR
    assert "request failed" in [event_of(record) for record in caplog.records]


def test_a_handler_may_wait_for_a_future(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    waiting: list[asyncio.Future[DescribeClusterResponse]] = []

    def handle(*_: object) -> asyncio.Future[DescribeClusterResponse]:
        waiting.append(asyncio.get_running_loop().create_future())
        return waiting[-1]

    async def scenario(rig: ColdRig):
        calls = [asyncio.ensure_future(rig.call(DescribeClusterRequest(), 2)) for _ in range(3)]
        turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turn.set_result, None)
        await turn
        waiting[0].set_result(DescribeClusterResponse(cluster_id="here"))
        waiting[1].set_exception(InvalidRequest("no"))
        waiting[2].set_exception(ZeroDivisionError("a fault"))
        return [(await call).error_code for call in calls]

    monkeypatch.setattr(describe_cluster, "handle", handle)
    assert run_cold(scenario) == [NONE, INVALID_REQUEST, UNKNOWN_SERVER_ERROR]
    assert "request failed" in [event_of(record) for record in caplog.records]


def test_an_answer_that_does_not_encode_closes_the_connection(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(describe_cluster, "NOT_ASKED", "no number")

    async def scenario(rig: ColdRig):
        return await rig.send(encode(DescribeClusterRequest(), 2, 1))

    assert run_cold(scenario) == StandInQueue.CLOSED


def test_requests_are_counted_by_their_kafka_name():
    async def scenario(rig: ColdRig):
        await rig.call(MetadataRequest(topics=None), 12)
        await rig.call(MetadataRequest(topics=None), 1)
        return rig.router._metrics.counts()

    assert run_cold(scenario) == {"Metadata": 2}


@pytest.mark.parametrize("api_key", HANDLER_MODULES, ids=lambda key: HANDLER_MODULES[key])
def test_every_version_that_is_listed_is_answered(api_key: int):
    async def scenario(rig: ColdRig):
        low, high = ADVERTISED[api_key]
        request = API_VERSIONS if api_key == ApiKey.API_VERSIONS else request_class(api_key)()
        return [await rig.call(request, version) for version in range(low, high + 1)]

    assert all(response is not None for response in run_cold(scenario))


def test_every_handler_says_which_versions_it_answers():
    import importlib

    for key, name in HANDLER_MODULES.items():
        module: ModuleType = importlib.import_module(f"pystream.broker.handlers.{name}")
        low, high = ADVERTISED[key]
        assert f"(key {key}), version" in (module.__doc__ or "")
        assert (f"{low}-{high}" if low != high else f"version {low}") in (module.__doc__ or "").splitlines()[0]
