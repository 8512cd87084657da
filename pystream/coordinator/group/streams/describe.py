"""StreamsGroupDescribe on one shard. Groups of other kinds have describe requests of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pystream.coordinator.group.modern.requests import describe_each
from pystream.coordinator.group.shard import GroupShard
from pystream.coordinator.group.streams.group import StreamsGroup
from pystream.coordinator.group.streams.groups import StreamsGroups, streams_groups
from pystream.coordinator.group.streams.member import StreamsMember
from pystream.coordinator.group.streams.topology import InternalTopic
from pystream.coordinator.machine import Effects, Ticket
from pystream.protocol.coordinator_records.streams_group_topology import StreamsGroupTopologyValue, TopicInfo
from pystream.protocol.messages import streams_group_describe as messages


def describe_streams_groups(
    shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, group_ids: Sequence[str]
) -> None:
    """One result for each of `group_ids`, in their order."""
    groups = streams_groups(shard)
    effects.answer(
        ticket,
        describe_each(group_ids, lambda group_id: _described(groups, group_id, now_ms), messages.DescribedGroup),
    )


def _described(groups: StreamsGroups, group_id: str, now_ms: int) -> messages.DescribedGroup:
    group = groups.find(group_id)
    if group.topology is not None:
        groups.configured(group)
    return messages.DescribedGroup(
        group_id=group_id,
        group_state=group.state_name(now_ms),
        group_epoch=group.group_epoch,
        assignment_epoch=group.target_epoch,
        topology=_topology(group),
        members=[_member(group, member) for member in group.members.values()],
    )


def _topology(group: StreamsGroup) -> messages.Topology | None:
    """With the partition counts that were worked out, where the topology can run."""
    if group.configured is None or not group.configured.is_ready():
        return None if group.topology is None else _as_written(group.topology)
    return messages.Topology(
        epoch=group.configured.epoch,
        subtopologies=[
            messages.Subtopology(
                subtopology_id=name,
                source_topics=sorted(found.source_topics),
                repartition_sink_topics=sorted(found.repartition_sinks),
                repartition_source_topics=_internal(found.repartition_sources.values()),
                state_changelog_topics=_internal(found.changelogs.values()),
            )
            for name, found in sorted(group.configured.subtopologies.items())
        ],
    )


def _as_written(topology: StreamsGroupTopologyValue) -> messages.Topology:
    def infos(found: Iterable[TopicInfo]) -> list[messages.TopicInfo]:
        return [
            messages.TopicInfo(
                name=info.name,
                partitions=info.partitions,
                replication_factor=info.replication_factor,
                topic_configs=[messages.KeyValue(key=pair.key, value=pair.value) for pair in info.topic_configs],
            )
            for info in sorted(found, key=lambda info: info.name)
        ]

    return messages.Topology(
        epoch=topology.epoch,
        subtopologies=[
            messages.Subtopology(
                subtopology_id=found.subtopology_id,
                source_topics=sorted(found.source_topics),
                repartition_sink_topics=sorted(found.repartition_sink_topics),
                repartition_source_topics=infos(found.repartition_source_topics),
                state_changelog_topics=infos(found.state_changelog_topics),
            )
            for found in sorted(topology.subtopologies, key=lambda found: found.subtopology_id)
        ],
    )


def _internal(topics: Iterable[InternalTopic]) -> list[messages.TopicInfo]:
    return [
        messages.TopicInfo(
            name=topic.name,
            partitions=topic.partitions,
            replication_factor=topic.replication_factor,
            topic_configs=[messages.KeyValue(key=key, value=value) for key, value in topic.configs],
        )
        for topic in sorted(topics, key=lambda topic: topic.name)
    ]


def _member(group: StreamsGroup, member: StreamsMember) -> messages.Member:
    endpoint = member.user_endpoint
    return messages.Member(
        member_id=member.member_id,
        member_epoch=member.member_epoch,
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        client_id=member.client_id,
        client_host=member.client_host,
        topology_epoch=member.topology_epoch,
        process_id=member.process_id,
        user_endpoint=None if endpoint is None else messages.Endpoint(host=endpoint.host, port=endpoint.port),
        client_tags=[messages.KeyValue(key=key, value=value) for key, value in member.client_tags],
        assignment=_assignment(*member.assigned),
        target_assignment=_assignment(*group.target_of(member.member_id)),
    )


def _assignment(
    active: Mapping[str, Iterable[int]], standby: Mapping[str, Iterable[int]], warmup: Mapping[str, Iterable[int]]
) -> messages.Assignment:
    def ids(tasks: Mapping[str, Iterable[int]]) -> list[messages.TaskIds]:
        return [messages.TaskIds(subtopology_id=name, partitions=sorted(p)) for name, p in sorted(tasks.items())]

    return messages.Assignment(active_tasks=ids(active), standby_tasks=ids(standby), warmup_tasks=ids(warmup))
