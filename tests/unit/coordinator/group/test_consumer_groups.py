"""Consumer groups (KIP-848): joining, reconciliation, leaving, static members, regular expressions, time-outs."""

from __future__ import annotations

import pytest

from pystream.common.error_codes import (
    FENCED_INSTANCE_ID,
    FENCED_MEMBER_EPOCH,
    GROUP_ID_NOT_FOUND,
    GROUP_MAX_SIZE_REACHED,
    INVALID_REGULAR_EXPRESSION,
    UNKNOWN_MEMBER_ID,
    UNRELEASED_INSTANCE_ID,
)
from pystream.common.errors import InvalidRequest, KafkaError, StaleMemberEpoch, UnknownMemberId, UnsupportedAssignor
from pystream.coordinator.group.consumer.config import ConsumerGroupConfig
from pystream.coordinator.group.consumer.heartbeat import check_heartbeat
from pystream.coordinator.group.modern.member import MemberState
from pystream.protocol.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from tests.support.consumer_rig import AWAY, JOINING, LEAVING, NOTHING, ConsumerRig
from tests.support.group_rig import GROUP, REBALANCE_TIMEOUT_MS

SESSION_TIMEOUT_MS = 45_000


@pytest.fixture
def rig() -> ConsumerRig:
    rig = ConsumerRig()
    rig.topics.put("topic", 6)
    return rig


def all_of(rig: ConsumerRig, *names: str) -> frozenset[tuple[bytes, int]]:
    topics = [rig.topics.by_name(name) for name in names]
    return frozenset((t.topic_id, index) for t in topics if t is not None for index in range(t.partition_count))


def test_the_first_member_gets_everything_with_its_first_heartbeat(rig):
    one = rig.member("one", "topic").join()
    assert one.assigned == all_of(rig, "topic")
    assert one.epoch == 1
    assert rig.consumer_group().state_name(rig.now_ms) == "Stable"


def test_a_heartbeat_with_nothing_new_writes_nothing_and_names_no_assignment(rig):
    one = rig.member("one", "topic").join()
    written = len(rig.log)
    response = one.beat()
    assert response.assignment is None
    assert len(rig.log) == written
    assert response.heartbeat_interval_ms == 5_000


def test_a_partition_goes_to_its_new_owner_only_when_the_old_one_has_given_it_up(rig):
    one = rig.member("one", "topic").join()
    two = rig.member("two", "topic").join()
    assert two.assigned == NOTHING
    assert rig.consumer_group().members["two"].state is MemberState.UNRELEASED
    one.beat()
    kept = one.assigned
    assert len(kept) == 3
    assert rig.consumer_group().members["one"].state is MemberState.UNREVOKED
    two.beat()
    assert two.assigned == NOTHING
    one.beat()  # it reports what it has kept: the rest is free
    two.beat()
    assert two.assigned == all_of(rig, "topic") - kept
    assert rig.consumer_group().state_name(rig.now_ms) == "Stable"


def test_a_member_that_joins_again_is_told_what_it_has(rig):
    one = rig.member("one", "topic").join()
    again = rig.heartbeat("one", JOINING, owned=NOTHING, topics=["topic"], rebalance_timeout_ms=1000)
    assert (again.error_code, again.member_epoch) == (0, one.epoch)
    assert again.assignment is not None


def test_partitions_of_a_member_that_leaves_go_to_the_others_at_once(rig):
    one, two = rig.member("one", "topic").join(), rig.member("two", "topic").join()
    rig.settle(one, two)
    two.leave()
    rig.settle(one)
    assert one.assigned == all_of(rig, "topic")


def test_the_group_is_empty_when_the_last_member_has_left(rig):
    rig.member("one", "topic").join().leave()
    group = rig.consumer_group()
    assert (group.state_name(rig.now_ms), group.is_empty()) == ("Empty", True)
    group.check_delete()


@pytest.mark.parametrize("epoch", [5, 99])
def test_a_member_from_the_future_is_fenced(rig, epoch):
    rig.member("one", "topic").join()
    assert rig.heartbeat("one", epoch).error_code == FENCED_MEMBER_EPOCH


def test_a_member_whose_last_answer_was_lost_may_come_with_its_previous_epoch(rig):
    one = rig.member("one", "topic").join()
    rig.topics.put("topic", 7)
    lost = rig.heartbeat("one", 1, owned=one.assigned)
    assert lost.member_epoch == 2
    response = rig.heartbeat("one", 1, owned=one.assigned)
    assert (response.error_code, response.member_epoch) == (0, 2)


def test_a_member_with_an_old_epoch_that_owns_what_is_not_its_own_is_fenced(rig):
    one = rig.member("one", "topic").join()
    rig.topics.put("topic", 7)
    one.beat()
    stranger = rig.topics.put("stranger", 1)
    assert rig.heartbeat("one", 1, owned=frozenset({(stranger, 0)})).error_code == FENCED_MEMBER_EPOCH
    assert rig.heartbeat("one", 1).error_code == FENCED_MEMBER_EPOCH


def test_strangers_are_told_so(rig):
    assert rig.heartbeat("one", 3).error_code == GROUP_ID_NOT_FOUND
    rig.member("one", "topic").join()
    assert rig.heartbeat("two", 3).error_code == UNKNOWN_MEMBER_ID
    assert rig.heartbeat("two", LEAVING).error_code == UNKNOWN_MEMBER_ID


def test_a_silent_member_is_let_go_when_its_session_ends(rig):
    one, two = rig.member("one", "topic").join(), rig.member("two", "topic").join()
    rig.settle(one, two)
    rig.advance(SESSION_TIMEOUT_MS - 1)
    one.beat()
    rig.advance(1)
    assert list(rig.consumer_group().members) == ["one"]
    assert two.beat().error_code == UNKNOWN_MEMBER_ID
    rig.settle(one)
    assert one.assigned == all_of(rig, "topic")


def test_a_member_that_does_not_give_up_in_time_is_let_go(rig):
    one = rig.member("one", "topic").join()
    rig.member("two", "topic").join()
    one.beat()
    for _ in range(REBALANCE_TIMEOUT_MS // 1_000):
        assert rig.heartbeat("one", one.epoch).error_code == 0  # it lives, but says nothing of what it has
        rig.heartbeat("two", 2)
        rig.advance(1_000)
    assert list(rig.consumer_group().members) == ["two"]


def test_session_and_revocation_time_outs_are_armed_again_by_a_restart(rig):
    one = rig.member("one", "topic").join()
    rig.member("two", "topic").join()
    one.beat()
    assert rig.consumer_group().members["one"].state is MemberState.UNREVOKED
    rig.reload()
    rig.advance(SESSION_TIMEOUT_MS - 1)
    assert len(rig.consumer_group().members) == 2
    rig.advance(1)
    assert rig.consumer_group().is_empty()


def test_new_partitions_are_given_out_with_the_next_heartbeat(rig):
    one = rig.member("one", "topic").join()
    rig.topics.put("topic", 9)
    assert one.beat().member_epoch == 2
    assert one.assigned == all_of(rig, "topic")


def test_a_topic_that_appears_later_is_assigned_and_one_that_goes_is_taken_away(rig):
    one = rig.member("one", "topic", "later").join()
    assert one.assigned == all_of(rig, "topic")
    rig.topics.put("later", 2)
    one.beat()
    assert one.assigned == all_of(rig, "topic", "later")
    rig.topics.drop("topic")
    one.beat()
    assert one.assigned == all_of(rig, "later")


def test_a_topic_created_anew_is_another_topic(rig):
    one = rig.member("one", "topic").join()
    before = one.assigned
    rig.topics.drop("topic")
    rig.topics.put("topic", 6)
    rig.settle(one)
    assert one.assigned == all_of(rig, "topic")
    assert not one.assigned & before


def test_other_topics_do_not_disturb_the_group(rig):
    one = rig.member("one", "topic").join()
    rig.topics.put("other", 3)
    assert one.beat().member_epoch == 1


def test_a_changed_subscription_takes_unsubscribed_partitions_away_at_once(rig):
    rig.topics.put("other", 2)
    one, two = rig.member("one", "topic").join(), rig.member("two", "topic").join()
    rig.settle(one, two)
    one.subscribe("other")
    assert one.assigned <= all_of(rig, "other")
    rig.settle(one, two)
    assert one.assigned == all_of(rig, "other")
    assert two.assigned == all_of(rig, "topic")


def test_a_full_heartbeat_is_answered_with_the_assignment(rig):
    one = rig.member("one", "topic").join()
    response = rig.heartbeat(
        "one", one.epoch, owned=one.assigned, topics=["topic"], rebalance_timeout_ms=REBALANCE_TIMEOUT_MS
    )
    assert response.assignment is not None


def test_a_member_without_an_id_is_given_one(rig):
    response = rig.heartbeat("", JOINING, owned=NOTHING, topics=["topic"], rebalance_timeout_ms=1000, version=0)
    assert response.member_id in rig.consumer_group().members


def test_the_group_takes_no_more_members_than_it_may(rig):
    rig.configure_consumer(max_size=1)
    one = rig.member("one", "topic").join()
    full = rig.heartbeat("two", JOINING, owned=NOTHING, topics=["topic"], rebalance_timeout_ms=1000)
    assert full.error_code == GROUP_MAX_SIZE_REACHED
    assert one.beat().error_code == 0


def test_members_choose_the_assignor(rig):
    rig.topics.put("other", 6)
    members = [rig.member(name, "topic", "other", assignor="range").join() for name in ("one", "two", "three")]
    rig.settle(*members)
    for member in members:
        of = {
            name: {i for t, i in member.assigned if t == rig.topics.by_name(name).topic_id}
            for name in ("topic", "other")
        }
        assert of["topic"] == of["other"]
    assert rig.consumer_group().preferred_assignor() == "range"


class TestStaticMembers:
    def test_who_comes_back_gets_back_what_it_had(self, rig):
        one = rig.member("one", "topic", instance_id="i1").join()
        two = rig.member("two", "topic", instance_id="i2").join()
        rig.settle(one, two)
        had = two.assigned
        two.leave(AWAY)
        one.beat()
        assert rig.consumer_group().members["two"].member_epoch == AWAY
        again = rig.member("two-again", "topic", instance_id="i2").join()
        assert again.assigned == had
        assert sorted(rig.consumer_group().members) == ["one", "two-again"]
        assert again.epoch == two_epoch(rig, "one")

    def test_an_instance_that_has_not_left_is_not_replaced(self, rig):
        rig.member("one", "topic", instance_id="i1").join()
        thief = rig.heartbeat(
            "thief", JOINING, instance_id="i1", owned=NOTHING, topics=["topic"], rebalance_timeout_ms=1000
        )
        assert thief.error_code == UNRELEASED_INSTANCE_ID
        assert list(rig.consumer_group().members) == ["one"]

    def test_the_replaced_member_is_fenced(self, rig):
        one = rig.member("one", "topic", instance_id="i1").join()
        one.leave(AWAY)
        rig.member("one-again", "topic", instance_id="i1").join()
        assert rig.heartbeat("one", 1, instance_id="i1").error_code == FENCED_INSTANCE_ID
        assert rig.heartbeat("nobody", 1, instance_id="i9").error_code == UNKNOWN_MEMBER_ID

    def test_who_stays_away_is_let_go_when_its_session_ends(self, rig):
        one = rig.member("one", "topic", instance_id="i1").join()
        one.leave(AWAY)
        rig.advance(SESSION_TIMEOUT_MS)
        assert rig.consumer_group().is_empty()
        assert rig.consumer_group().static_members == {}

    def test_who_leaves_for_good_is_gone_at_once(self, rig):
        rig.member("one", "topic", instance_id="i1").join().leave()
        assert rig.consumer_group().is_empty()


def two_epoch(rig: ConsumerRig, member_id: str) -> int:
    return rig.consumer_group().members[member_id].member_epoch


class TestRegularExpressions:
    def test_an_expression_names_whole_topics(self, rig):
        rig.topics.put("topic-2", 2)
        one = rig.member("one", regex="topic").join()
        rig.settle(one)
        assert one.assigned == all_of(rig, "topic")

    def test_new_topics_are_found_but_not_oftener_than_every_ten_seconds(self, rig):
        one = rig.member("one", regex="topic.*").join()
        rig.settle(one)
        rig.topics.put("topic-2", 2)
        rig.settle(one)
        assert one.assigned == all_of(rig, "topic")
        rig.advance(10_001)
        rig.settle(one)
        assert one.assigned == all_of(rig, "topic", "topic-2")

    def test_literal_topics_come_first_and_those_of_the_expression_with_a_later_heartbeat(self, rig):
        rig.topics.put("other", 1)
        one = rig.member("one", regex="top.*")
        one.topics = ["other"]
        one.join()
        assert one.assigned == all_of(rig, "other")
        rig.advance(0)
        one.beat()
        assert one.assigned == all_of(rig, "topic", "other")

    def test_an_expression_that_another_member_has_brought_is_known_at_once(self, rig):
        one = rig.member("one", regex="top.*").join()
        rig.settle(one)
        one.leave()
        two = rig.member("two", regex="top.*").join()
        rig.settle(two)
        three = rig.member("three", regex="top.*").join()
        assert three.epoch == rig.consumer_group().group_epoch
        rig.settle(two, three)
        assert len(three.assigned) == 3

    def test_an_expression_that_does_not_parse_is_refused_and_leaves_no_trace(self, rig):
        response = rig.heartbeat("one", JOINING, owned=NOTHING, regex="a(", rebalance_timeout_ms=1000)
        assert response.error_code == INVALID_REGULAR_EXPRESSION
        assert "`a(` is not a valid regular expression" in response.error_message
        assert GROUP not in rig.shard.groups
        assert rig.log == []

    def test_backreferences_are_no_part_of_re2(self, rig):
        response = rig.heartbeat("one", JOINING, owned=NOTHING, regex=r"(a)\1", rebalance_timeout_ms=1000)
        assert response.error_code == INVALID_REGULAR_EXPRESSION

    def test_an_expression_that_nobody_wants_any_more_is_forgotten(self, rig):
        one = rig.member("one", regex="topic.*").join()
        rig.settle(one)
        one.beat(regex="other.*")
        rig.settle(one)
        assert set(rig.consumer_group().regexes) == {"other.*"}
        assert one.assigned == NOTHING
        one.beat(regex="", topics=["topic"])
        rig.settle(one)
        assert rig.consumer_group().regexes == {}
        assert one.assigned == all_of(rig, "topic")

    def test_the_last_to_leave_takes_the_expression_along(self, rig):
        one = rig.member("one", regex="topic.*").join()
        two = rig.member("two", "topic").join()
        one.leave()
        assert rig.consumer_group().regexes == {}
        two.beat()

    def test_names_and_an_expression_add_up(self, rig):
        rig.topics.put("other", 1)
        response = rig.heartbeat(
            "one", JOINING, owned=NOTHING, topics=["other"], regex="topi.", rebalance_timeout_ms=1000
        )
        assert response.error_code == 0
        rig.advance(0)
        group = rig.consumer_group()
        assert group.subscribed_names() == {"topic", "other"}
        assert group.is_subscribed_to("topic")
        assert group.is_subscribed_to("other")

    def test_what_the_expression_named_survives_a_restart(self, rig):
        one = rig.member("one", regex="topic.*").join()
        rig.advance(0)
        rig.reload()
        assert rig.consumer_group().regexes["topic.*"].topics == {"topic"}
        assert one.beat().error_code == 0


class TestOffsets:
    def check(self, rig, member_id, epoch, **options):
        rig.consumer_group().check_offset_commit(
            member_id, None, epoch, **{"transactional": False, "api_version": 9} | options
        )

    def test_a_member_commits_with_its_epoch(self, rig):
        one = rig.member("one", "topic").join()
        self.check(rig, "one", one.epoch)
        with pytest.raises(StaleMemberEpoch):
            self.check(rig, "one", one.epoch + 1)
        with pytest.raises(UnknownMemberId):
            self.check(rig, "two", one.epoch)

    def test_versions_without_epochs_are_refused(self, rig):
        one = rig.member("one", "topic").join()
        with pytest.raises(KafkaError) as refused:
            self.check(rig, "one", one.epoch, api_version=8)
        assert refused.value.name == "UNSUPPORTED_VERSION"

    def test_an_administrator_commits_only_while_the_group_is_empty(self, rig):
        one = rig.member("one", "topic").join()
        with pytest.raises(UnknownMemberId):
            self.check(rig, "", -1)
        self.check(rig, "", -1, transactional=True)
        one.leave()
        self.check(rig, "", -1)

    def test_fetching_offsets_checks_the_epoch_of_members_only(self, rig):
        one = rig.member("one", "topic").join()
        group = rig.consumer_group()
        group.check_offset_fetch(None, -1, rig.now_ms)
        group.check_offset_fetch("one", one.epoch, rig.now_ms)
        with pytest.raises(StaleMemberEpoch):
            group.check_offset_fetch("one", one.epoch - 1, rig.now_ms)
        with pytest.raises(UnknownMemberId):
            group.check_offset_fetch("two", one.epoch, rig.now_ms)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"member_id": ""}, "MemberId can't be empty."),
        ({"group_id": " "}, "GroupId can't be empty."),
        ({"instance_id": ""}, "InstanceId can't be empty."),
        ({"rack_id": ""}, "RackId can't be empty."),
        ({"rebalance_timeout_ms": -1}, "RebalanceTimeoutMs must be provided in first request."),
        ({"topic_partitions": None}, "TopicPartitions must be empty when (re-)joining."),
        ({"subscribed_topic_names": None}, "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null"),
        ({"member_epoch": -2}, "InstanceId can't be null."),
        ({"member_epoch": -3}, "MemberEpoch is invalid."),
    ],
)
def test_requests_that_make_no_sense_are_refused(changes, words):
    sound = {
        "group_id": "g",
        "member_id": "m",
        "member_epoch": 0,
        "rebalance_timeout_ms": 1000,
        "subscribed_topic_names": [],
        "topic_partitions": [],
    }
    check_heartbeat(ConsumerGroupHeartbeatRequest(**sound), 1, ConsumerGroupConfig())
    with pytest.raises(InvalidRequest) as refused:
        check_heartbeat(ConsumerGroupHeartbeatRequest(**sound | changes), 1, ConsumerGroupConfig())
    assert words in str(refused.value)


def test_of_assignors_that_equally_many_ask_for_uniform_is_taken(rig):
    rig.member("one", "topic", assignor="range").join()
    assert rig.consumer_group().preferred_assignor() == "range"
    two = rig.member("two", "topic", assignor="uniform").join()
    assert rig.consumer_group().preferred_assignor() == "uniform"
    two.leave()
    assert rig.consumer_group().preferred_assignor() == "range"


def test_an_assignor_that_there_is_not_is_refused():
    request = ConsumerGroupHeartbeatRequest(group_id="g", member_id="m", member_epoch=1, server_assignor="best")
    with pytest.raises(UnsupportedAssignor, match="Supported assignors: uniform, range"):
        check_heartbeat(request, 1, ConsumerGroupConfig())


def test_a_deleted_group_leaves_nothing_behind(rig):
    rig.member("one", regex="topic.*", instance_id="i").join().leave()
    rig.apply(rig.consumer_group().write_tombstones)
    assert GROUP not in rig.shard.groups
    assert GROUP not in rig.loaded_from_log().groups
