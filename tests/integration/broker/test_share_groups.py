"""Share groups over bare sockets on a real broker: every key of theirs, sessions, connections that end, restarts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from pystream.common.error_codes import (
    FENCED_STATE_EPOCH,
    GROUP_ID_NOT_FOUND,
    INVALID_REQUEST,
    INVALID_SHARE_SESSION_EPOCH,
    NON_EMPTY_GROUP,
    NONE,
    SHARE_SESSION_NOT_FOUND,
    UNKNOWN_TOPIC_ID,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from pystream.common.model import uuid_text
from pystream.protocol.messages import (
    alter_share_group_offsets,
    delete_share_group_offsets,
    delete_share_group_state,
    describe_share_group_offsets,
    initialize_share_group_state,
    read_share_group_state,
    read_share_group_state_summary,
    write_share_group_state,
)
from pystream.protocol.messages.alter_share_group_offsets import AlterShareGroupOffsetsRequest
from pystream.protocol.messages.api_versions import ApiVersionsRequest
from pystream.protocol.messages.delete_groups import DeleteGroupsRequest
from pystream.protocol.messages.delete_share_group_offsets import DeleteShareGroupOffsetsRequest
from pystream.protocol.messages.delete_share_group_state import DeleteShareGroupStateRequest
from pystream.protocol.messages.delete_topics import DeleteTopicsRequest, DeleteTopicState
from pystream.protocol.messages.describe_share_group_offsets import DescribeShareGroupOffsetsRequest
from pystream.protocol.messages.find_coordinator import FindCoordinatorRequest
from pystream.protocol.messages.initialize_share_group_state import InitializeShareGroupStateRequest
from pystream.protocol.messages.list_groups import ListGroupsRequest
from pystream.protocol.messages.read_share_group_state import ReadShareGroupStateRequest
from pystream.protocol.messages.read_share_group_state_summary import ReadShareGroupStateSummaryRequest
from pystream.protocol.messages.share_group_describe import ShareGroupDescribeRequest
from pystream.protocol.messages.write_share_group_state import WriteShareGroupStateRequest
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawClient
from tests.support.raw_share import (
    PASSING,
    SETTINGS,
    RawShareMember,
    begin_with_the_first_record,
    create_topic,
    eventually,
)
from tests.unit.data_plane.conftest import batch
from tests.unit.data_plane.requests import produce

ACCEPT, RELEASE, REJECT, RENEW = 1, 2, 3, 4
LEAVING = -1


class Rig:
    """A broker with one client, and fresh names."""

    def __init__(self, broker: BrokerProcess, client: RawClient) -> None:
        self.broker, self.client = broker, client
        self._names = itertools.count()
        self.topic = self.group_id = ""
        self.topic_id = b""

    def begin(self, records: int, **configs: str) -> Rig:
        """A new topic of one partition with records, and a new group that begins with the first; locks last for 30 s,
        longer than any test, unless told otherwise.
        """
        number = next(self._names)
        self.topic, self.group_id = f"topic-{number}", f"group-{number}"
        self.topic_id = create_topic(self.client, self.topic)
        begin_with_the_first_record(self.client, self.group_id, **configs)
        self.produce(records)
        return self

    def produce(self, records: int) -> None:
        for _ in range(records):
            request = produce((0, batch(b"value")), topic=self.topic, acks=-1)  # a member takes what is on the disk
            (answer,) = self.client.call(request, 9).responses[0].partition_responses
            assert answer.error_code == NONE

    def member(self, name: str) -> RawShareMember:
        return RawShareMember(self.broker.port, self.group_id, name, self.topic, self.topic_id).join()

    def reconnect(self) -> None:
        self.client.close()
        self.client = RawClient(self.broker.port)

    def described(self) -> tuple[int, int]:
        """(start offset, lag) of the partition."""
        group = describe_share_group_offsets.DescribeShareGroupOffsetsRequestGroup(group_id=self.group_id, topics=None)
        (found,) = self.client.call(DescribeShareGroupOffsetsRequest(groups=[group]), 1).groups
        assert found.error_code == NONE, found
        (partition,) = found.topics[0].partitions
        return partition.start_offset, partition.lag


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with BrokerProcess(tmp_path_factory.mktemp("share") / "data", SETTINGS) as broker:
        rig = Rig(broker, RawClient(broker.port))
        eventually(  # whichever test comes first
            lambda: rig.client.call(FindCoordinatorRequest(coordinator_keys=["group"]), 6).coordinators[0].error_code,
            lambda code: code == NONE,
        )
        yield rig
        rig.client.close()


def test_share_version_is_reported_and_finalized(rig: Rig):
    response = rig.client.call(ApiVersionsRequest(client_software_name="raw", client_software_version="1"), 4)
    assert ("share.version", 0, 1) in [(f.name, f.min_version, f.max_version) for f in response.supported_features]
    assert ("share.version", 1) in [(f.name, f.max_version_level) for f in response.finalized_features]
    offered = {api.api_key: (api.min_version, api.max_version) for api in response.api_keys}
    assert [offered[key] for key in (76, 77, 78, 79)] == [(1, 1), (1, 1), (1, 2), (1, 2)]
    assert [offered[key] for key in range(83, 88)] == [(0, 0), (0, 0), (0, 1), (0, 0), (0, 1)]
    assert [offered[key] for key in (90, 91, 92)] == [(0, 1), (0, 0), (0, 0)]


@pytest.mark.parametrize("version", [1, 2])
def test_records_are_accepted_released_and_rejected_in_both_versions(rig: Rig, version: int):
    rig.begin(6)
    member = rig.member("ann")
    assert member.take_until(version=version) == [(0, 5, 1)]
    assert member.acknowledge((0, 1, ACCEPT), (2, 3, RELEASE), (4, 5, REJECT), version=version) == NONE
    assert member.take_until(version=version) == [(2, 3, 2)]
    assert member.take([(2, 3, ACCEPT)], version=version) == []
    assert rig.described() == (6, 0)
    member.close()


def test_what_a_connection_had_is_free_when_it_ends(rig: Rig):
    rig.begin(3)
    ann, ben = rig.member("ann"), rig.member("ben")
    assert ann.take_until() == [(0, 2, 1)]
    assert ben.take(max_wait_ms=0) == []
    ann.close()
    assert ben.take(max_wait_ms=15_000) == [(0, 2, 2)], "sooner than the lock would end"
    ben.close()


def test_a_member_that_leaves_its_group_has_nothing_any_more(rig: Rig):
    rig.begin(3)
    ann, ben = rig.member("ann"), rig.member("ben")
    assert ann.take_until() == [(0, 2, 1)]
    ann.member_epoch = LEAVING
    assert ann.heartbeat().error_code == NONE
    assert ben.take(max_wait_ms=15_000) == [(0, 2, 2)], "sooner than the lock would end"
    ann.close()
    ben.close()


def test_a_lock_ends_in_time(rig: Rig):
    rig.begin(1, share_record_lock_duration_ms="1000")
    ann, ben = rig.member("ann"), rig.member("ben")
    assert ann.take_until() == [(0, 0, 1)]
    assert ben.take(max_wait_ms=30_000) == [(0, 0, 2)]
    ann.close()
    ben.close()


def test_session_epochs_that_do_not_fit_are_refused(rig: Rig):
    rig.begin(1)
    member = rig.member("ann")
    assert member.fetch(share_session_epoch=3).error_code == SHARE_SESSION_NOT_FOUND
    member.session_epoch = 0
    assert member.take_until() == [(0, 0, 1)]
    assert member.fetch(share_session_epoch=77).error_code == INVALID_SHARE_SESSION_EPOCH
    assert member.acknowledge((0, 0, RENEW)) == INVALID_REQUEST
    assert member.acknowledge((0, 0, ACCEPT)) == NONE
    member.close()


@pytest.mark.parametrize("stop", ["terminate", "kill"])
def test_acknowledged_records_stay_away_after_a_restart(rig: Rig, stop: str):
    rig.begin(10)
    member = rig.member("ann")
    assert member.take_until() == [(0, 9, 1)]
    assert member.acknowledge((0, 2, ACCEPT), (4, 4, REJECT), (5, 5, RELEASE)) == NONE
    member.close()
    getattr(rig.broker, stop)()
    rig.broker.start()
    rig.reconnect()
    member = rig.member("ben")
    taken = member.take_until()
    while sum(last - first + 1 for first, last, _ in taken) < 6:
        taken += member.take_until()
    expected = {3, 5, 6, 7, 8, 9}
    assert {offset for first, last, _ in taken for offset in range(first, last + 1)} == expected
    assert [count for first, last, count in taken if first <= 5 <= last] == [2]
    member.close()


def test_groups_are_listed_described_and_deleted_with_their_states(rig: Rig):
    rig.begin(2)
    member = rig.member("ann")
    member.take_until()
    groups = rig.client.call(ListGroupsRequest(types_filter=["share"]), 5).groups
    assert (rig.group_id, "share", "Stable") in [(g.group_id, g.group_type, g.group_state) for g in groups]
    described, missing = rig.client.call(ShareGroupDescribeRequest(group_ids=[rig.group_id, "nobody"]), 1).groups
    (known,) = described.members
    assert (known.member_id, known.client_host) == ("ann", "/127.0.0.1")
    assert [(t.topic_name, list(t.partitions)) for t in known.assignment.topic_partitions] == [(rig.topic, [0])]
    assert missing.error_code == GROUP_ID_NOT_FOUND
    delete = DeleteGroupsRequest(groups_names=[rig.group_id])
    assert rig.client.call(delete, 2).results[0].error_code == NON_EMPTY_GROUP
    member.member_epoch = LEAVING
    member.heartbeat()
    assert rig.client.call(delete, 2).results[0].error_code == NONE
    assert rig.client.call(delete, 2).results[0].error_code == GROUP_ID_NOT_FOUND
    member.close()
    member = rig.member("ann")
    assert member.take_until() == [(0, 1, 1)], "a new group of that name begins anew"
    member.close()


def test_offsets_are_altered_and_deleted(rig: Rig):
    rig.begin(5)
    member = rig.member("ann")
    member.take_until()
    alter = AlterShareGroupOffsetsRequest(
        group_id=rig.group_id,
        topics=[
            alter_share_group_offsets.AlterShareGroupOffsetsRequestTopic(
                topic_name=name,
                partitions=[
                    alter_share_group_offsets.AlterShareGroupOffsetsRequestPartition(partition_index=n, start_offset=3)
                    for n in (0, 7)
                ],
            )
            for name in (rig.topic, "nowhere")
        ],
    )
    assert rig.client.call(alter, 0).error_code == NON_EMPTY_GROUP
    member.member_epoch = LEAVING
    member.heartbeat()
    here, nowhere = rig.client.call(alter, 0).responses
    assert [p.error_code for p in here.partitions] == [NONE, UNKNOWN_TOPIC_OR_PARTITION]
    assert [p.error_code for p in nowhere.partitions] == [UNKNOWN_TOPIC_OR_PARTITION] * 2
    assert rig.described() == (3, 2)
    delete = DeleteShareGroupOffsetsRequest(
        group_id=rig.group_id,
        topics=[
            delete_share_group_offsets.DeleteShareGroupOffsetsRequestTopic(topic_name=name)
            for name in (rig.topic, "nowhere")
        ],
    )
    here, nowhere = rig.client.call(delete, 0).responses
    assert (here.error_code, nowhere.error_code) == (NONE, UNKNOWN_TOPIC_OR_PARTITION)
    assert rig.client.call(delete, 0).responses[0].error_code == UNKNOWN_TOPIC_OR_PARTITION
    member.close()


def test_a_group_begins_where_its_offsets_were_put(rig: Rig):
    rig.begin(5)
    partition = alter_share_group_offsets.AlterShareGroupOffsetsRequestPartition(partition_index=0, start_offset=3)
    topic = alter_share_group_offsets.AlterShareGroupOffsetsRequestTopic(topic_name=rig.topic, partitions=[partition])
    request = AlterShareGroupOffsetsRequest(group_id=rig.group_id, topics=[topic])
    assert rig.client.call(request, 0).responses[0].partitions[0].error_code == NONE
    member = rig.member("ann")
    assert member.take_until() == [(3, 4, 1)]
    member.close()


def test_a_deleted_topic_takes_its_states_along(rig: Rig):
    rig.begin(3)
    member = rig.member("ann")
    assert member.take_until() == [(0, 2, 1)]
    assert member.acknowledge((0, 1, ACCEPT)) == NONE
    delete = DeleteTopicsRequest(topics=[DeleteTopicState(name=rig.topic)], timeout_ms=10_000)
    assert rig.client.call(delete, 6).responses[0].error_code == NONE
    assert member.fetch(max_wait_ms=0).responses[0].partitions[0].error_code == UNKNOWN_TOPIC_ID
    member.close()
    asked = read_share_group_state_summary.ReadStateSummaryData(
        topic_id=rig.topic_id, partitions=[read_share_group_state_summary.PartitionData(partition=0, leader_epoch=-1)]
    )
    request = ReadShareGroupStateSummaryRequest(group_id=rig.group_id, topics=[asked])
    eventually(
        lambda: rig.client.call(request, 1).results[0].partitions[0].start_offset,
        lambda start_offset: start_offset == -1,
    )
    group = describe_share_group_offsets.DescribeShareGroupOffsetsRequestGroup(group_id=rig.group_id, topics=None)
    assert rig.client.call(DescribeShareGroupOffsetsRequest(groups=[group]), 1).groups[0].topics == []
    rig.topic_id = create_topic(rig.client, rig.topic)
    rig.produce(1)
    member = rig.member("ann")
    assert member.take_until() == [(0, 0, 1)], "a new topic of that name begins anew"
    member.close()


def test_states_are_made_written_read_and_deleted_by_their_own_requests(rig: Rig):
    rig.begin(0)
    key = f"{rig.group_id}:{uuid_text(rig.topic_id)}:0"
    find = FindCoordinatorRequest(key_type=2, coordinator_keys=[key])
    eventually(lambda: rig.client.call(find, 6), lambda found: found.coordinators[0].error_code == NONE)
    asked = {"group_id": rig.group_id}

    def initialize(state_epoch: int) -> int:
        partition = initialize_share_group_state.PartitionData(partition=0, state_epoch=state_epoch, start_offset=4)
        topic = initialize_share_group_state.InitializeStateData(topic_id=rig.topic_id, partitions=[partition])
        answer = rig.client.call(InitializeShareGroupStateRequest(topics=[topic], **asked), 0)
        return int(answer.results[0].partitions[0].error_code)

    def write(state: int) -> int:
        stored = write_share_group_state.StateBatch(
            first_offset=4, last_offset=6, delivery_state=state, delivery_count=2
        )
        partition = write_share_group_state.PartitionData(
            partition=0,
            state_epoch=2,
            leader_epoch=1,
            start_offset=-1,
            state_batches=[stored],
            delivery_complete_count=3,
        )
        topic = write_share_group_state.WriteStateData(topic_id=rig.topic_id, partitions=[partition])
        answer = rig.client.call(WriteShareGroupStateRequest(topics=[topic], **asked), 1)
        return int(answer.results[0].partitions[0].error_code)

    eventually(lambda: initialize(2), lambda code: code not in PASSING)
    assert initialize(2) == NONE
    assert initialize(1) == FENCED_STATE_EPOCH
    assert write(1) == INVALID_REQUEST, "acquired is no state that is stored"
    assert write(2) == NONE
    partition = read_share_group_state.PartitionData(partition=0, leader_epoch=1)
    topic = read_share_group_state.ReadStateData(topic_id=rig.topic_id, partitions=[partition])
    (found,) = rig.client.call(ReadShareGroupStateRequest(topics=[topic], **asked), 0).results[0].partitions
    (stored,) = found.state_batches
    assert (found.state_epoch, found.start_offset) == (2, 4)
    assert (stored.first_offset, stored.last_offset, stored.delivery_state, stored.delivery_count) == (4, 6, 2, 2)
    summaries = read_share_group_state_summary.ReadStateSummaryData(
        topic_id=rig.topic_id,
        partitions=[read_share_group_state_summary.PartitionData(partition=n, leader_epoch=1) for n in (0, 9)],
    )
    here, nowhere = (
        rig.client.call(ReadShareGroupStateSummaryRequest(topics=[summaries], **asked), 1).results[0].partitions
    )
    assert (here.start_offset, here.delivery_complete_count, here.leader_epoch) == (4, 3, 1)
    assert (nowhere.error_code, nowhere.start_offset) == (NONE, -1)
    gone = delete_share_group_state.DeleteStateData(
        topic_id=rig.topic_id, partitions=[delete_share_group_state.PartitionData(partition=0)]
    )
    request = DeleteShareGroupStateRequest(topics=[gone], **asked)
    assert rig.client.call(request, 0).results[0].partitions[0].error_code == NONE
    assert write(2) == INVALID_REQUEST
