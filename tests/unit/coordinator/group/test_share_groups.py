"""Share groups (KIP-932): joining, the assignment, states of partitions, time-outs, what a restart remembers."""

from __future__ import annotations

import pytest

from pystream.common.errors import (
    FencedMemberEpoch,
    GroupIdNotFound,
    GroupMaxSizeReached,
    InvalidRequest,
    NonEmptyGroup,
    UnknownMemberId,
)
from pystream.coordinator.group.admin_requests import delete_groups, list_groups
from pystream.coordinator.group.group import Caller
from pystream.coordinator.group.share import requests, stored
from pystream.coordinator.group.share.groups import ShareGroups
from pystream.protocol.messages.share_group_heartbeat import ShareGroupHeartbeatRequest
from tests.support.group_rig import GROUP
from tests.support.share_rig import JOINING, LEAVING, ShareGroupRig

SESSION_TIMEOUT_MS = 45_000
RETRY_MS = 30_000


@pytest.fixture
def rig() -> ShareGroupRig:
    rig = ShareGroupRig()
    rig.topics.put("topic", 4)
    return rig


def topic_id(rig: ShareGroupRig, name: str = "topic") -> bytes:
    topic = rig.topics.by_name(name)
    assert topic is not None
    return topic.topic_id


def test_a_member_is_assigned_partitions_once_their_states_exist(rig):
    rig.makes_states = False
    first = rig.beat("ann", JOINING, ["topic"])
    assert first.member_epoch == 1
    assert first.assignment.topic_partitions == []
    rig.makes_states = True
    rig.advance(RETRY_MS)
    rig.beat("ann", 1)
    second = rig.beat("ann", 1)
    assert second.member_epoch == 2
    (assigned,) = second.assignment.topic_partitions
    assert (assigned.topic_id, list(assigned.partitions)) == (topic_id(rig), [0, 1, 2, 3])


def test_states_are_begun_once_and_again_only_after_a_while(rig):
    def begun(epoch: int) -> dict[bytes, frozenset[int]]:
        request = ShareGroupHeartbeatRequest(
            group_id=GROUP, member_id="ann", member_epoch=epoch, subscribed_topic_names=["topic"]
        )
        return rig.call(requests.heartbeat, Caller(1, "client", "/127.0.0.1"), request).to_initialize

    assert begun(JOINING) == {topic_id(rig): frozenset(range(4))}
    assert begun(1) == {}
    rig.advance(RETRY_MS)
    assert begun(1) == {topic_id(rig): frozenset(range(4))}


def test_a_heartbeat_with_nothing_new_writes_nothing(rig):
    epoch = rig.join("ann", "topic")
    written = len(rig.log)
    response = rig.beat("ann", epoch)
    assert response.assignment is None
    assert response.member_epoch == epoch
    assert response.heartbeat_interval_ms == 5_000
    assert len(rig.log) == written


def test_members_share_partitions_evenly(rig):
    epochs = {name: rig.join(name, "topic") for name in ("ann", "ben")}
    for name, epoch in epochs.items():
        rig.beat(name, epoch)
    ann, ben = rig.assigned("ann")[topic_id(rig)], rig.assigned("ben")[topic_id(rig)]
    assert len(ann) == len(ben) == 2
    assert ann | ben == {0, 1, 2, 3}


def test_more_members_than_partitions_have_one_each(rig):
    names = [f"member-{number}" for number in range(8)]
    for name in names:
        rig.join(name, "topic")
    for name in names:
        rig.beat(name, rig.share_group().members[name].member_epoch)
    held = [partition for name in names for partition in rig.assigned(name)[topic_id(rig)]]
    assert sorted(held) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_member_that_leaves_gives_its_partitions_back(rig):
    rig.join("ann", "topic")
    ben = rig.join("ben", "topic")
    assert rig.beat("ann", LEAVING).member_epoch == LEAVING
    rig.beat("ben", ben)
    assert rig.assigned("ben")[topic_id(rig)] == {0, 1, 2, 3}


def test_a_silent_member_is_removed_and_whoever_serves_its_records_is_told(rig):
    left = []
    rig.shard.part(ShareGroups)._left = lambda group_id, member_id: left.append((group_id, member_id))
    epoch = rig.join("ann", "topic")
    rig.advance(SESSION_TIMEOUT_MS - 1)
    assert left == []
    rig.advance(1)
    assert left == [(GROUP, "ann")]
    assert rig.share_group().state_name(rig.now_ms) == "Empty"
    with pytest.raises(UnknownMemberId):
        rig.beat("ann", epoch)


def test_a_member_may_come_with_its_last_epoch_but_with_no_other(rig):
    epoch = rig.join("ann", "topic")
    assert rig.beat("ann", epoch - 1).member_epoch == epoch
    with pytest.raises(FencedMemberEpoch):
        rig.beat("ann", epoch + 1)
    rig.topics.put("topic", 5)
    rig.beat("ann", epoch)
    rig.beat("ann", epoch)
    with pytest.raises(FencedMemberEpoch):
        rig.beat("ann", epoch - 1)


def test_partitions_that_are_added_come_to_the_members(rig):
    epoch = rig.join("ann", "topic")
    rig.topics.put("topic", 6)
    epoch = rig.beat("ann", epoch).member_epoch
    rig.beat("ann", epoch)
    assert rig.assigned("ann")[topic_id(rig)] == set(range(6))


def test_a_topic_that_is_created_later_is_assigned(rig):
    epoch = rig.join("ann", "topic", "later")
    rig.topics.put("later", 1)
    epoch = rig.beat("ann", epoch).member_epoch
    rig.beat("ann", epoch)
    assert rig.assigned("ann")[topic_id(rig, "later")] == {0}


def test_a_topic_that_is_deleted_is_taken_away_and_its_states_forgotten(rig):
    epoch = rig.join("ann", "topic")
    gone = topic_id(rig)
    rig.topics.drop("topic")
    rig.call(stored.forget_topics, [gone])
    assert rig.share_group().stored.is_empty()
    rig.beat("ann", epoch)
    assert rig.assigned("ann").get(gone, frozenset()) == frozenset()


def test_a_restart_remembers_members_epochs_and_states(rig):
    epoch = rig.join("ann", "topic")
    before = rig.share_group()
    rig.reload()
    after = rig.share_group()
    assert (after.group_epoch, after.target_epoch) == (before.group_epoch, before.target_epoch)
    assert after.targets == before.targets
    assert after.members == before.members
    assert after.stored == before.stored
    assert rig.beat("ann", epoch).member_epoch == epoch


def test_current_assignments_that_compaction_put_first_are_remembered(rig):
    """The latest record of each key is kept where it lies: a member's own may come after its assignment."""
    epoch = rig.join("ann", "topic")
    latest = {repr(record.key): record for record in rig.log}
    rig.log = sorted(latest.values(), key=lambda record: "MemberMetadata" in repr(record.key))
    rig.reload()
    assert rig.share_group().members["ann"].member_epoch == epoch
    assert rig.share_group().members["ann"].subscribed == ("topic",)


def test_requests_that_no_member_may_send_are_refused(rig):
    with pytest.raises(InvalidRequest):
        rig.beat("", JOINING, ["topic"])
    with pytest.raises(InvalidRequest):
        rig.beat("ann", JOINING)
    with pytest.raises(InvalidRequest):
        rig.beat("ann", -2)
    with pytest.raises(GroupIdNotFound):
        rig.beat("ann", 5)


def test_a_full_group_refuses_further_members(rig):
    object.__setattr__(rig.shard.part(ShareGroups).config, "max_size", 1)
    epoch = rig.join("ann", "topic")
    with pytest.raises(GroupMaxSizeReached):
        rig.beat("ben", JOINING, ["topic"])
    assert rig.beat("ann", epoch).member_epoch == epoch


def test_a_classic_group_is_no_share_group(rig):
    super(ShareGroupRig, rig).join(group_id="classic")
    with pytest.raises(GroupIdNotFound):
        rig.beat("ann", JOINING, ["topic"], group_id="classic")


def test_groups_are_listed_described_and_deleted(rig):
    rig.join("ann", "topic")
    (listed,) = rig.call(list_groups, frozenset(), frozenset({"share"}))
    assert (listed.group_id, listed.group_type, listed.protocol_type, listed.group_state) == (
        GROUP,
        "share",
        "share",
        "Stable",
    )
    described, missing = rig.call(requests.describe, [GROUP, "other"])
    assert described.assignor_name == "simple"
    assert [member.member_id for member in described.members] == ["ann"]
    assert missing.error_code == GroupIdNotFound.code
    rig.beat("ann", LEAVING)
    (deleted,) = rig.call(delete_groups, [GROUP])
    assert deleted.error_code == 0
    assert GROUP not in rig.shard.groups
    rig.reload()
    assert GROUP not in rig.shard.groups


def test_offsets_are_altered_and_deleted_only_without_members(rig):
    epoch = rig.join("ann", "topic")
    with pytest.raises(NonEmptyGroup):
        rig.call(stored.begin_alter, GROUP, {"topic": [0]})
    with pytest.raises(NonEmptyGroup):
        rig.call(stored.begin_delete, GROUP, ["topic"])
    rig.beat("ann", LEAVING)
    altered = rig.call(stored.begin_alter, GROUP, {"topic": [0, 9], "nowhere": [0]})
    assert altered.state_epoch > epoch
    assert altered.topic_ids == {"topic": topic_id(rig)}
    deletion = rig.call(stored.begin_delete, GROUP, ["topic", "nowhere"])
    assert set(deletion.topics) == {topic_id(rig)}
    assert set(deletion.refused) == {"nowhere"}
    assert rig.share_group().stored.deleting == {topic_id(rig): "topic"}
    rig.call(stored.deleted, GROUP, [topic_id(rig)])
    assert rig.share_group().stored.is_empty()


def test_a_group_that_is_not_there_begins_with_altered_offsets(rig):
    rig.call(stored.begin_alter, "new", {"topic": [1]})
    assert rig.share_group("new").stored.initializing[topic_id(rig)].partitions == {1}
    rig.call(stored.initialized, "new", {topic_id(rig): [1]}, {})
    assert rig.call(stored.states_of, "new")[topic_id(rig)].partitions == {1}


def test_who_is_no_share_group_has_no_states_rather_than_an_error(rig):
    """So it is in Kafka: DescribeShareGroupOffsets for all topics answers without any."""
    assert rig.call(stored.states_of, "nobody") == {}
    rig.commit({("topic", 0): 1}, group_id="simple")
    assert rig.call(stored.states_of, "simple") == {}
    rig.join("ann", "topic")
    assert set(rig.call(stored.states_of, GROUP)) == {topic_id(rig)}
