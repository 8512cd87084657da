"""The transaction machine, one operation at a time. Codes are Kafka 4.2's: see its TransactionCoordinator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import re2

from pystream.common.clock import DAY_MS
from pystream.common.error_codes import (
    CONCURRENT_TRANSACTIONS,
    INVALID_PRODUCER_ID_MAPPING,
    INVALID_TRANSACTION_TIMEOUT,
    INVALID_TXN_STATE,
    NONE,
    PRODUCER_FENCED,
    TRANSACTION_ABORTABLE,
)
from pystream.common.model import TRANSACTION_STATE_TOPIC
from pystream.coordinator.machine import Effects, Record
from pystream.coordinator.transaction.config import TransactionConfig
from pystream.coordinator.transaction.shard import (
    FORGOTTEN_AT_A_TIME,
    NEEDS_PRODUCER_ID,
    Ending,
    Identity,
    Listed,
    Result,
    TransactionShard,
)
from pystream.coordinator.transaction.state import LARGEST_EPOCH, Transaction, TransactionState
from pystream.protocol.coordinator_records.codec import RecordCodec

P0, P1 = ("events", 0), ("events", 1)
TIMEOUT_MS = 60_000
FIRST = Identity(7, 0)


class Machine:
    """A shard, its clock, and everything that it has written."""

    def __init__(self) -> None:
        self.shard = TransactionShard(3, TransactionConfig())
        self.effects = Effects(self.shard.replay)
        self.now_ms = 1_000_000
        self.records: list[Record] = []

    def ask(self, operation: Callable[..., None], **arguments: Any) -> Any:
        operation(self.shard, 1, self.now_ms, self.effects, **arguments)
        (answer,) = self.effects.answers
        self.effects.answers.clear()
        self.records += self.effects.records
        self.effects.records.clear()
        return answer.response

    def restart(self) -> None:
        """The shard that reads the log from its start."""
        codec = RecordCodec(TRANSACTION_STATE_TOPIC)
        self.shard = TransactionShard(3, TransactionConfig())
        self.effects = Effects(self.shard.replay)
        for record in self.records:
            decoded = codec.decode(*codec.encode(record.key, record.value))
            self.shard.replay(Record(decoded.key, decoded.value))

    def init(
        self, expected: Identity | None = None, *, fresh_id: int = 7, server_version: int = 2, **rest: Any
    ) -> Result:
        arguments = {"transactional_id": "t", "timeout_ms": TIMEOUT_MS, **rest}
        result: Result = self.ask(
            TransactionShard.init_producer,
            expected=expected,
            fresh_id=fresh_id,
            server_version=server_version,
            **arguments,
        )
        return result

    def add(self, *places: tuple[str, int], producer: Identity = FIRST, version: int = 2) -> int:
        code: int = self.ask(
            TransactionShard.add_partitions,
            transactional_id="t",
            producer=producer,
            partitions=frozenset(places),
            client_version=version,
        )
        return code

    def end(self, *, commit: bool, producer: Identity = FIRST, version: int = 2, fresh_id: int = -1) -> Result:
        result: Result = self.ask(
            TransactionShard.end,
            transactional_id="t",
            producer=producer,
            commit=commit,
            client_version=version,
            fresh_id=fresh_id,
        )
        return result

    def complete(self, ending: Ending | None) -> bool:
        assert ending is not None
        done: bool = self.ask(TransactionShard.complete, ending=ending)
        return done

    def verify(self, *places: tuple[str, int], producer: Identity = FIRST) -> dict[tuple[str, int], int]:
        codes: dict[tuple[str, int], int] = self.ask(
            TransactionShard.verify_partitions,
            transactional_id="t",
            producer=producer,
            partitions=frozenset(places),
        )
        return codes

    @property
    def transaction(self) -> Transaction:
        return self.shard.transactions["t"]

    def set(self, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(self.transaction, name, value)


@pytest.fixture
def machine() -> Machine:
    return Machine()


# ---- InitProducerId


def test_a_new_id_gets_a_fresh_producer_id_and_epoch_0(machine: Machine) -> None:
    assert machine.init(fresh_id=-1) == Result(NEEDS_PRODUCER_ID)
    assert machine.records == []
    assert machine.init(fresh_id=7) == Result(NONE, 7, 0)
    assert machine.transaction.state is TransactionState.EMPTY


def test_every_further_init_raises_the_epoch_and_fences_the_one_before(machine: Machine) -> None:
    machine.init()
    assert machine.init() == Result(NONE, 7, 1)
    assert machine.add(P0) == PRODUCER_FENCED
    assert machine.add(P0, producer=Identity(7, 1)) == NONE


@pytest.mark.parametrize("timeout_ms", [0, -1, 900_001])
def test_a_time_out_beyond_the_limit_is_refused(machine: Machine, timeout_ms: int) -> None:
    assert machine.init(timeout_ms=timeout_ms) == Result(INVALID_TRANSACTION_TIMEOUT)


@pytest.mark.parametrize(("server_version", "last_epoch"), [(2, 0), (0, -1)])
def test_init_over_an_open_transaction_aborts_it_first(machine: Machine, server_version: int, last_epoch: int) -> None:
    machine.init()
    machine.add(P0)
    result = machine.init(server_version=server_version)
    assert result.error == CONCURRENT_TRANSACTIONS
    assert result.ending == Ending("t", 7, 1, False, frozenset([P0]), server_version)
    assert machine.transaction.last_producer_epoch == last_epoch
    assert machine.init() == Result(CONCURRENT_TRANSACTIONS)
    assert machine.complete(result.ending)
    assert machine.init() == Result(NONE, 7, 2)


def test_a_producer_that_recovers_keeps_its_place_and_may_repeat_itself(machine: Machine) -> None:
    machine.init()
    assert machine.init(Identity(7, 0)) == Result(NONE, 7, 1)
    assert machine.init(Identity(7, 0)) == Result(NONE, 7, 1)  # the answer was lost
    assert machine.init(Identity(7, 1)) == Result(NONE, 7, 2)
    assert machine.init() == Result(NONE, 7, 3)  # somebody else
    assert machine.init(Identity(7, 2)) == Result(PRODUCER_FENCED)
    assert machine.init(Identity(8, 3)) == Result(PRODUCER_FENCED)


def test_the_last_epoch_of_all_is_never_given_out(machine: Machine) -> None:
    machine.init()
    machine.set(producer_epoch=LARGEST_EPOCH - 1)
    assert machine.init(fresh_id=-1) == Result(NEEDS_PRODUCER_ID)
    assert machine.init(fresh_id=9) == Result(NONE, 9, 0)
    assert machine.init(Identity(7, LARGEST_EPOCH - 1), fresh_id=-1) == Result(PRODUCER_FENCED)


def test_a_repeated_recovery_across_the_last_epoch_is_answered_with_the_new_id(machine: Machine) -> None:
    machine.init()
    machine.set(producer_epoch=LARGEST_EPOCH - 1)
    assert machine.init(Identity(7, LARGEST_EPOCH - 1), fresh_id=9) == Result(NONE, 9, 0)
    assert machine.init(Identity(7, LARGEST_EPOCH - 1), fresh_id=10) == Result(NONE, 9, 0)


# ---- partitions


def test_the_first_partition_opens_the_transaction_and_others_join(machine: Machine) -> None:
    machine.init()
    assert machine.add(P0) == NONE
    written = len(machine.records)
    assert machine.add(P0) == NONE
    assert len(machine.records) == written  # it was there already
    assert machine.add(P1) == NONE
    assert machine.transaction.partitions == {P0, P1}
    assert machine.transaction.start_ms == machine.now_ms


def test_partitions_are_added_by_the_current_producer_only(machine: Machine) -> None:
    assert machine.add(P0) == INVALID_PRODUCER_ID_MAPPING
    machine.init()
    assert machine.add(P0, producer=Identity(8, 0)) == INVALID_PRODUCER_ID_MAPPING
    assert machine.add(P0, producer=Identity(7, 1)) == PRODUCER_FENCED


def test_nothing_joins_while_the_transaction_before_is_ended(machine: Machine) -> None:
    machine.init()
    machine.add(P0)
    result = machine.end(commit=True)
    assert machine.add(P0, producer=Identity(7, 1)) == CONCURRENT_TRANSACTIONS
    assert machine.verify(P0, producer=Identity(7, 1)) == {P0: CONCURRENT_TRANSACTIONS}
    machine.complete(result.ending)
    assert machine.add(P0, producer=Identity(7, 1)) == NONE


def test_verifying_tells_each_partition(machine: Machine) -> None:
    assert machine.verify(P0) == {P0: INVALID_PRODUCER_ID_MAPPING}
    machine.init()
    machine.add(P0)
    assert machine.verify(P0, P1) == {P0: NONE, P1: TRANSACTION_ABORTABLE}
    assert machine.verify(P0, producer=Identity(7, 1)) == {P0: PRODUCER_FENCED}


# ---- the end, transactions of version 1


@pytest.mark.parametrize("commit", [True, False])
def test_without_bump_the_producer_goes_on_with_its_epoch(machine: Machine, commit: bool) -> None:
    machine.init()
    machine.add(P0, version=0)
    result = machine.end(commit=commit, version=0)
    assert result == Result(NONE, ending=Ending("t", 7, 0, commit, frozenset([P0]), 0))
    assert machine.end(commit=commit, version=0) == Result(CONCURRENT_TRANSACTIONS)
    assert machine.complete(result.ending)
    assert not machine.complete(result.ending)
    assert machine.end(commit=commit, version=0) == Result(NONE)  # repeated
    assert machine.end(commit=not commit, version=0) == Result(INVALID_TXN_STATE)
    assert machine.add(P0, version=0) == NONE


def test_without_bump_there_must_be_a_transaction_of_this_producer(machine: Machine) -> None:
    assert machine.end(commit=True, version=0) == Result(INVALID_PRODUCER_ID_MAPPING)
    machine.init()
    assert machine.end(commit=False, version=0) == Result(INVALID_TXN_STATE)
    assert machine.end(commit=True, version=0, producer=Identity(7, 1)) == Result(PRODUCER_FENCED)
    assert machine.end(commit=True, version=0, producer=Identity(9, 0)) == Result(INVALID_PRODUCER_ID_MAPPING)


# ---- the end, transactions of version 2


@pytest.mark.parametrize("commit", [True, False])
def test_with_bump_every_end_raises_the_epoch_and_a_repetition_is_told_the_same(machine: Machine, commit: bool) -> None:
    machine.init()
    machine.add(P0)
    result = machine.end(commit=commit)
    assert result == Result(NONE, 7, 1, Ending("t", 7, 1, commit, frozenset([P0]), 2))
    assert machine.end(commit=commit) == Result(CONCURRENT_TRANSACTIONS)
    machine.complete(result.ending)
    assert machine.end(commit=commit) == Result(NONE, 7, 1)
    assert machine.end(commit=not commit) == Result(INVALID_TXN_STATE)
    assert machine.end(commit=True, producer=Identity(7, 1)) == Result(INVALID_TXN_STATE)


def test_with_bump_an_abort_of_nothing_raises_the_epoch_too(machine: Machine) -> None:
    machine.init()
    assert machine.end(commit=True) == Result(INVALID_TXN_STATE)
    result = machine.end(commit=False)
    assert (result.error, result.producer_epoch) == (NONE, 1)
    assert result.ending is not None
    assert result.ending.partitions == frozenset()
    machine.complete(result.ending)
    again = machine.end(commit=False, producer=Identity(7, 1))
    assert (again.error, again.producer_epoch) == (NONE, 2)


def test_with_bump_only_the_current_epoch_ends_a_transaction(machine: Machine) -> None:
    machine.init()
    machine.init()
    machine.add(P0, producer=Identity(7, 1))
    assert machine.end(commit=True) == Result(PRODUCER_FENCED)
    assert machine.end(commit=True, producer=Identity(7, 2)) == Result(PRODUCER_FENCED)
    assert machine.end(commit=True, producer=Identity(8, 1)) == Result(INVALID_PRODUCER_ID_MAPPING)


def test_a_zombie_of_version_2_is_not_taken_for_a_repetition_of_an_end_without_bump(machine: Machine) -> None:
    """Found by tests/model: it would have been told the epoch of the producer that has fenced it."""
    machine.init()
    current = Identity(7, 1)
    machine.init()
    machine.add(P0, producer=current, version=0)
    machine.complete(machine.end(commit=True, producer=current, version=0).ending)
    assert machine.end(commit=True, producer=Identity(7, 0)) == Result(PRODUCER_FENCED)


def test_when_the_epochs_are_used_up_the_end_brings_a_new_producer_id(machine: Machine) -> None:
    machine.init()
    last = Identity(7, LARGEST_EPOCH - 1)
    machine.set(producer_epoch=last.producer_epoch)
    machine.add(P0, producer=last)
    assert machine.end(commit=True, producer=last) == Result(NEEDS_PRODUCER_ID)
    result = machine.end(commit=True, producer=last, fresh_id=20)
    assert (result.error, result.producer_id, result.producer_epoch) == (NONE, 20, 0)
    assert result.ending is not None
    assert result.ending[1:3] == (7, LARGEST_EPOCH)
    assert machine.add(P0, producer=Identity(20, 0)) == CONCURRENT_TRANSACTIONS
    machine.restart()
    assert machine.shard.unfinished() == [result.ending]
    machine.complete(result.ending)
    assert machine.end(commit=True, producer=last) == Result(NONE, 20, 0)  # repeated
    assert machine.add(P0, producer=Identity(20, 0)) == NONE


# ---- time, restarts, listings


def test_an_open_transaction_is_aborted_after_its_time_out_and_its_producer_fenced(machine: Machine) -> None:
    machine.init()
    machine.add(P0)
    machine.now_ms += TIMEOUT_MS
    assert machine.shard.timed_out(machine.now_ms) == []
    machine.now_ms += 1
    assert machine.shard.timed_out(machine.now_ms) == ["t"]
    ending = machine.ask(TransactionShard.abort_timed_out, transactional_id="t", server_version=2)
    assert ending == Ending("t", 7, 1, False, frozenset([P0]), 2)
    assert machine.ask(TransactionShard.abort_timed_out, transactional_id="t", server_version=2) is None
    machine.complete(ending)
    assert machine.add(P0) == PRODUCER_FENCED
    assert machine.transaction.state is TransactionState.COMPLETE_ABORT


def test_a_restart_knows_everything_but_the_last_epoch(machine: Machine) -> None:
    machine.init()
    machine.add(P0, P1, ("other", 5))
    ending = machine.end(commit=True).ending
    before = machine.transaction
    machine.restart()
    before.last_producer_epoch = -1
    assert machine.transaction == before
    assert machine.shard.unfinished() == [ending]
    assert machine.ask(TransactionShard.report_unfinished) == [ending]
    assert machine.complete(ending)
    assert machine.shard.unfinished() == []


def test_ids_without_a_transaction_are_forgotten_after_a_week(machine: Machine) -> None:
    machine.init()
    machine.init(transactional_id="open", fresh_id=8)
    machine.ask(
        TransactionShard.add_partitions,
        transactional_id="open",
        producer=Identity(8, 0),
        partitions=frozenset([P0]),
        client_version=2,
    )
    machine.now_ms += 7 * DAY_MS
    assert not machine.ask(TransactionShard.expire_ids)
    assert list(machine.shard.transactions) == ["open"]
    machine.restart()
    assert list(machine.shard.transactions) == ["open"]


def test_many_ids_are_forgotten_some_at_a_time(machine: Machine) -> None:
    for number in range(FORGOTTEN_AT_A_TIME + 1):
        machine.init(transactional_id=f"t-{number}", fresh_id=number)
    machine.now_ms += 7 * DAY_MS
    assert machine.ask(TransactionShard.expire_ids), "there are more"
    assert len(machine.shard.transactions) == 1
    assert not machine.ask(TransactionShard.expire_ids)
    assert machine.shard.transactions == {}


def test_listings_are_filtered_by_state_producer_duration_and_pattern(machine: Machine) -> None:
    machine.init()
    machine.init(transactional_id="u", fresh_id=8)
    machine.add(P0)
    machine.now_ms += 100

    def listed(**filters: Any) -> list[str]:
        chosen = {"producer_ids": (), "states": (), "duration_ms": -1, "pattern": None, **filters}
        return [each.transactional_id for each in machine.shard.listed(machine.now_ms, **chosen)]

    assert listed() == ["t", "u"]
    assert listed(states=["Ongoing"]) == ["t"]
    assert listed(states=["Ongoing", "Nonsense"]) == ["t"]
    assert listed(states=["Nonsense"]) == []
    assert listed(producer_ids=[8]) == ["u"]
    assert listed(duration_ms=100, states=["Ongoing"]) == []
    assert listed(duration_ms=99, states=["Ongoing"]) == ["t"]
    assert listed(pattern=re2.compile("[tx]")) == ["t"]
    assert listed(pattern=re2.compile("")) == []
    everything = machine.shard.listed(0, producer_ids=(), states=(), duration_ms=-1, pattern=None)
    assert everything == [Listed("t", 7, "Ongoing"), Listed("u", 8, "Empty")]


def test_no_transaction_begins_in_the_epoch_that_cannot_be_raised(machine: Machine) -> None:
    machine.init()
    machine.shard.transactions["t"].producer_epoch = LARGEST_EPOCH
    assert machine.add(P0, producer=Identity(7, LARGEST_EPOCH)) == PRODUCER_FENCED
