"""Deliveries: what a thread, a coroutine and a callback learn of a message."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

from pystream._native.accumulator import Accumulator
from pystream._native.delivery import NO_OFFSET, Delivery, ProducerBatch
from pystream.common import errors

LATER = 1 << 40


def buffer_of(*values: bytes) -> tuple[Accumulator, list[Delivery]]:
    buffer = Accumulator()
    buffer.set_topic("t", 1)
    return buffer, [delivery for value in values if (delivery := buffer.append("t", value, timestamp_ms=9))]


def drain(buffer: Accumulator) -> ProducerBatch:
    batch = buffer.drain("t", 0, LATER)
    assert batch is not None
    return batch


def test_a_delivery_is_the_messages_metadata():
    buffer, (first, second) = buffer_of(b"a", b"b")
    assert (second.topic, second.partition, second.offset, second.timestamp) == ("t", 0, NO_OFFSET, 9)
    assert not second.done()
    buffer.complete(drain(buffer), 70)
    assert (first.offset, second.offset, second.timestamp) == (70, 71, 9)
    assert second.result() is second
    assert second.exception() is None


def test_the_brokers_time_replaces_the_records():
    buffer, (delivery,) = buffer_of(b"a")
    buffer.complete(drain(buffer), 70, 1_000)
    assert delivery.timestamp == 1_000


def test_without_acks_there_is_no_offset():
    buffer, (first, second) = buffer_of(b"a", b"b")
    buffer.complete(drain(buffer), -1)
    assert first.done()
    assert (first.offset, second.offset) == (NO_OFFSET, NO_OFFSET)


def test_a_failure_is_raised_by_every_way_of_asking():
    buffer, (delivery,) = buffer_of(b"a")
    batch = drain(buffer)
    failure = errors.DeliveryTimeout("late")
    buffer.fail(batch, failure)
    with pytest.raises(errors.DeliveryTimeout):
        delivery.result()
    assert delivery.exception() is failure
    assert batch.exception() is failure


def test_waiting_ends_after_its_timeout():
    buffer, (delivery,) = buffer_of(b"a")
    with pytest.raises(TimeoutError):
        delivery.result(0.01)
    with pytest.raises(TimeoutError):
        delivery.exception(0)
    batch = drain(buffer)
    assert not batch.wait(0)
    buffer.complete(batch, 1)
    assert batch.wait(0)


def test_a_thread_waits_until_another_completes():
    buffer, (delivery,) = buffer_of(b"a")
    waiting = threading.Event()
    found = []

    def wait() -> None:
        waiting.set()
        found.append(delivery.result(30).offset)

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(30)
    buffer.complete(drain(buffer), 5)
    thread.join()
    assert found == [5]


def test_callbacks_are_called_once_each_with_their_delivery():
    buffer, (first, second) = buffer_of(b"a", b"b")
    called: list[object] = []
    first.add_callback(called.append)
    second.add_callback(called.append)
    batch = drain(buffer)
    batch.add_callback(called.append)
    assert called == []
    buffer.complete(batch, 1)
    assert called == [first, second, batch]
    first.add_callback(called.append)
    assert called[3:] == [first]


def test_a_callback_that_fails_does_not_keep_others_from_being_called(monkeypatch):
    seen = []
    monkeypatch.setattr("sys.unraisablehook", lambda unraisable: seen.append(unraisable.exc_type))
    buffer, (first, second) = buffer_of(b"a", b"b")
    called: list[object] = []
    first.add_callback(lambda _delivery: 1 // 0)
    second.add_callback(called.append)
    buffer.complete(drain(buffer), 1)
    assert (seen, called) == ([ZeroDivisionError], [second])


def test_coroutines_await_on_the_loop_that_completes():
    buffer, (first, second) = buffer_of(b"a", b"b")

    async def main() -> list[int]:
        *offsets, _ = await asyncio.gather(offset_of(first), offset_of(second), complete())
        return [*offsets, (await first).offset]

    async def complete() -> int:
        buffer.complete(drain(buffer), 3)
        return 0

    async def offset_of(delivery: Delivery) -> int:
        return (await delivery).offset

    assert asyncio.run(main()) == [3, 4, 3]


def test_coroutines_await_what_another_thread_completes():
    buffer, (delivery,) = buffer_of(b"a")
    batch = drain(buffer)

    async def main() -> int:
        thread = threading.Thread(target=buffer.complete, args=(batch, 8))
        thread.start()
        offset = (await delivery).offset
        await batch
        thread.join()
        return offset

    assert asyncio.run(main()) == 8


def test_a_failure_is_raised_by_await():
    buffer, (delivery,) = buffer_of(b"a")
    bulk = buffer.append_many("t", [b"b", b"c"])
    buffer.fail(drain(buffer), errors.DeliveryTimeout("late"))

    async def main() -> None:
        with pytest.raises(errors.DeliveryTimeout):
            await delivery
        with pytest.raises(errors.DeliveryTimeout):
            await bulk

    asyncio.run(main())
    with pytest.raises(errors.DeliveryTimeout):
        bulk.result(0)


def test_deliveries_are_done_when_all_batches_are():
    buffer = Accumulator(batch_bytes=200)
    buffer.set_topic("t", 1)
    bulk = buffer.append_many("t", [bytes(100)] * 3)
    called: list[object] = []
    bulk.add_callback(called.append)
    for number in range(3):
        assert not bulk.done()
        with pytest.raises(TimeoutError):
            bulk.result(0)
        buffer.complete(drain(buffer), number)
    assert called == [bulk]
    assert [span.first_offset for span in bulk.result(0)] == [0, 1, 2]
    assert len(list(bulk)) == 3


def test_waiters_of_a_split_batch_follow_their_messages():
    buffer = Accumulator()
    buffer.set_topic("t", 1)
    kept = [buffer.append("t", bytes(100)) for _ in range(4)]
    called: list[object] = []
    for delivery in kept:
        assert delivery is not None
        delivery.add_callback(called.append)
    batch = drain(buffer)
    batch.add_callback(called.append)
    parts = buffer.split(batch)
    for _ in range(parts - 1):
        part = drain(buffer)
        buffer.complete(part, 0)
    assert batch not in called
    buffer.complete(drain(buffer), 0)
    assert called == [*kept, batch]


def test_a_producer_that_goes_away_tells_those_who_wait():
    buffer, (delivery,) = buffer_of(b"a")
    called: list[Delivery] = []
    delivery.add_callback(called.append)
    del buffer
    gc.collect()
    assert called == [delivery]
    with pytest.raises(errors.Closed):
        delivery.result(0)


def test_a_kept_delivery_keeps_no_records():
    buffer, (delivery,) = buffer_of(bytes(10_000))
    batch = drain(buffer)
    buffer.complete(batch, 0)
    assert batch.memory_bytes == 0
    assert delivery.done()


def test_deliveries_come_from_appending_only():
    with pytest.raises(TypeError):
        Delivery().done()


def test_callbacks_are_let_go_when_the_batch_is_done():
    class Callback:
        def __call__(self, _delivery: Delivery) -> None:
            pass

    buffer, (delivery,) = buffer_of(b"a")
    callback = Callback()
    gone = weakref.ref(callback)
    delivery.add_callback(callback)
    del callback
    buffer.complete(drain(buffer), 0)
    gc.collect()
    assert gone() is None
