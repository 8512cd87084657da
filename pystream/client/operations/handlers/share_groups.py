"""Handlers of operations on share groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pystream.client.admin.group_offsets import ShareOffset
from pystream.client.operations.declaration import Answer, Failure
from pystream.client.operations.groups import ChangedGroup, Group
from pystream.client.operations.handlers import groups as any_groups
from pystream.client.operations.handlers.answers import answer, errors_of, matching, without
from pystream.client.operations.handlers.positions import Bounds, bounds_of
from pystream.client.operations.handlers.resets import Keeper, Offsets, Where, members_of, reset
from pystream.client.operations.share_groups import StartOffset
from pystream.common.errors import GroupIdNotFound, NonEmptyGroup, PystreamError, UnknownTopicOrPartition
from pystream.common.model import NO_LEADER_EPOCH, TopicPartition

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient


async def list_(admin: AdminClient, *, pattern: str | None, state: Sequence[str]) -> Answer:
    """Of all coordinators."""
    found = await admin.list_share_groups(states=state)
    names = set(matching(pattern, (each.group_id for each in found)))
    return Answer(
        [
            Group(each.group_id, each.type.value, each.state, each.protocol_type, each.coordinator_id)
            for each in found
            if each.group_id in names
        ]
    )


async def describe(admin: AdminClient, *, groups: Sequence[str]) -> Answer:
    """As of groups of any kind; those of another kind are not found."""
    told = await admin.describe_share_groups(groups)
    shown = await any_groups.describe(admin, groups=list(told.succeeded))
    return Answer(shown.rows, [*_failures(told.failed), *shown.failures])


async def offsets(admin: AdminClient, *, groups: Sequence[str]) -> Answer:
    """Of the partitions that a group has begun with."""
    known = await admin.describe_share_groups(groups)
    told = await admin.list_share_group_offsets(list(known.succeeded)) if known.succeeded else None
    found = {} if told is None else told.succeeded
    bounds = await bounds_of(admin, sorted({place for each in found.values() for place in each})) if found else {}
    rows = [
        _row(group, place, offset, bounds.get(place))
        for group, each in found.items()
        for place, offset in sorted(each.items())
    ]
    return Answer(rows, [*_failures(known.failed), *_failures({} if told is None else told.failed)])


def _row(group: str, place: TopicPartition, offset: ShareOffset, log: Bounds | PystreamError | None) -> StartOffset:
    end = log.end if isinstance(log, Bounds) else None
    lag = offset.lag
    if lag is None and end is not None:
        lag = max(end - offset.start_offset, 0)
    epoch = None if offset.leader_epoch == NO_LEADER_EPOCH else offset.leader_epoch
    return StartOffset(group, place.topic, place.partition, offset.start_offset, end, lag, epoch)


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
    """A group that does not exist yet begins where it is told."""
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
        found = (await admin.list_share_group_offsets([name])).get(name)
        if isinstance(found, GroupIdNotFound):
            return {}
        if isinstance(found, PystreamError):
            raise found
        return {place: offset.start_offset for place, offset in (found or {}).items()}

    async def alter(name: str, planned: Offsets) -> Mapping[TopicPartition, PystreamError | None]:
        return await admin.alter_share_group_offsets(name, planned)

    async def members(name: str) -> int:
        return members_of(await admin.describe_share_groups([name]))

    return await reset(admin, Keeper(committed, alter, members), group, where, topic, dry_run)


async def delete_offsets(admin: AdminClient, *, group: str, topic: Sequence[str], dry_run: bool) -> Answer:
    """A dry run says which of the topics the group has begun with."""
    if dry_run:
        begun = {place.topic for place in (await admin.list_share_group_offsets([group])).result(group)}
        results: Mapping[str, PystreamError | None] = {
            name: None if name in begun else UnknownTopicOrPartition(f"group {group!r} has no offset of {name}")
            for name in topic
        }
    else:
        results = await admin.delete_share_group_offsets(group, topic)
    change = "would be forgotten" if dry_run else "forgotten"
    return answer(results, lambda name, _: ChangedGroup(name, change))


async def delete(admin: AdminClient, *, groups: Sequence[str], if_exists: bool, dry_run: bool) -> Answer:
    """Groups of another kind are not found."""
    told = await admin.describe_share_groups(groups)
    results: dict[str, PystreamError | None] = dict(errors_of(told))
    if dry_run:
        for name, group in told.succeeded.items():
            full = NonEmptyGroup(f"group {name!r} has {len(group.members)} members") if group.members else None
            results[name] = full
    elif told.succeeded:
        results |= await admin.delete_share_groups(told.succeeded)
    change = "would be deleted" if dry_run else "deleted"
    return answer(
        without(results, (GroupIdNotFound,)) if if_exists else results, lambda name, _: ChangedGroup(name, change)
    )


def _failures(failed: Mapping[str, PystreamError]) -> list[Failure]:
    return [Failure(name, error) for name, error in failed.items()]
