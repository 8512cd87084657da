"""A flipped bit anywhere in a segment is noticed when the log is recovered, and nothing is ever cut for it."""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystream._native.log_recovery import DAMAGE, DAMAGE_MARK
from tests.unit.storage.test_recovery import BATCHES, Directory, verdicts

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
    """One bit of every byte.  Not known to be durable, and without an epochs file: an epoch between those of its
    neighbours cannot be told from a real one, the one exception.
    """
    pristine = bytes(directory.data)
    for position in range(len(pristine)):
        directory.data = bytearray(pristine)
        directory.flip(position, 1 << (position + shift) % 8)
        log = directory.open()
        assert directory.untouched(), position
        assert verdicts(log) == [DAMAGE] or is_in_order(directory, position), position
        log.close(clean=False)
        (directory.file.parent / "leader-epoch-checkpoint").unlink(missing_ok=True)


@pytest.mark.parametrize("lossy", [False, True])
@pytest.mark.parametrize("shift", [0, 3, 6])
def test_a_flipped_bit_in_what_was_made_durable_is_damage(directory, shift, lossy):
    """No exception: below the recovery point the epochs file knows every batch's leader epoch."""
    log = directory.open()
    log.flush()
    log.close(clean=False)
    epochs = directory.file.parent / "leader-epoch-checkpoint"
    known = epochs.read_bytes()
    pristine = bytes(directory.data)
    for position in range(len(pristine)):
        directory.data = bytearray(pristine)
        directory.flip(position, 1 << (position + shift) % 8)
        (directory.file.parent / DAMAGE_MARK).write_text("0\n")
        log = directory.open(lossy=lossy, recovery_point=2 * BATCHES)
        assert directory.untouched(), position
        assert verdicts(log) == [DAMAGE], position
        log.close(clean=False)
        assert epochs.read_bytes() == known, position


def is_in_order(directory: Directory, position: int) -> bool:
    """Whether it is a leader epoch that was changed there, and none falls."""
    if position % directory.size not in LEADER_EPOCH:
        return False
    at = range(LEADER_EPOCH.start, len(directory.data), directory.size)
    epochs = [struct.unpack_from(">i", directory.data, start)[0] for start in at]
    return epochs == sorted(epochs) and epochs[0] >= 0
