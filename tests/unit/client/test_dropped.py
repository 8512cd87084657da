"""Clients that nobody holds any more, and nobody closed: told, ended, and gone from their groups."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pystream import testing
from pystream.client import AdminClient, Consumer, Producer, ShareConsumer, aio
from pystream.client.admin.configs import ConfigResource, ConfigResourceType
from pystream.client.admin.topics import NewTopic
from pystream.client.sync import runner
from pystream.common.errors import PystreamError
from pystream.common.model import TopicPartition
from pystream.protocol.api_keys import ApiKey
from tests.support.group_broker import GroupBroker

TOPIC = "dropped"
TEST_SECONDS = 60
FROM_THE_START = {"share.auto.offset.reset": "earliest"}


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    with testing.broker() as broker:
        with AdminClient(bootstrap_servers=broker.bootstrap) as admin:
            admin.create_topics([NewTopic(TOPIC, 1, 1)]).checked()
        with Producer(bootstrap_servers=broker.bootstrap) as producer:
            producer.send(TOPIC, b"value").result(TEST_SECONDS)
        yield broker.bootstrap


@pytest.fixture(autouse=True)
def nothing_left_of_others() -> None:
    """What earlier tests dropped is told of now, not by the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


def group_named(name: str) -> ConfigResource:
    return ConfigResource(ConfigResourceType.GROUP, name)


class App:
    """Its consumer calls it from everywhere that a user may have it called from."""

    def __init__(self, kind: Any, bootstrap: str, group: str, **settings: Any) -> None:
        self.messages: list[Any] = []
        self.consumer = kind(bootstrap_servers=bootstrap, group_id=group, value_deserializer=self.decoded, **settings)

    def decoded(self, topic: str, data: bytes) -> str:
        return data.decode()

    def told(self, *_: object) -> None:
        """Of whatever."""

    def read(self) -> None:
        if isinstance(self.consumer, ShareConsumer):
            self.consumer.set_acknowledgement_commit_callback(self.told)
            self.consumer.subscribe(TOPIC)
        else:
            self.consumer.subscribe(TOPIC, on_assigned=self.told, on_revoked=self.told, on_lost=self.told)
        while not (found := self.consumer.poll()):
            continue
        assert [message.value for message in found] == ["value"]
        self.consumer.commit_async(*() if isinstance(self.consumer, ShareConsumer) else (None, self.told))


def drop(held: list[Any], kind: str) -> str:
    """Let go of what is in a list; gives the warning."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        held.clear()
        gc.collect()
    (found,) = [str(each.message) for each in told if f"unclosed {kind}" in str(each.message)]
    return found


@pytest.fixture
def wait_for_loops(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Returns once no loop of this test's synchronous clients runs; they share none with those of other tests."""
    monkeypatch.setattr(runner, "_shared", [])
    before = set(threading.enumerate())

    def wait() -> None:
        for thread in set(threading.enumerate()) - before:
            if thread.name == "pystream-client":
                thread.join(TEST_SECONDS)
                assert not thread.is_alive()

    return wait


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_dropped_consumer_is_told_and_leaves_its_group(
    bootstrap: str, protocol: str, wait_for_loops: Callable[[], None]
):
    held = [App(Consumer, bootstrap, f"left-{protocol}", group_protocol=protocol, auto_offset_reset="earliest")]
    held[0].read()
    assert "close() it" in drop(held, "Consumer")
    wait_for_loops()
    with AdminClient(bootstrap_servers=bootstrap) as admin:
        found = admin.describe_consumer_groups([f"left-{protocol}"]).checked()
    assert found[f"left-{protocol}"].members == ()


def test_a_dropped_consumer_commits_nothing_by_itself(bootstrap: str, wait_for_loops: Callable[[], None]):
    never = {"auto_commit_interval_ms": 3_600_000}  # however long the group takes to be joined: at the end only
    consumer = Consumer(bootstrap_servers=bootstrap, group_id="uncommitted", auto_offset_reset="earliest", **never)
    held = [consumer]
    consumer.subscribe(TOPIC)
    while not consumer.poll():
        continue
    del consumer
    drop(held, "Consumer")
    wait_for_loops()
    place = TopicPartition(TOPIC, 0)
    with Consumer(bootstrap_servers=bootstrap, group_id="uncommitted") as reader:
        assert reader.committed([place]) == {place: None}


def test_a_dropped_share_consumer_gives_back_what_it_had_not_acknowledged(
    bootstrap: str, wait_for_loops: Callable[[], None]
):
    with AdminClient(bootstrap_servers=bootstrap) as admin:
        admin.incremental_alter_configs({group_named("given-back"): FROM_THE_START}).checked()
    held = [ShareConsumer(bootstrap_servers=bootstrap, group_id="given-back")]
    held[0].subscribe(TOPIC)
    while not held[0].poll():
        continue
    drop(held, "ShareConsumer")
    wait_for_loops()
    with ShareConsumer(bootstrap_servers=bootstrap, group_id="given-back") as other:
        other.subscribe(TOPIC)
        while not (found := other.poll()):
            continue
        assert [(message.value, message.delivery_count) for message in found] == [(b"value", 2)]


def test_a_share_consumer_with_callbacks_is_collected(bootstrap: str, wait_for_loops: Callable[[], None]):
    with AdminClient(bootstrap_servers=bootstrap) as admin:
        admin.incremental_alter_configs({group_named("called"): FROM_THE_START}).checked()
    held = [App(ShareConsumer, bootstrap, "called")]
    held[0].read()
    drop(held, "ShareConsumer")
    wait_for_loops()


class Sending:
    """Its producer has callbacks and serializers of its own."""

    def __init__(self, bootstrap: str) -> None:
        self.producer = Producer(
            bootstrap_servers=bootstrap, value_serializer=self.encoded, partitioner=self.chosen, linger_ms=60_000
        )

    def encoded(self, topic: str, value: str) -> bytes:
        return value.encode()

    def chosen(self, topic: str, key: bytes | None, count: int) -> int:
        return 0


def test_the_records_of_a_dropped_producer_are_told_and_sent(bootstrap: str, wait_for_loops: Callable[[], None]):
    held = [Sending(bootstrap)]
    delivery = held[0].producer.send(TOPIC, "last")
    assert "; 1 records are not delivered, and are sent only if" in drop(held, "Producer")
    assert delivery.result(TEST_SECONDS).offset > 0
    wait_for_loops()


def test_a_dropped_producer_without_records_is_told_and_ends(bootstrap: str, wait_for_loops: Callable[[], None]):
    held = [Sending(bootstrap)]
    held[0].producer.send(TOPIC, "flushed")
    held[0].producer.flush()
    assert "records" not in drop(held, "Producer")
    wait_for_loops()


def test_a_dropped_admin_client_is_told_and_ends(bootstrap: str, wait_for_loops: Callable[[], None]):
    held = [AdminClient(bootstrap_servers=bootstrap)]
    assert held[0].list_topics()
    drop(held, "AdminClient")
    wait_for_loops()


def test_an_admin_client_of_a_loop_that_is_dropped_ends(bootstrap: str):
    async def work() -> None:
        async with asyncio.timeout(TEST_SECONDS):
            held = [aio.AdminClient(bootstrap_servers=bootstrap)]
            assert await held[0].list_topics()
            connection = await held[0].cluster.any_broker()
            drop(held, "AdminClient")
            await connection._lost
            while others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(others)
            assert not connection.is_open

    asyncio.run(work())


@pytest.mark.parametrize("kind", [AdminClient, Consumer, ShareConsumer, Producer])
def test_a_client_that_was_never_used_ends_all_the_same(kind: Any, wait_for_loops: Callable[[], None]):
    group = {} if kind in (AdminClient, Producer) else {"group_id": "unused"}
    held = [kind(bootstrap_servers="127.0.0.1:1", **group)]
    drop(held, kind.__name__)
    wait_for_loops()


@pytest.mark.parametrize("kind", [aio.AdminClient, aio.Consumer, aio.ShareConsumer, aio.Producer])
def test_an_unused_client_of_a_loop_holds_nothing(kind: Any):
    group = {} if kind in (aio.AdminClient, aio.Producer) else {"group_id": "unused"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind(bootstrap_servers="127.0.0.1:1", **group)
        gc.collect()


@pytest.mark.parametrize("kind", [AdminClient, Consumer, ShareConsumer, Producer])
def test_a_closed_client_is_not_told_of(kind: Any, bootstrap: str):
    group = {} if kind in (AdminClient, Producer) else {"group_id": "closed"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind(bootstrap_servers=bootstrap, **group).close()
        gc.collect()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_consumer_of_a_loop_that_is_dropped_leaves_its_group(protocol: str):
    async def work() -> None:
        async with asyncio.timeout(TEST_SECONDS), GroupBroker() as broker:
            held = [broker.consumer(group_protocol=protocol)]
            await held[0].subscribe("topic", on_revoked=lambda _, held=held: held[0].commit_async())
            while not await held[0].poll():
                continue
            await held[0].commit()
            committed = len(broker.committed)
            drop(held, "Consumer")
            await broker.until(lambda: has_left(broker))
            assert len(broker.committed) == committed
            await ended(broker)

    asyncio.run(work())


def has_left(broker: GroupBroker) -> bool:
    heartbeats = broker.asked(ApiKey.CONSUMER_GROUP_HEARTBEAT)
    return bool(broker.asked(ApiKey.LEAVE_GROUP)) or any(request.member_epoch < 0 for request in heartbeats)


async def ended(broker: GroupBroker) -> None:
    """Return once no task of a client runs."""
    while others := asyncio.all_tasks() - {asyncio.current_task()} - broker._tasks:
        await asyncio.wait(others)


def test_a_producer_of_a_loop_that_is_dropped_sends_what_it_has(bootstrap: str):
    async def work() -> None:
        async with asyncio.timeout(TEST_SECONDS):
            held = [aio.Producer(bootstrap_servers=bootstrap, linger_ms=60_000)]
            delivery = await held[0].send(TOPIC, b"value")
            assert "; 1 records are not delivered" in drop(held, "Producer")
            assert (await delivery).offset > 0
            while others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(others)

    asyncio.run(work())


def test_a_client_whose_loop_has_ended_is_told_of(bootstrap: str):
    async def begun() -> list[Any]:
        consumer = aio.Consumer(bootstrap_servers=bootstrap, group_id="ended")
        await consumer.subscribe(TOPIC)
        await consumer.poll(0)
        return [consumer]

    drop(asyncio.run(begun()), "Consumer")


def test_an_error_that_is_kept_keeps_no_engine_busy(bootstrap: str, wait_for_loops: Callable[[], None]):
    held = [Consumer(bootstrap_servers=bootstrap, group_id="failed", auto_offset_reset="none")]
    held[0].subscribe(TOPIC)
    with pytest.raises(PystreamError, match=r"auto\.offset\.reset"):
        held[0].poll()
    drop(held, "Consumer")
    wait_for_loops()
