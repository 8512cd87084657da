"""One partition of `__transaction_state`: its transactional ids, and what requests do to them.

A pure machine (see coordinator.machine). An answer waits until its records are committed; only then may its `Ending` be
acted on, so that no marker is ever written for a decision that could be lost:

    end, init over an open transaction, timeout ──► Prepare* committed ──► markers everywhere ──► complete ──► Complete*

A state that is prepared answers CONCURRENT_TRANSACTIONS to what would begin the next transaction, until `complete`.

Source: KIP-98, KIP-360, KIP-447, KIP-890; Kafka 4.2's TransactionCoordinator, whose order of checks is kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from pystream.common.error_codes import (
    CONCURRENT_TRANSACTIONS,
    INVALID_PRODUCER_ID_MAPPING,
    INVALID_TRANSACTION_TIMEOUT,
    INVALID_TXN_STATE,
    NONE,
    PRODUCER_FENCED,
    TRANSACTION_ABORTABLE,
)
from pystream.common.logging import get_logger
from pystream.common.model import NO_PRODUCER_EPOCH, NO_PRODUCER_ID
from pystream.coordinator.machine import Effects, Record, Ticket, Timers
from pystream.coordinator.transaction.config import TransactionConfig
from pystream.coordinator.transaction.state import (
    COMPLETE,
    EXPIRABLE,
    FIRST_BUMPING_VERSION,
    LARGEST_EPOCH,
    NO_PARTITIONS,
    NO_TIMESTAMP,
    STATES_BY_LABEL,
    TopicPartitions,
    Transaction,
    TransactionState,
    from_value,
    to_value,
)
from pystream.protocol.coordinator_records.transaction_log import TransactionLogKey, TransactionLogValue

logger = get_logger(__name__)

FORGOTTEN_AT_A_TIME = 1_000  # transactional ids: some milliseconds
NEEDS_PRODUCER_ID = -2  # no error code: the operation is to be asked again with a fresh id


class Ending(NamedTuple):
    """A transaction whose end is decided: markers with this producer and epoch go to all partitions."""

    transactional_id: str
    producer_id: int
    producer_epoch: int
    committed: bool
    partitions: TopicPartitions
    transaction_version: int


class Result(NamedTuple):
    """What an operation answers; `ending` is to be carried out now that it is committed."""

    error: int
    producer_id: int = NO_PRODUCER_ID
    producer_epoch: int = NO_PRODUCER_EPOCH
    ending: Ending | None = None


class Identity(NamedTuple):
    """Who a producer says it is."""

    producer_id: int
    producer_epoch: int


class Listed(NamedTuple):
    """One line of ListTransactions."""

    transactional_id: str
    producer_id: int
    state: str


class TransactionShard:
    """See the head of this module."""

    def __init__(
        self, partition: int, config: TransactionConfig, on_loaded: Callable[[TransactionShard], None] | None = None
    ) -> None:
        """`on_loaded` is told when the log has been read, so that somebody asks for report_unfinished()."""
        self.partition = partition
        self.timers = Timers()
        self.transactions: dict[str, Transaction] = {}
        self._config = config
        self._on_loaded = on_loaded

    # ---- what the runtime calls

    def replay(self, record: Record) -> None:
        key, value = record.key, record.value
        if not isinstance(key, TransactionLogKey):
            logger.limited("record of another kind in the transaction log", partition=self.partition, kind=type(key))
            return
        if value is None:
            self.transactions.pop(key.transactional_id, None)
            return
        assert isinstance(value, TransactionLogValue), "the codec pairs keys and values"
        try:
            self.transactions[key.transactional_id] = from_value(key.transactional_id, value)
        except ValueError as error:
            logger.limited("transaction in a state that does not exist", partition=self.partition, error=error)

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        """There are no transactional records in this topic."""

    def loaded(self, now_ms: int, effects: Effects) -> None:
        """What was prepared and not finished is somebody else's to carry out."""
        if self._on_loaded is not None:
            self._on_loaded(self)

    def unloaded(self, effects: Effects) -> None:
        """Nobody waits in this machine."""

    def unfinished(self) -> list[Ending]:
        """Transactions whose end is decided and not yet written everywhere."""
        return [_ending_of(found) for found in self.transactions.values() if found.is_prepared]

    def report_unfinished(self, ticket: Ticket, now_ms: int, effects: Effects) -> None:
        """Answers unfinished(), as soon as everything that was loaded is committed."""
        effects.answer(ticket, self.unfinished())

    # ---- InitProducerId

    def init_producer(
        self,
        ticket: Ticket,
        now_ms: int,
        effects: Effects,
        *,
        transactional_id: str,
        timeout_ms: int,
        expected: Identity | None,
        server_version: int,
        fresh_id: int = NO_PRODUCER_ID,
    ) -> None:
        """A producer begins, or recovers (`expected`): its epoch is raised, its open transaction aborted first."""
        found = self.transactions.get(transactional_id)
        if not 0 < timeout_ms <= self._config.maximum_timeout_ms:
            result = Result(INVALID_TRANSACTION_TIMEOUT)
        elif found is None:
            result = self._create(now_ms, effects, transactional_id, timeout_ms, fresh_id)
        elif found.is_prepared:
            result = Result(CONCURRENT_TRANSACTIONS)
        elif expected is not None and not _may_continue(found, expected):
            result = Result(PRODUCER_FENCED)
        elif found.state is TransactionState.ONGOING:
            ending = self._fence(now_ms, effects, found, server_version)
            result = Result(CONCURRENT_TRANSACTIONS, ending=ending)
        else:
            result = self._raise_epoch(now_ms, effects, found, timeout_ms, expected, fresh_id)
        effects.answer(ticket, result)

    def _create(self, now_ms: int, effects: Effects, transactional_id: str, timeout_ms: int, fresh_id: int) -> Result:
        if fresh_id == NO_PRODUCER_ID:
            return Result(NEEDS_PRODUCER_ID)
        fresh = Transaction(transactional_id, fresh_id, 0, timeout_ms, last_update_ms=now_ms)
        self._write(effects, fresh)
        return Result(NONE, fresh_id, 0)

    def _raise_epoch(
        self,
        now_ms: int,
        effects: Effects,
        found: Transaction,
        timeout_ms: int,
        expected: Identity | None,
        fresh_id: int,
    ) -> Result:
        empty = replace(
            found,
            state=TransactionState.EMPTY,
            timeout_ms=timeout_ms,
            partitions=NO_PARTITIONS,
            start_ms=NO_TIMESTAMP,
            last_update_ms=now_ms,
            previous_producer_id=found.producer_id,
        )
        if found.is_epoch_exhausted and (expected is None or expected.producer_epoch == found.producer_epoch):
            if fresh_id == NO_PRODUCER_ID:
                return Result(NEEDS_PRODUCER_ID)
            empty.producer_id, empty.producer_epoch = fresh_id, 0
            empty.last_producer_epoch = NO_PRODUCER_EPOCH if expected is None else found.producer_epoch
        elif expected is None:
            empty.producer_epoch += 1
            empty.last_producer_epoch = NO_PRODUCER_EPOCH
        elif expected.producer_epoch == found.producer_epoch:
            empty.producer_epoch += 1
            empty.last_producer_epoch = found.producer_epoch
        elif expected.producer_epoch != found.last_producer_epoch:
            return Result(PRODUCER_FENCED)
        # else: a repeated request whose answer was lost; nobody has come in between, or the last epoch would be gone
        self._write(effects, empty)
        return Result(NONE, empty.producer_id, empty.producer_epoch)

    # ---- partitions

    def add_partitions(
        self,
        ticket: Ticket,
        now_ms: int,
        effects: Effects,
        *,
        transactional_id: str,
        producer: Identity,
        partitions: TopicPartitions,
        client_version: int,
    ) -> None:
        """Partitions join the producer's transaction, which begins with the first of them. Answers an error code."""
        found = self.transactions.get(transactional_id)
        error = NONE
        if found is None:
            error = INVALID_PRODUCER_ID_MAPPING
        elif found.is_prepared:  # first: the producer may have the id already that follows when this is complete
            error = CONCURRENT_TRANSACTIONS
        elif found.producer_id != producer.producer_id:
            error = INVALID_PRODUCER_ID_MAPPING
        elif found.producer_epoch != producer.producer_epoch or found.producer_epoch >= LARGEST_EPOCH:
            error = PRODUCER_FENCED  # the last epoch of all is given to nobody: what it began could not be ended
        elif found.state is not TransactionState.ONGOING:
            self._write(
                effects,
                replace(
                    found,
                    state=TransactionState.ONGOING,
                    partitions=partitions,
                    start_ms=now_ms,
                    last_update_ms=now_ms,
                    client_version=client_version,
                    previous_producer_id=found.producer_id,
                ),
            )
        elif not partitions <= found.partitions:
            joined = found.partitions | partitions
            self._write(
                effects, replace(found, partitions=joined, last_update_ms=now_ms, client_version=client_version)
            )
        effects.answer(ticket, error)

    def verify_partitions(
        self,
        ticket: Ticket,
        now_ms: int,
        effects: Effects,
        *,
        transactional_id: str,
        producer: Identity,
        partitions: TopicPartitions,
    ) -> None:
        """Whether partitions are in the producer's open transaction. Answers {(topic, partition): error code}."""
        found = self.transactions.get(transactional_id)
        if found is None or found.producer_id != producer.producer_id:
            errors = dict.fromkeys(partitions, INVALID_PRODUCER_ID_MAPPING)
        elif found.producer_epoch != producer.producer_epoch:
            errors = dict.fromkeys(partitions, PRODUCER_FENCED)
        elif found.is_prepared:
            errors = dict.fromkeys(partitions, CONCURRENT_TRANSACTIONS)
        else:
            errors = {each: NONE if each in found.partitions else TRANSACTION_ABORTABLE for each in partitions}
        effects.answer(ticket, errors)

    # ---- the end

    def end(
        self,
        ticket: Ticket,
        now_ms: int,
        effects: Effects,
        *,
        transactional_id: str,
        producer: Identity,
        commit: bool,
        client_version: int,
        fresh_id: int = NO_PRODUCER_ID,
    ) -> None:
        """EndTxn of a client. With version 2 the answer tells who the producer is from now on."""
        found = self.transactions.get(transactional_id)
        if found is None:
            result = Result(INVALID_PRODUCER_ID_MAPPING)
        elif client_version < FIRST_BUMPING_VERSION:
            result = self._end_without_bump(now_ms, effects, found, producer, commit)
        elif found.is_prepared:
            result = Result(CONCURRENT_TRANSACTIONS)
        else:
            result = self._end_with_bump(now_ms, effects, found, producer, commit, client_version, fresh_id)
        effects.answer(ticket, result)

    def _end_without_bump(
        self, now_ms: int, effects: Effects, found: Transaction, producer: Identity, commit: bool
    ) -> Result:
        if found.producer_id != producer.producer_id:
            return Result(INVALID_PRODUCER_ID_MAPPING)
        if found.producer_epoch != producer.producer_epoch:
            return Result(PRODUCER_FENCED)
        if found.is_prepared:
            return Result(CONCURRENT_TRANSACTIONS)
        if found.state is TransactionState.ONGOING:
            prepared = replace(found, state=_prepared(commit), last_update_ms=now_ms, client_version=0)
            self._write(effects, prepared)
            return Result(NONE, ending=_ending_of(prepared))
        repeated = TransactionState.COMPLETE_COMMIT if commit else TransactionState.COMPLETE_ABORT
        return Result(NONE if found.state is repeated else INVALID_TXN_STATE)

    def _end_with_bump(
        self,
        now_ms: int,
        effects: Effects,
        found: Transaction,
        producer: Identity,
        commit: bool,
        client_version: int,
        fresh_id: int,
    ) -> Result:
        overflowed = (
            found.previous_producer_id == producer.producer_id
            and producer.producer_epoch == LARGEST_EPOCH - 1
            and found.producer_epoch == 0
        )
        # An end without a bump cannot be repeated with the epoch before: that would be a zombie of another version.
        repeated = (
            found.state in COMPLETE
            and found.client_version >= FIRST_BUMPING_VERSION
            and (overflowed or found.producer_epoch == producer.producer_epoch + 1)
        )
        if found.producer_id != producer.producer_id and not overflowed:
            return Result(INVALID_PRODUCER_ID_MAPPING)
        if not repeated and found.producer_epoch != producer.producer_epoch:
            return Result(PRODUCER_FENCED)
        if repeated:
            same = found.state is (TransactionState.COMPLETE_COMMIT if commit else TransactionState.COMPLETE_ABORT)
            return Result(NONE, found.producer_id, found.producer_epoch) if same else Result(INVALID_TXN_STATE)
        if commit and found.state is not TransactionState.ONGOING:
            return Result(INVALID_TXN_STATE)
        if found.is_epoch_exhausted and fresh_id == NO_PRODUCER_ID:
            return Result(NEEDS_PRODUCER_ID)
        prepared = self._prepare_with_bump(now_ms, found, commit, client_version)
        if found.is_epoch_exhausted:
            prepared.next_producer_id = fresh_id
        self._write(effects, prepared)
        producer_id, epoch = prepared.producer_id, prepared.producer_epoch
        if prepared.next_producer_id != NO_PRODUCER_ID:
            producer_id, epoch = prepared.next_producer_id, 0
        return Result(NONE, producer_id, epoch, _ending_of(prepared))

    def _prepare_with_bump(self, now_ms: int, found: Transaction, commit: bool, version: int) -> Transaction:
        is_open = found.state is TransactionState.ONGOING
        return replace(
            found,
            state=_prepared(commit),
            producer_epoch=found.producer_epoch + 1,
            last_producer_epoch=found.producer_epoch,
            partitions=found.partitions if is_open else NO_PARTITIONS,
            start_ms=found.start_ms if is_open else now_ms,
            last_update_ms=now_ms,
            client_version=version,
            previous_producer_id=found.producer_id,
            next_producer_id=NO_PRODUCER_ID,
        )

    def _fence(self, now_ms: int, effects: Effects, found: Transaction, server_version: int) -> Ending:
        """Abort an open transaction against its producer's will: its epoch is over."""
        prepared = self._prepare_with_bump(now_ms, found, False, server_version)
        if server_version < FIRST_BUMPING_VERSION:
            prepared.client_version = 0
            prepared.last_producer_epoch = NO_PRODUCER_EPOCH
        self._write(effects, prepared)
        return _ending_of(prepared)

    def complete(self, ticket: Ticket, now_ms: int, effects: Effects, *, ending: Ending) -> None:
        """All markers of `ending` are committed. Answers whether this was the transaction's state.

        Nobody waits for this record to be committed: without it, the markers are written once more after a crash. What
        comes next in the transaction's log comes behind it, and mostly in the same write.
        """
        found = self.transactions.get(ending.transactional_id)
        if found is None or not found.is_prepared or _ending_of(found) != ending:
            effects.answer(ticket, False, at_once=True)
            return
        committed = found.state is TransactionState.PREPARE_COMMIT
        complete = replace(
            found,
            state=TransactionState.COMPLETE_COMMIT if committed else TransactionState.COMPLETE_ABORT,
            partitions=NO_PARTITIONS,
            last_update_ms=now_ms,
            previous_producer_id=found.producer_id,
            next_producer_id=NO_PRODUCER_ID,
        )
        if found.next_producer_id != NO_PRODUCER_ID:
            complete.producer_id, complete.producer_epoch = found.next_producer_id, 0
        self._write(effects, complete, patient=True)
        effects.answer(ticket, True, at_once=True)

    # ---- what time does

    def timed_out(self, now_ms: int) -> list[str]:
        """Transactional ids whose open transaction has outlived its time-out."""
        return [
            found.transactional_id
            for found in self.transactions.values()
            if found.state is TransactionState.ONGOING and found.start_ms + found.timeout_ms < now_ms
        ]

    def abort_timed_out(
        self, ticket: Ticket, now_ms: int, effects: Effects, *, transactional_id: str, server_version: int
    ) -> None:
        """Answers the ending, or None when the transaction has ended by itself meanwhile."""
        found = self.transactions.get(transactional_id)
        if found is None or found.state is not TransactionState.ONGOING or found.start_ms + found.timeout_ms >= now_ms:
            effects.answer(ticket, None, at_once=True)
        else:
            effects.answer(ticket, self._fence(now_ms, effects, found, server_version))

    def expire_ids(self, ticket: Ticket, now_ms: int, effects: Effects) -> None:
        """Forget ids that have had no transaction for long, some at a time. Answers whether there are more."""
        oldest_ms = now_ms - self._config.id_expiration_ms
        expired = (
            found.transactional_id
            for found in self.transactions.values()
            if found.state in EXPIRABLE and found.last_update_ms <= oldest_ms
        )
        some = list(itertools.islice(expired, FORGOTTEN_AT_A_TIME))
        for transactional_id in some:
            effects.write(TransactionLogKey(transactional_id=transactional_id), None)
        effects.answer(ticket, len(some) == FORGOTTEN_AT_A_TIME)

    # ---- telling

    def listed(
        self,
        now_ms: int,
        *,
        producer_ids: Iterable[int],
        states: Iterable[str],
        duration_ms: int,
        pattern: Any | None,
    ) -> list[Listed]:
        """The ids that pass all filters; an empty filter, a negative duration and no pattern let all pass.

        `pattern` is a compiled regular expression that a whole id must match.
        """
        ids = frozenset(producer_ids)
        names = frozenset(states)
        wanted = frozenset(STATES_BY_LABEL[name] for name in names if name in STATES_BY_LABEL)
        return [
            Listed(found.transactional_id, found.producer_id, found.state.label)
            for found in self.transactions.values()
            if (not ids or found.producer_id in ids)
            and (not names or found.state in wanted)
            and (duration_ms < 0 or now_ms - found.start_ms > duration_ms)
            and (pattern is None or pattern.fullmatch(found.transactional_id) is not None)
        ]

    def _write(self, effects: Effects, transaction: Transaction, *, patient: bool = False) -> None:
        key = TransactionLogKey(transactional_id=transaction.transactional_id)
        effects.write(key, to_value(transaction), patient=patient)
        self.transactions[transaction.transactional_id].last_producer_epoch = transaction.last_producer_epoch


def _prepared(commit: bool) -> TransactionState:
    return TransactionState.PREPARE_COMMIT if commit else TransactionState.PREPARE_ABORT


def _ending_of(prepared: Transaction) -> Ending:
    return Ending(
        prepared.transactional_id,
        prepared.producer_id,
        prepared.producer_epoch,
        prepared.state is TransactionState.PREPARE_COMMIT,
        prepared.partitions,
        prepared.client_version,
    )


def _may_continue(found: Transaction, expected: Identity) -> bool:
    """A producer that names its identity is this id's producer, or it repeats a request that used up its last epoch."""
    return expected.producer_id == found.producer_id or (
        expected.producer_id == found.previous_producer_id and expected.producer_epoch >= LARGEST_EPOCH - 1
    )
