"""What polls owe the user of rebalances: told once, in order, and begun again where the beginning was given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pystream.client import Consumer as BlockingConsumer
from pystream.client.config import ConsumerConfig
from pystream.client.consumer.engine import Engine
from pystream.client.consumer.group.steps import RebalanceStep, Steps
from pystream.client.consumer.model import RebalanceCallbacks, RebalanceKind
from pystream.common.clock import ManualClock
from pystream.common.errors import ClientError
from pystream.common.model import TopicPartition

FIRST, SECOND = TopicPartition("t", 0), TopicPartition("t", 1)
TEST_SECONDS = 60


def in_loop(work: Callable[[], None]) -> None:
    async def whole() -> None:
        work()

    asyncio.run(whole())


def step(kind: str = RebalanceKind.ASSIGNED) -> RebalanceStep:
    return RebalanceStep(kind, [FIRST], lambda: None)


def test_a_step_that_was_begun_and_not_told_comes_again():
    def work() -> None:
        steps = Steps()
        one, two = step(), step()
        steps.add(one)
        steps.add(two)
        assert steps.next() is one
        assert steps.next() is one
        one.is_told = True
        assert steps.next() is two
        two.is_told = True
        steps.finished(two)
        steps.finished(one)
        assert (bool(steps), steps.next()) == (False, None)

    in_loop(work)


def test_a_step_in_the_hands_of_the_user_is_not_given_up():
    def work() -> None:
        steps = Steps()
        one, two = step(), step()
        steps.add(one)
        steps.add(two)
        assert steps.next() is one
        assert steps.take_all() == [two]
        assert steps
        assert steps.next() is one

    in_loop(work)


def test_what_was_told_of_is_not_owed_any_more():
    def work() -> None:
        steps = Steps()
        assert not steps
        one = step()
        steps.add(one)
        assert steps.next() is one
        one.is_told = True
        assert not steps  # as a poll within the callback finds it
        assert steps.next() is None

    in_loop(work)


def engine_of(clock: ManualClock | None = None, **settings: Any) -> Engine:
    given: dict[str, Any] = {"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "enable.auto.commit": False}
    return Engine(ConsumerConfig.load({**given, **settings}), clock=clock)


def test_partitions_that_are_gone_already_are_not_told_of_again():
    async def work() -> None:
        engine = engine_of()
        engine.check_usable()
        engine.positions.assign([SECOND])
        lost = RebalanceStep(RebalanceKind.LOST, [FIRST, SECOND], lambda: None)
        engine.steps.add(lost)
        assert await engine.begin_step() is lost
        assert lost.partitions == [SECOND]
        await engine.close()

    asyncio.run(work())


def test_a_poll_that_waited_for_long_is_not_late():
    async def work() -> None:
        clock = ManualClock()
        engine = engine_of(clock)
        engine.check_usable()
        engine.positions.assign([FIRST])
        began_ms = engine.last_poll_ms
        async with asyncio.timeout(TEST_SECONDS):
            waiting = asyncio.ensure_future(engine.wait(None))
            await asyncio.wait([waiting], timeout=0)
            assert engine.is_polling
            clock.advance(ms=5_000)
            engine.fail(ClientError("news"))
            assert engine.last_poll_ms == began_ms + 5_000
            clock.advance(ms=5_000)  # until the user's task had its turn
            assert await waiting
            assert engine.last_poll_ms == began_ms + 10_000
        await engine.close()

    asyncio.run(work())


def test_a_thread_that_waited_for_long_is_not_late():
    with BlockingConsumer({"bootstrap.servers": "127.0.0.1:1"}) as consumer:
        consumer.assign([FIRST])
        engine = consumer._engine
        began_ms = engine.last_poll_ms
        consumer.poll(0)
        polled_ms = engine.last_poll_ms
        engine.last_poll_ms = began_ms - 1_000_000
        engine.wait_in_thread(consumer._runner.hold_up, 0)
        assert engine.last_poll_ms >= polled_ms


def test_a_signal_in_front_of_the_callback_leaves_the_step_to_the_next_poll(monkeypatch: pytest.MonkeyPatch):
    told: list[list[TopicPartition]] = []

    def interrupted(_: RebalanceStep) -> None:
        raise KeyboardInterrupt

    async def owe(steps: Steps) -> None:
        steps.add(step())

    with BlockingConsumer({"bootstrap.servers": "127.0.0.1:1"}) as consumer:
        consumer.assign([FIRST])
        consumer._callbacks = RebalanceCallbacks(on_assigned=told.append)
        consumer._run(owe(consumer._engine.steps))
        with monkeypatch.context() as patched:
            patched.setattr(consumer, "_take", interrupted)
            with pytest.raises(KeyboardInterrupt):
                consumer.poll(0)
        consumer.poll(0)
        assert told == [[FIRST]]
