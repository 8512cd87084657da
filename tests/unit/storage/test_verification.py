"""Logs read end to end, damage told from torn tails, and cutting on command."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pystream._native.local_log import LocalLog
from pystream.common.errors import DataDirectoryLocked, NotFound
from pystream.common.model import TopicPartition
from pystream.storage.checkpoints import RECOVERY_POINTS, write_offsets
from pystream.storage.directories import LogDirectory
from pystream.storage.repair.verification import cut_at_damage, held, partitions_of, verify_partition
from tests.unit.storage.batches import batch

NAME = TopicPartition("orders", 0)
EPOCHS = TopicPartition("epochs", 0)
BATCHES = 10


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A partition of ten batches with three records each, in several segments, closed cleanly."""
    directory = tmp_path / "data"
    directory.mkdir()
    log = LocalLog.open(str(directory / str(NAME)), segment_bytes=600)
    for number in range(BATCHES):
        log.append(batch(3, timestamp=1_000 + number, size=20))
    log.close()
    return directory


def segment_files(data_dir: Path) -> list[Path]:
    return sorted((data_dir / str(NAME)).glob("*.log"))


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def reopened(data_dir: Path) -> LocalLog:
    return LocalLog.open(str(data_dir / str(NAME)), segment_bytes=600)


def test_a_sound_log_is_read_to_its_end(data_dir: Path):
    report = verify_partition(data_dir, NAME, records=True)

    assert (report.batches, report.records, report.gaps) == (BATCHES, 3 * BATCHES, 0)
    assert (report.start_offset, report.end_offset) == (0, 3 * BATCHES)
    assert report.segments == len(segment_files(data_dir)) > 1
    assert report.faults == []


def test_partitions_are_found_by_their_directories(data_dir: Path):
    (data_dir / "lost+found").mkdir()

    assert partitions_of(data_dir) == [NAME]
    with pytest.raises(NotFound):
        partitions_of(data_dir / "nothing")
    with pytest.raises(NotFound):
        verify_partition(data_dir, TopicPartition("orders", 9))


@pytest.mark.parametrize(
    "at", [0, 7, 8, 16, 20, 60, 80], ids=["offset", "low offset", "length", "magic", "CRC", "count", "record"]
)
def test_a_flipped_bit_is_damage_and_what_follows_is_found(data_dir: Path, at: int):
    first = segment_files(data_dir)[0]
    flip(first, at)

    report = verify_partition(data_dir, NAME)

    assert report.is_damaged
    assert (report.faults[0].segment, report.faults[0].position, report.faults[0].offset) == (0, 0, 0)
    assert report.faults[0].valid_again_at is not None
    assert report.batches == BATCHES - 1
    assert report.end_offset == 3 * BATCHES


def test_a_batch_that_the_file_ends_inside_is_a_torn_tail(data_dir: Path):
    last = segment_files(data_dir)[-1]
    last.write_bytes(last.read_bytes()[:-5])

    (fault,) = verify_partition(data_dir, NAME).faults

    assert fault.is_torn
    assert not verify_partition(data_dir, NAME).is_damaged


def test_a_tail_of_zeros_is_torn(data_dir: Path):
    last = segment_files(data_dir)[-1]
    last.write_bytes(last.read_bytes() + bytes(4096))

    (fault,) = verify_partition(data_dir, NAME).faults

    assert fault.is_torn


def test_a_short_file_below_the_recovery_point_is_damage(data_dir: Path):
    write_offsets(data_dir / RECOVERY_POINTS, {NAME: 3 * BATCHES})
    last = segment_files(data_dir)[-1]
    last.write_bytes(last.read_bytes()[:-5])

    assert verify_partition(data_dir, NAME).is_damaged


def test_a_short_closed_segment_is_damage(data_dir: Path):
    first = segment_files(data_dir)[0]
    first.write_bytes(first.read_bytes()[:-5])

    assert verify_partition(data_dir, NAME).is_damaged


def test_offsets_that_compaction_took_are_gaps_where_it_is_said(tmp_path: Path):
    log = LocalLog.open(str(tmp_path / str(NAME)))
    for number in range(3):
        log.append(batch(2, timestamp=number))
    log.close()
    (path,) = segment_files(tmp_path)
    data = path.read_bytes()
    size = len(data) // 3
    path.write_bytes(data[:size] + data[2 * size :])

    report = verify_partition(tmp_path, NAME, compacted=True)

    assert (report.faults, report.gaps, report.end_offset) == ([], 2, 6)
    assert verify_partition(tmp_path, NAME).is_damaged


def test_a_directory_in_use_is_left_alone(data_dir: Path):
    directory = LogDirectory.open(data_dir)
    try:
        with pytest.raises(DataDirectoryLocked), held(data_dir):
            pass
        with pytest.raises(DataDirectoryLocked):
            cut_at_damage(data_dir, NAME)
    finally:
        directory.close(clean=True)


def test_reading_leaves_no_trace(data_dir: Path):
    before = {path: path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}

    with held(data_dir):
        verify_partition(data_dir, NAME, records=True)

    assert {path: path.read_bytes() for path in data_dir.rglob("*") if path.is_file()} == before


def test_cutting_a_sound_log_changes_nothing(data_dir: Path):
    before = [path.read_bytes() for path in segment_files(data_dir)]

    _, cut_bytes = cut_at_damage(data_dir, NAME)

    assert cut_bytes == 0
    assert [path.read_bytes() for path in segment_files(data_dir)] == before


def test_a_damaged_log_ends_before_the_damage_and_what_was_cut_is_kept(data_dir: Path):
    write_offsets(data_dir / RECOVERY_POINTS, {NAME: 3 * BATCHES})
    files = segment_files(data_dir)
    size_of_one = len(batch(3, size=20))
    flip(files[1], size_of_one + 80)
    before = sum(path.stat().st_size for path in files)
    first_damaged = 3 * (files[0].stat().st_size // size_of_one + 1)

    report, cut_bytes = cut_at_damage(data_dir, NAME)
    log = reopened(data_dir)
    try:
        end = log.end_offset
        log.append(batch(1))
    finally:
        log.close()

    assert report.is_damaged
    assert end == first_damaged
    kept = list((data_dir / "lost+found" / str(NAME)).iterdir())
    assert sum(path.stat().st_size for path in kept) == cut_bytes
    assert cut_bytes == before - files[0].stat().st_size - size_of_one
    assert not verify_partition(data_dir, NAME).faults


def test_a_directory_that_java_has_locked_is_left_alone(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    lock.touch()
    hold = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, 2); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hold, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(DataDirectoryLocked), held(tmp_path):
            pass
        holder.communicate()
    with held(tmp_path):
        pass


@pytest.fixture
def with_epochs(data_dir: Path) -> Path:
    """The same batches under three leader epochs, all durable."""
    log = LocalLog.open(str(data_dir / "epochs-0"), segment_bytes=600)
    for number in range(BATCHES):
        log.append(batch(3, timestamp=1_000 + number, size=20), leader_epoch=number // 4)
    log.close()
    write_offsets(data_dir / RECOVERY_POINTS, {EPOCHS: 3 * BATCHES})
    return data_dir


@pytest.mark.parametrize("place", [0, 1, -1])
@pytest.mark.parametrize("epoch", [2, 229])
def test_a_leader_epoch_that_the_epochs_file_contradicts_is_damage(with_epochs: Path, place: int, epoch: int):
    path = sorted((with_epochs / str(EPOCHS)).glob("*.log"))[place]
    data = bytearray(path.read_bytes())
    size = len(batch(3, timestamp=1_000, size=20))
    position = len(data) - size
    before = struct.unpack_from(">i", data, position + 12)[0]
    struct.pack_into(">i", data, position + 12, epoch + (before == epoch))
    path.write_bytes(data)

    report = verify_partition(with_epochs, EPOCHS)

    fault = report.faults[0]  # at the end of a closed segment the next one tells of it again
    assert (fault.segment, fault.position, fault.is_torn) == (int(path.stem), position, False)
    assert f"leader-epoch-checkpoint says {before}" in fault.reason


@pytest.mark.parametrize("entries", [[(9, 0)], [(0, 0), (1, 6), (2, 24)], [(0, 0), (1, 11), (2, 24)]])
def test_an_epochs_file_that_the_log_refutes_is_no_damage(with_epochs: Path, entries: list[tuple[int, int]]):
    lines = "".join(f"{epoch} {start}\n" for epoch, start in entries)
    (with_epochs / str(EPOCHS) / "leader-epoch-checkpoint").write_text(f"0\n{len(entries)}\n{lines}")

    report = verify_partition(with_epochs, EPOCHS)

    assert (report.faults, report.batches, report.epochs_file_is_wrong) == ([], BATCHES, True)


def test_an_epochs_file_that_lags_is_no_damage(with_epochs: Path):
    write_offsets(with_epochs / RECOVERY_POINTS, {EPOCHS: 12})
    (with_epochs / str(EPOCHS) / "leader-epoch-checkpoint").write_text("0\n1\n0 0\n")

    report = verify_partition(with_epochs, EPOCHS)

    assert (report.faults, report.epochs_file_is_wrong) == ([], False)
