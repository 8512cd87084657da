"""Markers in partitions that others are told of, too: nobody loses the word of a high watermark that moves."""

from __future__ import annotations

import asyncio

from pystream.broker.coordination.transactions import MarkerLog
from pystream.common.clock import ManualClock
from pystream.common.error_codes import NONE
from pystream.coordinator.ports import MarkerBatch

PLACE = ("orders", 0)
MARKER = MarkerBatch(7, 0, True, 0)


class WatchedPlane:
    """One partition that commits when it is told to, and the data plane's one watch of it."""

    def __init__(self) -> None:
        self.end_offset = self.committed = 0
        self.is_watched = False

    def append(self, topic: str, partition: int, batches: bytes, *, transaction_version: int) -> tuple[int, int]:
        self.end_offset += 1
        return self.end_offset - 1, self.end_offset

    def high_watermark(self, topic: str, partition: int) -> int:
        return self.committed

    def watch(self, topic: str, partition: int) -> None:
        self.is_watched = True

    def unwatch(self, topic: str, partition: int) -> None:
        self.is_watched = False


def watched_after_a_marker(*, by_others: bool) -> bool:
    async def run() -> bool:
        plane = WatchedPlane()
        markers = MarkerLog(plane, ManualClock(), lambda topic, partition: by_others)  # type: ignore[arg-type]
        writing = asyncio.ensure_future(markers.write([PLACE], MARKER, 2))
        while not plane.is_watched:
            turned: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(turned.set_result, None)
            await turned
        plane.committed = plane.end_offset
        markers.moved(*PLACE, plane.committed)
        assert await writing == {PLACE: NONE}
        return plane.is_watched

    return asyncio.run(run())


def test_a_watch_ends_with_the_marker_that_it_was_for():
    assert watched_after_a_marker(by_others=False) is False


def test_a_watch_of_others_goes_on_behind_a_marker():
    assert watched_after_a_marker(by_others=True) is True
