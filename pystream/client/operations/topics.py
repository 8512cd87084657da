"""Operations on topics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pystream.client.operations.declaration import ADMIN_BASE, TIMES, Argument, Kind, Operation, Permission

HANDLERS: Final = "pystream.client.operations.handlers.topics"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as lists show it. `replicas` is the replication factor of partition 0."""

    name: str
    partitions: int
    replicas: int
    internal: bool
    topic_id: str


@dataclass(frozen=True, slots=True)
class CreatedTopic:
    """A topic that was created, or could be. The id is empty for a dry run."""

    name: str
    partitions: int
    replicas: int
    topic_id: str
    configs: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition. Leader -1 for none; offsets where they were asked for; eligible leaders where brokers tell them."""

    partition: int
    leader: int
    leader_epoch: int
    replicas: list[int]
    in_sync: list[int]
    offline: list[int]
    start_offset: int | None = None
    end_offset: int | None = None
    eligible: list[int] | None = None
    last_known_eligible: list[int] | None = None


@dataclass(frozen=True, slots=True)
class TopicDetail:
    """A topic with its partitions, and with the settings that are not the default."""

    name: str
    topic_id: str
    internal: bool
    configs: dict[str, str | None]
    partitions: list[Partition] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ChangedTopic:
    """A topic that something was done to, and what."""

    name: str
    change: str


@dataclass(frozen=True, slots=True)
class TrimmedPartition:
    """A partition whose log starts later now, or would. `first_offset` is the old start, `start_offset` the new."""

    topic: str
    partition: int
    first_offset: int
    start_offset: int
    end_offset: int


TOPICS: Final = Argument(
    "topics", doc="Names of topics.", many=True, positional=True, required=True, metavar="TOPIC...", completes="topics"
)
PATTERN: Final = Argument("pattern", doc="A regular expression that the whole name matches.", short="r")

OPERATIONS: Final = (
    Operation(
        noun="topics",
        verb="list",
        doc="List topics.",
        handler=f"{HANDLERS}:list_",
        row=Topic,
        columns=("name", "partitions", "replicas"),
        permission=Permission(resource="TOPIC", operation="DESCRIBE"),
        arguments=(
            PATTERN,
            Argument("internal", Kind.FLAG, doc="Those that brokers keep for themselves, too.", short="i"),
        ),
        examples=("pystream topics list", "pystream topics list --pattern 'orders-.*' -o json"),
        old_names=("kafka-topics --list", "rpk topic list"),
        client=ADMIN_BASE,
    ),
    Operation(
        noun="topics",
        verb="create",
        doc="Create topics. What is not given is the broker's default.",
        handler=f"{HANDLERS}:create",
        row=CreatedTopic,
        columns=("name", "partitions", "replicas", "topic_id"),
        permission=Permission(resource="TOPIC", operation="CREATE"),
        mutating=True,
        arguments=(
            Argument("topics", doc="Names.", many=True, positional=True, required=True, metavar="TOPIC..."),
            Argument("partitions", Kind.INTEGER, doc="How many partitions.", short="p", minimum=1),
            Argument("replication_factor", Kind.INTEGER, doc="How many replicas of each.", short="r", minimum=1),
            Argument("config", Kind.ASSIGNMENT, doc="A setting of the topics; may be repeated.", short="c"),
            Argument("if_not_exists", Kind.FLAG, doc="A topic that is there already is no error."),
        ),
        examples=("pystream topics create orders --partitions 6 --config retention.ms=86400000",),
        old_names=("kafka-topics --create", "rpk topic create"),
    ),
    Operation(
        noun="topics",
        verb="describe",
        doc="Show partitions, leaders and replicas of topics, and settings that are not the default.",
        handler=f"{HANDLERS}:describe",
        row=TopicDetail,
        columns=("name", "partition", "leader", "replicas", "in_sync", "start_offset", "end_offset"),
        expand="partitions",
        permission=Permission(resource="TOPIC", operation="DESCRIBE"),
        arguments=(
            TOPICS,
            Argument("offsets", Kind.FLAG, doc="First offset and the one after the last, of each partition."),
        ),
        examples=("pystream topics describe orders --offsets", "pystream topics describe orders -o yaml"),
        old_names=("kafka-topics --describe", "rpk topic describe"),
    ),
    Operation(
        noun="topics",
        verb="delete",
        doc="Delete topics with all their records.",
        handler=f"{HANDLERS}:delete",
        row=ChangedTopic,
        columns=("name", "change"),
        permission=Permission(resource="TOPIC", operation="DELETE"),
        mutating=True,
        arguments=(
            TOPICS,
            Argument("if_exists", Kind.FLAG, doc="A topic that is not there is no error."),
        ),
        examples=("pystream topics delete orders --dry-run", "pystream topics delete orders"),
        old_names=("kafka-topics --delete", "rpk topic delete"),
    ),
    Operation(
        noun="topics",
        verb="alter",
        doc="Change settings of topics; what is not named stays as it is.",
        handler=f"{HANDLERS}:alter",
        row=ChangedTopic,
        columns=("name", "change"),
        permission=Permission(resource="TOPIC", operation="ALTER_CONFIGS"),
        mutating=True,
        arguments=(
            TOPICS,
            Argument("set", Kind.ASSIGNMENT, doc="A setting and its value; may be repeated."),
            Argument("unset", doc="A setting that goes back to its default; may be repeated.", many=True),
        ),
        examples=("pystream topics alter orders --set retention.ms=86400000 --unset segment.ms",),
        old_names=("kafka-topics --alter --config", "rpk topic alter-config"),
    ),
    Operation(
        noun="topics",
        verb="add-partitions",
        doc="Give topics more partitions. Keys of the producers go to other partitions from then on.",
        handler=f"{HANDLERS}:add_partitions",
        row=ChangedTopic,
        columns=("name", "change"),
        permission=Permission(resource="TOPIC", operation="ALTER"),
        mutating=True,
        arguments=(
            TOPICS,
            Argument("total", Kind.INTEGER, doc="How many there shall be.", minimum=1),
            Argument("add", Kind.INTEGER, doc="How many more there shall be.", minimum=1),
        ),
        examples=("pystream topics add-partitions orders --total 12", "pystream topics add-partitions orders --add 2"),
        old_names=("kafka-topics --alter --partitions", "rpk topic add-partitions"),
    ),
    Operation(
        noun="topics",
        verb="trim",
        doc="Delete the records of a topic before a position.",
        handler=f"{HANDLERS}:trim",
        row=TrimmedPartition,
        columns=("topic", "partition", "first_offset", "start_offset", "end_offset"),
        permission=Permission(resource="TOPIC", operation="DELETE"),
        mutating=True,
        arguments=(
            Argument("topic", doc="Its name.", positional=True, required=True, completes="topics"),
            Argument("before", doc="An offset, end, or @TIME: see below.", required=True, metavar="POSITION"),
            Argument("partition", Kind.INTEGER, doc="Only this one; may be repeated.", many=True, minimum=0),
        ),
        notes=(TIMES,),
        examples=(
            "pystream topics trim orders --before 1000 --partition 0",
            "pystream topics trim orders --before @-7d",
        ),
        old_names=("kafka-delete-records", "rpk topic trim-prefix"),
    ),
)
