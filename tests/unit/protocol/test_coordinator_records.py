"""Records of the coordinators' topics. Golden bytes: the generated classes of Apache Kafka 4.2.0's jars."""

from __future__ import annotations

import pytest

from pystream.common.errors import MalformedInput, UnknownRecord
from pystream.protocol.coordinator_records.codec import RecordCodec
from pystream.protocol.coordinator_records.consumer_group_member_metadata import (
    ClassicMemberMetadata,
    ClassicProtocol,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue,
)
from pystream.protocol.coordinator_records.group_metadata import GroupMetadataKey, GroupMetadataValue, MemberMetadata
from pystream.protocol.coordinator_records.index import INDEX
from pystream.protocol.coordinator_records.offset_commit import OffsetCommitKey, OffsetCommitValue
from pystream.protocol.coordinator_records.share_snapshot import ShareSnapshotKey, ShareSnapshotValue, StateBatch
from pystream.protocol.coordinator_records.streams_group_member_metadata import (
    Endpoint,
    StreamsGroupMemberMetadataKey,
    StreamsGroupMemberMetadataValue,
)
from pystream.protocol.coordinator_records.transaction_log import (
    PartitionsSchema,
    TransactionLogKey,
    TransactionLogValue,
)

TOPIC_ID = bytes(range(1, 17))
OFFSETS, TRANSACTIONS, SHARES = "__consumer_offsets", "__transaction_state", "__share_group_state"
OFFSET_KEY = OffsetCommitKey(group="g", topic="t", partition=7)
OFFSET_VALUE = OffsetCommitValue(offset=42, leader_epoch=3, metadata="m", commit_timestamp=1000, topic_id=TOPIC_ID)

GOLDEN = {
    "offset": (
        OFFSETS,
        OFFSET_KEY,
        OFFSET_VALUE,
        "000100016700017400000007",
        "0004000000000000002a00000003026d00000000000003e80100100102030405060708090a0b0c0d0e0f10",
    ),
    "offset that expires": (
        OFFSETS,
        OFFSET_KEY,
        OffsetCommitValue(offset=42, metadata="m", commit_timestamp=1000, expire_timestamp=2000),
        "000100016700017400000007",
        "0001000000000000002a00016d00000000000003e800000000000007d0",
    ),
    "group": (
        OFFSETS,
        GroupMetadataKey(group="g"),
        GroupMetadataValue(
            protocol_type="consumer",
            generation=5,
            protocol="range",
            leader="m1",
            current_state_timestamp=99,
            members=[
                MemberMetadata(
                    member_id="m1",
                    group_instance_id="i",
                    client_id="c",
                    client_host="/h",
                    rebalance_timeout=10,
                    session_timeout=20,
                    subscription=b"\x01",
                    assignment=b"\x02\x03",
                )
            ],
        ),
        "0002000167",
        "00030008636f6e73756d657200000005000572616e676500026d3100000000000000630000000100026d3100016900016300022f68"
        "0000000a000000140000000101000000020203",
    ),
    "member": (
        OFFSETS,
        ConsumerGroupMemberMetadataKey(group_id="g", member_id="m"),
        ConsumerGroupMemberMetadataValue(
            instance_id="",
            rack_id="r",
            client_id="c",
            client_host="h",
            subscribed_topic_names=["t"],
            subscribed_topic_regex="",
            server_assignor="",
        ),
        "0005000167" + "00016d",
        "00000102720263026802027401ffffffff0101000100",
    ),
    "classic member": (
        OFFSETS,
        ConsumerGroupMemberMetadataKey(group_id="g", member_id="m"),
        ConsumerGroupMemberMetadataValue(
            instance_id="",
            rack_id="",
            client_id="c",
            subscribed_topic_regex="",
            server_assignor="",
            classic_member_metadata=ClassicMemberMetadata(
                session_timeout_ms=5, supported_protocols=[ClassicProtocol(name="n", metadata=b"\x09")]
            ),
        ),
        "0005000167" + "00016d",
        "000001010263010101ffffffff0101000c010000000502026e02090000",
    ),
    "streams member": (
        OFFSETS,
        StreamsGroupMemberMetadataKey(group_id="g", member_id="m"),
        StreamsGroupMemberMetadataValue(
            instance_id="", rack_id="", process_id="p", user_endpoint=Endpoint(host="h", port=65000)
        ),
        "0013000167" + "00016d",
        "000001010101ffffffff000000000270010268fde8000100",
    ),
    "transaction": (
        TRANSACTIONS,
        TransactionLogKey(transactional_id="x"),
        TransactionLogValue(
            producer_id=1,
            previous_producer_id=2,
            next_producer_id=3,
            producer_epoch=4,
            next_producer_epoch=5,
            transaction_timeout_ms=6,
            transaction_status=1,
            transaction_partitions=[PartitionsSchema(topic="t", partition_ids=[1, 2])],
            transaction_last_update_timestamp_ms=7,
            transaction_start_timestamp_ms=8,
            client_transaction_version=2,
        ),
        "0000000178",
        "000100000000000000010004000000060102027403000000010000000200000000000000000700000000000000080400080000000000"
        "000002010800000000000000030202000203020005",
    ),
    "share snapshot": (
        SHARES,
        ShareSnapshotKey(group_id="g", topic_id=TOPIC_ID, partition=1),
        ShareSnapshotValue(
            snapshot_epoch=1,
            state_epoch=2,
            leader_epoch=3,
            start_offset=4,
            create_timestamp=5,
            write_timestamp=6,
            state_batches=[StateBatch(first_offset=7, last_offset=8, delivery_state=2, delivery_count=3)],
            delivery_complete_count=9,
        ),
        "00000001670102030405060708090a0b0c0d0e0f1000000001",
        "000000000001000000020000000300000000000000040000000000000005000000000000000602000000000000000700000000000000"
        "080200030001000400000009",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_records_have_the_bytes_that_kafka_writes(name):
    topic, key, value, key_bytes, value_bytes = GOLDEN[name]
    codec = RecordCodec(topic)
    written_key, written_value = codec.encode(key, value)
    assert (written_key.hex(), written_value.hex()) == (key_bytes, value_bytes)
    assert codec.decode(written_key, written_value) == (key, value)


@pytest.mark.parametrize(
    ("value_bytes", "leader_epoch"),
    [
        ("0000000000000000002a00016d00000000000003e8", -1),
        ("0002000000000000002a00016d00000000000003e8", -1),
        ("0003000000000000002a0000000300016d00000000000003e8", 3),
    ],
)
@pytest.mark.parametrize("key_bytes", ["000000016700017400000007", "000100016700017400000007"])
def test_what_older_brokers_wrote_is_read(key_bytes, value_bytes, leader_epoch):
    key, value = RecordCodec(OFFSETS).decode(bytes.fromhex(key_bytes), bytes.fromhex(value_bytes))
    assert key == OFFSET_KEY
    assert value == OffsetCommitValue(offset=42, leader_epoch=leader_epoch, metadata="m", commit_timestamp=1000)


def test_a_tombstone_has_no_value():
    codec = RecordCodec(OFFSETS)
    key_bytes, value_bytes = codec.encode(OFFSET_KEY, None)
    assert value_bytes is None
    assert codec.decode(key_bytes, None) == (OFFSET_KEY, None)


def test_an_unknown_type_is_reported_as_such():
    with pytest.raises(UnknownRecord, match="type 99"):
        RecordCodec(OFFSETS).decode(b"\x00\x63whatever", b"")


def test_a_value_of_a_newer_version_is_reported_as_such():
    key_bytes, _ = RecordCodec(OFFSETS).encode(OFFSET_KEY, OFFSET_VALUE)
    with pytest.raises(UnknownRecord, match="OffsetCommitValue: version 5"):
        RecordCodec(OFFSETS).decode(key_bytes, b"\x00\x05")


def test_records_that_are_cut_short_are_malformed():
    codec = RecordCodec(OFFSETS)
    key_bytes, value_bytes = codec.encode(OFFSET_KEY, OFFSET_VALUE)
    for size in range(len(key_bytes)):
        with pytest.raises(MalformedInput):
            codec.decode(key_bytes[:size], value_bytes)
    for size in range(len(value_bytes)):
        with pytest.raises(MalformedInput):
            codec.decode(key_bytes, value_bytes[:size])


def test_every_type_is_written_in_a_version_that_is_read():
    for topic, entries in INDEX.items():
        codec = RecordCodec(topic)
        for entry in entries:
            key, value = entry.key(), entry.value()
            assert codec.decode(*codec.encode(key, value)) == (key, value)
            assert entry.key.READERS.keys() == {0}
