"""Operations on share groups, Kafka's queues (KIP-932)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pystream.client.operations.declaration import Argument, Kind, Operation, Permission
from pystream.client.operations.groups import (
    RESET_NOTES,
    ChangedGroup,
    Group,
    GroupDetail,
    ResetOffset,
    reset_arguments,
)

HANDLERS: Final = "pystream.client.operations.handlers.share_groups"


@dataclass(frozen=True, slots=True)
class StartOffset:
    """Where a group is with a partition. The lag is None where the broker does not tell."""

    group: str
    topic: str
    partition: int
    start_offset: int
    end_offset: int | None
    lag: int | None
    leader_epoch: int | None


GROUPS: Final = Argument(
    "groups",
    doc="Ids of groups.",
    many=True,
    positional=True,
    required=True,
    metavar="GROUP...",
    completes="share-groups",
)
GROUP: Final = Argument("group", doc="Its id.", positional=True, required=True, completes="share-groups")
PATTERN: Final = Argument("pattern", doc="A regular expression that the whole id matches.", short="r")
STATE: Final = Argument("state", doc="Only in this state: Stable, Empty, …; may be repeated.", many=True)

OPERATIONS: Final = (
    Operation(
        noun="share-groups",
        verb="list",
        doc="List share groups.",
        handler=f"{HANDLERS}:list_",
        row=Group,
        columns=("group", "state", "coordinator"),
        permission=Permission(resource="GROUP", operation="DESCRIBE"),
        arguments=(PATTERN, STATE),
        examples=("pystream share-groups list --state Empty -o name",),
        old_names=("kafka-share-groups --list",),
    ),
    Operation(
        noun="share-groups",
        verb="describe",
        doc="Show members of share groups, and where they are with their partitions.",
        handler=f"{HANDLERS}:describe",
        row=GroupDetail,
        columns=("group", "topic", "partition", "committed_offset", "end_offset", "lag", "member_id", "client_id"),
        expand="partitions",
        permission=Permission(resource="GROUP", operation="DESCRIBE"),
        arguments=(GROUPS,),
        examples=("pystream share-groups describe jobs --json",),
        old_names=("kafka-share-groups --describe",),
    ),
    Operation(
        noun="share-groups",
        verb="offsets",
        doc="Show where share groups begin with each partition: what is before was dealt with.",
        handler=f"{HANDLERS}:offsets",
        row=StartOffset,
        columns=("group", "topic", "partition", "start_offset", "end_offset", "lag"),
        permission=Permission(resource="GROUP", operation="DESCRIBE"),
        arguments=(GROUPS,),
        examples=("pystream share-groups offsets jobs",),
        old_names=("kafka-share-groups --describe --offsets",),
    ),
    Operation(
        noun="share-groups",
        verb="reset-offsets",
        doc="Let a share group without members begin elsewhere.",
        handler=f"{HANDLERS}:reset_offsets",
        row=ResetOffset,
        columns=("topic", "partition", "committed_offset", "new_offset"),
        permission=Permission(resource="GROUP", operation="READ"),
        mutating=True,
        cautious=True,
        arguments=reset_arguments(GROUP),
        notes=RESET_NOTES,
        examples=("pystream share-groups reset-offsets jobs --to-earliest --topic tasks --execute",),
        old_names=("kafka-share-groups --reset-offsets",),
    ),
    Operation(
        noun="share-groups",
        verb="delete-offsets",
        doc="Let a share group without members forget topics.",
        handler=f"{HANDLERS}:delete_offsets",
        row=ChangedGroup,
        columns=("name", "change"),
        permission=Permission(resource="GROUP", operation="READ"),
        mutating=True,
        arguments=(
            GROUP,
            Argument("topic", doc="A topic; may be repeated.", many=True, required=True, completes="topics"),
        ),
        examples=("pystream share-groups delete-offsets jobs --topic tasks",),
        old_names=("kafka-share-groups --delete-offsets",),
    ),
    Operation(
        noun="share-groups",
        verb="delete",
        doc="Delete share groups without members.",
        handler=f"{HANDLERS}:delete",
        row=ChangedGroup,
        columns=("name", "change"),
        permission=Permission(resource="GROUP", operation="DELETE"),
        mutating=True,
        arguments=(GROUPS, Argument("if_exists", Kind.FLAG, doc="A group that is not there is no error.")),
        examples=("pystream share-groups delete jobs --dry-run",),
        old_names=("kafka-share-groups --delete",),
    ),
)
