"""SyncGroup, Heartbeat, LeaveGroup and time: how generations come and go, and what a restart keeps."""

from __future__ import annotations

import pytest

from pystream.common.error_codes import (
    FENCED_INSTANCE_ID,
    ILLEGAL_GENERATION,
    INCONSISTENT_GROUP_PROTOCOL,
    NONE,
    NOT_COORDINATOR,
    REBALANCE_IN_PROGRESS,
    UNKNOWN_MEMBER_ID,
)
from pystream.coordinator.group.classic.state import ClassicGroup, ClassicState
from tests.support.group_rig import GROUP, REBALANCE_TIMEOUT_MS, SESSION_TIMEOUT_MS, GroupRig, subscription


@pytest.fixture
def rig() -> GroupRig:
    return GroupRig()


def group_of(rig: GroupRig) -> ClassicGroup:
    group = rig.shard.groups[GROUP]
    assert isinstance(group, ClassicGroup)
    return group


def joined(rig: GroupRig, members: int = 2, **join: object) -> tuple[list[str], int]:
    """Members of a new generation that nobody has assigned yet, the leader first."""
    tickets = [rig.join(**join) for _ in range(members)]  # type: ignore[arg-type]
    rig.advance(10_000)
    answers = [rig.answers[ticket] for ticket in tickets]
    return [answer.member_id for answer in answers], answers[0].generation_id


def test_every_member_gets_what_the_leader_assigns_to_it(rig: GroupRig) -> None:
    (leader, follower), generation = joined(rig)
    early = rig.sync(follower, generation)
    assert early not in rig.answers
    own = rig.sync(leader, generation, {leader: b"L", follower: b"F"})
    assert (rig.answers[early].assignment, rig.answers[own].assignment) == (b"F", b"L")
    assert (rig.answers[own].protocol_type, rig.answers[own].protocol_name) == ("consumer", "range")
    assert rig.answers[rig.sync(follower, generation)].assignment == b"F"


def test_a_member_that_the_leader_left_out_gets_nothing(rig: GroupRig) -> None:
    (leader, follower), generation = joined(rig)
    waiting = rig.sync(follower, generation)
    rig.sync(leader, generation, {leader: b"all", "stranger": b"x"})
    assert (rig.answers[waiting].error_code, rig.answers[waiting].assignment) == (NONE, b"")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"member_id": "ghost"}, UNKNOWN_MEMBER_ID),
        ({"generation": 0}, ILLEGAL_GENERATION),
        ({"generation": 2}, ILLEGAL_GENERATION),
        ({"instance_id": "unknown"}, UNKNOWN_MEMBER_ID),
        ({"protocol_type": "connect"}, INCONSISTENT_GROUP_PROTOCOL),
        ({"protocol_name": "roundrobin"}, INCONSISTENT_GROUP_PROTOCOL),
        ({"group_id": "elsewhere"}, UNKNOWN_MEMBER_ID),
    ],
)
def test_a_sync_that_does_not_fit_is_refused(rig: GroupRig, changes: dict[str, object], code: int) -> None:
    (leader, _), generation = joined(rig)
    arguments = {"member_id": leader, "generation": generation, **changes}
    assert rig.answers[rig.sync(**arguments)].error_code == code  # type: ignore[arg-type]


def test_who_waits_for_an_assignment_is_told_when_the_group_rebalances(rig: GroupRig) -> None:
    (_, follower), generation = joined(rig)
    waiting = rig.sync(follower, generation)
    rig.join()
    assert rig.answers[waiting].error_code == REBALANCE_IN_PROGRESS


def test_a_sync_during_a_rebalance_is_refused(rig: GroupRig) -> None:
    (leader, follower), generation = rig.stable_group(2)
    rig.join(leader)
    assert rig.answers[rig.sync(follower, generation)].error_code == REBALANCE_IN_PROGRESS


@pytest.mark.parametrize("generation_difference", [-1, 1])
def test_a_heartbeat_of_another_generation_is_refused(rig: GroupRig, generation_difference: int) -> None:
    (leader, _), generation = rig.stable_group(2)
    assert rig.beat(leader, generation + generation_difference) == ILLEGAL_GENERATION


def test_a_heartbeat_of_nobody_is_refused(rig: GroupRig) -> None:
    _, generation = rig.stable_group(1)
    assert rig.beat("ghost", generation) == UNKNOWN_MEMBER_ID
    assert rig.beat("ghost", generation, group_id="no group") == UNKNOWN_MEMBER_ID


def test_a_member_that_is_silent_for_its_session_timeout_is_removed(rig: GroupRig) -> None:
    (leader, follower), generation = rig.stable_group(2)
    rig.advance(SESSION_TIMEOUT_MS - 1)
    assert rig.beat(leader, generation) == NONE
    rig.advance(1)
    assert rig.beat(leader, generation) == REBALANCE_IN_PROGRESS
    assert rig.beat(follower, generation) == UNKNOWN_MEMBER_ID
    assert rig.answers[rig.join(leader)].generation_id == generation + 1


def test_a_member_that_waits_needs_no_heartbeats(rig: GroupRig) -> None:
    (leader, follower), generation = rig.stable_group(2, session_timeout_ms=10_000)
    waiting = rig.join(leader)
    for _ in range(5):
        rig.advance(SESSION_TIMEOUT_MS - 1)
        assert rig.beat(follower, generation) == REBALANCE_IN_PROGRESS
    assert waiting not in rig.answers
    rig.advance(REBALANCE_TIMEOUT_MS)
    assert rig.answers[waiting].generation_id == generation + 1


def test_members_that_do_not_join_again_are_left_out_after_the_rebalance_timeout(rig: GroupRig) -> None:
    (leader, follower), generation = rig.stable_group(2, session_timeout_ms=100_000)
    waiting = rig.join(leader)
    rig.advance(REBALANCE_TIMEOUT_MS - 1)
    assert waiting not in rig.answers
    rig.advance(1)
    assert [member.member_id for member in rig.answers[waiting].members] == [leader]
    assert rig.beat(follower, generation) == UNKNOWN_MEMBER_ID


def test_when_the_leader_does_not_join_again_another_member_leads(rig: GroupRig) -> None:
    (leader, follower), _ = rig.stable_group(2, session_timeout_ms=100_000)
    waiting = rig.join(follower, protocols={"range": subscription("other")}, session_timeout_ms=100_000)
    rig.advance(REBALANCE_TIMEOUT_MS)
    assert rig.answers[waiting].leader == follower
    assert leader not in group_of(rig).members


def test_members_that_do_not_sync_within_the_rebalance_timeout_are_removed(rig: GroupRig) -> None:
    (leader, follower), generation = joined(rig, session_timeout_ms=100_000)
    own = rig.sync(leader, generation, {})
    assert rig.answers[own].error_code == NONE
    rig.advance(REBALANCE_TIMEOUT_MS)
    assert rig.beat(follower, generation) == UNKNOWN_MEMBER_ID
    assert rig.beat(leader, generation) == REBALANCE_IN_PROGRESS


def test_when_the_leader_does_not_sync_the_others_are_told_to_join_again(rig: GroupRig) -> None:
    (_, follower), generation = joined(rig, session_timeout_ms=100_000)
    waiting = rig.sync(follower, generation)
    rig.advance(REBALANCE_TIMEOUT_MS)
    assert rig.answers[waiting].error_code == REBALANCE_IN_PROGRESS
    assert list(group_of(rig).members) == [follower]


def test_a_member_that_leaves_makes_the_others_rebalance(rig: GroupRig) -> None:
    (leader, follower), generation = rig.stable_group(2)
    (result,) = rig.leave(follower).members
    assert result.error_code == NONE
    assert rig.beat(leader, generation) == REBALANCE_IN_PROGRESS
    assert rig.answers[rig.join(leader)].generation_id == generation + 1


def test_the_last_member_that_leaves_makes_the_group_empty_at_once(rig: GroupRig) -> None:
    (leader,), generation = rig.stable_group(1)
    rig.leave(leader)
    group = group_of(rig)
    assert (group.state, group.generation, group.protocol_name) == (ClassicState.EMPTY, generation + 1, None)


def test_a_member_that_leaves_while_it_waits_is_answered(rig: GroupRig) -> None:
    (_, follower), generation = joined(rig)
    waiting = rig.sync(follower, generation)
    rig.leave(follower)
    assert rig.answers[waiting].error_code == UNKNOWN_MEMBER_ID
    joining = rig.join()
    (newcomer,) = [m for m in group_of(rig).members.values() if m.awaiting_join]
    rig.leave(newcomer.member_id)
    assert rig.answers[joining].error_code == UNKNOWN_MEMBER_ID


def test_leaving_answers_each_member_for_itself(rig: GroupRig) -> None:
    (leader, follower), _ = rig.stable_group(2)
    results = rig.leave(leader, "ghost", follower).members
    assert [result.error_code for result in results] == [NONE, UNKNOWN_MEMBER_ID, NONE]
    assert [r.error_code for r in rig.leave("ghost", group_id="no group").members] == [UNKNOWN_MEMBER_ID]


def test_an_administrator_removes_static_members_by_their_instance_ids(rig: GroupRig) -> None:
    tickets = [rig.join(instance_id="one", version=5), rig.join(instance_id="two", version=5)]
    rig.advance(10_000)
    leader, follower = (rig.answers[ticket].member_id for ticket in tickets)
    rig.sync(follower, 1)
    rig.sync(leader, 1, {})
    results = rig.leave(instance_ids=("two", "three")).members
    assert [result.error_code for result in results] == [NONE, UNKNOWN_MEMBER_ID]
    assert list(group_of(rig).static_members) == ["one"]


def test_a_fenced_static_member_cannot_leave_for_its_successor(rig: GroupRig) -> None:
    ticket = rig.join(instance_id="one", version=5)
    rig.advance(10_000)
    old = rig.answers[ticket].member_id
    rig.sync(old, 1, {})
    rig.join(instance_id="one", version=5)
    assert rig.beat(old, 1, instance_id="one") == FENCED_INSTANCE_ID
    assert [r.error_code for r in rig.leave(old).members] == [UNKNOWN_MEMBER_ID]


# restarts


def test_a_stable_group_survives_a_restart_with_its_assignment(rig: GroupRig) -> None:
    (leader, follower), generation = rig.stable_group(2)
    rig.reload()
    assert rig.beat(leader, generation) == NONE
    assert rig.answers[rig.sync(follower, generation)].assignment == b"for " + follower.encode()
    assert group_of(rig).subscribed_topics == {"topic"}


def test_sessions_begin_anew_after_a_restart(rig: GroupRig) -> None:
    (leader, _), generation = rig.stable_group(2)
    rig.advance(SESSION_TIMEOUT_MS - 1)
    rig.reload()
    rig.advance(SESSION_TIMEOUT_MS - 1)
    assert rig.beat(leader, generation) == NONE
    rig.advance(SESSION_TIMEOUT_MS - 1)
    assert rig.beat(leader, generation) == REBALANCE_IN_PROGRESS


def test_who_waits_when_the_coordinator_goes_is_told_to_look_elsewhere(rig: GroupRig) -> None:
    waiting = rig.join()
    rig.reload()
    assert rig.answers[waiting].error_code == NOT_COORDINATOR
    (_, follower), generation = joined(rig)
    waiting = rig.sync(follower, generation)
    rig.reload()
    assert rig.answers[waiting].error_code == NOT_COORDINATOR


def test_a_restart_in_a_rebalance_comes_up_with_the_generation_before(rig: GroupRig) -> None:
    (leader, follower), generation = rig.stable_group(2)
    rig.join(leader)
    rig.reload()
    group = group_of(rig)
    assert (group.state, group.generation, set(group.members)) == (
        ClassicState.STABLE,
        generation,
        {leader, follower},
    )


def test_static_members_are_known_again_after_a_restart(rig: GroupRig) -> None:
    ticket = rig.join(instance_id="one", version=5)
    rig.advance(10_000)
    old = rig.answers[ticket].member_id
    rig.sync(old, 1, {old: b"A"})
    new = rig.answers[rig.join(instance_id="one", version=5)].member_id
    rig.reload()
    assert group_of(rig).static_members == {"one": new}
    assert rig.beat(old, 1, instance_id="one") == FENCED_INSTANCE_ID
    assert rig.answers[rig.sync(new, 1, instance_id="one")].assignment == b"A"


def test_an_empty_group_keeps_its_generation_over_a_restart(rig: GroupRig) -> None:
    (leader,), generation = rig.stable_group(1)
    rig.leave(leader)
    rig.reload()
    group = group_of(rig)
    assert (group.state, group.generation, group.protocol_type_name) == (
        ClassicState.EMPTY,
        generation + 1,
        "consumer",
    )
