"""A consumer in its group, against a coordinator that says what no quiet cluster does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pystream.client.aio import Consumer
from pystream.common import error_codes as codes
from pystream.common.errors import (
    Closed,
    CommitFailed,
    FencedInstanceId,
    GroupAuthorizationFailed,
    InvalidGroupId,
    RebalanceInProgress,
    TopicAuthorizationFailed,
)
from pystream.common.model import TopicPartition
from pystream.protocol.api_keys import ApiKey
from tests.support.group_broker import GROUP, MEMBER, GroupBroker
from tests.support.misbehaving_broker import TOPIC, records

TEST_SECONDS = 120
CLOSING_SECONDS = 30  # unless told otherwise
PLACE = TopicPartition(TOPIC, 0)
MANY = 5
JOINS = {"classic": ApiKey.JOIN_GROUP, "consumer": ApiKey.CONSUMER_GROUP_HEARTBEAT}
HEARTBEATS = {"classic": ApiKey.HEARTBEAT, "consumer": ApiKey.CONSUMER_GROUP_HEARTBEAT}

Work = Callable[[GroupBroker], Awaitable[None]]
both = pytest.mark.parametrize("protocol", JOINS)


def run(work: Work) -> None:
    async def whole() -> None:
        async with asyncio.timeout(TEST_SECONDS), GroupBroker() as broker:
            await work(broker)
            assert asyncio.all_tasks() - {asyncio.current_task()} - broker._tasks == set()

    asyncio.run(whole())


class Events(list[tuple[str, int]]):
    """What rebalance callbacks were called with."""

    def callbacks(self) -> dict[str, Any]:
        return {
            f"on_{kind}": lambda found, kind=kind: self.append((kind, len(found)))
            for kind in ("assigned", "revoked", "lost")
        }


async def read_all(consumer: Consumer) -> None:
    while await consumer.poll() == []:
        continue


async def poll_until(consumer: Consumer, holds: Callable[[], bool]) -> None:
    while not holds():
        await consumer.poll(0.01)


# --- leaving ----------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("way", ["close", "unsubscribe"])
def test_who_leaves_commits_is_told_and_leaves_in_this_order(protocol: str, way: str):
    async def work(broker: GroupBroker) -> None:
        events = Events()
        async with broker.consumer(group_protocol=protocol) as consumer:
            await consumer.subscribe(TOPIC, **events.callbacks())
            await read_all(consumer)
            await getattr(consumer, way)()
            assert events == [("assigned", 1), ("revoked", 1)]
            assert broker.committed == [3]
            keys = [key for key, _ in broker.requests]
            left = ApiKey.LEAVE_GROUP if protocol == "classic" else ApiKey.CONSUMER_GROUP_HEARTBEAT
            assert keys.index(ApiKey.OFFSET_COMMIT) < len(keys) - 1 - keys[::-1].index(left)
            if protocol == "consumer":
                assert broker.asked(left)[-1].member_epoch == -1
            if way == "unsubscribe":
                assert consumer.assignment() == consumer.subscription() == set()

    run(work)


def test_a_static_member_of_the_new_protocol_says_that_it_comes_back():
    async def work(broker: GroupBroker) -> None:
        async with broker.consumer(group_protocol="consumer", group_instance_id="one") as consumer:
            await consumer.subscribe(TOPIC)
            await read_all(consumer)
        told = broker.asked(ApiKey.CONSUMER_GROUP_HEARTBEAT)[-1]
        assert (told.member_epoch, told.instance_id) == (-2, "one")

    run(work)


@both
def test_a_callback_that_fails_does_not_keep_the_consumer_from_closing(protocol: str):
    def fail(_: Any) -> None:
        raise ValueError("no")

    async def work(broker: GroupBroker) -> None:
        consumer = broker.consumer(group_protocol=protocol)
        await consumer.subscribe(TOPIC, on_revoked=fail)
        await read_all(consumer)
        with pytest.raises(ValueError, match="no"):
            await consumer.close()
        assert consumer._engine.is_closed

    run(work)


@both
def test_closing_waits_for_a_silent_broker_no_longer_than_it_is_told(protocol: str):
    async def work(broker: GroupBroker) -> None:
        consumer = broker.consumer(group_protocol=protocol)
        await consumer.subscribe(TOPIC)
        await read_all(consumer)
        broker.silent |= {*ApiKey}
        began = asyncio.get_running_loop().time()
        await consumer.close(timeout=0.2)
        assert asyncio.get_running_loop().time() - began < CLOSING_SECONDS - 5

    run(work)


@both
def test_a_callback_may_close_the_consumer(protocol: str):
    async def work(broker: GroupBroker) -> None:
        events: list[int] = []
        consumer = broker.consumer(group_protocol=protocol)

        async def close(found: list[TopicPartition]) -> None:
            events.append(len(found))
            await consumer.close()

        await consumer.subscribe(TOPIC, on_revoked=close)
        await read_all(consumer)
        await consumer.close()
        assert events == [1]
        with pytest.raises(Closed):
            await consumer.poll()

    run(work)


@both
def test_a_poll_in_the_last_callback_does_not_call_it_again(protocol: str):
    async def work(broker: GroupBroker) -> None:
        async with broker.consumer(group_protocol=protocol, enable_auto_commit=False) as consumer:
            revoked: list[list[TopicPartition]] = []

            async def on_revoked(partitions: list[TopicPartition]) -> None:
                revoked.append(partitions)
                await consumer.poll(0)

            await consumer.subscribe(TOPIC, on_revoked=on_revoked)
            await read_all(consumer)
            await consumer.unsubscribe()
            assert revoked == [[PLACE]]

    run(work)


def test_a_consumer_that_unsubscribed_may_subscribe_again():
    async def work(broker: GroupBroker) -> None:
        async with broker.consumer(group_protocol="consumer", enable_auto_commit=False) as consumer:
            events = Events()
            for _ in range(2):
                await consumer.subscribe(TOPIC, **events.callbacks())
                await read_all(consumer)
                await consumer.unsubscribe()
            assert events == [("assigned", 1), ("revoked", 1)] * 2

    run(work)


# --- coordinators that move, members that are fenced ------------------------------------------------------------------


@pytest.mark.parametrize(
    "code", [codes.NOT_COORDINATOR, codes.COORDINATOR_LOAD_IN_PROGRESS, codes.COORDINATOR_NOT_AVAILABLE]
)
def test_a_coordinator_that_moves_is_no_reason_to_join_again(code: int):
    async def work(broker: GroupBroker) -> None:
        events = Events()
        async with broker.consumer(group_protocol="classic") as consumer:
            await consumer.subscribe(TOPIC, **events.callbacks())
            await read_all(consumer)
            broker.codes[ApiKey.HEARTBEAT] = [code] * MANY
            await broker.heard(ApiKey.HEARTBEAT, len(broker.asked(ApiKey.HEARTBEAT)) + 2 * MANY)
            await consumer.poll(0)
            assert len(broker.asked(ApiKey.JOIN_GROUP)) == 1
            assert events == [("assigned", 1)]

    run(work)


def test_connections_that_break_are_no_reason_to_join_again():
    async def work(broker: GroupBroker) -> None:
        events = Events()
        async with broker.consumer(group_protocol="classic") as consumer:
            await consumer.subscribe(TOPIC, **events.callbacks())
            await read_all(consumer)
            for _ in range(MANY):
                await broker.drop()
                await broker.heard(ApiKey.HEARTBEAT, len(broker.asked(ApiKey.HEARTBEAT)) + 2)
            await consumer.poll(0)
            assert len(broker.asked(ApiKey.JOIN_GROUP)) == 1
            assert events == [("assigned", 1)]

    run(work)


@both
def test_a_fenced_static_member_stays_out_and_says_so_with_each_poll(protocol: str):
    async def work(broker: GroupBroker) -> None:
        events = Events()
        async with broker.consumer(group_protocol=protocol, group_instance_id="one") as consumer:
            await consumer.subscribe(TOPIC, **events.callbacks())
            await read_all(consumer)
            broker.codes[HEARTBEATS[protocol]] = [codes.FENCED_INSTANCE_ID]
            for _ in range(MANY):
                with pytest.raises(FencedInstanceId, match=r"group\.instance\.id"):
                    await consumer.poll()
            assert broker.generation == 1
            assert broker.committed == []
            assert events == [("assigned", 1), ("lost", 1)]

    run(work)


@both
def test_what_ends_the_membership_is_told_though_records_are_there(protocol: str):
    async def work(broker: GroupBroker) -> None:
        broker.data = records(50_000)
        async with broker.consumer(group_protocol=protocol, max_poll_records=1) as consumer:
            await consumer.subscribe(TOPIC)
            assert len(await consumer.poll()) == 1
            broker.codes[HEARTBEATS[protocol]] = [codes.GROUP_AUTHORIZATION_FAILED]
            with pytest.raises(GroupAuthorizationFailed):
                await poll_until(consumer, lambda: False)
            assert await consumer.position(PLACE) < 50_000

    run(work)


def test_what_was_given_and_not_yet_taken_is_lost_with_the_membership():
    async def work(broker: GroupBroker) -> None:
        events = Events()
        async with broker.consumer(group_protocol="consumer") as consumer:
            await consumer.subscribe(TOPIC, **events.callbacks())
            assert await consumer._engine.wait(TEST_SECONDS)
            broker.partitions = []
            broker.codes[ApiKey.CONSUMER_GROUP_HEARTBEAT] = [codes.FENCED_MEMBER_EPOCH]
            await broker.until(lambda: broker.generation == 2)
            await broker.heard(ApiKey.CONSUMER_GROUP_HEARTBEAT, len(broker.asked(ApiKey.CONSUMER_GROUP_HEARTBEAT)) + 1)
            assert await consumer.poll(0.01) == []
            assert (events, consumer.assignment()) == ([], set())

    run(work)


def test_a_static_leader_that_comes_back_watches_the_topics_of_its_group():
    async def work(broker: GroupBroker) -> None:
        broker.skips_assignment = True
        async with broker.consumer(group_protocol="classic", group_instance_id="one") as consumer:
            await consumer.subscribe(TOPIC)
            await read_all(consumer)
            assert broker.asked(ApiKey.SYNC_GROUP)[0].assignments == []
            assert consumer._engine.membership.protocol._watched == {TOPIC: 1}

    run(work)


def test_topics_that_are_no_longer_subscribed_to_are_no_longer_asked_for():
    async def work(broker: GroupBroker) -> None:
        events = Events()
        async with broker.consumer(group_protocol="classic") as consumer:
            await consumer.subscribe(["nowhere", TOPIC])
            await read_all(consumer)
            await consumer.subscribe(TOPIC, **events.callbacks())
            await poll_until(consumer, lambda: ("assigned", 1) in events)
            await consumer._engine.cluster.refresh()
            assert [topic.name for topic in broker.asked(ApiKey.METADATA)[-1].topics] == [TOPIC]

    run(work)


# --- polls that are given up ------------------------------------------------------------------------------------------


def test_a_poll_that_is_cancelled_while_it_commits_leaves_the_rebalance_to_the_next():
    async def work(broker: GroupBroker) -> None:
        events = Events()
        async with broker.consumer(group_protocol="classic") as consumer:
            await consumer.subscribe(TOPIC, **events.callbacks())
            await read_all(consumer)
            broker.silent.add(ApiKey.OFFSET_COMMIT)
            broker.codes[ApiKey.HEARTBEAT] = [codes.REBALANCE_IN_PROGRESS]
            polling = asyncio.create_task(consumer.poll())
            await broker.heard(ApiKey.OFFSET_COMMIT, 1)
            polling.cancel()
            await asyncio.wait([polling])
            assert polling.cancelled()
            broker.silent.clear()
            await broker.drop()
            await poll_until(consumer, lambda: len(events) == 3)
            assert events == [("assigned", 1), ("revoked", 1), ("assigned", 1)]
            assert broker.committed[-1] == 3

    run(work)


def test_polls_that_never_wait_let_the_fetches_run():
    async def work(broker: GroupBroker) -> None:
        async with broker.consumer(group_protocol="classic") as consumer:
            await consumer.subscribe(TOPIC)
            while not await consumer.poll(0):
                continue

    run(work)


def test_polls_that_always_find_messages_let_the_heartbeats_run():
    async def work(broker: GroupBroker) -> None:
        async with broker.consumer(group_protocol="classic", max_poll_records=1) as consumer:
            await consumer.subscribe(TOPIC)
            await read_all(consumer)
            before = len(broker.asked(ApiKey.HEARTBEAT))
            while len(broker.asked(ApiKey.HEARTBEAT)) == before:
                consumer._engine.seek(PLACE, 0) if not consumer._engine.fetcher.buffer.has_some() else None
                await consumer.poll(0)

    run(work)


# --- commits ----------------------------------------------------------------------------------------------------------


@both
def test_who_has_no_place_in_the_group_cannot_commit_as_nobody(protocol: str):
    async def work(broker: GroupBroker) -> None:
        async with broker.consumer(group_protocol=protocol, enable_auto_commit=False) as consumer:
            await consumer.subscribe(TOPIC)
            await read_all(consumer)
            broker.codes[HEARTBEATS[protocol]] = [codes.UNKNOWN_MEMBER_ID]
            assert await consumer._engine.wait(TEST_SECONDS)
            with pytest.raises(CommitFailed, match="no place"):
                await consumer.commit()
            with pytest.raises(CommitFailed, match="no place"):
                consumer.group_metadata()
            assert broker.asked(ApiKey.OFFSET_COMMIT) == []

    run(work)


@both
def test_a_member_says_who_it_is(protocol: str):
    async def work(broker: GroupBroker) -> None:
        async with broker.consumer(group_protocol=protocol) as consumer:
            await consumer.subscribe(TOPIC)
            await read_all(consumer)
            told = consumer.group_metadata()
            assert (told.group_id, told.generation_id, told.group_instance_id) == (GROUP, 1, None)
            assert told.member_id == (MEMBER if protocol == "classic" else consumer._engine.commits.identity.member_id)
        async with Consumer(bootstrap_servers=broker.bootstrap) as alone:
            with pytest.raises(InvalidGroupId):
                alone.group_metadata()

    run(work)


def test_an_automatic_commit_does_not_come_behind_the_one_that_the_user_makes_next():
    async def work(broker: GroupBroker) -> None:
        async with broker.consumer(auto_commit_interval_ms=3_600_000) as consumer:
            await consumer.assign([PLACE])
            while not await consumer.poll(max_records=1):
                continue
            consumer._engine._next_commit_ms = 1  # long ago
            assert len(await consumer.poll(max_records=1)) == 1
            await consumer.commit()
            await consumer._engine.background.done()
            assert broker.committed == [1, 2]

    run(work)


def test_a_consumer_without_a_subscription_commits_for_a_group_it_is_not_in():
    async def work(broker: GroupBroker) -> None:
        async with broker.consumer(enable_auto_commit=False) as consumer:
            await consumer.assign([PLACE])
            await read_all(consumer)
            await consumer.commit()
            assert broker.committed == [3]
            assert broker.asked(ApiKey.OFFSET_COMMIT)[0].generation_id_or_member_epoch == -1
            assert consumer.group_metadata() == (GROUP, -1, "", None)

    run(work)


def test_a_commit_during_a_rebalance_may_be_made_again():
    async def work(broker: GroupBroker) -> None:
        async with broker.consumer(group_protocol="classic", enable_auto_commit=False) as consumer:
            await consumer.subscribe(TOPIC)
            await read_all(consumer)
            broker.codes[ApiKey.OFFSET_COMMIT] = [codes.REBALANCE_IN_PROGRESS]
            with pytest.raises(RebalanceInProgress, match="poll, then commit again"):
                await consumer.commit()
            await consumer.commit()
            assert broker.committed == [3]

    run(work)


def test_a_commit_in_a_generation_that_ended_while_the_group_meets_may_be_made_again():
    async def work(broker: GroupBroker) -> None:
        settings = {"partition_assignment_strategy": "cooperative-sticky", "enable_auto_commit": False}
        async with broker.consumer(group_protocol="classic", **settings) as consumer:
            await consumer.subscribe(TOPIC)
            await read_all(consumer)
            broker.silent.add(ApiKey.SYNC_GROUP)
            broker.codes[ApiKey.HEARTBEAT] = [codes.REBALANCE_IN_PROGRESS]
            await broker.heard(ApiKey.SYNC_GROUP, 2)
            broker.codes[ApiKey.OFFSET_COMMIT] = [codes.ILLEGAL_GENERATION]
            with pytest.raises(RebalanceInProgress):
                await consumer.commit()

    run(work)


def test_a_commit_of_a_generation_that_went_on_without_us_has_failed():
    async def work(broker: GroupBroker) -> None:
        async with broker.consumer(group_protocol="classic", enable_auto_commit=False) as consumer:
            await consumer.subscribe(TOPIC)
            await read_all(consumer)
            broker.codes[ApiKey.OFFSET_COMMIT] = [codes.ILLEGAL_GENERATION]
            with pytest.raises(CommitFailed, match="another member's"):
                await consumer.commit()

    run(work)


def test_an_epoch_that_is_stale_for_a_moment_does_not_fail_a_commit():
    async def work(broker: GroupBroker) -> None:
        async with broker.consumer(group_protocol="consumer", enable_auto_commit=False) as consumer:
            await consumer.subscribe(TOPIC)
            await read_all(consumer)
            broker.codes[ApiKey.OFFSET_COMMIT] = [codes.STALE_MEMBER_EPOCH] * 2
            await consumer.commit()
            assert broker.committed == [3]
            broker.codes[ApiKey.OFFSET_COMMIT] = [codes.STALE_MEMBER_EPOCH] * 100
            with pytest.raises(CommitFailed, match="poll, then commit again"):
                await consumer.commit()

    run(work)


def test_a_topic_that_must_not_be_read_is_told_to_who_subscribes_to_it():
    async def work(broker: GroupBroker) -> None:
        async with broker.consumer(group_protocol="classic") as consumer:
            broker.topic_codes[TOPIC] = codes.TOPIC_AUTHORIZATION_FAILED
            await consumer.subscribe(TOPIC)
            with pytest.raises(TopicAuthorizationFailed, match=TOPIC):
                await consumer.poll()
        async with Consumer(bootstrap_servers=broker.bootstrap) as alone:
            await alone.assign([PLACE])
            with pytest.raises(TopicAuthorizationFailed, match=TOPIC):
                await alone.poll()

    run(work)


def test_a_topic_that_stays_away_is_told_in_the_log(caplog: pytest.LogCaptureFixture):
    async def work(broker: GroupBroker) -> None:
        async with broker.consumer(group_protocol="classic", metadata_max_age_ms=10) as consumer:
            broker.topic_codes[TOPIC] = codes.UNKNOWN_TOPIC_OR_PARTITION
            await consumer.subscribe(TOPIC)
            await broker.heard(ApiKey.METADATA, 2 * MANY)

    run(work)
    (line,) = [record.getMessage() for record in caplog.records if "topic" in record.getMessage()]
    assert "UNKNOWN_TOPIC_OR_PARTITION" in line
