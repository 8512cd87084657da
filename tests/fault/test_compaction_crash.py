"""Compaction that is broken off at any system call: a crash, a power loss, a call that fails once.

Before, after and in every state between, a reader under read_committed that reads to the end knows the same last value
of every key, and what a start finds is finished or rolled back.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystream._native import io_table
from pystream._native.batch import parse_headers
from pystream._native.local_log import LocalLog
from pystream._native.record_reader import RecordReader
from pystream.common.errors import KafkaError, PystreamError
from tests.fault.test_power_loss import Disk
from tests.support.compaction import ABORT, COMMIT, DAY_MS, NOW_MS, append, batch, clean, marker, stored

SMALL = {"segment_bytes": 2_000, "index_interval_bytes": 300}
POWER_LOSSES = 300
LATER_MS = NOW_MS + DAY_MS + 1


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Where hundreds of lives are cheap: in memory, if the machine has such a place; the faults are made anyway."""
    io_table.reset()
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK):
        with tempfile.TemporaryDirectory(dir=memory, prefix="compaction-") as path:
            yield Path(path)
    else:
        yield tmp_path
    io_table.reset()


def fill(path: Path, chance: random.Random) -> None:
    """Segments of updates, deletions, committed and aborted transactions; half of it compacted once."""
    log = LocalLog.open(str(path), **SMALL)
    sequences = dict.fromkeys(range(4), 0)
    for number in range(60):
        key = b"%d" % chance.randrange(12)
        value = None if chance.random() < 0.3 else b"%04d" % number + bytes(chance.randrange(60))
        producer = chance.randrange(4)
        if chance.random() < 0.5:
            append(log, batch([(key, value)]))
        else:
            append(log, batch([(key, value)], producer_id=producer, sequence=sequences[producer], transactional=True))
            append(log, marker(producer, chance.choice([ABORT, COMMIT])))
            sequences[producer] += 1
        if number % 7 == 6:
            log.roll()
        if number == 30:
            log.roll()
            clean(log)
    log.roll()
    append(log, batch([(b"active", b"1")]))
    log.close()


def last_values(log: LocalLog) -> dict[bytes, bytes]:
    """As a reader under read_committed has them who reads from the log start to its end, deletions done."""
    aborted = sorted(log.aborted_transactions(offset=0, limit_offset=log.end_offset), key=lambda entry: entry[1])
    skipping: set[int] = set()
    data = stored(log)
    values: dict[bytes, bytes | None] = {}
    position = 0
    for header in parse_headers(data):
        while aborted and aborted[0][1] <= header.base_offset + header.last_offset_delta:
            skipping.add(aborted.pop(0)[0])
        piece = data[position : position + header.size]
        position += header.size
        if header.is_control:
            if header.record_count and b"\x00\x00\x00\x00" in piece[61:75]:  # an abort marker: type 0
                skipping.discard(header.producer_id)
        elif not (header.is_transactional and header.producer_id in skipping):
            values.update((bytes(record.key), record.value) for record in RecordReader(piece))
    return {key: bytes(value) for key, value in values.items() if value is not None}


def reopened(path: Path, *, lossy: bool = False, recovery_point: int) -> LocalLog:
    return LocalLog.open(str(path), **SMALL, lossy=lossy, recovery_point=recovery_point, compacted=True)


def check(path: Path, expected: dict[bytes, bytes], end_offset: int, *, lossy: bool = False) -> None:
    """A start after the crash, then a whole round, then another start."""
    log = reopened(path, lossy=lossy, recovery_point=end_offset)
    assert log.recovery["damaged"] == []
    assert log.end_offset == end_offset
    assert not [name for name in os.listdir(path) if name.endswith((".swap", ".cleaned", ".deleted", ".tmp"))]
    assert last_values(log) == expected
    clean(log, now_ms=LATER_MS)
    assert last_values(log) == expected
    log.close(clean=False)
    log = reopened(path, lossy=lossy, recovery_point=end_offset)
    assert log.recovery["damaged"] == []
    assert last_values(log) == expected
    assert append(log, batch([(b"new", b"1")])) == [end_offset]
    log.close(clean=False)


class Scene:
    """A log to be compacted, with what its readers know."""

    def __init__(self, scratch: Path, seed: int) -> None:
        print(f"seed {seed}")
        self.path = scratch / "whole" / "t-0"
        fill(self.path, random.Random(seed))
        log = self.open(self.path)
        self.expected = last_values(log)
        self.end_offset = log.end_offset
        self.segments = log.segment_count
        log.close(clean=False)

    def open(self, path: Path) -> LocalLog:
        return LocalLog.open(str(path), **SMALL, clean=True, compacted=True)

    def copy(self, name: str) -> Path:
        path = self.path.parent.parent / name / "t-0"
        shutil.copytree(self.path, path)
        return path

    def calls(self) -> int:
        """How many system calls a round makes; it changes nothing that a reader knows."""
        log = self.open(self.copy("counted"))
        log.flush()
        io_table.record_calls(False)
        done = clean(log, now_ms=LATER_MS)
        count = io_table.call_count()
        io_table.reset()
        assert done.statistics["segments_made"] > 1
        assert done.statistics["records_kept"] < done.statistics["records_read"]
        assert last_values(log) == self.expected
        log.close()
        return count


def test_a_crash_after_any_system_call_is_finished_or_rolled_back_at_the_next_start(scratch):
    scene = Scene(scratch, random.randrange(1 << 30))
    count = scene.calls()
    assert count > 30
    for number in range(1, count + 1):
        path = scene.copy(str(number))
        log = scene.open(path)
        io_table.fail_call(number, errno.EIO, for_ever=True)  # nothing reaches the disk any more: as it is, it is left
        with pytest.raises(PystreamError):
            clean(log, now_ms=LATER_MS)
        log.close(clean=False)
        io_table.reset()
        check(path, scene.expected, scene.end_offset)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EINTR])
def test_a_call_that_fails_once_changes_nothing_that_a_reader_knows(scratch, number):
    scene = Scene(scratch, random.randrange(1 << 30))
    for nth in range(1, scene.calls() + 1):
        path = scene.copy(str(nth))
        log = scene.open(path)
        io_table.fail_call(nth, number)
        try:
            clean(log, now_ms=LATER_MS)
        except KafkaError:
            assert number != errno.EINTR
        io_table.reset()
        assert last_values(log) == scene.expected
        if not log.is_offline:
            clean(log, now_ms=LATER_MS)
            assert last_values(log) == scene.expected
        log.close(clean=False)
        check(path, scene.expected, scene.end_offset)


def test_a_power_loss_at_any_moment_leaves_the_old_segments_or_the_new_ones(scratch):
    seed = random.randrange(1 << 30)
    scene = Scene(scratch, seed)
    chance = random.Random(seed)
    log = scene.open(scene.copy("recorded"))
    log.flush()
    disk = Disk()
    directory = Path(log.directory)
    for file in directory.iterdir():
        disk.play("open", str(file), "", 0, os.O_CREAT, b"")
        disk.play("pwritev", str(file), "", 0, 0, file.read_bytes())
        disk.play("fsync", str(file), "", 0, 0, b"")
    disk.play("fsync_directory", str(directory), "", 0, 0, b"")
    io_table.record_calls(True)
    clean(log, now_ms=LATER_MS)
    clean(log, now_ms=LATER_MS + DAY_MS)
    calls = io_table.recorded_calls()
    io_table.reset()
    log.close(clean=False)

    moments = sorted(chance.randrange(len(calls) + 1) for _ in range(POWER_LOSSES))
    played = 0
    for number, moment in enumerate(moments):
        for call, path, second, position, size, data, _ in calls[played:moment]:
            if call != "rename" or path in disk.now:  # a side file that was never there
                disk.play(call, path, second, position, size, data)
        played = moment
        folder = scratch / f"state-{number}" / "t-0"
        folder.mkdir(parents=True)
        disk.lose_power(folder, chance)
        check(folder, scene.expected, scene.end_offset, lossy=True)
