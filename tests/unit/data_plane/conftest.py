"""A data plane with real logs and real sockets, without a broker around it."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pystream._native.data_plane import DataPlane
from pystream._native.flusher import Flusher
from pystream._native.local_log import LocalLog
from pystream._native.record_builder import RecordBatchBuilder
from tests.support.raw_client import RawClient

TOPIC_ID = bytes(range(16))
PATIENCE_S = 60.0
LOOK_AGAIN_S = 0.001


def until(holds: Callable[[], bool]) -> None:
    """Looks again and again at what no event tells of, a counter; fails when it does not come about."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        select.select([], [], [], LOOK_AGAIN_S)


def batch(*values: bytes, timestamp: int = 1_700_000_000_000, **fields: Any) -> bytes:
    """One record batch v2 with these values."""
    builder = RecordBatchBuilder(**fields)
    for number, value in enumerate(values):
        builder.append(value, timestamp=timestamp + number)
    return bytes(builder.build())


class PlaneUnderTest:
    """A started plane with one topic `events` of `partitions` partitions."""

    def __init__(
        self,
        directory: Path,
        *,
        partitions: int,
        loops: int,
        flush_policy: str,
        segment_bytes: int,
        limits: dict[str, int],
    ) -> None:
        self.plane = DataPlane(node_id=1, event_loops=loops, limits=limits)
        self.flusher = Flusher()
        self.flusher.start()
        self.logs = []
        for index in range(partitions):
            path = directory / f"events-{index}"
            path.mkdir(parents=True)
            log = LocalLog.open(str(path), f"events-{index}", flush_policy=flush_policy, segment_bytes=segment_bytes)
            self.logs.append(log)
            self.plane.add_partition("events", TOPIC_ID, index, self.logs[index], self.flusher, leader_epoch=0)
        self.port = self.plane.listen("127.0.0.1", 0)
        self.plane.start()

    def client(self) -> RawClient:
        return RawClient(self.port)

    def stop(self) -> None:
        self.plane.stop(1000)
        self.flusher.stop()
        for log in self.logs:
            log.close()


@pytest.fixture
def make_plane(tmp_path: Path) -> Iterator[Callable[..., PlaneUnderTest]]:
    made: list[PlaneUnderTest] = []

    def make(
        *, partitions: int = 2, loops: int = 1, flush_policy: str = "os", segment_bytes: int = 1 << 30, **limits: int
    ) -> PlaneUnderTest:
        plane = PlaneUnderTest(
            tmp_path / str(len(made)),
            partitions=partitions,
            loops=loops,
            flush_policy=flush_policy,
            segment_bytes=segment_bytes,
            limits={name.replace("_", "."): value for name, value in limits.items()},
        )
        made.append(plane)
        return plane

    yield make
    for plane in made:
        plane.stop()


@pytest.fixture
def plane(make_plane: Callable[..., PlaneUnderTest]) -> PlaneUnderTest:
    return make_plane()
