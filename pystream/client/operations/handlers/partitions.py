"""Handlers of operations on partitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pystream.client.admin.partitions import ElectionType
from pystream.client.operations.declaration import Answer, Failure
from pystream.client.operations.handlers.answers import answer
from pystream.client.operations.handlers.positions import Bounds, bounds_of, parse_partitions, partitions_of
from pystream.client.operations.partitions import ChangedPartition, PartitionProducer, PartitionState, Reassignment
from pystream.common.errors import (
    BrokerIdNotRegistered,
    NoReassignmentInProgress,
    PystreamError,
    UnknownTopicOrPartition,
)
from pystream.common.model import NO_BROKER, TopicPartition

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient
    from pystream.client.admin.topics import PartitionDescription

NO_TRANSACTION: Final = -1
Told = Mapping[TopicPartition, "PartitionDescription"]


async def list_(admin: AdminClient, *, topics: Sequence[str], unhealthy: bool, offsets: bool) -> Answer:
    """Of topics and partitions that are not there the failure."""
    told, failures = await _described(admin, topics)
    shown = {place: each for place, each in told.items() if not unhealthy or _is_unhealthy(each)}
    led = [place for place, each in shown.items() if each.leader != NO_BROKER]
    bounds = await bounds_of(admin, led) if offsets and led else {}

    def row(place: TopicPartition, each: PartitionDescription) -> PartitionState:
        log = bounds.get(place)
        known = log if isinstance(log, Bounds) else None
        return PartitionState(
            place.topic,
            place.partition,
            each.leader,
            list(each.replicas),
            list(each.in_sync_replicas),
            list(each.offline_replicas),
            each.leader_epoch,
            None if known is None else known.start,
            None if known is None else known.end,
        )

    return Answer([row(place, each) for place, each in shown.items()], failures)


async def producers(admin: AdminClient, *, topics: Sequence[str]) -> Answer:
    """As the leaders remember them."""
    results = await admin.describe_producers(await partitions_of(admin, parse_partitions(topics)))
    found = answer(
        results,
        lambda place, remembered: [
            PartitionProducer(
                place.topic,
                place.partition,
                each.producer_id,
                each.producer_epoch,
                each.last_sequence,
                each.last_timestamp,
                each.coordinator_epoch,
                None
                if each.current_transaction_start_offset == NO_TRANSACTION
                else each.current_transaction_start_offset,
            )
            for each in remembered
        ],
    )
    return Answer([row for rows in found.rows for row in rows], found.failures)


async def elect_leaders(admin: AdminClient, *, topics: Sequence[str], unclean: bool, dry_run: bool) -> Answer:
    """A dry run says where something would change."""
    if dry_run:
        told, failures = await _described(admin, topics)
        rows = [
            ChangedPartition(place.topic, place.partition, _election(each, unclean))
            for place, each in told.items()
            if _needs_election(each, unclean)
        ]
        return Answer(rows, failures)
    places = await partitions_of(admin, parse_partitions(topics)) if topics else None
    kind = ElectionType.UNCLEAN if unclean else ElectionType.PREFERRED
    results = await admin.elect_leaders(kind, places)
    return answer(
        results,
        lambda place, elected: ChangedPartition(
            place.topic, place.partition, "elected" if elected else "led by the right one already"
        ),
    )


async def reassign(admin: AdminClient, *, topics: Sequence[str], replicas: Sequence[int], dry_run: bool) -> Answer:
    """A dry run looks whether the brokers are there."""
    told, failures = await _described(admin, topics)
    results: dict[TopicPartition, PystreamError | None]
    if dry_run:
        there = {node.node_id for node in (await admin.describe_cluster()).nodes}
        if missing := sorted(set(replicas) - there):
            raise BrokerIdNotRegistered(f"no broker {', '.join(map(str, missing))} is there now")
        results = dict.fromkeys(told)
    else:
        results = dict(await admin.alter_partition_reassignments({place: list(replicas) for place in told}))
    goes = "would go" if dry_run else "goes"

    def row(place: TopicPartition, _: None) -> ChangedPartition:
        before = list(told[place].replicas)
        return ChangedPartition(place.topic, place.partition, f"{goes} from {before} to {list(replicas)}")

    done = answer(results, row)
    return Answer(done.rows, [*failures, *done.failures])


async def reassignments(admin: AdminClient, *, topics: Sequence[str]) -> Answer:
    """Those under way."""
    under_way = await admin.list_partition_reassignments(
        await partitions_of(admin, parse_partitions(topics)) if topics else None
    )
    return Answer(
        [
            Reassignment(
                place.topic,
                place.partition,
                list(each.replicas),
                list(each.adding_replicas),
                list(each.removing_replicas),
            )
            for place, each in sorted(under_way.items())
        ]
    )


async def cancel_reassignments(admin: AdminClient, *, topics: Sequence[str], dry_run: bool) -> Answer:
    """Partitions that are named and are on no way are failures."""
    named = await partitions_of(admin, parse_partitions(topics)) if topics else None
    under_way = await admin.list_partition_reassignments(named)
    places = sorted(under_way) if named is None else named
    results: dict[TopicPartition, PystreamError | None]
    if dry_run:
        results = {
            place: None if place in under_way else NoReassignmentInProgress(f"{place} is on no way") for place in places
        }
    else:
        results = dict(await admin.alter_partition_reassignments(dict.fromkeys(places))) if places else {}
    change = "would be cancelled" if dry_run else "cancelled"
    return answer(results, lambda place, _: ChangedPartition(place.topic, place.partition, change))


async def _described(
    admin: AdminClient, topics: Sequence[str]
) -> tuple[dict[TopicPartition, PartitionDescription], list[Failure]]:
    """The partitions meant, in order, and what is not there; without topics all partitions."""
    wanted = parse_partitions(topics) if topics else dict.fromkeys(sorted(await admin.list_topics()))
    described = await admin.describe_topics(wanted)
    failures = [Failure(name, error) for name, error in described.failed.items()]
    found: dict[TopicPartition, PartitionDescription] = {}
    for name, topic in described.succeeded.items():
        chosen = wanted[name]
        there = {each.partition: each for each in topic.partitions}
        for number in sorted(there if chosen is None else set(chosen)):
            place = TopicPartition(name, number)
            if number in there:
                found[place] = there[number]
            else:
                error = UnknownTopicOrPartition(f"topic {name!r} has {len(there)} partitions, and no {number}")
                failures.append(Failure(str(place), error))
    return found, failures


def _is_unhealthy(each: PartitionDescription) -> bool:
    return each.leader == NO_BROKER or len(each.in_sync_replicas) < len(each.replicas) or bool(each.offline_replicas)


def _needs_election(each: PartitionDescription, unclean: bool) -> bool:
    if unclean:
        return each.leader == NO_BROKER
    return bool(each.replicas) and each.leader != each.replicas[0] and each.replicas[0] in each.in_sync_replicas


def _election(each: PartitionDescription, unclean: bool) -> str:
    return "would be led by a replica that is behind" if unclean else f"would be led by {each.replicas[0]}"
