"""Real admin clients against a real broker: what they create, change and read back."""

from __future__ import annotations

import uuid
import warnings

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as ConfluentPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from tests.support.broker_process import BrokerProcess

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python reads its schemas by an old way of importlib
    from kafka import KafkaAdminClient
    from kafka.admin import NewTopic as PythonNewTopic

TIMEOUT_SECONDS = 60.0


@pytest.fixture
def admin(broker: BrokerProcess) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.bootstrap})


@pytest.fixture
def name() -> str:
    return f"topic-{uuid.uuid4().hex[:12]}"


def result_of(futures):
    """The one result of a call with one item."""
    (future,) = futures.values()
    return future.result(TIMEOUT_SECONDS)


def create(admin: AdminClient, name: str, partitions: int = 1, **config: str) -> None:
    settings = {key.replace("_", "."): value for key, value in config.items()}
    result_of(admin.create_topics([NewTopic(name, partitions, 1, config=settings)]))


def settings_of(admin: AdminClient, kind: ConfigResource.Type, name: str) -> dict[str, ConfigEntry]:
    return result_of(admin.describe_configs([ConfigResource(kind, name)]))


def test_a_topic_is_created_described_and_deleted(admin: AdminClient, name: str):
    create(admin, name, partitions=3)
    described = admin.list_topics(name, timeout=TIMEOUT_SECONDS).topics[name]
    result_of(admin.delete_topics([name]))

    assert sorted(described.partitions) == [0, 1, 2]
    assert name not in admin.list_topics(timeout=TIMEOUT_SECONDS).topics


def test_creating_twice_says_that_it_is_there(admin: AdminClient, name: str):
    create(admin, name)

    with pytest.raises(KafkaException) as refused:
        create(admin, name)
    assert refused.value.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS


def test_an_invalid_setting_is_refused(admin: AdminClient, name: str):
    with pytest.raises(KafkaException) as refused:
        create(admin, name, retention_ms="soon")
    assert refused.value.args[0].code() == KafkaError.INVALID_CONFIG


def test_a_topic_grows(admin: AdminClient, name: str):
    create(admin, name)
    result_of(admin.create_partitions([NewPartitions(name, 4)]))

    assert len(admin.list_topics(name, timeout=TIMEOUT_SECONDS).topics[name].partitions) == 4


def test_a_setting_is_changed_and_taken_back(admin: AdminClient, name: str):
    create(admin, name)

    def alter(operation: AlterConfigOpType, value: str | None) -> str:
        entry = ConfigEntry("retention.ms", value, incremental_operation=operation)
        resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
        result_of(admin.incremental_alter_configs([resource]))
        return settings_of(admin, ConfigResource.Type.TOPIC, name)["retention.ms"].value

    assert alter(AlterConfigOpType.SET, "1234") == "1234"
    assert alter(AlterConfigOpType.DELETE, None) == "604800000"


def test_the_brokers_settings_are_shown(admin: AdminClient):
    settings = settings_of(admin, ConfigResource.Type.BROKER, "1")

    assert settings["log.segment.bytes"].value == "1073741824"
    assert not settings["num.network.threads"].is_read_only
    assert settings["num.partitions"].is_read_only


def test_the_cluster_is_described(admin: AdminClient, broker: BrokerProcess):
    cluster = admin.describe_cluster(include_authorized_operations=True).result(TIMEOUT_SECONDS)

    assert [(node.id, f"{node.host}:{node.port}") for node in cluster.nodes] == [(1, broker.bootstrap)]
    assert cluster.controller.id == 1
    assert len(cluster.cluster_id) == 22


def test_records_are_deleted_up_to_an_offset(admin: AdminClient, broker: BrokerProcess, name: str):
    create(admin, name)
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for number in range(10):
        producer.produce(name, str(number), partition=0)
    assert producer.flush(TIMEOUT_SECONDS) == 0

    deleted = result_of(admin.delete_records([ConfluentPartition(name, 0, 6)]))
    partition = ConfluentPartition(name, 0)
    earliest = result_of(admin.list_offsets({partition: OffsetSpec.earliest()}))

    assert deleted.low_watermark == 6
    assert earliest.offset == 6


def test_deleting_records_above_the_end_is_refused(admin: AdminClient, name: str):
    create(admin, name)

    with pytest.raises(KafkaException) as refused:
        result_of(admin.delete_records([ConfluentPartition(name, 0, 5)]))
    assert refused.value.args[0].code() == KafkaError.OFFSET_OUT_OF_RANGE


def test_an_idempotent_producer_gets_its_id(broker: BrokerProcess, admin: AdminClient, name: str):
    create(admin, name)
    failures: list[object] = []
    producer = Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True})
    for number in range(100):
        producer.produce(name, str(number), on_delivery=lambda error, _: error and failures.append(error))

    assert producer.flush(TIMEOUT_SECONDS) == 0
    assert failures == []


def test_kafka_python_creates_describes_and_deletes(broker: BrokerProcess, name: str):
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    try:
        admin.create_topics([PythonNewTopic(name, num_partitions=2, replication_factor=1)])
        assert name in admin.list_topics()
        (described,) = admin.describe_topics([name])
        assert len(described["partitions"]) == 2
        directories = admin.describe_log_dirs()
        assert directories
        admin.delete_topics([name])
        assert name not in admin.list_topics()
    finally:
        admin.close()
