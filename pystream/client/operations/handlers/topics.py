"""Handlers of operations on topics. What one of them needs alone it imports itself: a command starts sooner so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pystream.client.admin.base import AdminBase
from pystream.client.admin.results import Results
from pystream.client.admin.routes import ask_metadata
from pystream.client.operations.declaration import Answer
from pystream.client.operations.handlers.answers import answer, errors_of, matching, without
from pystream.client.operations.topics import (
    ChangedTopic,
    CreatedTopic,
    Partition,
    Topic,
    TopicDetail,
    TrimmedPartition,
)
from pystream.common.config import ConfigSource
from pystream.common.errors import InvalidRequest, PystreamError, TopicAlreadyExists, UnknownTopicOrPartition
from pystream.common.model import TopicPartition, uuid_text

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient
    from pystream.client.admin.topics import TopicDescription
    from pystream.client.operations.handlers.positions import Bounds


async def list_(admin: AdminBase, *, pattern: str | None, internal: bool) -> Answer:
    """One Metadata request, whatever the number of topics."""
    response = await admin.cluster.retrying("list topics", lambda _: ask_metadata(admin.cluster, None))
    told = {topic.name: topic for topic in response.topics if topic.name and (internal or not topic.is_internal)}
    rows = []
    for name in matching(pattern, sorted(told)):
        topic = told[name]
        replicas = len(topic.partitions[0].replica_nodes) if topic.partitions else 0
        rows.append(Topic(name, len(topic.partitions), replicas, topic.is_internal, uuid_text(topic.topic_id)))
    return Answer(rows)


async def create(
    admin: AdminClient,
    *,
    topics: Sequence[str],
    partitions: int | None,
    replication_factor: int | None,
    config: dict[str, str],
    if_not_exists: bool,
    dry_run: bool,
) -> Answer:
    """All topics with the same settings."""
    from pystream.client.admin.topics import BROKER_DEFAULT, NewTopic

    count = BROKER_DEFAULT if partitions is None else partitions
    factor = BROKER_DEFAULT if replication_factor is None else replication_factor
    wanted = [NewTopic(name, count, factor, dict(config)) for name in topics]
    results = await admin.create_topics(wanted, validate_only=dry_run)
    return answer(
        without(results, (TopicAlreadyExists,)) if if_not_exists else results,
        lambda name, made: CreatedTopic(
            name,
            made.num_partitions,
            made.replication_factor,
            uuid_text(made.topic_id) if any(made.topic_id) else "",
            {key: value for key, value in (made.configs or {}).items() if key in config},
        ),
    )


async def describe(admin: AdminClient, *, topics: Sequence[str], offsets: bool) -> Answer:
    """Of topics that are not there the failure."""
    found = await admin.describe_topics(topics)
    ends = await _offsets(admin, found.succeeded) if offsets else {}
    configs = await _own_configs(admin, list(found.succeeded))

    def detail(name: str, told: TopicDescription) -> TopicDetail:
        partitions = []
        for each in told.partitions:
            log = ends.get(TopicPartition(name, each.partition))
            partitions.append(
                Partition(
                    each.partition,
                    each.leader,
                    each.leader_epoch,
                    list(each.replicas),
                    list(each.in_sync_replicas),
                    list(each.offline_replicas),
                    None if log is None else log.start,
                    None if log is None else log.end,
                    _listed(each.eligible_leader_replicas),
                    _listed(each.last_known_eligible_leader_replicas),
                )
            )
        return TopicDetail(name, uuid_text(told.topic_id), told.is_internal, configs.get(name, {}), partitions)

    return answer(found, detail)


async def delete(admin: AdminClient, *, topics: Sequence[str], if_exists: bool, dry_run: bool) -> Answer:
    """A dry run says which of them are there."""
    if dry_run:
        described = await admin.describe_topics(topics)
        results: Results[str, None] = Results(
            {name: described.failed.get(name) for name in described}  # None where it is there
        )
    else:
        results = await admin.delete_topics(topics)
    change = "would be deleted" if dry_run else "deleted"
    return answer(
        without(results, (UnknownTopicOrPartition,)) if if_exists else results,
        lambda name, _: ChangedTopic(name, change),
    )


async def alter(
    admin: AdminClient, *, topics: Sequence[str], set: dict[str, str], unset: Sequence[str], dry_run: bool
) -> Answer:
    """The same changes for all of them."""
    from pystream.client.admin.configs import ConfigResource, ConfigResourceType
    from pystream.client.operations.handlers.configs import alterations, described_change

    changes = alterations(set, unset)
    results = await admin.incremental_alter_configs(
        {ConfigResource(ConfigResourceType.TOPIC, name): changes for name in topics}, validate_only=dry_run
    )
    done = ", ".join(map(described_change, changes))
    return answer(results, lambda resource, _: ChangedTopic(resource.name, f"would be: {done}" if dry_run else done))


async def add_partitions(
    admin: AdminClient, *, topics: Sequence[str], total: int | None, add: int | None, dry_run: bool
) -> Answer:
    """Counts of `add` are told by the cluster first."""
    if (total is None) == (add is None):
        raise InvalidRequest("give one of total and add: how many partitions there shall be, or how many more")
    described = await admin.describe_topics(topics)
    counts = {name: len(told.partitions) for name, told in described.succeeded.items()}
    wanted = {name: count + (add or 0) if total is None else total for name, count in counts.items()}
    results = await admin.create_partitions(wanted, validate_only=dry_run)
    would = "would go " if dry_run else ""
    made = answer(
        results, lambda name, _: ChangedTopic(name, f"{would}from {counts[name]} to {wanted[name]} partitions")
    )
    return Answer(made.rows, [*answer(described.failed, lambda *_: None).failures, *made.failures])


async def trim(admin: AdminClient, *, topic: str, before: str, partition: Sequence[int], dry_run: bool) -> Answer:
    """A position beyond the log goes to its end."""
    from pystream.client.operations.handlers.positions import (
        Anchor,
        Bounds,
        bounds_of,
        offsets_at,
        parse_position,
        partitions_of,
    )

    position = parse_position(before)
    if position.anchor is Anchor.COMMITTED:
        raise InvalidRequest(f"{before!r}: a topic has no committed offset to count from; give an offset, end or @TIME")
    wanted = await partitions_of(admin, {topic: list(partition) or None})
    bounds = await bounds_of(admin, wanted)
    logs = {place: log for place, log in bounds.items() if isinstance(log, Bounds)}
    offsets = await offsets_at(admin, position, logs, {})
    planned = {place: offset for place, offset in offsets.items() if isinstance(offset, int)}
    trimmed = {} if dry_run else dict(await admin.delete_records(planned))
    outcomes: dict[TopicPartition, int | PystreamError] = {**errors_of(bounds), **offsets, **trimmed}
    return answer(
        outcomes,
        lambda place, start: TrimmedPartition(place.topic, place.partition, logs[place].start, start, logs[place].end),
    )


def _listed(replicas: Sequence[int] | None) -> list[int] | None:
    return None if replicas is None else list(replicas)


async def _own_configs(admin: AdminClient, topics: list[str]) -> dict[str, dict[str, str | None]]:
    """The settings that were made for each topic; none where the caller may not see them."""
    from pystream.client.admin.configs import ConfigResource, ConfigResourceType

    described = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in topics])
    return {
        resource.name: {
            name: entry.value
            for name, entry in sorted(entries.items())
            if entry.source is ConfigSource.DYNAMIC_TOPIC_CONFIG
        }
        for resource, entries in described.succeeded.items()
    }


async def _offsets(admin: AdminClient, topics: dict[str, TopicDescription]) -> dict[TopicPartition, Bounds]:
    """Of the partitions that have a leader to ask."""
    from pystream.client.operations.handlers.positions import Bounds, bounds_of

    led = [
        TopicPartition(name, each.partition)
        for name, told in topics.items()
        for each in told.partitions
        if each.leader >= 0
    ]
    return {place: log for place, log in (await bounds_of(admin, led)).items() if isinstance(log, Bounds)}
