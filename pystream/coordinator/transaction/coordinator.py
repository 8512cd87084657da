"""The transaction coordinator that handlers call: requests to shards, decisions to the markers, permits to the plane.

A Produce of a transaction that a partition does not know is held back by the data plane, which asks here:

    version >= 12   the partition joins the transaction by being written to (KIP-890): add_partitions, then a permit
    before          the client has added it: verify, then a permit

A permit is given in the same step of the loop that has looked at the transaction, and the marker takes it away: no
batch can come in behind the marker of its transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple

import re2

from pystream.common.clock import SECOND_MS, SleepingClock
from pystream.common.error_codes import (
    CONCURRENT_TRANSACTIONS,
    COORDINATOR_LOAD_IN_PROGRESS,
    COORDINATOR_NOT_AVAILABLE,
    INVALID_PRODUCER_EPOCH,
    INVALID_PRODUCER_ID_MAPPING,
    INVALID_TXN_STATE,
    NONE,
    NOT_COORDINATOR,
    NOT_ENOUGH_REPLICAS,
    PRODUCER_FENCED,
    TRANSACTION_ABORTABLE,
)
from pystream.common.errors import (
    CoordinatorLoadInProgress,
    InvalidRegularExpression,
    KafkaError,
)
from pystream.common.model import NO_PRODUCER_ID
from pystream.common.tasks import Supervisor
from pystream.coordinator.machine import Effects, Ticket
from pystream.coordinator.runtime import CoordinatorRuntime
from pystream.coordinator.transaction.config import TransactionConfig
from pystream.coordinator.transaction.markers import MarkerSender
from pystream.coordinator.transaction.metrics import VerificationMetrics
from pystream.coordinator.transaction.ports import TransactionPorts
from pystream.coordinator.transaction.shard import (
    NEEDS_PRODUCER_ID,
    Ending,
    Identity,
    Listed,
    Result,
    TransactionShard,
)
from pystream.coordinator.transaction.state import (
    FIRST_BUMPING_VERSION,
    STATES_BY_LABEL,
    TopicPartitions,
    Transaction,
)

Errors = Mapping[tuple[str, int], int]

FIRST_IMPLICIT_PRODUCE = 12  # version of Produce; the partitions join by being written to
FIRST_ABORTABLE_PRODUCE = 11  # version of Produce; its clients know TRANSACTION_ABORTABLE
MAXIMUM_PATTERN = 4_096
PATTERN_MEMORY_BYTES = 1 << 20
_NOT_READY = frozenset({COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR})


class Question(NamedTuple):
    """What a Produce waits for: may this producer write to these partitions in its transaction?"""

    produce_version: int
    transactional_id: str
    producer: Identity
    partitions: TopicPartitions


class TransactionCoordinator:
    """Lives in the broker's loop."""

    def __init__(
        self,
        runtime: CoordinatorRuntime[TransactionShard],
        config: TransactionConfig,
        ports: TransactionPorts,
        clock: SleepingClock,
        supervisor: Supervisor,
    ) -> None:
        self.runtime = runtime
        self._config = config
        self._ports = ports
        self._supervisor = supervisor
        self._waiting: dict[str, list[asyncio.Future[bool]]] = {}
        self._clock = clock
        self.markers = MarkerSender(runtime, config, ports, clock, supervisor, self._wake)
        self.verifications = VerificationMetrics()

    def start(self) -> None:
        """Look after time-outs from here on."""
        self._supervisor.every("abort transactions", self._config.abort_interval_ms, self.abort_timed_out)
        self._supervisor.every("expire transactional ids", self._config.expiration_interval_ms, self.expire_ids)

    def loaded(self, shard: TransactionShard) -> None:
        """A shard has been read from its log: what was decided there and not carried out is carried out now."""
        self._supervisor.attempt("finish transactions", self._finish(shard.partition))

    # ---- requests

    async def init_producer(self, transactional_id: str, timeout_ms: int, expected: Identity | None) -> Result:
        """InitProducerId with a transactional id. Raises KafkaError."""
        return await self._with_fresh_id(
            transactional_id,
            TransactionShard.init_producer,
            timeout_ms=timeout_ms,
            expected=expected,
            server_version=self._ports.transaction_version(),
        )

    async def add_partitions(
        self, transactional_id: str, producer: Identity, partitions: TopicPartitions, *, client_version: int
    ) -> int:
        """An error code; NONE once they are in the transaction and may be written to. Raises KafkaError.

        Waits a little while the transaction before is being ended: that is sooner over than a client asks again.
        """
        deadline = asyncio.get_running_loop().time() + self._config.concurrent_wait_ms / SECOND_MS
        while True:
            code: int = await self._ask(
                transactional_id,
                TransactionShard.add_partitions,
                producer=producer,
                partitions=partitions,
                client_version=client_version,
            )
            if code == NONE:
                return NONE if self._permit(transactional_id, producer, partitions) else CONCURRENT_TRANSACTIONS
            left = deadline - asyncio.get_running_loop().time()
            if code != CONCURRENT_TRANSACTIONS or left <= 0:
                return code
            # The answer was held back until all before it was committed: the transaction may have ended meanwhile.
            if self._is_ending(transactional_id) and not await self._ended(transactional_id, left):
                return code

    async def verify_partitions(self, transactional_id: str, producer: Identity, partitions: TopicPartitions) -> Errors:
        """An error code for each of `partitions`. Raises KafkaError."""
        errors: Errors = await self._ask(
            transactional_id, TransactionShard.verify_partitions, producer=producer, partitions=partitions
        )
        return errors

    async def end(self, transactional_id: str, producer: Identity, *, commit: bool, client_version: int) -> Result:
        """EndTxn. Raises KafkaError."""
        return await self._with_fresh_id(
            transactional_id, TransactionShard.end, producer=producer, commit=commit, client_version=client_version
        )

    def holds(self, transactional_id: str, producer: Identity, partitions: TopicPartitions) -> bool:
        """Whether the partitions are in the producer's open transaction at this moment."""
        found = self._find(transactional_id)
        return found is not None and found.holds(producer.producer_id, producer.producer_epoch, partitions)

    def may_commit_offsets(self, transactional_id: str, producer: Identity, offsets: tuple[str, int]) -> bool:
        """Whether join_offsets() still holds: to be asked in the step of the loop that writes."""
        return not self._config.partition_verification or self.holds(transactional_id, producer, frozenset([offsets]))

    async def vouch(self, question: Question) -> int:
        """Answers the data plane: permits are given, and the code is for partitions that did not get one."""
        began_ms = self._clock.monotonic_ms()
        code = await self._vouch(question)
        self.verifications.note(code, self._clock.monotonic_ms() - began_ms)
        return _told_to_producer(code, question.produce_version)

    async def _vouch(self, question: Question) -> int:
        try:
            if question.produce_version >= FIRST_IMPLICIT_PRODUCE:
                code = await self.add_partitions(
                    question.transactional_id,
                    question.producer,
                    question.partitions,
                    client_version=FIRST_BUMPING_VERSION,
                )
            else:
                code = await self._vouch_for_added(question)
        except KafkaError as error:
            code = error.code
        return code

    async def join_offsets(
        self, transactional_id: str, producer: Identity, offsets: tuple[str, int], *, implicitly: bool
    ) -> int:
        """Whether TxnOffsetCommit may write to this partition of the offsets. An error code."""
        partitions = frozenset([offsets])
        try:
            if implicitly:
                code = await self.add_partitions(
                    transactional_id, producer, partitions, client_version=FIRST_BUMPING_VERSION
                )
            elif self._config.partition_verification:
                code = (await self.verify_partitions(transactional_id, producer, partitions))[offsets]
            else:
                code = NONE
        except KafkaError as error:
            code = error.code
        return INVALID_PRODUCER_EPOCH if code == PRODUCER_FENCED else code

    # ---- telling

    async def describe(self, transactional_id: str) -> Transaction | None:
        """The transaction as it is committed, or None. Raises KafkaError."""

        def run(
            shard: TransactionShard, ticket: Ticket, now_ms: int, effects: Effects, *, transactional_id: str
        ) -> None:
            effects.answer(ticket, shard.transactions.get(transactional_id))

        found: Transaction | None = await self._ask(transactional_id, run)
        return found

    def listed(
        self, producer_ids: Iterable[int], states: Iterable[str], duration_ms: int, pattern: str | None
    ) -> list[Listed]:
        """What this broker coordinates. Raises CoordinatorLoadInProgress, InvalidRegularExpression."""
        compiled = _compiled(pattern) if pattern else None
        ids, names = list(producer_ids), list(states)
        now_ms = self.runtime.now_ms()
        listed: list[Listed] = []
        for partition in self.runtime.led():
            shard = self.runtime.shard(partition)
            if shard is None:
                raise CoordinatorLoadInProgress()
            listed += shard.listed(now_ms, producer_ids=ids, states=names, duration_ms=duration_ms, pattern=compiled)
        return listed

    def unknown_states(self, states: Iterable[str]) -> list[str]:
        """Those that no transaction can be in."""
        return [state for state in states if state not in STATES_BY_LABEL]

    # ---- what time does

    async def abort_timed_out(self) -> None:
        """Abort what has outlived its time-out, and see to it that what is decided is carried out."""
        version = self._ports.transaction_version()
        for shard in list(self.runtime.active()):
            if any(not self.markers.carries_out(ending) for ending in shard.unfinished()):
                # Whoever wrote the decision was told that it takes too long, or waits for it at this moment.
                await self._finish(shard.partition)
            for transactional_id in shard.timed_out(self.runtime.now_ms()):
                try:
                    ending: Ending | None = await self._ask(
                        transactional_id, TransactionShard.abort_timed_out, server_version=version
                    )
                except KafkaError:
                    break  # the next round, or the next coordinator
                if ending is not None:
                    self.markers.start(shard.partition, ending)

    async def expire_ids(self) -> None:
        """Forget transactional ids that nobody uses."""
        for shard in list(self.runtime.active()):
            try:
                while await _settled(self.runtime.submit(shard.partition, TransactionShard.expire_ids)):
                    await self._clock.sleep_ms(0)  # requests come in between
            except KafkaError:
                continue

    async def _finish(self, partition: int) -> None:
        try:
            endings = await _settled(self.runtime.submit(partition, TransactionShard.report_unfinished))
        except KafkaError:
            return  # it is loaded again and comes back here, or the next round does
        for ending in endings:
            self.markers.start(partition, ending)

    # ---- parts

    async def _ask(self, transactional_id: str, operation: Callable[..., None], **arguments: Any) -> Any:
        """Run an operation on the shard of the id; its answer, when it is committed."""

        def run(shard: TransactionShard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
            operation(shard, ticket, now_ms, effects, transactional_id=transactional_id, **arguments)

        return await _settled(self.runtime.submit(self.runtime.partition_for(transactional_id), run))

    async def _with_fresh_id(self, transactional_id: str, operation: Callable[..., None], **arguments: Any) -> Result:
        fresh_id = NO_PRODUCER_ID
        while True:
            result: Result = await self._ask(transactional_id, operation, fresh_id=fresh_id, **arguments)
            if result.error != NEEDS_PRODUCER_ID:
                break
            fresh_id = await self._ports.next_producer_id()
        if result.ending is not None:
            self.markers.start(self.runtime.partition_for(transactional_id), result.ending)
        return result

    async def _vouch_for_added(self, question: Question) -> int:
        if not self._config.partition_verification:
            for topic, partition in question.partitions:
                self._ports.permit(topic, partition, *question.producer)
            return NONE
        errors = await self.verify_partitions(question.transactional_id, question.producer, question.partitions)
        allowed = frozenset(place for place, code in errors.items() if code == NONE)
        if allowed and not self._permit(question.transactional_id, question.producer, allowed):
            return CONCURRENT_TRANSACTIONS
        return next((code for code in errors.values() if code != NONE), NONE)

    def _permit(self, transactional_id: str, producer: Identity, partitions: TopicPartitions) -> bool:
        """Let the producer in, unless its transaction has ended while we waited. Nothing may be awaited in here."""
        if not self.holds(transactional_id, producer, partitions):
            return False
        for topic, partition in partitions:
            self._ports.permit(topic, partition, *producer)
        return True

    def _find(self, transactional_id: str) -> Transaction | None:
        shard = self.runtime.shard(self.runtime.partition_for(transactional_id))
        return None if shard is None else shard.transactions.get(transactional_id)

    def _is_ending(self, transactional_id: str) -> bool:
        found = self._find(transactional_id)
        return found is not None and found.is_prepared

    async def _ended(self, transactional_id: str, wait_s: float) -> bool:
        """Wait for the end of the transaction that is being ended; False when that takes longer."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        waiting = self._waiting.setdefault(transactional_id, [])
        waiting.append(future)
        timeout = loop.call_later(wait_s, _tell, future, False)
        try:
            return await future
        finally:
            timeout.cancel()
            if future in waiting:
                waiting.remove(future)
            if not waiting and self._waiting.get(transactional_id) is waiting:
                del self._waiting[transactional_id]

    def _wake(self, transactional_id: str) -> None:
        for future in self._waiting.pop(transactional_id, ()):
            _tell(future, True)


def _tell(future: asyncio.Future[bool], ended: bool) -> None:
    if not future.done():
        future.set_result(ended)


async def _settled(found: Any | Awaitable[Any]) -> Any:
    return await found if isinstance(found, Awaitable) else found


def _told_to_producer(code: int, produce_version: int) -> int:
    """What a Produce says of the coordinator's errors. Source: Kafka's AddPartitionsToTxnManager, ReplicaManager."""
    if code == PRODUCER_FENCED:
        return INVALID_PRODUCER_EPOCH
    if code == TRANSACTION_ABORTABLE and produce_version < FIRST_ABORTABLE_PRODUCE:
        return INVALID_TXN_STATE
    if code in _NOT_READY or (code == CONCURRENT_TRANSACTIONS and produce_version < FIRST_IMPLICIT_PRODUCE):
        return NOT_ENOUGH_REPLICAS  # every client repeats that, and asks for no metadata
    return code


def question_of(produce_version: int, transactions: Iterable[Any]) -> Question | int:
    """What the entries of an AddPartitionsToTxnRequest ask; an error code when they are of more than one producer."""
    entries = list(transactions)
    producers = {(each.transactional_id, each.producer_id, each.producer_epoch) for each in entries}
    if len(producers) != 1:
        return INVALID_PRODUCER_ID_MAPPING
    ((transactional_id, producer_id, producer_epoch),) = producers
    partitions = frozenset(
        (topic.name, partition) for each in entries for topic in each.topics for partition in topic.partitions
    )
    return Question(produce_version, transactional_id, Identity(producer_id, producer_epoch), partitions)


def _compiled(pattern: str) -> Any:
    """RE2 takes linear time, so that no filter can stop the coordinator. Raises InvalidRegularExpression."""
    options = re2.Options()
    options.max_mem = PATTERN_MEMORY_BYTES
    options.log_errors = False
    try:
        if len(pattern) > MAXIMUM_PATTERN:
            raise InvalidRegularExpression(f"Transaction ID pattern of {len(pattern)} characters is too long.")
        return re2.compile(pattern, options)
    except re2.error as error:
        raise InvalidRegularExpression(
            f"Transaction ID pattern `{pattern}` is not a valid regular expression: {error}."
        ) from error
