"""Who the producer is to brokers, and what follows from their answers: nobody, idempotent, or transactional.

The accumulator stamps batches with producer id, epoch and sequence, and holds back what would arrive out of order. Here
is decided when an id is needed, when a failed batch is sent again, and when the epoch must be raised.

    acknowledged ..9 │ 10..19 failed │ 20..29 out of order: not the next one, so it only waits for 10..19: again
    acknowledged ..9 │ 10..19 given up, perhaps written │ 20..29 out of order: it was not written: a new epoch, from 0
                     │                                  │ 30..39 out of order: it waits for 20..29

Source: KIP-98, KIP-360 (a producer raises its epoch itself where it has no transactional id).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Protocol

from pystream._native.accumulator import Accumulator
from pystream._native.delivery import ProducerBatch
from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.retry import is_retriable
from pystream.common.error_codes import NONE
from pystream.common.errors import (
    ClientError,
    ClusterAuthorizationFailed,
    Disconnected,
    DuplicateSequenceNumber,
    InvalidProducerIdMapping,
    KafkaError,
    NotEnoughReplicasAfterAppend,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    PystreamError,
    RequestTimedOut,
    TransactionalIdAuthorizationFailed,
    UnknownProducerId,
    UnsupportedVersion,
    error_class,
)
from pystream.common.logging import get_logger
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse

logger = get_logger(__name__)

Place = tuple[str, int]  # topic, partition
NO_PRODUCER_ID: Final = -1
NO_EPOCH: Final = -1
LAST_EPOCH: Final = 32_767
SEQUENCES: Final = 1 << 31
LATEST_PRODUCE: Final = 32_767
FATAL: Final = (
    ClusterAuthorizationFailed,
    TransactionalIdAuthorizationFailed,
    ProducerFenced,
    UnsupportedVersion,
    InvalidProducerIdMapping,
)
WRITTEN_PERHAPS: Final = (RequestTimedOut, NotEnoughReplicasAfterAppend)  # a leader says so of what it has appended


class Verdict(Enum):
    """What to do with a batch that a leader refused."""

    AGAIN = auto()
    GIVE_UP = auto()
    DELIVERED = auto()  # it had been written before


class Sequencing(Protocol):
    """What the sender asks. Called from the loop; nothing here waits."""

    highest_produce_version: int

    @property
    def transactional_id(self) -> str | None:
        """None when it is not transactional."""
        ...

    def may_send(self) -> bool:
        """Whether anything may be sent now; when not, what is missing is under way and wakes the sender."""
        ...

    def admits(self, topic: str, partition: int) -> bool:
        """Whether batches of a partition may be sent now; when not, likewise."""
        ...

    def delivered(self, batch: ProducerBatch) -> None:
        """A leader has it."""
        ...

    def judge(self, batch: ProducerBatch, error: PystreamError, log_start_offset: int) -> Verdict:
        """A leader refused it, or the connection broke."""
        ...

    def given_up(self, batch: ProducerBatch, error: PystreamError, *, answered: bool) -> bool:
        """It is about to fail with `error`; `answered`: a leader refused it, so it does not have it.

        Gives whether the sequences behind it close the gap.
        """
        ...


class Unsequenced:
    """enable.idempotence=false: nothing to keep track of."""

    highest_produce_version = LATEST_PRODUCE

    @property
    def transactional_id(self) -> str | None:
        return None

    def may_send(self) -> bool:
        return True

    def admits(self, topic: str, partition: int) -> bool:
        return True

    def delivered(self, batch: ProducerBatch) -> None:
        return None

    def judge(self, batch: ProducerBatch, error: PystreamError, log_start_offset: int) -> Verdict:
        return Verdict.AGAIN if is_retriable(error) else Verdict.GIVE_UP

    def given_up(self, batch: ProducerBatch, error: PystreamError, *, answered: bool) -> bool:
        return False


class Idempotence:
    """A producer with an id and no transactional id."""

    highest_produce_version = LATEST_PRODUCE

    @property
    def transactional_id(self) -> str | None:
        return None

    def __init__(
        self,
        cluster: Cluster,
        accumulator: Accumulator,
        *,
        wake: Callable[[], None],
        fatal: Callable[[PystreamError], None],
    ) -> None:
        self.producer_id = NO_PRODUCER_ID
        self.producer_epoch = NO_EPOCH
        self._cluster = cluster
        self._accumulator = accumulator
        self._wake = wake
        self._fatal = fatal
        self._asking = False
        self._epoch_is_broken = False
        self._acknowledged: dict[Place, tuple[int, int, int]] = {}  # id, epoch, last sequence
        self._unresolved: dict[Place, int] = {}  # the sequence behind a batch that was given up and may be written

    def may_send(self) -> bool:
        if self._epoch_is_broken:
            self._epoch_is_broken = False
            if self.producer_epoch < LAST_EPOCH:
                self.become(self.producer_id, self.producer_epoch + 1)
            else:
                self.producer_id = NO_PRODUCER_ID
        if self.producer_id == NO_PRODUCER_ID and not self._asking:
            self._asking = True
            self._cluster.spawn("get a producer id", self._get_id())
        return self.producer_id != NO_PRODUCER_ID

    def admits(self, topic: str, partition: int) -> bool:
        return True

    def delivered(self, batch: ProducerBatch) -> None:
        place = batch.topic, batch.partition
        last = (batch.base_sequence + batch.record_count - 1) % SEQUENCES
        before = self._acknowledged.get(place)
        if before is None or before[:2] != (batch.producer_id, batch.producer_epoch) or _is_later(last, before[2]):
            self._acknowledged[place] = (batch.producer_id, batch.producer_epoch, last)
        unresolved = self._unresolved.get(place)
        if unresolved is not None and _is_later((last + 1) % SEQUENCES, unresolved):
            del self._unresolved[place]

    def judge(self, batch: ProducerBatch, error: PystreamError, log_start_offset: int) -> Verdict:
        if isinstance(error, DuplicateSequenceNumber):
            return Verdict.DELIVERED
        if isinstance(error, OutOfOrderSequenceNumber):
            if self._shows_a_gap(batch):
                self._begin_epoch(batch)
            return Verdict.AGAIN
        if isinstance(error, UnknownProducerId):
            self._begin_epoch(batch)
            return Verdict.AGAIN
        return Verdict.AGAIN if is_retriable(error) else Verdict.GIVE_UP

    def given_up(self, batch: ProducerBatch, error: PystreamError, *, answered: bool) -> bool:
        if isinstance(error, FATAL):
            self._fatal(error)
        elif batch.base_sequence < 0:
            return False  # it was never sent
        elif answered:
            self._begin_epoch(batch)
        else:
            self._note_unresolved(batch)
        return False

    def become(self, producer_id: int, producer_epoch: int) -> None:
        """Batches are stamped so from now on, from sequence 0."""
        logger.debug("producer id", producer_id=producer_id, producer_epoch=producer_epoch)
        self.producer_id, self.producer_epoch = producer_id, producer_epoch
        self._accumulator.set_producer(producer_id, producer_epoch)

    def _note_unresolved(self, batch: ProducerBatch) -> None:
        """It was given up, and may be written."""
        place, behind = (batch.topic, batch.partition), (batch.base_sequence + batch.record_count) % SEQUENCES
        if place not in self._unresolved or _is_later(behind, self._unresolved[place]):
            self._unresolved[place] = behind

    def _shows_a_gap(self, batch: ProducerBatch) -> bool:
        """Whether its being out of order means that what was before it will never come."""
        unresolved = self._unresolved.get((batch.topic, batch.partition))
        return self._is_next(batch) if unresolved is None else batch.base_sequence == unresolved

    def _is_next(self, batch: ProducerBatch) -> bool:
        """Whether all before it in its epoch are acknowledged."""
        acknowledged = self._acknowledged.get((batch.topic, batch.partition))
        if acknowledged is None or acknowledged[:2] != (batch.producer_id, batch.producer_epoch):
            return batch.base_sequence == 0
        return batch.base_sequence == (acknowledged[2] + 1) % SEQUENCES

    def _begin_epoch(self, batch: ProducerBatch) -> None:
        """The partition goes on in the next epoch, from sequence 0, once nothing of it is in flight."""
        self._accumulator.rewrite_sequences(batch.topic, batch.partition)
        self._unresolved.pop((batch.topic, batch.partition), None)
        if (batch.producer_id, batch.producer_epoch) == (self.producer_id, self.producer_epoch):
            self._epoch_is_broken = True

    async def _get_id(self) -> None:
        failures = 0
        try:
            while True:
                try:
                    response = await ask_for_id(self._cluster)
                except PystreamError as error:
                    if not is_retriable(error):
                        self._fatal(_explained(error))
                        return
                    failures += 1
                    await self._cluster.clock.sleep_ms(self._cluster.backoff.delay_ms(failures))
                else:
                    self.become(response.producer_id, response.producer_epoch)
                    return
        finally:
            self._asking = False
            self._wake()


async def ask_for_id(cluster: Cluster) -> InitProducerIdResponse:
    """A new producer id, from any broker. Raises what the broker refuses it with."""
    connection = await cluster.any_broker()
    version = connection.version_of(ApiKey.INIT_PRODUCER_ID)
    request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=(1 << 31) - 1)
    response: InitProducerIdResponse = await connection.request(request, version)
    if response.error_code != NONE:
        raise error_class(response.error_code)(f"{connection.name} gave no producer id")
    return response


def _is_later(sequence: int, other: int) -> bool:
    """Sequences go from the largest to 0."""
    return (sequence - other) % SEQUENCES < SEQUENCES // 2


def _explained(error: PystreamError) -> PystreamError:
    if isinstance(error, UnsupportedVersion | ClusterAuthorizationFailed):
        return type(error)(f"{error}; set enable.idempotence=false to produce without (retries may then duplicate)")
    return error


def unknown_outcome(error: PystreamError) -> bool:
    """Whether the leader may have written the batch all the same."""
    return isinstance(error, Disconnected | RequestTimedOut) or not isinstance(error, KafkaError | ClientError)


def again(error: PystreamError) -> PystreamError:
    """A new error like it, so that tracebacks of several callers do not pile up on one."""
    copy = type(error)(str(error))
    copy.__cause__ = error
    return copy
