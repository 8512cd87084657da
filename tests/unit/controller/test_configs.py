from __future__ import annotations

import asyncio

import pytest

from pystream.common import errors
from pystream.controller.requests import (
    Alteration,
    AlterOperation,
    ConfigAlteration,
    ConfigReplacement,
    NewTopic,
    ResourceType,
)
from tests.support.controller import ControllerKit, with_controller

SET, DELETE, APPEND, SUBTRACT = AlterOperation


def alter(*alterations: tuple[str, int, str | None], topic: str = "t") -> ConfigAlteration:
    return ConfigAlteration(
        resource_type=ResourceType.TOPIC, resource_name=topic, alterations=[Alteration(*each) for each in alterations]
    )


def alter_broker(name: str, *alterations: tuple[str, int, str | None]) -> ConfigAlteration:
    return ConfigAlteration(
        resource_type=ResourceType.BROKER, resource_name=name, alterations=[Alteration(*each) for each in alterations]
    )


async def create(kit: ControllerKit, **configs: str) -> None:
    await kit.topics.create_topics([NewTopic(name="t", configs=[(k.replace("_", "."), v) for k, v in configs.items()])])


def test_keys_are_set_deleted_appended_and_subtracted() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await create(kit, retention_ms="5", segment_ms="6")
        await kit.configs.incremental_alter_configs(
            [
                alter(
                    ("retention.ms", SET, "7"),
                    ("segment.ms", DELETE, None),
                    ("cleanup.policy", APPEND, "compact"),
                    ("flush.ms", DELETE, None),
                )
            ]
        )
        assert kit.image.topics["t"].configs == {"retention.ms": "7", "cleanup.policy": "delete,compact"}
        await kit.configs.incremental_alter_configs([alter(("cleanup.policy", SUBTRACT, "delete"))])
        await kit.configs.incremental_alter_configs([alter(("cleanup.policy", APPEND, "compact"))])
        assert kit.image.topics["t"].configs["cleanup.policy"] == "compact"

    with_controller(scenario)


def test_settings_can_be_replaced_whole() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await create(kit, retention_ms="5", segment_ms="6")
        await kit.configs.alter_configs(
            [ConfigReplacement(resource_type=2, resource_name="t", configs=[("flush.ms", "9")])]
        )
        assert kit.image.topics["t"].configs == {"flush.ms": "9"}
        await kit.configs.alter_configs([ConfigReplacement(resource_type=2, resource_name="t", configs=[])])
        assert kit.image.topics["t"].configs == {}

    with_controller(scenario)


@pytest.mark.parametrize(
    ("resource", "error", "message"),
    [
        (
            alter(("retention.ms", SET, "1"), topic="no"),
            errors.UnknownTopicOrPartition,
            "The topic 'no' does not exist.",
        ),
        (alter(("nope", SET, "1")), errors.InvalidConfig, "Unknown topic config name: nope"),
        (
            alter(("retention.ms", SET, "x")),
            errors.InvalidConfig,
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
        ),
        (
            alter(("retention.ms", APPEND, "1")),
            errors.InvalidConfig,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            alter(("cleanup.policy", APPEND, "shred")),
            errors.InvalidConfig,
            "Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        (
            alter(("retention.ms", SET, None)),
            errors.InvalidRequest,
            "Null value not supported for : retention.ms",
        ),
        (
            alter(("retention.ms", SET, "1"), ("retention.ms", DELETE, None)),
            errors.InvalidRequest,
            "Error due to duplicate config keys",
        ),
        (alter(("retention.ms", 9, "1")), errors.InvalidRequest, "Unknown alter config operation 9"),
        (
            ConfigAlteration(resource_type=99, resource_name="t", alterations=[]),
            errors.InvalidRequest,
            "Unknown resource type 99",
        ),
        (
            alter_broker("one", ("log.retention.ms", SET, "1")),
            errors.InvalidRequest,
            "Node id must be an integer, but it is: one",
        ),
        (
            alter_broker("", ("num.partitions", SET, "3")),
            errors.InvalidRequest,
            "Cannot update these configs dynamically: Set(num.partitions)",
        ),
        (
            alter_broker("1", ("log.retention.ms", SET, "x")),
            errors.InvalidRequest,
            "Invalid value x for configuration log.retention.ms: Not a number of type LONG",
        ),
    ],
)
def test_what_cannot_be_altered_is_refused_in_kafkas_words(
    resource: ConfigAlteration, error: type[errors.KafkaError], message: str
) -> None:
    async def scenario(kit: ControllerKit) -> None:
        await create(kit, segment_ms="6")
        before = kit.store.revision
        (outcome,) = await kit.configs.incremental_alter_configs([resource])
        assert type(outcome.error) is error
        assert str(outcome.error) == message
        assert kit.store.revision == before

    with_controller(scenario)


def test_one_bad_resource_does_not_fail_its_neighbours_and_each_gets_one_outcome() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await create(kit)
        outcomes = await kit.configs.incremental_alter_configs(
            [
                alter(("retention.ms", SET, "1"), topic="no"),
                alter(("retention.ms", SET, "1")),
                alter_broker("1"),
                alter_broker("1"),
            ]
        )
        assert [(o.resource_name, type(o.error)) for o in outcomes] == [
            ("no", errors.UnknownTopicOrPartition),
            ("t", type(None)),
            ("1", errors.InvalidRequest),
            ("1", errors.InvalidRequest),
        ]
        assert kit.image.topics["t"].configs == {"retention.ms": "1"}

    with_controller(scenario)


def test_brokers_settings_are_of_one_broker_or_of_all() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await kit.configs.incremental_alter_configs(
            [alter_broker("", ("log.retention.ms", SET, "1")), alter_broker("7", ("log.retention.ms", SET, "2"))]
        )
        assert kit.image.broker_configs("") == {"log.retention.ms": "1"}
        assert kit.image.broker_configs("7") == {"log.retention.ms": "2"}

    with_controller(scenario)


def test_a_brokers_unknown_setting_is_kept_as_kafka_keeps_it() -> None:
    async def scenario(kit: ControllerKit) -> None:
        (outcome,) = await kit.configs.incremental_alter_configs([alter_broker("7", ("plugin.own.key", SET, "on"))])
        assert outcome.error is None
        assert kit.image.broker_configs("7") == {"plugin.own.key": "on"}

    with_controller(scenario)


def test_validating_only_changes_nothing() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await create(kit)
        before = kit.store.revision
        good, bad = alter(("retention.ms", SET, "1")), alter(("nope", SET, "1"), topic="t")
        assert [o.error for o in await kit.configs.incremental_alter_configs([good], validate_only=True)] == [None]
        (refused,) = await kit.configs.incremental_alter_configs([bad], validate_only=True)
        assert isinstance(refused.error, errors.InvalidConfig)
        assert kit.store.revision == before

    with_controller(scenario)


def test_a_change_to_what_is_already_so_writes_nothing() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await create(kit, retention_ms="5")
        before = kit.store.revision
        (outcome,) = await kit.configs.incremental_alter_configs([alter(("retention.ms", SET, "5"))])
        assert (outcome.error, kit.store.revision) == (None, before)

    with_controller(scenario)


def test_changes_at_once_lose_nothing() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await create(kit)
        keys = ["retention.ms", "segment.ms", "flush.ms", "max.message.bytes", "min.insync.replicas"]
        results = await asyncio.gather(
            *(kit.configs.incremental_alter_configs([alter((name, SET, "100"))]) for name in keys)
        )
        assert [outcome.error for (outcome,) in results] == [None] * len(keys)
        assert kit.image.topics["t"].configs == dict.fromkeys(keys, "100")

    with_controller(scenario)


def test_a_topic_deleted_meanwhile_is_unknown() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await create(kit)
        deleting, altering = await asyncio.gather(
            kit.topics.delete_topics(names=["t"]),
            kit.configs.incremental_alter_configs([alter(("flush.ms", SET, "1"))]),
        )
        assert deleting[0].error is None
        assert altering[0].error is None or isinstance(altering[0].error, errors.UnknownTopicOrPartition)
        assert [item.key for item in (await kit.store.range("configs/")).items] == []

    with_controller(scenario)
