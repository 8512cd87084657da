"""What a consumer fetches and keeps, against a broker that answers late, in the wrong order, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pystream._native.message_batch import MessageBatch
from pystream._native.record_builder import RecordBatchBuilder
from pystream.client.aio import Consumer
from pystream.client.consumer.fetch_buffer import Fetched
from pystream.client.consumer.model import END
from pystream.client.consumer.positions import PartitionState
from pystream.common import error_codes as codes
from pystream.common.errors import ClientError, DeadlineExceeded, NetworkFailure, NoBrokersAvailable
from pystream.common.model import TopicPartition
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages import list_offsets
from tests.support.group_broker import GroupBroker
from tests.support.misbehaving_broker import QUICK, TOPIC, fetched, records
from tests.support.scripted_broker import Peer

TEST_SECONDS = 120
PLACE = TopicPartition(TOPIC, 0)
ZSTD = 4

Work = Callable[[GroupBroker, Consumer], Awaitable[None]]


def run(work: Work, **settings: Any) -> None:
    async def whole() -> None:
        async with asyncio.timeout(TEST_SECONDS), GroupBroker() as broker:
            async with Consumer(bootstrap_servers=broker.bootstrap, **{**QUICK, **settings}) as consumer:
                await consumer.assign([PLACE])
                await consumer.seek(PLACE, 0)
                await work(broker, consumer)
            assert asyncio.all_tasks() - {asyncio.current_task()} - broker._tasks == set()

    asyncio.run(whole())


async def read(consumer: Consumer, count: int) -> list[bytes | None]:
    found: list[bytes | None] = []
    while len(found) < count:
        found += [message.value for message in await consumer.poll()]
    return found


def test_an_answer_that_comes_after_a_seek_still_tells_how_far_the_log_reaches():
    async def work(broker: GroupBroker, consumer: Consumer) -> None:
        asked = asyncio.Event()
        answer = asyncio.Event()

        async def serve(peer: Peer) -> None:
            while True:
                request = await peer.request()
                broker.requests.append((ApiKey(peer.header.api_key), request))
                if peer.header.api_key != ApiKey.FETCH:
                    await peer.answer(broker._answers[peer.header.api_key](request))
                elif not asked.is_set():
                    asked.set()
                    await answer.wait()
                    await peer.answer(fetched(records()))

        broker.script = serve
        await broker.drop()
        polling = asyncio.create_task(consumer.poll(0.5))
        await asked.wait()
        await consumer.seek(PLACE, 40)
        answer.set()
        assert await polling == []
        while consumer.lag(PLACE) is None:
            assert await consumer.poll(0.05) == []
        assert consumer.lag(PLACE) == 60

    run(work)


def listed(offset: int) -> list_offsets.ListOffsetsResponse:
    part = list_offsets.ListOffsetsPartitionResponse(partition_index=0, offset=offset)
    return list_offsets.ListOffsetsResponse(
        topics=[list_offsets.ListOffsetsTopicResponse(name=TOPIC, partitions=[part])]
    )


def test_the_end_that_a_seek_found_is_a_lag_before_anything_is_fetched():
    async def work(broker: GroupBroker, consumer: Consumer) -> None:
        broker.on(ApiKey.LIST_OFFSETS, lambda _: listed(70))
        broker.silent.add(ApiKey.FETCH)
        await consumer.seek(PLACE, END)
        assert await consumer.position(PLACE) == 70
        assert consumer.lag(PLACE) == 0

    run(work)


def test_what_was_fetched_is_read_before_an_offset_out_of_range_moves_the_position():
    async def work(broker: GroupBroker, consumer: Consumer) -> None:
        broker.on(ApiKey.LIST_OFFSETS, lambda _: None)
        answers = [fetched(records()), fetched(error_code=codes.OFFSET_OUT_OF_RANGE)]
        broker.on(ApiKey.FETCH, lambda _: answers.pop(0) if len(answers) > 1 else answers[0])
        await broker.heard(ApiKey.FETCH, 3)
        assert await read(consumer, 3) == [b"v0", b"v1", b"v2"]
        await broker.heard(ApiKey.LIST_OFFSETS, 1)
        assert broker.asked(ApiKey.LIST_OFFSETS)[0].topics[0].partitions[0].timestamp == END

    run(work, auto_offset_reset="latest")


def test_a_task_that_dies_of_a_bug_is_told_and_replaced(monkeypatch: pytest.MonkeyPatch):
    async def work(broker: GroupBroker, consumer: Consumer) -> None:
        fetcher = consumer._engine.fetcher
        with monkeypatch.context() as patched:
            patched.setattr(fetcher, "_take", lambda *_, **__: 1 // 0)
            with pytest.raises(ClientError, match="please report"):
                await consumer.poll()
        await consumer.seek(PLACE, 0)
        assert await read(consumer, 3) == [b"v0", b"v1", b"v2"]

    run(work)


def test_the_bound_of_what_is_fetched_ahead_counts_what_compressed_records_become():
    builder = RecordBatchBuilder(codec=ZSTD)
    builder.append(bytes(1 << 20), timestamp=1)
    data = builder.build()
    assert len(data) < 1 << 12
    assert Fetched(PartitionState(PLACE), 0, MessageBatch(data, TOPIC, 0)).size_bytes > 1 << 20


def test_a_session_that_is_given_up_is_named_in_the_request_that_begins_anew():
    async def work(broker: GroupBroker, consumer: Consumer) -> None:
        answers = [fetched(records()), fetched(whole_error_code=codes.INVALID_FETCH_SESSION_EPOCH)]
        answers[0].session_id = 77

        broker.on(ApiKey.FETCH, lambda _: answers.pop(0) if answers else None)
        await broker.heard(ApiKey.FETCH, 3)
        told = [(request.session_id, request.session_epoch) for request in broker.asked(ApiKey.FETCH)[:3]]
        assert told == [(0, 0), (77, 1), (77, 0)]

    run(work)


def test_questions_that_nobody_answers_say_that_nobody_could_be_reached():
    async def work(broker: GroupBroker, consumer: Consumer) -> None:
        await read(consumer, 3)
        await broker.stop()
        for ask in (
            lambda: consumer.end_offsets([PLACE], timeout=3),
            lambda: consumer.commit({PLACE: 1}, timeout=3),
            lambda: consumer.committed([PLACE], timeout=3),
            lambda: consumer.position(PLACE, timeout=3),
        ):
            await consumer.seek(PLACE, END)
            with pytest.raises(DeadlineExceeded) as raised:
                await ask()
            assert isinstance(raised.value.last_error, NoBrokersAvailable | NetworkFailure)
        assert await consumer.poll(0.01) == []
        broker.on(ApiKey.LIST_OFFSETS, lambda _: listed(70))  # the seek goes on asking, on the same connection
        await broker.start()
        assert (await consumer.committed([PLACE]))[PLACE] is not None

    run(work, group_id="group", enable_auto_commit=False)
