"""Keeps the log of `__share_group_state` short: states are written anew, then what lies before is deleted.

    [snapshot][update][update] ... [update]|[snapshots of all states]       | : where the log ended before
                                           └─ becomes the start of the log

Updates only tell what has changed, so the topic cannot be compacted. A partition is pruned once it holds many more
records than there are states in it.
"""

from __future__ import annotations

from typing import Protocol

from pystream.common.clock import SleepingClock
from pystream.common.errors import KafkaError
from pystream.common.logging import get_logger
from pystream.coordinator.share import state_shard
from pystream.coordinator.share.states import Runtime, settled

logger = get_logger(__name__)

SUPERFLUOUS_RECORDS = 1_000  # of one partition, before pruning it is worth the writing
STATES_AT_A_TIME = 100


class StateLogs(Protocol):
    """The logs of the topic's partitions."""

    def bounds(self, partition: int) -> tuple[int, int]:
        """(first offset, offset after the last record). Raises KafkaError."""
        ...

    async def delete_before(self, partition: int, offset: int) -> None:
        """The log begins at `offset` from now on. Raises KafkaError or OSError."""
        ...


class Pruner:
    """See the head of this module."""

    def __init__(self, runtime: Runtime, logs: StateLogs, *, superfluous_records: int = SUPERFLUOUS_RECORDS) -> None:
        self._runtime = runtime
        self._logs = logs
        self._superfluous_records = superfluous_records

    async def run(self, clock: SleepingClock, interval_ms: int) -> None:
        """Prune every `interval_ms`, until cancelled."""
        while True:
            await clock.sleep_ms(interval_ms)
            for partition in list(self._runtime.led()):
                try:
                    await self.prune(partition)
                except (KafkaError, OSError) as error:
                    logger.limited("share group state not pruned", partition=partition, error=error)

    async def prune(self, partition: int) -> bool:
        """Whether the log was cut."""
        shard = self._runtime.shard(partition)
        start, end = self._logs.bounds(partition)
        if shard is None or end - start < len(shard.states) + self._superfluous_records:
            return False
        keys = list(shard.states)
        for first in range(0, len(keys), STATES_AT_A_TIME):
            operation = state_shard.snapshot(keys[first : first + STATES_AT_A_TIME])
            await settled(self._runtime.submit(partition, operation))
        if self._runtime.shard(partition) is not shard:
            return False  # loaded anew meanwhile: what was written may not be in the log
        await self._logs.delete_before(partition, end)
        logger.info("share group state pruned", partition=partition, records=end - start, states=len(keys))
        return True
