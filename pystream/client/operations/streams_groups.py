"""Operations on groups of Kafka Streams applications (KIP-1071)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pystream.client.operations.declaration import Argument, Kind, Operation, Permission
from pystream.client.operations.groups import (
    RESET_NOTES,
    ChangedGroup,
    Group,
    ResetOffset,
    reset_arguments,
)
from pystream.client.operations.share_groups import PATTERN, STATE, StartOffset

HANDLERS: Final = "pystream.client.operations.handlers.streams_groups"


@dataclass(frozen=True, slots=True)
class StreamsMemberRow:
    """A member and its tasks, each SUBTOPOLOGY:PARTITION."""

    member_id: str
    process_id: str
    client_id: str
    host: str
    member_epoch: int
    active_tasks: list[str]
    standby_tasks: list[str]
    warmup_tasks: list[str]


@dataclass(frozen=True, slots=True)
class SubtopologyRow:
    """A part of the topology; internal topics by name."""

    subtopology: str
    source_topics: list[str]
    repartition_topics: list[str]
    changelog_topics: list[str]


@dataclass(frozen=True, slots=True)
class StreamsGroupDetail:
    """A group with its members and topology."""

    group: str
    state: str
    coordinator: int
    group_epoch: int
    topology_epoch: int
    members: list[StreamsMemberRow] = field(default_factory=list)
    subtopologies: list[SubtopologyRow] = field(default_factory=list)


GROUPS: Final = Argument(
    "groups",
    doc="Ids of groups.",
    many=True,
    positional=True,
    required=True,
    metavar="GROUP...",
    completes="streams-groups",
)
GROUP: Final = Argument("group", doc="Its id.", positional=True, required=True, completes="streams-groups")

OPERATIONS: Final = (
    Operation(
        noun="streams-groups",
        verb="list",
        doc="List groups of Kafka Streams.",
        handler=f"{HANDLERS}:list_",
        row=Group,
        columns=("group", "state", "coordinator"),
        permission=Permission(resource="GROUP", operation="DESCRIBE"),
        arguments=(PATTERN, STATE),
        examples=("pystream streams-groups list",),
        old_names=("kafka-streams-groups --list",),
    ),
    Operation(
        noun="streams-groups",
        verb="describe",
        doc="Show members and tasks of groups of Kafka Streams; with --json their topologies, too.",
        handler=f"{HANDLERS}:describe",
        row=StreamsGroupDetail,
        columns=("group", "state", "member_id", "client_id", "host", "active_tasks", "standby_tasks", "warmup_tasks"),
        expand="members",
        permission=Permission(resource="GROUP", operation="DESCRIBE"),
        arguments=(GROUPS,),
        examples=("pystream streams-groups describe word-count --json",),
        old_names=("kafka-streams-groups --describe",),
    ),
    Operation(
        noun="streams-groups",
        verb="offsets",
        doc="Show how far groups of Kafka Streams are with their source topics.",
        handler=f"{HANDLERS}:offsets",
        row=StartOffset,
        columns=("group", "topic", "partition", "start_offset", "end_offset", "lag"),
        permission=Permission(resource="GROUP", operation="DESCRIBE"),
        arguments=(GROUPS,),
        examples=("pystream streams-groups offsets word-count",),
        old_names=("kafka-streams-groups --describe --offsets",),
    ),
    Operation(
        noun="streams-groups",
        verb="reset-offsets",
        doc="Let a group of Kafka Streams without members continue from another position; its state stays.",
        handler=f"{HANDLERS}:reset_offsets",
        row=ResetOffset,
        columns=("topic", "partition", "committed_offset", "new_offset"),
        permission=Permission(resource="GROUP", operation="READ"),
        mutating=True,
        cautious=True,
        arguments=reset_arguments(GROUP),
        notes=RESET_NOTES,
        examples=("pystream streams-groups reset-offsets word-count --to-earliest --execute",),
        old_names=("kafka-streams-groups --reset-offsets",),
    ),
    Operation(
        noun="streams-groups",
        verb="delete-offsets",
        doc="Let a group of Kafka Streams forget topics.",
        handler=f"{HANDLERS}:delete_offsets",
        row=ChangedGroup,
        columns=("name", "change"),
        permission=Permission(resource="GROUP", operation="DELETE"),
        mutating=True,
        arguments=(
            GROUP,
            Argument(
                "topic",
                doc="This topic, or TOPIC:0,1 of its partitions; may be repeated.",
                many=True,
                required=True,
                completes="topics",
            ),
        ),
        examples=("pystream streams-groups delete-offsets word-count --topic lines",),
        old_names=("kafka-streams-groups --delete-offsets",),
    ),
    Operation(
        noun="streams-groups",
        verb="delete",
        doc="Delete groups of Kafka Streams without members; their internal topics stay.",
        handler=f"{HANDLERS}:delete",
        row=ChangedGroup,
        columns=("name", "change"),
        permission=Permission(resource="GROUP", operation="DELETE"),
        mutating=True,
        arguments=(GROUPS, Argument("if_exists", Kind.FLAG, doc="A group that is not there is no error.")),
        examples=("pystream streams-groups delete word-count --dry-run",),
        old_names=("kafka-streams-groups --delete",),
    ),
)
