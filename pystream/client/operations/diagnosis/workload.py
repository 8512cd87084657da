"""Checks of what runs on a cluster: partitions, groups, transactions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pystream.client.operations.cluster import Finding
from pystream.client.operations.diagnosis.facts import Facts, PartitionFacts, named
from pystream.client.operations.diagnosis.findings import error, info, warning

NOBODY: Final = ("Empty", "Dead")


def partitions(facts: Facts) -> Iterator[Finding]:
    """Each partition has a leader, and all its replicas in sync."""
    offline = [each for each in facts.partitions if each.leader < 0]
    if offline:
        yield error(
            "partitions",
            named(offline),
            f"{len(offline)} partitions have no leader",
            "nothing can be written to them, and nothing read",
            "bring their brokers back; if they are lost, kafka-leader-election --election-type unclean loses records",
        )
    few = [each for each in facts.partitions if each.leader >= 0 and len(each.in_sync) < _minimum(facts, each)]
    if few:
        yield error(
            "partitions",
            named(few),
            f"{len(few)} partitions have fewer replicas in sync than min.insync.replicas",
            "producers with acks=all are refused",
            "bring the brokers of the missing replicas back",
        )
    told = {*offline, *few}
    lagging = [each for each in facts.partitions if each not in told and len(each.in_sync) < len(each.replicas)]
    if lagging:
        yield warning(
            "partitions",
            named(lagging),
            f"{len(lagging)} partitions are under-replicated",
            "one broker less may make them unavailable",
            "look at the brokers of the missing replicas: are they up, and do they keep pace?",
        )
    alive = {node.node_id for node in facts.nodes}
    elsewhere = [
        each
        for each in facts.partitions
        if each.leader >= 0
        and each.replicas
        and each.leader != each.replicas[0]
        and each.replicas[0] in alive
        and each.replicas[0] in each.in_sync
    ]
    if elsewhere:
        yield info(
            "partitions",
            named(elsewhere),
            f"{len(elsewhere)} partitions are led by another than their preferred replica",
            "some brokers carry more than others",
            "kafka-leader-election --election-type preferred --all-topic-partitions",
        )


def replication(facts: Facts) -> Iterator[Finding]:
    """min.insync.replicas against the number of replicas there are."""
    impossible, brittle, single = [], [], []
    for topic, factor in sorted(facts.replication_factors.items()):
        given = facts.topic_settings.get(topic, {}).get("min.insync.replicas", "1")
        minimum = int(given) if given.isdecimal() else 1
        if minimum > factor:
            impossible.append(f"{topic} ({minimum} of {factor})")
        elif minimum == factor > 1:
            brittle.append(topic)
        elif factor == 1 and len(facts.nodes) > 1:
            single.append(topic)
    if impossible:
        yield warning(
            "replication",
            named(impossible),
            "min.insync.replicas is above the number of replicas",
            "it counts as that number: records lie on fewer brokers than it asks for",
            "pystream topics alter TOPIC --set min.insync.replicas=…, or give the topic more replicas",
        )
    if brittle:
        yield warning(
            "replication",
            named(brittle),
            "min.insync.replicas is the number of replicas",
            "producers with acks=all are refused as soon as one broker is down",
            "set min.insync.replicas to one less than the number of replicas",
        )
    if single:
        yield warning(
            "replication",
            named(single),
            f"one replica only, in a cluster of {len(facts.nodes)} brokers",
            "the loss of its broker is the loss of its records",
            "give it more replicas: kafka-reassign-partitions",
        )


def _minimum(facts: Facts, partition: PartitionFacts) -> int:
    """How many must be in sync; what can never be is another check's."""
    given = facts.topic_settings.get(partition.topic, {}).get("min.insync.replicas", "1")
    return min(int(given) if given.isdecimal() else 1, len(partition.replicas))


def groups(facts: Facts) -> Iterator[Finding]:
    """Groups that fall behind, that nobody reads for, that lost records to retention."""
    for group in facts.groups:
        subject = f"group {group.group}"
        lag = sum(each.lag or 0 for each in group.partitions)
        lost = [
            f"{each.topic}-{each.partition}"
            for each in group.partitions
            if each.committed_offset is not None
            and each.start_offset is not None
            and each.committed_offset < each.start_offset
        ]
        if lost:
            yield warning(
                "groups",
                subject,
                f"stands before the first record of {named(lost)}",
                "records were deleted before the group read them; it goes on as auto.offset.reset says",
                f"pystream groups reset-offsets {group.group} --to-current --execute, and longer retention",
            )
        if group.state in NOBODY and lag > 0:
            yield warning(
                "groups",
                subject,
                f"has no members, and {lag} records wait for it",
                "nobody reads for it; its offsets are deleted after offsets.retention.minutes",
                f"start its consumers, or: pystream groups delete {group.group}",
            )
        elif lag > facts.limits.max_lag:
            yield warning(
                "groups",
                subject,
                f"is {lag} records behind",
                "what it does, it does late; records may be deleted before it reads them",
                "see which partitions: pystream groups describe; add members, up to the number of partitions",
            )


def transactions(facts: Facts) -> Iterator[Finding]:
    """Open transactions keep read_committed consumers back."""
    for name, told in facts.transactions.items():
        age_ms = None if told.start_time_ms is None else facts.now_ms - told.start_time_ms
        if age_ms is not None and age_ms < facts.limits.hanging_after_ms:
            continue
        yield warning(
            "transactions",
            f"transaction {name}",
            "has been open for " + ("long" if age_ms is None else f"{age_ms // 1000} s"),
            f"readers with read_committed wait on {named(sorted(told.partitions))}",
            f"end it in its producer, or: pystream transactions abort {name}",
        )
    for each in facts.hanging:
        if each.transactional_id is not None:
            continue
        yield error(
            "transactions",
            str(each.partition),
            f"producer {each.producer_id} left a transaction that no coordinator knows",
            "readers with read_committed wait there for ever, and compaction stops",
            f"pystream transactions abort-hanging {each.partition.topic} --partition {each.partition.partition} "
            f"--producer-id {each.producer_id}",
        )
