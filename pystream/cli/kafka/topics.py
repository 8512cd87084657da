"""`kafka-topics`, as Kafka's TopicCommand."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pystream.cli.kafka.options import Given, Mistake, Tool, WrongUsage, flag, value
from pystream.cli.kafka.tool import admin_of, included, serve
from pystream.client.admin.configs import ConfigEntry, ConfigResource, ConfigResourceType
from pystream.client.admin.topics import (
    BROKER_DEFAULT,
    NewPartitions,
    NewTopic,
    PartitionDescription,
    TopicDescription,
)
from pystream.common.errors import ClusterAuthorizationFailed, MalformedInput, TopicAlreadyExists, UnsupportedVersion
from pystream.common.model import TopicPartition, uuid_bytes, uuid_text

if TYPE_CHECKING:
    from pystream.client.admin.partitions import Reassignment
    from pystream.client.sync.admin import AdminClient

MOST_REPLICAS: Final = 32_767
ACTIONS: Final = ("list", "describe", "create", "alter", "delete")
REPORTS: Final = (
    "under-replicated-partitions",
    "under-min-isr-partitions",
    "at-min-isr-partitions",
    "unavailable-partitions",
)
MIN_IN_SYNC: Final = "min.insync.replicas"
COLLISION: Final = (
    "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. "
    "To avoid issues it is best to use either, but not both."
)
BOTH_NAMES: Final = (
    "Only topic id will be used when both --topic and --topic-id are specified and topicId is not Uuid.ZERO_UUID"
)
ELSEWHERE: Final = " (To alter topic configurations, the kafka-configs tool can be used.)"
TOOL: Final = Tool(
    "kafka-topics",
    "This tool helps to create, delete, describe, or change a topic.",
    (
        value("bootstrap-server", "REQUIRED: The Kafka server to connect to.", "server to connect to"),
        value("command-config", "Property file containing configs to be passed to Admin Client.", "file"),
        flag("list", "List all available topics."),
        flag("create", "Create a new topic."),
        flag("delete", "Delete a topic."),
        flag("alter", "Alter the number of partitions and replica assignment." + ELSEWHERE),
        flag("describe", "List details for the given topics."),
        value("topic", "The topic; a regular expression, except for --create.", "topic"),
        value("topic-id", "The topic-id to describe.", "topic-id"),
        value("config", "A setting of the topic being created; may be repeated." + ELSEWHERE, "name=value"),
        value("delete-config", "Not supported any longer.", "name"),
        value("partitions", "How many partitions; if not given with --create, as brokers are set.", "number", int),
        value("replication-factor", "How many replicas of each partition; else as brokers are set.", "number", int),
        value("replica-assignment", "Brokers of each partition of a topic being created or altered.", "1:2,2:3,..."),
        flag("under-replicated-partitions", "With --describe: only partitions that lack replicas."),
        flag("unavailable-partitions", "With --describe: only partitions without a leader."),
        flag("under-min-isr-partitions", "With --describe: only partitions with fewer in sync than the minimum."),
        flag("at-min-isr-partitions", "With --describe: only partitions with as many in sync as the minimum."),
        flag("topics-with-overrides", "With --describe: only topics with settings of their own."),
        flag("if-exists", "With --alter, --delete, --describe: do nothing where the topic is not there."),
        flag("if-not-exists", "With --create: do nothing where the topic is there."),
        flag("exclude-internal", "With --list, --describe: leave internal topics out."),
        value("partition-size-limit-per-response", "Partitions in one answer of the broker.", "number", int),
    ),
    unasked="Create, delete, describe, or change a topic.",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work, failed="Error while executing topic command : ", to_output=True, classes=False)


def work(given: Given) -> None:
    check(given)
    try:
        _work(given)
    except WrongUsage as error:  # of a value, told like what a broker refuses
        raise Mistake(str(error)) from None


def _work(given: Given) -> None:
    with admin_of(given) as admin:
        if given.has("create"):
            _create(admin, given)
        elif given.has("alter"):
            _alter(admin, given)
        elif given.has("list"):
            print("\n".join(_names(admin, given)))
        elif given.has("describe"):
            _describe(admin, given)
        else:
            names = _found(admin, given)
            admin.delete_topics(names).checked()


def check(given: Given) -> None:
    """Raises WrongUsage for options that do not go together."""
    if sum(map(given.has, ACTIONS)) != 1:
        raise WrongUsage("Command must include exactly one action: --list, --describe, --create, --alter or --delete")
    if given.has("delete-config"):
        print(
            "delete-config option is no longer supported and deprecated since version 4.0. The config will be fully "
            "removed in future releases.",
            file=sys.stderr,
        )
    if not given.has("bootstrap-server"):
        raise WrongUsage("--bootstrap-server must be specified")
    if given.has("describe") and given.has("if-exists"):
        if not given.has("topic") and not given.has("topic-id"):
            raise WrongUsage("--topic or --topic-id is required to describe a topic")
        if given.has("topic") and given.has("topic-id"):
            print(BOTH_NAMES)
    if not given.has("list") and not given.has("describe"):
        given.require("topic")
    if given.has("alter"):
        if given.has("config"):
            combination = 'Option combination "[[config], [bootstrap-server]]" can\'t be used with option "[alter]"'
            raise WrongUsage(combination + ELSEWHERE)
        given.require("partitions")
    _check_companions(given)


def _check_companions(given: Given) -> None:
    of_create, of_both = ("list", "describe", "alter", "delete"), ("list", "describe", "delete")
    given.exclude("config", "list", "describe", "delete")
    given.exclude("partitions", *of_both)
    given.exclude("replication-factor", *of_create)
    given.exclude("replica-assignment", *of_both)
    if given.has("create"):
        given.exclude("replica-assignment", "partitions", "replication-factor")
    for report in REPORTS:
        given.exclude(report, "list", "create", "alter", "delete", "topics-with-overrides")
    given.exclude("topics-with-overrides", "list", "create", "alter", "delete", *REPORTS)
    given.exclude("if-exists", "list", "create")
    given.exclude("if-not-exists", *of_create)
    given.exclude("exclude-internal", "create", "alter", "delete")


# --- change -----------------------------------------------------------------------------------------------------------


def _create(admin: AdminClient, given: Given) -> None:
    name, assignments = given.value("topic"), assignments_of(given.value("replica-assignment") or "")
    configs = configs_of(given.values("config"))
    if "." in name or "_" in name:
        print(COLLISION)
    factor, partitions = given.value("replication-factor"), given.value("partitions")
    if factor is not None and not 1 <= factor <= MOST_REPLICAS:
        raise Mistake(f"The replication factor must be between 1 and {MOST_REPLICAS} inclusive")
    if partitions is not None and partitions < 1:
        raise Mistake("The partitions must be greater than 0")
    topic = NewTopic(
        name,
        BROKER_DEFAULT if partitions is None else partitions,
        BROKER_DEFAULT if factor is None else factor,
        configs,
        assignments,
    )
    try:
        admin.create_topics([topic]).checked()
    except TopicAlreadyExists:
        if given.has("if-not-exists"):
            return
        raise
    print(f"Created topic {name}.")


def _alter(admin: AdminClient, given: Given) -> None:
    assignments = assignments_of(given.value("replica-assignment") or "")
    total, names = given.value("partitions"), _found(admin, given)
    described = admin.describe_topics(names).checked() if assignments and names else {}
    wanted = {}
    for name in names:
        there = len(described[name].partitions) if name in described else 0
        further = [brokers for partition, brokers in assignments.items() if partition >= there]
        wanted[name] = NewPartitions(total, further if assignments else None)
    if wanted:
        admin.create_partitions(wanted).checked()


def assignments_of(text: str) -> dict[int, list[int]]:
    """ "1:2,2:1" -> {0: [1, 2], 1: [2, 1]}. Raises Mistake."""
    found: dict[int, list[int]] = {}
    for partition, part in enumerate(text.split(",") if text else ()):
        numbers = [each.strip() for each in part.split(":")]
        for each in numbers:
            if not each.lstrip("-").isdecimal():
                raise Mistake(f'For input string: "{each}"')
        brokers = [int(each) for each in numbers]
        twice = dict.fromkeys(each for each in brokers if brokers.count(each) > 1)
        if twice:
            raise Mistake(f"Partition replica lists may not contain duplicate entries: {_numbers(list(twice))}")
        found[partition] = brokers
        if len(brokers) != len(found[0]):
            raise Mistake(f"Partition {partition} has different replication factor: [{', '.join(map(str, brokers))}]")
    return found


def configs_of(texts: Sequence[str]) -> dict[str, str | None]:
    """ "name=value" each. Raises Mistake."""
    found: dict[str, str | None] = {}
    for text in texts:
        name, equals, setting = text.partition("=")
        if not equals or not setting or "=" in setting:
            raise Mistake(
                'requirement failed: Invalid topic config: all configs to be added must be in the format "key=val".'
            )
        found[name.strip()] = setting.strip()
    return found


# --- list and describe ------------------------------------------------------------------------------------------------


def _names(admin: AdminClient, given: Given) -> list[str]:
    listed = sorted(admin.list_topics(include_internal=not given.has("exclude-internal")))
    return included(given.value("topic"), listed)


def _found(admin: AdminClient, given: Given) -> list[str]:
    names = _names(admin, given)
    if given.value("topic") and not names and not given.has("if-exists"):
        raise Mistake(f"Topic '{given.value('topic')}' does not exist as expected")
    return names


@dataclass(frozen=True, slots=True)
class Seen:
    """A topic, and what is said of its partitions."""

    topic: TopicDescription
    configs: Mapping[str, ConfigEntry]
    moves: Mapping[TopicPartition, Reassignment]
    brokers: frozenset[int]

    def replication_factor(self, each: PartitionDescription) -> int:
        """Without the replicas that are only on their way."""
        move = self.moves.get(TopicPartition(self.topic.name, each.partition))
        changing = set() if move is None else {*move.adding_replicas, *move.removing_replicas}
        if move is None or not changing & set(each.replicas):
            return len(each.replicas)
        return len(move.replicas) - len(move.adding_replicas)

    def is_meant(self, report: str, each: PartitionDescription) -> bool:
        """Whether the partition belongs to what is asked for."""
        minimum = int(self.configs[MIN_IN_SYNC].value or 1) if MIN_IN_SYNC in self.configs else 1
        if report == "under-replicated-partitions":
            return len(each.in_sync_replicas) < self.replication_factor(each)
        if report == "under-min-isr-partitions":
            return each.leader < 0 or len(each.in_sync_replicas) < minimum
        if report == "at-min-isr-partitions":
            return len(each.in_sync_replicas) == minimum
        return each.leader < 0 or each.leader not in self.brokers


def _describe(admin: AdminClient, given: Given) -> None:
    topics = _described(admin, given)
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    configs: Mapping[ConfigResource, Any] = admin.describe_configs(resources).checked() if topics else {}
    brokers = frozenset(node.node_id for node in admin.describe_cluster().nodes)
    moves = _moves(admin)
    reports = [report for report in REPORTS if given.has(report)]
    for topic, resource in zip(topics, resources, strict=True):
        own = [entry for entry in configs[resource].values() if not entry.is_default]
        if given.has("topics-with-overrides") and not own:
            continue
        seen = Seen(topic, configs[resource], moves, brokers)
        if not reports:
            _print_topic(seen, own)
        if not given.has("topics-with-overrides"):
            for each in topic.partitions:
                if not reports or any(seen.is_meant(report, each) for report in reports):
                    _print_partition(seen, each)


def _described(admin: AdminClient, given: Given) -> list[TopicDescription]:
    wanted = given.value("topic-id")
    if wanted is None or (identity := topic_id(wanted)) == bytes(16):
        names = _found(admin, given)
        return list(admin.describe_topics(names).checked().values()) if names else []
    listed = admin.list_topics(include_internal=not given.has("exclude-internal"))
    names = [topic.name for topic in listed.values() if topic.topic_id == identity]
    if not names and not given.has("if-exists"):
        raise Mistake(f"TopicId '{wanted}' does not exist as expected")
    return list(admin.describe_topics(names).checked().values()) if names else []


def topic_id(text: str) -> bytes:
    """Raises Mistake for text that is none."""
    try:
        return uuid_bytes(text)
    except MalformedInput:
        size = len(text) * 6 // 8
        raise Mistake(
            f"Input string `{text}` decoded as {size} bytes, which is not equal to the expected 16 bytes of a "
            "base64-encoded UUID"
        ) from None


def _moves(admin: AdminClient) -> Mapping[TopicPartition, Reassignment]:
    try:
        return admin.list_partition_reassignments()
    except (UnsupportedVersion, ClusterAuthorizationFailed):
        return {}


def _print_topic(seen: Seen, own: Sequence[ConfigEntry]) -> None:
    topic = seen.topic
    written = ",".join(f"{entry.name}={'null' if entry.value is None else entry.value}" for entry in own)
    print(
        f"Topic: {topic.name}\tTopicId: {uuid_text(topic.topic_id)}\tPartitionCount: {len(topic.partitions)}"
        f"\tReplicationFactor: {seen.replication_factor(topic.partitions[0]) if topic.partitions else 0}"
        f"\tConfigs: {written}"
    )


def _print_partition(seen: Seen, each: PartitionDescription) -> None:
    print("".join(f"\t{head}: {text}" for head, text in _columns(seen, each)))


def _columns(seen: Seen, each: PartitionDescription) -> Iterator[tuple[str, str]]:
    yield "Topic", seen.topic.name
    yield "Partition", str(each.partition)
    yield "Leader", "none" if each.leader < 0 else str(each.leader)
    yield "Replicas", _numbers(each.replicas)
    yield "Isr", _numbers(each.in_sync_replicas)
    if move := seen.moves.get(TopicPartition(seen.topic.name, each.partition)):
        yield "Adding Replicas", _numbers(move.adding_replicas)
        yield "Removing Replicas", _numbers(move.removing_replicas)
    yield "Elr", _eligible(each.eligible_leader_replicas)
    yield "LastKnownElr", _eligible(each.last_known_eligible_leader_replicas)


def _numbers(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _eligible(numbers: Sequence[int] | None) -> str:
    return "N/A" if numbers is None else _numbers(numbers)


if __name__ == "__main__":
    main()
