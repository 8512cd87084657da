"""RecordService: peek, tail and produce, over the SDK's own consumer and producer."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, Iterator
from typing import TYPE_CHECKING, Any, Final

from pystream.client.admin.client import AdminClient
from pystream.client.cluster.retry import allowed_ms, time_limit
from pystream.client.grpc.messages import records_pb2
from pystream.client.grpc.status import InvalidFields, Violations, status_of
from pystream.common.clock import SleepingClock
from pystream.common.errors import (
    BufferFull,
    DeadlineExceeded,
    DeliveryTimeout,
    InvalidTopic,
    MessageTooLarge,
    PystreamError,
    UnknownTopicOrPartition,
)
from pystream.common.model import TopicPartition
from pystream.services.admin.calls import Begun
from pystream.services.admin.config import AdminServerConfig
from pystream.services.admin.conversion import failures_of
from pystream.services.admin.reading import Shown, consumer_for, start_of, violations_of

if TYPE_CHECKING:
    from pystream.client.producer.aio import Producer

DEFAULT_LIMIT: Final = 10
CHUNK_RECORDS: Final = 500
CHUNK_BYTES: Final = 1 << 20
POLL_S: Final = 0.05
ANSWER_MS: Final = 20  # of a deadline are left to tell which records were not acknowledged in time
LONGEST_BLOCK_MS: Final = 10_000

# What refuses one record and says nothing of the producer.
OF_A_RECORD: Final = (BufferFull, DeadlineExceeded, InvalidTopic, MessageTooLarge, UnknownTopicOrPartition)

Kept = tuple[int, int, int, records_pb2.Record]  # by time, partition, offset


class Records:
    """The work of RecordService."""

    def __init__(self, admin: AdminClient, config: AdminServerConfig, clock: SleepingClock) -> None:
        self._admin = admin
        self._config = config
        self._clock = clock
        self._made: Producer | None = None

    async def close(self) -> None:
        """Send what is in the buffer, for as long as the server may take to stop."""
        made, self._made = self._made, None
        if made is not None:
            await made.close(self._config.stop_timeout_ms / 1000)

    def _producer(self) -> Producer:
        """The one of this server, made with the first record: the server starts sooner."""
        if self._made is None:
            from pystream.client.producer.aio import Producer

            config = self._config
            self._made = Producer(
                {
                    **config.client_settings(),
                    "request.timeout.ms": min(config.request_timeout_ms, config.default_api_timeout_ms),
                    "delivery.timeout.ms": config.default_api_timeout_ms,
                    "max.block.ms": min(config.default_api_timeout_ms, LONGEST_BLOCK_MS),
                    "linger.ms": 0,
                }
            )
        return self._made

    # --- peek ---------------------------------------------------------------------------------------------------------

    async def peek(self, request: records_pb2.PeekRecordsRequest) -> Any:
        """The newest records, or the first from a position on."""
        violations = violations_of(request, self._config)
        limit = request.limit if request.HasField("limit") else DEFAULT_LIMIT
        if not 0 < limit <= self._config.max_peek_records:
            violations.append(("limit", f"{limit}, expected 1 to {self._config.max_peek_records} (max.peek.records)"))
        if violations:
            raise InvalidFields(violations)
        start = await start_of(self._admin, request, f"-{limit}")
        newest = not request.HasField("start")
        kept = _Kept(limit, self._config.max_answer_bytes // 2, newest=newest)
        shown = Shown(request, self._config)
        left = {place: end for place, end in start.ends.items() if start.offsets.get(place, end) < end}
        if left:
            async with consumer_for(request, self._config) as consumer:
                await consumer.assign(left)
                for place in left:
                    await consumer.seek(place, start.offsets[place])
                if request.isolation == records_pb2.ISOLATION_READ_COMMITTED:
                    left = await consumer.end_offsets(left)
                while left and not kept.is_enough:
                    batch = await consumer.poll_batch(POLL_S, CHUNK_RECORDS)
                    if batch is not None:
                        end = start.ends[TopicPartition(batch.topic, batch.partition)]
                        for message in batch:
                            if message.offset < end:
                                kept.add(shown(message))
                    left = {place: end for place, end in left.items() if await consumer.position(place) < end}
        return records_pb2.PeekRecordsResponse(
            records=kept.in_order(), failures=failures_of(start.failures), truncated=kept.truncated or bool(left)
        )

    # --- tail ---------------------------------------------------------------------------------------------------------

    async def tail(self, request: records_pb2.TailRecordsRequest, begun: Begun) -> AsyncGenerator[Any]:
        """Records as they come. What is fetched ahead waits until the client has taken what was sent."""
        violations = violations_of(request, self._config)
        limit = request.limit if request.HasField("limit") else None
        if limit is not None and limit <= 0:
            violations.append(("limit", f"{limit}, expected at least 1"))
        if violations:
            raise InvalidFields(violations)
        with time_limit(self._clock, self._config.default_api_timeout_ms):
            start = await start_of(self._admin, request, "end")
        for failure in start.failures:
            raise failure.error
        shown = Shown(request, self._config)
        async with consumer_for(request, self._config) as consumer:
            await consumer.assign(start.offsets)
            for place, offset in start.offsets.items():
                await consumer.seek(place, offset)
            await begun()
            sent = 0
            while limit is None or sent < limit:
                most = CHUNK_RECORDS if limit is None else min(CHUNK_RECORDS, limit - sent)
                batch = await consumer.poll_batch(None, most)
                if batch is None:
                    continue
                sent += len(batch)
                for chunk in _chunks(shown(message) for message in batch):
                    yield records_pb2.TailRecordsResponse(records=chunk)

    # --- produce ------------------------------------------------------------------------------------------------------

    async def produce(self, request: records_pb2.ProduceRecordsRequest) -> Any:
        """One result for each record."""
        violations = self._violations(request)
        if violations:
            raise InvalidFields(violations)
        (await self._admin.describe_topics([request.topic])).checked()
        outcomes = [await self._sent(request.topic, record) for record in request.records]
        deliveries = [each for each in outcomes if not isinstance(each, PystreamError)]
        left_ms = max(allowed_ms(self._clock, self._config.default_api_timeout_ms) - ANSWER_MS, 1)
        try:
            await asyncio.wait_for(_settled(deliveries), left_ms / 1000)
        except TimeoutError:
            pass  # said of each record that it concerns
        return records_pb2.ProduceRecordsResponse(results=[_result(each) for each in outcomes])

    def _violations(self, request: records_pb2.ProduceRecordsRequest) -> Violations:
        found: Violations = [] if request.topic else [("topic", "required")]
        most = self._config.max_produce_records
        if not 0 < len(request.records) <= most:
            return [*found, ("records", f"{len(request.records)} records, expected 1 to {most} (max.produce.records)")]
        for place, record in enumerate(request.records):
            if record.HasField("partition") and record.partition < 0:
                found.append((f"records[{place}].partition", f"{record.partition}, expected at least 0"))
            if record.HasField("timestamp_ms") and record.timestamp_ms < 0:
                found.append((f"records[{place}].timestamp_ms", f"{record.timestamp_ms}, expected at least 0"))
        return found

    async def _sent(self, topic: str, record: records_pb2.NewRecord) -> Any:
        """Its delivery, or why it was not even taken."""
        try:
            return await self._producer().send(
                topic,
                _bytes(record.value),
                _bytes(record.key),
                [(each.name, _bytes(each.value)) for each in record.headers] or None,
                record.timestamp_ms if record.HasField("timestamp_ms") else None,
                record.partition if record.HasField("partition") else None,
            )
        except PystreamError as error:
            if not isinstance(error, OF_A_RECORD):
                await self._give_up()
            return error

    async def _give_up(self) -> None:
        """A producer that failed for good refuses everything: the next call makes a new one."""
        made, self._made = self._made, None
        if made is not None:
            await made.close(0)


class _Kept:
    """At most so many records of at most so many bytes: the first that come, or the newest of all."""

    def __init__(self, limit: int, most_bytes: int, *, newest: bool) -> None:
        self._limit = limit
        self._left_bytes = most_bytes
        self._newest = newest
        self._records: list[Kept] = []
        self.truncated = False

    @property
    def is_enough(self) -> bool:
        """Whether nothing that comes now can be wanted."""
        return not self._newest and (self.truncated or len(self._records) >= self._limit)

    def add(self, record: records_pb2.Record) -> None:
        if self.is_enough:
            return
        self._left_bytes -= record.ByteSize()
        entry = (record.timestamp_ms, record.partition, record.offset, record)
        if self._newest:
            heapq.heappush(self._records, entry)
        else:
            self._records.append(entry)
        while len(self._records) > 1 and (self._left_bytes < 0 or len(self._records) > self._limit):
            self.truncated = self.truncated or self._left_bytes < 0
            gone = heapq.heappop(self._records) if self._newest else self._records.pop()
            self._left_bytes += gone[-1].ByteSize()

    def in_order(self) -> list[records_pb2.Record]:
        return [record for *_, record in sorted(self._records, key=lambda each: each[:3])]


def _chunks(records: Iterator[records_pb2.Record]) -> Iterator[list[records_pb2.Record]]:
    """So many together that a message of them stays small."""
    chunk: list[records_pb2.Record] = []
    size = 0
    for record in records:
        chunk.append(record)
        size += record.ByteSize()
        if size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _bytes(payload: records_pb2.Payload) -> bytes | None:
    form = payload.WhichOneof("form")
    if form is None:
        return None
    found: bytes = payload.text.encode() if form == "text" else payload.data
    return found


async def _settled(deliveries: list[Any]) -> None:
    """Return once each was acknowledged or has failed."""
    for delivery in deliveries:
        try:
            await delivery
        except PystreamError:
            continue  # told by its own result


def _result(outcome: Any) -> records_pb2.ProduceResult:
    """Of a delivery, or of the error that kept the record from being sent."""
    if isinstance(outcome, PystreamError):
        return records_pb2.ProduceResult(error=status_of(outcome))
    if not outcome.done():
        late = DeliveryTimeout("not acknowledged within the deadline of the call; it may be written all the same")
        return records_pb2.ProduceResult(error=status_of(late))
    error = outcome.exception()
    if isinstance(error, PystreamError):
        return records_pb2.ProduceResult(error=status_of(error))
    if error is not None:
        raise error
    written = records_pb2.Written(partition=outcome.partition, offset=outcome.offset, timestamp_ms=outcome.timestamp)
    return records_pb2.ProduceResult(written=written)
