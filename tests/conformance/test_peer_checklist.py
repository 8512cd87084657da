"""Faults that clients' own tests caught in a peer (the broker's design page, section 4): each line has its test here.

Lines that concern groups, transactions, compaction and ACLs come with the parts that bring those. Every test here
passes on Apache Kafka too (PYSTREAM_TEST_BOOTSTRAP).
"""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)
from kio.schema.api_versions.v4 import request as api_versions
from kio.schema.describe_cluster.v1 import request as describe_cluster
from kio.schema.metadata.v10 import request as metadata
from kio.schema.offset_for_leader_epoch.v4 import request as offset_for_leader_epoch
from kio.serial import entity_writer

from tests.conformance import wire
from tests.conformance.clients import CLIENTS, kafka_python_batch
from tests.conformance.records import CODECS

ADMIN_SECONDS = 120
INVALID_CONFIG = 40
INVALID_RECORD = 87
UNSUPPORTED_VERSION = 35
UNKNOWN_TOPIC_OR_PARTITION = 3
OFFSET_OUT_OF_RANGE = 1
FIRST_MS = 1_700_000_000_000
# AclOperation of Kafka: the bits that mean something for a topic and for the cluster
TOPIC_OPERATIONS = {3, 4, 5, 6, 7, 8, 10, 11}  # READ .. DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS
CLUSTER_OPERATIONS = {5, 7, 8, 9, 10, 11, 12}  # CREATE, ALTER .. IDEMPOTENT_WRITE

NewTopicName = Callable[..., str]


@pytest.fixture
def connection(bootstrap: str) -> Iterator[wire.Connection]:
    with wire.Connection(bootstrap) as opened:
        yield opened


def write(connection: wire.Connection, topic: str, batch: bytes) -> None:
    answer = wire.produce(connection, topic, 0, batch)
    assert int(answer.error_code) == 0, answer


def offset_at(connection: wire.Connection, topic: str, timestamp: int) -> Any:
    return wire.list_offset(connection, topic, 0, timestamp)


# -- ListOffsets: high watermark and offsets by time


@pytest.mark.parametrize("codec", CODECS)
def test_an_offset_by_time_is_that_of_the_first_record_not_older(
    codec: str, connection: wire.Connection, new_topic: NewTopicName
) -> None:
    """Within a batch too, whatever its codec; the answer carries the record's own time."""
    topic = new_topic(f"by-time-{codec}")
    for start in (0, 10):
        rows = [(FIRST_MS + 100 * (start + index), b"key", b"value" * 20) for index in range(10)]
        write(connection, topic, kafka_python_batch(codec, rows))

    answers = {asked: offset_at(connection, topic, FIRST_MS + asked) for asked in (0, 1, 100, 950, 1_000, 1_850, 1_900)}

    assert {asked: (answer.offset, answer.timestamp - FIRST_MS) for asked, answer in answers.items()} == {
        0: (0, 0),
        1: (1, 100),
        100: (1, 100),
        950: (10, 1_000),
        1_000: (10, 1_000),
        1_850: (19, 1_900),
        1_900: (19, 1_900),
    }
    assert offset_at(connection, topic, FIRST_MS + 1_901).offset == -1


def test_earliest_latest_and_newest_offsets(connection: wire.Connection, new_topic: NewTopicName) -> None:
    topic = new_topic("special-times")
    rows = [(FIRST_MS, b"a", b"1"), (FIRST_MS + 50, b"b", b"2"), (FIRST_MS + 20, b"c", b"3")]
    write(connection, topic, kafka_python_batch("none", rows))

    assert offset_at(connection, topic, wire.EARLIEST).offset == 0
    assert offset_at(connection, topic, wire.LATEST).offset == 3
    newest = offset_at(connection, topic, wire.MAX_TIMESTAMP)
    assert (newest.offset, newest.timestamp) == (1, FIRST_MS + 50)


def test_the_high_watermark_is_known_before_the_first_fetch(
    bootstrap: str, connection: wire.Connection, new_topic: NewTopicName
) -> None:
    topic = new_topic("watermark")
    write(connection, topic, kafka_python_batch("none", [(FIRST_MS, b"key", b"value")] * 7))
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "watermarks"})
    try:
        assert consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=ADMIN_SECONDS) == (0, 7)
    finally:
        consumer.close()


# -- CreatePartitions and OffsetForLeaderEpoch


def test_partitions_are_added(admin: AdminClient, connection: wire.Connection, new_topic: NewTopicName) -> None:
    topic = new_topic("grows")
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(ADMIN_SECONDS)
    assert len(admin.list_topics(topic, timeout=ADMIN_SECONDS).topics[topic].partitions) == 3


def test_fewer_partitions_are_refused(admin: AdminClient, new_topic: NewTopicName) -> None:
    topic = new_topic("shrinks", partitions=2)
    with pytest.raises(KafkaException, match="INVALID_PARTITIONS"):
        admin.create_partitions([NewPartitions(topic, 1)])[topic].result(ADMIN_SECONDS)


def test_the_end_offset_of_a_leader_epoch(connection: wire.Connection, new_topic: NewTopicName) -> None:
    topic = new_topic("epochs")
    write(connection, topic, kafka_python_batch("none", [(FIRST_MS, b"key", b"value")] * 5))
    (batch,) = wire.batches(wire.fetch(connection, topic, 0, 0))

    part = offset_for_leader_epoch.OffsetForLeaderPartition(partition=0, leader_epoch=batch.partition_leader_epoch)
    topics = (offset_for_leader_epoch.OffsetForLeaderTopic(topic=topic, partitions=(part,)),)
    answer = connection.call(offset_for_leader_epoch.OffsetForLeaderEpochRequest(replica_id=-1, topics=topics))

    (epoch,) = answer.topics[0].partitions
    assert (int(epoch.error_code), epoch.leader_epoch, epoch.end_offset) == (0, batch.partition_leader_epoch, 5)


def test_the_running_leader_epoch_ends_at_the_end_of_an_empty_log_too(
    connection: wire.Connection, new_topic: NewTopicName
) -> None:
    part = offset_for_leader_epoch.OffsetForLeaderPartition(partition=0, leader_epoch=0)
    topics = (offset_for_leader_epoch.OffsetForLeaderTopic(topic=new_topic("no-epochs"), partitions=(part,)),)
    answer = connection.call(offset_for_leader_epoch.OffsetForLeaderEpochRequest(replica_id=-1, topics=topics))

    (epoch,) = answer.topics[0].partitions
    assert (int(epoch.error_code), epoch.leader_epoch, epoch.end_offset) == (0, 0, 0)


# -- DescribeConfigs and validation


def test_topic_configs_come_with_value_source_and_synonyms(admin: AdminClient, new_topic: NewTopicName) -> None:
    topic = new_topic("described", **{"max.message.bytes": "12345"})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    configs = admin.describe_configs([resource])[resource].result(ADMIN_SECONDS)

    assert configs["max.message.bytes"].value == "12345"
    assert not configs["max.message.bytes"].is_default
    assert configs["segment.bytes"].value == str(1 << 30)
    assert configs["segment.bytes"].is_default
    assert {"cleanup.policy", "compression.type", "min.insync.replicas", "message.timestamp.type"} <= configs.keys()
    assert "message.max.bytes" in configs["max.message.bytes"].synonyms


def test_broker_configs_are_described(admin: AdminClient) -> None:
    (broker, *_) = admin.list_topics(timeout=ADMIN_SECONDS).brokers
    resource = ConfigResource(ResourceType.BROKER, str(broker))
    configs = admin.describe_configs([resource])[resource].result(ADMIN_SECONDS)
    assert {"log.retention.ms", "num.partitions", "message.max.bytes"} <= configs.keys()


@pytest.mark.parametrize(
    ("name", "value"),
    [("cleanup.policy", "shred"), ("segment.bytes", "-7"), ("retention.ms", "soon"), ("no.such", "1")],
)
def test_an_invalid_topic_config_is_refused(name: str, value: str, admin: AdminClient, new_topic: NewTopicName) -> None:
    topic = new_topic("refused")
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    with pytest.raises(KafkaException) as raised:
        admin.incremental_alter_configs([resource])[resource].result(ADMIN_SECONDS)
    assert raised.value.args[0].code() == INVALID_CONFIG


# -- DeleteRecords


def test_deleting_records_moves_the_start_and_harms_no_other_connection(
    admin: AdminClient, connection: wire.Connection, new_topic: NewTopicName
) -> None:
    topic = new_topic("deleted")
    write(connection, topic, kafka_python_batch("none", [(FIRST_MS, b"key", b"value")] * 10))

    partition = TopicPartition(topic, 0, 6)
    deleted = admin.delete_records([partition])[partition].result(ADMIN_SECONDS)

    assert deleted.low_watermark == 6
    assert offset_at(connection, topic, wire.EARLIEST).offset == 6
    (answered,) = connection.call(wire.fetch_request(topic, 0, 2)).responses
    assert int(answered.partitions[0].error_code) == OFFSET_OUT_OF_RANGE
    assert [batch.record_count for batch in wire.batches(wire.fetch(connection, topic, 0, 6))] == [10]


def test_records_beyond_the_end_are_not_deleted(
    admin: AdminClient, connection: wire.Connection, new_topic: NewTopicName
) -> None:
    topic = new_topic("kept")
    write(connection, topic, kafka_python_batch("none", [(FIRST_MS, b"key", b"value")] * 3))
    partition = TopicPartition(topic, 0, 4)
    with pytest.raises(KafkaException) as raised:
        admin.delete_records([partition])[partition].result(ADMIN_SECONDS)
    assert raised.value.args[0].code() == OFFSET_OUT_OF_RANGE
    assert offset_at(connection, topic, wire.EARLIEST).offset == 0


# -- fetch max bytes


def test_fetch_limits_are_honoured_and_a_larger_first_batch_comes_all_the_same(
    connection: wire.Connection, new_topic: NewTopicName
) -> None:
    topic = new_topic("limits")
    batch = kafka_python_batch("none", [(FIRST_MS, b"key", b"v" * 5_000)])
    for _ in range(10):
        write(connection, topic, batch)

    def fetched(**limits: int) -> int:
        (answered,) = connection.call(wire.fetch_request(topic, 0, 0, **limits)).responses
        return len(list(wire.batches(bytes(answered.partitions[0].records or b""))))

    assert fetched() == 10
    assert fetched(max_bytes=3 * len(batch)) == 3
    assert fetched(partition_max_bytes=3 * len(batch) + 1) == 3
    assert fetched(max_bytes=100) == 1
    assert fetched(partition_max_bytes=100) == 1


# -- records refused by themselves; LogAppendTime


def test_a_keyless_record_on_a_compacted_topic_is_named_in_the_refusal(
    connection: wire.Connection, new_topic: NewTopicName
) -> None:
    topic = new_topic("compacted", **{"cleanup.policy": "compact"})
    rows = [(FIRST_MS, b"key", b"value"), (FIRST_MS, None, b"value"), (FIRST_MS, b"key", b"value")]

    answer = wire.produce(connection, topic, 0, kafka_python_batch("none", rows))

    assert int(answer.error_code) == INVALID_RECORD
    assert [error.batch_index for error in answer.record_errors] == [1]
    assert offset_at(connection, topic, wire.LATEST).offset == 0


@pytest.mark.parametrize("codec", CODECS)
def test_log_append_time_replaces_the_producers(
    codec: str, connection: wire.Connection, new_topic: NewTopicName
) -> None:
    topic = new_topic("append-time", **{"message.timestamp.type": "LogAppendTime"})
    before_ms = time.time() * 1_000

    write(connection, topic, kafka_python_batch(codec, [(FIRST_MS, b"key", b"value")] * 3))

    (batch,) = wire.batches(wire.fetch(connection, topic, 0, 0))
    assert batch.attributes & 8, "timestamp type"
    assert before_ms - 1 <= batch.max_timestamp <= time.time() * 1_000 + 1


# -- ApiVersions, tagged fields


def test_api_versions_of_an_unknown_version_is_answered_in_version_0(connection: wire.Connection) -> None:
    header = struct.pack(">hhi", 18, 99, wire.CORRELATION_ID) + struct.pack(">h", 4) + b"test"
    connection.send(header + b"\0any body")
    answer = connection.receive()
    correlation, error, count = struct.unpack_from(">ihi", answer)
    keys = {key: (low, high) for key, low, high in struct.iter_unpack(">hhh", answer[10:])}
    assert (correlation, error) == (wire.CORRELATION_ID, UNSUPPORTED_VERSION)
    assert count == len(keys)
    assert keys[18] == (0, 4)
    # and the connection still serves
    assert connection.call(api_versions.ApiVersionsRequest(client_software_name="a", client_software_version="1"))


def test_no_tagged_field_is_written_at_its_default(connection: wire.Connection) -> None:
    """kio leaves such fields out: what it writes back of an answer is the answer, byte for byte."""
    requests = [
        api_versions.ApiVersionsRequest(client_software_name="test", client_software_version="1"),
        describe_cluster.DescribeClusterRequest(include_cluster_authorized_operations=True),
    ]
    for request in requests:
        connection.send(wire.request_bytes(request))
        answer = connection.receive()
        body = wire.parse_response(type(request), answer)
        buffer = io.BytesIO()
        entity_writer(type(body))(buffer, body)
        assert answer.endswith(buffer.getvalue())
        assert len(answer) - len(buffer.getvalue()) in (4, 5), "the header: correlation id, and tags when flexible"


def test_the_old_kcat_connects(
    bootstrap: str, connection: wire.Connection, new_topic: NewTopicName, tmp_path: Path
) -> None:
    topic = new_topic("old-client")
    write(connection, topic, kafka_python_batch("none", [(FIRST_MS, b"key", b"value")]))
    (placed,) = CLIENTS["kcat"](tmp_path).consume(bootstrap, topic, [1], seconds=ADMIN_SECONDS)
    assert (placed.record.timestamp_ms, placed.record.key, placed.record.value) == (FIRST_MS, b"key", b"value")


# -- authorized operations


def operations(bits: int) -> set[int]:
    return {bit for bit in range(32) if bits & (1 << bit)}


def test_authorized_operations_have_no_meaningless_bit(connection: wire.Connection, new_topic: NewTopicName) -> None:
    topic = new_topic("operations")
    answer = connection.call(
        metadata.MetadataRequest(
            topics=(metadata.MetadataRequestTopic(topic_id=None, name=topic),),
            include_cluster_authorized_operations=True,
            include_topic_authorized_operations=True,
        )
    )
    cluster = connection.call(describe_cluster.DescribeClusterRequest(include_cluster_authorized_operations=True))

    (described,) = answer.topics
    assert operations(described.topic_authorized_operations)
    assert operations(described.topic_authorized_operations) <= TOPIC_OPERATIONS
    assert operations(answer.cluster_authorized_operations) <= CLUSTER_OPERATIONS
    assert operations(cluster.cluster_authorized_operations) <= CLUSTER_OPERATIONS
