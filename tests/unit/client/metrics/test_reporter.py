"""Pushing metrics to a scripted broker: what is asked, when, and what becomes of refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from pystream._native.compression import Codec, decompress
from pystream.client.admin.client import AdminClient
from pystream.client.metrics import reporter as subject
from pystream.common import error_codes as codes
from pystream.common.errors import ClientError, UnsupportedVersion
from pystream.common.model import ZERO_UUID
from pystream.protocol.api_keys import TELEMETRY_KEYS, ApiKey
from pystream.protocol.messages.api_versions import ApiVersion
from pystream.protocol.messages.get_telemetry_subscriptions import GetTelemetrySubscriptionsResponse
from pystream.protocol.messages.metadata import MetadataResponse, MetadataResponseBroker
from pystream.protocol.messages.push_telemetry import PushTelemetryResponse
from tests.support.scripted_broker import ScriptedBroker, all_versions

SECONDS = 120
CLIENT = b"c" * 16
Work = Callable[[AdminClient, ScriptedBroker], Awaitable[None]]


def versions() -> Any:
    response = all_versions()
    response.api_keys = [
        *response.api_keys,
        *(ApiVersion(api_key=key, min_version=0, max_version=0) for key in TELEMETRY_KEYS),
    ]
    return response


def subscription(number: int = 1, **changes: Any) -> GetTelemetrySubscriptionsResponse:
    settings: dict[str, Any] = {
        "client_instance_id": CLIENT,
        "subscription_id": number,
        "accepted_compression_types": [int(Codec.ZSTD), int(Codec.GZIP)],
        "push_interval_ms": 2,
        "telemetry_max_bytes": 100_000,
        "delta_temporality": True,
        "requested_metrics": ["org.apache.kafka.admin.client."],
        **changes,
    }
    return GetTelemetrySubscriptionsResponse(**settings)


class Stage:
    """A broker with telemetry, an admin client that pushes; answers are taken one by one, the last again and again."""

    def __init__(self) -> None:
        self.subscriptions = [subscription()]
        self.pushes = [0]
        self.pushed: list[Any] = []
        self.asked: list[bytes] = []
        self.changed = asyncio.Event()

    def _asked(self, request: Any) -> Any:
        self.asked.append(bytes(request.client_instance_id))
        self.changed.set()
        return self.subscriptions.pop(0) if len(self.subscriptions) > 1 else self.subscriptions[0]

    def _pushed(self, request: Any) -> Any:
        self.pushed.append(request)
        self.changed.set()
        return PushTelemetryResponse(error_code=self.pushes.pop(0) if len(self.pushes) > 1 else self.pushes[0])

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self.changed.clear()
            await self.changed.wait()

    def run(self, work: Callable[[AdminClient], Awaitable[None]], **settings: Any) -> None:
        async def whole() -> None:
            async with asyncio.timeout(SECONDS), ScriptedBroker() as broker:
                node = MetadataResponseBroker(node_id=1, host="127.0.0.1", port=broker.port)
                broker.on(ApiKey.API_VERSIONS, lambda _: versions())
                broker.on(ApiKey.METADATA, lambda _: MetadataResponse(brokers=[node], controller_id=1))
                broker.on(ApiKey.GET_TELEMETRY_SUBSCRIPTIONS, self._asked)
                broker.on(ApiKey.PUSH_TELEMETRY, self._pushed)
                given = {"enable_metrics_push": True, "retry_backoff_ms": 1, **settings}
                async with AdminClient(bootstrap_servers=f"127.0.0.1:{broker.port}", **given) as admin:
                    await admin.cluster.refresh()
                    await work(admin)
                assert asyncio.all_tasks() - {asyncio.current_task()} - broker._tasks == set()

        asyncio.run(whole())


def names(request: Any) -> list[str]:
    data = MetricsData()
    data.ParseFromString(decompress(bytes(request.metrics), request.compression_type))
    return [metric.name for scope in data.resource_metrics[0].scope_metrics for metric in scope.metrics]


def test_metrics_are_pushed_now_and_then_and_a_last_time_at_close():
    stage = Stage()
    stage.run(lambda _: stage.until(lambda: len(stage.pushed) >= 3))
    assert stage.asked == [ZERO_UUID]
    assert [request.terminating for request in stage.pushed[-2:]] == [False, True]
    for request in stage.pushed:
        assert bytes(request.client_instance_id) == CLIENT
        assert (request.subscription_id, request.compression_type) == (1, Codec.ZSTD)
        assert "org.apache.kafka.admin.client.connection.creation.total" in names(request)


@pytest.mark.parametrize("code", [codes.UNKNOWN_SUBSCRIPTION_ID, codes.UNSUPPORTED_COMPRESSION_TYPE])
def test_a_subscription_that_does_not_hold_any_more_is_asked_for_again(code: int):
    stage = Stage()
    stage.subscriptions, stage.pushes = [subscription(1), subscription(2)], [code, 0]
    stage.run(lambda _: stage.until(lambda: len(stage.pushed) >= 2))
    assert stage.asked == [ZERO_UUID, CLIENT]
    assert [request.subscription_id for request in stage.pushed[:2]] == [1, 2]
    expected = Codec.GZIP if code == codes.UNSUPPORTED_COMPRESSION_TYPE else Codec.ZSTD
    assert stage.pushed[1].compression_type == expected


def test_a_cluster_that_wants_nothing_is_asked_again_after_the_interval():
    stage = Stage()
    stage.subscriptions = [subscription(1, requested_metrics=[]), subscription(2)]
    stage.run(lambda _: stage.until(lambda: len(stage.pushed) >= 1))
    assert [request.subscription_id for request in stage.pushed[:1]] == [2]


def test_nothing_is_said_at_the_end_where_nothing_was_asked_for():
    stage = Stage()
    stage.subscriptions = [subscription(requested_metrics=[], push_interval_ms=1_000_000)]
    stage.run(lambda _: stage.until(lambda: len(stage.asked) == 1))
    assert stage.pushed == []


@pytest.mark.parametrize("code", [codes.THROTTLING_QUOTA_EXCEEDED, codes.TELEMETRY_TOO_LARGE])
def test_a_refusal_that_passes_is_tried_again_after_the_interval(code: int):
    stage = Stage()
    stage.pushes = [code, 0]
    stage.run(lambda _: stage.until(lambda: len(stage.pushed) >= 2))
    assert stage.asked == [ZERO_UUID]


def test_a_refusal_for_good_ends_it():
    stage = Stage()
    stage.pushes = [codes.INVALID_RECORD]

    async def refused(admin: AdminClient) -> None:
        await stage.until(lambda: len(stage.pushed) == 1)
        while admin._reporter is not None and admin._reporter.subscription is not None:
            await admin.cluster.refresh()

    stage.run(refused)
    assert len(stage.pushed) == 1


def test_what_is_too_large_does_not_go_out():
    stage = Stage()
    stage.subscriptions = [subscription(telemetry_max_bytes=1)]

    async def some_rounds(admin: AdminClient) -> None:
        for _ in range(20):
            await admin.cluster.refresh()

    stage.run(some_rounds)
    assert stage.pushed == []


def test_codecs_that_nobody_knows_are_passed_over():
    stage = Stage()
    stage.subscriptions = [subscription(accepted_compression_types=[77])]
    stage.run(lambda _: stage.until(lambda: len(stage.pushed) >= 1))
    assert stage.pushed[0].compression_type == Codec.NONE


def test_a_client_that_pushes_nothing_asks_nothing():
    stage = Stage()

    async def some_rounds(admin: AdminClient) -> None:
        for _ in range(5):
            await admin.cluster.refresh()

    stage.run(some_rounds, enable_metrics_push=False)
    assert stage.asked == []
    with pytest.raises(ClientError, match=r"enable\.metrics\.push=true"):
        subject.reporter_of(None)


def test_all_who_want_the_clients_id_get_the_same():
    stage = Stage()
    found: list[bytes] = []

    async def ask(admin: AdminClient) -> None:
        found.extend(await asyncio.gather(*(admin.client_instance_id() for _ in range(3))))

    stage.run(ask)
    assert found == [CLIENT] * 3
    assert stage.asked.count(ZERO_UUID) == 1


def test_brokers_without_telemetry_give_no_id():
    async def whole() -> None:
        async with asyncio.timeout(SECONDS), ScriptedBroker() as broker:
            node = MetadataResponseBroker(node_id=1, host="127.0.0.1", port=broker.port)
            broker.on(ApiKey.METADATA, lambda _: MetadataResponse(brokers=[node], controller_id=1))
            async with AdminClient(bootstrap_servers=f"127.0.0.1:{broker.port}", enable_metrics_push=True) as admin:
                with pytest.raises(UnsupportedVersion, match="GetTelemetrySubscriptions"):
                    await admin.client_instance_id()

    asyncio.run(whole())
