"""Settings shown and changed through their handlers."""

from __future__ import annotations

import pytest

from pystream.common.error_codes import (
    INVALID_CONFIG,
    INVALID_REQUEST,
    INVALID_TOPIC_EXCEPTION,
    NONE,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from pystream.protocol.messages import alter_configs, incremental_alter_configs
from pystream.protocol.messages.create_topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from pystream.protocol.messages.describe_configs import DescribeConfigsRequest, DescribeConfigsResource
from tests.support.cold_rig import ColdRig, run_cold

TOPIC, BROKER, BROKER_LOGGER = 2, 4, 8
SET, DELETE, APPEND, SUBTRACT = range(4)


async def create(rig: ColdRig, name: str, **configs: str) -> None:
    settings = [CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()]
    topic = CreatableTopic(name=name, num_partitions=1, replication_factor=1, configs=settings)
    response = await rig.call(CreateTopicsRequest(topics=[topic], timeout_ms=10_000), 7)
    assert response.topics[0].error_code == NONE


async def describe(rig: ColdRig, kind: int, name: str, keys: list[str] | None = None, version: int = 4, **rest):
    resource = DescribeConfigsResource(resource_type=kind, resource_name=name, configuration_keys=keys)
    return (await rig.call(DescribeConfigsRequest(resources=[resource], **rest), version)).results[0]


async def alter(rig: ColdRig, kind: int, name: str, *changes: tuple[str, int, str | None], **rest):
    configs = [
        incremental_alter_configs.AlterableConfig(name=key, config_operation=operation, value=value)
        for key, operation, value in changes
    ]
    resource = incremental_alter_configs.AlterConfigsResource(resource_type=kind, resource_name=name, configs=configs)
    request = incremental_alter_configs.IncrementalAlterConfigsRequest(resources=[resource], **rest)
    return (await rig.call(request, 1)).responses[0]


def values(result) -> dict[str, tuple[str | None, int]]:
    return {config.name: (config.value, config.config_source) for config in result.configs}


@pytest.mark.parametrize("version", range(1, 5))
def test_every_topic_key_is_shown(version: int):
    async def scenario(rig: ColdRig):
        await create(rig, "orders", retention_ms="5")
        return await describe(rig, TOPIC, "orders", version=version)

    shown = values(run_cold(scenario))

    assert len(shown) >= 33
    assert shown["retention.ms"] == ("5", 1)
    assert shown["max.message.bytes"] == ("1048588", 5)


def test_synonyms_name_every_place_that_has_a_value():
    async def scenario(rig: ColdRig):
        await create(rig, "orders", retention_ms="5")
        return await describe(rig, TOPIC, "orders", ["retention.ms"], include_synonyms=True)

    (config,) = run_cold(scenario, {"log.retention.minutes": "7"}).configs

    assert [(synonym.name, synonym.value, synonym.source) for synonym in config.synonyms] == [
        ("retention.ms", "5", 1),
        ("log.retention.minutes", "7", 4),
        ("log.retention.hours", "168", 5),
    ]


def test_a_brokers_setting_is_seen_in_topics_that_were_described_before():
    async def scenario(rig: ColdRig):
        await create(rig, "orders")
        await create(rig, "own", retention_ms="5")
        before = [values(await describe(rig, TOPIC, name)) for name in ("orders", "own")]
        await alter(rig, BROKER, "", ("log.retention.ms", SET, "7"), ("log.segment.bytes", SET, "2097152"))
        after = [values(await describe(rig, TOPIC, name)) for name in ("orders", "own")]
        return before, after

    before, after = run_cold(scenario)
    assert [found["retention.ms"][0] for found in before] == [str(7 * 24 * 3_600_000), "5"]
    assert [found["retention.ms"][0] for found in after] == ["7", "5"]
    assert [found["segment.bytes"][0] for found in after] == ["2097152", "2097152"]


def test_types_and_documentation_are_shown_when_asked_for():
    async def scenario(rig: ColdRig):
        await create(rig, "orders")
        return await describe(rig, TOPIC, "orders", ["retention.ms"], include_documentation=True)

    (config,) = run_cold(scenario).configs

    assert config.config_type == 5
    assert "deleted" in config.documentation


def test_every_broker_key_is_shown_and_those_of_the_start_are_read_only():
    async def scenario(rig: ColdRig):
        return await describe(rig, BROKER, "1")

    shown = {config.name: config for config in run_cold(scenario, {"fetch.max.bytes": "5000"}).configs}

    assert {"log.retention.hours", "message.max.bytes", "num.partitions", "listeners"} <= set(shown)
    assert shown["fetch.max.bytes"].read_only
    assert (shown["fetch.max.bytes"].value, shown["fetch.max.bytes"].config_source) == ("5000", 4)
    assert not shown["num.network.threads"].read_only
    assert not shown["log.retention.ms"].read_only


@pytest.mark.parametrize(
    ("kind", "name", "code"),
    [
        (TOPIC, "missing", UNKNOWN_TOPIC_OR_PARTITION),
        (TOPIC, "bad/name", INVALID_TOPIC_EXCEPTION),
        (BROKER, "2", INVALID_REQUEST),
        (BROKER, "one", INVALID_REQUEST),
        (BROKER_LOGGER, "", INVALID_REQUEST),
        (77, "x", INVALID_REQUEST),
    ],
)
def test_what_cannot_be_described_says_why(kind: int, name: str, code: int):
    async def scenario(rig: ColdRig):
        return await describe(rig, kind, name)

    result = run_cold(scenario)

    assert (result.error_code, result.resource_type, result.resource_name) == (code, kind, name)
    assert result.error_message


def test_a_topic_setting_reaches_its_running_logs():
    async def scenario(rig: ColdRig):
        await create(rig, "orders")
        result = await alter(rig, TOPIC, "orders", ("retention.ms", SET, "77"), ("cleanup.policy", APPEND, "compact"))
        return result.error_code, rig.logs.get("orders", 0).config, values(await describe(rig, TOPIC, "orders"))

    code, config, shown = run_cold(scenario)

    assert code == NONE
    assert (config.retention_ms, config.cleanup_policy) == (77, ("delete", "compact"))
    assert shown["retention.ms"] == ("77", 1)


def test_a_deleted_topic_setting_falls_back_to_the_cluster():
    async def scenario(rig: ColdRig):
        await create(rig, "orders", retention_ms="5")
        await alter(rig, TOPIC, "orders", ("retention.ms", DELETE, None))
        return rig.logs.get("orders", 0).config.retention_ms

    assert run_cold(scenario, {"log.retention.ms": "99"}) == 99


@pytest.mark.parametrize("broker", ["", "1"], ids=["all brokers", "this broker"])
def test_a_broker_setting_reaches_the_logs_of_topics_that_have_none_of_their_own(broker: str):
    async def scenario(rig: ColdRig):
        await create(rig, "plain")
        await create(rig, "own", retention_ms="5")
        result = await alter(rig, BROKER, broker, ("log.retention.ms", SET, "33"))
        assert result.error_code == NONE, result.error_message
        return [rig.logs.get(name, 0).config.retention_ms for name in ("plain", "own")]

    assert run_cold(scenario) == [33, 5]


def test_validating_changes_nothing():
    async def scenario(rig: ColdRig):
        await create(rig, "orders")
        result = await alter(rig, TOPIC, "orders", ("retention.ms", SET, "77"), validate_only=True)
        return result.error_code, rig.logs.get("orders", 0).config.retention_ms

    assert run_cold(scenario) == (NONE, 604_800_000)


@pytest.mark.parametrize(
    ("kind", "name", "change", "code"),
    [
        (TOPIC, "orders", ("retention.ms", SET, "soon"), INVALID_CONFIG),
        (TOPIC, "orders", ("no.such.key", SET, "1"), INVALID_CONFIG),
        (TOPIC, "orders", ("retention.ms", APPEND, "1"), INVALID_CONFIG),
        (TOPIC, "missing", ("retention.ms", SET, "1"), UNKNOWN_TOPIC_OR_PARTITION),
        (BROKER, "1", ("node.id", SET, "3"), INVALID_REQUEST),
        (BROKER_LOGGER, "1", ("pystream", SET, "SHOUT"), INVALID_CONFIG),
        (BROKER_LOGGER, "1", ("no.such.logger", SET, "INFO"), INVALID_CONFIG),
        (BROKER_LOGGER, "1", ("root", DELETE, None), INVALID_REQUEST),
        (BROKER_LOGGER, "1", ("root", APPEND, "INFO"), INVALID_REQUEST),
        (BROKER_LOGGER, "1", ("root", SET, None), INVALID_REQUEST),
        (BROKER, "2", ("log.cleaner.threads", SET, "2"), INVALID_REQUEST),
        (BROKER, "4294967297", ("log.cleaner.threads", SET, "2"), INVALID_REQUEST),
        (BROKER, "1", ("max.connections", SET, "0"), INVALID_REQUEST),
        (BROKER, "", ("max.connections.per.ip", SET, "0"), INVALID_REQUEST),
        (BROKER, "", ("log.retention.ms", SET, "0"), INVALID_REQUEST),
        (BROKER, "", ("group.consumer.session.timeout.ms", SET, "1"), INVALID_REQUEST),
        (TOPIC, "", ("retention.ms", SET, "1"), INVALID_REQUEST),
        (TOPIC, "bad name", ("retention.ms", SET, "1"), INVALID_TOPIC_EXCEPTION),
        (TOPIC, "orders", ("remote.storage.enable", SET, "true"), INVALID_CONFIG),
        (BROKER_LOGGER, "2", ("root", SET, "INFO"), INVALID_REQUEST),
    ],
)
def test_a_change_that_cannot_be_is_refused(kind: int, name: str, change: tuple[str, int, str | None], code: int):
    async def scenario(rig: ColdRig):
        await create(rig, "orders")
        return await alter(rig, kind, name, change)

    result = run_cold(scenario)

    assert (result.error_code, result.resource_name) == (code, name), result.error_message
    assert result.error_message


def test_a_broker_of_more_digits_than_int_takes_is_refused_and_its_neighbours_are_changed():
    async def scenario(rig: ColdRig):
        await create(rig, "orders")
        asked = [(BROKER, "9" * 5_000, "log.cleaner.threads"), (BROKER_LOGGER, "0" * 5_000 + "2", "root")]
        resources = [
            incremental_alter_configs.AlterConfigsResource(
                resource_type=kind,
                resource_name=name,
                configs=[incremental_alter_configs.AlterableConfig(name=key, config_operation=SET, value="5")],
            )
            for kind, name, key in (*asked, (TOPIC, "orders", "retention.ms"))
        ]
        changed = await rig.call(incremental_alter_configs.IncrementalAlterConfigsRequest(resources=resources), 1)
        shown = [(await describe(rig, kind, name)).error_code for kind, name, _ in asked]
        return [result.error_code for result in changed.responses], shown

    assert run_cold(scenario) == ([INVALID_REQUEST, INVALID_REQUEST, NONE], [INVALID_REQUEST] * 2)


@pytest.mark.parametrize(("name", "alike"), [("", "1"), ("1", "01")], ids=["all brokers", "this broker"])
def test_what_no_key_of_ours_is_can_be_set_for_a_broker_and_is_shown(name: str, alike: str):
    """By whoever moves replicas, for one: his tool looks at what it has set."""
    keys = ["leader.replication.throttled.rate", "plugin.secret"]

    async def scenario(rig: ColdRig):
        await alter(rig, BROKER, name, *((key, SET, "1000") for key in keys))
        return [await describe(rig, BROKER, each, keys) for each in (name, alike)]

    for shown in run_cold(scenario):
        assert [(each.name, each.value, each.is_sensitive, each.config_type) for each in shown.configs] == [
            ("leader.replication.throttled.rate", "1000", False, 5),
            ("plugin.secret", None, True, 0),
        ]


@pytest.mark.parametrize("name", ["broker.id", "node.id", "log.dirs", "process.roles", "num.partitions"])
def test_what_only_a_start_can_change_is_refused_in_kafkas_words(name: str):
    async def scenario(rig: ColdRig):
        return await alter(rig, BROKER, "1", (name, SET, "5"))

    answer = run_cold(scenario)
    assert (answer.error_code, answer.error_message) == (
        INVALID_REQUEST,
        f"Cannot update these configs dynamically: Set({name})",
    )


def test_the_level_of_a_logger_changes_and_goes_back():
    async def scenario(rig: ColdRig):
        async def level() -> str | None:
            return values(await describe(rig, BROKER_LOGGER, "1"))["pystream.broker.router"][0]

        levels = [await level()]
        await alter(rig, BROKER_LOGGER, "1", ("pystream.broker.router", SET, "DEBUG"))
        levels.append(await level())
        await alter(rig, BROKER_LOGGER, "1", ("pystream.broker.router", DELETE, None))
        levels.append(await level())
        return levels

    before, changed, after = run_cold(scenario)

    assert changed == "DEBUG"
    assert after == before != "DEBUG"


@pytest.mark.parametrize("version", range(3))
def test_the_old_way_replaces_all_settings(version: int):
    async def scenario(rig: ColdRig):
        await create(rig, "orders", retention_ms="5", segment_ms="6000")
        resource = alter_configs.AlterConfigsResource(
            resource_type=TOPIC,
            resource_name="orders",
            configs=[alter_configs.AlterableConfig(name="retention.ms", value="8")],
        )
        response = await rig.call(alter_configs.AlterConfigsRequest(resources=[resource]), version)
        return response.responses[0].error_code, rig.logs.get("orders", 0).config

    code, config = run_cold(scenario)

    assert code == NONE
    assert (config.retention_ms, config.segment_ms) == (8, 604_800_000)
