"""Operations on transactions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pystream.client.operations.declaration import Argument, Kind, Operation, Permission
from pystream.client.operations.partitions import PartitionProducer

HANDLERS: Final = "pystream.client.operations.handlers.transactions"


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transactional id as lists show it."""

    transactional_id: str
    producer_id: int
    state: str


@dataclass(frozen=True, slots=True)
class TransactionDetail:
    """A transactional id with the transaction that it has under way; partitions as topic-partition."""

    transactional_id: str
    state: str
    producer_id: int
    producer_epoch: int
    coordinator: int
    timeout_ms: int
    started_ms: int | None
    partitions: list[str]


@dataclass(frozen=True, slots=True)
class AbortedTransaction:
    """A transactional id whose transaction was aborted, or would be."""

    transactional_id: str
    change: str


TOPIC: Final = Argument("topic", doc="A topic.", positional=True, required=True, completes="topics")
IDS: Final = Argument(
    "transactional_ids",
    doc="Transactional ids.",
    many=True,
    positional=True,
    required=True,
    metavar="TRANSACTIONAL_ID...",
    completes="transactions",
)

OPERATIONS: Final = (
    Operation(
        noun="transactions",
        verb="list",
        doc="List transactional ids and their states.",
        handler=f"{HANDLERS}:list_",
        row=Transaction,
        columns=("transactional_id", "producer_id", "state"),
        permission=Permission(resource="TRANSACTIONAL_ID", operation="DESCRIBE"),
        arguments=(
            Argument("state", doc="Only in this state: Ongoing, Empty, …; may be repeated.", many=True),
            Argument("producer_id", Kind.INTEGER, doc="Only of this one; may be repeated.", many=True, minimum=0),
            Argument("longer_than_ms", Kind.INTEGER, doc="Only those under way for longer.", minimum=0),
            Argument("pattern", doc="A regular expression that the whole id matches.", short="r"),
        ),
        examples=("pystream transactions list --state Ongoing --longer-than-ms 60000",),
        old_names=("kafka-transactions list",),
    ),
    Operation(
        noun="transactions",
        verb="describe",
        doc="Show transactions and their partitions.",
        handler=f"{HANDLERS}:describe",
        row=TransactionDetail,
        columns=(
            *("transactional_id", "state", "producer_id", "producer_epoch", "coordinator"),
            *("timeout_ms", "started_ms", "partitions"),
        ),
        permission=Permission(resource="TRANSACTIONAL_ID", operation="DESCRIBE"),
        arguments=(IDS,),
        examples=("pystream transactions describe payments-1",),
        old_names=("kafka-transactions describe",),
    ),
    Operation(
        noun="transactions",
        verb="abort",
        doc="Abort what transactional ids have under way, and shut out the producers that use them now.",
        handler=f"{HANDLERS}:abort",
        row=AbortedTransaction,
        columns=("transactional_id", "change"),
        permission=Permission(resource="TRANSACTIONAL_ID", operation="WRITE"),
        mutating=True,
        arguments=(IDS,),
        examples=("pystream transactions abort payments-1",),
        old_names=("kafka-transactions force-terminate",),
    ),
    Operation(
        noun="transactions",
        verb="abort-hanging",
        doc="End a transaction in one partition that no coordinator knows of any more: `pystream doctor` finds them.",
        handler=f"{HANDLERS}:abort_hanging",
        row=PartitionProducer,
        columns=("topic", "partition", "producer_id", "producer_epoch", "transaction_start_offset"),
        permission=Permission(resource="CLUSTER", operation="ALTER"),
        mutating=True,
        arguments=(
            TOPIC,
            Argument("partition", Kind.INTEGER, doc="Its number.", required=True, minimum=0, short="p"),
            Argument("producer_id", Kind.INTEGER, doc="Whose transaction it is.", required=True, minimum=0),
        ),
        notes=("A transaction that a coordinator still knows is refused: `pystream transactions abort` ends it.",),
        examples=("pystream transactions abort-hanging orders --partition 0 --producer-id 4000 --dry-run",),
        old_names=("kafka-transactions abort",),
    ),
)
