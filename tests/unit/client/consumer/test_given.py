"""What users hand to a consumer and cannot mean is refused at the door, in both faces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pystream.client import AdminClient
from pystream.client import Consumer as BlockingConsumer
from pystream.client import ShareConsumer as BlockingShareConsumer
from pystream.client.aio import Consumer, ShareConsumer
from pystream.client.producer.offsets import committed_topics
from pystream.common.model import TopicPartition

SETTINGS = {"bootstrap.servers": "127.0.0.1:1", "group.id": "g"}
PLACE = TopicPartition("t", 0)
TEST_SECONDS = 60

Call = Callable[..., Any]


@pytest.fixture(params=["asyncio", "blocking"])
def call(request: pytest.FixtureRequest) -> Iterator[Call]:
    """call("poll", …): a method of a consumer that reads one partition, which no broker has"""
    if request.param == "blocking":
        with BlockingConsumer(SETTINGS) as consumer:
            consumer.assign([PLACE])
            yield lambda name, *given, **named: getattr(consumer, name)(*given, **named)
        return

    async def one(name: str, *given: Any, **named: Any) -> Any:
        async with asyncio.timeout(TEST_SECONDS), Consumer(SETTINGS) as consumer:
            await consumer.assign([PLACE])
            found = getattr(consumer, name)(*given, **named)
            return await found if asyncio.iscoroutine(found) else found

    yield lambda name, *given, **named: asyncio.run(one(name, *given, **named))


@pytest.mark.parametrize("way", ["poll", "poll_batch"])
def test_less_than_one_record_cannot_be_wanted(call: Call, way: str):
    for most in (0, -1):
        with pytest.raises(ValueError, match="max_records of 1 and above"):
            call(way, 0, max_records=most)
    for most in (1.5, "1"):
        with pytest.raises(TypeError, match="max_records is a whole number"):
            call(way, 0, max_records=most)
    with pytest.raises(TypeError, match="timeout is a number of seconds"):
        call(way, "1")
    assert not call(way, 0, 1)


@pytest.mark.parametrize("face", [ShareConsumer, BlockingShareConsumer])
@pytest.mark.parametrize("way", ["poll", "poll_batch"])
def test_share_consumers_refuse_the_same(face: Call, way: str):
    consumer = face(SETTINGS)

    def call(*given: Any) -> Any:
        found = getattr(consumer, way)(*given)
        return asyncio.run(found) if asyncio.iscoroutine(found) else found

    with pytest.raises(ValueError, match="max_records of 1 and above"):
        call(0, 0)
    with pytest.raises(TypeError, match="timeout is a number of seconds"):
        call("1")
    closing = consumer.close()
    if closing is not None:
        asyncio.run(closing)


@pytest.mark.parametrize("way", ["commit", "commit_async"])
def test_an_offset_that_is_none_is_not_committed(call: Call, way: str):
    for wrong in (-5, -1, (-1, "text")):
        with pytest.raises(ValueError, match="t-0: invalid negative offset"):
            call(way, {PLACE: wrong})
    for wrong in ("5", 1.5, True, None, ("5", "text")):
        with pytest.raises(TypeError, match="t-0: the offset is a whole number"):
            call(way, {PLACE: wrong})


def test_an_offset_that_is_none_is_not_sent_by_an_admin_or_in_a_transaction():
    with AdminClient(bootstrap_servers="127.0.0.1:1") as admin:
        for alter in (admin.alter_consumer_group_offsets, admin.alter_streams_group_offsets):
            with pytest.raises(ValueError, match="t-0: invalid negative offset"):
                alter("g", {PLACE: -1})
            with pytest.raises(TypeError, match="t-0: the offset is a whole number"):
                alter("g", {PLACE: "5"})
    with pytest.raises(ValueError, match="t-0: invalid negative offset"):
        committed_topics({PLACE: -5})
    with pytest.raises(TypeError, match="t-0: the offset is a whole number"):
        committed_topics({PLACE: 1.5})


def test_places_to_go_on_at_are_whole_numbers(call: Call):
    for wrong in ("1", 1.5, None):
        with pytest.raises(TypeError, match="an offset is a whole number"):
            call("seek", PLACE, wrong)
        with pytest.raises(TypeError, match="timestamp_ms is a whole number"):
            call("seek_to_time", wrong)


def test_who_subscribes_says_to_what(call: Call):
    with pytest.raises(TypeError, match="expected topics, or a pattern"):
        call("subscribe")
    with pytest.raises(TypeError, match="expected topics, or a pattern"):
        call("subscribe", None)
    with pytest.raises(TypeError, match="expected names of topics, found 5"):
        call("subscribe", 5)
