"""The share consumer for asyncio."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from time import time_ns as now_ns
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from pystream._native.message_batch import Message
from pystream.client.config import ShareConsumerConfig
from pystream.client.consumer.decoding import DecodedMessage, Deserializer, M, Unasked, decoder
from pystream.client.consumer.group.subscription import Subscription
from pystream.client.consumer.record_batch import RecordBatch
from pystream.client.dropped import watch, weakly
from pystream.client.given import check_poll
from pystream.client.metrics.model import Metrics
from pystream.client.metrics.reporter import as_ms, reporter_of
from pystream.client.share.delivery import AcknowledgeType
from pystream.client.share.engine import AcknowledgementResult, ShareEngine
from pystream.client.share.hand_out import advice_of
from pystream.common.errors import Closed, PystreamError
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.telemetry import Tracing

T = TypeVar("T")
N = TypeVar("N", int, int | None)
AcknowledgementCallback = Callable[[AcknowledgementResult], Awaitable[None] | None]


class ShareConsumer(Generic[M]):
    """Takes records as a member of a share group: a queue, in which each record goes to one member at a time.

        async with ShareConsumer({"bootstrap.servers": "127.0.0.1:9092", "group.id": "mails"}) as consumer:
            await consumer.subscribe(["mails"])
            async for message in consumer:
                send(message.value)

    A record is locked for this member for a while (group.share.record.lock.duration.ms of the group). Then it is
    accepted, or given out again. With `share.acknowledgement.mode=implicit` the next poll accepts what was handed out,
    as does `commit`; with `explicit` each record is acknowledged by hand before the next poll:

        for message in await consumer.poll():
            consumer.acknowledge(message, AcknowledgeType.ACCEPT)      # or RELEASE, REJECT, RENEW

    Acknowledgements go to the broker with the next poll, `commit` or `close`. Closing releases what was neither
    accepted nor acknowledged: with `implicit`, that is what was handed out since the last poll or commit.
    Belongs to one loop and one task.
    """

    @overload
    def __init__(
        self: ShareConsumer[DecodedMessage],
        settings: Mapping[str, Any] | None = None,
        /,
        *,
        key_deserializer: Deserializer | None = None,
        value_deserializer: Deserializer,
        tracing: Tracing | None = None,
        **keywords: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: ShareConsumer[DecodedMessage],
        settings: Mapping[str, Any] | None = None,
        /,
        *,
        key_deserializer: Deserializer,
        value_deserializer: None = None,
        tracing: Tracing | None = None,
        **keywords: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: ShareConsumer[Message],
        settings: Mapping[str, Any] | None = None,
        /,
        *,
        key_deserializer: None = None,
        value_deserializer: None = None,
        tracing: Tracing | None = None,
        **keywords: Any,
    ) -> None: ...
    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        /,
        *,
        key_deserializer: Deserializer | None = None,
        value_deserializer: Deserializer | None = None,
        tracing: Tracing | None = None,
        **keywords: Any,
    ) -> None:
        """Settings are those of ShareConsumerConfig, as a dict with dotted names or as keywords. Raises InvalidConfig.

        With deserializers messages are DecodedMessages: `key` and `value` are what was made of the bytes. `tracing`
        (pystream.client.telemetry) makes spans of what is received and processed.
        """
        self.config = ShareConsumerConfig.load(settings, **keywords)
        self._engine = ShareEngine(self.config)
        self._tracing = None if tracing is None else tracing.of_consumer(self.config, self.config.group_id)
        self._decode = decoder(key_deserializer, value_deserializer, may_block=False, advice=advice_of(self.config))
        self._engine.hand.decode = None if self._decode is None else weakly(self._decode)
        self._callback: AcknowledgementCallback | None = None
        self._watched = watch(self, self._engine)

    # --- what to take -------------------------------------------------------------------------------------------------

    async def subscribe(self, topics: str | Iterable[str]) -> None:
        """Take records of these topics, with the other members of `group.id`. A new subscription replaces the last."""
        wanted = Subscription.of(topics).topics
        await (self._engine.subscribe(wanted) if wanted else self.unsubscribe())

    async def unsubscribe(self) -> None:
        """Send what was acknowledged, release the rest, leave the group."""
        await self._engine.unsubscribe()
        await self._tell()

    def subscription(self) -> set[str]:
        """The topics that are subscribed to."""
        return set(self._engine.topics)

    def assignment(self) -> set[TopicPartition]:
        """The partitions that records are taken from now; other members may have them, too."""
        return set(self._engine.assignment.values())

    # --- taking -------------------------------------------------------------------------------------------------------

    async def poll(self, timeout: float | None = None, max_records: int | None = None) -> list[M]:
        """Messages of any partitions, at most `max_records` (max.poll.records); none when `timeout` seconds are over.

        `message.delivery_count` says how often it was given out. Renewed messages come once more. Raises ClientError
        for records that are still to be acknowledged; SerializationError where a deserializer refuses, which names the
        record: it is released, and the next poll goes on behind it; with `explicit` it can be acknowledged otherwise
        until then, by `acknowledge_offset`. CorruptRecordBatch, GroupAuthorizationFailed and the like;
        Wakeup, Closed.
        """
        check_poll(timeout, max_records)
        most = self.config.max_poll_records if max_records is None else max_records
        deadline = _deadline(timeout)
        began_ns = now_ns()
        await self._begin()
        with self._engine.hand.taking():
            while not (messages := await self._taken(self._engine.hand.messages, most)):
                if not await self._more(deadline, most):
                    break
            await self._tell()
        if messages and self._tracing is not None:
            self._tracing.received_of_any(messages, began_ns)
        return messages

    async def poll_batch(self, timeout: float | None = None, max_records: int | None = None) -> RecordBatch | None:
        """Records of one partition and delivery count as columns; None when the time is over. Raises as `poll`."""
        check_poll(timeout, max_records)
        most = self.config.max_poll_records if max_records is None else max_records
        deadline = _deadline(timeout)
        began_ns = now_ns()
        await self._begin()
        with self._engine.hand.taking():
            while (batch := await self._taken(self._engine.hand.batch, most)) is None:
                if not await self._more(deadline, most):
                    break
            await self._tell()
        if batch is not None and self._tracing is not None:
            self._tracing.received(batch, began_ns)
        return batch

    async def __aiter__(self) -> AsyncIterator[M]:
        """Messages for ever, until the share consumer is closed. What the loop did not come to is not handed out."""
        most = self.config.max_poll_records
        while not self._engine.is_closed:
            try:
                await self._begin()
                with self._engine.hand.taking():
                    while (chunk := await self._taken(self._engine.hand.chunk, most)) is None:
                        await self._more(None, most)
                    await self._tell()
            except Closed:
                return
            for message in chunk:
                if self._tracing is not None:
                    self._tracing.begin(message)
                yield message
            await asyncio.sleep(0)  # a loop that always finds messages must let the fetches run

    async def _taken(self, take: Callable[[N], T], most: N) -> T:
        """What came; a deserializer that must ask a registry first is given the time."""
        while True:
            try:
                return take(most)
            except Unasked as missing:
                await self._engine.resolve(missing)

    async def _begin(self) -> None:
        if self._tracing is not None:
            self._tracing.finish()
        self._engine.check_usable()
        await self._tell()
        self._engine.begin_poll()
        self._engine.settle()

    async def _more(self, deadline: float | None, most: int) -> bool:
        left = None if deadline is None else max(deadline - asyncio.get_running_loop().time(), 0)
        found = await self._engine.wait(left, most)
        if found:
            self._engine.begin_poll()
        return found

    # --- acknowledging ------------------------------------------------------------------------------------------------

    def acknowledge(
        self, record: Message | DecodedMessage | RecordBatch, kind: AcknowledgeType | int = AcknowledgeType.ACCEPT
    ) -> None:
        """Say what became of a message, or of all rows of a batch; sent by the next poll, commit or close.

        Until it is sent it can be said anew. Raises ClientError for what is not held, and with
        `share.acknowledgement.mode=implicit`; UnsupportedVersion for RENEW where the broker does not have it.
        """
        if isinstance(record, RecordBatch):
            self._engine.acknowledge_rows(record, AcknowledgeType(kind))
        else:
            self._engine.acknowledge(record.topic, record.partition, record.offset, AcknowledgeType(kind))

    def acknowledge_offset(
        self, topic: str, partition: int, offset: int, kind: AcknowledgeType | int = AcknowledgeType.ACCEPT
    ) -> None:
        """As `acknowledge`, by the record's place."""
        self._engine.acknowledge(topic, partition, offset, AcknowledgeType(kind))

    async def commit(self, timeout: float | None = None) -> dict[TopicPartition, PystreamError | None]:
        """Send what was acknowledged (explicit), or accept what was handed out (implicit), and wait for the broker.

        Gives each partition's error, None where all went well. InvalidRecordState: a lock had run out.
        """
        self._engine.check_usable()
        said = self._engine.settle_for_commit()
        result = await self._engine.commit(said, None if timeout is None else round(timeout * 1000))
        await self._tell()
        return result

    def commit_async(self) -> None:
        """As `commit`, without waiting; the callback is told what became of it."""
        self._engine.check_usable()
        self._engine.post_later(self._engine.settle_for_commit())

    def set_acknowledgement_commit_callback(self, callback: AcknowledgementCallback | None) -> None:
        """`callback(result)` is told what became of acknowledgements, while polling, committing and closing."""
        self._callback = callback
        self._engine.wants_results = callback is not None

    async def _tell(self) -> None:
        while self._engine.results and self._callback is not None:
            told = self._callback(self._engine.results.popleft())
            if inspect.isawaitable(told):
                await told

    @property
    def acquisition_lock_timeout_ms(self) -> int | None:
        """How long records stay locked for this member; None before the first answer."""
        return self._engine.acquisition_lock_timeout_ms

    # --- life ---------------------------------------------------------------------------------------------------------

    def metrics(self) -> Metrics:
        """What the share consumer measures of itself now, under the names of Kafka's own metrics."""
        return self._engine.metrics.values()

    async def client_instance_id(self, timeout: float | None = None) -> bytes:
        """The 16 bytes under which brokers know this client's metrics (KIP-714).

        Raises ClientError with enable.metrics.push=false, UnsupportedVersion where brokers take no metrics.
        """
        return await reporter_of(self._engine.reporter).client_instance_id(as_ms(timeout))

    def processing(self, message: Any) -> AbstractContextManager[Any]:
        """Within it a message is processed: a span, where the consumer traces; else nothing."""
        return nullcontext() if self._tracing is None else self._tracing.processing(message)

    def wakeup(self) -> None:
        """End the poll that waits, or the next one, with Wakeup. From any thread, and from signal handlers."""
        self._engine.wakeup()

    async def close(self) -> None:
        """Send what was acknowledged, release the rest, leave the group, close. Harmless when closed."""
        self._watched.detach()
        if self._tracing is not None:
            self._tracing.finish()
        await self._engine.close()
        await self._tell()

    async def __aenter__(self) -> ShareConsumer[M]:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else asyncio.get_running_loop().time() + timeout
