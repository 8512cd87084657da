"""What users do in rebalance callbacks, and what is committed by itself, on our broker and on Apache Kafka."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pystream.client import Consumer as BlockingConsumer
from pystream.client.aio import Consumer
from pystream.common.model import TopicPartition
from tests.conformance.sdk.conftest import RunningCluster
from tests.conformance.sdk.test_consumer import PATIENCE, PROTOCOLS, filled, poll_until, read, reader

COUNT = 10


class Refusal(Exception):
    """Of a callback."""


def refuse(_: object) -> None:
    raise Refusal


def settings_of(cluster: RunningCluster, protocol: str, strategy: str, **more: Any) -> dict[str, Any]:
    """Of a member of a group that nobody knows yet."""
    settings: dict[str, Any] = {"group_id": cluster.fresh("group"), "group_protocol": protocol, **more}
    if protocol == "classic":
        settings |= {"partition_assignment_strategy": strategy, "heartbeat_interval_ms": 200}
    return settings


async def committed(cluster: RunningCluster, group_id: str, place: tuple[str, int]) -> int | None:
    async with reader(cluster, group_id=group_id) as asking:
        (found,) = (await asking.committed([place])).values()
        return None if found is None else found.offset


@pytest.mark.parametrize(("protocol", "strategy"), PROTOCOLS)
def test_what_a_callback_raises_comes_out_of_the_poll_once(cluster: RunningCluster, protocol: str, strategy: str):
    async def run() -> None:
        settings = settings_of(cluster, protocol, strategy)
        async with filled(cluster, COUNT) as topic, reader(cluster, **settings) as consumer:
            await consumer.subscribe(topic, on_assigned=refuse, on_revoked=refuse)
            with pytest.raises(Refusal):
                await poll_until([consumer], lambda: False)
            assert consumer.assignment() == {TopicPartition(topic, 0)}
            assert await read(consumer, COUNT) == [b"v%d" % n for n in range(COUNT)]
            with pytest.raises(Refusal):
                await consumer.unsubscribe()
            assert (consumer.assignment(), consumer.subscription()) == (set(), set())
            assert await committed(cluster, settings["group_id"], (topic, 0)) == COUNT

    asyncio.run(run())


@pytest.mark.parametrize(("protocol", "strategy"), PROTOCOLS)
def test_a_callback_moves_pauses_and_resumes_what_came(cluster: RunningCluster, protocol: str, strategy: str):
    async def run() -> None:
        came: list[TopicPartition] = []
        async with (
            filled(cluster, COUNT, 3) as topic,
            reader(cluster, **settings_of(cluster, protocol, strategy)) as consumer,
        ):
            moved, held, other = (TopicPartition(topic, number) for number in range(3))

            async def place(partitions: list[TopicPartition]) -> None:
                came.extend(partitions)
                await consumer.seek(moved, 7)
                await consumer.pause(partitions)
                await consumer.resume([moved])
                assert await consumer.position(other) == 0
                await consumer.seek(other, 9)
                assert await consumer.position(other) == 9

            await consumer.subscribe(topic, on_assigned=place)
            found = [
                (message.partition, message.offset) for message in await poll_until([consumer], lambda: bool(came))
            ]
            while len(found) < 3:
                found += [(message.partition, message.offset) for message in await consumer.poll()]
            assert found == [(0, 7), (0, 8), (0, 9)]
            assert consumer.paused() == {held, other}
            await consumer.resume([other])
            assert [(message.partition, message.offset) for message in await consumer.poll()] == [(2, 9)]

    asyncio.run(run())


@pytest.mark.parametrize(("protocol", "strategy"), PROTOCOLS)
def test_closing_commits_what_was_handed_out_and_no_more(cluster: RunningCluster, protocol: str, strategy: str):
    async def run() -> None:
        settings = settings_of(cluster, protocol, strategy)
        revoked: list[int] = []
        async with filled(cluster, COUNT) as topic:
            place = TopicPartition(topic, 0)
            async with reader(cluster, **settings) as consumer:

                async def note(partitions: list[TopicPartition]) -> None:
                    revoked.append(await consumer.position(partitions[0]))

                await consumer.subscribe(topic, on_revoked=note)
                async with asyncio.timeout(PATIENCE):
                    while (batch := await consumer.poll_batch(max_records=4)) is None:
                        continue
                assert list(batch.offsets) == [0, 1, 2, 3]
                assert await consumer.position(place) == 4
            assert revoked == [4]
            assert await committed(cluster, settings["group_id"], place) == 4
            async with reader(cluster, **settings) as consumer:
                await consumer.subscribe(topic)
                assert await read(consumer, COUNT - 4) == [b"v%d" % n for n in range(4, COUNT)]

    asyncio.run(run())


def test_what_a_loop_did_not_come_to_is_not_committed(cluster: RunningCluster):
    async def prepare() -> str:
        async with filled(cluster, COUNT) as topic:
            return topic

    topic = asyncio.run(prepare())
    settings = {"group_id": cluster.fresh("group"), "auto_offset_reset": "earliest"}
    with BlockingConsumer(bootstrap_servers=cluster.bootstrap, **settings) as consumer:
        consumer.subscribe(topic)
        for message in consumer:
            if message.offset == 5:
                break
    assert asyncio.run(committed(cluster, settings["group_id"], (topic, 0))) == 6


def test_partitions_that_are_assigned_no_more_are_committed(cluster: RunningCluster):
    async def run() -> None:
        group_id = cluster.fresh("group")
        async with filled(cluster, COUNT, 2) as topic, reader(cluster, group_id=group_id) as consumer:
            first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
            await consumer.assign([first])
            assert len(await read(consumer, COUNT)) == COUNT
            await consumer.assign([second])
            assert len(await read(consumer, COUNT)) == COUNT
            await consumer.unsubscribe()
            assert await committed(cluster, group_id, first) == COUNT
            assert await committed(cluster, group_id, second) == COUNT

    asyncio.run(run())


@pytest.mark.parametrize(("protocol", "strategy"), PROTOCOLS)
def test_commits_while_partitions_are_handed_over_lose_and_repeat_nothing(
    cluster: RunningCluster, protocol: str, strategy: str
):
    async def run() -> None:
        settings = settings_of(cluster, protocol, strategy, enable_auto_commit=False)
        found: list[tuple[int, int]] = []
        async with (
            filled(cluster, 40, 4) as topic,
            reader(cluster, **settings) as one,
            reader(cluster, **settings) as two,
        ):

            async def join(consumer: Consumer) -> None:
                await consumer.subscribe(topic, on_revoked=lambda _: consumer.commit())

            async def turn(consumer: Consumer) -> None:
                found.extend((message.partition, message.offset) for message in await consumer.poll(0.02, 3))

            await join(one)
            async with asyncio.timeout(PATIENCE):
                while len(found) < 20:
                    await turn(one)
                await join(two)
                while len(found) < 160 or not len(one.assignment()) == len(two.assignment()) == 2:
                    await turn(one)
                    await turn(two)
        assert sorted(found) == [(partition, offset) for partition in range(4) for offset in range(40)]

    asyncio.run(run())
