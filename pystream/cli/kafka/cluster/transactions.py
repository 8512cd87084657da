"""`kafka-transactions`, as Kafka's TransactionsCommand: transactions under way, and those that hang."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from pystream.cli.kafka.failures import message
from pystream.cli.kafka.options import Mistake
from pystream.cli.kafka.tool import KAFKA_VERSION, Commands, admin_for, serve_commands, table
from pystream.client.admin.partitions import ActiveProducer
from pystream.client.admin.transactions import AbortTransaction
from pystream.common.errors import PystreamError, TransactionalIdNotFound
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.sync.admin import AdminClient

T = TypeVar("T")
MINUTE_MS: Final = 60_000
DEFAULT_MINUTES: Final = 15
BATCH: Final = 500
LISTED: Final = ("TransactionalId", "Coordinator", "ProducerId", "TransactionState")
DESCRIBED: Final = (
    *("CoordinatorId", "TransactionalId", "ProducerId", "ProducerEpoch", "TransactionState", "TransactionTimeoutMs"),
    *("CurrentTransactionStartTimeMs", "TransactionDurationMs", "TopicPartitions"),
)
PRODUCERS: Final = (
    *("ProducerId", "ProducerEpoch", "LatestCoordinatorEpoch", "LastSequence", "LastTimestamp"),
    "CurrentTransactionStartOffset",
)
HANGING: Final = (
    *("Topic", "Partition", "ProducerId", "ProducerEpoch", "CoordinatorEpoch", "StartOffset", "LastTimestamp"),
    "Duration(min)",
)

Open = tuple[TopicPartition, ActiveProducer]


def options() -> Commands:
    made = Commands(
        prog="kafka-transactions.sh", description="Shows transactional producers, and recovers hanging transactions."
    )
    made.add_argument("-v", "--version", action="version", version=KAFKA_VERSION, help="Kafka's version.")
    made.add_argument("--command-config", metavar="FILE", help="Properties of the admin client.")
    where = made.add_mutually_exclusive_group(required=True)
    where.add_argument("--bootstrap-server", metavar="host:port", help="Brokers, separated by commas.")
    where.add_argument("--bootstrap-controller", metavar="host:port", help=argparse.SUPPRESS)
    commands = made.add_subparsers(dest="command", required=True, title="commands", metavar="COMMAND")
    listing = commands.add_parser("list", help="list transactions")
    listing.add_argument("--duration-filter", type=int, help="Only those that run longer than so many ms.")
    listing.add_argument("--transactional-id-pattern", help="Only ids that this regular expression matches.")
    describe = commands.add_parser("describe", help="describe the state of an active transactional-id")
    describe.add_argument("--transactional-id", required=True, help="transactional id")
    producers = commands.add_parser("describe-producers", help="describe active producers of a topic partition")
    producers.add_argument("--broker-id", type=int, help="The replica that is asked instead of the leader.")
    _place(producers, required=True)
    abort = commands.add_parser("abort", help="abort a hanging transaction (requires administrative privileges)")
    _place(abort, required=True)
    abort.add_argument("--start-offset", type=int, help="start offset of the transaction to abort")
    for name in ("--producer-id", "--producer-epoch", "--coordinator-epoch"):
        abort.add_argument(name, type=int, help="for brokers older than 3.0, all three of them")
    terminate = commands.add_parser(
        "forceTerminateTransaction",
        help="abort what a transactional id has under way, and shut out its producer (needs administrative privileges)",
    )
    terminate.add_argument(
        "--transactionalId", dest="transactional_id", metavar="TRANSACTIONALID", required=True, help="transactional id"
    )
    hanging = commands.add_parser("find-hanging", help="find hanging transactions")
    hanging.add_argument("--broker-id", type=int, help="The broker to search.")
    hanging.add_argument("--max-transaction-timeout", type=int, default=DEFAULT_MINUTES, help="Minutes; default 15.")
    _place(hanging, required=False)
    return made


def _place(command: argparse.ArgumentParser, *, required: bool) -> None:
    command.add_argument("--topic", required=required, help="topic name")
    command.add_argument("--partition", type=int, required=required, help="partition number")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve_commands(options(), arguments, work)


def work(given: argparse.Namespace) -> None:
    commands: dict[str, Callable[[AdminClient, argparse.Namespace], None]] = {
        "list": _list,
        "describe": _describe,
        "describe-producers": _describe_producers,
        "abort": _abort,
        "forceTerminateTransaction": _terminate,
        "find-hanging": _find_hanging,
    }
    with admin_for(given) as admin:
        commands[given.command](admin, given)


def _fail(what: str, error: PystreamError) -> NoReturn:
    raise Mistake(f"{what}: {message(error)}. Enable debug logging for additional detail.") from None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


# --- the commands -----------------------------------------------------------------------------------------------------


def _list(admin: AdminClient, given: argparse.Namespace) -> None:
    longer_than_ms = given.duration_filter if given.duration_filter is None or given.duration_filter >= 0 else None
    try:
        found = admin.list_transactions(
            longer_than_ms=longer_than_ms, transactional_id_pattern=given.transactional_id_pattern
        )
        described = admin.describe_transactions([each.transactional_id for each in found])
    except PystreamError as error:
        _fail("Failed to list transactions", error)
    coordinators = {name: str(told.coordinator_id) for name, told in described.succeeded.items()}
    rows = [
        (each.transactional_id, coordinators.get(each.transactional_id, ""), str(each.producer_id), each.state)
        for each in found
    ]
    print(table(LISTED, rows))


def _describe(admin: AdminClient, given: argparse.Namespace) -> None:
    name = given.transactional_id
    try:
        told = admin.describe_transactions([name]).result(name)
    except TransactionalIdNotFound:
        raise Mistake(
            f"Failed to describe transaction state of transactional-id `{name}`: DescribeTransactions request for "
            f"transactionalId `{name}` failed because the ID could not be found. Enable debug logging for additional "
            "detail."
        ) from None
    except PystreamError as error:
        _fail(f"Failed to describe transaction state of transactional-id `{name}`", error)
    start = told.start_time_ms
    row = (
        str(told.coordinator_id),
        name,
        str(told.producer_id),
        str(told.producer_epoch),
        told.state,
        str(told.timeout_ms),
        "None" if start is None else str(start),
        "None" if start is None else str(_now_ms() - start),
        ",".join(map(str, sorted(told.partitions))),
    )
    print(table(DESCRIBED, [row]))


def _describe_producers(admin: AdminClient, given: argparse.Namespace) -> None:
    place = TopicPartition(given.topic, given.partition)
    try:
        producers = admin.describe_producers([place], broker_id=given.broker_id).result(place)
    except PystreamError as error:
        where = "leader" if given.broker_id is None else f"broker {given.broker_id}"
        _fail(f"Failed to describe producers for partition {place} on {where}", error)
    rows = [
        (
            str(each.producer_id),
            str(each.producer_epoch),
            str(each.coordinator_epoch),
            str(each.last_sequence),
            str(each.last_timestamp),
            "None" if each.current_transaction_start_offset < 0 else str(each.current_transaction_start_offset),
        )
        for each in producers
    ]
    print(table(PRODUCERS, rows))


def _abort(admin: AdminClient, given: argparse.Namespace) -> None:
    place = TopicPartition(given.topic, given.partition)
    if given.start_offset is None and given.producer_id is None:
        raise Mistake(
            "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) or "
            "with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)"
        )
    if given.start_offset is not None:
        producer = _open_at(admin, place, given.start_offset)
        meant = AbortTransaction(
            place, producer.producer_id, producer.producer_epoch, max(producer.coordinator_epoch, 0)
        )
    else:
        for name in ("producer_epoch", "coordinator_epoch"):
            if getattr(given, name) is None:
                raise Mistake(f"Missing required argument --{name.replace('_', '-')}")
        meant = AbortTransaction(place, given.producer_id, given.producer_epoch, max(given.coordinator_epoch, 0))
    try:
        admin.abort_transaction(meant)
    except PystreamError as error:
        spec = (
            f"AbortTransactionSpec(topicPartition={place}, producerId={meant.producer_id}, "
            f"producerEpoch={meant.producer_epoch}, coordinatorEpoch={meant.coordinator_epoch})"
        )
        _fail(f"Failed to abort transaction {spec}", error)


def _terminate(admin: AdminClient, given: argparse.Namespace) -> None:
    try:
        admin.force_terminate_transaction(given.transactional_id)
    except PystreamError as error:
        _fail(f"Failed to force terminate transactionalId `{given.transactional_id}`", error)


def _open_at(admin: AdminClient, place: TopicPartition, start_offset: int) -> ActiveProducer:
    try:
        producers = admin.describe_producers([place]).result(place)
    except PystreamError as error:
        _fail(f"Failed to validate producer state for partition {place}", error)
    for each in producers:
        if each.current_transaction_start_offset == start_offset:
            return each
    raise Mistake(f"Could not find any open transactions starting at offset {start_offset} on partition {place}")


# --- hanging transactions: open on a partition, and unknown to their coordinator --------------------------------------


def _find_hanging(admin: AdminClient, given: argparse.Namespace) -> None:
    if given.topic is None and given.broker_id is None:
        raise Mistake(
            "The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search"
        )
    if given.partition is not None and given.topic is None:
        raise Mistake("The --partition argument requires --topic to be provided")
    now_ms = _now_ms()
    candidates = _old_ones(admin, given, _searched(admin, given), now_ms)
    rows = [
        (
            place.topic,
            str(place.partition),
            str(producer.producer_id),
            str(producer.producer_epoch),
            str(producer.coordinator_epoch),
            str(producer.current_transaction_start_offset),
            str(producer.last_timestamp),
            str((now_ms - producer.last_timestamp) // MINUTE_MS),
        )
        for place, producer in _unknown(admin, candidates)
    ]
    print(table(HANGING, rows))


def _searched(admin: AdminClient, given: argparse.Namespace) -> list[TopicPartition]:
    if given.partition is not None:
        return [TopicPartition(given.topic, given.partition)]
    try:
        topics = list(admin.list_topics(include_internal=True)) if given.topic is None else [given.topic]
    except PystreamError as error:
        _fail("Failed to list topics", error)
    try:
        described = [each for batch in _batches(topics) for each in admin.describe_topics(batch).checked().items()]
    except PystreamError as error:
        _fail(f"Failed to describe {len(topics)} topics", error)
    return [
        TopicPartition(name, each.partition)
        for name, topic in described
        for each in topic.partitions
        if given.broker_id is None or given.broker_id in each.replicas
    ]


def _batches(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def _old_ones(
    admin: AdminClient, given: argparse.Namespace, places: Sequence[TopicPartition], now_ms: int
) -> list[Open]:
    found: list[Open] = []
    for batch in _batches(places):
        try:
            told = admin.describe_producers(batch, broker_id=given.broker_id).checked()
        except PystreamError as error:
            broker = "Optional.empty" if given.broker_id is None else f"Optional[{given.broker_id}]"
            _fail(f"Failed to describe producers for {len(batch)} partitions on broker {broker}", error)
        found += [
            (place, each)
            for place, producers in told.items()
            for each in producers
            if each.current_transaction_start_offset >= 0
            and now_ms - each.last_timestamp > given.max_transaction_timeout * MINUTE_MS
        ]
    return found


def _unknown(admin: AdminClient, candidates: Sequence[Open]) -> list[Open]:
    """Those whose coordinator has no transaction under way on the partition."""
    if not candidates:
        return []
    producer_ids = {producer.producer_id for _, producer in candidates}
    try:
        names = {each.producer_id: each.transactional_id for each in admin.list_transactions(producer_ids=producer_ids)}
    except PystreamError as error:
        _fail(f"Failed to list transactions for {len(producer_ids)} producers", error)
    described = admin.describe_transactions(names.values())
    for failure in described.failed.values():
        if not isinstance(failure, TransactionalIdNotFound):
            _fail(f"Failed to describe {len(names)} transactions", failure)
    known = described.succeeded
    return [
        (place, producer)
        for place, producer in candidates
        if (name := names.get(producer.producer_id)) is None or name not in known or place not in known[name].partitions
    ]


if __name__ == "__main__":
    main()
