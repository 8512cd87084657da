"""The share consumer, on our broker and on Apache Kafka."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pystream.client import AcknowledgeType
from pystream.client import ShareConsumer as BlockingShareConsumer
from pystream.client.admin.configs import ConfigResource, ConfigResourceType
from pystream.client.admin.topics import NewTopic
from pystream.client.aio import AdminClient, Producer, ShareConsumer
from pystream.common.errors import ClientError, Closed, InvalidGroupId, InvalidRecordState, ShareSessionNotFound, Wakeup
from pystream.common.model import TopicPartition
from tests.conformance.sdk.conftest import RunningCluster, eventually

PATIENCE = 120.0
EXPLICIT = {"share.acknowledgement.mode": "explicit"}
LOCK_MS = 10_000  # where a test waits for its end, and does something before


async def fill(cluster: RunningCluster, topic: str, count: int, partition: int = 0, first: int = 0) -> None:
    async with Producer(bootstrap_servers=cluster.bootstrap) as producer:
        for number in range(first, first + count):
            await producer.send(topic, b"v%d" % number, key=b"k", partition=partition, headers=[("h", b"1")])
        await producer.flush()


@asynccontextmanager
async def queue(cluster: RunningCluster, count: int, partitions: int = 1, **configs: str) -> AsyncIterator[list[str]]:
    """A topic with `count` records v0, v1 … in each partition, and a group that begins with the first of them."""
    async with AdminClient(bootstrap_servers=cluster.bootstrap) as admin:
        topic, group = await cluster.new_topic(admin, "queue", partitions), cluster.fresh("share")
        wanted = {"share.auto.offset.reset": "earliest"} | {k.replace("_", "."): v for k, v in configs.items()}
        resource = ConfigResource(ConfigResourceType.GROUP, group)
        (await admin.incremental_alter_configs({resource: wanted})).checked()
        await eventually(
            lambda: admin.describe_configs([resource]),
            lambda found: found.checked()[resource]["share.auto.offset.reset"].value == "earliest",
        )
        for partition in range(partitions):
            await fill(cluster, topic, count, partition)
        yield [topic, group]


def member(cluster: RunningCluster, group: str, settings: dict[str, Any] | None = None) -> ShareConsumer:
    return ShareConsumer({"bootstrap.servers": cluster.bootstrap, "group.id": group, **(settings or {})})


async def take(consumer: ShareConsumer, most: int | None = None) -> list[Any]:
    """The first poll that gives something."""
    async with asyncio.timeout(PATIENCE):
        return await consumer.poll(None, most)


async def begun(cluster: RunningCluster, group: str, topic: str, settings: dict[str, Any] | None = None) -> Any:
    consumer = member(cluster, group, settings)
    await consumer.subscribe(topic)
    return consumer


def offsets(messages: list[Any]) -> list[int]:
    return [message.offset for message in messages]


async def the_group_is_at(cluster: RunningCluster, group: str, topic: str, offset: int, partition: int = 0) -> None:
    """The next record that anybody gets is one that is written now, at `offset`: those before it are done with."""
    await fill(cluster, topic, 1, partition, first=offset)
    async with await begun(cluster, group, topic) as consumer:
        found = [message for message in await take(consumer) if message.partition == partition]
        assert offsets(found) == [offset]
        await consumer.commit()


def test_everything_is_taken_once_and_accepted_by_the_next_poll(cluster: RunningCluster):
    async def run() -> None:
        async with queue(cluster, 700, partitions=2) as (topic, group):
            async with await begun(cluster, group, topic, {"max.poll.records": 200}) as consumer:
                found: list[Any] = []
                while len(found) < 1400:
                    messages = await take(consumer)
                    assert len(messages) <= 200
                    found += messages
                assert {(m.partition, m.offset): m.value for m in found} == {
                    (p, n): b"v%d" % n for p in range(2) for n in range(700)
                }
                assert {(m.topic, m.key, m.headers, m.delivery_count) for m in found} == {
                    (topic, b"k", (("h", b"1"),), 1)
                }
                assert consumer.assignment() == {TopicPartition(topic, 0), TopicPartition(topic, 1)}
                assert await consumer.poll(0.2) == []
            for partition in range(2):
                await the_group_is_at(cluster, group, topic, 700, partition)

    asyncio.run(run())


def test_accepted_records_are_gone_released_ones_come_back_rejected_ones_do_not(cluster: RunningCluster):
    async def run() -> None:
        async with queue(cluster, 10) as (topic, group):
            async with await begun(cluster, group, topic, EXPLICIT) as consumer:
                messages = await take(consumer)
                assert offsets(messages) == list(range(10))
                for message in messages[:4]:
                    consumer.acknowledge(message)
                for message in messages[4:7]:
                    consumer.acknowledge(message, AcknowledgeType.RELEASE)
                for message in messages[7:]:
                    consumer.acknowledge_offset(topic, 0, message.offset, AcknowledgeType.REJECT)
                assert await consumer.commit() == {TopicPartition(topic, 0): None}
                again = await take(consumer)
                assert [(m.offset, m.delivery_count) for m in again] == [(4, 2), (5, 2), (6, 2)]
                for message in again:
                    consumer.acknowledge(message)
                assert await consumer.poll(0.3) == []
            await the_group_is_at(cluster, group, topic, 10)

    asyncio.run(run())


def test_records_must_be_acknowledged_by_hand_before_the_next_poll(cluster: RunningCluster):
    async def run() -> None:
        async with queue(cluster, 3) as (topic, group), await begun(cluster, group, topic, EXPLICIT) as consumer:
            messages = await take(consumer)
            consumer.acknowledge(messages[0])
            with pytest.raises(ClientError, match="2 records of the last poll are not acknowledged"):
                await consumer.poll(0)
            with pytest.raises(ClientError, match=r"offset 99 of .* is not held"):
                consumer.acknowledge_offset(topic, 0, 99)
            assert await consumer.commit() == {TopicPartition(topic, 0): None}
            with pytest.raises(ClientError, match="or is committed"):
                consumer.acknowledge(messages[0])
            consumer.acknowledge(messages[1], AcknowledgeType.REJECT)
            consumer.acknowledge(messages[1], AcknowledgeType.RELEASE)  # said anew before it is sent
            consumer.acknowledge(messages[2])
            assert offsets(await take(consumer)) == [1]

    asyncio.run(run())


def test_acknowledging_by_hand_needs_the_explicit_mode(cluster: RunningCluster):
    async def run() -> None:
        async with queue(cluster, 1) as (topic, group), await begun(cluster, group, topic) as consumer:
            (message,) = await take(consumer)
            with pytest.raises(ClientError, match=r"share\.acknowledgement\.mode=explicit"):
                consumer.acknowledge(message)
            assert await consumer.commit() == {TopicPartition(topic, 0): None}
            assert await consumer.commit() == {}

    asyncio.run(run())


def test_closing_releases_what_is_held(cluster: RunningCluster):
    async def run() -> None:
        async with queue(cluster, 6) as (topic, group), await begun(cluster, group, topic, EXPLICIT) as other:
            async with await begun(cluster, group, topic, EXPLICIT) as first:
                both = [first, other]
                messages: list[Any] = []
                while not messages:
                    both.reverse()
                    messages = await both[0].poll(0.2)
                keeper, taker = both
                assert offsets(messages) == list(range(6))
                keeper.acknowledge(messages[0])
                keeper.acknowledge(messages[5])
                await keeper.close()
                await keeper.close()
                with pytest.raises(Closed):
                    await keeper.poll()
                again = await take(taker)
                assert [(m.offset, m.delivery_count) for m in again] == [(1, 2), (2, 2), (3, 2), (4, 2)]

    asyncio.run(run())


def test_a_lock_that_has_run_out_gives_the_record_to_somebody_else(cluster: RunningCluster):
    async def run() -> None:
        configs = {"share_record_lock_duration_ms": str(LOCK_MS)}
        async with queue(cluster, 2, **configs) as (topic, group):
            async with (
                await begun(cluster, group, topic, EXPLICIT) as first,
                await begun(cluster, group, topic, EXPLICIT) as second,
            ):
                messages = await take(first)
                assert offsets(messages) == [0, 1]
                assert first.acquisition_lock_timeout_ms == LOCK_MS
                first.acknowledge(messages[0])
                assert await first.commit() == {TopicPartition(topic, 0): None}
                assert [(m.offset, m.delivery_count) for m in await take(second)] == [(1, 2)]
                first.acknowledge(messages[1])
                (error,) = (await first.commit()).values()
                assert isinstance(error, InvalidRecordState)

    asyncio.run(run())


def test_a_renewed_record_stays_ours_and_comes_once_more(cluster: RunningCluster):
    async def run() -> None:
        configs = {"share_record_lock_duration_ms": str(LOCK_MS)}
        async with queue(cluster, 2, **configs) as (topic, group):
            async with (
                await begun(cluster, group, topic, EXPLICIT) as first,
                await begun(cluster, group, topic, EXPLICIT) as second,
            ):
                messages = await take(first)
                ends_at = time.monotonic() + LOCK_MS / 1000 * 1.3
                while time.monotonic() < ends_at:
                    for message in messages:
                        first.acknowledge(message, AcknowledgeType.RENEW)
                    assert await first.commit() == {TopicPartition(topic, 0): None}
                    messages = await take(first)
                    assert [(m.offset, m.delivery_count) for m in messages] == [(0, 1), (1, 1)]
                    assert await second.poll(LOCK_MS / 3000) == []
                for message in messages:
                    first.acknowledge(message)
                assert await first.commit() == {TopicPartition(topic, 0): None}

    asyncio.run(run())


def test_the_callback_is_told_what_became_of_acknowledgements(cluster: RunningCluster):
    async def run() -> None:
        async with queue(cluster, 5) as (topic, group), await begun(cluster, group, topic) as consumer:
            told: list[Any] = []

            async def note(result: Any) -> None:
                told.append(result)

            consumer.set_acknowledgement_commit_callback(note)
            assert offsets(await take(consumer, 5)) == list(range(5))
            consumer.commit_async()
            async with asyncio.timeout(PATIENCE):
                while not told:
                    await consumer.poll(0.05)
            ((result),) = told
            assert (result.partition, result.offsets, result.error) == (TopicPartition(topic, 0), [(0, 4)], None)

    asyncio.run(run())


def test_iteration_hands_out_no_more_than_it_came_to(cluster: RunningCluster):
    async def run() -> None:
        async with queue(cluster, 20) as (topic, group), await begun(cluster, group, topic) as consumer:
            async with asyncio.timeout(PATIENCE):
                async for message in consumer:
                    if message.offset == 6:
                        break
            assert await consumer.commit() == {TopicPartition(topic, 0): None}
            assert offsets(await take(consumer)) == list(range(7, 20))
            await consumer.close()  # releases them
            async with await begun(cluster, group, topic) as consumer:
                assert [(m.offset, m.delivery_count) for m in await take(consumer)] == [(n, 2) for n in range(7, 20)]

    asyncio.run(run())


def test_batches_of_columns_are_acknowledged_as_a_whole(cluster: RunningCluster):
    async def run() -> None:
        async with queue(cluster, 9) as (topic, group):
            async with await begun(cluster, group, topic, EXPLICIT) as consumer, asyncio.timeout(PATIENCE):
                found: list[int] = []
                while len(found) < 9:
                    batch = await consumer.poll_batch(None, 4)
                    assert batch is not None
                    assert len(batch) <= 4
                    assert batch[0].delivery_count == 1
                    found += list(batch.offsets)
                    consumer.acknowledge(batch, AcknowledgeType.ACCEPT)
                assert found == list(range(9))
                assert await consumer.commit() == {TopicPartition(topic, 0): None}
            await the_group_is_at(cluster, group, topic, 9)

    asyncio.run(run())


def test_a_strict_bound_of_records_leaves_the_rest_to_others(cluster: RunningCluster):
    async def run() -> None:
        settings = {**EXPLICIT, "share.acquire.mode": "record_limit", "max.poll.records": 3}
        async with queue(cluster, 6) as (topic, group):
            async with (
                await begun(cluster, group, topic, settings) as first,
                await begun(cluster, group, topic, settings) as second,
            ):
                assert offsets(await take(first)) == [0, 1, 2]
                assert offsets(await take(second)) == [3, 4, 5]

    asyncio.run(run())


def test_gaps_of_aborted_and_compacted_records_hold_nobody_up(cluster: RunningCluster):
    async def run() -> None:
        async with queue(cluster, 3, share_isolation_level="read_committed") as (topic, group):
            name = cluster.fresh("txn")
            async with Producer(bootstrap_servers=cluster.bootstrap, transactional_id=name) as producer:
                await producer.init_transactions()
                for value, commit in ((b"a", True), (b"b", False), (b"c", True)):
                    await producer.begin_transaction()
                    await producer.send(topic, value, partition=0)
                    await (producer.commit_transaction() if commit else producer.abort_transaction())
            async with await begun(cluster, group, topic) as consumer:
                values: list[Any] = []
                while len(values) < 5:
                    values += [message.value for message in await take(consumer)]
                assert values == [b"v0", b"v1", b"v2", b"a", b"c"]
                await consumer.commit()
                assert await consumer.poll(0.2) == []

    asyncio.run(run())


def test_a_new_subscription_replaces_the_last(cluster: RunningCluster):
    async def run() -> None:
        async with queue(cluster, 2) as (topic, group), AdminClient(bootstrap_servers=cluster.bootstrap) as admin:
            other = await cluster.new_topic(admin, "queue")
            await fill(cluster, other, 3)
            async with await begun(cluster, group, topic) as consumer:
                assert len(await take(consumer)) == 2
                await consumer.subscribe([other])
                assert {message.topic for message in await take(consumer)} == {other}
                assert consumer.subscription() == {other}
                await consumer.unsubscribe()
                assert (consumer.subscription(), consumer.assignment()) == (set(), set())
                with pytest.raises(ClientError, match="subscribe"):
                    await consumer.poll()

    asyncio.run(run())


def test_who_polls_too_seldom_gives_its_records_back_and_joins_again(cluster: RunningCluster):
    async def run() -> None:
        async with queue(cluster, 2) as (topic, group):
            async with (
                await begun(cluster, group, topic, {**EXPLICIT, "max.poll.interval.ms": 600}) as first,
                await begun(cluster, group, topic, EXPLICIT) as second,
            ):
                messages = await take(first)
                again = await take(second)
                assert [(m.offset, m.delivery_count) for m in again] == [(0, 2), (1, 2)]
                for message in messages:
                    first.acknowledge(message)
                (error,) = (await first.commit()).values()
                assert isinstance(error, ShareSessionNotFound)
                for message in again:
                    second.acknowledge(message, AcknowledgeType.RELEASE)
                await second.close()
                assert [(m.offset, m.delivery_count) for m in await take(first)] == [(0, 3), (1, 3)]

    asyncio.run(run())


def test_a_topic_made_anew_is_taken_from(cluster: RunningCluster):
    async def run() -> None:
        async with queue(cluster, 5) as (topic, group), AdminClient(bootstrap_servers=cluster.bootstrap) as admin:
            settings = {"metadata.max.age.ms": 500, "allow.auto.create.topics": False}  # it is the test that makes it
            async with await begun(cluster, group, topic, settings) as consumer:
                assert len(await take(consumer)) == 5
                await consumer.commit()
                polling = asyncio.create_task(take(consumer))
                (await admin.delete_topics([topic])).checked()
                await eventually(admin.list_topics, lambda found: topic not in found)
                await eventually(lambda: admin.create_topics([NewTopic(topic, 1, 1)]), lambda made: not made.failed)
                await fill(cluster, topic, 1, first=77)
                assert [(m.offset, m.value) for m in await polling] == [(0, b"v77")]

    asyncio.run(run())


@pytest.mark.parametrize("face", [ShareConsumer, BlockingShareConsumer])
def test_a_share_consumer_without_a_group_is_not_made(face: Callable[..., Any]):
    with pytest.raises(InvalidGroupId, match=r"group\.id"):
        face(bootstrap_servers="127.0.0.1:1")


# --- the synchronous face ---------------------------------------------------------------------------------------------


def prepared(cluster: RunningCluster, count: int) -> list[str]:
    async def run() -> list[str]:
        async with queue(cluster, count) as names:
            return names

    return asyncio.run(run())


def blocking(cluster: RunningCluster, group: str, topic: str, **settings: Any) -> BlockingShareConsumer:
    consumer = BlockingShareConsumer(bootstrap_servers=cluster.bootstrap, group_id=group, **settings)
    consumer.subscribe([topic])
    return consumer


def test_the_blocking_share_consumer_takes_and_accepts(cluster: RunningCluster):
    topic, group = prepared(cluster, 30)
    told: list[Any] = []
    with blocking(cluster, group, topic, max_poll_records=10) as consumer:
        consumer.set_acknowledgement_commit_callback(told.append)
        found = []
        for message in consumer:
            found.append(message.offset)
            if len(found) == 25:
                break
        assert found == list(range(25))
        assert consumer.commit() == {TopicPartition(topic, 0): None}
        batch = consumer.poll_batch(PATIENCE)
        assert batch is not None
        assert list(batch.offsets) == list(range(25, 30))
    assert [span for result in told for span in result.offsets][-1][1] == 24
    with pytest.raises(Closed):
        consumer.poll()
    with blocking(cluster, group, topic, share_acknowledgement_mode="explicit") as consumer:
        messages = consumer.poll(PATIENCE)
        assert [(m.offset, m.delivery_count) for m in messages] == [(n, 2) for n in range(25, 30)]
        for message in messages:
            consumer.acknowledge(message, AcknowledgeType.ACCEPT)
        assert consumer.commit() == {TopicPartition(topic, 0): None}
        assert consumer.poll(0.1) == []


def test_a_waiting_poll_is_woken_from_another_thread(cluster: RunningCluster):
    topic, group = prepared(cluster, 0)
    with blocking(cluster, group, topic) as consumer:
        timer = threading.Timer(0.1, consumer.wakeup)
        timer.start()
        with pytest.raises(Wakeup):
            consumer.poll(PATIENCE)
        timer.join()


def names_of(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def test_both_faces_have_the_same_names():
    assert names_of(BlockingShareConsumer) == names_of(ShareConsumer)
