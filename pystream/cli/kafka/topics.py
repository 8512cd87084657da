"""`kafka-topics`, as Kafka's TopicCommand."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from pystream.cli.kafka.tool import Cluster, Parser, actions, included, parser, run
from pystream.cli.settings import from_assignments
from pystream.common.errors import InvalidRequest

COLLISION = (
    "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. "
    "To avoid issues it is best to use either, but not both."
)


def options() -> Parser:
    made = parser("kafka-topics", "Create, delete, describe, or change a topic.")
    actions(
        made,
        list="List all available topics.",
        create="Create a new topic.",
        describe="List details for the given topics.",
        alter="Alter the number of partitions.",
        delete="Delete a topic.",
    )
    made.add_argument("--topic", help="The topic; a regular expression, except for --create.")
    made.add_argument("--partitions", type=int, help="How many partitions.")
    made.add_argument("--replication-factor", type=int, help="How many replicas of each partition.")
    made.add_argument("--config", action="append", default=[], metavar="NAME=VALUE", help="A setting of a new topic.")
    made.add_argument("--if-exists", action="store_true", help="Act only where the topic exists.")
    made.add_argument("--if-not-exists", action="store_true", help="Create only where the topic does not exist.")
    made.add_argument("--exclude-internal", action="store_true", help="Leave internal topics out.")
    made.add_argument("--under-replicated-partitions", action="store_true", help="Describe only these.")
    made.add_argument("--unavailable-partitions", action="store_true", help="Describe only those without a leader.")
    made.add_argument("--topics-with-overrides", action="store_true", help="Describe only topics with own settings.")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    run(options(), arguments, work, "Error while executing topic command : ")


def work(given: argparse.Namespace) -> None:
    cluster = Cluster(given)
    if given.action == "create":
        _create(cluster, given)
        return
    listed = cluster.rows("topics", "list", internal=not given.exclude_internal)
    names = included(given.topic, [row.name for row in listed])
    if given.action == "list":
        for name in names:
            print(name)
        return
    if given.topic and not names and not given.if_exists:
        raise InvalidRequest(f"Topic '{given.topic}' does not exist as expected")
    if not names:
        return
    if given.action == "describe":
        _describe(cluster, given, names)
    elif given.topic is None:
        raise InvalidRequest(f"--{given.action} needs --topic")
    elif given.action == "delete":
        cluster.rows("topics", "delete", topics=names)
    else:
        if given.partitions is None:
            raise InvalidRequest("--alter needs --partitions")
        cluster.rows("topics", "add-partitions", topics=names, total=given.partitions)


def _create(cluster: Cluster, given: argparse.Namespace) -> None:
    if given.topic is None:
        raise InvalidRequest("--create needs --topic")
    if "." in given.topic or "_" in given.topic:
        print(COLLISION)
    created = cluster.rows(
        "topics",
        "create",
        topics=[given.topic],
        partitions=given.partitions,
        replication_factor=given.replication_factor,
        config=from_assignments(given.config, option="--config"),
        if_not_exists=given.if_not_exists,
    )
    for row in created:
        print(f"Created topic {row.name}.")


def _describe(cluster: Cluster, given: argparse.Namespace, names: list[str]) -> None:
    settings = cluster.rows("configs", "describe", type="topics", names=names, all=True)
    own: dict[str, list[Any]] = {}
    for row in settings:
        if row.source != "DEFAULT_CONFIG":
            own.setdefault(row.resource.removeprefix("topics "), []).append(row)
    whole = not (given.under_replicated_partitions or given.unavailable_partitions)
    for topic in cluster.rows("topics", "describe", topics=names):
        configs = own.get(topic.name, [])
        if given.topics_with_overrides and not topic.configs:
            continue
        if whole:
            factor = len(topic.partitions[0].replicas) if topic.partitions else 0
            written = ",".join(f"{row.name}={'null' if row.value is None else row.value}" for row in configs)
            print(
                f"Topic: {topic.name}\tTopicId: {topic.topic_id}\tPartitionCount: {len(topic.partitions)}"
                f"\tReplicationFactor: {factor}\tConfigs: {written}"
            )
        if given.topics_with_overrides:
            continue
        for each in topic.partitions:
            if given.under_replicated_partitions and len(each.in_sync) >= len(each.replicas):
                continue
            if given.unavailable_partitions and each.leader >= 0:
                continue
            print(
                f"\tTopic: {topic.name}\tPartition: {each.partition}"
                f"\tLeader: {'none' if each.leader < 0 else each.leader}"
                f"\tReplicas: {_numbers(each.replicas)}\tIsr: {_numbers(each.in_sync)}"
                f"\tElr: {_eligible(each.eligible)}\tLastKnownElr: {_eligible(each.last_known_eligible)}"
            )


def _numbers(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _eligible(numbers: Sequence[int] | None) -> str:
    return "N/A" if numbers is None else _numbers(numbers)


if __name__ == "__main__":
    main()
