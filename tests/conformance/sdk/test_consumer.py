"""The consumer, on our broker and on Apache Kafka."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from pystream.client import Consumer as BlockingConsumer
from pystream.client.admin.topics import NewTopic
from pystream.client.aio import AdminClient, Consumer, Producer
from pystream.client.consumer.model import OffsetAndMetadata
from pystream.common.errors import (
    ClientError,
    ClientForked,
    Closed,
    CommitFailed,
    InvalidGroupId,
    NoOffsetForPartition,
    OffsetOutOfRange,
    TopicAlreadyExists,
    UnknownTopicOrPartition,
    Wakeup,
)
from pystream.common.model import TopicPartition
from tests.conformance.sdk.conftest import RunningCluster, eventually

PATIENCE = 120.0  # as long as a machine may need that runs Java and two other suites beside
BEGAN_MS = int(time.time() * 1000)  # records of long ago would fall to retention while the tests run
GROUP_SETTINGS: dict[str, Any] = {
    "heartbeat_interval_ms": 200,
    "enable_auto_commit": False,
}


async def fill(
    cluster: RunningCluster, topic: str, values: Iterable[bytes], partition: int = 0, **options: Any
) -> None:
    async with Producer(bootstrap_servers=cluster.bootstrap, **options) as producer:
        for number, value in enumerate(values):
            await producer.send(topic, value, partition=partition, timestamp=BEGAN_MS + number)
        await producer.flush()


@asynccontextmanager
async def filled(cluster: RunningCluster, count: int, partitions: int = 1) -> AsyncIterator[str]:
    """A topic with `count` records v0, v1 … in each partition, one for each millisecond from BEGAN_MS on"""
    async with AdminClient(bootstrap_servers=cluster.bootstrap) as admin:
        topic = await cluster.new_topic(admin, "consume", partitions)
        for partition in range(partitions):
            await fill(cluster, topic, (b"v%d" % n for n in range(count)), partition)
        yield topic


def reader(cluster: RunningCluster, **settings: Any) -> Consumer:
    return Consumer({"bootstrap.servers": cluster.bootstrap, "auto.offset.reset": "earliest"}, **settings)


async def read(consumer: Consumer, count: int) -> list[bytes | None]:
    found: list[bytes | None] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            found += [message.value for message in await consumer.poll()]
    return found


async def poll_until(consumers: Iterable[Consumer], holds: Callable[[], bool]) -> list[Any]:
    """Poll all of them in turn until `holds`; the messages that came."""
    found: list[Any] = []
    async with asyncio.timeout(PATIENCE):
        while not holds():
            for consumer in consumers:
                found += await consumer.poll(0.02)
    return found


def test_everything_is_read_once_in_order_by_each_way_of_reading(cluster: RunningCluster):
    async def run() -> None:
        async with filled(cluster, 1500) as topic, reader(cluster) as consumer:
            expected = [b"v%d" % n for n in range(1500)]
            await consumer.assign([(topic, 0)])
            assert await read(consumer, 1500) == expected
            await consumer.seek_to_beginning()
            found = []
            async for message in consumer:
                found.append(message.value)
                if len(found) == 1500:
                    break
            assert found == expected
            assert await consumer.position((topic, 0)) == 1500
            await consumer.seek((topic, 0), 0)
            rows: list[bytes | None] = []
            while len(rows) < 1500:
                batch = await consumer.poll_batch(PATIENCE)
                assert batch is not None
                assert batch.offsets[0] == len(rows)
                rows += batch.values()
            assert rows == expected
            assert consumer.lag((topic, 0)) == 0

    asyncio.run(run())


def test_positions_are_found_by_offset_time_and_edge(cluster: RunningCluster):
    async def run() -> None:
        async with filled(cluster, 100) as topic, reader(cluster) as consumer:
            key = TopicPartition(topic, 0)
            await consumer.assign([key])
            assert await consumer.beginning_offsets([key]) == {key: 0}
            assert await consumer.end_offsets([key]) == {key: 100}
            found = await consumer.offsets_for_times({key: BEGAN_MS + 40})
            assert found[key] is not None
            assert (found[key].offset, found[key].timestamp) == (40, BEGAN_MS + 40)
            assert await consumer.offsets_for_times({key: BEGAN_MS + 9_000}) == {key: None}
            await consumer.seek_to_time(BEGAN_MS + 70)
            assert (await read(consumer, 30))[0] == b"v70"
            await consumer.seek_to_end()
            assert await consumer.position(key) == 100
            await consumer.seek_to_time(BEGAN_MS + 9_000)
            assert await consumer.position(key) == 100

    asyncio.run(run())


def test_a_paused_partition_gives_nothing_until_it_is_resumed(cluster: RunningCluster):
    async def run() -> None:
        async with filled(cluster, 10, partitions=2) as topic, reader(cluster, max_poll_records=3) as consumer:
            await consumer.assign([(topic, 0), (topic, 1)])
            await consumer.pause([(topic, 0)])
            found = await read(consumer, 10)
            assert found == [b"v%d" % n for n in range(10)]
            assert await consumer.poll(0.05) == []
            assert consumer.paused() == {TopicPartition(topic, 0)}
            await consumer.resume([(topic, 0)])
            assert await read(consumer, 10) == found

    asyncio.run(run())


def test_aborted_transactions_are_read_by_who_wants_them_only(cluster: RunningCluster):
    async def run() -> None:
        async with filled(cluster, 0) as topic:
            name = cluster.fresh("txn")
            async with Producer(bootstrap_servers=cluster.bootstrap, transactional_id=name) as producer:
                await producer.init_transactions()
                for value, commit in ((b"a", True), (b"b", False), (b"c", True)):
                    await producer.begin_transaction()
                    await producer.send(topic, value, partition=0)
                    await producer.flush()
                    await (producer.commit_transaction() if commit else producer.abort_transaction())
            for level, expected in (("read_committed", [b"a", b"c"]), ("read_uncommitted", [b"a", b"b", b"c"])):
                async with reader(cluster, isolation_level=level) as consumer:
                    await consumer.assign([(topic, 0)])
                    assert await read(consumer, len(expected)) == expected
                    assert await consumer.position((topic, 0)) <= 6

    asyncio.run(run())


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches_are_read(cluster: RunningCluster, codec: str):
    async def run() -> None:
        async with filled(cluster, 0) as topic, reader(cluster) as consumer:
            values = [b"%d " % n * 20 for n in range(500)]
            await fill(cluster, topic, values, compression_type=codec)
            await consumer.assign([(topic, 0)])
            assert await read(consumer, 500) == values

    asyncio.run(run())


PROTOCOLS = [
    ("classic", "range"),
    ("classic", "roundrobin"),
    ("classic", "sticky"),
    ("classic", "cooperative-sticky"),
    ("consumer", "range"),
]


@pytest.mark.parametrize(("protocol", "strategy"), PROTOCOLS)
def test_members_share_the_partitions_and_hand_them_over(cluster: RunningCluster, protocol: str, strategy: str):
    async def run() -> None:
        group = cluster.fresh("group")
        events: list[tuple[str, int]] = []

        def member(name: str) -> tuple[Consumer, dict[str, Any]]:
            settings = {"group_protocol": protocol, "partition_assignment_strategy": strategy, **GROUP_SETTINGS}
            callbacks = {
                "on_assigned": lambda found: events.append((f"{name}+", len(found))),
                "on_revoked": lambda found: events.append((f"{name}-", len(found))),
            }
            return reader(cluster, group_id=group, **settings), callbacks

        async with filled(cluster, 50, partitions=4) as topic:
            (first, of_first), (second, of_second) = member("a"), member("b")
            await first.subscribe([topic], **of_first)
            assert len(await read(first, 200)) == 200
            await first.commit()
            assert len(first.assignment()) == 4
            await second.subscribe([topic], **of_second)
            await poll_until([first, second], lambda: len(first.assignment()) == len(second.assignment()) == 2)
            assert not first.assignment() & second.assignment()
            cooperative = strategy == "cooperative-sticky" or protocol == "consumer"
            assert ("a-", 2 if cooperative else 4) in events
            for partition in range(4):
                await fill(cluster, topic, [b"more"], partition)
            found = await poll_until([first, second], lambda: len(found_by(first, second)) == 4)
            assert sorted(message.partition for message in found) == [0, 1, 2, 3]
            await second.close()
            await poll_until([first], lambda: len(first.assignment()) == 4)
            await first.close()
            await first.close()

    def found_by(*consumers: Consumer) -> list[TopicPartition]:
        """The partitions that were read to their end."""
        return [
            key
            for consumer in consumers
            for key in consumer.assignment()
            if consumer.lag(key) == 0 and consumer._engine.positions.get(key).position == 51
        ]

    asyncio.run(run())


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_group_goes_on_where_it_committed(cluster: RunningCluster, protocol: str):
    async def run() -> None:
        group = cluster.fresh("group")
        async with filled(cluster, 100) as topic:
            key = TopicPartition(topic, 0)
            async with reader(cluster, group_id=group, group_protocol=protocol, **GROUP_SETTINGS) as consumer:
                await consumer.subscribe(topic)
                async for message in consumer:
                    if message.offset == 29:
                        break
                await consumer.commit()
                assert (await consumer.committed([key]))[key].offset == 30
                await consumer.commit({key: OffsetAndMetadata(40, "by hand")})
            async with reader(cluster, group_id=group, group_protocol=protocol) as consumer:
                assert (await consumer.committed([key]))[key].metadata == "by hand"
                await consumer.subscribe(topic)
                assert (await read(consumer, 60))[0] == b"v40"
            async with reader(cluster, group_id=group) as consumer:  # the close before has committed by itself
                assert (await consumer.committed([key]))[key].offset == 100

    asyncio.run(run())


def test_a_pattern_takes_topics_that_come_later(cluster: RunningCluster):
    async def run() -> None:
        stem = cluster.fresh("pattern")
        settings = {**GROUP_SETTINGS, "metadata_max_age_ms": 200, "group_id": cluster.fresh("group")}
        async with AdminClient(bootstrap_servers=cluster.bootstrap) as admin, reader(cluster, **settings) as consumer:
            first = await cluster.new_topic(admin, stem)
            await consumer.subscribe(pattern=f"{stem}.*")
            await poll_until([consumer], lambda: len(consumer.assignment()) == 1)
            second = await cluster.new_topic(admin, stem)
            await poll_until([consumer], lambda: len(consumer.assignment()) == 2)
            assert consumer.subscription() == {first, second}

    asyncio.run(run())


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_static_member_comes_back_to_its_partitions_without_a_rebalance(cluster: RunningCluster, protocol: str):
    async def run() -> None:
        settings = {"group_id": cluster.fresh("group"), "group_protocol": protocol, **GROUP_SETTINGS}
        async with filled(cluster, 1, partitions=2) as topic:
            other = reader(cluster, group_instance_id="one", **settings)
            await other.subscribe(topic)
            await poll_until([other], lambda: len(other.assignment()) == 2)
            mine = reader(cluster, group_instance_id="two", **settings)
            await mine.subscribe(topic)
            await poll_until([other, mine], lambda: len(other.assignment()) == len(mine.assignment()) == 1)
            before = mine.assignment()
            await mine.close()
            again = reader(cluster, group_instance_id="two", **settings)
            await again.subscribe(topic)
            await poll_until([other, again], lambda: again.assignment() == before)
            assert len(other.assignment()) == 1
            await again.close()
            await other.close()

    asyncio.run(run())


def test_who_polls_too_seldom_loses_its_partitions_and_joins_again(cluster: RunningCluster):
    async def run() -> None:
        lost: list[TopicPartition] = []
        settings = {"group_id": cluster.fresh("group"), "max_poll_interval_ms": 600, **GROUP_SETTINGS}
        settings |= {"group_protocol": "classic", "session_timeout_ms": 6_000}
        async with filled(cluster, 5) as topic, reader(cluster, **settings) as consumer:
            await consumer.subscribe(topic, on_lost=lost.extend)
            assert len(await read(consumer, 5)) == 5
            threads = asyncio.to_thread(threading.Event().wait, 1.5)  # time without a poll
            await threads
            await poll_until([consumer], lambda: bool(lost))
            await poll_until([consumer], lambda: bool(consumer.assignment()))

    asyncio.run(run())


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_blocking_consumer_that_polls_too_seldom_joins_again(cluster: RunningCluster, protocol: str):
    async def prepare() -> str:
        async with filled(cluster, 5) as topic:
            return topic

    settings = {"group_id": cluster.fresh("group"), "max_poll_interval_ms": 600, "group_protocol": protocol}
    if protocol == "classic":
        settings |= {"heartbeat_interval_ms": 200, "session_timeout_ms": 6_000}
    topic, lost = asyncio.run(prepare()), threading.Event()
    with BlockingConsumer(bootstrap_servers=cluster.bootstrap, auto_offset_reset="earliest", **settings) as consumer:
        consumer.subscribe(topic, on_lost=lambda _: lost.set())
        assert len(consumer.poll(PATIENCE)) == 5
        while not consumer._engine.steps:  # time without a poll
            lost.wait(0.01)
        assert not lost.is_set()
        consumer.poll(0)
        assert lost.is_set()
        ends_at = time.monotonic() + PATIENCE
        while not consumer.assignment() and time.monotonic() < ends_at:
            consumer.poll(0.05)
        assert consumer.assignment() == {TopicPartition(topic, 0)}


def test_what_cannot_be_read_is_said(cluster: RunningCluster):
    async def run() -> None:
        async with filled(cluster, 3) as topic:
            async with reader(cluster, allow_auto_create_topics=False) as consumer:
                await consumer.assign([(topic, 9)])
                with pytest.raises(UnknownTopicOrPartition, match="it has 1 partitions"):
                    await consumer.poll(PATIENCE)
                await consumer.assign([(cluster.fresh("nowhere"), 0)])
                with pytest.raises(UnknownTopicOrPartition, match="the topic does not exist"):
                    await consumer.poll(PATIENCE)
            settings = {"bootstrap_servers": cluster.bootstrap, "auto_offset_reset": "none"}
            async with Consumer(**settings, group_id=cluster.fresh("group")) as consumer:
                await consumer.assign([(topic, 0)])
                with pytest.raises(NoOffsetForPartition, match=r"auto\.offset\.reset=none"):
                    await consumer.poll(PATIENCE)
                await consumer.seek((topic, 0), 77)
                with pytest.raises(OffsetOutOfRange, match="at offset 77"):
                    await consumer.poll(PATIENCE)
                await consumer.seek((topic, 0), 1)
                assert await read(consumer, 2) == [b"v1", b"v2"]

    asyncio.run(run())


def test_an_offset_out_of_range_goes_to_where_the_config_says(cluster: RunningCluster):
    async def run() -> None:
        async with filled(cluster, 3) as topic, reader(cluster) as consumer:
            await consumer.assign([(topic, 0)])
            await consumer.seek((topic, 0), 1_000)
            assert await read(consumer, 3) == [b"v0", b"v1", b"v2"]

    asyncio.run(run())


def test_uses_that_make_no_sense_are_refused(cluster: RunningCluster):
    async def run() -> None:
        consumer = reader(cluster)
        with pytest.raises(InvalidGroupId):
            await consumer.subscribe("t")
        with pytest.raises(InvalidGroupId):
            await consumer.commit()
        with pytest.raises(ClientError, match="not assigned"):
            await consumer.seek(("t", 0), 5)
        await consumer.close()
        with pytest.raises(Closed):
            await consumer.poll(1)
        async with reader(cluster, group_id="g") as subscribed:
            await subscribed.subscribe("t")
            with pytest.raises(ClientError, match="unsubscribe"):
                await subscribed.assign([("t", 0)])

    asyncio.run(run())


def test_the_blocking_consumer_reads_the_same(cluster: RunningCluster):
    async def prepare() -> str:
        async with filled(cluster, 1000) as topic:
            return topic

    topic = asyncio.run(prepare())
    with BlockingConsumer(
        bootstrap_servers=cluster.bootstrap, group_id=cluster.fresh("g"), auto_offset_reset="earliest", **GROUP_SETTINGS
    ) as consumer:
        assigned: list[threading.Thread] = []
        consumer.subscribe(topic, on_assigned=lambda _: assigned.append(threading.current_thread()))
        found = []
        for message in consumer:
            found.append(message.value)
            if len(found) == 500:
                consumer.commit()
                consumer.seek((topic, 0), 600)
            if len(found) == 900:
                break
        assert found == [b"v%d" % n for n in [*range(500), *range(600, 1000)]]
        assert assigned == [threading.current_thread()]
        assert consumer.committed([(topic, 0)])[TopicPartition(topic, 0)].offset == 500
        assert consumer.position((topic, 0)) == 1000
        timer = threading.Timer(0.05, consumer.wakeup)
        timer.start()
        with pytest.raises(Wakeup):
            consumer.poll(PATIENCE)
        assert consumer.poll(0.0) == []
        consumer.seek_to_beginning()
        batch = consumer.poll_batch(PATIENCE)
        assert batch is not None
        assert batch.values()[0] == b"v0"
        child = os.fork()
        if child == 0:
            try:
                consumer.poll(1)
            except ClientForked:
                consumer.close()
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    consumer.close()
    with pytest.raises(Closed):
        consumer.poll(1)


def test_the_first_message_waits_for_no_second_try(cluster: RunningCluster):
    """Nothing fails on the way from subscribe to it: whoever tried again would wait for an hour."""

    async def run() -> None:
        never = {"retry_backoff_ms": 3_600_000, "retry_backoff_max_ms": 3_600_000}
        async with filled(cluster, 1) as topic:
            for settings in ({}, {} if cluster.is_kafka else never):  # the first of all finds no coordinator yet
                async with reader(cluster, group_id=cluster.fresh("group"), **settings) as consumer:
                    await consumer.subscribe(topic)
                    assert len(await consumer.poll(PATIENCE)) == 1

    asyncio.run(run())


def test_commits_in_the_background_keep_their_order_and_call_back(cluster: RunningCluster):
    async def run() -> None:
        async with filled(cluster, 10) as topic:
            key, settings = TopicPartition(topic, 0), {"group_id": cluster.fresh("group"), **GROUP_SETTINGS}
            told: list[Any] = []
            consumer = reader(cluster, **settings)
            await consumer.assign([key])
            assert len(await read(consumer, 10)) == 10
            consumer.commit_async({key: 3}, lambda offsets, error: told.append((offsets[key].offset, error)))
            consumer.commit_async(callback=lambda offsets, error: told.append((offsets[key].offset, error)))
            assert told == []  # only from calls of the user's
            await consumer.commit({key: 7})
            assert told == [(3, None), (10, None)]
            assert (await consumer.committed([key]))[key].offset == 7
            consumer.commit_async({key: 8})
            consumer.commit_async({TopicPartition("gone", 0): 1}, lambda _, error: told.append(error))
            await consumer.close()  # waits for both
            assert isinstance(told[-1], CommitFailed)
            async with reader(cluster, **settings) as again:
                assert (await again.committed([key]))[key].offset == 8

    asyncio.run(run())


def test_the_blocking_consumer_commits_in_the_background(cluster: RunningCluster):
    async def prepare() -> str:
        async with filled(cluster, 1) as topic:
            return topic

    key, told = TopicPartition(asyncio.run(prepare()), 0), []
    with BlockingConsumer(bootstrap_servers=cluster.bootstrap, group_id=cluster.fresh("g")) as consumer:
        consumer.assign([key])
        consumer.commit_async({key: 1}, lambda *result: told.append((*result, threading.current_thread())))
        ends_at = time.monotonic() + PATIENCE
        while not told and time.monotonic() < ends_at:
            consumer.poll(0.05)
        assert told == [({key: OffsetAndMetadata(1)}, None, threading.current_thread())]


async def made_anew(cluster: RunningCluster, admin: AdminClient, topic: str, values: Iterable[bytes]) -> None:
    """The topic deleted, made again under its name, and filled."""
    (await admin.delete_topics([topic])).checked()
    await eventually(admin.list_topics, lambda found: topic not in found)

    async def create() -> bool:
        (result,) = (await admin.create_topics([NewTopic(topic, 1, 1)])).values()
        return not isinstance(result, TopicAlreadyExists)

    await eventually(create, bool)
    await fill(cluster, topic, values)


@pytest.mark.parametrize("protocol", [None, "classic", "consumer"])
def test_a_topic_made_anew_while_it_is_read_is_read_from_its_beginning(cluster: RunningCluster, protocol: str | None):
    async def run() -> None:
        settings = {"metadata_max_age_ms": 500, "allow_auto_create_topics": False}
        if protocol is not None:
            settings |= {"group_id": cluster.fresh("group"), "group_protocol": protocol, **GROUP_SETTINGS}
            settings |= {"enable_auto_commit": True}
        async with AdminClient(bootstrap_servers=cluster.bootstrap) as admin:
            topic = await cluster.new_topic(admin, "anew")
            await fill(cluster, topic, (b"old%d" % n for n in range(5)))
            async with reader(cluster, **settings) as consumer:
                await (consumer.subscribe(topic) if protocol else consumer.assign([(topic, 0)]))
                assert await read(consumer, 5) == [b"old%d" % n for n in range(5)]
                if protocol is not None:
                    await consumer.commit()
                polling = asyncio.create_task(values_until(consumer, 20))
                await made_anew(cluster, admin, topic, (b"new%d" % n for n in range(20)))
                assert await polling == [b"new%d" % n for n in range(20)]
                assert await consumer.position((topic, 0)) == 20

    asyncio.run(run())


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_position_in_a_topic_is_never_committed_for_the_one_made_anew(cluster: RunningCluster, protocol: str):
    async def run() -> None:
        settings = {"group_id": cluster.fresh("group"), "group_protocol": protocol, "enable_auto_commit": False}
        settings |= {"allow_auto_create_topics": False}
        async with AdminClient(bootstrap_servers=cluster.bootstrap) as admin:
            topic = await cluster.new_topic(admin, "anew")
            await fill(cluster, topic, (b"old%d" % n for n in range(5)))
            async with reader(cluster, **settings) as consumer:
                await consumer.subscribe(topic)
                assert await read(consumer, 5) == [b"old%d" % n for n in range(5)]
                await consumer.pause([(topic, 0)])  # nothing is fetched: it hears late that the topic has gone
                await made_anew(cluster, admin, topic, (b"new%d" % n for n in range(20)))
                with suppress(CommitFailed):
                    await consumer.commit()  # of 5, which is refused, or of 0, where it has heard
            async with reader(cluster, **settings) as consumer:
                await consumer.subscribe(topic)
                assert await read(consumer, 20) == [b"new%d" % n for n in range(20)]

    asyncio.run(run())


async def values_until(consumer: Consumer, count: int) -> list[bytes | None]:
    """As many values, however often the topic is said not to be there meanwhile."""
    found: list[bytes | None] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            try:
                found += [message.value for message in await consumer.poll(0.5)]
            except UnknownTopicOrPartition:
                continue
    return found
