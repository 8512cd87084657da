"""Consumers against a broker whose fetch answers are garbage: a typed error for each, and the client lives on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from pystream.client.aio import Consumer, ShareConsumer
from pystream.common import error_codes as codes
from pystream.common.errors import (
    CorruptRecordBatch,
    GroupAuthorizationFailed,
    LimitExceeded,
    MalformedInput,
    PystreamError,
    TopicAuthorizationFailed,
)
from pystream.protocol.api_keys import ApiKey
from tests.support.misbehaving_broker import (
    QUICK,
    TOPIC,
    Act,
    MisbehavingBroker,
    acquired,
    changed,
    fetched,
    raw,
    records,
    sized,
    torn,
)

TEST_SECONDS = 120
FLIPS = 150
VALUES = [b"v0", b"v1", b"v2"]


def cut(count: int) -> Callable[[bytearray], object]:
    def change(data: bytearray) -> None:
        del data[-count:]

    return change


SHARE_SENSE = acquired(records(), (0, 2, 1))
SENSE = {ApiKey.FETCH: fetched(records()), ApiKey.SHARE_FETCH: SHARE_SENSE}


async def values(consumer: Consumer | ShareConsumer, errors: list[PystreamError]) -> list[bytes | None]:
    """What the first poll gives that raises nothing."""
    while True:
        try:
            messages = await consumer.poll()
        except PystreamError as error:
            errors.append(error)
        else:
            return [message.value for message in messages]


async def read(broker: MisbehavingBroker, errors: list[PystreamError]) -> list[bytes | None]:
    settings = {**QUICK, "bootstrap_servers": broker.bootstrap, "receive_message_max_bytes": 1 << 20}
    settings["fetch_max_bytes"] = 1 << 19
    if broker.key == ApiKey.FETCH:
        async with Consumer(settings) as consumer:
            await consumer.assign([(TOPIC, 0)])
            await consumer.seek((TOPIC, 0), 0)
            return await values(consumer, errors)
    async with ShareConsumer(settings, group_id="group") as share_consumer:
        await share_consumer.subscribe(TOPIC)
        return await values(share_consumer, errors)


def run(key: ApiKey, *acts: Act) -> list[PystreamError]:
    """The errors of the polls; in the end the records come all the same."""
    errors: list[PystreamError] = []

    async def whole() -> None:
        async with asyncio.timeout(TEST_SECONDS), MisbehavingBroker(key) as broker:
            broker.acts += [*acts, SENSE[key]]
            assert await read(broker, errors) == VALUES
            assert asyncio.all_tasks() - {asyncio.current_task()} - broker._tasks == set()

    asyncio.run(whole())
    return errors


both = pytest.mark.parametrize("key", SENSE)


@both
@pytest.mark.parametrize("body", [b"", b"\0", b"\xff" * 100, b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_garbage_is_malformed(key: ApiKey, body: bytes):
    (error,) = run(key, raw(body))
    assert isinstance(error, MalformedInput)
    assert "does not parse" in str(error)
    assert "127.0.0.1" in str(error)


@both
@pytest.mark.parametrize("count", [1, 10, 60])
def test_an_answer_that_ends_too_early_is_malformed(key: ApiKey, count: int):
    (error,) = run(key, changed(SENSE[key], cut(count)))
    assert isinstance(error, MalformedInput)


@both
@pytest.mark.parametrize("size", [(1 << 20) + 1, 0x7FFFFFFF])
def test_a_frame_above_the_limit_is_refused_before_memory_is_taken(key: ApiKey, size: int):
    (error,) = run(key, sized(size))
    assert isinstance(error, LimitExceeded)
    assert "receive.message.max.bytes" in str(error)


@both
@pytest.mark.parametrize("size", [-1, 0, 3])
def test_a_size_that_no_frame_has_is_malformed(key: ApiKey, size: int):
    (error,) = run(key, sized(size))
    assert isinstance(error, MalformedInput)


@both
@pytest.mark.parametrize("size", [0, 3, 7, 40])
def test_a_torn_answer_is_fetched_again_without_a_word(key: ApiKey, size: int):
    assert run(key, torn(SENSE[key], size), torn(SENSE[key], size)) == []


@both
def test_an_answer_to_something_else_is_malformed(key: ApiKey):
    async def act(peer: Any) -> None:
        await peer.answer(SENSE[key], correlation_id=peer.header.correlation_id + 1)

    (error,) = run(key, act)
    assert isinstance(error, MalformedInput)
    assert "correlation id" in str(error)


def test_damaged_records_are_said_with_their_place():
    (error,) = run(ApiKey.FETCH, fetched(records()[:-1] + b"\xff"))
    assert isinstance(error, CorruptRecordBatch)
    assert f"{TOPIC}-0" in str(error)


def test_records_without_a_whole_batch_are_malformed():
    (error,) = run(ApiKey.FETCH, fetched(records()[:-1]))
    assert isinstance(error, MalformedInput)
    assert "no whole record batch" in str(error)


@both
def test_errors_that_time_does_not_mend_are_told(key: ApiKey):
    answer: Callable[..., Any] = fetched if key == ApiKey.FETCH else acquired
    partition, whole = run(
        key,
        answer(error_code=codes.TOPIC_AUTHORIZATION_FAILED),
        answer(whole_error_code=codes.GROUP_AUTHORIZATION_FAILED),
    )
    assert isinstance(partition, TopicAuthorizationFailed)
    assert isinstance(whole, GroupAuthorizationFailed)


@both
def test_errors_that_time_mends_are_not(key: ApiKey):
    answer: Callable[..., Any] = fetched if key == ApiKey.FETCH else acquired
    assert run(key, answer(error_code=codes.NOT_LEADER_OR_FOLLOWER), answer(error_code=codes.UNKNOWN_TOPIC_ID)) == []


@both
@pytest.mark.parametrize("seed", range(3))
def test_answers_with_flipped_bits_never_stop_the_client(key: ApiKey, seed: int):
    chance = random.Random(seed)

    def flip(data: bytearray) -> None:
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)

    async def whole() -> None:
        async with asyncio.timeout(TEST_SECONDS), MisbehavingBroker(key) as broker:
            broker.acts += [*(changed(SENSE[key], flip) for _ in range(FLIPS)), SENSE[key]]
            settings = {**QUICK, "bootstrap_servers": broker.bootstrap, "auto_offset_reset": "none"}
            consumer: Consumer | ShareConsumer
            if key == ApiKey.FETCH:
                consumer = Consumer(settings)
                await consumer.assign([(TOPIC, 0)])
                await consumer.seek((TOPIC, 0), 0)
            else:
                del settings["auto_offset_reset"]
                consumer = ShareConsumer(settings, group_id="group")
                await consumer.subscribe(TOPIC)
            async with consumer:
                while len(broker.acts) > 1:
                    await values(consumer, [])
                    if isinstance(consumer, Consumer):
                        await consumer.seek((TOPIC, 0), 0)
                while await values(consumer, []) != VALUES:
                    continue

    asyncio.run(whole())
