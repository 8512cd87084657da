"""The share consumer against a broker that answers as no real one does at will."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pystream.client import AcknowledgeType
from pystream.client.aio import ShareConsumer
from pystream.client.share import session
from pystream.client.share.engine import ShareEngine
from pystream.common import error_codes as codes
from pystream.common.clock import ManualClock
from pystream.common.errors import (
    CorruptRecordBatch,
    DeadlineExceeded,
    Disconnected,
    InvalidRecordState,
    InvalidShareSessionEpoch,
    MalformedInput,
    PystreamError,
    ShareSessionNotFound,
    UnknownServerError,
    UnsupportedVersion,
)
from pystream.common.model import TopicPartition
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.message import Message
from pystream.protocol.messages.share_acknowledge import ShareAcknowledgeResponse
from tests.support.misbehaving_broker import QUICK, TOPIC, Act, MisbehavingBroker, acknowledged, acquired, records
from tests.support.scripted_broker import Peer, all_versions

TEST_SECONDS = 120
KEY = TopicPartition(TOPIC, 0)
EXPLICIT = {"share_acknowledgement_mode": "explicit"}
THREE = acquired(records(), (0, 2, 1))
NOTHING = acquired()

Work = Callable[[ShareConsumer, MisbehavingBroker], Awaitable[None]]


def run(
    work: Work,
    *acts: Act,
    acknowledging: Callable[[Any], Message | None] = acknowledged,
    clock: ManualClock | None = None,
    **settings: Any,
) -> MisbehavingBroker:
    """`acts` are what the ShareFetch requests get."""

    async def whole() -> MisbehavingBroker:
        async with asyncio.timeout(TEST_SECONDS), MisbehavingBroker(ApiKey.SHARE_FETCH) as broker:
            broker.acts += [*acts, NOTHING]
            broker.on(ApiKey.SHARE_ACKNOWLEDGE, acknowledging)
            consumer = ShareConsumer({**QUICK, "bootstrap_servers": broker.bootstrap}, group_id="g", **settings)
            if clock is not None:
                consumer._engine = ShareEngine(consumer.config, clock=clock)
            async with consumer:
                await consumer.subscribe(TOPIC)
                await work(consumer, broker)
            assert asyncio.all_tasks() - {asyncio.current_task()} - broker._tasks == set()
            return broker

    return asyncio.run(whole())


def said(broker: MisbehavingBroker) -> list[tuple[int, int, list[int]]]:
    """What was acknowledged, by either request."""
    return [
        (batch.first_offset, batch.last_offset, list(batch.acknowledge_types))
        for _, request in broker.requests
        if hasattr(request, "share_session_epoch")
        for topic in request.topics
        for part in topic.partitions
        for batch in part.acknowledgement_batches
    ]


def epochs(broker: MisbehavingBroker, key: ApiKey = ApiKey.SHARE_FETCH) -> list[int]:
    return [request.share_session_epoch for request in broker.asked(key)]


def test_acknowledgements_travel_with_the_next_fetch_and_the_session_is_closed():
    async def work(consumer: ShareConsumer, broker: MisbehavingBroker) -> None:
        assert len(await consumer.poll()) == 3
        assert await consumer.poll(0) == []
        while len(broker.asked(ApiKey.SHARE_FETCH)) < 2:
            await consumer.poll(0.01)

    broker = run(work, THREE)
    assert said(broker) == [(0, 2, [AcknowledgeType.ACCEPT])]
    assert epochs(broker)[:2] == [0, 1]
    (last,) = broker.asked(ApiKey.SHARE_ACKNOWLEDGE)
    assert (last.share_session_epoch, list(last.topics)) == (-1, [])
    assert len({request.member_id for key, request in broker.requests if hasattr(request, "member_id")}) == 1
    assert [request.member_epoch for request in broker.asked(ApiKey.SHARE_GROUP_HEARTBEAT)][-1] == -1
    first, second = broker.asked(ApiKey.SHARE_FETCH)[:2]
    assert [len(topic.partitions) for topic in first.topics] == [1]
    assert (first.max_records, first.batch_size, first.share_acquire_mode) == (500, 500, 0)
    assert second.max_wait_ms <= 10


def test_nothing_is_fetched_while_something_is_here_and_memory_stays_bounded():
    async def work(consumer: ShareConsumer, broker: MisbehavingBroker) -> None:
        for offset in range(3):
            (message,) = await consumer.poll(None, 1)
            assert message.offset == offset
            assert len(broker.asked(ApiKey.SHARE_FETCH)) == 1

    broker = run(work, THREE)
    assert said(broker) == [(0, 0, [1]), (1, 1, [1])]  # the third is released by the end of the session
    assert epochs(broker, ApiKey.SHARE_ACKNOWLEDGE)[-1] == -1


def test_records_whose_lock_ran_out_while_they_waited_are_not_handed_out():
    clock = ManualClock()

    async def work(consumer: ShareConsumer, broker: MisbehavingBroker) -> None:
        (message,) = await consumer.poll(None, 1)
        assert message.offset == 0
        clock.advance(ms=30_001)
        assert [m.offset for m in await consumer.poll()] == [1, 2]
        assert len(broker.asked(ApiKey.SHARE_FETCH)) == 2

    run(work, THREE, acquired(records(), (1, 2, 2)), clock=clock)


def test_a_session_that_the_broker_does_not_know_is_begun_anew():
    async def work(consumer: ShareConsumer, _: MisbehavingBroker) -> None:
        told: list[Any] = []
        consumer.set_acknowledgement_commit_callback(told.append)
        assert len(await consumer.poll()) == 3
        assert [m.delivery_count for m in await consumer.poll()] == [2, 2, 2]
        (result,) = told
        assert (result.partition, result.offsets) == (KEY, [(0, 2)])
        assert isinstance(result.error, InvalidShareSessionEpoch)

    lost = acquired(whole_error_code=codes.INVALID_SHARE_SESSION_EPOCH)
    assert epochs(run(work, THREE, lost, acquired(records(), (0, 2, 2))))[:3] == [0, 1, 0]


def test_what_a_broken_connection_gave_can_no_longer_be_acknowledged():
    async def work(consumer: ShareConsumer, broker: MisbehavingBroker) -> None:
        messages = await consumer.poll()
        await broker.drop()
        for message in messages:
            consumer.acknowledge(message)
        (error,) = (await consumer.commit()).values()
        assert isinstance(error, ShareSessionNotFound | Disconnected)  # as it was found out
        assert [m.delivery_count for m in await consumer.poll()] == [2, 2, 2]
        consumer.acknowledge_offset(TOPIC, 0, 1, AcknowledgeType.RELEASE)
        assert await consumer.commit() == {KEY: None}

    broker = run(work, THREE, acquired(records(), (0, 2, 2)), **EXPLICIT)
    assert said(broker) == [(1, 1, [2])]
    assert epochs(broker)[:2] == [0, 0]


def test_acknowledgements_are_sent_again_while_the_coordinator_loads():
    answers = [codes.COORDINATOR_LOAD_IN_PROGRESS, codes.COORDINATOR_NOT_AVAILABLE, codes.NONE]

    async def work(consumer: ShareConsumer, _: MisbehavingBroker) -> None:
        await consumer.poll()
        assert await consumer.commit() == {KEY: None}

    broker = run(work, THREE, acknowledging=lambda r: acknowledged(r, answers.pop(0) if answers else 0))
    assert said(broker) == [(0, 2, [1])] * 3


def test_what_cannot_be_acknowledged_is_told():
    async def work(consumer: ShareConsumer, _: MisbehavingBroker) -> None:
        await consumer.poll()
        (error,) = (await consumer.commit()).values()
        assert isinstance(error, InvalidRecordState)

    run(work, THREE, acknowledging=lambda request: acknowledged(request, codes.INVALID_RECORD_STATE))


def test_a_commit_ends_when_its_time_is_over():
    async def work(consumer: ShareConsumer, broker: MisbehavingBroker) -> None:
        await consumer.poll()
        (error,) = (await consumer.commit(0.05)).values()
        assert isinstance(error, DeadlineExceeded)
        broker.on(ApiKey.SHARE_ACKNOWLEDGE, acknowledged)
        await broker.drop()

    run(work, THREE, acknowledging=lambda _: None)


def test_a_partition_that_an_answer_leaves_out_is_told():
    async def work(consumer: ShareConsumer, _: MisbehavingBroker) -> None:
        await consumer.poll()
        (error,) = (await consumer.commit()).values()
        assert isinstance(error, UnknownServerError)

    run(work, THREE, acknowledging=lambda _: ShareAcknowledgeResponse())


def test_gaps_and_damaged_batches_are_told_by_themselves():
    damaged = bytearray(records(3, base_offset=10))
    damaged[-1] ^= 1

    async def work(consumer: ShareConsumer, broker: MisbehavingBroker) -> None:
        assert [m.offset for m in await consumer.poll()] == [0, 1, 2]
        with pytest.raises(CorruptRecordBatch):
            await consumer.poll()
        while len(said(broker)) < 2:
            await consumer.poll(0.01)

    broker = run(work, acquired(records() + bytes(damaged), (0, 2, 1), (3, 9, 1), (10, 20, 1)))
    kinds = [AcknowledgeType.REJECT] * 10 + [AcknowledgeType.RELEASE] * 8
    assert sorted(said(broker)) == [(0, 2, [AcknowledgeType.ACCEPT]), (3, 20, kinds)]


@pytest.mark.parametrize(
    "ranges", [[(5, 4, 1)], [(0, 2, 1), (2, 3, 1)], [(-4, 2, 1)], [(0, 2, -1)], [(2, 2, 1), (0, 1, 1)]]
)
def test_ranges_that_make_no_sense_are_malformed(ranges: list[tuple[int, int, int]]):
    async def work(consumer: ShareConsumer, _: MisbehavingBroker) -> None:
        with pytest.raises(MalformedInput, match="acquired"):
            await consumer.poll()
        assert len(await consumer.poll()) == 3

    run(work, acquired(records(), *ranges), THREE)


def test_renewal_needs_a_broker_that_has_it():
    versions = all_versions()
    for each in versions.api_keys:
        if each.api_key == ApiKey.SHARE_ACKNOWLEDGE:
            each.max_version = 1

    async def work(consumer: ShareConsumer, _: MisbehavingBroker) -> None:
        (message, *_) = await consumer.poll()
        with pytest.raises(UnsupportedVersion, match="cannot renew"):
            consumer.acknowledge(message, AcknowledgeType.RENEW)

    async def whole() -> None:
        async with asyncio.timeout(TEST_SECONDS), MisbehavingBroker(ApiKey.SHARE_FETCH) as broker:
            broker.acts += [THREE, NOTHING]
            broker.on(ApiKey.API_VERSIONS, lambda _: versions)
            settings = {**QUICK, **EXPLICIT, "bootstrap_servers": broker.bootstrap, "group_id": "g"}
            async with ShareConsumer(settings) as consumer:
                await consumer.subscribe(TOPIC)
                await work(consumer, broker)

    asyncio.run(whole())


def test_what_a_failing_callback_kept_from_the_user_comes_again_and_is_not_accepted():
    async def work(consumer: ShareConsumer, broker: MisbehavingBroker) -> None:
        def fail(result: Any) -> None:
            raise ZeroDivisionError(result)

        assert len(await consumer.poll()) == 3
        consumer.set_acknowledgement_commit_callback(fail)
        with pytest.raises(ZeroDivisionError):
            await consumer.poll()
        consumer.set_acknowledgement_commit_callback(None)
        assert [m.offset for m in await consumer.poll()] == [3, 4]
        assert said(broker) == [(0, 2, [1])]

    run(work, THREE, acquired(records(2, base_offset=3), (3, 4, 1)))


def test_a_cancelled_poll_leaves_what_comes_to_the_next_one():
    async def work(consumer: ShareConsumer, broker: MisbehavingBroker) -> None:
        arrived, cancelled = asyncio.Event(), asyncio.Event()

        async def late(peer: Peer) -> None:
            arrived.set()
            await cancelled.wait()
            await peer.answer(THREE)

        broker.acts[:0] = [late]
        poll = asyncio.create_task(consumer.poll())
        await arrived.wait()
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll
        cancelled.set()
        assert len(await consumer.poll()) == 3

    run(work)


def test_a_session_that_fails_of_itself_is_told_and_begun_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """The poll once waited for ever: there was no memory for an answer, and nobody to tell."""
    failures = [MemoryError("no memory")]

    def once(*given: Any) -> None:
        if failures:
            raise failures.pop()

    monkeypatch.setattr(session, "check_acquired", once)

    async def work(consumer: ShareConsumer, broker: MisbehavingBroker) -> None:
        with pytest.raises(PystreamError, match="share session with broker 1 failed: MemoryError"):
            await consumer.poll()
        assert [message.offset for message in await consumer.poll()] == [0, 1, 2]

    assert epochs(run(work, THREE, THREE))[:2] == [0, 0]
    assert "a task of the client failed" in caplog.text
