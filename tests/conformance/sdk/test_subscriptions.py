"""A subscription that changes while there is much to read, on our broker and on Apache Kafka."""

from __future__ import annotations

import asyncio

import pytest

from pystream.client import Consumer as BlockingConsumer
from pystream.client.aio import Consumer
from pystream.common.model import TopicPartition
from tests.conformance.sdk.conftest import RunningCluster
from tests.conformance.sdk.test_consumer import filled, poll_until, reader


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_nothing_comes_of_a_topic_that_is_not_subscribed_to_any_more(cluster: RunningCluster, protocol: str):
    async def run() -> None:
        settings = {"group_id": cluster.fresh("group"), "group_protocol": protocol, "max_poll_records": 10}
        events: list[tuple[str, str]] = []
        callbacks = {
            "on_assigned": lambda found: events.extend(("+", key.topic) for key in found),
            "on_revoked": lambda found: events.extend(("-", key.topic) for key in found),
        }
        async with filled(cluster, 3_000) as old, filled(cluster, 3) as new, reader(cluster, **settings) as consumer:
            await consumer.subscribe([old], **callbacks)
            found = [message.offset for message in await consumer.poll()]
            await consumer.subscribe([new], **callbacks)
            await consumer.subscribe([old], **callbacks)  # again, before the group heard of it
            async for message in consumer:
                assert (message.topic, message.offset) == (old, len(found))
                found.append(message.offset)
                if len(found) == 25:
                    await consumer.subscribe([new], **callbacks)
                    break
            messages = await poll_until([consumer], lambda: lag_of(consumer, new) == 0)
            assert [(message.topic, message.value) for message in messages] == [(new, b"v%d" % n) for n in range(3)]
            assert consumer.assignment() == {TopicPartition(new, 0)}
            assert ("-", old) in events
            assert events[-1] == ("+", new)
            key = TopicPartition(old, 0)
            assert (await consumer.committed([key]))[key].offset == 25

    def lag_of(consumer: Consumer, topic: str) -> int | None:
        return consumer.lag((topic, 0)) if TopicPartition(topic, 0) in consumer.assignment() else None

    asyncio.run(run())


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_nothing_comes_to_a_thread_of_a_topic_that_is_not_subscribed_to_any_more(
    cluster: RunningCluster, protocol: str
):
    async def prepare() -> tuple[str, str]:
        async with filled(cluster, 3_000) as old, filled(cluster, 3) as new:
            return old, new

    old, new = asyncio.run(prepare())
    settings = {"group_id": cluster.fresh("group"), "group_protocol": protocol, "auto_offset_reset": "earliest"}
    with BlockingConsumer(bootstrap_servers=cluster.bootstrap, max_poll_records=10, **settings) as consumer:
        consumer.subscribe([old])
        messages = iter(consumer)
        assert [next(messages).topic for _ in range(5)] == [old] * 5
        consumer.subscribe([new])
        assert next(messages).topic == new
        assert consumer.assignment() == {TopicPartition(new, 0)}
