"""Handlers of operations on groups of Kafka Streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pystream.client.admin.groups import StreamsGroupDescription, StreamsMember, Subtopology
from pystream.client.operations.declaration import Answer, Failure
from pystream.client.operations.groups import ChangedGroup, Group
from pystream.client.operations.handlers import groups as any_groups
from pystream.client.operations.handlers.answers import answer, errors_of, matching, without
from pystream.client.operations.handlers.positions import Bounds, bounds_of
from pystream.client.operations.handlers.resets import Keeper, Offsets, Where, members_of, reset
from pystream.client.operations.share_groups import StartOffset
from pystream.client.operations.streams_groups import StreamsGroupDetail, StreamsMemberRow, SubtopologyRow
from pystream.common.errors import GroupIdNotFound, NonEmptyGroup, PystreamError
from pystream.common.model import NO_LEADER_EPOCH, TopicPartition

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient


async def list_(admin: AdminClient, *, pattern: str | None, state: Sequence[str]) -> Answer:
    """Of all coordinators."""
    found = await admin.list_streams_groups(states=state)
    names = set(matching(pattern, (each.group_id for each in found)))
    return Answer(
        [
            Group(each.group_id, each.type.value, each.state, each.protocol_type, each.coordinator_id)
            for each in found
            if each.group_id in names
        ]
    )


async def describe(admin: AdminClient, *, groups: Sequence[str]) -> Answer:
    """Groups of another kind are not found."""
    return answer(await admin.describe_streams_groups(groups), _detail)


def _detail(name: str, told: StreamsGroupDescription) -> StreamsGroupDetail:
    return StreamsGroupDetail(
        name,
        told.state,
        told.coordinator_id,
        told.group_epoch,
        told.topology_epoch,
        [_member(each) for each in told.members],
        [_subtopology(each) for each in told.subtopologies],
    )


def _member(told: StreamsMember) -> StreamsMemberRow:
    return StreamsMemberRow(
        told.member_id,
        told.process_id,
        told.client_id,
        told.host,
        told.member_epoch,
        _tasks(told.assignment.active),
        _tasks(told.assignment.standby),
        _tasks(told.assignment.warmup),
    )


def _tasks(tasks: Mapping[str, Sequence[int]]) -> list[str]:
    return [f"{name}:{partition}" for name, partitions in sorted(tasks.items()) for partition in sorted(partitions)]


def _subtopology(told: Subtopology) -> SubtopologyRow:
    return SubtopologyRow(
        told.subtopology_id,
        list(told.source_topics),
        sorted({*told.repartition_sink_topics, *told.repartition_source_topics}),
        sorted(told.state_changelog_topics),
    )


async def offsets(admin: AdminClient, *, groups: Sequence[str]) -> Answer:
    """Of the partitions that a group has committed."""
    known = await admin.describe_streams_groups(groups)
    told = await admin.list_streams_group_offsets(list(known.succeeded)) if known.succeeded else None
    found = {} if told is None else told.succeeded
    bounds = await bounds_of(admin, sorted({place for each in found.values() for place in each})) if found else {}
    rows = []
    for group, each in found.items():
        for place, offset in sorted(each.items()):
            log = bounds.get(place)
            end = log.end if isinstance(log, Bounds) else None
            lag = None if end is None else max(end - offset.offset, 0)
            epoch = None if offset.leader_epoch == NO_LEADER_EPOCH else offset.leader_epoch
            rows.append(StartOffset(group, place.topic, place.partition, offset.offset, end, lag, epoch))
    failed = {**known.failed, **({} if told is None else told.failed)}
    return Answer(rows, [Failure(name, error) for name, error in failed.items()])


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
    """Committed offsets only: state stores and internal topics stay as they are."""
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
        (await admin.describe_streams_groups([name])).result(name)  # a group of another kind is not found
        found = (await admin.list_streams_group_offsets([name])).result(name)
        return {place: offset.offset for place, offset in found.items()}

    async def alter(name: str, planned: Offsets) -> Mapping[TopicPartition, PystreamError | None]:
        return await admin.alter_streams_group_offsets(name, planned)

    async def members(name: str) -> int:
        return members_of(await admin.describe_streams_groups([name]))

    return await reset(admin, Keeper(committed, alter, members), group, where, topic, dry_run)


async def delete_offsets(admin: AdminClient, *, group: str, topic: Sequence[str], dry_run: bool) -> Answer:
    """A dry run says which committed offsets there are to delete."""
    (await admin.describe_streams_groups([group])).result(group)
    return await any_groups.delete_offsets(admin, group=group, topic=topic, dry_run=dry_run)


async def delete(admin: AdminClient, *, groups: Sequence[str], if_exists: bool, dry_run: bool) -> Answer:
    """Groups of another kind are not found."""
    told = await admin.describe_streams_groups(groups)
    results: dict[str, PystreamError | None] = dict(errors_of(told))
    if dry_run:
        for name, group in told.succeeded.items():
            full = NonEmptyGroup(f"group {name!r} has {len(group.members)} members") if group.members else None
            results[name] = full
    elif told.succeeded:
        results |= await admin.delete_streams_groups(told.succeeded)
    change = "would be deleted" if dry_run else "deleted"
    return answer(
        without(results, (GroupIdNotFound,)) if if_exists else results, lambda name, _: ChangedGroup(name, change)
    )
