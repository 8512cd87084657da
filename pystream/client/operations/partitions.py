"""Operations on partitions: who leads and follows, who writes, who else shall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pystream.client.operations.declaration import Argument, Kind, Operation, Permission

HANDLERS: Final = "pystream.client.operations.handlers.partitions"
DESCRIBE: Final = Permission(resource="TOPIC", operation="DESCRIBE")
ALTER: Final = Permission(resource="CLUSTER", operation="ALTER")


@dataclass(frozen=True, slots=True)
class PartitionState:
    """A partition and its replicas. Leader -1 for none; offsets where they were asked for and can be told."""

    topic: str
    partition: int
    leader: int
    replicas: list[int]
    in_sync: list[int]
    offline: list[int]
    leader_epoch: int
    start_offset: int | None = None
    end_offset: int | None = None


@dataclass(frozen=True, slots=True)
class PartitionProducer:
    """A producer that a partition remembers. No transaction start without an open transaction."""

    topic: str
    partition: int
    producer_id: int
    producer_epoch: int
    last_sequence: int
    last_timestamp_ms: int
    coordinator_epoch: int
    transaction_start_offset: int | None


@dataclass(frozen=True, slots=True)
class Reassignment:
    """A partition on its way to other replicas."""

    topic: str
    partition: int
    replicas: list[int]
    adding: list[int]
    removing: list[int]


@dataclass(frozen=True, slots=True)
class ChangedPartition:
    """A partition that something was done to, or would be."""

    topic: str
    partition: int
    change: str


PLACES: Final = Argument(
    "topics",
    doc="Topics, or TOPIC:0,1 of their partitions.",
    many=True,
    positional=True,
    required=True,
    metavar="TOPIC[:0,1]...",
    completes="topics",
)
ANY_PLACES: Final = Argument(
    "topics",
    doc="Only these topics, or TOPIC:0,1 of their partitions.",
    many=True,
    positional=True,
    metavar="[TOPIC[:0,1]]...",
    completes="topics",
)

OPERATIONS: Final = (
    Operation(
        noun="partitions",
        verb="list",
        doc="List partitions with their leaders and replicas.",
        handler=f"{HANDLERS}:list_",
        row=PartitionState,
        columns=("topic", "partition", "leader", "replicas", "in_sync", "start_offset", "end_offset"),
        permission=DESCRIBE,
        arguments=(
            ANY_PLACES,
            Argument(
                "unhealthy", Kind.FLAG, doc="Only those without a leader, or with replicas that are behind.", short="u"
            ),
            Argument("offsets", Kind.FLAG, doc="First offset and the one after the last, of each."),
        ),
        examples=("pystream partitions list --unhealthy", "pystream partitions list orders:0,1 --offsets"),
        old_names=(
            "kafka-topics --describe --under-replicated-partitions",
            "kafka-get-offsets",
            "rpk cluster partitions",
        ),
    ),
    Operation(
        noun="partitions",
        verb="producers",
        doc="List the idempotent producers that partitions remember, with their open transactions.",
        handler=f"{HANDLERS}:producers",
        row=PartitionProducer,
        columns=(
            *("topic", "partition", "producer_id", "producer_epoch", "last_sequence", "last_timestamp_ms"),
            "transaction_start_offset",
        ),
        permission=Permission(resource="TOPIC", operation="READ"),
        arguments=(PLACES,),
        examples=("pystream partitions producers orders:0",),
        old_names=("kafka-transactions describe-producers",),
    ),
    Operation(
        noun="partitions",
        verb="elect-leaders",
        doc="Let the first replica lead where another does; all partitions without names.",
        handler=f"{HANDLERS}:elect_leaders",
        row=ChangedPartition,
        columns=("topic", "partition", "change"),
        permission=ALTER,
        mutating=True,
        arguments=(
            ANY_PLACES,
            Argument(
                "unclean", Kind.FLAG, doc="Where nobody leads, let a replica lead that is behind: records may be lost."
            ),
        ),
        examples=("pystream partitions elect-leaders --dry-run", "pystream partitions elect-leaders orders:0"),
        old_names=("kafka-leader-election",),
    ),
    Operation(
        noun="partitions",
        verb="reassign",
        doc="Move partitions to other replicas. It goes on in the background.",
        handler=f"{HANDLERS}:reassign",
        row=ChangedPartition,
        columns=("topic", "partition", "change"),
        permission=ALTER,
        mutating=True,
        arguments=(
            PLACES,
            Argument(
                "replicas",
                Kind.INTEGER,
                doc="Ids of brokers, the preferred leader first; may be repeated.",
                many=True,
                required=True,
                minimum=0,
            ),
        ),
        examples=("pystream partitions reassign orders:0 --replicas 2 --replicas 3",),
        old_names=("kafka-reassign-partitions --execute", "rpk cluster partitions move"),
    ),
    Operation(
        noun="partitions",
        verb="reassignments",
        doc="List partitions that are on their way to other replicas.",
        handler=f"{HANDLERS}:reassignments",
        row=Reassignment,
        columns=("topic", "partition", "replicas", "adding", "removing"),
        permission=Permission(resource="CLUSTER", operation="DESCRIBE"),
        arguments=(ANY_PLACES,),
        examples=("pystream partitions reassignments",),
        old_names=("kafka-reassign-partitions --list", "rpk cluster partitions move-status"),
    ),
    Operation(
        noun="partitions",
        verb="cancel-reassignments",
        doc="Let partitions that are on their way stay where they were; all of them without names.",
        handler=f"{HANDLERS}:cancel_reassignments",
        row=ChangedPartition,
        columns=("topic", "partition", "change"),
        permission=ALTER,
        mutating=True,
        arguments=(ANY_PLACES,),
        examples=("pystream partitions cancel-reassignments orders:0 --dry-run",),
        old_names=("kafka-reassign-partitions --cancel", "rpk cluster partitions move-cancel"),
    ),
)
