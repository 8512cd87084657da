"""Settings of groups and of subscriptions to client metrics: altered, bounded, described, replaced."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pystream.common.config import ConfigSource
from pystream.common.error_codes import INVALID_CONFIG, INVALID_REQUEST, NONE
from pystream.coordinator.group_settings import duration_ms
from pystream.protocol.messages import incremental_alter_configs as incremental
from pystream.protocol.messages.describe_configs import DescribeConfigsRequest, DescribeConfigsResource
from tests.support.cold_rig import ColdRig, run_cold

CLIENT_METRICS, GROUP = 16, 32


async def alter(rig: ColdRig, kind: int, name: str, values: Mapping[str, str | None]) -> int:
    """The error code of setting (deleting, where None) these keys."""
    configs = [
        incremental.AlterableConfig(name=key, value=value, config_operation=0 if value is not None else 1)
        for key, value in values.items()
    ]
    resource = incremental.AlterConfigsResource(resource_type=kind, resource_name=name, configs=configs)
    response = await rig.call(incremental.IncrementalAlterConfigsRequest(resources=[resource]), 1)
    (result,) = response.responses
    return int(result.error_code)


async def describe(rig: ColdRig, kind: int, name: str) -> dict[str, tuple[str | None, int]]:
    resource = DescribeConfigsResource(resource_type=kind, resource_name=name, configuration_keys=None)
    response = await rig.call(DescribeConfigsRequest(resources=[resource]), 4)
    assert response.results[0].error_code == NONE
    return {config.name: (config.value, config.config_source) for config in response.results[0].configs}


def test_a_group_goes_by_its_own_settings_then_the_brokers_then_the_defaults():
    async def scenario(rig: ColdRig):
        assert await alter(rig, GROUP, "g/ä", {"consumer.session.timeout.ms": "50000"}) == NONE
        own, other = await describe(rig, GROUP, "g/ä"), await describe(rig, GROUP, "other")
        image = rig.context.image()
        return own, other, rig.settings.group_settings("g/ä", image), rig.settings.group_settings("other", image)

    own, other, settings, defaults = run_cold(scenario, {"group.consumer.heartbeat.interval.ms": "6000"})

    assert own["consumer.session.timeout.ms"] == ("50000", ConfigSource.DYNAMIC_GROUP_CONFIG)
    assert other["consumer.session.timeout.ms"] == ("45000", ConfigSource.DEFAULT_CONFIG)
    assert own["consumer.heartbeat.interval.ms"] == ("6000", ConfigSource.STATIC_BROKER_CONFIG)
    assert (settings.consumer_session_timeout_ms, settings.consumer_heartbeat_interval_ms) == (50_000, 6_000)
    assert (defaults.consumer_session_timeout_ms, defaults.share_auto_offset_reset) == (45_000, "latest")


@pytest.mark.parametrize(
    ("kind", "name", "values", "code"),
    [
        (GROUP, "g", {"consumer.session.timeout.ms": "44999"}, INVALID_CONFIG),
        (GROUP, "g", {"consumer.session.timeout.ms": "60001"}, INVALID_CONFIG),
        (GROUP, "g", {"streams.num.standby.replicas": "3"}, INVALID_CONFIG),
        (GROUP, "g", {"share.record.lock.duration.ms": "14999"}, INVALID_CONFIG),
        (GROUP, "g", {"share.auto.offset.reset": "by_duration:-PT1S"}, INVALID_CONFIG),
        (GROUP, "g", {"share.auto.offset.reset": "by_duration:P1DT2H"}, NONE),
        (GROUP, "g", {"share.isolation.level": "serializable"}, INVALID_CONFIG),
        (GROUP, "g", {"retention.ms": "1"}, INVALID_CONFIG),
        (GROUP, "", {"consumer.session.timeout.ms": "50000"}, INVALID_REQUEST),
        (CLIENT_METRICS, "m", {"interval.ms": "99"}, INVALID_REQUEST),
        (CLIENT_METRICS, "m", {"interval.ms": "3600001"}, INVALID_REQUEST),
        (CLIENT_METRICS, "m", {"interval.ms": "often"}, INVALID_CONFIG),
        (CLIENT_METRICS, "m", {"no.such.key": "1"}, INVALID_REQUEST),
        (CLIENT_METRICS, "", {"interval.ms": "1000"}, INVALID_REQUEST),
        (CLIENT_METRICS, "m", {"match": "client_id=a.*,client_software_name=librd.*"}, NONE),
        (CLIENT_METRICS, "m", {"match": "client_id"}, INVALID_CONFIG),
        (CLIENT_METRICS, "m", {"match": "colour=red"}, INVALID_CONFIG),
        (CLIENT_METRICS, "m", {"match": "client_source_address=127.*"}, NONE),
        (CLIENT_METRICS, "m", {"match": "client_source_port=1"}, INVALID_CONFIG),
        (CLIENT_METRICS, "m", {"match": "client_id=("}, INVALID_CONFIG),
        (CLIENT_METRICS, "m", {"metrics": "org.apache.kafka.producer.,"}, NONE),
    ],
)
def test_settings_are_bounded(kind: int, name: str, values: dict[str, str], code: int):
    async def scenario(rig: ColdRig):
        return await alter(rig, kind, name, values), rig.context.image()

    answered, image = run_cold(scenario)

    assert answered == code
    kept = image.configs_of_groups if kind == GROUP else image.configs_of_client_metrics
    assert kept == ({name: values} if code == NONE else {})


def test_the_last_setting_that_is_deleted_takes_the_resource_along():
    async def scenario(rig: ColdRig):
        await alter(rig, CLIENT_METRICS, "m", {"interval.ms": "1000", "metrics": "*"})
        before = rig.settings.client_metrics(rig.context.image())
        await alter(rig, CLIENT_METRICS, "m", {"interval.ms": None, "metrics": None})
        return before, rig.context.image().configs_of_client_metrics

    before, after = run_cold(scenario)

    assert (before["m"].interval_ms, before["m"].metrics, before["m"].match) == (1_000, ("*",), ())
    assert after == {}


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("PT1.5S", 1_500), ("P1D", 86_400_000), ("PT0S", 0), ("P", None), ("PT", None), ("1H", None), ("-PT1S", None)],
)
def test_durations_are_read_as_java_reads_them(text: str, milliseconds: int | None):
    assert duration_ms(text) == milliseconds
