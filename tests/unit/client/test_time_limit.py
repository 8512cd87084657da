"""A time limit around several operations: each gets what is left of it, and what outlives the caller is not bound."""

from __future__ import annotations

import asyncio

import pytest

from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.retry import Deadline, allowed_ms, time_limit, without_time_limit
from pystream.client.config import AdminConfig
from pystream.common.clock import ManualClock
from pystream.common.errors import DeadlineExceeded, NoBrokersAvailable


def test_without_a_limit_an_operation_has_its_own_time():
    assert allowed_ms(ManualClock(), 500) == 500


def test_what_is_left_of_the_limit_is_all_there_is():
    clock = ManualClock()

    with time_limit(clock, 1_000):
        assert allowed_ms(clock, 500) == 500
        assert allowed_ms(clock, 60_000) == 1_000
        clock.advance(700)
        assert allowed_ms(clock, 60_000) == 300
        clock.advance(700)
        assert allowed_ms(clock, 60_000) == 0

    assert allowed_ms(clock, 60_000) == 60_000


def test_a_context_of_its_own_has_no_limit():
    clock = ManualClock()

    with time_limit(clock, 1_000):
        assert without_time_limit().run(allowed_ms, clock, 60_000) == 60_000


def test_an_operation_of_the_cluster_ends_with_the_callers_limit():
    async def work() -> None:
        cluster = Cluster(AdminConfig.load(bootstrap_servers="127.0.0.1:1", retry_backoff_ms=5))

        async def unreachable(deadline: Deadline) -> None:
            assert deadline.timeout_ms <= 50
            raise NoBrokersAvailable("nobody")

        try:
            with time_limit(cluster.clock, 50), pytest.raises(DeadlineExceeded) as late:
                await cluster.retrying("look", unreachable)
        finally:
            await cluster.close()
        assert isinstance(late.value.last_error, NoBrokersAvailable)

    asyncio.run(work())


def test_a_task_of_the_cluster_is_not_bound_by_who_began_it():
    async def work() -> int:
        cluster = Cluster(AdminConfig.load(bootstrap_servers="127.0.0.1:1"))

        async def look() -> int:
            return allowed_ms(cluster.clock, 60_000)

        try:
            with time_limit(cluster.clock, 50):
                return await cluster.spawn("look", look())
        finally:
            await cluster.close()

    assert asyncio.run(work()) == 60_000
