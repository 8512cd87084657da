"""Where interactive queries find a key: which process answers for which partitions of the source topics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pystream.coordinator.group.streams.group import StreamsGroup
from pystream.coordinator.group.topics import TopicCatalog
from pystream.protocol.messages import streams_group_heartbeat as messages


def partitions_by_endpoint(group: StreamsGroup, catalog: TopicCatalog) -> list[messages.EndpointToPartitions]:
    """One entry for each member that has told its endpoint; none of a topology that cannot run."""
    if group.configured is None or not group.configured.is_ready():
        return []
    return [
        messages.EndpointToPartitions(
            user_endpoint=messages.StreamsGroupHeartbeatResponseEndpoint(
                host=member.user_endpoint.host, port=member.user_endpoint.port
            ),
            active_partitions=_partitions(group, catalog, member.assigned.active),
            standby_partitions=_partitions(group, catalog, member.assigned.standby),
        )
        for member in group.members.values()
        if member.user_endpoint is not None
    ]


def _partitions(
    group: StreamsGroup, catalog: TopicCatalog, tasks: Mapping[str, Iterable[int]]
) -> list[messages.TopicPartition]:
    """Tasks beyond a topic's last partition read nothing of it."""
    assert group.configured is not None, "ready"
    found = []
    for name, indexes in sorted(tasks.items()):
        subtopology = group.configured.subtopologies.get(name)
        for topic in sorted(subtopology.inputs()) if subtopology is not None else ():
            facts = catalog.by_name(topic)
            count = 0 if facts is None else facts.partition_count
            partitions = [index for index in sorted(indexes) if index < count]
            found.append(messages.TopicPartition(topic=topic, partitions=partitions))
    return found
