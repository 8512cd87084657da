"""ListGroups, DescribeGroups and DeleteGroups on one shard."""

from __future__ import annotations

import pytest

from pystream.common.error_codes import GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP, NONE
from pystream.coordinator.group.admin_requests import delete_groups, describe_groups, list_groups
from pystream.coordinator.group.group import Caller
from tests.support.group_rig import GROUP, GroupRig, subscription

PLACE = ("topic", 0)


@pytest.fixture
def rig() -> GroupRig:
    return GroupRig()


def names(rig: GroupRig, *states: str, kinds: tuple[str, ...] = ()) -> list[str]:
    return [group.group_id for group in rig.call(list_groups, frozenset(states), frozenset(kinds))]


def test_groups_are_listed_with_state_type_and_protocol(rig: GroupRig) -> None:
    rig.stable_group(1)
    rig.commit({PLACE: 1}, group_id="simple")
    listed = rig.call(list_groups, frozenset(), frozenset())
    assert [(g.group_id, g.group_state, g.group_type, g.protocol_type) for g in listed] == [
        (GROUP, "Stable", "classic", "consumer"),
        ("simple", "Empty", "classic", ""),
    ]


def test_groups_are_filtered_by_state_and_type(rig: GroupRig) -> None:
    rig.stable_group(1)
    rig.commit({PLACE: 1}, group_id="simple")
    assert names(rig, "stable") == [GROUP]
    assert names(rig, "empty", "dead") == ["simple"]
    assert names(rig, "stable", kinds=("consumer",)) == []
    assert names(rig, kinds=("classic",)) == [GROUP, "simple"]
    assert names(rig, "no such state") == []


def describe(rig: GroupRig, *group_ids: str, version: int = 6) -> list[object]:
    found: list[object] = rig.call(describe_groups, Caller(version, "client", "/127.0.0.1"), list(group_ids))
    return found


def test_a_stable_group_is_described_with_what_its_members_said_and_got(rig: GroupRig) -> None:
    (member_id,), _ = rig.stable_group(1, client_id="reader")
    (group,) = describe(rig, GROUP)
    assert (group.group_state, group.protocol_type, group.protocol_data) == ("Stable", "consumer", "range")
    (member,) = group.members
    assert (member.member_id, member.client_id, member.client_host) == (member_id, "reader", "/127.0.0.1")
    assert member.member_metadata == subscription("topic")
    assert member.member_assignment == b"for " + member_id.encode()


def test_a_group_in_a_rebalance_is_described_without_metadata(rig: GroupRig) -> None:
    rig.stable_group(2)
    rig.join()
    (group,) = describe(rig, GROUP)
    assert (group.group_state, group.protocol_data) == ("PreparingRebalance", "")
    assert {member.member_metadata for member in group.members} == {b""}


@pytest.mark.parametrize(("version", "code"), [(5, NONE), (6, GROUP_ID_NOT_FOUND)])
def test_a_group_that_is_not_there_is_dead(rig: GroupRig, version: int, code: int) -> None:
    (group,) = describe(rig, "ghost", version=version)
    assert (group.group_id, group.group_state, group.error_code) == ("ghost", "Dead", code)


def test_groups_without_members_are_deleted_with_their_offsets(rig: GroupRig) -> None:
    rig.stable_group(1)
    rig.commit({PLACE: 1}, group_id="simple")
    rig.commit_in_transaction(7, {PLACE: 2}, group_id="simple")
    results = rig.call(delete_groups, [GROUP, "simple", "ghost", "simple"])
    assert [(result.group_id, result.error_code) for result in results] == [
        (GROUP, NON_EMPTY_GROUP),
        ("simple", NONE),
        ("ghost", GROUP_ID_NOT_FOUND),
    ]
    rig.end_transaction(7, committed=True)
    rig.reload()
    assert list(rig.shard.groups) == [GROUP]
    assert rig.offset(*PLACE, group_id="simple") == -1


def test_a_deleted_group_can_be_founded_anew(rig: GroupRig) -> None:
    (leader,), _ = rig.stable_group(1)
    rig.leave(leader)
    rig.call(delete_groups, [GROUP])
    assert rig.shard.groups == {}
    _, generation = rig.stable_group(1)
    assert generation == 1
