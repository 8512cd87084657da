"""The log of share states is cut once it holds much that nothing needs, and only then."""

from __future__ import annotations

import asyncio

import pytest

from pystream.common.errors import NotCoordinator
from pystream.coordinator.share import state_shard
from pystream.coordinator.share.partition import StateBatch
from pystream.coordinator.share.pruner import Pruner
from pystream.coordinator.share.runs import RecordState
from pystream.coordinator.share.state import ShareKey
from pystream.coordinator.share.state_shard import Write
from tests.support.share_rig import StateRuntime

KEYS = [ShareKey("group", bytes(range(16)), partition) for partition in range(150)]


class Runtime(StateRuntime):
    """One partition, and its log."""

    def __init__(self) -> None:
        super().__init__()
        self.start = 0

    def bounds(self, partition: int) -> tuple[int, int]:
        return self.start, len(self.log)

    async def delete_before(self, partition: int, offset: int) -> None:
        self.start = offset


@pytest.fixture
def runtime() -> Runtime:
    runtime = Runtime()
    for key in KEYS:
        runtime.submit(0, state_shard.initialize(key, state_epoch=0, start_offset=0))
    return runtime


def write(runtime: Runtime, key: ShareKey, offset: int) -> None:
    batch = StateBatch(offset, offset, RecordState.ACKNOWLEDGED, 1)
    runtime.submit(0, state_shard.write(key, Write(0, 0, -1, 0, (batch,))))


def test_a_pruned_log_says_what_the_whole_log_said(runtime: Runtime):
    for number in range(1_000):
        write(runtime, KEYS[number % 7], 2 * number)
    before = {key: (state.start_offset, state.batches) for key, state in runtime.states.states.items()}
    end = len(runtime.log)
    assert asyncio.run(Pruner(runtime, runtime).prune(0))
    assert runtime.start == end
    write(runtime, KEYS[0], 5_000)
    runtime.log = runtime.log[end:]
    runtime.reload()
    after = {key: (state.start_offset, state.batches) for key, state in runtime.states.states.items()}
    assert after.pop(KEYS[0])[1][-1] == StateBatch(5_000, 5_000, RecordState.ACKNOWLEDGED, 1)
    before.pop(KEYS[0])
    assert after == before


def test_a_log_that_holds_little_more_than_its_states_is_left_alone(runtime: Runtime):
    written = len(runtime.log)
    assert not asyncio.run(Pruner(runtime, runtime).prune(0))
    assert (runtime.start, len(runtime.log)) == (0, written)


def test_nothing_is_cut_when_the_states_cannot_be_written(runtime: Runtime):
    for number in range(1_000):
        write(runtime, KEYS[0], number)
    runtime.fails_with = NotCoordinator()
    with pytest.raises(NotCoordinator):
        asyncio.run(Pruner(runtime, runtime).prune(0))
    assert runtime.start == 0
