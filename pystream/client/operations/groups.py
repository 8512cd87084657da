"""Operations on groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pystream.client.operations.declaration import TIMES, Argument, Kind, Operation, Permission

HANDLERS: Final = "pystream.client.operations.handlers.groups"


@dataclass(frozen=True, slots=True)
class Group:
    """A group as lists show it. The protocol is empty for consumers that never join."""

    group: str
    type: str
    state: str
    protocol: str
    coordinator: int


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member, and what it has: topic-partition."""

    member_id: str
    instance_id: str | None
    client_id: str
    host: str
    epoch: int | None
    partitions: list[str]


@dataclass(frozen=True, slots=True)
class GroupPartition:
    """How far a group is with a partition. None for what there is not; the member's fields where one has it."""

    topic: str | None
    partition: int | None
    committed_offset: int | None
    start_offset: int | None
    end_offset: int | None
    lag: int | None
    member_id: str | None = None
    host: str | None = None
    client_id: str | None = None
    leader_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class GroupDetail:
    """A group with its members, and with its partitions whether a member has them or not."""

    group: str
    type: str
    state: str
    coordinator: int
    assignor: str
    epoch: int | None
    members: list[GroupMember] = field(default_factory=list)
    partitions: list[GroupPartition] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ResetOffset:
    """A partition whose committed offset was changed, or would be."""

    topic: str
    partition: int
    committed_offset: int | None
    new_offset: int


@dataclass(frozen=True, slots=True)
class ChangedGroup:
    """A group, or a partition of one, that something was done to."""

    name: str
    change: str


GROUPS: Final = Argument(
    "groups", doc="Ids of groups.", many=True, positional=True, required=True, metavar="GROUP...", completes="groups"
)
GROUP: Final = Argument("group", doc="Its id.", positional=True, required=True, completes="groups")
TOPIC: Final = Argument(
    "topic", doc="Only this topic, or TOPIC:0,1 of its partitions; may be repeated.", many=True, completes="topics"
)

RESET_NOTES: Final = (
    TIMES,
    "Say where to in one way. Without --topic: all partitions that the group has committed. Offsets beyond the log go "
    "to its ends.",
    "--from-file: lines of topic,partition,offset; a header may name the columns, as `-o csv` writes them.",
)


def reset_arguments(group: Argument) -> tuple[Argument, ...]:
    """Of every reset-offsets: to where, in our own words and in those of Kafka's tools."""
    return (
        group,
        Argument("to", doc="start, end, an offset, @TIME, or +N and -N from the committed one.", metavar="POSITION"),
        TOPIC,
        Argument("to_earliest", Kind.FLAG, doc="The same as --to start."),
        Argument("to_latest", Kind.FLAG, doc="The same as --to end."),
        Argument("to_current", Kind.FLAG, doc="Where it is; brings it back into a log that was trimmed."),
        Argument("to_offset", Kind.INTEGER, doc="This offset.", minimum=0),
        Argument("shift_by", Kind.INTEGER, doc="So many further, or back where it is negative."),
        Argument("to_datetime", doc="The first record at or after 2026-11-22T10:00:00.", metavar="TIME"),
        Argument("by_duration", doc="The first record of the last PT1H, P1DT12H.", metavar="DURATION"),
        Argument("from_file", Kind.DOCUMENT, doc="The offsets in this file."),
    )


OPERATIONS: Final = (
    Operation(
        noun="groups",
        verb="list",
        doc="List groups of all kinds.",
        handler=f"{HANDLERS}:list_",
        row=Group,
        columns=("group", "type", "state", "protocol"),
        permission=Permission(resource="GROUP", operation="DESCRIBE"),
        arguments=(
            Argument("pattern", doc="A regular expression that the whole id matches.", short="r"),
            Argument("state", doc="Only in this state: Stable, Empty, …; may be repeated.", many=True),
            Argument(
                "type",
                doc="Only of this type; may be repeated.",
                many=True,
                choices=("classic", "consumer", "share", "streams"),
            ),
        ),
        examples=("pystream groups list", "pystream groups list --type share --state Empty -o name"),
        old_names=("kafka-groups --list", "kafka-consumer-groups --list", "rpk group list"),
    ),
    Operation(
        noun="groups",
        verb="describe",
        doc="Show members, offsets and lag of groups.",
        handler=f"{HANDLERS}:describe",
        row=GroupDetail,
        columns=(
            *("group", "topic", "partition", "committed_offset", "end_offset", "lag"),
            *("member_id", "host", "client_id"),
        ),
        expand="partitions",
        permission=Permission(resource="GROUP", operation="DESCRIBE"),
        arguments=(GROUPS,),
        examples=("pystream groups describe billing", "pystream groups describe billing audit -o json"),
        old_names=("kafka-consumer-groups --describe", "rpk group describe"),
    ),
    Operation(
        noun="groups",
        verb="reset-offsets",
        doc="Let a group without members continue from another position.",
        handler=f"{HANDLERS}:reset_offsets",
        row=ResetOffset,
        columns=("topic", "partition", "committed_offset", "new_offset"),
        permission=Permission(resource="GROUP", operation="READ"),
        mutating=True,
        cautious=True,
        arguments=reset_arguments(GROUP),
        notes=RESET_NOTES,
        examples=(
            "pystream groups reset-offsets billing --to-earliest",
            "pystream groups reset-offsets billing --to @-1h --topic orders:0,1 --execute",
            "pystream groups reset-offsets billing --from-file offsets.csv --execute",
        ),
        old_names=("kafka-consumer-groups --reset-offsets", "rpk group seek"),
    ),
    Operation(
        noun="groups",
        verb="delete",
        doc="Delete groups without members, with their offsets.",
        handler=f"{HANDLERS}:delete",
        row=ChangedGroup,
        columns=("name", "change"),
        permission=Permission(resource="GROUP", operation="DELETE"),
        mutating=True,
        arguments=(GROUPS, Argument("if_exists", Kind.FLAG, doc="A group that is not there is no error.")),
        examples=("pystream groups delete billing",),
        old_names=("kafka-consumer-groups --delete", "rpk group delete"),
    ),
    Operation(
        noun="groups",
        verb="delete-offsets",
        doc="Let a group forget topics that none of its members subscribes to.",
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
        examples=("pystream groups delete-offsets billing --topic orders",),
        old_names=("kafka-consumer-groups --delete-offsets", "rpk group offset-delete"),
    ),
)
