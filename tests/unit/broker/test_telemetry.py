"""Metrics that clients push: subscriptions, throttling, limits, and what /metrics shows."""

from __future__ import annotations

import os

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from pystream._native.compression import Codec, compress
from pystream.broker.client_metrics import ClientMetricsConfig
from pystream.broker.monitoring import telemetry as subject
from pystream.broker.monitoring.telemetry import ClientTelemetry, Software
from pystream.common.clock import ManualClock
from pystream.common.error_codes import (
    INVALID_RECORD,
    INVALID_REQUEST,
    NONE,
    TELEMETRY_TOO_LARGE,
    THROTTLING_QUOTA_EXCEEDED,
    UNKNOWN_SUBSCRIPTION_ID,
    UNSUPPORTED_COMPRESSION_TYPE,
)
from pystream.common.metrics import format_number
from pystream.common.model import ZERO_UUID, uuid_text
from pystream.protocol.api_keys import TELEMETRY_KEYS
from pystream.protocol.messages.api_versions import ApiVersionsRequest
from pystream.protocol.messages.get_telemetry_subscriptions import GetTelemetrySubscriptionsRequest
from pystream.protocol.messages.push_telemetry import PushTelemetryRequest
from tests.support.cold_rig import ColdRig, run_cold
from tests.unit.broker.test_group_settings import CLIENT_METRICS, alter

PEER = "127.0.0.1"
CLIENT = bytes(range(16))


def otlp(name: str, value: float, *, delta: bool = True, **attributes: str) -> bytes:
    data = MetricsData()
    metric = data.resource_metrics.add().scope_metrics.add().metrics.add(name=name)
    metric.sum.aggregation_temporality = 1 if delta else 2
    metric.sum.is_monotonic = True
    point = metric.sum.data_points.add(as_double=value)
    for key, text in attributes.items():
        point.attributes.add(key=key).value.string_value = text
    return data.SerializeToString()


class Kit:
    """Telemetry with subscriptions and a clock that the test turns."""

    def __init__(self, **subscriptions: ClientMetricsConfig) -> None:
        self.clock = ManualClock()
        self.subscriptions = subscriptions
        self.telemetry = ClientTelemetry(self.clock, lambda: self.subscriptions, maximum_bytes=10_000)

    def subscribe(self, client: bytes = CLIENT):
        return self.telemetry.subscribe(client, 7, "app", PEER)

    def push(self, metrics: bytes, *, client: bytes = CLIENT, codec: int = 0, terminating: bool = False, **rest: int):
        subscription_id = rest.get("subscription_id")
        if subscription_id is None:
            subscription_id = self.telemetry._client(client, 7, "app", PEER).subscription.subscription_id
        return self.telemetry.push(
            client,
            7,
            "app",
            PEER,
            subscription_id=subscription_id,
            terminating=terminating,
            codec=codec,
            metrics=metrics,
        )

    def shown(self) -> dict[str, str]:
        """Values by name and the labels that a point brought along."""
        return {
            f"{family.name}{[v for n, v in sample.labels if n.startswith('attribute_')]}": format_number(sample.value)
            for family in self.telemetry.families()
            for sample in family.samples
        }


def everything(interval_ms: int = 1_000, match: tuple[str, ...] = ()) -> ClientMetricsConfig:
    return ClientMetricsConfig(metrics=("*",), interval_ms=interval_ms, match=match)


def test_a_client_without_an_id_gets_one_and_what_it_is_asked_for():
    kit = Kit(
        one=ClientMetricsConfig(metrics=("b.", "a."), interval_ms=5_000),
        two=ClientMetricsConfig(metrics=("a.",), interval_ms=2_000, match=("client_id=ap+",)),
        other=ClientMetricsConfig(metrics=("c.",), interval_ms=100, match=("client_software_name=librdkafka",)),
    )
    code, client, subscription = kit.subscribe(ZERO_UUID)
    assert (code, subscription.interval_ms, subscription.metrics) == (NONE, 2_000, ("a.", "b."))
    assert client != ZERO_UUID
    kit.telemetry.met(7, Software("librdkafka", "2"))
    assert kit.subscribe(ZERO_UUID)[2].metrics == ("a.", "b.", "c.")


def test_without_a_subscription_nothing_is_asked_for():
    code, _, subscription = Kit().subscribe()
    assert (code, subscription.interval_ms, subscription.metrics) == (NONE, 300_000, ())


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD])
def test_deltas_are_added_up_and_shown(codec: Codec):
    kit = Kit(all=everything())
    for value in (2, 3):
        data = otlp("org.apache.kafka.producer.record.send.total", value, node="1")
        assert kit.push(compress(data, codec) if codec else data, codec=codec) == NONE
        kit.clock.advance(1_000)
    assert kit.shown()["org_apache_kafka_producer_record_send_total['1']"] == "5"


def test_cumulative_sums_replace_one_another():
    kit = Kit(all=everything())
    for value in (2, 3):
        assert kit.push(otlp("x", value, delta=False)) == NONE
        kit.clock.advance(1_000)
    assert kit.shown()["x[]"] == "3"


def test_who_comes_too_early_is_told_to_wait_but_may_say_farewell():
    kit = Kit(all=everything())
    assert kit.subscribe()[0] == NONE
    assert kit.subscribe()[0] == THROTTLING_QUOTA_EXCEEDED
    assert kit.push(otlp("x", 1)) == NONE
    assert kit.push(otlp("x", 1)) == THROTTLING_QUOTA_EXCEEDED
    assert kit.push(otlp("x", 1), terminating=True) == NONE
    assert "x[]" not in kit.shown()


def test_a_changed_subscription_is_told_and_may_be_asked_for_at_once():
    kit = Kit(all=everything())
    _, _, before = kit.subscribe()
    kit.subscriptions = {"all": everything(interval_ms=500)}
    assert kit.push(otlp("x", 1), subscription_id=before.subscription_id) == UNKNOWN_SUBSCRIPTION_ID
    code, _, after = kit.subscribe()
    assert (code, after.interval_ms) == (NONE, 500)
    assert after.subscription_id != before.subscription_id


def test_a_client_that_is_to_push_less_often_is_told_so_with_its_next_push():
    kit = Kit(all=everything(interval_ms=100))
    _, _, before = kit.subscribe()
    assert kit.push(otlp("x", 1)) == NONE
    kit.clock.advance(100)
    kit.subscriptions = {"all": everything(interval_ms=3_600_000)}
    assert kit.push(otlp("x", 1), subscription_id=before.subscription_id) == UNKNOWN_SUBSCRIPTION_ID
    assert kit.subscribe()[0] == NONE


def test_pushes_that_cannot_be_are_refused():
    kit = Kit(all=everything(interval_ms=100))
    assert kit.push(otlp("x", 1), client=ZERO_UUID, subscription_id=0) == INVALID_REQUEST
    assert kit.push(otlp("x", 1), codec=9) == UNSUPPORTED_COMPRESSION_TYPE
    assert kit.push(bytes(10_001)) == TELEMETRY_TOO_LARGE
    assert kit.push(b"\xff\xff\xff") == INVALID_RECORD
    kit.clock.advance(100)
    assert kit.push(os.urandom(100), codec=Codec.ZSTD) == INVALID_RECORD
    kit.clock.advance(100)
    assert kit.push(otlp("x", 1)) == NONE


def test_clients_and_series_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(subject, "MAXIMUM_CLIENTS", 3)
    monkeypatch.setattr(subject, "MAXIMUM_SERIES", 2)
    kit = Kit(all=everything(interval_ms=100))
    for number in range(5):
        assert kit.push(otlp("x", 1), client=bytes([*range(15), number + 1])) == NONE
    assert kit.shown()["kafka_server_clientmetrics_instance_count[]"] == "3"
    for name in ("a", "b", "c"):
        kit.clock.advance(100)
        assert kit.push(otlp(name, 1), client=CLIENT) == NONE
    shown = kit.shown()
    assert ("b[]" in shown, "c[]" in shown, shown["pystream_client_metrics_dropped_total[]"]) == (True, False, "1")


def test_the_silent_are_forgotten():
    kit = Kit(all=everything())
    assert kit.push(otlp("x", 1)) == NONE
    kit.clock.advance(900_001)
    kit.subscribe(bytes(15) + b"\x09")
    assert "x[]" not in kit.shown()


def test_who_pushes_once_an_hour_is_not_forgotten_in_between():
    kit = Kit(all=everything(interval_ms=3_600_000))
    for _ in range(2):
        assert kit.push(otlp("x", 1)) == NONE
        kit.clock.advance(3_600_000)
        kit.subscribe(bytes(15) + b"\x09")
    assert kit.shown()["x[]"] == "2"


def test_over_the_wire_with_the_settings_of_the_cluster():
    async def scenario(rig: ColdRig):
        await alter(rig, CLIENT_METRICS, "m", {"metrics": "org.", "interval.ms": "100"})
        versions = await rig.call(ApiVersionsRequest(client_software_name="a", client_software_version="1"), 4)
        asked = await rig.call(GetTelemetrySubscriptionsRequest(client_instance_id=CLIENT), 0)
        pushed = await rig.call(
            PushTelemetryRequest(
                client_instance_id=CLIENT,
                subscription_id=asked.subscription_id,
                compression_type=Codec.LZ4,
                metrics=compress(otlp("org.x", 4), Codec.LZ4),
            ),
            0,
        )
        return versions, asked, pushed, rig.metrics.exposition()

    versions, asked, pushed, exposition = run_cold(scenario)

    assert {71, 72} <= {api.api_key for api in versions.api_keys}
    assert (asked.error_code, asked.requested_metrics, asked.push_interval_ms) == (NONE, ["org."], 100)
    assert asked.accepted_compression_types == [4, 3, 1, 2]
    assert pushed.error_code == NONE
    assert f'org_x{{client_id="cold-rig",client_instance_id="{uuid_text(CLIENT)}"' in exposition


@pytest.mark.parametrize(
    ("enabled", "subscriptions", "listed"), [("true", 1, True), ("true", 0, False), ("false", 1, False)]
)
def test_the_keys_are_listed_while_somebody_wants_to_know(enabled: str, subscriptions: int, listed: bool):
    async def scenario(rig: ColdRig):
        for number in range(subscriptions):
            await alter(rig, CLIENT_METRICS, f"m{number}", {"metrics": "*"})
        return await rig.call(ApiVersionsRequest(client_software_name="a", client_software_version="1"), 4)

    versions = run_cold(scenario, {"client.telemetry.enable": enabled})

    assert {api.api_key for api in versions.api_keys}.issuperset(TELEMETRY_KEYS) == listed
