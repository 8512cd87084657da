"""Compaction and dynamic settings of a whole broker, with clients."""

from __future__ import annotations

import contextlib
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewTopic,
    ResourceType,
)

from pystream.protocol.messages.api_versions import ApiVersionsRequest
from pystream.protocol.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawClient

TIMEOUT_SECONDS = 60.0
MakeBroker = Callable[..., BrokerProcess]
EAGER = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.0",
    "segment.ms": "1",
    "delete.retention.ms": "0",
}


def create(broker: BrokerProcess, name: str, config: dict[str, str]) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(name, 1, 1, config=config)])[name].result(TIMEOUT_SECONDS)


def produce(broker: BrokerProcess, topic: str, pairs: list[tuple[str, str | None]], *, timestamp: int) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 0})
    for number, (key, value) in enumerate(pairs):
        producer.produce(topic, key=key, value=value, timestamp=timestamp + 10 * number)
        assert producer.flush(TIMEOUT_SECONDS) == 0


def consume(broker: BrokerProcess, topic: str) -> list[tuple[int, str, str | None]]:
    """(offset, key, value) of everything from the beginning to the end, under read_committed."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": "none",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "check.crcs": True,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), TIMEOUT_SECONDS)
    found = []
    while consumer.position([TopicPartition(topic, 0)])[0].offset < end:
        message = consumer.poll(1.0)
        if message is not None:
            assert message.error() is None
            value = message.value()
            found.append((message.offset(), message.key().decode(), None if value is None else value.decode()))
    consumer.close()
    return found


def alter(broker: BrokerProcess, resource: ResourceType, name: str, key: str, value: str | None) -> None:
    operation = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
    entry = ConfigEntry(key, value or "", incremental_operation=operation)
    changed = ConfigResource(resource, name, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for future in admin.incremental_alter_configs([changed]).values():
        future.result(TIMEOUT_SECONDS)


def alter_all_brokers(broker: BrokerProcess, key: str, value: str) -> None:
    """librdkafka's admin client does not know the resource without a name."""
    change = AlterableConfig(name=key, config_operation=0, value=value)
    resource = AlterConfigsResource(resource_type=4, resource_name="", configs=(change,))
    with RawClient(broker.port) as client:
        (answer,) = client.call(IncrementalAlterConfigsRequest(resources=(resource,)), 1).responses
    assert answer.error_code == 0


def describe(broker: BrokerProcess, resource: ResourceType, name: str) -> dict[str, ConfigEntry]:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    futures = admin.describe_configs([ConfigResource(resource, name)])
    return next(iter(futures.values())).result(TIMEOUT_SECONDS)


def metric(broker: BrokerProcess, name: str) -> float:
    with urllib.request.urlopen(f"{broker.metrics_url}/metrics") as answer:
        found = re.search(rf"^{name} (.*)$", answer.read().decode(), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def await_rounds(broker: BrokerProcess, count: int) -> None:
    while metric(broker, "pystream_log_cleaner_rounds_total") < count:
        pass


@pytest.fixture
def eager_broker(make_broker: MakeBroker) -> BrokerProcess:
    return make_broker({"log.cleaner.backoff.ms": "20", "log.segment.delete.delay.ms": "100"}).start()


def test_a_client_reads_the_last_value_of_each_key_and_again_after_kill(eager_broker: BrokerProcess, tmp_path: Path):
    create(eager_broker, "state", EAGER)
    pairs: list[tuple[str, str | None]] = [(f"k{number % 5}", f"v{number}") for number in range(40)]
    produce(eager_broker, "state", [*pairs, ("k0", None), ("end", "1"), ("end", "2")], timestamp=1_700_000_000_000)
    expected = [(36, "k1", "v36"), (37, "k2", "v37"), (38, "k3", "v38"), (39, "k4", "v39"), (42, "end", "2")]
    seen = consume(eager_broker, "state")
    while len(seen) > 7:  # the tombstone may go; the end of the log stays
        seen = consume(eager_broker, "state")
    assert [entry for entry in seen if entry[0] not in (40, 41)] == expected

    eager_broker.kill()
    eager_broker.start()

    assert [entry for entry in consume(eager_broker, "state") if entry[0] not in (40, 41)] == expected
    assert not list((tmp_path / "data" / "state-0").glob("*.swap"))


def test_a_topic_becomes_compacted_without_a_restart(eager_broker: BrokerProcess):
    settings = {"segment.ms": "1", "min.cleanable.dirty.ratio": "0.0", "retention.ms": "-1"}
    create(eager_broker, "late", settings)
    produce(eager_broker, "late", [("a", "1"), ("a", "2"), ("a", "3")], timestamp=1_700_000_000_000)
    assert len(consume(eager_broker, "late")) == 3

    alter(eager_broker, ResourceType.TOPIC, "late", "cleanup.policy", "compact")

    await_rounds(eager_broker, 1)
    seen = consume(eager_broker, "late")
    assert seen in ([(1, "a", "2"), (2, "a", "3")], [(2, "a", "3")])


def test_cleaner_keys_take_effect_at_once(make_broker: MakeBroker):
    broker = make_broker({"log.cleaner.backoff.ms": "86400000"}).start()
    create(broker, "state", EAGER)
    produce(broker, "state", [("a", "1"), ("a", "2"), ("b", "1")], timestamp=1_700_000_000_000)

    alter(broker, ResourceType.BROKER, "1", "log.cleaner.backoff.ms", "10")

    await_rounds(broker, 1)
    assert [entry[2] for entry in consume(broker, "state")] == ["2", "1"]
    shown = describe(broker, ResourceType.BROKER, "1")["log.cleaner.backoff.ms"]
    assert (shown.value, shown.source) == ("10", ConfigSource.DYNAMIC_BROKER_CONFIG.value)


def test_a_limit_of_connections_takes_effect_at_once_and_after_a_restart(make_broker: MakeBroker):
    broker = make_broker().start()
    alter(broker, ResourceType.BROKER, "1", "max.connections.per.ip", "3")

    def is_refused(connection: RawClient) -> bool:
        try:
            return connection.call(ApiVersionsRequest(), 0).error_code != 0
        except ConnectionError:
            return True

    def refused() -> int:
        with contextlib.ExitStack() as stack:
            return [is_refused(stack.enter_context(RawClient(broker.port))) for _ in range(6)].count(True)

    assert refused() >= 3
    broker.terminate()
    broker.start()
    assert refused() >= 3


def test_cluster_wide_defaults_reach_topics_at_once(eager_broker: BrokerProcess):
    create(eager_broker, "sized", {})
    alter_all_brokers(eager_broker, "message.max.bytes", "2000")
    producer = Producer({"bootstrap.servers": eager_broker.bootstrap})
    errors = []
    producer.produce("sized", value=bytes(5000), on_delivery=lambda error, _: errors.append(error))
    producer.flush(TIMEOUT_SECONDS)
    shown = describe(eager_broker, ResourceType.TOPIC, "sized")["max.message.bytes"]

    assert errors[0].name() == "MSG_SIZE_TOO_LARGE"
    assert (shown.value, shown.source) == ("2000", ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG.value)


@pytest.mark.parametrize("key", ["num.partitions", "log.dirs", "log.cleaner.enable", "node.id"])
def test_keys_that_are_fixed_at_the_start_are_refused(eager_broker: BrokerProcess, key: str):
    with pytest.raises(KafkaException, match="Cannot update these configs dynamically"):
        alter(eager_broker, ResourceType.BROKER, "1", key, "2")


def test_a_keyless_record_is_refused_on_a_compacted_topic(eager_broker: BrokerProcess):
    create(eager_broker, "state", EAGER)
    errors = []
    producer = Producer({"bootstrap.servers": eager_broker.bootstrap})
    producer.produce("state", value=b"1", on_delivery=lambda error, _: errors.append(error))
    producer.flush(TIMEOUT_SECONDS)

    assert errors[0].name() == "INVALID_RECORD"
