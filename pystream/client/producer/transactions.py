"""Transactions: the producer's half of Kafka's protocol, in both versions.

    initialize ──► READY ──begin──► OPEN ──commit──► COMMITTING ──► READY
                     ▲               │ a record or a request failed
                     │               ▼
                     └── ABORTING ◄── BROKEN (abort, then begin anew)          any ──► FAILED: fenced, not authorized

Version 1 (KIP-98): each partition is added to the transaction before its first batch is sent. Version 2 (KIP-890,
transaction.version=2 of the cluster): leaders add them, and each end of a transaction raises the producer's epoch.
Where version 1 leaves sequences in doubt the epoch is raised after the abort (KIP-360).

What begins or ends transactions is a task: who waited for it and gave up (max.block.ms, cancelled) calls the same
again, and gets what became of it even when it has ended meanwhile. Until then nothing else is begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from enum import Enum, auto
from typing import Any, Final, NamedTuple, TypeVar

from pystream._native.accumulator import Accumulator
from pystream._native.delivery import ProducerBatch
from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.coordinators import CoordinatorKind
from pystream.client.cluster.retry import Deadline, is_retriable
from pystream.client.config import ProducerConfig
from pystream.client.producer.offsets import OffsetsToSend, committed_topics, group_fields
from pystream.client.producer.sequencing import (
    FATAL,
    LATEST_PRODUCE,
    NO_PRODUCER_ID,
    Idempotence,
    Place,
    Verdict,
    again,
)
from pystream.common.error_codes import NONE
from pystream.common.errors import (
    ClientError,
    CommitFailed,
    ConcurrentTransactions,
    CoordinatorNotAvailable,
    DeadlineExceeded,
    DuplicateSequenceNumber,
    FencedInstanceId,
    GroupAuthorizationFailed,
    IllegalGeneration,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTransactionTimeout,
    InvalidTxnState,
    NetworkFailure,
    NotCoordinator,
    OperationNotAttempted,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    PystreamError,
    RequestTimedOut,
    StaleMemberEpoch,
    TopicAuthorizationFailed,
    TransactionAbortable,
    UnknownMemberId,
    UnknownProducerId,
    UnknownTopicOrPartition,
    error_class,
)
from pystream.common.logging import get_logger
from pystream.net.connection import Connection
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.message import Message
from pystream.protocol.messages.add_offsets_to_txn import AddOffsetsToTxnRequest
from pystream.protocol.messages.add_partitions_to_txn import AddPartitionsToTxnRequest, AddPartitionsToTxnTopic
from pystream.protocol.messages.end_txn import EndTxnRequest
from pystream.protocol.messages.init_producer_id import InitProducerIdRequest
from pystream.protocol.messages.txn_offset_commit import TxnOffsetCommitRequest

logger = get_logger(__name__)

T = TypeVar("T")
FEATURE: Final = "transaction.version"
CONCURRENT_MS: Final = 20  # to wait for the end of the transaction before, which is under way
LAST_VERSIONS_OF_1: Final = {ApiKey.PRODUCE: 11, ApiKey.END_TXN: 4, ApiKey.TXN_OFFSET_COMMIT: 4}
CLIENTS_ADD_PARTITIONS: Final = 3  # later versions of AddPartitionsToTxn are for brokers
EPOCH_IN_INIT_SINCE: Final = 3
TWO_PHASE_SINCE: Final = 6
LOST_COORDINATOR: Final = (NotCoordinator, CoordinatorNotAvailable, NetworkFailure, RequestTimedOut)
ABORTABLE: Final = (
    UnknownProducerId,
    TransactionAbortable,
    TopicAuthorizationFailed,
    GroupAuthorizationFailed,
    FencedInstanceId,
    CommitFailed,
    OperationNotAttempted,
)


class State(Enum):
    """Where the producer is in the life of a transaction."""

    NEW = auto()
    READY = auto()
    OPEN = auto()
    BROKEN = auto()
    COMMITTING = auto()
    ABORTING = auto()
    FAILED = auto()


class _UnderWay(NamedTuple):
    """What somebody waits for, or gave up waiting for; calling the same again waits for it."""

    what: str
    task: asyncio.Task[None]


class Transactions(Idempotence):
    """A producer with a transactional id."""

    def __init__(
        self,
        config: ProducerConfig,
        cluster: Cluster,
        accumulator: Accumulator,
        *,
        wake: Callable[[], None],
        fatal: Callable[[PystreamError], None],
        flush: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(cluster, accumulator, wake=wake, fatal=fatal)
        assert config.transactional_id is not None
        self._transactional_id: str = config.transactional_id
        self.state = State.NEW
        self.version = 1
        self._config = config
        self._flush = flush
        self._error: PystreamError | None = None
        self._refusal: PystreamError | None = None  # why what is tried again and again was refused last
        self._under_way: _UnderWay | None = None
        self._added: set[Place] = set()
        self._to_add: set[Place] = set()
        self._adding = False
        self._started = False  # the coordinator or a leader was told of it
        self._must_raise_epoch = False

    # --- what the sender asks -----------------------------------------------------------------------------------------

    @property
    def transactional_id(self) -> str:
        return self._transactional_id

    def may_send(self) -> bool:
        return self.state in (State.OPEN, State.COMMITTING) and self.producer_id != NO_PRODUCER_ID

    def admits(self, topic: str, partition: int) -> bool:
        if self.version >= 2:
            self._started = True
            return True
        if (topic, partition) in self._added:
            return True
        self._to_add.add((topic, partition))
        if not self._adding:
            self._adding = True
            self._cluster.spawn("add partitions to a transaction", self._add_partitions())
        return False

    def judge(self, batch: ProducerBatch, error: PystreamError, log_start_offset: int) -> Verdict:
        if isinstance(error, DuplicateSequenceNumber):
            return Verdict.DELIVERED
        if self.state in (State.BROKEN, State.ABORTING):  # it is not sent any more: nobody shall wait for it
            return Verdict.GIVE_UP
        if isinstance(error, OutOfOrderSequenceNumber):
            return Verdict.GIVE_UP if self._shows_a_gap(batch) else Verdict.AGAIN
        return Verdict.AGAIN if is_retriable(error) else Verdict.GIVE_UP

    def given_up(self, batch: ProducerBatch, error: PystreamError, *, answered: bool) -> bool:
        if isinstance(error, FATAL):
            self._fail(error)
            return False
        if not answered and batch.attempts > 0:
            self._note_unresolved(batch)
        self._must_raise_epoch = True
        self._break(error)
        return answered

    # --- what the faces ask -------------------------------------------------------------------------------------------

    def check_open(self) -> None:
        """May records be sent? Raises TransactionAbortable, InvalidTxnState, and what the producer failed with."""
        if self.state is not State.OPEN or self._under_way is not None:
            self._refuse("send")

    async def initialize(self) -> None:
        """Get a producer id, and fence and end what an earlier producer of this transactional id left behind."""
        if self._under_way is None and self.state is not State.NEW:
            self._refuse("init_transactions")
        await self._wait_for("init_transactions", self._initialize)

    def begin(self) -> None:
        """Begin a transaction."""
        if self.state is not State.READY or self._under_way is not None:
            self._refuse("begin_transaction")
        self.state = State.OPEN

    async def commit(self) -> None:
        """Flush, then commit. Raises TransactionAbortable where a record failed: abort then."""
        if self._under_way is None:
            if self.state is not State.OPEN:
                self._refuse("commit_transaction")
            self.state = State.COMMITTING
        await self._wait_for("commit_transaction", self._commit)

    async def abort(self) -> None:
        """Drop what was not sent yet, and have consumers with read_committed never see what was."""
        if self._under_way is None:
            if self.state not in (State.OPEN, State.BROKEN):
                self._refuse("abort_transaction")
            self.state = State.ABORTING
        await self._wait_for("abort_transaction", self._abort)

    async def send_offsets(self, offsets: OffsetsToSend, group: Any) -> None:
        """Commit a consumer's offsets with the transaction; `offsets` are those of the next records to read."""
        if self.state is not State.OPEN or self._under_way is not None:
            self._refuse("send_offsets_to_transaction")
        if not offsets:
            return
        self._refusal = None
        deadline = Deadline(self._cluster.clock, self._config.max_block_ms, "send_offsets_to_transaction")
        try:
            async with asyncio.timeout(self._config.max_block_ms / 1000):
                if self.version < 2:
                    await self._persist(self._add_offsets, group_fields(group)["group_id"])
                self._started = True
                await self._commit_offsets(offsets, group)
        except TimeoutError:
            raise deadline.exceeded(self._refusal) from None
        except PystreamError as error:
            self._sort(error)
            raise

    @property
    def can_be_aborted(self) -> bool:
        """Whether abort() has something to do now."""
        return self.state in (State.OPEN, State.BROKEN) and self._under_way is None

    async def finish_for_close(self) -> None:
        """Wait for what is under way and abort what is open, as the producer is about to close, for max.block.ms each.

        When this fails the coordinator's time-out does it.
        """
        if self._under_way is not None:
            await asyncio.wait([self._under_way.task], timeout=self._config.max_block_ms / 1000)
            if self._under_way.task.done():
                self._under_way = None
        if self.can_be_aborted:
            await self.abort()

    # --- states -------------------------------------------------------------------------------------------------------

    def _refuse(self, what: str) -> None:
        """Raise why `what` cannot be done now."""
        under_way = self._under_way
        if self.state is State.FAILED:
            assert self._error is not None
            raise again(self._error)
        if under_way is not None:
            raise InvalidTxnState(
                f"{what}: nobody has waited for {under_way.what} to end: call {under_way.what} again and wait for it"
            )
        if self.state is State.BROKEN:
            raise self._broken(what) from self._error
        remedy = {
            State.NEW: "call init_transactions first",
            State.READY: "call begin_transaction first",
            State.OPEN: "a transaction is open: commit or abort it first",
            State.COMMITTING: "the transaction is being committed",
            State.ABORTING: "the transaction is being aborted",
        }[self.state]
        if what == "init_transactions" and self.state is State.READY:
            remedy = "transactions are initialized already"
        raise InvalidTxnState(f"{what}: {remedy}")

    def _broken(self, what: str) -> TransactionAbortable:
        return TransactionAbortable(
            f"{what}: the transaction of {self.transactional_id!r} cannot be committed any more: abort it and begin "
            f"anew; the cause was: {self._error}"
        )

    def _break(self, error: PystreamError) -> None:
        """The transaction can only be aborted, or aborted once more."""
        if self.state in (State.OPEN, State.COMMITTING, State.ABORTING):
            logger.info("transaction broken", transactional_id=self.transactional_id, error=error)
            self.state = State.BROKEN
            self._error = error
            self._drop(TransactionAbortable(f"not sent, because the transaction is to be aborted: {error}"))

    def _fail(self, error: PystreamError) -> None:
        """The producer can only be closed."""
        if self.state is not State.FAILED:
            self.state = State.FAILED
            self._error = error
            self._fatal(error)

    def _sort(self, error: PystreamError) -> None:
        """What a failed request means for the transaction."""
        if isinstance(error, TransactionAbortable) and self.state is State.ABORTING:
            self._fail(
                ClientError(
                    f"the transaction of {self.transactional_id!r} could not be aborted: close this producer and make "
                    f"a new one, whose init_transactions ends it; the broker said: {error}"
                )
            )
        elif isinstance(error, ABORTABLE):
            if isinstance(error, UnknownProducerId):
                self._must_raise_epoch = True
            self._break(error)
        elif not isinstance(error, DeadlineExceeded):
            self._fail(error)

    def _drop(self, error: PystreamError) -> None:
        """All that is not in flight fails with `error`."""
        for batch in self._accumulator.take_all():
            self._accumulator.fail(batch, error)

    async def _wait_for(self, what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Wait for the task that does `work`, the one that is under way or a new one, for max.block.ms."""
        if self._under_way is None:
            self._refusal = None
            self._under_way = _UnderWay(what, self._cluster.spawn(what, work()))
        elif self._under_way.what != what:
            self._refuse(what)
        task = self._under_way.task
        deadline = Deadline(self._cluster.clock, self._config.max_block_ms, what)
        try:
            async with asyncio.timeout(self._config.max_block_ms / 1000):
                await asyncio.shield(task)
        except TimeoutError:
            raise deadline.exceeded(self._refusal or self._error) from None
        finally:
            if task.done() and self._under_way is not None and self._under_way.task is task:
                self._under_way = None

    # --- the work -----------------------------------------------------------------------------------------------------

    async def _initialize(self) -> None:
        try:
            await self._persist(self._ask_for_epoch)
        except PystreamError as error:
            self._fail(error)
            raise
        self.state = State.READY

    async def _commit(self) -> None:
        await self._flush()
        if self.state is State.FAILED:
            self._refuse("commit_transaction")
        if self.state is not State.COMMITTING:
            raise self._broken("commit_transaction") from self._error
        await self._end(committed=True)

    async def _abort(self) -> None:
        self._to_add.clear()
        self._drop(TransactionAbortable("the transaction was aborted before the record was sent"))
        for batch in self._accumulator.incomplete():
            await batch
        await self._end(committed=False)

    async def _end(self, *, committed: bool) -> None:
        version = self.version
        try:
            if self._started:
                await self._persist(self._ask_to_end, committed)
            # From version 2 on the end of the transaction has raised the epoch; what is learnt now holds for the next.
            if version < 2 and (self._must_raise_epoch or self.version > version):
                await self._persist(self._ask_for_epoch)
        except PystreamError as error:
            self._sort(error)
            if self.state is State.FAILED:
                assert self._error is not None
                raise again(self._error) from error
            raise
        self._added.clear()
        self._to_add.clear()
        self._unresolved.clear()
        self._error = None
        self._started = self._must_raise_epoch = False
        self.state = State.READY

    async def _persist(self, request: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        """Try until it is done or refused for good; whoever waits has a deadline."""
        failures = 0
        while True:
            try:
                await request(*arguments)
                return
            except PystreamError as error:
                if isinstance(error, LOST_COORDINATOR):
                    self._cluster.coordinators.forget(CoordinatorKind.TRANSACTION, self.transactional_id)
                elif not is_retriable(error) and not isinstance(error, DeadlineExceeded):
                    raise self._explained(error) from error
                self._refusal = error
                failures += 1
                delay_ms = self._cluster.backoff.delay_ms(failures)
                if isinstance(error, ConcurrentTransactions):
                    delay_ms = min(delay_ms, CONCURRENT_MS)
            await self._cluster.clock.sleep_ms(delay_ms)

    def _explained(self, error: PystreamError) -> PystreamError:
        name = repr(self.transactional_id)
        if isinstance(error, InvalidProducerEpoch | ProducerFenced):
            return ProducerFenced(
                f"another producer with transactional.id={name} took over, or the transaction timed out "
                f"(transaction.timeout.ms={self._config.transaction_timeout_ms}): close this one"
            )
        if isinstance(error, InvalidProducerIdMapping):
            return InvalidProducerIdMapping(
                f"the coordinator knows transactional.id={name} no more, or by another producer id; was it idle for "
                "the brokers' transactional.id.expiration.ms? Close this producer and make a new one"
            )
        if isinstance(error, InvalidTransactionTimeout):
            return InvalidTransactionTimeout(
                f"transaction.timeout.ms={self._config.transaction_timeout_ms} is above the brokers' "
                "transaction.max.timeout.ms: lower it"
            )
        return error

    # --- requests -----------------------------------------------------------------------------------------------------

    async def _coordinator(self) -> Connection:
        return await self._cluster.coordinator(CoordinatorKind.TRANSACTION, self.transactional_id)

    async def _ask(self, connection: Connection, request: Message, highest: int = LATEST_PRODUCE) -> Any:
        if self.version < 2:
            highest = min(highest, LAST_VERSIONS_OF_1.get(ApiKey(request.API_KEY), highest))
        return await connection.request(request, connection.version_of(request.API_KEY, 0, highest))

    async def _ask_for_epoch(self) -> None:
        """The first producer id, or the next epoch of the one there is."""
        connection = await self._coordinator()
        two_phase = self._config.transaction_two_phase_commit_enable
        version = connection.version_of(ApiKey.INIT_PRODUCER_ID, TWO_PHASE_SINCE if two_phase else 0)
        request = InitProducerIdRequest(
            transactional_id=self.transactional_id,
            transaction_timeout_ms=self._config.transaction_timeout_ms,
            producer_id=self.producer_id if version >= EPOCH_IN_INIT_SINCE else NO_PRODUCER_ID,
            producer_epoch=self.producer_epoch if version >= EPOCH_IN_INIT_SINCE else -1,
            enable2_pc=two_phase,
        )
        response = await connection.request(request, version)
        _raise(response.error_code, f"a producer id for {self.transactional_id!r}")
        self._learn_version(connection)
        self.become(response.producer_id, response.producer_epoch)

    def _learn_version(self, connection: Connection) -> None:
        found = 1
        if connection.features is not None:
            for feature in connection.features.finalized_features:
                if feature.name == FEATURE:
                    found = max(feature.max_version_level, 1)
        self.version = found
        self.highest_produce_version = LATEST_PRODUCE if found >= 2 else LAST_VERSIONS_OF_1[ApiKey.PRODUCE]

    async def _add_partitions(self) -> None:
        try:
            while self._to_add:
                places = set(self._to_add)
                await self._persist(self._ask_to_add, places)
                self._to_add -= places
        except PystreamError as error:
            self._to_add.clear()
            self._sort(error)
        finally:
            self._adding = False
            self._wake()

    async def _ask_to_add(self, places: set[Place]) -> None:
        by_topic: dict[str, list[int]] = {}
        for topic, partition in sorted(places):
            by_topic.setdefault(topic, []).append(partition)
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=self.transactional_id,
            v3_and_below_producer_id=self.producer_id,
            v3_and_below_producer_epoch=self.producer_epoch,
            v3_and_below_topics=[AddPartitionsToTxnTopic(name=n, partitions=p) for n, p in by_topic.items()],
        )
        self._started = True
        response = await self._ask(await self._coordinator(), request, CLIENTS_ADD_PARTITIONS)
        refused: list[PystreamError] = []
        for topic in response.results_by_topic_v3_and_below:
            for told in topic.results_by_partition:
                if told.partition_error_code == NONE:
                    self._added.add((topic.name, told.partition_index))
                else:
                    text = f"{topic.name}-{told.partition_index}: it was not added to the transaction"
                    refused.append(error_class(told.partition_error_code)(text))
        refused.sort(key=lambda error: (isinstance(error, OperationNotAttempted), is_retriable(error)))
        if refused:
            raise _as_abortable(refused[0])

    async def _add_offsets(self, group_id: str) -> None:
        request = AddOffsetsToTxnRequest(
            transactional_id=self.transactional_id,
            producer_id=self.producer_id,
            producer_epoch=self.producer_epoch,
            group_id=group_id,
        )
        response = await self._ask(await self._coordinator(), request)
        _raise(response.error_code, f"the offsets of group {group_id!r} in the transaction")

    async def _commit_offsets(self, offsets: OffsetsToSend, group: Any) -> None:
        fields = group_fields(group)
        left = {(topic, partition): offset for (topic, partition), offset in offsets.items()}

        async def attempt() -> None:
            connection = await self._cluster.coordinator(CoordinatorKind.GROUP, fields["group_id"])
            request = TxnOffsetCommitRequest(
                transactional_id=self.transactional_id,
                producer_id=self.producer_id,
                producer_epoch=self.producer_epoch,
                topics=committed_topics(left),
                **fields,
            )
            try:
                response = await self._ask(connection, request)
                for topic in response.topics:
                    for told in topic.partitions:
                        _raise(told.error_code, f"the offset of {topic.name}-{told.partition_index}")
                        left.pop((topic.name, told.partition_index), None)
            except LOST_COORDINATOR:
                self._cluster.coordinators.forget(CoordinatorKind.GROUP, fields["group_id"])
                raise
            except (UnknownMemberId, IllegalGeneration, StaleMemberEpoch) as error:
                raise CommitFailed(
                    f"the offsets of group {fields['group_id']!r} were refused, as the group has rebalanced: abort the "
                    f"transaction, and read on from what is assigned now; the broker said: {error}"
                ) from error

        await self._persist(attempt)

    async def _ask_to_end(self, committed: bool) -> None:
        request = EndTxnRequest(
            transactional_id=self.transactional_id,
            producer_id=self.producer_id,
            producer_epoch=self.producer_epoch,
            committed=committed,
        )
        connection = await self._coordinator()
        response = await self._ask(connection, request)
        _raise(response.error_code, "the end of the transaction")
        if response.producer_id != NO_PRODUCER_ID:
            self.become(response.producer_id, response.producer_epoch)
        self._learn_version(connection)


def _raise(error_code: int, what: str) -> None:
    if error_code != NONE:
        raise error_class(error_code)(f"{what} was refused")


def _as_abortable(error: PystreamError) -> PystreamError:
    """Of a partition that was not added: what is neither to be tried again nor fatal breaks only the transaction."""
    fatal = (*FATAL, InvalidProducerEpoch, InvalidTxnState)
    if is_retriable(error) or isinstance(error, (*fatal, *ABORTABLE, UnknownTopicOrPartition)):
        return error
    return TransactionAbortable(str(error))
