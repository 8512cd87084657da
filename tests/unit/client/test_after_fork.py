"""What a child of a fork, and a callback in the loop's own thread, can do with a client: close it, and no harm."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from queue import Queue
from typing import Any

import pytest

from pystream import testing
from pystream.client import Producer, aio
from pystream.common.errors import ClientError, Closed

TOPIC = "forked"
TEST_SECONDS = 60


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    with testing.broker() as broker:
        yield broker.bootstrap


async def begun(kind: Any, bootstrap: str) -> Any:
    """A client with something to do."""
    if kind is aio.Producer:
        producer = aio.Producer(bootstrap_servers=bootstrap, linger_ms=60_000)
        await producer.send(TOPIC, b"the parent's")
        return producer
    consumer = kind(bootstrap_servers=bootstrap, group_id="forked")
    await consumer.subscribe(TOPIC)
    await consumer.poll(0)
    return consumer


@pytest.mark.parametrize("kind", [aio.Consumer, aio.ShareConsumer, aio.Producer])
def test_closing_a_client_of_a_loop_in_a_forked_child_is_harmless(kind: Any, bootstrap: str):
    async def work() -> None:
        async with asyncio.timeout(TEST_SECONDS):
            client = await begun(kind, bootstrap)
            closing = client.close()
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    closing.send(None)  # to its end, without a step of a loop that is the parent's
                except StopIteration:
                    code = 17
                finally:
                    os._exit(code)
            _, status = await asyncio.to_thread(os.waitpid, child, 0)
            assert os.waitstatus_to_exitcode(status) == 17
            await closing

    asyncio.run(work())


def test_a_producer_that_a_callback_cannot_close_stays_open(bootstrap: str):
    told: Queue[str] = Queue()

    def close(_: object) -> None:
        try:
            producer.close()
        except ClientError as error:
            told.put(str(error))

    with Producer(bootstrap_servers=bootstrap, linger_ms=60_000) as producer:
        producer.send(TOPIC, b"first", on_delivery=close)  # and is told when that is flushed, in the loop's thread
        producer.flush()
        assert "a callback of the client must not wait for the client itself" in told.get(timeout=TEST_SECONDS)
        second = producer.send(TOPIC, b"second")
        producer.flush()
        assert second.result(TEST_SECONDS).offset > 0
    with pytest.raises(Closed):
        producer.flush()
