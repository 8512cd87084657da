"""A flipped bit anywhere in a segment is noticed when the log is recovered, and nothing is ever cut for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystream._native.log_recovery import DAMAGE
from tests.unit.storage.test_recovery import Directory, verdicts

LEADER_EPOCH = range(12, 16)  # in a batch's header: outside the CRC


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK):
        with tempfile.TemporaryDirectory(dir=memory, prefix="flipped-bits-") as path:
            yield Directory(Path(path))
    else:
        yield Directory(tmp_path)


@pytest.mark.parametrize("shift", [0, 3, 6])
def test_a_flipped_bit_is_damage_and_nothing_is_cut(directory, shift):
    """One bit of every byte; a leader epoch that only rises cannot be told from a real one: the one exception."""
    pristine = bytes(directory.data)
    for position in range(len(pristine)):
        directory.data = bytearray(pristine)
        directory.flip(position, 1 << (position + shift) % 8)
        log = directory.open()
        assert directory.untouched(), position
        assert verdicts(log) == [DAMAGE] or position % directory.size in LEADER_EPOCH, position
        log.close(clean=False)
        (directory.file.parent / "leader-epoch-checkpoint").unlink(missing_ok=True)
