"""JoinGroup on one shard: who is let in, as whom, and what everybody is told."""

from __future__ import annotations

import pytest

from pystream.common.error_codes import (
    FENCED_INSTANCE_ID,
    GROUP_MAX_SIZE_REACHED,
    INCONSISTENT_GROUP_PROTOCOL,
    INVALID_SESSION_TIMEOUT,
    MEMBER_ID_REQUIRED,
    NONE,
    REBALANCE_IN_PROGRESS,
    UNKNOWN_MEMBER_ID,
)
from pystream.coordinator.group.classic.join import join_group
from pystream.coordinator.group.classic.state import ClassicGroup
from pystream.coordinator.group.group import Caller
from pystream.protocol.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from tests.support.group_rig import GROUP, REBALANCE_TIMEOUT_MS, SESSION_TIMEOUT_MS, GroupRig, subscription

INITIAL_DELAY_MS = 3_000


@pytest.fixture
def rig() -> GroupRig:
    return GroupRig()


def group_of(rig: GroupRig) -> ClassicGroup:
    group = rig.shard.groups[GROUP]
    assert isinstance(group, ClassicGroup)
    return group


def test_the_first_members_of_a_group_are_answered_after_the_initial_delay(rig: GroupRig) -> None:
    ticket = rig.join()
    rig.advance(INITIAL_DELAY_MS - 1)
    assert ticket not in rig.answers
    rig.advance(1)
    joined = rig.answers[ticket]
    assert (joined.error_code, joined.generation_id, joined.protocol_name) == (NONE, 1, "range")
    assert joined.leader == joined.member_id == "client-1"
    assert [member.member_id for member in joined.members] == ["client-1"]


def test_the_initial_delay_goes_on_while_members_come_up_to_the_rebalance_timeout(rig: GroupRig) -> None:
    tickets = [rig.join(rebalance_timeout_ms=8_000)]
    for _ in range(2):
        rig.advance(INITIAL_DELAY_MS - 1)
        tickets.append(rig.join(rebalance_timeout_ms=8_000))
        rig.advance(1)
    assert not rig.answers
    rig.advance(2_000)  # 3,000 and 3,000 and what is left of 8,000
    assert [rig.answers[ticket].generation_id for ticket in tickets] == [1, 1, 1]


def test_only_the_leader_learns_who_the_members_are(rig: GroupRig) -> None:
    tickets = [rig.join(), rig.join()]
    rig.advance(10_000)
    leader, follower = (rig.answers[ticket] for ticket in tickets)
    assert [m.metadata for m in leader.members] == [subscription("topic")] * 2
    assert (list(follower.members), follower.leader) == ([], leader.member_id)


def test_from_version_4_on_a_dynamic_member_has_to_come_back_with_the_id_that_it_is_given(rig: GroupRig) -> None:
    refused = rig.answers[rig.join(version=4)]
    assert (refused.error_code, refused.member_id) == (MEMBER_ID_REQUIRED, "client-1")
    ticket = rig.join(refused.member_id, version=4)
    rig.advance(INITIAL_DELAY_MS)
    assert rig.answers[ticket].member_id == "client-1"


def test_an_id_that_is_not_used_within_the_session_timeout_is_forgotten(rig: GroupRig) -> None:
    member_id = rig.answers[rig.join(version=4)].member_id
    rig.advance(SESSION_TIMEOUT_MS)
    assert rig.answers[rig.join(member_id, version=4)].error_code == UNKNOWN_MEMBER_ID


def test_a_rebalance_waits_for_a_member_that_was_given_an_id(rig: GroupRig) -> None:
    (leader,), generation = rig.stable_group(1)
    member_id = rig.answers[rig.join(version=5)].member_id
    again = rig.join(leader)
    assert again not in rig.answers
    newcomer = rig.join(member_id, version=5)
    assert rig.answers[again].generation_id == rig.answers[newcomer].generation_id == generation + 1


def test_a_member_that_is_not_known_is_told_so_and_makes_no_group(rig: GroupRig) -> None:
    assert rig.answers[rig.join("ghost")].error_code == UNKNOWN_MEMBER_ID
    assert (rig.shard.groups, rig.log) == ({}, [])


@pytest.mark.parametrize(("protocol_type", "protocols"), [("", {"range": b""}), ("consumer", {})])
def test_a_first_member_without_protocols_makes_no_group(
    rig: GroupRig, protocol_type: str, protocols: dict[str, bytes]
) -> None:
    ticket = rig.join(protocol_type=protocol_type, protocols=protocols)
    assert rig.answers[ticket].error_code == INCONSISTENT_GROUP_PROTOCOL
    assert rig.log == []


@pytest.mark.parametrize(
    ("protocol_type", "name"), [("connect", "range"), ("consumer", "roundrobin")], ids=["type", "protocols"]
)
def test_a_member_that_speaks_nothing_that_all_speak_is_refused(rig: GroupRig, protocol_type: str, name: str) -> None:
    rig.stable_group(2)
    ticket = rig.join(protocol_type=protocol_type, protocols={name: b""})
    assert rig.answers[ticket].error_code == INCONSISTENT_GROUP_PROTOCOL


def test_the_protocol_is_the_one_that_most_members_prefer_of_those_that_all_speak(rig: GroupRig) -> None:
    tickets = [
        rig.join(protocols={"a": b"", "b": b"", "c": b""}),
        rig.join(protocols={"d": b"", "c": b"", "b": b""}),
        rig.join(protocols={"c": b"", "b": b""}),
    ]
    rig.advance(60_000)
    assert {rig.answers[ticket].protocol_name for ticket in tickets} == {"c"}


@pytest.mark.parametrize("session_timeout_ms", [5_999, 1_800_001])
def test_a_session_timeout_out_of_bounds_is_refused(rig: GroupRig, session_timeout_ms: int) -> None:
    ticket = rig.join(session_timeout_ms=session_timeout_ms)
    assert rig.answers[ticket].error_code == INVALID_SESSION_TIMEOUT


def test_a_full_group_takes_no_more_members(rig: GroupRig) -> None:
    rig.configure_classic(max_size=2)
    rig.stable_group(2)
    assert rig.answers[rig.join()].error_code == GROUP_MAX_SIZE_REACHED


def test_a_loaded_group_above_the_maximum_rebalances_and_leaves_the_last_out(rig: GroupRig) -> None:
    members, generation = rig.stable_group(3)
    rig.configure_classic(max_size=2)
    rig.reload()
    assert rig.beat(members[0], generation) == REBALANCE_IN_PROGRESS
    tickets = [rig.join(member) for member in members]
    codes = [rig.answers[ticket].error_code for ticket in tickets]
    assert codes == [NONE, NONE, GROUP_MAX_SIZE_REACHED]


def test_a_follower_that_asks_again_with_the_same_protocols_is_answered_at_once(rig: GroupRig) -> None:
    (_, follower), generation = rig.stable_group(2)
    joined = rig.answers[rig.join(follower)]
    assert (joined.error_code, joined.generation_id) == (NONE, generation)


@pytest.mark.parametrize("who", ["leader", "follower with other metadata"])
def test_a_leader_or_a_changed_member_that_asks_again_makes_all_rebalance(rig: GroupRig, who: str) -> None:
    (leader, follower), generation = rig.stable_group(2)
    if who == "leader":
        ticket = rig.join(leader)
        other = follower
    else:
        ticket = rig.join(follower, protocols={"range": subscription("another")})
        other = leader
    assert ticket not in rig.answers
    assert rig.beat(other, generation) == REBALANCE_IN_PROGRESS
    rig.join(other)
    assert rig.answers[ticket].generation_id == generation + 1


def test_a_join_repeated_on_another_connection_ends_the_one_before(rig: GroupRig) -> None:
    (leader, follower), _ = rig.stable_group(2)
    first = rig.join(leader)
    second = rig.join(leader)
    assert rig.answers[first].error_code == REBALANCE_IN_PROGRESS
    rig.join(follower)
    assert rig.answers[second].error_code == NONE


# static members


def test_a_static_member_that_starts_anew_takes_its_place_without_a_rebalance(rig: GroupRig) -> None:
    tickets = [rig.join(instance_id="one", version=5), rig.join(instance_id="two", version=5)]
    rig.advance(10_000)
    leader, follower = (rig.answers[ticket].member_id for ticket in tickets)
    rig.sync(follower, 1)
    rig.sync(leader, 1, {leader: b"L", follower: b"F"})
    again = rig.answers[rig.join(instance_id="two", version=5)]
    assert (again.error_code, again.generation_id) == (NONE, 1)
    assert again.member_id not in (leader, follower)
    assert rig.answers[rig.sync(again.member_id, 1)].assignment == b"F"
    assert rig.beat(leader, 1) == NONE
    assert rig.beat(follower, 1, instance_id="two") == FENCED_INSTANCE_ID


@pytest.mark.parametrize(("version", "skips"), [(8, False), (9, True)])
def test_a_static_leader_that_comes_back_does_not_assign_again(rig: GroupRig, version: int, skips: bool) -> None:
    first = rig.join(instance_id="one", version=version)
    rig.advance(10_000)
    old = rig.answers[first].member_id
    rig.sync(old, 1, {old: b"A"})
    again = rig.answers[rig.join(instance_id="one", version=version)]
    assert again.skip_assignment is skips
    assert (again.leader == again.member_id) is skips
    assert rig.answers[rig.sync(again.member_id, 1)].assignment == b"A"


def test_a_replaced_static_member_is_fenced_where_it_waits(rig: GroupRig) -> None:
    waiting = rig.join(instance_id="one", version=5)
    rig.join(instance_id="one", version=5)
    assert rig.answers[waiting].error_code == FENCED_INSTANCE_ID


def test_a_static_member_replaced_before_the_leaders_sync_makes_all_rebalance(rig: GroupRig) -> None:
    tickets = [rig.join(instance_id="one", version=5), rig.join(instance_id="two", version=5)]
    rig.advance(10_000)
    leader, follower = (rig.answers[ticket].member_id for ticket in tickets)
    waiting = rig.sync(follower, 1)
    again = rig.join(instance_id="two", version=5)
    assert rig.answers[waiting].error_code == FENCED_INSTANCE_ID
    rig.join(leader, instance_id="one", version=5)
    assert rig.answers[again].generation_id == 2


def test_a_static_member_that_is_replaced_with_other_protocols_makes_all_rebalance(rig: GroupRig) -> None:
    protocols = {"range": subscription("topic"), "other": b"same"}
    tickets = [rig.join(instance_id=i, version=5, protocols=protocols) for i in ("one", "two")]
    rig.advance(10_000)
    leader, follower = (rig.answers[ticket].member_id for ticket in tickets)
    rig.sync(follower, 1)
    rig.sync(leader, 1, {})
    again = rig.join(instance_id="two", version=5, protocols={"other": b"same"})
    assert again not in rig.answers
    assert rig.beat(leader, 1) == REBALANCE_IN_PROGRESS


def test_a_static_member_keeps_its_place_when_it_misses_a_rebalance(rig: GroupRig) -> None:
    tickets = [rig.join(instance_id="one", version=5, session_timeout_ms=100_000), rig.join()]
    rig.advance(6_000)
    static, dynamic = (rig.answers[ticket].member_id for ticket in tickets)
    rig.sync(dynamic, 1)
    rig.sync(static, 1, {})
    again = rig.join(dynamic, protocols={"range": subscription("changed")})
    rig.advance(REBALANCE_TIMEOUT_MS)
    assert (rig.answers[again].error_code, rig.answers[again].leader) == (NONE, dynamic)
    assert static in group_of(rig).members


def test_the_host_and_the_client_id_of_a_member_are_kept(rig: GroupRig) -> None:
    rig.stable_group(1, client_id="reader")
    member = group_of(rig).members["reader-1"]
    assert (member.client_id, member.client_host) == ("reader", "/127.0.0.1")
    rig.reload()
    member = group_of(rig).members["reader-1"]
    assert (member.client_id, member.client_host, member.session_timeout_ms) == ("reader", "/127.0.0.1", 10_000)


@pytest.mark.parametrize("letter", ["x", "é"])
def test_names_as_long_as_the_wire_lets_through_can_be_recorded(rig: GroupRig, letter: str) -> None:
    name = letter * (32_767 // len(letter.encode()))
    ticket = rig.join(client_id=name, instance_id=name, version=5)
    rig.advance(INITIAL_DELAY_MS)
    member_id = rig.answers[ticket].member_id
    rig.sync(member_id, 1, {member_id: b"all"})
    dynamic = rig.answers[rig.join(client_id=name, version=5)].member_id
    assert max(len(member_id.encode()), len(dynamic.encode())) < 32_767
    rig.reload()
    assert rig.beat(member_id, 1, instance_id=name) == NONE


def test_of_a_protocol_that_is_named_twice_the_first_counts(rig: GroupRig) -> None:
    (leader,), _ = rig.stable_group(1)
    names = [("sticky", b"first"), ("range", subscription("topic")), ("sticky", b"second")]
    request = JoinGroupRequest(
        group_id=GROUP,
        session_timeout_ms=SESSION_TIMEOUT_MS,
        rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
        protocol_type="consumer",
        protocols=[JoinGroupRequestProtocol(name=name, metadata=data) for name, data in names],
    )
    rig.submit(join_group, Caller(3, "client", "/127.0.0.1"), request)
    rig.leave(leader)
    (member,) = group_of(rig).members.values()
    assert member.protocols == (("sticky", b"first"), ("range", subscription("topic")))
    assert group_of(rig).protocol_name == "sticky"
