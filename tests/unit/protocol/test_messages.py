"""Generated messages: versions, defaults, tagged fields, null, and what is refused."""

from __future__ import annotations

import pytest

from pystream.common.errors import MalformedInput, UnsupportedVersion
from pystream.protocol.message import ZERO_UUID
from pystream.protocol.messages.api_versions import ApiVersion, ApiVersionsRequest, ApiVersionsResponse
from pystream.protocol.messages.consumer_group_heartbeat import (
    Assignment,
    ConsumerGroupHeartbeatResponse,
    ConsumerGroupHeartbeatResponseTopicPartitions,
)
from pystream.protocol.messages.fetch import (
    FetchableTopicResponse,
    FetchResponse,
    LeaderIdAndEpoch,
    PartitionData,
)
from pystream.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from pystream.protocol.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData


def fetch_response(**partition: object) -> FetchResponse:
    return FetchResponse(
        responses=[FetchableTopicResponse(topic_id=bytes(16), partitions=[PartitionData(**partition)])]
    )


def test_fields_that_a_version_lacks_are_left_out_and_read_as_their_default():
    request = MetadataRequest(
        topics=[MetadataRequestTopic(name="t", topic_id=b"x" * 16)], allow_auto_topic_creation=False
    )
    found = MetadataRequest.decode(request.encode(1), 1)
    assert found == MetadataRequest(topics=[MetadataRequestTopic(name="t")], allow_auto_topic_creation=True)


def test_a_version_that_kafka_does_not_have_is_refused_both_ways():
    for version in (-1, 14):
        with pytest.raises(UnsupportedVersion, match="expected 0 to 13"):
            MetadataRequest().encode(version)
        with pytest.raises(UnsupportedVersion, match="expected 0 to 13"):
            MetadataRequest.decode(b"", version)


def test_null_is_none_where_the_version_has_it_and_refused_where_it_does_not():
    all_topics = MetadataRequest(topics=None)
    assert MetadataRequest.decode(all_topics.encode(1), 1).topics is None
    with pytest.raises(TypeError, match="topics must not be None in this version"):
        all_topics.encode(0)
    with pytest.raises(MalformedInput, match="must not be null"):
        MetadataRequest.decode(b"\xff\xff\xff\xff", 0)


def test_a_compact_array_count_of_0xffffffff_is_malformed():
    """15 bytes that end a process which reserves memory for what is announced (design/broker.md, section 5)."""
    with pytest.raises(MalformedInput):
        MetadataResponse.decode(b"\x00\x00\x00\x00" + b"\xff\xff\xff\xff\x0f" + bytes(6), 12)


def test_a_tagged_field_at_its_default_is_not_written():
    """librdkafka before 2.2 cannot connect to a broker that writes finalized_features_epoch = -1."""
    answer = ApiVersionsResponse(api_keys=[ApiVersion(api_key=18, max_version=4)], finalized_features_epoch=-1)
    assert answer.encode(3) == b"\x00\x00" + b"\x02\x00\x12\x00\x00\x00\x04\x00" + b"\x00\x00\x00\x00" + b"\x00"
    answer.finalized_features_epoch = 5
    assert answer.encode(3).endswith(b"\x01\x01\x08" + b"\x00" * 7 + b"\x05")


def test_a_tagged_struct_is_none_when_absent_and_not_written_at_its_defaults():
    absent = fetch_response().encode(17)
    assert fetch_response(current_leader=LeaderIdAndEpoch()).encode(17) == absent
    found = FetchResponse.decode(absent, 17)
    assert found.responses[0].partitions[0].current_leader is None
    told = fetch_response(current_leader=LeaderIdAndEpoch(leader_id=2, leader_epoch=9))
    partition = FetchResponse.decode(told.encode(17), 17).responses[0].partitions[0]
    assert partition.current_leader == LeaderIdAndEpoch(leader_id=2, leader_epoch=9)


def test_an_unknown_tagged_field_is_skipped():
    data = ApiVersionsRequest(client_software_name="new", client_software_version="9").encode(3)
    with_tag = data[:-1] + b"\x02\x07\x01x\x90\x4e\x00"
    assert ApiVersionsRequest.decode(with_tag, 3) == ApiVersionsRequest.decode(data, 3)


def test_a_known_tagged_field_of_the_wrong_size_is_malformed():
    body = b"\x00\x00" + b"\x01" + b"\x00\x00\x00\x00"
    for size in (7, 9):  # finalized_features_epoch is an int64
        with pytest.raises(MalformedInput):
            ApiVersionsResponse.decode(body + b"\x01\x01" + bytes([size]) + bytes(size), 3)


def test_a_nullable_struct_may_be_absent():
    assigned = Assignment(
        topic_partitions=[ConsumerGroupHeartbeatResponseTopicPartitions(topic_id=b"i" * 16, partitions=[3])]
    )
    for assignment in (None, assigned):
        told = ConsumerGroupHeartbeatResponse(member_id="m", assignment=assignment)
        assert ConsumerGroupHeartbeatResponse.decode(told.encode(1), 1) == told


def test_records_are_a_view_of_the_bytes_read():
    records = b"a batch of records"
    request = ProduceRequest(
        acks=-1,
        timeout_ms=30_000,
        topic_data=[TopicProduceData(name="t", partition_data=[PartitionProduceData(index=0, records=records)])],
    )
    frame = bytearray(request.encode(9))
    found = ProduceRequest.decode(frame, 9).topic_data[0].partition_data[0].records
    assert isinstance(found, memoryview)
    assert found == records
    frame[frame.index(b"a batch")] = ord("A")
    assert bytes(found).startswith(b"A batch")


def test_lists_and_tuples_are_the_same_array():
    assert MetadataRequest(topics=[MetadataRequestTopic(name="a")]) == MetadataRequest(
        topics=(MetadataRequestTopic(name="a"),)
    )
    assert MetadataRequest(topics=[]) != MetadataRequest(topics=None)
    assert MetadataRequest() != MetadataResponse()


def test_a_message_says_what_it_holds():
    assert repr(MetadataRequestTopic(name="t")) == f"MetadataRequestTopic(name='t', topic_id={ZERO_UUID!r})"


def test_a_message_has_no_fields_but_its_own():
    with pytest.raises(AttributeError):
        MetadataRequest().topic = None  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        MetadataRequest(topic=None)  # type: ignore[call-arg]
