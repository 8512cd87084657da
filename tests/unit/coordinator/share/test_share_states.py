"""Stored states of share partitions: merging, snapshots, fencing, what a restart reads back."""

from __future__ import annotations

import itertools
import random

import pytest

from pystream.common.error_codes import FENCED_LEADER_EPOCH, FENCED_STATE_EPOCH, INVALID_REQUEST, NONE
from pystream.coordinator.share import state_shard
from pystream.coordinator.share.partition import NO_START_OFFSET, StateBatch
from pystream.coordinator.share.runs import RecordState
from pystream.coordinator.share.state import ShareKey, merged
from pystream.coordinator.share.state_shard import NEVER_STORED, Write
from pystream.protocol.coordinator_records.share_snapshot import ShareSnapshotKey
from pystream.protocol.coordinator_records.share_update import ShareUpdateKey
from tests.support.share_rig import StateRuntime

KEY = ShareKey("group", bytes(range(16)), 0)
ACKNOWLEDGED, AVAILABLE, ARCHIVED = RecordState.ACKNOWLEDGED, RecordState.AVAILABLE, RecordState.ARCHIVED


def change(*batches: StateBatch, start: int = NO_START_OFFSET, state_epoch: int = 0, leader_epoch: int = 0) -> Write:
    return Write(state_epoch, leader_epoch, start, 0, batches)


@pytest.fixture
def runtime() -> StateRuntime:
    runtime = StateRuntime()
    assert (
        runtime.submit(0, state_shard.initialize(KEY, state_epoch=0, start_offset=NO_START_OFFSET)).error_code == NONE
    )
    return runtime


def test_what_is_written_is_read_back_also_after_a_restart(runtime):
    runtime.submit(0, state_shard.write(KEY, change(StateBatch(0, 9, ACKNOWLEDGED, 1), start=0)))
    runtime.submit(0, state_shard.write(KEY, change(StateBatch(12, 14, AVAILABLE, 2), start=10)))
    expected = runtime.submit(0, state_shard.read(KEY, leader_epoch=0)).state
    assert (expected.start_offset, expected.batches) == (10, (StateBatch(12, 14, AVAILABLE, 2),))
    runtime.reload()
    assert runtime.submit(0, state_shard.read(KEY, leader_epoch=0)).state == expected


def test_a_share_partition_that_was_never_initialised_is_neither_read_nor_written(runtime):
    other = KEY._replace(partition=1)
    assert runtime.submit(0, state_shard.read(other, leader_epoch=0)).error_code == INVALID_REQUEST
    assert runtime.submit(0, state_shard.write(other, change())).error_code == INVALID_REQUEST
    assert runtime.submit(0, state_shard.summary(other)).state == NEVER_STORED
    assert runtime.submit(
        0, state_shard.initialize(KEY._replace(partition=-1), state_epoch=0, start_offset=0)
    ).error_code


def test_a_leader_that_another_has_followed_is_fenced(runtime):
    assert runtime.submit(0, state_shard.read(KEY, leader_epoch=3)).error_code == NONE
    assert runtime.submit(0, state_shard.read(KEY, leader_epoch=2)).error_code == FENCED_LEADER_EPOCH
    assert runtime.submit(0, state_shard.write(KEY, change(leader_epoch=2))).error_code == FENCED_LEADER_EPOCH
    runtime.reload()
    assert runtime.submit(0, state_shard.write(KEY, change(leader_epoch=2))).error_code == FENCED_LEADER_EPOCH


def test_a_state_that_was_set_anew_fences_who_used_it_before(runtime):
    runtime.submit(0, state_shard.initialize(KEY, state_epoch=5, start_offset=7))
    assert runtime.submit(0, state_shard.write(KEY, change(state_epoch=4))).error_code == FENCED_STATE_EPOCH
    refused = runtime.submit(0, state_shard.initialize(KEY, state_epoch=4, start_offset=0))
    assert refused.error_code == FENCED_STATE_EPOCH
    assert runtime.submit(0, state_shard.summary(KEY)).state.start_offset == 7


def test_after_so_many_updates_all_of_the_state_is_written():
    runtime = StateRuntime(updates_per_snapshot=3)
    runtime.submit(0, state_shard.initialize(KEY, state_epoch=0, start_offset=0))
    for offset in range(8):
        runtime.submit(0, state_shard.write(KEY, change(StateBatch(offset, offset, ACKNOWLEDGED, 1))))
    kinds = [type(record.key) for record in runtime.log]
    assert kinds == [ShareSnapshotKey, *[ShareUpdateKey] * 3, ShareSnapshotKey, *[ShareUpdateKey] * 3, ShareSnapshotKey]
    epochs = [record.value.snapshot_epoch for record in runtime.log]
    assert epochs == [0, 0, 0, 0, 1, 1, 1, 1, 2]


def test_a_deleted_state_is_gone_and_deleting_it_again_is_no_error(runtime):
    assert runtime.submit(0, state_shard.delete(KEY)).error_code == NONE
    written = len(runtime.log)
    assert runtime.submit(0, state_shard.delete(KEY)).error_code == NONE
    assert len(runtime.log) == written
    runtime.reload()
    assert runtime.states.states == {}


def test_snapshots_make_all_earlier_records_superfluous(runtime):
    runtime.submit(0, state_shard.write(KEY, change(StateBatch(0, 9, ACKNOWLEDGED, 1))))
    before = runtime.states.states[KEY]
    end = len(runtime.log)
    runtime.submit(0, state_shard.snapshot([KEY]))
    runtime.log = runtime.log[end:]
    runtime.reload()
    after = runtime.states.states[KEY]
    assert (after.start_offset, after.batches) == (before.start_offset, before.batches)


def test_states_of_deleted_topics_are_forgotten(runtime):
    runtime.submit(0, state_shard.forget_topics([KEY.topic_id]))
    assert runtime.states.states == {}
    runtime.reload()
    assert runtime.states.states == {}


def test_a_write_that_was_overtaken_does_not_take_the_start_offset_back(runtime):
    runtime.submit(0, state_shard.write(KEY, change(StateBatch(0, 9, ACKNOWLEDGED, 1), start=10)))
    runtime.submit(0, state_shard.write(KEY, change(start=5)))
    assert runtime.states.states[KEY].start_offset == 10


def test_merging_is_what_writing_offset_by_offset_would_give():
    source = random.Random(4)
    for _ in range(2_000):
        stored: tuple[StateBatch, ...] = ()
        plain: dict[int, tuple[RecordState, int]] = {}
        start = 0
        for _ in range(source.randrange(1, 6)):
            written, offset = [], 0
            for _ in range(source.randrange(4)):
                first = offset + source.randrange(6)
                last = first + source.randrange(6)
                batch = StateBatch(first, last, source.choice([ACKNOWLEDGED, AVAILABLE, ARCHIVED]), source.randrange(2))
                written.append(batch)
                plain.update(dict.fromkeys(range(first, last + 1), (batch.state, batch.delivery_count)))
                offset = last + 1
            start += source.randrange(4)
            stored = merged(stored, written, start)
            plain = {offset: state for offset, state in plain.items() if offset >= start}
        found = {o: (b.state, b.delivery_count) for b in stored for o in range(b.first, b.last + 1)}
        assert found == plain
        assert all(
            left.last < right.first and (left.last + 1 < right.first or left[2:] != right[2:])
            for left, right in itertools.pairwise(stored)
        )
