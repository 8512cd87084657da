"""Carries out what has been decided: markers to all partitions of a transaction, then the record that says so.

    Ending ── marker to each partition ──► committed everywhere ──► TransactionShard.complete
                  │ fails
                  └── again after a delay that grows, to those that are left

A marker may be written twice, by a repetition or by the coordinator that loads the log after a crash: the second one
ends nothing. Source: Kafka's TransactionMarkerChannelManager and TransactionMarkerRequestCompletionHandler.
"""

from __future__ import annotations

from collections.abc import Callable

from pystream.common.clock import SleepingClock
from pystream.common.error_codes import (
    INVALID_PRODUCER_EPOCH,
    NONE,
    TRANSACTION_COORDINATOR_FENCED,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from pystream.common.errors import CoordinatorLoadInProgress, KafkaError
from pystream.common.logging import get_logger
from pystream.common.tasks import Supervisor
from pystream.coordinator.machine import Effects, Ticket
from pystream.coordinator.ports import MarkerBatch
from pystream.coordinator.runtime import CoordinatorRuntime
from pystream.coordinator.transaction.config import TransactionConfig
from pystream.coordinator.transaction.ports import TransactionPorts
from pystream.coordinator.transaction.shard import Ending, TransactionShard

logger = get_logger(__name__)


class MarkerSender:
    """One task for each transaction that is being ended. `ended` hears of every one that is complete."""

    def __init__(
        self,
        runtime: CoordinatorRuntime[TransactionShard],
        config: TransactionConfig,
        ports: TransactionPorts,
        clock: SleepingClock,
        supervisor: Supervisor,
        ended: Callable[[str], None],
    ) -> None:
        self._runtime = runtime
        self._config = config
        self._ports = ports
        self._clock = clock
        self._supervisor = supervisor
        self._ended = ended
        self._under_way: set[Ending] = set()
        self._delayed: dict[Ending, int] = {}  # those that wait to be tried again: how many markers are left

    @property
    def delayed_markers(self) -> int:
        """Markers that could not be written and wait to be tried again. To be asked from any thread."""
        return sum(list(self._delayed.values()))

    @property
    def delayed_completions(self) -> int:
        """Transactions whose markers are all written, and the record that says so not yet. From any thread."""
        return sum(left == 0 for left in list(self._delayed.values()))

    def carries_out(self, ending: Ending) -> bool:
        """Whether somebody is at it."""
        return ending in self._under_way

    def start(self, partition: int, ending: Ending) -> None:
        """Carry out a decision that is committed; once, however often it is asked for."""
        if ending not in self._under_way:
            self._under_way.add(ending)
            # One that fails in an odd way is begun anew by the coordinator's next look at what is unfinished.
            self._supervisor.attempt("end a transaction", self._carry_out(partition, ending))

    async def _carry_out(self, partition: int, ending: Ending) -> None:
        try:
            left = ending.partitions
            delay_ms = self._config.first_marker_delay_ms
            while True:
                left = await self._send(partition, ending, left)
                if not left and await self._complete(partition, ending):
                    return
                if not self._is_mine(partition):
                    return  # whoever leads the partition now loads the transaction and goes on with it
                self._delayed[ending] = len(left)
                await self._clock.sleep_ms(delay_ms)
                del self._delayed[ending]
                delay_ms = min(delay_ms * 2, self._config.longest_marker_delay_ms)
        finally:
            self._delayed.pop(ending, None)
            self._under_way.discard(ending)
            self._ended(ending.transactional_id)

    def _is_mine(self, partition: int) -> bool:
        return partition in self._runtime.led()

    async def _send(
        self, partition: int, ending: Ending, left: frozenset[tuple[str, int]]
    ) -> frozenset[tuple[str, int]]:
        """One marker to each of `left`; those that did not get it."""
        marker = MarkerBatch(
            ending.producer_id, ending.producer_epoch, ending.committed, self._ports.coordinator_epoch(partition)
        )
        codes = await self._ports.write_markers(sorted(left), marker, ending.transaction_version)
        failed = frozenset(place for place, code in codes.items() if not self._is_over(place, marker, code))
        if failed:
            logger.limited(
                "markers not written, to be tried again", transactional_id=ending.transactional_id, left=len(failed)
            )
        return failed

    def _is_over(self, place: tuple[str, int], marker: MarkerBatch, code: int) -> bool:
        """Whether the transaction is ended in this partition."""
        topic, partition = place
        if code in (INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED):
            # Somebody newer has been here and has ended what was open.
            logger.warning("marker fenced", topic=topic, partition=partition, producer_id=marker.producer_id)
            return True
        if code == UNKNOWN_TOPIC_OR_PARTITION:
            return not self._ports.exists(topic, partition)  # deleted, and with it what would have to be ended
        return code == NONE

    async def _complete(self, partition: int, ending: Ending) -> bool:
        """Whether nothing is left to do: the transaction is complete, or it is another coordinator's."""

        def run(shard: TransactionShard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
            shard.complete(ticket, now_ms, effects, ending=ending)
            self._ended(ending.transactional_id)  # what comes next in the same log may begin before this is committed

        try:
            found = self._runtime.submit(partition, run)
            if not isinstance(found, bool):
                await found
        except CoordinatorLoadInProgress:
            return False
        except KafkaError:
            return not self._is_mine(partition)
        return True
