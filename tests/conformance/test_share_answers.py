"""What a broker answers to share consumers that do things right and wrong: the same codes as Apache Kafka 4.2.0.

The expectations were taken from Kafka; PYSTREAM_TEST_BOOTSTRAP runs the same on any broker.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pystream.common.error_codes import (
    FENCED_MEMBER_EPOCH,
    GROUP_ID_NOT_FOUND,
    INVALID_RECORD_STATE,
    INVALID_REQUEST,
    INVALID_SHARE_SESSION_EPOCH,
    NON_EMPTY_GROUP,
    NONE,
    SHARE_SESSION_NOT_FOUND,
    UNKNOWN_MEMBER_ID,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from pystream.protocol.messages import alter_share_group_offsets, delete_share_group_offsets
from pystream.protocol.messages.alter_share_group_offsets import AlterShareGroupOffsetsRequest
from pystream.protocol.messages.delete_share_group_offsets import DeleteShareGroupOffsetsRequest
from tests.support.raw_client import RawClient
from tests.support.raw_share import RawShareMember, begin_with_the_first_record, create_topic, eventually
from tests.unit.data_plane.conftest import batch
from tests.unit.data_plane.requests import produce

GAP, ACCEPT, RELEASE, RENEW, NO_TYPE = 0, 1, 2, 4, 5
FINAL, LEAVING = -1, -1


class Rig:
    """A fresh topic with six records, each a batch, and a fresh group that begins with the first."""

    def __init__(self, bootstrap: str) -> None:
        self.port = int(bootstrap.rpartition(":")[2])
        self.client = RawClient(self.port)
        run = os.urandom(4).hex()
        self.topic, self.group_id = f"topic-{run}", f"group-{run}"
        self.topic_id = create_topic(self.client, self.topic)
        begin_with_the_first_record(self.client, self.group_id)
        self.members: list[RawShareMember] = []
        for _ in range(6):
            eventually(self._produced, lambda code: code == NONE)

    def _produced(self) -> int:
        response = self.client.call(produce((0, batch(b"value")), topic=self.topic, acks=-1), 9)
        return int(response.responses[0].partition_responses[0].error_code)

    def stranger(self, name: str, group_id: str = "") -> RawShareMember:
        member = RawShareMember(self.port, group_id or self.group_id, name, self.topic, self.topic_id)
        self.members.append(member)
        return member

    def member(self, name: str) -> RawShareMember:
        return self.stranger(name).join()

    def close(self) -> None:
        for member in self.members:
            member.close()
        self.client.close()


@pytest.fixture
def rig(bootstrap: str) -> Iterator[Rig]:
    rig = Rig(bootstrap)
    yield rig
    rig.close()


def test_acknowledgements_that_are_wrong_are_refused_and_right_ones_are_not(rig: Rig):
    ann, ben = rig.member("ann"), rig.member("ben")
    assert ann.take_until() == [(0, 5, 1)]
    assert ben.take(max_wait_ms=0) == []
    assert ben.acknowledge((0, 0, ACCEPT)) == INVALID_RECORD_STATE
    assert ann.acknowledge((4, 9, ACCEPT)) == INVALID_REQUEST, "past what was given out"
    assert ann.acknowledge((3, 3, ACCEPT), (1, 1, ACCEPT)) == INVALID_REQUEST
    assert ann.acknowledge((3, 1, ACCEPT)) == INVALID_REQUEST
    assert ann.acknowledge((0, 0, NO_TYPE)) == INVALID_REQUEST
    assert ann.acknowledge((0, 0, RENEW)) == INVALID_REQUEST, "the request does not say that it renews"
    assert ann.acknowledge((0, 0, RENEW), is_renew_ack=True) == NONE
    assert ann.acknowledge((0, 1, ACCEPT)) == NONE
    assert ann.acknowledge((0, 1, ACCEPT)) == NONE, "below the start offset anything goes"
    assert ann.acknowledge((0, 2, ACCEPT)) == NONE
    assert ann.acknowledge((3, 3, ACCEPT), share_session_epoch=FINAL) == NONE
    assert ben.take_until() == [(4, 5, 2)]
    assert ben.acknowledge((4, 4, RELEASE), (5, 5, GAP)) == NONE
    assert ben.take_until() == [(4, 4, 3)]


def test_epochs_of_sessions_that_are_wrong_are_refused(rig: Rig):
    ann = rig.member("ann")
    assert ann.take_until() == [(0, 5, 1)]
    assert ann.acknowledge((3, 3, ACCEPT), share_session_epoch=0) == INVALID_SHARE_SESSION_EPOCH
    assert ann.acknowledge((3, 3, ACCEPT), share_session_epoch=99) == INVALID_SHARE_SESSION_EPOCH
    assert ann.fetch(share_session_epoch=99).error_code == INVALID_SHARE_SESSION_EPOCH
    assert ann.fetch([(3, 3, ACCEPT)], share_session_epoch=0).error_code == INVALID_REQUEST
    assert rig.stranger("zed").fetch(share_session_epoch=5).error_code == SHARE_SESSION_NOT_FOUND
    assert ann.acknowledge((3, 3, ACCEPT), share_session_epoch=FINAL) == NONE
    assert ann.acknowledge((4, 4, ACCEPT), share_session_epoch=7) == SHARE_SESSION_NOT_FOUND


def test_heartbeats_of_strangers_are_refused(rig: Rig):
    ann = rig.member("ann")
    for name, group_id, code in (("zed", "", UNKNOWN_MEMBER_ID), ("zed", "no-group", GROUP_ID_NOT_FOUND)):
        stranger = rig.stranger(name, group_id)
        stranger.member_epoch = 7
        assert stranger.heartbeat().error_code == code
    ann.member_epoch += 5
    assert ann.heartbeat().error_code == FENCED_MEMBER_EPOCH


def test_offsets_are_changed_only_without_members_and_only_where_there_are_any(rig: Rig):
    ann = rig.member("ann")
    assert ann.take_until() == [(0, 5, 1)]
    partitions = [
        alter_share_group_offsets.AlterShareGroupOffsetsRequestPartition(partition_index=index, start_offset=3)
        for index in (0, 7)
    ]
    alter = AlterShareGroupOffsetsRequest(
        group_id=rig.group_id,
        topics=[
            alter_share_group_offsets.AlterShareGroupOffsetsRequestTopic(topic_name=name, partitions=partitions)
            for name in (rig.topic, "nowhere")
        ],
    )
    delete = DeleteShareGroupOffsetsRequest(
        group_id=rig.group_id,
        topics=[
            delete_share_group_offsets.DeleteShareGroupOffsetsRequestTopic(topic_name=name)
            for name in (rig.topic, "nowhere")
        ],
    )
    assert rig.client.call(alter, 0).error_code == NON_EMPTY_GROUP
    ann.member_epoch = LEAVING
    assert ann.heartbeat().error_code == NONE
    answered = {topic.topic_name: topic for topic in rig.client.call(alter, 0).responses}
    codes = {name: [p.error_code for p in topic.partitions] for name, topic in answered.items()}
    assert codes == {rig.topic: [NONE, UNKNOWN_TOPIC_OR_PARTITION], "nowhere": [UNKNOWN_TOPIC_OR_PARTITION] * 2}
    for expected in (NONE, UNKNOWN_TOPIC_OR_PARTITION):
        found = {topic.topic_name: topic.error_code for topic in rig.client.call(delete, 0).responses}
        assert found == {rig.topic: expected, "nowhere": UNKNOWN_TOPIC_OR_PARTITION}
