"""ListGroups, DescribeGroups and DeleteGroups on one shard.

DescribeGroups tells of classic groups only; the other kinds have describe requests of their own.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from pystream.common.error_codes import GROUP_ID_NOT_FOUND, NONE
from pystream.common.errors import KafkaError
from pystream.common.logging import get_logger
from pystream.coordinator.group.classic.state import ClassicGroup, ClassicMember, ClassicState
from pystream.coordinator.group.group import Caller, GroupKind
from pystream.coordinator.group.offsets import Offsets
from pystream.coordinator.group.shard import GroupShard
from pystream.coordinator.machine import Effects, Ticket
from pystream.protocol.messages.delete_groups import DeletableGroupResult
from pystream.protocol.messages.describe_groups import DescribedGroup, DescribedGroupMember
from pystream.protocol.messages.list_groups import ListedGroup

logger = get_logger(__name__)

UNKNOWN_GROUP_VERSION = 6  # from this DescribeGroups on a group that is not there is an error


def list_groups(
    shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, states: Set[str], kinds: Set[str]
) -> None:
    """The groups in one of `states` and of one of `kinds`, both in lower case; an empty set asks for all."""
    listed = []
    for group in shard.groups.values():
        state = group.state_name(now_ms)
        if (not states or state.lower() in states) and (not kinds or group.kind.value in kinds):
            listed.append(
                ListedGroup(
                    group_id=group.group_id,
                    protocol_type=group.protocol_type(),
                    group_state=state,
                    group_type=group.kind.value,
                )
            )
    effects.answer(ticket, listed)


def describe_groups(
    shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, caller: Caller, group_ids: Sequence[str]
) -> None:
    effects.answer(ticket, [_described(shard, group_id, caller.api_version) for group_id in group_ids])


def _described(shard: GroupShard, group_id: str, api_version: int) -> DescribedGroup:
    group = shard.groups.get(group_id)
    if not isinstance(group, ClassicGroup):
        if api_version < UNKNOWN_GROUP_VERSION:
            return DescribedGroup(group_id=group_id, group_state=ClassicState.DEAD.value)
        missing = "not found." if group is None else f"is not a {GroupKind.CLASSIC} group."
        return DescribedGroup(
            error_code=GROUP_ID_NOT_FOUND,
            error_message=f"Group {group_id} {missing}",
            group_id=group_id,
            group_state=ClassicState.DEAD.value,
        )
    stable = group.state is ClassicState.STABLE
    protocol_name = group.protocol_name if stable else None
    return DescribedGroup(
        error_code=NONE,
        group_id=group_id,
        group_state=group.state.value,
        protocol_type=group.protocol_type(),
        protocol_data=protocol_name or "",
        members=[_described_member(member, protocol_name) for member in group.members.values()],
    )


def _described_member(member: ClassicMember, protocol_name: str | None) -> DescribedGroupMember:
    return DescribedGroupMember(
        member_id=member.member_id,
        group_instance_id=member.group_instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        member_metadata=b"" if protocol_name is None else member.metadata(protocol_name),
        member_assignment=member.assignment,
    )


def delete_groups(shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, group_ids: Sequence[str]) -> None:
    """Forget groups without members, and their offsets."""
    effects.answer(
        ticket,
        [DeletableGroupResult(group_id=g, error_code=_delete(shard, g, effects)) for g in dict.fromkeys(group_ids)],
    )


def _delete(shard: GroupShard, group_id: str, effects: Effects) -> int:
    try:
        group = shard.group(group_id)
        group.check_delete()
    except KafkaError as error:
        return error.code
    offsets = shard.part(Offsets)
    deleted = offsets.delete(group_id, offsets.places_of(group_id), effects)
    group.write_tombstones(effects)
    logger.info("group deleted", group=group_id, kind=group.kind, offsets=deleted)
    return NONE
