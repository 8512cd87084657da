"""The transaction coordinator over the runtime: permits, markers that fail and are sent again, loading, time-outs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from pystream.broker.monitoring.transaction_metrics import transaction_families
from pystream.common.clock import ManualClock
from pystream.common.error_codes import (
    CONCURRENT_TRANSACTIONS,
    INVALID_PRODUCER_EPOCH,
    INVALID_PRODUCER_ID_MAPPING,
    INVALID_TXN_STATE,
    NONE,
    NOT_ENOUGH_REPLICAS,
    NOT_LEADER_OR_FOLLOWER,
    TRANSACTION_ABORTABLE,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from pystream.common.errors import CoordinatorNotAvailable, KafkaStorageError, NotCoordinator
from pystream.common.model import TRANSACTION_STATE_TOPIC
from pystream.common.tasks import Supervisor
from pystream.coordinator.ports import MarkerBatch
from pystream.coordinator.runtime import WRITE_TIMEOUT_MS, CoordinatorRuntime
from pystream.coordinator.transaction.config import TransactionConfig
from pystream.coordinator.transaction.coordinator import Question, TransactionCoordinator, question_of
from pystream.coordinator.transaction.shard import FORGOTTEN_AT_A_TIME, Identity, TransactionShard
from pystream.coordinator.transaction.state import TransactionState
from pystream.protocol.messages.add_partitions_to_txn import AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction
from tests.support.coordinator_log import MemoryLog
from tests.unit.coordinator.test_runtime import in_a_loop, turns

P0, P1 = ("events", 0), ("events", 1)
BOTH = frozenset([P0, P1])
PRODUCER = Identity(100, 0)


class Ports:
    """Records what is asked of it; `failures` are given before a marker is taken."""

    def __init__(self) -> None:
        self.permits: list[tuple[str, int, int, int]] = []
        self.markers: list[tuple[tuple[str, int], MarkerBatch, int]] = []
        self.failures: dict[tuple[str, int], list[int]] = {}
        self.deleted: set[tuple[str, int]] = set()
        self.version = 2
        self.last_id = 99

    def exists(self, topic: str, partition: int) -> bool:
        return (topic, partition) not in self.deleted

    def permit(self, topic: str, partition: int, producer_id: int, producer_epoch: int) -> None:
        self.permits.append((topic, partition, producer_id, producer_epoch))

    async def write_markers(
        self, places: Sequence[tuple[str, int]], marker: MarkerBatch, transaction_version: int
    ) -> dict[tuple[str, int], int]:
        codes = {}
        for place in places:
            self.markers.append((place, marker, transaction_version))
            left = self.failures.get(place)
            codes[place] = left.pop(0) if left else NONE
        return codes

    def coordinator_epoch(self, partition: int) -> int:
        return 5

    def transaction_version(self) -> int:
        return self.version

    async def next_producer_id(self) -> int:
        self.last_id += 1
        return self.last_id


class Rig:
    def __init__(self, log: MemoryLog, supervisor: Supervisor, clock: ManualClock, concurrent_wait_ms: int) -> None:
        self.log = log
        self.clock = clock
        self.ports = Ports()
        config = TransactionConfig(concurrent_wait_ms=concurrent_wait_ms)
        self.runtime: CoordinatorRuntime[TransactionShard] = CoordinatorRuntime(
            TRANSACTION_STATE_TOPIC, lambda partition: self.shard_of(partition), log, log, clock, supervisor
        )
        self.config = config
        self.coordinator = TransactionCoordinator(self.runtime, config, self.ports, clock, supervisor)
        self.runtime.set_partition_count(1)

    def shard_of(self, partition: int) -> TransactionShard:
        return TransactionShard(partition, self.config, self.coordinator.loaded)

    def coordinator_faults(self) -> int:
        return self.coordinator._supervisor.faults

    async def settle(self) -> None:
        """Everything that is written is committed, and what follows of it is done."""
        for _ in range(5):
            await turns()
            self.runtime.committed(0, self.log.commit(0))
        await turns()

    async def after(self, work: object) -> object:
        """What `work` gives, with the log committing all the while."""
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        await self.settle()
        return await task

    async def begin(self, *places: tuple[str, int]) -> None:
        await self.after(self.coordinator.init_producer("t", 60_000, None))
        assert await self.after(self.add(*places)) == NONE

    async def add(self, *places: tuple[str, int], producer: Identity = PRODUCER) -> int:
        return await self.coordinator.add_partitions("t", producer, frozenset(places), client_version=2)

    @property
    def state(self) -> TransactionState:
        shard = self.runtime.shard(0)
        assert shard is not None
        return shard.transactions["t"].state


@asynccontextmanager
async def rig(log: MemoryLog | None = None, concurrent_wait_ms: int = 0) -> AsyncIterator[Rig]:
    clock = ManualClock()
    async with Supervisor("test", clock) as supervisor:
        made = Rig(log or MemoryLog(commits_at_once=False), supervisor, clock, concurrent_wait_ms)
        made.runtime.load(0)
        await made.settle()
        yield made
        assert supervisor.failure is None


@in_a_loop
async def test_partitions_that_joined_are_permitted_before_the_answer() -> None:
    async with rig() as made:
        await made.begin(P0, P1)
        assert sorted(made.ports.permits) == [("events", 0, 100, 0), ("events", 1, 100, 0)]


@in_a_loop
async def test_no_marker_is_sent_before_the_decision_is_committed() -> None:
    async with rig() as made:
        await made.begin(P0)
        ending = asyncio.ensure_future(made.coordinator.end("t", PRODUCER, commit=True, client_version=2))
        await turns()
        assert not ending.done()
        assert made.ports.markers == []
        await made.settle()
        assert (await ending)[:3] == (NONE, 100, 1)
        assert made.ports.markers == [(P0, MarkerBatch(100, 1, True, 5), 2)]
        assert made.state is TransactionState.COMPLETE_COMMIT


@in_a_loop
async def test_markers_that_fail_are_sent_again_alone_until_all_are_written() -> None:
    async with rig() as made:
        await made.begin(P0, P1)
        made.ports.failures[P1] = [NOT_LEADER_OR_FOLLOWER] * 3
        await made.after(made.coordinator.end("t", PRODUCER, commit=False, client_version=2))
        for _ in range(3):
            assert made.state is TransactionState.PREPARE_ABORT
            made.clock.advance(made.config.longest_marker_delay_ms)
            await made.settle()
        assert [place for place, _, _ in made.ports.markers] == [P0, P1, P1, P1, P1]
        assert made.state is TransactionState.COMPLETE_ABORT


@in_a_loop
async def test_a_deleted_partition_and_one_that_is_fenced_hold_nothing_up() -> None:
    async with rig() as made:
        await made.begin(P0, P1)
        made.ports.deleted.add(P0)
        made.ports.failures = {P0: [UNKNOWN_TOPIC_OR_PARTITION], P1: [INVALID_PRODUCER_EPOCH]}
        await made.after(made.coordinator.end("t", PRODUCER, commit=True, client_version=2))
        assert made.state is TransactionState.COMPLETE_COMMIT


@in_a_loop
async def test_what_was_prepared_before_a_crash_is_finished_by_who_loads_the_log() -> None:
    log = MemoryLog(commits_at_once=False)
    async with rig(log) as made:
        await made.begin(P0)
        made.ports.failures[P0] = [NOT_LEADER_OR_FOLLOWER] * 100
        await made.after(made.coordinator.end("t", PRODUCER, commit=True, client_version=2))
        assert made.state is TransactionState.PREPARE_COMMIT
    async with rig(log) as made:
        await made.settle()
        assert made.ports.markers == [(P0, MarkerBatch(100, 1, True, 5), 2)]
        assert made.state is TransactionState.COMPLETE_COMMIT


@in_a_loop
async def test_a_decision_whose_commit_took_too_long_is_carried_out_all_the_same() -> None:
    async with rig() as made:
        await made.begin(P0)
        ending = asyncio.ensure_future(made.coordinator.end("t", PRODUCER, commit=True, client_version=2))
        await turns()
        made.clock.advance(WRITE_TIMEOUT_MS + 1)
        await turns()
        with pytest.raises(CoordinatorNotAvailable):
            await ending
        await made.settle()
        assert made.state is TransactionState.PREPARE_COMMIT
        await made.after(made.coordinator.abort_timed_out())
        assert made.state is TransactionState.COMPLETE_COMMIT


@in_a_loop
async def test_what_comes_while_the_transaction_is_ended_is_told_to_wait() -> None:
    async with rig() as made:
        await made.begin(P0)
        made.ports.failures[P0] = [NOT_LEADER_OR_FOLLOWER]
        await made.after(made.coordinator.end("t", PRODUCER, commit=True, client_version=2))
        after = Identity(100, 1)
        assert await made.after(made.add(P0, producer=after)) == CONCURRENT_TRANSACTIONS
        question = Question(12, "t", after, frozenset([P0]))
        assert await made.after(made.coordinator.vouch(question)) == CONCURRENT_TRANSACTIONS
        old = Question(11, "t", after, frozenset([P0]))
        assert await made.after(made.coordinator.vouch(old)) == NOT_ENOUGH_REPLICAS


@in_a_loop
async def test_who_is_told_of_the_end_after_it_does_not_wait_for_it() -> None:
    async with rig(concurrent_wait_ms=300) as made:
        await made.begin(P0)
        found = await made.after(made.coordinator.init_producer("u", 60_000, None))
        other = Identity(found.producer_id, found.producer_epoch)
        ending = asyncio.ensure_future(made.coordinator.end("t", PRODUCER, commit=True, client_version=2))
        await turns()
        prepared = made.log.end_offset(0)
        another = asyncio.ensure_future(made.coordinator.add_partitions("u", other, frozenset([P0]), client_version=2))
        await turns()
        adding = asyncio.ensure_future(made.add(P0, producer=Identity(100, 1)))  # answered after the other's record
        await turns()
        made.runtime.committed(0, prepared)
        await turns()
        assert made.state is TransactionState.COMPLETE_COMMIT
        assert not adding.done()
        assert await made.after(adding) == NONE
        assert (await ending).error == await another == NONE


@in_a_loop
async def test_a_transaction_that_timed_out_is_aborted_with_a_higher_epoch() -> None:
    async with rig() as made:
        await made.begin(P0)
        made.clock.advance(60_001)
        await made.after(made.coordinator.abort_timed_out())
        assert made.ports.markers == [(P0, MarkerBatch(100, 1, False, 5), 2)]
        assert made.state is TransactionState.COMPLETE_ABORT


@in_a_loop
async def test_ids_that_expire_are_all_forgotten_in_one_round_however_many() -> None:
    async with rig(MemoryLog()) as made:
        for number in range(2 * FORGOTTEN_AT_A_TIME + 1):
            await made.coordinator.init_producer(f"t-{number}", 60_000, None)
        shard = made.runtime.shard(0)
        assert shard is not None
        made.clock.advance(made.config.id_expiration_ms + 1)
        await made.coordinator.expire_ids()
        assert shard.transactions == {}


@in_a_loop
async def test_a_produce_of_transactions_2_adds_its_partitions_and_is_let_in() -> None:
    async with rig() as made:
        await made.begin(P0)
        assert await made.after(made.coordinator.vouch(Question(12, "t", PRODUCER, BOTH))) == NONE
        assert ("events", 1, 100, 0) in made.ports.permits
        fenced = Question(12, "t", Identity(100, 7), BOTH)
        assert await made.after(made.coordinator.vouch(fenced)) == INVALID_PRODUCER_EPOCH
        unknown = Question(12, "other", PRODUCER, BOTH)
        assert await made.after(made.coordinator.vouch(unknown)) == INVALID_PRODUCER_ID_MAPPING


@in_a_loop
async def test_an_older_produce_is_let_into_what_its_client_has_added_and_nothing_else() -> None:
    async with rig() as made:
        await made.begin(P0)
        made.ports.permits.clear()
        assert await made.after(made.coordinator.vouch(Question(11, "t", PRODUCER, BOTH))) == TRANSACTION_ABORTABLE
        assert await made.after(made.coordinator.vouch(Question(9, "t", PRODUCER, BOTH))) == INVALID_TXN_STATE
        assert made.ports.permits == [("events", 0, 100, 0)] * 2


@in_a_loop
async def test_offsets_are_committed_in_a_transaction_that_holds_their_partition() -> None:
    async with rig() as made:
        await made.begin(P0)
        offsets = ("__consumer_offsets", 3)
        refused = made.coordinator.join_offsets("t", PRODUCER, offsets, implicitly=False)
        assert await made.after(refused) == TRANSACTION_ABORTABLE
        joined = made.coordinator.join_offsets("t", PRODUCER, offsets, implicitly=True)
        assert await made.after(joined) == NONE
        assert made.coordinator.may_commit_offsets("t", PRODUCER, offsets)
        await made.after(made.coordinator.end("t", PRODUCER, commit=True, client_version=2))
        assert not made.coordinator.may_commit_offsets("t", PRODUCER, offsets)


def test_a_produce_of_two_producers_is_refused() -> None:
    def asked(producer_id: int) -> AddPartitionsToTxnTransaction:
        topics = [AddPartitionsToTxnTopic(name="events", partitions=[producer_id])]
        return AddPartitionsToTxnTransaction(transactional_id="t", producer_id=producer_id, topics=topics)

    assert question_of(12, [asked(1), asked(2)]) == INVALID_PRODUCER_ID_MAPPING
    assert question_of(12, [asked(1)]) == Question(12, "t", Identity(1, 0), frozenset([("events", 1)]))


@in_a_loop
async def test_markers_that_fail_in_an_odd_way_are_written_by_the_next_look():
    async with rig() as found:
        await found.begin(P0)
        write_markers = found.ports.write_markers

        async def fail(*arguments: object) -> dict[tuple[str, int], int]:
            raise ValueError("bug")

        found.ports.write_markers = fail
        await found.after(found.coordinator.end("t", PRODUCER, commit=True, client_version=2))
        assert found.coordinator_faults() == 1
        found.ports.write_markers = write_markers
        await found.after(found.coordinator.abort_timed_out())
        assert [place for place, _, _ in found.ports.markers] == [P0]


def figures(made: Rig) -> dict[str, float]:
    """What the metrics say, by name and labels without quotes."""
    found = {}
    for family in transaction_families(made.coordinator):
        for sample in family.samples:
            labels = "".join(f" {value}" for _, value in sample.labels)
            found[f"{family.name}{sample.suffix}{labels}"] = sample.value
    return found


@in_a_loop
async def test_metrics_tell_of_states_loads_and_markers_that_wait() -> None:
    async with rig() as made:
        assert figures(made)["kafka_server_transactioncoordinatormetrics_partition_load_time_max"] == 0
        made.ports.failures[P0] = [NOT_ENOUGH_REPLICAS]
        await made.begin(P0, P1)
        assert figures(made)["pystream_transactions Ongoing"] == 1
        await made.after(made.coordinator.end("t", PRODUCER, commit=True, client_version=2))
        prefix = "kafka_coordinator_transaction_transactionmarkerchannelmanager_"
        assert figures(made)[f"{prefix}unknowndestinationqueuesize"] == 1
        assert figures(made)["pystream_transactions PrepareCommit"] == 1
        made.log.append_error = made.log.read_error = KafkaStorageError()
        with pytest.raises(NotCoordinator):
            await made.after(made.coordinator.init_producer("another", 60_000, None))
        made.clock.advance(30_000)
        await turns()
        assert figures(made)[f"{prefix}unknowndestinationqueuesize"] == 0
        assert figures(made)[f"{prefix}logappendretryqueuesize"] == 1
        made.log.append_error = made.log.read_error = None
        for _ in range(3):
            made.clock.advance(30_000)
            await made.settle()
        assert figures(made)[f"{prefix}logappendretryqueuesize"] == 0
        assert figures(made)["pystream_transactions CompleteCommit"] == 1
        made.clock.advance(30_000)
        assert math.isnan(figures(made)["kafka_server_transactioncoordinatormetrics_partition_load_time_avg"])


@in_a_loop
async def test_metrics_count_verifications_and_those_that_fail() -> None:
    async with rig() as made:
        await made.begin(P0)
        await made.after(made.coordinator.vouch(Question(11, "t", PRODUCER, frozenset([P0]))))
        await made.after(made.coordinator.vouch(Question(11, "t", PRODUCER, BOTH)))
        found = figures(made)
        assert found["kafka_server_addpartitionstotxnmanager_verificationfailurerate_total"] == 1
        assert found["kafka_server_addpartitionstotxnmanager_verificationtimems_count"] == 2
