"""ShareFetcher: gives a member records of the partitions of its session, and waits for some when there are none.

    park ◀── nothing to acquire ── for each partition in turn: read the log ── acquire ──▶ answer
     └── woken by: new records, released records, another reader that is done, the end of max_wait_ms

One member reads for a share partition at a time, the others come after it: nobody gets what another is about to get.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from pystream.common.clock import SleepingClock
from pystream.common.error_codes import COORDINATOR_NOT_AVAILABLE
from pystream.common.errors import KafkaError
from pystream.common.model import TopicIdPartition
from pystream.coordinator.share.hosted import HostedPartition, SharePartitions, woken_in_time
from pystream.coordinator.share.partition import Acquired, Span, Wanted
from pystream.coordinator.share.ports import Fetched
from pystream.coordinator.share.sessions import ShareSession
from pystream.coordinator.share.state import ShareKey

LEAST_READ_BYTES = 1 << 16
READ_BYTES = 1 << 20  # of one partition in one answer, when its batches are not larger


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchWish:
    """What one ShareFetch asks for. `exact`: not one record more than `max_records`."""

    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    max_records: int
    batch_size: int
    exact: bool


@dataclass(slots=True)
class Share:
    """What one partition gives: records with the ranges that are the member's now, or an error."""

    records: bytes = b""
    acquired: Sequence[Acquired] = ()
    error: KafkaError | None = None


@dataclass(slots=True)
class Attempt:
    """One answer in the making. `left_*`: what may still be taken."""

    session: ShareSession
    wish: FetchWish
    left_bytes: int
    left_records: int
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    shares: dict[TopicIdPartition, Share] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not any(share.acquired for share in self.shares.values())


class ShareFetcher:
    """See the head of this module."""

    def __init__(self, partitions: SharePartitions, clock: SleepingClock) -> None:
        self._partitions = partitions
        self._clock = clock

    async def fetch(self, session: ShareSession, wish: FetchWish) -> dict[TopicIdPartition, Share]:
        """What each partition of the session gives; partitions that give nothing are left out."""
        self._partitions.metrics.fetches += 1
        attempt = Attempt(session, wish, wish.max_bytes, wish.max_records)
        deadline_ms = self._clock.monotonic_ms() + wish.max_wait_ms
        hosted = await self._hosted(attempt)
        for partition in hosted:
            self._partitions.watch(partition, attempt.wake)
        session.closing = attempt.wake.set
        try:
            while hosted or not attempt.shares:
                left_ms = deadline_ms - self._clock.monotonic_ms()
                attempt.wake.clear()
                if left_ms <= 0 or self._has_enough(hosted, attempt):
                    await self._acquire_in_turn(hosted, attempt)
                if not attempt.is_empty or not session.is_open or left_ms <= 0:
                    break
                await self._wait(attempt, left_ms)
                if any(partition.is_dropped for partition in hosted):
                    break
        finally:
            session.closing = None
            for partition in hosted:
                self._partitions.unwatch(partition, attempt.wake)
        return attempt.shares

    async def _wait(self, attempt: Attempt, left_ms: int) -> None:
        self._partitions.metrics.waiting += 1
        try:
            await woken_in_time(self._clock, attempt.wake, left_ms)
        finally:
            self._partitions.metrics.waiting -= 1

    async def _hosted(self, attempt: Attempt) -> list[HostedPartition]:
        """The session's partitions, loaded, in their turn; those that cannot be had have an error instead."""
        found = []
        for partition in attempt.session.rotated():
            key = ShareKey(attempt.session.key.group_id, partition.topic_id, partition.partition)
            try:
                found.append(await self._partitions.get(key))
            except KafkaError as error:
                if error.code != COORDINATOR_NOT_AVAILABLE:  # passes: the member finds nothing and asks again
                    attempt.shares[partition] = Share(error=error)
        return found

    def _has_enough(self, hosted: Sequence[HostedPartition], attempt: Attempt) -> bool:
        """Whether at least min_bytes can be read now."""
        if attempt.wish.min_bytes <= 1:
            return True
        available = 0
        for partition in hosted:
            try:
                offset, end = self._readable(partition)
            except KafkaError:
                return True  # which the attempt to read tells of
            if offset < end:
                available += self._partitions.log.available_bytes(
                    partition.topic,
                    partition.key.partition,
                    offset=offset,
                    limit_offset=end,
                    max_bytes=attempt.wish.min_bytes,
                )
            if available >= attempt.wish.min_bytes:
                return True
        return False

    async def _acquire_in_turn(self, hosted: Sequence[HostedPartition], attempt: Attempt) -> None:
        for partition in hosted:
            if attempt.left_records <= 0 or (attempt.left_bytes <= 0 and not attempt.is_empty):
                return
            if partition.is_dropped or not self._may_acquire(partition):
                continue
            if partition.is_reading:
                partition.blocked.add(attempt.wake)
                continue
            partition.is_reading = True
            try:
                share = await self._acquire(partition, attempt)
            except KafkaError as error:
                share = Share(error=error)
            finally:
                partition.is_reading = False
                partition.wake_blocked()
            if share.acquired or share.error is not None:
                attempt.shares[TopicIdPartition(partition.key.topic_id, partition.key.partition)] = share

    def _readable(self, partition: HostedPartition) -> tuple[int, int]:
        """(where to read on, up to where). Raises KafkaError."""
        bounds = self._partitions.log.bounds(partition.topic, partition.key.partition)
        partition.machine.advance_log_start(bounds.log_start_offset)
        committed = self._partitions.is_committed(partition.key.group_id)
        return partition.machine.next_fetch_offset(), bounds.end(committed=committed)

    def _may_acquire(self, partition: HostedPartition) -> bool:
        try:
            offset, end = self._readable(partition)
        except KafkaError:
            return True  # the attempt to read tells of it
        limit = partition.machine.fetch_limit()
        return offset < (end if limit is None else min(end, limit))

    async def _acquire(self, partition: HostedPartition, attempt: Attempt) -> Share:
        """Read and acquire; past what holds nothing to deliver, as far as it goes."""
        key, machine = partition.key, partition.machine
        while self._may_acquire(partition):
            offset, end = self._readable(partition)
            fetched = await self._partitions.log.read(
                partition.topic,
                key.partition,
                offset=offset,
                limit_offset=end,
                max_bytes=_read_bytes(partition, attempt),
                committed=self._partitions.is_committed(key.group_id),
            )
            if not fetched.batches or not attempt.session.is_open or partition.is_dropped:
                break
            offsets = fetched.batches[-1].last - fetched.batches[0].first + 1
            partition.bytes_per_record = len(fetched.records) / offsets
            now_ms = self._partitions.now_ms()
            wanted = Wanted(
                member_id=attempt.session.key.member_id,
                max_records=attempt.left_records,
                batch_size=max(attempt.wish.batch_size, 1),
                exact=attempt.wish.exact,
                deadline_ms=now_ms + self._partitions.lock_duration_ms(key.group_id),
            )
            spans = [Span(batch.first, batch.last) for batch in fetched.batches if batch.is_deliverable]
            acquired = machine.acquire(wanted, fetch_offset=offset, read_to=fetched.batches[-1].last + 1, spans=spans)
            self._partitions.arm(partition)
            if acquired:
                records = _covering(fetched, acquired)
                attempt.left_records -= wanted.count
                self._partitions.metrics.acquired += wanted.count
                attempt.left_bytes -= len(records)
                return Share(records, acquired)
            if machine.next_fetch_offset() <= offset:
                break
        return Share()


def _read_bytes(partition: HostedPartition, attempt: Attempt) -> int:
    """How much to read for the records that are asked for, and some more: batches are given out whole."""
    enough = max(int(2 * partition.bytes_per_record * attempt.left_records), LEAST_READ_BYTES)
    most = READ_BYTES if partition.bytes_per_record == 0 else min(enough, READ_BYTES)
    return max(min(attempt.left_bytes, most), 1)


def _covering(fetched: Fetched, acquired: Sequence[Acquired]) -> bytes:
    """The batches from the first to the last that hold acquired records, unchanged."""
    needed = [b for b in fetched.batches if b.last >= acquired[0].first and b.first <= acquired[-1].last]
    return fetched.records[needed[0].position : needed[-1].position + needed[-1].size_bytes]
