"""Power losses at any moment: of what was not fsynced any part may be gone, and later bytes may outlive earlier ones.

The system calls of a run are recorded and played to a model of a disk. A state after a power loss is what was fsynced
and a random part of the rest: directory entries one by one, bytes by sectors. Opened again, the log has every
acknowledged batch.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pystream._native import io_table
from pystream._native.local_log import LocalLog
from tests.unit.storage.batches import batch, offsets

SMALL = {"segment_bytes": 1_500, "index_interval_bytes": 200}
SECTOR = 512
STATES = 400


@dataclass
class Inode:
    """A file's bytes: what is durable, and what was done to it since."""

    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(
        default_factory=list
    )  # (position, data), or (size, None): a truncation

    def sync(self) -> None:
        self.durable = self.after(self.pending)
        self.pending.clear()

    def after(self, changes: list[tuple[int, bytes | None]]) -> bytes:
        content = bytearray(self.durable)
        for position, data in changes:
            if data is None:
                content = content[:position] + bytes(max(position - len(content), 0))
            else:
                content += bytes(max(position + len(data) - len(content), 0))
                content[position : position + len(data)] = data
        return bytes(content)

    def lost(self, chance: random.Random) -> bytes:
        """The bytes after a power loss."""
        kept: list[tuple[int, bytes | None]] = []
        for position, data in self.pending:
            if data is None:
                kept += [(position, None)] if chance.random() < 0.5 else []
                continue
            mood = chance.random()
            start = 0
            while start < len(data):
                end = start + SECTOR - (position + start) % SECTOR
                if mood < 0.3 or (mood < 0.7 and chance.random() < 0.5):
                    kept.append((position + start, data[start:end]))
                start = end
        return self.after(kept)


class Disk:
    """Names and files, as the calls so far left them."""

    def __init__(self) -> None:
        self.durable: dict[str, Inode] = {}
        self.now: dict[str, Inode] = {}
        self.pending: list[dict[str, Inode | None]] = []  # changes of names, each whole or not at all

    def name(self, change: dict[str, Inode | None]) -> None:
        self.pending.append(change)
        self._apply(self.now, change)

    @staticmethod
    def _apply(names: dict[str, Inode], change: dict[str, Inode | None]) -> None:
        for path, inode in change.items():
            if inode is None:
                names.pop(path, None)
            else:
                names[path] = inode

    def play(self, call: str, path: str, second: str, position: int, size: int, data: bytes) -> None:
        if call == "open" and size & os.O_CREAT:
            if path not in self.now:
                self.name({path: Inode()})
            elif size & os.O_TRUNC:
                self.now[path].pending.append((0, None))
        elif call == "pwritev":
            self.now[path].pending.append((position, data))
        elif call == "ftruncate":
            self.now[path].pending.append((size, None))
        elif call in ("fdatasync", "fsync"):
            self.now[path].sync()
        elif call == "rename":
            self.name({second: self.now[path], path: None})
        elif call == "unlink" and path in self.now:
            self.name({path: None})
        elif call == "fsync_directory":
            for change in self.pending:
                self._apply(self.durable, change)
            self.pending.clear()

    def lose_power(self, folder: Path, chance: random.Random) -> None:
        names = dict(self.durable)
        for change in self.pending:
            if chance.random() < 0.5:
                self._apply(names, change)
        for path, inode in names.items():
            (folder / Path(path).name).write_bytes(inode.lost(chance))


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    io_table.reset()
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK):
        with tempfile.TemporaryDirectory(dir=memory, prefix="power-loss-") as path:
            yield Path(path)
    else:
        yield tmp_path
    io_table.reset()


@dataclass
class Recording:
    calls: list[tuple[str, str, str, int, int, bytes, int]]
    acknowledged: list[tuple[int, int]]  # (calls made by then, durable offset)
    batches: dict[int, bytes]  # by base offset, as they lie in the log


def record(path: Path, chance: random.Random) -> Recording:
    """Appends and flushes, over several segments, epochs and producers."""
    io_table.reset()
    io_table.record_calls(True)
    log = LocalLog.open(str(path), "t-0", **SMALL)
    acknowledged = []
    for number in range(40):
        size = chance.randrange(10, 400)
        data = batch(1, size=size, fill=bytes([number]), producer_id=number % 3, epoch=0, sequence=number // 3)
        log.append(data, leader_epoch=number // 9)
        if chance.random() < 0.3:
            log.flush()
            acknowledged.append((len(io_table.recorded_calls()), log.durable_offset))
        if chance.random() < 0.05:
            log.roll()
    batches = {offset: log.read(offset=offset, max_bytes=1) for offset in range(log.end_offset)}
    calls = io_table.recorded_calls()
    io_table.reset()
    log.close(clean=False)
    return Recording(calls, acknowledged, batches)


def check_state(folder: Path, recording: Recording, durable_offset: int) -> None:
    log = LocalLog.open(str(folder), **SMALL, lossy=True)
    assert log.recovery["damaged"] == []
    assert log.end_offset >= durable_offset
    offset = 0
    while data := log.read(offset=offset, max_bytes=1):
        assert data == recording.batches[offset]
        offset = offsets(data)[-1][1] + 1
    assert offset == log.end_offset
    epochs = [log.epoch_of_offset(number) for number in range(log.end_offset)]
    assert epochs == [number // 9 for number in range(log.end_offset)]
    log.append(batch(1), leader_epoch=99)
    log.close(clean=False)


def run_states(scratch: Path, states: int, seed: int) -> None:
    chance = random.Random(seed)
    print(f"seed {seed}")
    per_run = 40
    for run in range(max(states // per_run, 1)):
        recording = record(scratch / f"run-{run}", chance)
        moments = sorted(chance.randrange(len(recording.calls) + 1) for _ in range(per_run))
        disk = Disk()
        played = 0
        for number, moment in enumerate(moments):
            for call, path, second, position, size, data, failed in recording.calls[played:moment]:
                assert failed == 0
                disk.play(call, path, second, position, size, data)
            played = moment
            folder = scratch / f"state-{run}-{number}" / "t-0"
            folder.mkdir(parents=True)
            disk.lose_power(folder, chance)
            durable = max((offset for calls, offset in recording.acknowledged if calls <= moment), default=0)
            check_state(folder, recording, durable)


def test_nothing_acknowledged_is_lost_by_a_power_loss(scratch):
    run_states(scratch, STATES, random.randrange(1 << 30))
