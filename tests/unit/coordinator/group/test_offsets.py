"""Committed offsets on one shard: who may commit, what is read back, what transactions do, what is forgotten."""

from __future__ import annotations

import pytest

from pystream.common.clock import DAY_MS
from pystream.common.error_codes import (
    GROUP_ID_NOT_FOUND,
    GROUP_SUBSCRIBED_TO_TOPIC,
    ILLEGAL_GENERATION,
    NON_EMPTY_GROUP,
    NONE,
    OFFSET_METADATA_TOO_LARGE,
    REBALANCE_IN_PROGRESS,
    UNKNOWN_MEMBER_ID,
    UNSTABLE_OFFSET_COMMIT,
)
from pystream.coordinator.group.offset_requests import topics_deleted
from pystream.coordinator.group.offsets import LOOKED_AT_A_TIME, Offsets
from tests.support.group_rig import GROUP, SESSION_TIMEOUT_MS, GroupRig, subscription

PLACE = ("topic", 0)
OTHER = ("other", 3)
PRODUCER = 1_000
RETENTION_MS = 7 * DAY_MS
CHECK_MS = 600_000


@pytest.fixture
def rig() -> GroupRig:
    return GroupRig()


def test_what_a_member_commits_is_read_back(rig: GroupRig) -> None:
    (leader,), generation = rig.stable_group(1)
    assert rig.commit({PLACE: 42}, leader, generation, metadata="note", leader_epoch=7) == NONE
    assert rig.fetch(PLACE) == {PLACE: (42, 7, "note", NONE)}


def test_a_later_commit_counts(rig: GroupRig) -> None:
    rig.commit({PLACE: 42})
    rig.commit({PLACE: 41})
    assert rig.offset(*PLACE) == 41


def test_nothing_committed_is_offset_minus_one(rig: GroupRig) -> None:
    assert rig.fetch(PLACE) == {PLACE: (-1, -1, "", NONE)}
    rig.commit({PLACE: 42})
    assert rig.fetch(OTHER) == {OTHER: (-1, -1, "", NONE)}


def test_all_that_a_group_has_committed_can_be_asked_for(rig: GroupRig) -> None:
    rig.commit({PLACE: 1, OTHER: 2})
    rig.commit({PLACE: 9}, group_id="another")
    assert {place: found[0] for place, found in rig.fetch().items()} == {PLACE: 1, OTHER: 2}
    assert rig.fetch(group_id="nobody") == {}


def test_offsets_survive_a_restart(rig: GroupRig) -> None:
    rig.commit({PLACE: 42}, metadata="note", leader_epoch=7)
    rig.reload()
    assert rig.fetch(PLACE) == {PLACE: (42, 7, "note", NONE)}


def test_metadata_may_be_as_long_as_the_setting_says(rig: GroupRig) -> None:
    assert rig.commit({PLACE: 1}, metadata="x" * 4096) == NONE
    assert rig.commit({PLACE: 2}, metadata="x" * 4097) == OFFSET_METADATA_TOO_LARGE
    assert rig.offset(*PLACE) == 1
    assert rig.commit({PLACE: 3}, metadata=None) == NONE
    assert rig.fetch(PLACE)[PLACE][2] == ""


def test_an_offset_of_a_topic_that_was_made_anew_does_not_count(rig: GroupRig) -> None:
    old = rig.topics.put("topic", 1)
    rig.commit({PLACE: 42}, topic_id=old)
    assert rig.fetch(PLACE, topic_id=old)[PLACE][0] == rig.offset(*PLACE) == 42
    assert rig.fetch(PLACE, topic_id=b"n" * 16)[PLACE][0] == -1


# who may commit


@pytest.mark.parametrize(("version", "code"), [(8, ILLEGAL_GENERATION), (9, GROUP_ID_NOT_FOUND)])
def test_a_member_of_no_group_cannot_commit(rig: GroupRig, version: int, code: int) -> None:
    assert rig.commit({PLACE: 1}, "member", 1, version=version) == code


def test_a_member_must_be_one_and_of_the_present_generation(rig: GroupRig) -> None:
    (leader, _), generation = rig.stable_group(2)
    assert rig.commit({PLACE: 1}, leader, generation - 1) == ILLEGAL_GENERATION
    assert rig.commit({PLACE: 1}, "ghost", generation) == UNKNOWN_MEMBER_ID
    assert rig.commit({PLACE: 1}) == UNKNOWN_MEMBER_ID  # who is no member may commit for an empty group only
    assert rig.offset(*PLACE) == -1


def test_who_is_no_member_may_commit_for_an_empty_group(rig: GroupRig) -> None:
    (leader,), _ = rig.stable_group(1)
    rig.leave(leader)
    assert rig.commit({PLACE: 5}) == NONE


def test_members_may_commit_while_others_join_but_not_before_the_assignment(rig: GroupRig) -> None:
    (leader, follower), generation = rig.stable_group(2)
    rig.join(leader)
    assert rig.commit({PLACE: 1}, follower, generation) == NONE
    rig.join(follower)
    assert rig.commit({PLACE: 2}, follower, generation) == ILLEGAL_GENERATION
    assert rig.commit({PLACE: 2}, follower, generation + 1) == REBALANCE_IN_PROGRESS
    assert rig.offset(*PLACE) == 1


def test_a_commit_keeps_the_session_of_a_member(rig: GroupRig) -> None:
    (leader,), generation = rig.stable_group(1)
    for _ in range(3):
        rig.advance(SESSION_TIMEOUT_MS - 1)
        assert rig.commit({PLACE: 1}, leader, generation) == NONE


# transactions


def test_offsets_of_a_transaction_count_from_its_commit_on(rig: GroupRig) -> None:
    rig.commit({PLACE: 1})
    assert rig.commit_in_transaction(PRODUCER, {PLACE: 2}) == NONE
    assert rig.offset(*PLACE) == 1
    assert rig.fetch(PLACE, require_stable=True) == {PLACE: (-1, -1, "", UNSTABLE_OFFSET_COMMIT)}
    assert rig.fetch(OTHER, require_stable=True) == {OTHER: (-1, -1, "", NONE)}
    rig.end_transaction(PRODUCER, committed=True)
    assert rig.fetch(PLACE, require_stable=True) == {PLACE: (2, -1, "", NONE)}


def test_offsets_of_an_aborted_transaction_never_count(rig: GroupRig) -> None:
    rig.commit_in_transaction(PRODUCER, {PLACE: 2})
    rig.end_transaction(PRODUCER, committed=False)
    assert rig.fetch(PLACE, require_stable=True) == {PLACE: (-1, -1, "", NONE)}


def test_a_transaction_is_open_still_after_a_restart(rig: GroupRig) -> None:
    rig.commit_in_transaction(PRODUCER, {PLACE: 2})
    rig.reload()
    assert rig.fetch(PLACE, require_stable=True)[PLACE][3] == UNSTABLE_OFFSET_COMMIT
    rig.end_transaction(PRODUCER, committed=True)
    rig.reload()
    assert rig.offset(*PLACE) == 2


def test_of_a_transaction_and_a_plain_commit_the_later_record_counts(rig: GroupRig) -> None:
    rig.commit_in_transaction(PRODUCER, {PLACE: 2, OTHER: 2})
    rig.commit({PLACE: 9})
    rig.end_transaction(PRODUCER, committed=True)
    assert (rig.offset(*PLACE), rig.offset(*OTHER)) == (9, 2)
    rig.reload()
    assert (rig.offset(*PLACE), rig.offset(*OTHER)) == (9, 2)


def test_transactions_of_two_producers_do_not_disturb_each_other(rig: GroupRig) -> None:
    rig.commit_in_transaction(PRODUCER, {PLACE: 1})
    rig.commit_in_transaction(PRODUCER + 1, {PLACE: 2})
    rig.end_transaction(PRODUCER + 1, committed=False)
    assert rig.fetch(PLACE, require_stable=True)[PLACE][3] == UNSTABLE_OFFSET_COMMIT
    rig.end_transaction(PRODUCER, committed=True)
    assert rig.fetch(PLACE, require_stable=True)[PLACE][0] == 1


def test_a_transaction_checks_the_generation_when_it_says_one(rig: GroupRig) -> None:
    (leader,), generation = rig.stable_group(1)
    assert rig.commit_in_transaction(PRODUCER, {PLACE: 1}, leader, generation + 1) == ILLEGAL_GENERATION
    assert rig.commit_in_transaction(PRODUCER, {PLACE: 1}, "ghost", generation) == UNKNOWN_MEMBER_ID
    assert rig.commit_in_transaction(PRODUCER, {PLACE: 1}) == NONE  # producers before KIP-447 say nothing
    assert rig.commit_in_transaction(PRODUCER, {PLACE: 1}, "m", 5, group_id="no group") == ILLEGAL_GENERATION


# what is forgotten


def test_offsets_of_an_empty_group_are_kept_for_the_retention_from_when_it_became_empty(rig: GroupRig) -> None:
    (leader,), generation = rig.stable_group(1, session_timeout_ms=1_800_000)
    rig.commit({PLACE: 1}, leader, generation)
    for _ in range(RETENTION_MS // 1_700_000 + 2):  # longer than the retention, and nothing more is committed
        rig.advance(1_700_000)
        rig.beat(leader, generation)
    rig.leave(leader)
    rig.advance(RETENTION_MS - CHECK_MS)
    assert rig.offset(*PLACE) == 1
    rig.advance(2 * CHECK_MS)
    assert rig.offset(*PLACE) == -1
    assert GROUP not in rig.shard.groups


def test_the_retention_of_an_empty_group_counts_over_restarts(rig: GroupRig) -> None:
    (leader,), generation = rig.stable_group(1)
    rig.commit({PLACE: 1}, leader, generation)
    rig.leave(leader)
    rig.advance(RETENTION_MS - CHECK_MS)
    rig.reload()
    rig.advance(2 * CHECK_MS)
    assert rig.offset(*PLACE) == -1


def test_offsets_of_a_consumer_that_never_joins_are_kept_from_the_last_commit_on(rig: GroupRig) -> None:
    rig.commit({PLACE: 1, OTHER: 1})
    rig.advance(RETENTION_MS // 2)
    rig.commit({OTHER: 2})
    rig.advance(RETENTION_MS // 2 + CHECK_MS)
    assert (rig.offset(*PLACE), rig.offset(*OTHER)) == (-1, 2)
    rig.advance(RETENTION_MS // 2)
    assert rig.shard.groups == {}


def test_a_group_with_members_forgets_what_nobody_subscribes_to(rig: GroupRig) -> None:
    (leader,), generation = rig.stable_group(
        1, session_timeout_ms=1_800_000, protocols={"range": subscription("topic")}
    )
    rig.commit({PLACE: 1, OTHER: 1}, leader, generation)
    for _ in range(RETENTION_MS // 1_700_000 + 2):
        rig.advance(1_700_000)
        assert rig.beat(leader, generation) == NONE
    assert (rig.offset(*PLACE), rig.offset(*OTHER)) == (1, -1)


def test_a_group_whose_members_are_no_consumers_keeps_its_offsets(rig: GroupRig) -> None:
    (leader,), generation = rig.stable_group(
        1, session_timeout_ms=1_800_000, protocol_type="connect", protocols={"eager": b""}
    )
    rig.commit({PLACE: 1}, leader, generation)
    for _ in range(RETENTION_MS // 1_700_000 + 2):
        rig.advance(1_700_000)
        assert rig.beat(leader, generation) == NONE
    assert rig.offset(*PLACE) == 1


def test_an_old_client_says_how_long_its_offsets_are_kept(rig: GroupRig) -> None:
    rig.commit({PLACE: 1}, retention_ms=3_600_000, version=4)
    rig.reload()
    rig.advance(3_600_000 - CHECK_MS)
    assert rig.offset(*PLACE) == 1
    rig.advance(2 * CHECK_MS)
    assert rig.offset(*PLACE) == -1


def test_offsets_that_a_transaction_may_change_are_not_forgotten(rig: GroupRig) -> None:
    rig.commit({PLACE: 1})
    rig.commit_in_transaction(PRODUCER, {PLACE: 2})
    rig.advance(RETENTION_MS + 2 * CHECK_MS)
    assert rig.offset(*PLACE) == 1
    rig.end_transaction(PRODUCER, committed=False)
    rig.advance(CHECK_MS)
    assert rig.offset(*PLACE) == -1


def test_offsets_go_with_their_topic(rig: GroupRig) -> None:
    rig.commit({PLACE: 1, OTHER: 2})
    rig.commit({PLACE: 1}, group_id="another")
    rig.commit_in_transaction(PRODUCER, {("topic", 5): 2})
    rig.tell(topics_deleted, ["topic"])
    rig.end_transaction(PRODUCER, committed=True)
    rig.reload()
    assert list(rig.fetch()) == [OTHER]
    assert rig.fetch(group_id="another") == {}
    assert rig.shard.part(Offsets).count == 1


def test_what_is_forgotten_goes_some_at_a_time(rig: GroupRig) -> None:
    count = 2 * LOOKED_AT_A_TIME + 1
    rig.commit({("topic", partition): 1 for partition in range(count)})
    rig.advance(RETENTION_MS - 1)
    before = len(rig.log)
    most = 0
    while rig.shard.groups:
        written = len(rig.log)
        rig.advance(max(1, rig.shard.timers.next_deadline_ms() - rig.now_ms))
        most = max(most, len(rig.log) - written)
    assert len(rig.log) - before >= count
    assert most <= LOOKED_AT_A_TIME + 1
    assert rig.shard.part(Offsets).count == 0


def test_a_group_that_commits_while_offsets_are_forgotten_stays(rig: GroupRig) -> None:
    rig.commit({("topic", partition): 1 for partition in range(LOOKED_AT_A_TIME + 1)})
    rig.advance(RETENTION_MS - 1)
    while rig.shard.part(Offsets).count > LOOKED_AT_A_TIME:
        rig.advance(rig.shard.timers.next_deadline_ms() - rig.now_ms)
    rig.commit({PLACE: 2, OTHER: 3})
    rig.advance(CHECK_MS)
    assert rig.fetch().keys() == {PLACE, OTHER}


def test_offsets_of_deleted_topics_go_some_at_a_time_and_those_of_topics_made_anew_stay(rig: GroupRig) -> None:
    count = 2 * LOOKED_AT_A_TIME
    rig.commit({("topic", partition): 1 for partition in range(count)})
    rig.commit({OTHER: 1})
    rig.tell(topics_deleted, ["topic"])
    assert rig.shard.part(Offsets).count >= count - LOOKED_AT_A_TIME
    rig.tell(topics_deleted, ["other"])
    rig.commit({PLACE: 7})
    rig.commit_in_transaction(PRODUCER, {("topic", 1): 8})
    rig.advance(10)
    assert rig.offset(*PLACE) == 7
    assert rig.offset(*OTHER) == -1
    rig.end_transaction(PRODUCER, committed=True)
    assert rig.fetch().keys() == {PLACE, ("topic", 1)}


@pytest.mark.parametrize("made_anew", [False, True])
@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_shard_that_is_lost_before_a_deletion_is_through_forgets_the_rest_when_it_is_loaded(
    rig: GroupRig, made_anew: bool, in_transaction: bool
) -> None:
    count = 3 * LOOKED_AT_A_TIME
    old_id = rig.topics.put("topic", count)
    rig.commit({("topic", partition): 1 for partition in range(count)}, topic_id=old_id)
    rig.commit({OTHER: 1}, topic_id=rig.topics.put("other", 4))
    if in_transaction:
        rig.commit_in_transaction(PRODUCER, {("topic", count): 2})
    rig.topics.drop("topic")
    rig.tell(topics_deleted, ["topic"])
    assert rig.shard.part(Offsets).count > LOOKED_AT_A_TIME
    new_id = rig.topics.put("topic", count) if made_anew else None
    rig.reload()
    if new_id is not None:
        rig.commit({PLACE: 7}, topic_id=new_id)
    rig.advance(10)
    if in_transaction:
        rig.end_transaction(PRODUCER, committed=True)
    assert rig.fetch().keys() == ({PLACE, OTHER} if made_anew else {OTHER})
    assert rig.shard.part(Offsets).count == (2 if made_anew else 1)


def test_offsets_of_a_topic_that_was_made_anew_are_nobodys_while_they_wait_to_be_forgotten(rig: GroupRig) -> None:
    rig.commit({PLACE: 42}, topic_id=rig.topics.put("topic", 1))
    rig.commit_in_transaction(PRODUCER, {("topic", 1): 42})
    rig.end_transaction(PRODUCER, committed=True)
    assert rig.offset("topic", 1) == 42
    rig.topics.drop("topic")
    rig.topics.put("topic", 1)
    assert (rig.offset(*PLACE), rig.offset("topic", 1)) == (-1, -1)
    assert {place: found[0] for place, found in rig.fetch().items()} == {PLACE: -1, ("topic", 1): -1}


# OffsetDelete


def test_offsets_of_topics_that_nobody_subscribes_to_can_be_deleted(rig: GroupRig) -> None:
    (leader,), generation = rig.stable_group(1)
    rig.commit({PLACE: 1, OTHER: 1}, leader, generation)
    response = rig.delete_offsets(PLACE, OTHER, ("other", 9))
    assert [p.error_code for t in response.topics for p in t.partitions] == [GROUP_SUBSCRIBED_TO_TOPIC, NONE, NONE]
    rig.reload()
    assert list(rig.fetch()) == [PLACE]


def test_offsets_of_a_group_without_members_can_be_deleted(rig: GroupRig) -> None:
    rig.commit({PLACE: 1})
    rig.delete_offsets(PLACE)
    assert rig.fetch() == {}


def test_offsets_of_no_group_or_of_members_of_another_protocol_cannot_be_deleted(rig: GroupRig) -> None:
    assert rig.delete_offsets(PLACE).error_code == GROUP_ID_NOT_FOUND
    rig.stable_group(1, protocol_type="connect", protocols={"eager": b""})
    assert rig.delete_offsets(PLACE).error_code == NON_EMPTY_GROUP
