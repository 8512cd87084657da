"""Watches that ask the same share their looks, take turns, and leave the server time for its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pystream.common.clock import ManualClock
from pystream.common.errors import UnknownTopicOrPartition
from pystream.services.admin.looks import MOST_AT_ONCE, Looks


class Cluster:
    """What is looked at: each look takes until it is let go."""

    def __init__(self, looks: Looks) -> None:
        self.looks = looks
        self.begun = 0
        self.going: list[asyncio.Event] = []
        self.error: Exception | None = None

    async def look(self) -> bytes:
        self.begun += 1
        seen = self.begun
        let_go = asyncio.Event()
        self.going.append(let_go)
        try:
            await let_go.wait()
        finally:
            self.going.remove(let_go)
        if self.error is not None:
            raise self.error
        return b"%d" % seen

    def watch(self, key: object = "topics", since_ms: int = 0) -> asyncio.Task[bytes]:
        async def ask() -> bytes:
            with self.looks.watching(key, self.look) as latest:
                return await latest(since_ms)

        return asyncio.ensure_future(ask())


async def settled() -> None:
    """Return when everybody has had many turns."""
    turn = asyncio.Event()
    for _ in range(10):
        turn.clear()
        asyncio.get_running_loop().call_soon(turn.set)
        await turn.wait()


def run(work: Callable[[Cluster, ManualClock], Awaitable[None]]) -> None:
    async def main() -> None:
        clock = ManualClock()
        await work(Cluster(Looks(clock)), clock)

    asyncio.run(asyncio.wait_for(main(), 30))


def test_watches_of_the_same_share_a_look():
    async def work(cluster: Cluster, _: ManualClock) -> None:
        watches = [cluster.watch() for _ in range(20)]
        await settled()
        cluster.going[0].set()
        assert await asyncio.gather(*watches) == [b"1"] * 20
        assert cluster.begun == 1

    run(work)


def test_a_look_that_began_too_early_is_followed_by_another():
    """Whoever has just created a topic sees it, though somebody was looking meanwhile."""

    async def work(cluster: Cluster, clock: ManualClock) -> None:
        early = cluster.watch()
        await settled()
        clock.advance(5)
        late = cluster.watch(since_ms=5)
        await settled()
        cluster.going[0].set()
        assert await early == b"1"
        await settled()
        assert cluster.begun == 1, "a look of 5 ms is followed by as long a rest"
        clock.advance(5)
        await settled()
        cluster.going[0].set()
        assert await late == b"2"

    run(work)


def test_the_end_of_the_call_that_looks_hands_the_look_on():
    async def work(cluster: Cluster, _: ManualClock) -> None:
        first, second = cluster.watch(), cluster.watch()
        await settled()
        first.cancel()
        await settled()
        assert [first.cancelled(), len(cluster.going), cluster.begun] == [True, 1, 2]
        second.cancel()
        await settled()
        assert cluster.going == []

    run(work)


def test_an_error_is_raised_to_each_by_a_look_of_its_own():
    async def work(cluster: Cluster, _: ManualClock) -> None:
        cluster.error = UnknownTopicOrPartition("gone")
        watches = [cluster.watch(), cluster.watch()]
        for _ in watches:
            await settled()
            cluster.going[0].set()
        for watch in watches:
            with pytest.raises(UnknownTopicOrPartition):
                await watch
        assert cluster.begun == 2

    run(work)


def test_only_so_many_different_looks_go_on_at_once():
    async def work(cluster: Cluster, _: ManualClock) -> None:
        watches = [cluster.watch(key) for key in range(MOST_AT_ONCE + 3)]
        await settled()
        assert len(cluster.going) == MOST_AT_ONCE
        while not all(watch.done() for watch in watches):
            cluster.going[0].set()
            await settled()
        assert cluster.begun == MOST_AT_ONCE + 3

    run(work)


def test_nothing_is_kept_of_what_nobody_watches():
    async def work(cluster: Cluster, _: ManualClock) -> None:
        watch = cluster.watch()
        await settled()
        cluster.going[0].set()
        await watch
        assert cluster.looks._shared == {}

    run(work)
