"""A poll that could only wait for ever says so."""

from __future__ import annotations

import asyncio

import pytest

from pystream.client import Consumer as BlockingConsumer
from pystream.client.aio import Consumer
from pystream.common.errors import ClientError

NOWHERE = "127.0.0.1:1"


def test_a_consumer_that_was_told_to_read_nothing_does_not_wait() -> None:
    with BlockingConsumer(bootstrap_servers=NOWHERE) as consumer:
        with pytest.raises(ClientError, match="subscribe"):
            next(iter(consumer))
        with pytest.raises(ClientError, match="assign"):
            consumer.poll()
        consumer.assign([])
        with pytest.raises(ClientError, match="nothing to read"):
            consumer.poll_batch(timeout=60)


def test_an_asyncio_consumer_that_was_told_to_read_nothing_does_not_wait() -> None:
    async def read() -> None:
        async with Consumer(bootstrap_servers=NOWHERE) as consumer:
            async for _ in consumer:
                pass

    with pytest.raises(ClientError, match="subscribe"):
        asyncio.run(read())
