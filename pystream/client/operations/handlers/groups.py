"""Handlers of operations on groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pystream.client.admin.group_offsets import OffsetAndMetadata, ShareOffset
from pystream.client.admin.groups import GroupDescription, GroupType, MemberDescription, StreamsGroupDescription
from pystream.client.operations.declaration import Answer, Failure
from pystream.client.operations.groups import (
    ChangedGroup,
    Group,
    GroupDetail,
    GroupMember,
    GroupPartition,
)
from pystream.client.operations.handlers.answers import answer, errors_of, matching, without
from pystream.client.operations.handlers.positions import Bounds, bounds_of, parse_partitions
from pystream.client.operations.handlers.resets import Keeper, Offsets, Where, members_of, reset
from pystream.common.errors import (
    GroupIdNotFound,
    NonEmptyGroup,
    PystreamError,
    UnsupportedVersion,
)
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient

Description = GroupDescription | StreamsGroupDescription
Offset = OffsetAndMetadata | ShareOffset
NO_EPOCH: Final = -1


async def list_(admin: AdminClient, *, pattern: str | None, state: Sequence[str], type: Sequence[str]) -> Answer:
    """Of all coordinators."""
    found = await admin.list_groups(states=state, types=[GroupType.of(each) for each in type])
    names = set(matching(pattern, (each.group_id for each in found)))
    return Answer(
        [
            Group(each.group_id, each.type.value, each.state, each.protocol_type, each.coordinator_id)
            for each in found
            if each.group_id in names
        ]
    )


async def describe(admin: AdminClient, *, groups: Sequence[str]) -> Answer:
    """Of whatever kind they are; a simple group, that only committed offsets, has no members."""
    outcomes = await _described(admin, groups)
    described = {name: told for name, told in outcomes.items() if not isinstance(told, PystreamError)}
    shares = [name for name, told in described.items() if _type(told) is GroupType.SHARE]
    others = [name for name in described if name not in shares]
    committed = await admin.list_consumer_group_offsets(others) if others else {}
    shared = await admin.list_share_group_offsets(shares) if shares else {}
    offsets: dict[str, Mapping[TopicPartition, Offset]] = {}
    failures: list[Failure] = []
    for name, found in {**committed, **shared}.items():
        if isinstance(found, PystreamError):
            failures.append(Failure(name, found))
        else:
            offsets[name] = found
    owners = {name: _owners(told) for name, told in described.items()}
    wanted = {place for each in offsets.values() for place in each}
    wanted |= {place for each in owners.values() for place in each}
    bounds = await bounds_of(admin, sorted(wanted)) if wanted else {}
    rows = [_detail(name, told, owners[name], offsets.get(name, {}), bounds) for name, told in described.items()]
    return Answer(rows, [*(Failure(name, error) for name, error in errors_of(outcomes).items()), *failures])


async def reset_offsets(
    admin: AdminClient,
    *,
    group: str,
    to: str | None,
    topic: Sequence[str],
    to_earliest: bool,
    to_latest: bool,
    to_current: bool,
    to_offset: int | None,
    shift_by: int | None,
    to_datetime: str | None,
    by_duration: str | None,
    from_file: str | None,
    dry_run: bool,
) -> Answer:
    """A group that does not exist yet may be given offsets where topics are named."""
    where = Where(
        to=to,
        to_earliest=to_earliest,
        to_latest=to_latest,
        to_current=to_current,
        to_offset=to_offset,
        shift_by=shift_by,
        to_datetime=to_datetime,
        by_duration=by_duration,
        from_file=from_file,
    )

    async def committed(name: str) -> Offsets:
        found = (await admin.list_consumer_group_offsets([name])).result(name)
        return {place: offset.offset for place, offset in found.items()}

    async def alter(name: str, planned: Offsets) -> Mapping[TopicPartition, PystreamError | None]:
        return await admin.alter_consumer_group_offsets(name, planned)

    async def members(name: str) -> int:
        return members_of(await admin.describe_consumer_groups([name]))

    return await reset(admin, Keeper(committed, alter, members), group, where, topic, dry_run)


async def delete(admin: AdminClient, *, groups: Sequence[str], if_exists: bool, dry_run: bool) -> Answer:
    """A dry run says which of them could be deleted."""
    results: Mapping[str, PystreamError | None]
    if dry_run:
        described = await _described(admin, groups)
        results = {name: _undeletable(name, told) for name, told in described.items()}
    else:
        results = await admin.delete_groups(groups)
    change = "would be deleted" if dry_run else "deleted"
    return answer(
        without(results, (GroupIdNotFound,)) if if_exists else results, lambda name, _: ChangedGroup(name, change)
    )


async def delete_offsets(admin: AdminClient, *, group: str, topic: Sequence[str], dry_run: bool) -> Answer:
    """A dry run says which committed offsets there are to delete."""
    committed = (await admin.list_consumer_group_offsets([group])).result(group)
    wanted = parse_partitions(topic)
    chosen = sorted(
        place
        for place in committed
        if place.topic in wanted and ((only := wanted[place.topic]) is None or place.partition in only)
    )
    if not chosen:
        raise GroupIdNotFound(f"group {group!r} has no committed offset of {', '.join(topic)}")
    if dry_run:
        return Answer([ChangedGroup(str(place), "would be deleted") for place in chosen])
    results = await admin.delete_consumer_group_offsets(group, chosen)
    return answer(results, lambda place, _: ChangedGroup(str(place), "deleted"))


# --- groups of any kind -----------------------------------------------------------------------------------------------


async def _described(admin: AdminClient, groups: Iterable[str]) -> dict[str, Description | PystreamError]:
    """Each group by the request of its kind: the kind is found out by asking."""
    found: dict[str, Description | PystreamError] = dict(await admin.describe_consumer_groups(groups))
    for ask in (admin.describe_share_groups, admin.describe_streams_groups):
        left = [name for name, told in found.items() if isinstance(told, GroupIdNotFound)]
        if not left:
            break
        try:
            results: Mapping[str, Description | PystreamError] = await ask(left)
        except UnsupportedVersion:  # an older broker has no groups of this kind
            continue
        found |= {name: told for name, told in results.items() if not isinstance(told, PystreamError)}
    return found


def _type(told: Description) -> GroupType:
    return GroupType.STREAMS if isinstance(told, StreamsGroupDescription) else told.type


def _undeletable(name: str, told: Description | PystreamError) -> PystreamError | None:
    if isinstance(told, PystreamError):
        return told
    return NonEmptyGroup(f"group {name!r} has {len(told.members)} members") if told.members else None


def _owners(told: Description) -> dict[TopicPartition, MemberDescription]:
    """Which member has which partition; of a share group, where several may have one, any of them."""
    if isinstance(told, StreamsGroupDescription):
        return {}
    return {place: member for member in told.members for place in member.assignment}


def _detail(
    name: str,
    told: Description,
    owners: Mapping[TopicPartition, MemberDescription],
    offsets: Mapping[TopicPartition, Offset],
    bounds: Mapping[TopicPartition, Bounds | PystreamError],
) -> GroupDetail:
    if isinstance(told, StreamsGroupDescription):
        members = [
            GroupMember(each.member_id, each.instance_id, each.client_id, each.host, _epoch(each.member_epoch), [])
            for each in told.members
        ]
        assignor = ""
    else:
        members = [
            GroupMember(
                each.member_id,
                each.instance_id,
                each.client_id,
                each.host,
                _epoch(each.member_epoch),
                [str(place) for place in sorted(each.assignment)],
            )
            for each in told.members
        ]
        assignor = told.assignor
    partitions = [
        _partition(place, offsets.get(place), bounds.get(place), owners.get(place))
        for place in sorted({*offsets, *owners})
    ]
    kind = _type(told).value
    epoch = _epoch(told.group_epoch)
    return GroupDetail(name, kind, told.state, told.coordinator_id, assignor, epoch, members, partitions)


def _epoch(epoch: int) -> int | None:
    return None if epoch == NO_EPOCH else epoch


def _partition(
    place: TopicPartition,
    offset: Offset | None,
    log: Bounds | PystreamError | None,
    owner: MemberDescription | None,
) -> GroupPartition:
    committed = None if offset is None else offset.start_offset if isinstance(offset, ShareOffset) else offset.offset
    known = log if isinstance(log, Bounds) else None
    lag = offset.lag if isinstance(offset, ShareOffset) else None
    if lag is None and committed is not None and known is not None:
        lag = max(known.end - committed, 0)
    return GroupPartition(
        place.topic,
        place.partition,
        committed,
        None if known is None else known.start,
        None if known is None else known.end,
        lag,
        None if owner is None else owner.member_id,
        None if owner is None else owner.host,
        None if owner is None else owner.client_id,
        None if offset is None or offset.leader_epoch == NO_EPOCH else offset.leader_epoch,
    )
