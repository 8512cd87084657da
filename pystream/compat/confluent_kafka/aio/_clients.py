"""AIOProducer and AIOConsumer.

As in confluent_kafka they wrap the blocking clients, whose waiting is done in threads, because callbacks and results
are theirs. A new application uses `pystream.client.aio`, which needs no threads.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

from pystream.compat.confluent_kafka._consumer import Consumer
from pystream.compat.confluent_kafka._errors import KafkaException
from pystream.compat.confluent_kafka._producer import Producer
from pystream.compat.confluent_kafka._values import Message, TopicPartition

CALLBACKS: Final = ("error_cb", "stats_cb", "throttle_cb", "on_commit")
PRODUCER_WORKERS: Final = 4
CONSUMER_WORKERS: Final = 2
POLL_SECONDS: Final = 0.1  # the producer's task looks up so often for the end


class _Clients:
    """A blocking client and the threads that wait for it."""

    def __init__(self, max_workers: int, executor: concurrent.futures.Executor | None) -> None:
        self._own = None if executor is not None else concurrent.futures.ThreadPoolExecutor(max_workers)
        self._executor = executor or self._own
        self._loop = asyncio.get_running_loop()

    async def _call(self, call: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """What a blocking call gives, made in a thread."""
        return await self._loop.run_in_executor(self._executor, functools.partial(call, *arguments, **keywords))

    def _on_loop(self, callback: Callable[..., Any], subject: Any = None) -> Callable[..., Any]:
        """A callback for a thread: it has `callback` run, and awaited, in the loop, and waits for that."""

        async def call(*arguments: Any) -> Any:
            result = callback(*arguments)
            return await result if inspect.isawaitable(result) else result

        def from_thread(*arguments: Any) -> Any:
            given = arguments if subject is None else (subject, *arguments[1:])
            return asyncio.run_coroutine_threadsafe(call(*given), self._loop).result()

        return from_thread

    def _wrapped(self, conf: Mapping[str, Any]) -> dict[str, Any]:
        wrapped = {
            name: self._on_loop(value) if name in CALLBACKS and callable(value) else value
            for name, value in conf.items()
        }
        if wrapped.get("logger") is not None:
            wrapped["logger"] = _LoopLogger(self._loop, wrapped["logger"])
        return wrapped

    def _let_go(self) -> None:
        if self._own is not None:
            self._own.shutdown(wait=False)


class _LoopLogger:
    """Has a logger called in the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, logger: Any) -> None:
        self._loop = loop
        self._logger = logger

    def log(self, *arguments: Any) -> None:
        self._loop.call_soon_threadsafe(self._logger.log, *arguments)


class _DirectProducer(Producer):
    """Delivery reports are not queued until somebody polls."""

    def _report(self, on_delivery: Any, error: Any, message: Message) -> None:
        self._done()
        if on_delivery is not None:
            on_delivery(error, message)


class AIOProducer(_Clients):
    """produce() gives a future of the delivered message."""

    def __init__(
        self,
        producer_conf: Mapping[str, Any],
        max_workers: int = PRODUCER_WORKERS,
        executor: concurrent.futures.Executor | None = None,
        batch_size: int = 1_000,
        buffer_timeout: float = 1.0,
    ) -> None:
        """`batch_size` and `buffer_timeout` mean nothing here: produce() hands each message on at once."""
        super().__init__(max_workers, executor)
        self._producer = _DirectProducer(self._wrapped(producer_conf))
        self._closed = False
        self._polling = self._loop.create_task(self._poll_on())

    async def _poll_on(self) -> None:
        """Serve callbacks while the application awaits other things; what they raise goes to the loop's handler."""
        while not self._closed:
            poll = self._loop.run_in_executor(self._executor, self._producer.poll, POLL_SECONDS)
            await asyncio.wait([poll])
            if (error := poll.exception()) is not None:
                self._loop.call_exception_handler({"message": "a callback of AIOProducer raised", "exception": error})

    async def produce(
        self, topic: str, value: Any = None, key: Any = None, partition: int = -1, **kwargs: Any
    ) -> asyncio.Future[Message]:
        """Queue a message. Its future raises KafkaException where it was not delivered."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Message] = loop.create_future()

        def end(error: Any, message: Message) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(message)
            else:
                future.set_exception(KafkaException(error))

        def on_delivery(error: Any, message: Message) -> None:
            loop.call_soon_threadsafe(end, error, message)

        while True:
            try:
                self._producer.produce(topic, value, key, partition, on_delivery=on_delivery, **kwargs)
                return future
            except BufferError:
                await asyncio.sleep(POLL_SECONDS)

    async def poll(self, timeout: float = 0) -> int:
        """Serve callbacks; how many."""
        served: int = await self._call(self._producer.poll, timeout)
        return served

    async def flush(self, timeout: float = -1) -> int:
        """Wait until everything is delivered or has failed; how many are left after `timeout` seconds."""
        left: int = await self._call(self._producer.flush, timeout)
        return left

    async def purge(self, *args: Any, **kwargs: Any) -> None:
        await self._call(self._producer.purge, *args, **kwargs)

    async def list_topics(self, *args: Any, **kwargs: Any) -> Any:
        return await self._call(self._producer.list_topics, *args, **kwargs)

    async def cluster_id(self, *args: Any, **kwargs: Any) -> Any:
        return await self._call(self._producer.cluster_id, *args, **kwargs)

    async def init_transactions(self, *args: Any, **kwargs: Any) -> None:
        await self._call(self._producer.init_transactions, *args, **kwargs)

    async def begin_transaction(self, *args: Any, **kwargs: Any) -> None:
        await self._call(self._producer.begin_transaction, *args, **kwargs)

    async def send_offsets_to_transaction(self, *args: Any, **kwargs: Any) -> None:
        await self._call(self._producer.send_offsets_to_transaction, *args, **kwargs)

    async def commit_transaction(self, *args: Any, **kwargs: Any) -> None:
        await self._call(self._producer.commit_transaction, *args, **kwargs)

    async def abort_transaction(self, *args: Any, **kwargs: Any) -> None:
        await self._call(self._producer.abort_transaction, *args, **kwargs)

    async def set_sasl_credentials(self, username: str, password: str) -> None:
        self._producer.set_sasl_credentials(username, password)

    def __len__(self) -> int:
        return len(self._producer)

    async def close(self) -> None:
        """Flush, and let go of everything; what callbacks raise comes out then. Harmless when closed."""
        if self._closed:
            return
        self._closed = True
        await self._polling
        try:
            await self._call(self._producer.close)
        finally:
            self._let_go()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AIOConsumer(_Clients):
    """The Consumer's methods, to be awaited; callbacks may be coroutine functions."""

    def __init__(
        self,
        consumer_conf: Mapping[str, Any],
        max_workers: int = CONSUMER_WORKERS,
        executor: concurrent.futures.Executor | None = None,
    ) -> None:
        super().__init__(max_workers, executor)
        self._consumer = Consumer(self._wrapped(consumer_conf))

    async def poll(self, *args: Any, **kwargs: Any) -> Message | None:
        found: Message | None = await self._call(self._consumer.poll, *args, **kwargs)
        return found

    async def consume(self, *args: Any, **kwargs: Any) -> list[Message]:
        found: list[Message] = await self._call(self._consumer.consume, *args, **kwargs)
        return found

    async def subscribe(
        self, topics: list[str], on_assign: Any = None, on_revoke: Any = None, on_lost: Any = None
    ) -> None:
        """As Consumer.subscribe; the callbacks get this consumer."""
        wrapped = [
            None if each is None else self._on_loop(each, subject=self) for each in (on_assign, on_revoke, on_lost)
        ]
        await self._call(self._consumer.subscribe, topics, *wrapped)

    async def unsubscribe(self) -> None:
        await self._call(self._consumer.unsubscribe)

    async def commit(self, *args: Any, **kwargs: Any) -> list[TopicPartition] | None:
        found: list[TopicPartition] | None = await self._call(self._consumer.commit, *args, **kwargs)
        return found

    async def seek(self, *args: Any, **kwargs: Any) -> None:
        await self._call(self._consumer.seek, *args, **kwargs)

    async def pause(self, *args: Any, **kwargs: Any) -> None:
        await self._call(self._consumer.pause, *args, **kwargs)

    async def resume(self, *args: Any, **kwargs: Any) -> None:
        await self._call(self._consumer.resume, *args, **kwargs)

    async def store_offsets(self, *args: Any, **kwargs: Any) -> None:
        await self._call(self._consumer.store_offsets, *args, **kwargs)

    async def committed(self, *args: Any, **kwargs: Any) -> list[TopicPartition]:
        found: list[TopicPartition] = await self._call(self._consumer.committed, *args, **kwargs)
        return found

    async def assign(self, *args: Any, **kwargs: Any) -> None:
        await self._call(self._consumer.assign, *args, **kwargs)

    async def unassign(self) -> None:
        await self._call(self._consumer.unassign)

    async def incremental_assign(self, *args: Any, **kwargs: Any) -> None:
        await self._call(self._consumer.incremental_assign, *args, **kwargs)

    async def incremental_unassign(self, *args: Any, **kwargs: Any) -> None:
        await self._call(self._consumer.incremental_unassign, *args, **kwargs)

    async def assignment(self) -> list[TopicPartition]:
        return self._consumer.assignment()

    async def position(self, *args: Any, **kwargs: Any) -> list[TopicPartition]:
        return self._consumer.position(*args, **kwargs)

    async def consumer_group_metadata(self) -> Any:
        return self._consumer.consumer_group_metadata()

    async def list_topics(self, *args: Any, **kwargs: Any) -> Any:
        return await self._call(self._consumer.list_topics, *args, **kwargs)

    async def cluster_id(self, *args: Any, **kwargs: Any) -> Any:
        return await self._call(self._consumer.cluster_id, *args, **kwargs)

    async def get_watermark_offsets(self, *args: Any, **kwargs: Any) -> Any:
        return await self._call(self._consumer.get_watermark_offsets, *args, **kwargs)

    async def offsets_for_times(self, *args: Any, **kwargs: Any) -> list[TopicPartition]:
        found: list[TopicPartition] = await self._call(self._consumer.offsets_for_times, *args, **kwargs)
        return found

    async def set_sasl_credentials(self, username: str, password: str) -> None:
        self._consumer.set_sasl_credentials(username, password)

    async def close(self) -> None:
        """As Consumer.close. Harmless when closed."""
        await self._call(self._consumer.close)
        self._let_go()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
